"""A full disk or a damaged file: the first cause, where, and the way out; nothing is lost.

A full disk is made twice: by a limit of the size of files (RLIMIT_FSIZE, always), and by a small tmpfs (only
for root).
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from groundwork.alerts.diagnosis import diagnose
from groundwork.bucket import Bucket, open_bucket
from groundwork.doctor import examine
from groundwork.errors import BucketError, GroundworkError, WarehouseUnusable
from groundwork.load import load
from groundwork.settings import Settings
from groundwork.sources import Rows
from groundwork.warehouses.duckdb import DuckDB, open_duckdb
from tests.unit.test_load_memory import texts
from tests.unit.test_replay import ENTRY, commit, rows

MB = 1 << 20


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    """One batch of 20 MB that does not compress to less than 11."""
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    commit(bucket, Rows("a", pa.table({"id": texts(200, 100_000)})), rows("b", "1"))
    return bucket


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file of this process can grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: a full disk needs a tmpfs, and this user may not mount one")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def assert_told_as_full(error: GroundworkError, where: Path) -> None:
    text = f"{type(error).__name__}: {error}"
    assert str(where) in text and "free space" in text.lower(), text
    assert diagnose("Failed", text, crashed=False).kind == "disk", text


def loaded_whole(bucket: Bucket, file: Path) -> None:
    with open_duckdb(file, who="a test") as warehouse:
        load(ENTRY, bucket, warehouse).insist()
        assert warehouse.query("select count(*), min(length(id)) from landing.shop__a") == [(200, 100_000)]


@pytest.fixture
def landings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often a landing was tried."""
    tried: list[int] = []
    land = DuckDB._land

    def counted(self: DuckDB, *given: object) -> None:
        tried.append(1)
        land(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(DuckDB, "_land", counted)
    return tried


def test_the_warehouses_file_cannot_grow(bucket: Bucket, tmp_path: Path, landings: list[int]) -> None:
    file = tmp_path / "w.duckdb"
    with open_duckdb(file, who="a test"):
        pass
    with limited(15 * MB), pytest.raises(WarehouseUnusable, match="a disk is full") as raised:
        loaded_whole(bucket, file)
    assert_told_as_full(raised.value, file)
    assert len(landings) == 1, "a full disk is not tried again with more memory"
    loaded_whole(bucket, file)


def test_the_warehouses_disk_is_full(bucket: Bucket, small: Path, landings: list[int]) -> None:
    file = small / "w.duckdb"
    with pytest.raises(WarehouseUnusable, match="a disk is full") as raised:
        loaded_whole(bucket, file)
    assert_told_as_full(raised.value, file)
    assert len(landings) == 1, "a full disk is not tried again with more memory"
    with open_duckdb(file, who="a test") as warehouse:
        assert warehouse.loaded("shop") == 0 and "_left_out" not in warehouse.tables("landing")
    subprocess.run(["mount", "-o", "remount,size=200m", str(small)], check=True)
    loaded_whole(bucket, file)


def test_duckdbs_temporary_directory_is_full(bucket: Bucket, small: Path, tmp_path: Path) -> None:
    file = tmp_path / "w.duckdb"
    with open_duckdb(file, who="a test") as warehouse:
        warehouse.query(f"set temp_directory = '{small}'")
        warehouse.query("set memory_limit = '20MB'")
        warehouse.query("set threads = 1")
        with pytest.raises(WarehouseUnusable, match="a disk is full") as raised:
            warehouse.query(
                "create temp table t as select random()::varchar || random() a from range(2000000)"
            )
    assert_told_as_full(raised.value, small)


@pytest.fixture
def scratch_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Put temporary files somewhere."""

    def put(place: Path) -> None:
        monkeypatch.setenv("TMPDIR", str(place))
        monkeypatch.setattr(tempfile, "tempdir", None)

    return put


def test_tmpdir_is_full_during_a_load(
    bucket: Bucket, small: Path, tmp_path: Path, scratch_on: Callable[[Path], None]
) -> None:
    scratch_on(small)
    with pytest.raises(GroundworkError) as raised:
        loaded_whole(bucket, tmp_path / "w.duckdb")
    assert_told_as_full(raised.value, small)
    assert "TMPDIR" in str(raised.value) and bucket.url not in str(raised.value)
    scratch_on(tmp_path)
    loaded_whole(bucket, tmp_path / "w.duckdb")


def test_tmpdir_is_full_during_an_extract(
    small: Path, tmp_path: Path, scratch_on: Callable[[Path], None]
) -> None:
    scratch_on(small)
    bucket = open_bucket((tmp_path / "bucket").as_uri())
    with pytest.raises(GroundworkError) as raised:
        commit(bucket, Rows("a", pa.table({"id": texts(200, 100_000)})))
    assert_told_as_full(raised.value, small)
    assert "TMPDIR" in str(raised.value) and not list(bucket.list("shop/manifests/"))


def test_the_buckets_disk_is_full(small: Path) -> None:
    bucket = open_bucket((small / "bucket").as_uri())
    with pytest.raises(BucketError) as raised:
        commit(bucket, Rows("a", pa.table({"id": texts(200, 100_000)})))
    assert_told_as_full(raised.value, small)
    assert not list(bucket.list("shop/"))


# damage -------------------------------------------------------------------------------------------------


def flipped(position: int) -> Callable[[bytes], bytes]:
    return lambda body: body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a bit of the first header": flipped(100),
    "a bit of the second header": flipped(5000),
    "a bit of the third header": flipped(9000),
    "the magic bytes": flipped(9),
    "cut to half": lambda body: body[: len(body) // 2],
    "cut to a header": lambda body: body[:1000],
    "cut at the end": lambda body: body[:-300_000],
    "empty": lambda body: b"",
    "another file": lambda body: b"this is no warehouse" * 1000,
    "a bit in the middle": lambda body: flipped(len(body) // 2)(body),
    "a bit early in the data": flipped(300_000),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_warehouse_names_the_way_out_and_the_doctor_sees_it(
    bucket: Bucket, tmp_path: Path, damage: str
) -> None:
    settings = Settings(home=tmp_path)
    loaded_whole(bucket, settings.duckdb_file)
    body = settings.duckdb_file.read_bytes()
    settings.duckdb_file.write_bytes(DAMAGES[damage](body))

    def found() -> dict[str, str]:
        seen = examine(settings, {}, lambda: bucket, lambda named: "")
        return {finding.what: finding.problem for finding in seen}

    trouble = found()["warehouse duckdb"]
    if not trouble:
        assert_equal_content(settings.duckdb_file)
        return
    assert str(settings.duckdb_file) in trouble and "python -m groundwork replay" in trouble
    assert "damaged" in trouble and "invalidated" not in trouble
    shutil.rmtree(settings.duckdb_file, ignore_errors=True)
    settings.duckdb_file.unlink()
    loaded_whole(bucket, settings.duckdb_file)
    assert found()["warehouse duckdb"] == ""


def assert_equal_content(file: Path) -> None:
    """The bit that was flipped is in none of the blocks that are used."""
    with open_duckdb(file, who="a test") as warehouse:
        found = warehouse.query(
            "select count(*), count(distinct md5(id)), min(length(id)) from landing.shop__a"
        )
    assert found == [(200, 200, 100_000)]


def test_the_doctor_reads_the_newest_batch_of_each_source(bucket: Bucket, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    (key,) = [found.key for found in bucket.list("shop/data/b/")]
    bucket.put(key, bucket.get(key)[:-1])
    seen = {
        finding.what: finding.problem
        for finding in examine(settings, {"shop": ENTRY}, lambda: bucket, lambda named: "postgres://")
    }
    trouble = seen["newest batch of shop in the bucket"]
    assert trouble and key in trouble and "restore the object" in trouble.lower()
