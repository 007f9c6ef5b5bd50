"""Memory of loads: where its limit comes from, what is tried with it, and what is said of too little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groundwork.bucket import Bucket, open_bucket
from groundwork.errors import StreamsQuarantined
from groundwork.load import load
from groundwork.manifest import since
from groundwork.settings import Settings
from groundwork.sources import Rows
from groundwork.warehouses import duckdb_memory, open_warehouse
from groundwork.warehouses.duckdb_memory import Bounds, _container_limits, bounds
from tests.unit.test_replay import ENTRY, commit, rows

GB = 1 << 30


def texts(count: int, size: int, seed: int = 7) -> pa.Array:
    """Texts that do not compress."""
    data = np.random.default_rng(seed).integers(97, 123, count * size, dtype=np.uint8)
    ends = pa.py_buffer(np.arange(0, (count + 1) * size, size, dtype=np.int32))
    return pa.StringArray.from_buffers(count, ends, pa.py_buffer(data))


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return open_bucket((tmp_path / "bucket").as_uri())


def group(place: Path, name: str, limit: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_text(limit + "\n", encoding="ascii")


@pytest.mark.parametrize(
    ("lines", "groups", "limits"),
    [
        ("0::/app/one", {"app/one": "max", "app": "2147483648", "": "max"}, [2 * GB]),
        ("0::/", {"": "1073741824"}, [GB]),
        ("0::/not/seen/from/inside", {"": "1073741824"}, [GB]),
        ("0::/", {}, []),
    ],
)
def test_limits_of_control_groups_of_version_2(
    tmp_path: Path, lines: str, groups: dict[str, str], limits: list[int]
) -> None:
    for path, limit in groups.items():
        group(tmp_path / "root" / path, "memory.max", limit)
    (tmp_path / "process").write_text(lines + "\n", encoding="ascii")
    assert _container_limits(tmp_path / "root", tmp_path / "process") == limits


def test_limits_of_control_groups_of_version_1(tmp_path: Path) -> None:
    root = tmp_path / "root" / "memory"
    group(root, "memory.limit_in_bytes", "9223372036854771712")
    group(root / "docker/a", "memory.limit_in_bytes", str(3 * GB))
    (tmp_path / "process").write_text("7:pids:/docker/a\n4:cpu,memory:/docker/a\n", encoding="ascii")
    assert min(_container_limits(tmp_path / "root", tmp_path / "process")) == 3 * GB
    assert _container_limits(tmp_path / "root", tmp_path / "nowhere") == []


def test_narrow_rows_get_little_and_others_what_can_be_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_memory, "available", lambda: 2 * GB)
    monkeypatch.setattr(duckdb_memory.os, "cpu_count", lambda: 2)
    spared = [Bounds(1, int(0.65 * 2 * GB)), Bounds(1, int(0.8 * 2 * GB))]
    assert list(bounds(10, None)) == [Bounds(2, 300_000_000), *spared]
    assert list(bounds(1600, None)) == spared
    assert list(bounds(1600, 4 * GB)) == [Bounds(1, 4 * GB)]
    assert list(bounds(10, 100_000_000)) == [Bounds(2, 100_000_000), Bounds(1, 100_000_000)]


def test_too_little_memory_leaves_the_stream_out_and_names_the_setting(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(bucket, rows("a", "1"), Rows("b", pa.table({"id": texts(1, 30_000_000)})))
    monkeypatch.setenv("GROUNDWORK_DUCKDB_MEMORY", "40 MB")
    says = r"stream b is not loaded .*LackOfMemory: .* set GROUNDWORK_DUCKDB_MEMORY"
    with (
        open_warehouse(Settings(home=tmp_path), who="a test") as warehouse,
        pytest.raises(StreamsQuarantined, match=says),
    ):
        load(ENTRY, bucket, warehouse).insist()
    monkeypatch.delenv("GROUNDWORK_DUCKDB_MEMORY")
    with open_warehouse(Settings(home=tmp_path), who="a test") as warehouse:
        load(ENTRY, bucket, warehouse).insist()
        assert warehouse.query("select id from landing.shop__a") == [("1",)]
        assert warehouse.query("select length(id) from landing.shop__b") == [(30_000_000,)]


@pytest.mark.parametrize(
    ("columns", "count", "size"),
    [(1600, 2000, 7), (1, 300, 1_000_000), (10, 1, 20_000_000), (1, 1, 140_000_000)],
)
def test_wide_rows_and_large_values_are_loaded(
    bucket: Bucket, tmp_path: Path, columns: int, count: int, size: int
) -> None:
    """Within the memory of this machine; `make bench-memory` loads larger ones within 2 GB."""
    values = {("id" if n == 0 else f"c{n}"): texts(count, size, n) for n in range(columns)}
    commit(bucket, Rows("a", pa.table(values)), rows("b", "1"))
    with open_warehouse(Settings(home=tmp_path), who="a test") as warehouse:
        load(ENTRY, bucket, warehouse).insist()
        found = warehouse.query("select count(*), min(length(id)), max(length(id)) from landing.shop__a")
        first = warehouse.query("select md5(id) from landing.shop__a order by _row limit 1")
    assert found == [(count, size, size)]
    import hashlib

    assert first == [(hashlib.md5(values["id"][0].as_buffer()).hexdigest(),)]


def test_large_rows_are_written_in_row_groups_that_fit_into_memory(bucket: Bucket, tmp_path: Path) -> None:
    commit(bucket, Rows("a", pa.table({"id": texts(600, 100_000)})), rows("b", *map(str, range(100_000))))
    objects = {stored.stream: stored for stored in next(since(bucket, "shop", 0)).objects}
    for stream, groups in (("a", 4), ("b", 1)):
        bucket.download(objects[stream].key, tmp_path / "object")
        footer = pq.read_metadata(tmp_path / "object")
        assert footer.num_row_groups == groups
        assert all(footer.row_group(n).total_byte_size < 20 << 20 for n in range(groups))


def test_rows_are_numbered_where_the_source_has_a_column_of_duckdbs_own_number(
    bucket: Bucket, tmp_path: Path
) -> None:
    values = pa.table({"file_row_number": texts(600, 100_000), "id": [str(n) for n in range(600)]})
    commit(bucket, Rows("a", values), rows("b", "1"))
    with open_warehouse(Settings(home=tmp_path), who="a test") as warehouse:
        load(ENTRY, bucket, warehouse).insist()
        found = warehouse.query("select _row, id, length(file_row_number) from landing.shop__a order by _row")
    assert found == [(n, str(n), 100_000) for n in range(600)]
