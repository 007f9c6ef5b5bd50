"""What applying has made, remembered in Prefect itself, so that what is named no more can be found again.

Deployments and automations carry a mark of ours (a tag, the beginning of the name). Blocks, variables, queues
and limits have names that the catalog and people choose: they are written into the variable
`groundwork_applied`. What somebody else made is never in it, and so never removed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from deployments.changes import Change
from deployments.pools import POOL
from deployments.variables import apply_variables
from groundwork.errors import GroundworkError

VARIABLE = "groundwork_applied"


class Inventory:
    """What is applied now, held against what was applied before."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._named: dict[str, None] = {}

    def noting(self, changes: Iterable[Change]) -> Iterator[Change]:
        """The changes, while what they are about is noted."""
        for change in changes:
            if _remover(change.kind):
                self._named[_label(change.kind, change.name)] = None
            yield change

    def prune(
        self, client: SyncPrefectClient, *, remove: bool, dry_run: bool, named: Collection[str] = ()
    ) -> Iterator[Change]:
        """Report, or remove, what was applied once and is not named any more; then remember what is there.

        Args:
            client: speaks to the server.
            remove: remove it; else only report.
            dry_run: report what would be removed, and remove nothing.
            named: what to remove in any case, as the reports name it: ``block secret 'shop-api-token'``.

        Raises:
            GroundworkError: when one of them was not made by apply; nothing is removed then.
        """
        known = client.read_variable_by_name(VARIABLE)
        before = [str(label) for label in known.value] if known and isinstance(known.value, list) else []
        chosen = {_label_of_report(one) for one in named}
        if unknown := sorted(chosen - {*before, *self._named}):
            raise GroundworkError(
                f"apply --remove {unknown[0]}",
                "names nothing that apply has made",
                fix="name it as the report does, e.g. \"block secret 'shop-api-token'\"",
            )
        self._named = {label: None for label in self._named if label not in chosen}
        kept = []
        for label in sorted({*before, *chosen}):
            if label in self._named:
                continue
            kind, _, name = label.partition(": ")
            if not remove and label not in chosen:
                kept.append(label)
                yield Change("left over", kind, name, "nothing names it any more; apply with --prune")
                continue
            drop = _remover(kind)
            if drop and not dry_run:
                try:
                    drop(client, name)
                except ObjectNotFound:
                    continue  # somebody was faster
            yield Change("removed", kind, name)
        now = sorted({*self._named, *kept})
        if not dry_run and now != sorted(before):
            list(apply_variables(client, {VARIABLE: now}, dry_run=False))


def _label_of_report(text: str) -> str:
    """The label of what a report names ``kind 'name'``."""
    kind, _, name = text.strip().rstrip("'").partition(" '")
    return _label(kind, name)


def _label(kind: str, name: str) -> str:
    return f"{kind}: {name}"


def _remover(kind: str) -> Callable[[SyncPrefectClient, str], object] | None:
    """How to remove one of a kind; None for what is found by its own mark."""
    if kind.startswith("block "):
        return lambda client, name: _remove_block(client, kind.removeprefix("block "), name)
    return {
        "variable": _remove_variable,
        "concurrency limit": _remove_limit,
        "work queue": _remove_queue,
    }.get(kind)


def _remove_block(client: SyncPrefectClient, slug: str, name: str) -> None:
    client.delete_block_document(client.read_block_document_by_name(name, slug).id)


def _remove_variable(client: SyncPrefectClient, name: str) -> None:
    client.delete_variable_by_name(name)


def _remove_limit(client: SyncPrefectClient, name: str) -> None:
    client.delete_global_concurrency_limit_by_name(name)


def _remove_queue(client: SyncPrefectClient, name: str) -> None:
    queue = name.removeprefix(f"{POOL}/")
    client.request("DELETE", f"/work_pools/{POOL}/queues/{queue}")  # type: ignore[arg-type]
