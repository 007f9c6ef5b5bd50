# ruff: noqa: E501 (statements and messages read better in one line)
"""Every value is, letter for letter, what PostgreSQL prints: in the snapshot and in the log."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from demo.postgres import Postgres
from tests.capture import Capture, Database, process, reduced

HARD = {
    "boolean": ["true", "false"],
    "smallint": ["-32768", "32767"],
    "integer": ["-2147483648", "0"],
    "bigint": ["-9223372036854775808", "9223372036854775807"],
    "numeric": ["'NaN'", "'Infinity'", "'-Infinity'", "0.000", "-0.10", "1e-20", f"'{'9' * 1000}.{'1' * 200}'"],
    "numeric(10,4)": ["1.5", "-0.0001", "'NaN'"],
    "real": ["'NaN'", "'-Infinity'", "-0.0", "3.4028235e38", "1e-45", "0.1"],
    "double precision": ["'NaN'", "'Infinity'", "-0.0", "1.7976931348623157e308", "5e-324", "0.1", "1e15", "1e16"],
    "money": ["'-92233720368547758.08'", "'12.34'"],
    "text": ["''", "' '", "'\\N'", "E'\\\\\\\\N'", "E'a\\tb\\nc\\rd\\\\e\\bf\\fg\\vh'", "E'\\\\'", "E'\\\\t'", "'NULL'",
             "'ümläut 💥 \u0001 \u2028 \u200d ﷽ \U0010ffff'", "E'\\u00e9e\\u0301'", "repeat('tab\there', 3000)", "'\\.'", "E'\\r\\n'"],
    "varchar(5)": ["'abc  '", "''"],
    "char(6)": ["'ab'", "''", "'      '"],
    '"char"': ["'x'", "''"],
    "name": ["'n'"],
    "bytea": ["''", "'\\x00ff5c09'", "decode(repeat('00ff', 5000), 'hex')"],
    "bit(5)": ["B'01010'"],
    "bit varying": ["B''", "B'1'"],
    "date": ["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'0001-12-31 BC'", "'5874897-12-31'", "'2024-02-29'"],
    "time": ["'24:00:00'", "'00:00:00.000001'", "'23:59:59.999999'"],
    "timetz": ["'24:00:00+15:59'", "'00:00:00-15:59:59'"],
    "timestamp": ["'infinity'", "'-infinity'", "'4713-01-01 00:00:00 BC'", "'294276-12-31 23:59:59.999999'", "'1999-12-31 23:59:59.5'"],
    "timestamptz": ["'infinity'", "'-infinity'", "'4713-01-02 00:00:00+00 BC'", "'294276-12-31 23:59:59.999999+00'", "'2024-03-31 02:30:00+02'"],
    "interval": ["'0'", "'-1 year -2 mons +3 days -04:05:06.789'", "'178000000 years'", "'infinity'", "'1 month -1 day'"],
    "uuid": ["'00000000-0000-0000-0000-000000000000'", "'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'"],
    "json": ["'{\"a\": 1.10, \"a\":  100000000000000000000000000.5e-400}'", "'[1 ,  2]'", "'null'", "E'\"\\\\u00e9\\\\n\"'"],
    "jsonb": ["'{\"a\": 1.10, \"b\": 100000000000000000000000000000000000001, \"c\": 1e500}'", "'[]'", "'null'"],
    "jsonpath": ["'$.a[*] ? (@ > 1)'"],
    "xml": [],
    "inet": ["'1.2.3.4'", "'1.2.3.4/32'", "'1.2.3.4/8'", "'::1'", "'::ffff:1.2.3.4/128'"],
    "cidr": ["'1.2.3.4/32'", "'10.0.0.0/8'", "'::/0'"],
    "macaddr": ["'08:00:2b:01:02:03'"],
    "macaddr8": ["'08:00:2b:01:02:03:04:05'"],
    "point": ["'(1.1,-0)'", "'(Infinity,NaN)'"],
    "line": ["'{1,2,3}'"],
    "lseg": ["'[(0,0),(1,1e300)]'"],
    "box": ["'(2,2),(0,0)'"],
    "path": ["'((0,0),(1,1))'", "'[(0,0),(1,1)]'"],
    "polygon": ["'((0,0),(1,1),(2,0))'"],
    "circle": ["'<(0,0),1.5>'"],
    "tsvector": ["'a:1A ''b c'':2'", "''"],
    "tsquery": ["'a & !b:*'"],
    "int4range": ["'empty'", "'[1,5)'", "'(,)'"],
    "numrange": ["'[0.10,)'"],
    "tstzrange": ["'[\"2024-01-01 00:00:00+00\",infinity)'"],
    "int4multirange": ["'{}'", "'{[1,3),[5,9)}'"],
    "int[]": ["'{}'", "'{1,NULL,3}'", "'[0:2]={1,2,3}'", "'{{1,2},{3,4}}'", "'[-1:0][5:5]={{1},{2}}'"],
    "text[]": ["'{\"\",\"NULL\",NULL,\"a,b\",\"q\\\"q\",\"b\\\\\\\\s\",\"t\tt\"}'", "array[E'new\\nline', '{}']"],
    "timestamptz[]": ["'{infinity,\"0044-03-15 00:00:00+00 BC\"}'"],
    "numeric[]": ["'{NaN,1.50,-Infinity}'"],
    "mood": ["'so so'", "'it''s \"ok\"'"],
    "positive": ["1", "99"],
    "address": ["row('a,\"b', null, 1.50)::address", "row('', E'x\\\\y', null)::address"],
    "address[]": ["array[row('a', null, 0)::address]"],
    "oid": ["4294967295"],
    "regclass": ["'pg_class'"],
    "regtype": ["'integer'"],
    "pg_lsn": ["'FFFFFFFF/FFFFFFFF'"],
    "xid8": ["'18446744073709551615'"],
}  # fmt: skip


def make_table(database: Database) -> list[str]:
    """A table with a column of every type, and a row per hard value."""
    database.sql(
        "create type mood as enum ('so so', 'it''s \"ok\"'); create domain positive as int check (value > 0);"
        "create type address as (street text, city text, no numeric)"
    )
    hard = dict(HARD)
    if database.server.major_version < 17:  # an interval has no infinity before
        hard["interval"] = [value for value in HARD["interval"] if value != "'infinity'"]
    kinds = [kind for kind, values in hard.items() if values]
    columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(kinds))
    database.sql(f"create table hard (id int generated always as identity primary key, {columns})")
    inserts = []
    for number in range(max(map(len, HARD.values()))):
        values = [hard[kind][number % len(hard[kind])] for kind in kinds]
        inserts.append(f"insert into hard overriding user value values (0, {', '.join(values)})")
    return [*inserts, "insert into hard default values"]


def test_hard_values_of_every_type_are_the_same_letter_for_letter(
    database: Database, capture: Callable[..., Capture]
) -> None:
    inserts = make_table(database)
    for statement in inserts:
        database.sql(statement)
    # Another way to print things is set for the database and the role: what is pinned wins.
    for setting in ("datestyle = 'German, DMY'", "timezone = 'Asia/Kathmandu'", "intervalstyle = 'iso_8601'",
                    "extra_float_digits = -15", "bytea_output = 'escape'", "lc_monetary = 'C'"):  # fmt: skip
        database.sql(f'alter database "{database.name}" set {setting}')
    database.publish("hard")
    source = capture(hard=("public.hard", ["id"]))
    source.run()
    source.assert_equal_to_the_source()
    for statement in inserts:
        database.sql(statement)
    database.sql("update hard set c2 = 5 where id % 2 = 0; delete from hard where id = 3")
    database.sql("alter table hard replica identity full; update hard set id = default where id < 6")
    source.run()
    source.assert_equal_to_the_source()


@pytest.mark.parametrize(
    ("encoding", "texts"),
    [
        ("LATIN1", ["".join(map(chr, [*range(32, 127), *range(160, 256)])), "é", "", "\u0085", "ß" * 5000]),
        ("EUC_JP", ["日本語のテキスト", "ｶﾅ", "漢" * 5000, "ABC\\\t\n", "「", "αЯ"]),
        ("WIN1252", ["€ “quoted” – œ", "ž", "…" * 4000]),
    ],
)
def test_values_of_a_database_in_another_encoding_are_the_same_text(
    server: Postgres, tmp_path: Path, encoding: str, texts: list[str]
) -> None:
    database = Database(server, f"capture_{encoding.lower()}")
    server.sql(f"create database {database.name} encoding '{encoding}' locale 'C' template template0")
    try:
        column = texts[0][-1]
        database.sql(
            f'create table "t{column}" (id int generated always as identity primary key, "{column}" text, v varchar[])'
        )
        database.publish(f'"t{column}"')
        source = Capture(database, tmp_path, odd=(f"public.t{column}", ["id"]))
        insert = f'insert into "t{column}" ("{column}", v) values (cast(:text as text), array[cast(:text as text)])'
        for _ in ("snapshot", "log"):
            for text in texts:
                database.sql(insert, text=text)
            source.run()
            source.assert_equal_to_the_source()
        database.sql(
            f'update "t{column}" set "{column}" = v[1] || \'!\' where id > 3; delete from "t{column}" where id = 2'
        )
        source.run()
        source.assert_equal_to_the_source()
        assert {row[column] for row in source.reconstructed("odd")} >= {texts[0], texts[2] + "!"}
    finally:
        database.drop()


LONG = pytest.mark.skipif(
    not {"GROUNDWORK_TEST_LARGE", "GROUNDWORK_TEST_POSTGRES"} & os.environ.keys(),
    reason="a minute: make test-large, make test-versions",
)
BIG_PEAK = 2400
"""Megabytes for a value of 100 MB, which is 200 MB of text: twice in the buffer, unescaped, and in Parquet."""


@pytest.mark.slow
@pytest.mark.parametrize("identity", ["default", pytest.param("full", marks=LONG)])
def test_values_of_a_hundred_megabytes_are_whole_within_a_bound_of_memory(
    database: Database, capture: Callable[..., Capture], identity: str
) -> None:
    database.sql(
        "create table big (id int primary key, b bytea, n int); alter table big alter b set storage external;"
        f"alter table big replica identity {identity};"
        "insert into big select i, convert_to(repeat(md5(i::text), 3276800), 'UTF8'), 0 from generate_series(1, 1) i"
    )
    database.publish("big")
    source = capture(big=("public.big", ["id"]))
    peaks = []
    for change in (
        "select 1",
        "insert into big select 3, b, 0 from big where id = 1",
        "update big set n = id",
        "update big set b = b || '\\x00' where id = 1; delete from big where id = 3",
    ):
        database.sql(change)
        done = process(source, "", "extract")
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.strip()))
    print(f"{peaks} MB of {BIG_PEAK}")
    assert max(peaks) < BIG_PEAK
    truth = database.sql("select id, md5('\\x' || encode(b, 'hex')), n from big order by id")
    assert [(row["id"], digest(row["b"]), row["n"]) for row in reconstructed(source)] == [
        (str(i), text, str(n)) for i, text, n in truth
    ]


def reconstructed(source: Capture) -> list[dict[str, Any]]:
    """From the objects themselves: a warehouse would need more memory than the platform."""
    rows = [
        row
        for batch in source.manifests
        for stored in batch.objects
        for row in pq.read_table(source.directory / "bucket" / stored.key).to_pylist()
    ]
    return sorted(reduced(sorted(rows, key=lambda r: r["_sequence"]), ["id"]), key=lambda r: r["id"])


def digest(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def test_values_of_many_megabytes_are_whole(database: Database, capture: Callable[..., Capture]) -> None:
    database.sql("create table big (id int primary key, a text, b bytea)")
    database.sql(
        "insert into big select 1, repeat(E'letters\\t', 2500000), decode(repeat('ab', 9000000), 'hex')"
    )
    database.publish("big")
    source = capture(big=("public.big", ["id"]))
    source.run()
    database.sql(
        "insert into big select i, repeat('ü', i * 5000000), null from generate_series(1, 2) i where i = 2"
    )
    database.sql("insert into big values (4, 'small', null)")
    source.run()
    source.assert_equal_to_the_source()
