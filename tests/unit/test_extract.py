"""From any source to committed batches: what a checkpoint commits, and when it does not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from groundwork import batch, manifest
from groundwork import extract as extracting
from groundwork.bucket import Bucket, open_bucket
from groundwork.errors import GroundworkError, SourceUnreachable
from groundwork.extract import extract
from groundwork.manifest import METADATA
from groundwork.sources import Checkpoint, Cursors, Rows
from tests.capture import entry

ENTRY = entry({"a": ("public.a", ["id"]), "b": ("public.b", ["id"])})


class Told:
    """A source that yields what it was given, and remembers how it was read."""

    def __init__(self, *items: Rows | Checkpoint | Exception) -> None:
        self.items, self.cursors, self.closed, self.committed = items, None, False, []

    def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint]:
        self.cursors = dict(cursors)
        try:
            for item in self.items:
                if isinstance(item, Exception):
                    raise item
                yield item
                if isinstance(item, Checkpoint):
                    self.committed.append(item.committed)
        finally:
            self.closed = True


def rows(stream: str, *identities: str, **more: Any) -> Rows:
    return Rows(stream, pl.DataFrame({"id": list(identities), **more}))


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return open_bucket(tmp_path.as_uri())


def stored(bucket: Bucket, number: int) -> list[tuple[str, list[dict[str, Any]]]]:
    found = manifest.read(bucket, "shop", number)
    assert found is not None
    return [(o.stream, pq.read_table(io.BytesIO(bucket.get(o.key))).to_pylist()) for o in found.objects]


def test_rows_get_their_metadata_and_keep_their_order(bucket: Bucket) -> None:
    report = extract(
        ENTRY,
        Told(rows("a", "1", "2"), rows("b", "9"), rows("a", "3"), Checkpoint({"a": 1})),
        bucket,
        run_id="r",
    )
    assert (report.batches, report.rows, report.operations) == ([1], {"a": 3, "b": 1}, {"insert": 4})
    contents = dict(stored(bucket, 1))
    assert [
        (r["id"], r["_operation"], r["_sequence"], r["_unchanged"], r["_committed_at"]) for r in contents["a"]
    ] == [(str(n + 1), "insert", f"{1:016x}/{n:08x}", None, None) for n in range(3)]
    assert isinstance(contents["a"][0]["_extracted_at"], datetime)
    assert list(contents["a"][0]) == ["id", *METADATA]
    newest = manifest.latest(bucket, "shop")
    assert newest is not None
    assert (newest.cursors, newest.run_id) == ({"a": 1}, "r")


def test_a_source_hears_of_a_commit_only_when_it_is_durable(bucket: Bucket) -> None:
    seen = []

    class Asking(Told):
        def read(self, cursors: Cursors) -> Iterator[Rows | Checkpoint]:
            yield rows("a", "1")
            seen.append(manifest.latest_id(bucket, "shop"))
            checkpoint = Checkpoint({"a": 1})
            yield checkpoint
            seen.append((manifest.latest_id(bucket, "shop"), checkpoint.committed))

    extract(ENTRY, Asking(), bucket)
    assert seen == [0, (1, True)]


def test_a_checkpoint_with_nothing_new_commits_nothing_but_once_per_period(bucket: Bucket) -> None:
    first, second = Told(Checkpoint({"a": 1})), Told(Checkpoint({"a": 1}))
    assert extract(ENTRY, first, bucket).batches == [1]  # nobody had looked before
    assert extract(ENTRY, second, bucket).batches == []
    assert second.committed == [False]
    assert second.cursors == {"a": 1}


def test_events_and_heartbeats_are_committed_without_rows(bucket: Bucket) -> None:
    extract(ENTRY, Told(Checkpoint({})), bucket)
    assert extract(ENTRY, Told(Checkpoint({}, [{"event": "x"}])), bucket).events == [{"event": "x"}]
    assert extract(ENTRY, Told(Checkpoint({}, heartbeat=True)), bucket).batches == [3]


def test_rows_without_a_checkpoint_never_happened(bucket: Bucket) -> None:
    source = Told(rows("a", "1"), Checkpoint({"a": 1}), rows("a", "2"), SourceUnreachable("here", "gone"))
    with pytest.raises(SourceUnreachable):
        extract(ENTRY, source, bucket)
    assert source.closed
    assert manifest.latest_id(bucket, "shop") == 1
    again = Told(rows("a", "2"), Checkpoint({"a": 2}))
    assert extract(ENTRY, again, bucket).batches == [2]
    assert again.cursors == {"a": 1}


def test_a_full_refresh_forgets_the_cursors_and_not_the_batches(bucket: Bucket) -> None:
    extract(ENTRY, Told(rows("a", "1"), Checkpoint({"a": 1})), bucket)
    again = Told(rows("a", "1"), Checkpoint({"a": 1}))
    assert extract(ENTRY, again, bucket, full_refresh=True).batches == [2]
    assert again.cursors == {}


def test_what_a_source_wants_to_keep_outlives_a_full_refresh(bucket: Bucket) -> None:
    extract(ENTRY, Told(rows("a", "1"), Checkpoint({"a": 1})), bucket)
    source = Told(Checkpoint({}))
    source.forget = lambda cursors: {"kept": cursors["a"]}  # type: ignore[attr-defined]
    extract(ENTRY, source, bucket, full_refresh=True)
    assert source.cursors == {"kept": 1}


def test_the_state_is_read_after_the_claim(bucket: Bucket) -> None:
    source = Told(Checkpoint({"a": 2}, heartbeat=True))

    @contextmanager
    def claim() -> Iterator[None]:
        extract(ENTRY, Told(rows("a", "1"), Checkpoint({"a": 1})), bucket)  # another run ends while we wait
        yield

    source.claim = claim  # type: ignore[attr-defined]
    assert extract(ENTRY, source, bucket).batches == [2]
    assert source.cursors == {"a": 1}


def test_a_change_of_shape_begins_another_object(bucket: Bucket) -> None:
    extract(
        ENTRY,
        Told(rows("a", "1"), rows("a", "2", name=["x"]), rows("a", "3", name=["y"]), Checkpoint({})),
        bucket,
    )
    found = stored(bucket, 1)
    assert [[(r["id"], r.get("name")) for r in content] for _, content in found] == [
        [("1", None)],
        [("2", "x"), ("3", "y")],
    ]


def test_large_streams_become_several_objects(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "OBJECT_BYTES", 1000)
    extract(
        ENTRY,
        Told(*(rows("a", *(str(n) for n in range(i, i + 500))) for i in range(0, 2000, 500)), Checkpoint({})),
        bucket,
    )
    found = stored(bucket, 1)
    assert len(found) > 2
    assert [r["id"] for _, content in found for r in content] == [str(n) for n in range(2000)]


def test_a_pushed_source_cannot_be_read(bucket: Bucket) -> None:
    from groundwork.catalog import PushedSource

    pushed = PushedSource.model_validate(
        ENTRY.model_dump(exclude={"connection", "streams", "kind", "update_every"})
        | {
            "kind": "pushed",
            "update_every": "1 hour",
            "streams": {"a": {"replication": "incremental", "columns": {}}},
        }
    )
    with pytest.raises(GroundworkError, match="source 'shop': is pushed, so it cannot be read"):
        extracting.open_source(pushed, lambda _: "", bucket)
