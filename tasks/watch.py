"""What Prefect does not know: bucket, warehouse, disks, slots, and sources that fell silent.

Every look is of one subject, and says nothing of a subject that it could not see: a source is not stale
because the warehouse does not answer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task

from groundwork.alerts.troubles import Kind, Trouble, moment

if TYPE_CHECKING:
    from groundwork.catalog import AnySource
    from groundwork.ledger import Batches
    from groundwork.settings import Settings
    from tasks.run_states import Looks

log = logging.getLogger("groundwork.watch")

AT_WORK_SECONDS = 20.0
"""A build may hold the embedded warehouse for long: slots and disks are not to wait for it."""
UNSEEN = "its slot cannot be looked at"
"""What `groundwork.slot_watch` says when it could not look."""


@task(task_run_name="look-at-places")
def look_at_places() -> Looks:
    """Whether bucket and warehouse answer, and whether a disk fills."""
    from groundwork.errors import GroundworkError
    from groundwork.settings import Settings
    from tasks.lookup import platform_bucket

    settings = Settings()
    looks: Looks = {}
    try:
        platform_bucket(settings).exists("watch/looked")
        looks["bucket"] = {}
    except GroundworkError as error:
        looks["bucket"] = _one("bucket", "bucket", str(error))
    for place in _places(settings):
        looks[f"disk {place}"] = _filling(place, settings.least_free_percent)
    return looks


@task(task_run_name="look-at-sources")
def look_at_sources(awake: str = "") -> Looks:
    """Hold the ledger's newest look at each source against how often it is wanted, and what it brought."""
    from groundwork.alerts.silence import last_look, silence, too_little
    from groundwork.catalog import load_catalog
    from groundwork.errors import BucketError, WarehouseBusy, WarehouseError
    from groundwork.manifest import now
    from groundwork.settings import Settings

    settings = Settings()
    looks: Looks = {}
    entries = load_catalog(settings.catalog)
    try:
        batches = _batches(settings, list(entries))
    except WarehouseBusy as error:
        log.info("the warehouse is at work, its sources are looked at another time: %s", error)
        return {}
    except WarehouseError as error:
        return {"warehouse": _one("warehouse", "warehouse", str(error))}
    except BucketError:
        return {}
    at, since = now().replace(tzinfo=None), moment(awake).replace(tzinfo=None) if awake else None
    for entry in entries.values():
        seen = batches.get(entry.source, [])
        newest = last_look(seen, at)
        told = silence(entry, newest, at, awake=since, least=settings.patience)
        looks[f"ledger {entry.source}"] = _of(entry, "stale", told, newest)
        little = too_little(entry.source, seen, entry.update_every, at)
        looks[f"rows {entry.source}"] = _of(entry, "too little", little)
    return looks | {"warehouse": {}}


@task(task_run_name="look-at-slots")
def look_at_slots() -> Looks:
    """How much log each PostgreSQL holds back for us; a slot that is past its policy is dropped."""
    from groundwork.catalog import PostgresSource, load_catalog
    from groundwork.errors import BucketError
    from groundwork.settings import Settings
    from groundwork.slot_watch import look
    from tasks.lookup import platform_bucket, resolve, run_id

    settings = Settings()
    looks: Looks = {}
    bucket = platform_bucket(settings)
    for entry in load_catalog(settings.catalog).values():
        if isinstance(entry, PostgresSource):
            try:
                told = look(entry, bucket, resolve, run_id=run_id())
            except BucketError:
                continue  # the bucket's own trouble
            if UNSEEN not in told:  # its runs fail too, and say why
                looks[f"slot {entry.source}"] = _of(entry, "slot lag", told)
    return looks


@task(task_run_name="call")
def call_if_changed(looks: Looks) -> bool:
    """Ask for a run of `notify` if it would have something to tell; whether it was asked for.

    Until it has told, it is asked for again by every look: no call is lost for good. So it is when it went
    wrong and there is nothing left to tell: that it can tell again must be seen, or the alarm about it stays.
    """
    from prefect.client.orchestration import get_client
    from prefect.events import emit_event

    from tasks.board import CHANGED, observe_all, read_board
    from tasks.run_states import could_not_tell

    with get_client(sync_client=True) as client:
        board = read_board()
        before = board.dump()
        news = observe_all(client, board, looks)
        if not news and board.dump() == before and not could_not_tell(client):
            return False
    emit_event(CHANGED, {"prefect.resource.id": CHANGED}, payload={"looks": write_looks(looks)})
    return True


def awake_since() -> str:
    """When the platform last came back from a trouble of its own (ISO); empty when none is known."""
    from prefect.client.orchestration import get_client

    from tasks.board import read_board
    from tasks.run_states import awake

    with get_client(sync_client=True) as client:
        return awake(client, read_board())


def write_looks(looks: Looks) -> str:
    """Looks as a parameter of `notify` can hold them."""
    return json.dumps({s: [asdict(t) for t in found.values()] for s, found in looks.items()})


def read_looks(text: str) -> Looks:
    """Looks as `write_looks` wrote them; none for an empty text."""
    return {
        subject: {one["key"]: Trouble(**one) for one in found}
        for subject, found in json.loads(text or "{}").items()
    }


def _batches(settings: Settings, sources: Sequence[str]) -> dict[str, Batches]:
    from groundwork.idle import watched
    from tasks.lookup import platform_bucket
    from tasks.warehouse import platform_warehouse

    warehouse = partial(platform_warehouse, settings, "watch", wait=AT_WORK_SECONDS)
    return watched(platform_bucket(settings), settings, sources, warehouse)


def _places(settings: Settings) -> Iterator[Path]:
    """One existing directory of every disk that the platform writes to from here."""
    import tempfile
    from urllib.parse import unquote, urlsplit

    places = [settings.home.absolute(), Path(tempfile.gettempdir())]
    if settings.warehouse == "duckdb":
        places.append(settings.duckdb_file.parent)
    url = urlsplit(settings.bucket_url)
    if url.scheme == "file":
        places.append(Path(unquote(url.path)))
    disks: set[int] = set()
    for place in places:
        there = next(one for one in (place, *place.parents) if one.exists())
        if (disk := there.stat().st_dev) not in disks:
            disks.add(disk)
            yield there


def _filling(place: Path, least_percent: float) -> dict[str, Trouble]:
    import shutil

    from groundwork.sizes import size_text

    usage = shutil.disk_usage(place)
    free = 100 * usage.free / usage.total if usage.total else 100.0
    if free >= least_percent:
        return {}
    what = f"the disk of {place} has {free:.0f} % free ({size_text(usage.free)} of {size_text(usage.total)})"
    return _one("disk", "disk", what)


def _of(entry: AnySource, kind: Kind, told: str, since: datetime | None = None) -> dict[str, Trouble]:
    """A trouble of a source; silence has the source's own key, as runs that fail have."""
    if not told:
        return {}
    key = entry.source if kind == "stale" else f"{entry.source} {kind}"
    at = (since.replace(tzinfo=UTC) if since else datetime.now(UTC)).isoformat()
    return {key: Trouble(key, kind, entry.source, told, at, source=entry.source)}


def _one(key: str, kind: Kind, what: str) -> dict[str, Trouble]:
    return {key: Trouble(key, kind, key, what, datetime.now(UTC).isoformat())}
