"""Copies that an erasure does not rewrite: found, searched and removed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import duckdb
import polars as pl
import pytest

from groundwork.bucket.local import LocalBucket
from groundwork.catalog import load_catalog
from groundwork.commands.keep import remove_temporary
from groundwork.keep.remnants import holding, not_searched, older_than
from groundwork.keep.subjects import kinds, places_of
from groundwork.manifest import now
from groundwork.settings import Settings
from groundwork.warehouses.duckdb_rewriting import copies_of, write_anew
from tests.landing import ROOT

NAME = "Zenobia Quackenbush-Przybylski-é"
OLD = time.time() - 3600


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    home.mkdir()
    with duckdb.connect(str(home / "warehouse.duckdb")) as connection:
        connection.execute("create table people (name text)")
    return Settings(home=home, bucket=(home / "bucket").as_uri(), duckdb_path=None, readers_copy=None)


def test_unfinished_files_of_a_local_bucket_are_removed_once_their_writer_is_gone(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from groundwork.bucket.local import LocalBucket
        with LocalBucket(Path(sys.argv[1]))._written("shop/data/x", b"row") as draft:
            print(draft, flush=True)
            time.sleep(600)
        """
    )
    bucket = LocalBucket(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout
        try:
            draft = Path(writer.stdout.readline().strip())
            os.utime(draft, (OLD, OLD))
            assert bucket.remove_unfinished() == 0 and draft.exists(), "its writer is alive"
        finally:
            writer.kill()
    assert bucket.remove_unfinished() == 1 and not draft.exists()
    bucket.put("shop/data/x", b"row")
    assert bucket.remove_unfinished() == 0 and bucket.get("shop/data/x") == b"row"


def test_copies_beside_the_warehouse_are_removed_by_the_next_rewrite(settings: Settings) -> None:
    for name in (".anew-k3j4", f".copy-of-{settings.duckdb_file.name}-x1"):
        left = settings.home / name
        left.mkdir()
        (left / "warehouse.duckdb").write_bytes(NAME.encode())
    bucket = LocalBucket(settings.home / "bucket")
    assert [one.why for one in older_than(now(), bucket, settings, [])] == [
        "a killed process left this copy"
    ] * 2
    write_anew(settings.duckdb_file)
    assert copies_of(settings.duckdb_file) == []
    assert list(older_than(now(), bucket, settings, [])) == []


def test_unfinished_copies_for_readers_are_reported_and_swept(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_copy = settings.model_copy(update={"readers_copy": tmp_path / "readers.duckdb"})
    left = [tmp_path / ".readers.duckdb.0123abcd", tmp_path / ".readers.duckdb.0123abcd.wal"]
    others = tmp_path / ".readers.duckdb.bak"
    for file in (*left, others):
        file.write_bytes(NAME.encode())
    bucket = LocalBucket(settings.home / "bucket")
    assert [one.place for one in older_than(now(), bucket, with_copy, [])] == [str(file) for file in left]
    monkeypatch.setattr("groundwork.commands.keep.Settings", lambda: with_copy)
    remove_temporary(bucket)
    assert [file.exists() for file in (*left, others)] == [False, False, True]
    assert list(older_than(now(), bucket, with_copy, [])) == []


def test_a_copy_for_readers_from_before_the_erasure_is_reported(settings: Settings, tmp_path: Path) -> None:
    readers = tmp_path / "readers.duckdb"
    readers.write_bytes(b"x")
    with_copy = settings.model_copy(update={"readers_copy": readers})
    bucket = LocalBucket(settings.home / "bucket")
    assert list(older_than(now(), bucket, with_copy, [])) != []
    before = now()
    os.utime(readers, (time.time() + 1, time.time() + 1))
    assert list(older_than(before, bucket, with_copy, [])) == []


def test_an_old_object_that_no_manifest_lists_is_reported(settings: Settings) -> None:
    bucket = LocalBucket(settings.home / "bucket")
    bucket.put("shop/data/customers/0000000007/part-00000-abandoned.parquet", b"x")
    (found,) = older_than(now(), bucket, settings, ["shop"])
    assert found.place.endswith("part-00000-abandoned.parquet") and "sweep" in found.fix


@pytest.mark.parametrize(
    "where",
    ["object", "packed columns", "json escapes", "warehouse", "log of the warehouse", "home", "scratch"],
)
def test_a_text_is_found_wherever_it_is(settings: Settings, where: str, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    bucket = LocalBucket(settings.home / "bucket")
    bucket.put("shop/data/x", b"other rows")
    assert list(holding([NAME], bucket, settings)) == []
    if where == "object":
        bucket.put("payments/data/y", b"[" + NAME.encode() + b"]")
    elif where == "packed columns":
        frame = pl.DataFrame({"name": [NAME[:6], NAME] * 5000, "n": range(10_000)})
        frame.write_parquet(tmp_path / "packed.parquet", compression="zstd")
        bucket.put("shop/data/z.parquet", tmp_path / "packed.parquet")
    elif where == "json escapes":
        bucket.put(
            "shop/data/z.json",
            b'{"name": "' + NAME.encode("ascii", "backslashreplace").replace(b"\\xe9", b"\\u00e9") + b'"}',
        )
    elif where == "warehouse":
        with duckdb.connect(str(settings.duckdb_file)) as connection:
            connection.execute("insert into people select ? || (i % 3) from range(100000) t(i)", [NAME])
    elif where == "log of the warehouse":
        Path(f"{settings.duckdb_file}.wal").write_bytes(NAME.encode())
    elif where == "home":
        (settings.home / "logs").mkdir()
        (settings.home / "logs" / "run.log").write_text(f"hello {NAME}")
    else:
        (tmp_path / "groundwork-abc").mkdir()
        (tmp_path / "groundwork-abc" / "part").write_text(NAME)
    found = list(holding([NAME], bucket, settings))
    assert found and all(NAME not in f"{one.place}{one.why}{one.fix}" for one in found)


def test_the_demos_own_servers_are_named_as_not_searched(settings: Settings) -> None:
    (settings.home / "services" / "postgres").mkdir(parents=True)
    (settings.home / "services" / "postgres" / "page").write_text(NAME)
    assert not_searched(settings) == [settings.home / "services"]
    assert list(holding([NAME], LocalBucket(settings.home / "bucket"), settings)) == []


def test_the_demos_catalog_declares_who_a_customer_is() -> None:
    catalog = load_catalog(ROOT / "catalog")
    places = {".".join(place) for place in places_of(catalog, "customer")}
    assert places >= {"shop.customers.id", "shop.orders.customer_id", "shop.addresses.customer_id"}
    assert {".".join(place) for place in places_of(catalog, "order")} >= {"payments.payments.order_reference"}
    assert kinds(catalog) == {"customer", "order", "payment"}
