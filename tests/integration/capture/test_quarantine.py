# ruff: noqa: E501 (statements and messages read better in one line)
"""One bad table does not stop the others: it is left out, told of, and copied again once it is mended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from groundwork.errors import GroundworkError, ProtocolError, SourceRefused, StreamsQuarantined
from groundwork.extract import Extracted
from groundwork.sources import copying, tuples
from tests.capture import ROLE, Capture, Database, run_and_die

Captures = Callable[..., Capture]


@pytest.fixture
def shop(database: Database, capture: Captures) -> Capture:
    """Two tables that stay well, and ``bad``, which does not."""
    database.sql(
        "create table items (id bigint primary key, t text); create table notes (t text); alter table notes replica identity full;"
        "create table bad (id bigint primary key, t text not null, u bigint not null unique);"
        "insert into items select i, 'item' from generate_series(1, 50) i; insert into notes values ('a'), ('a');"
        "insert into bad select i, 'bad', i from generate_series(1, 50) i"
    )
    database.publish("items", "notes", "bad")
    return capture(items=("public.items", ["id"]), bad=("public.bad", ["id"]), notes=("public.notes", []))


def change(database: Database, bad: str = "bad") -> None:
    database.sql(
        "insert into items select max(id) + 1, 'new' from items; update items set t = t || '.' where id % 7 = 0;"
        "delete from items where id in (select min(id) from items); insert into notes values ('b');"
    )
    if bad:
        database.sql(
            f"insert into {bad} (id, t, u) select max(id) + 1, 'new', max(id) + 1 from {bad};"
            f"update {bad} set t = t || '.' where id % 5 = 0; delete from {bad} where id in (select min(id) from {bad})"
        )


def told(source: Capture, kind: str) -> list[dict[str, Any]]:
    return [e for manifest in source.manifests for e in manifest.events if e["event"] == kind]


def assert_the_others_are_whole(source: Capture) -> None:
    described = source.streams
    source.streams = {name: known for name, known in described.items() if name != "bad"}
    try:
        source.assert_equal_to_the_source()
    finally:
        source.streams = described


def assert_left_out(report: Extracted, why: str) -> None:
    assert list(report.quarantined) == ["bad"]
    with pytest.raises(StreamsQuarantined, match=why) as caught:
        report.insist()
    assert "source 'shop': left out: stream bad (public.bad) since 20" in str(caught.value)
    assert "the next run brings these up to date" in str(caught.value)


ILLS = {
    "not published any more": (
        "alter publication groundwork drop table bad",
        "alter publication groundwork add table bad",
        "'public.bad' is not in publication 'groundwork'",
    ),
    "a column that landing cannot hold": (
        "alter table bad add column _row text",
        "alter table bad drop column _row",
        "column '_row' has a name that landing gives",
    ),
    "columns that differ in case only": (
        'alter table bad add column "T" text',
        'alter table bad drop column "T"',
        "differ in upper and lower case only",
    ),
    "another replica identity": (
        "create unique index by_u on bad (u); alter table bad replica identity using index by_u",
        "alter table bad replica identity default",
        "public.bad",
    ),
    "the key's column renamed": (
        "alter table bad rename column id to number",
        "alter table bad rename column number to id",
        "'?id'? ?is not|is not a published column|public.bad",
    ),
    "dropped and made again": (
        "drop table bad",
        "create table bad (id bigint primary key, t text, u bigint); insert into bad values (1, 'again', 1);"
        "alter publication groundwork add table bad",
        "'public.bad' is not in publication 'groundwork'",
    ),
}


@pytest.mark.parametrize("ill", ILLS)
def test_a_bad_table_is_left_out_and_comes_back_whole(shop: Capture, database: Database, ill: str) -> None:
    breaks, mends, why = ILLS[ill]
    shop.run()
    change(database)
    database.sql(breaks)
    change(database, bad="")
    for _ in range(3):
        assert_left_out(shop.run(), why)
        assert_the_others_are_whole(shop)
        change(database, bad="")
    (event,) = told(shop, "quarantined")
    assert event["stream"] == "bad"
    mark = shop.manifests[-1].cursors["bad"]["quarantined"]
    assert mark["since"] and mark["why"] == event["why"]
    assert "snapshot" not in shop.manifests[-1].cursors["bad"]

    database.sql(mends)
    database.let_read()
    change(database)
    report = shop.run()
    report.insist()
    shop.assert_equal_to_the_source()
    assert [(e["stream"], e["quarantined_since"]) for e in told(shop, "back")] == [("bad", mark["since"])]
    change(database)
    shop.run().insist()
    shop.assert_equal_to_the_source()
    assert "quarantined" not in shop.manifests[-1].cursors["bad"]


@pytest.mark.parametrize("when", ["in the first run", "when it is copied again"])
def test_a_table_that_we_may_not_read_is_left_out(shop: Capture, database: Database, when: str) -> None:
    if when == "when it is copied again":
        shop.run()
        database.sql("alter table bad alter column u type text")  # that asks for another copy
    database.sql(f"revoke select on bad from {ROLE}")
    change(database)
    assert_left_out(shop.run(), "permission denied for table bad.*Give the role the right")
    assert_the_others_are_whole(shop)
    database.let_read()
    change(database)
    shop.run().insist()
    shop.assert_equal_to_the_source()


def test_a_right_that_is_not_needed_is_not_asked_for(shop: Capture, database: Database) -> None:
    """The log needs no SELECT: who may not copy a table any more still follows it."""
    shop.run()
    database.sql(f"revoke select on bad from {ROLE}")
    change(database)
    shop.run().insist()
    shop.assert_equal_to_the_source()


@pytest.mark.parametrize("when", ["in the first run", "later"])
def test_a_copy_that_breaks_off_half_way_leaves_no_rows_of_that_table(
    shop: Capture, database: Database, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    if when == "later":
        shop.run()
        database.sql("alter table bad alter column u type text")
    change(database)
    original = copying.Copying.rows

    def breaks(self: copying.Copying, table: Any) -> Any:
        yield from original(self, table)
        if table.stream == "bad":
            raise ProtocolError("byte 8 of the copy", "a row with another number of columns")

    with monkeypatch.context() as patched:
        patched.setattr(copying.Copying, "rows", breaks)
        before = shop.landed("bad") if when == "later" else []
        assert_left_out(shop.run(), "byte 8 of the copy: a row with another number of columns")
        assert_the_others_are_whole(shop)
        assert [row for row in shop.landed("bad") if row["_operation"] == "snapshot"][len(before) :] == []
        change(database)
        assert_left_out(shop.run(), "byte 8 of the copy")  # tried again, after the others
        assert_the_others_are_whole(shop)
        assert len(told(shop, "quarantined")) == 1
    change(database)
    shop.run().insist()
    shop.assert_equal_to_the_source()


def test_rows_of_one_table_that_the_decoder_refuses_leave_that_table_out(
    shop: Capture, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.run()
    change(database)
    original = tuples.Walk.changes

    def refuses(walk: Any) -> Any:
        if walk._relation.table == "bad":
            raise ProtocolError("byte 99 of the stream, table public.bad", "a row without columns")
        return original(walk)

    with monkeypatch.context() as patched:
        patched.setattr(tuples.Walk, "changes", refuses)
        report = shop.run()
    assert_left_out(report, "byte 99 of the stream, table public.bad")
    assert_the_others_are_whole(shop)
    change(database)
    shop.run().insist()
    shop.assert_equal_to_the_source()


def test_an_identity_that_changed_for_a_while_is_seen_in_the_log(shop: Capture, database: Database) -> None:
    """Mended before we looked: only the log knows that some changes do not name their record."""
    shop.run()
    database.sql("create unique index by_u on bad (u); alter table bad replica identity using index by_u")
    change(database)
    database.sql("alter table bad replica identity default")
    change(database)
    assert_left_out(shop.run(), "an update or delete does not name its record")
    assert_the_others_are_whole(shop)
    change(database)
    shop.run().insist()
    shop.assert_equal_to_the_source()


def test_a_table_that_is_bad_from_the_beginning_and_one_that_is_added_later(
    shop: Capture, database: Database
) -> None:
    database.sql("alter publication groundwork drop table bad")
    assert_left_out(shop.run(), "is not in publication")
    database.sql(
        "create table later (id int primary key); insert into later values (1); alter publication groundwork add table later"
    )
    database.let_read()
    shop.streams["later"] = ("public.later", ["id"])
    assert_left_out(shop.run(), "is not in publication")
    assert_the_others_are_whole(shop)
    database.sql("alter publication groundwork add table bad")
    shop.run().insist()
    shop.assert_equal_to_the_source()


def test_when_all_are_bad_it_is_one_plain_error_and_nothing_is_written(
    shop: Capture, database: Database
) -> None:
    shop.run()
    before = len(shop.manifests)
    database.sql("alter publication groundwork drop table bad, items, notes")
    with pytest.raises(SourceRefused, match="is not in publication"):
        shop.run()
    assert len(shop.manifests) == before
    database.sql("alter publication groundwork add table bad, items, notes")
    change(database)
    shop.run().insist()
    shop.assert_equal_to_the_source()


def test_the_slot_moves_on_while_the_only_table_that_is_followed_is_left_out(
    database: Database, capture: Captures
) -> None:
    database.sql(
        "create table bad (id int primary key); create table fill (t text);"
        " alter table fill replica identity full"
    )
    database.publish("bad", "fill")
    source = capture(bad=("public.bad", ["id"]), fill=("public.fill", []))
    entry = source.entry
    streams = entry.streams | {"fill": entry.streams["fill"].model_copy(update={"replication": "full_table"})}
    kind = type("Mixed", (Capture,), {"entry": entry.model_copy(update={"streams": streams})})
    source.__class__ = kind
    source.run()
    database.sql("alter publication groundwork drop table bad")
    for _ in range(20):
        database.sql("insert into fill select repeat(md5(i::text), 32) from generate_series(1, 950) i")
    report = source.run()
    assert list(report.quarantined) == ["bad"]
    assert report.slot["after"]["behind"] < 1 << 20 < report.slot["before"]["behind"]
    database.sql("alter publication groundwork add table bad; insert into bad values (1)")
    source.run().insist()
    assert [row["id"] for row in source.reconstructed("bad")] == ["1"]


@pytest.mark.parametrize("moment", ["dying(manifest, 'commit')", "dying(manifest, 'commit', after=True)", "dying(manifest, 'commit', 2)", "dying(wire.Connection, 'start_stream', 2)"])  # fmt: skip
def test_killed_while_a_table_goes_or_comes_back(shop: Capture, database: Database, moment: str) -> None:
    shop.run()
    database.sql("alter publication groundwork drop table bad")
    change(database)
    if "2)" not in moment:
        run_and_die(shop, moment)
    assert_left_out(shop.run(), "is not in publication")
    assert_the_others_are_whole(shop)
    database.sql("alter publication groundwork add table bad")
    change(database)
    run_and_die(shop, moment)
    change(database)
    shop.run().insist()
    shop.assert_equal_to_the_source()


def command(shop: Capture, directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    described = json.loads(
        shop.entry.model_dump_json(exclude_none=True, exclude={"connection": {"slot_lag"}})
    )
    described["update_every"] = "1 hour"
    (directory / "catalog").mkdir(exist_ok=True)
    (directory / "catalog" / "shop.yml").write_text(yaml.safe_dump(described, sort_keys=False))
    return subprocess.run(
        [sys.executable, "-m", "groundwork", *words],
        env={
            **os.environ,
            "GROUNDWORK_HOME": str(directory),
            "GROUNDWORK_CATALOG": str(directory / "catalog"),
            "GROUNDWORK_BUCKET": shop.bucket.url,
            "SHOP_DATABASE_URL": shop.url,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=Path(__file__).parents[3],
    )


def test_the_command_line_reads_the_rest_says_what_is_left_out_and_ends_with_1(
    shop: Capture, database: Database, tmp_path: Path
) -> None:
    assert (done := command(shop, tmp_path, "extract", "shop")).returncode == 0, done.stderr
    database.sql("alter publication groundwork drop table bad")
    change(database)
    done = command(shop, tmp_path, "extract", "shop")
    assert done.returncode == 1
    assert "left out: stream bad (public.bad) since 20" in done.stderr
    assert "'public.bad' is not in publication 'groundwork'" in done.stderr
    shop.load()
    assert_the_others_are_whole(shop)
    database.sql("alter publication groundwork add table bad")
    again = command(shop, tmp_path, "full-refresh", "shop", "--stream", "items", "--stream", "bad")
    assert again.returncode == 0, again.stderr
    shop.load()
    shop.assert_equal_to_the_source()
    wrong = command(shop, tmp_path, "full-refresh", "shop", "--stream", "item")
    assert wrong.returncode == 1
    assert "there is no stream 'item' (items, bad, notes). Did you mean 'items'?" in wrong.stderr


def test_the_flow_loads_all_else_and_then_fails(
    shop: Capture, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.extract import extract_source
    from tasks.load import load_source

    shop.extract()
    database.sql("alter publication groundwork drop table bad")
    change(database)
    command(shop, tmp_path, "check")
    monkeypatch.setenv("GROUNDWORK_HOME", str(tmp_path))
    monkeypatch.setenv("GROUNDWORK_CATALOG", str(tmp_path / "catalog"))
    monkeypatch.setenv("GROUNDWORK_BUCKET", shop.bucket.url)
    monkeypatch.setenv("GROUNDWORK_DUCKDB_PATH", str(shop.file))
    monkeypatch.setenv("SHOP_DATABASE_URL", shop.url)
    extracted = extract_source.fn("shop", ["items"])
    load_source.fn("shop")
    assert_the_others_are_whole(shop)
    assert_left_out(extracted, "is not in publication")
    assert issubclass(StreamsQuarantined, GroundworkError)
