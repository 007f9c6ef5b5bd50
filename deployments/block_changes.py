"""Blocks in Prefect: loading them, merging them with the environment, saving what differs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from prefect.blocks.core import Block

from deployments.changes import Change, differences


def save_block(block: Block, name: str, *, dry_run: bool) -> Change:
    """Save a block unless it is saved already, and report the fields that differ."""
    kind, existing = label(type(block)), loaded(type(block), name)
    if existing is None:
        if not dry_run:
            block.save(name, overwrite=True)
        return Change("created", kind, name)
    shown = {"shown_before": _content(existing, secrets=False), "shown_after": _content(block, secrets=False)}
    fields = differences(_content(existing), _content(block), **shown)
    if not fields:
        return Change("unchanged", kind, name)
    if not dry_run:
        block.save(name, overwrite=True)
    return Change("updated", kind, name, fields=fields)


def merged(
    kind: type[Block], name: str, given: Mapping[str, Any], *, together: Collection[str] = ()
) -> dict[str, Any]:
    """The fields of a saved block, with those that are given in their place.

    What this process's environment does not set is no wish to remove it: a deployment from CI knows fewer
    settings than the machine that made the block.

    Args:
        kind: the block's type.
        name: the block's name.
        given: the fields that the environment sets.
        together: fields that are one credential: when one is given, none of the saved ones is kept.
    """
    existing = loaded(kind, name)
    if existing is None:
        return dict(given)
    saved = {field: getattr(existing, field) for field in kind.model_fields}
    replaced = set(together) if set(together) & set(given) else set()
    kept = {field: value for field, value in saved.items() if value is not None and field not in replaced}
    return kept | dict(given)


def kept(kind: type[Block], name: str) -> list[Change]:
    """The report of a block that the environment says nothing of: unchanged if it is there."""
    return [Change("unchanged", label(kind), name)] if loaded(kind, name) is not None else []


def kept_or_missing(kind: type[Block], name: str, environment_name: str) -> Change:
    """The report of a block that is needed and that the environment says nothing of."""
    for change in kept(kind, name):
        return change
    return Change("missing", label(kind), name, f"set {environment_name} and apply again")


def label(kind: type[Block]) -> str:
    """What reports call a block's type."""
    return f"block {kind.get_block_type_slug()}"


def loaded(kind: type[Block], name: str) -> Any:
    """The saved block, None when there is none."""
    try:
        return kind.load(name)
    except ValueError:  # how Prefect says that there is no such block
        return None


def _content(block: Block, *, secrets: bool = True) -> dict[str, Any]:
    """A block's fields; secrets in the clear for comparison only, or masked."""
    dumped = block.model_dump(context={"include_secrets": secrets}, mode="json", by_alias=True)
    content: dict[str, Any] = _plain(dumped)
    return content


def _plain(value: Any) -> Any:
    """Without what Prefect adds to a block that is saved."""
    if isinstance(value, dict):
        return {
            key: _plain(inner)
            for key, inner in value.items()
            if not key.startswith("_") and key != "block_type_slug"
        }
    return value
