# ruff: noqa: E501 (statements and messages read better in one line)
"""A million random values of every built-in type, and what PostgreSQL itself prints of them.

The server makes the values, in SQL, from a seed; and it is the judge: what its own COPY prints is held against
the Parquet objects, value by value. Each phase (snapshot, insert, update, delete) is judged on its own.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest

from tests.capture import PRINTED, UNESCAPED, Capture, Database

SEED = float(os.environ.get("GROUNDWORK_SEED", "20251122")) % 1000 / 1000
"""For PostgreSQL's setseed()."""
ROWS = int(os.environ.get("GROUNDWORK_ROWS", "2500"))
"""In the snapshot, inserted, and updated; twice as many are deleted."""
WANTED = 1_000_000

FUNCTIONS = f"""
    create type mood as enum ('so so', 'it''s "ok"', 'ü💥'); create domain positive as int check (value > 0);
    create type address as (street text, city text, no numeric);
    create function pick(low bigint, high bigint) returns bigint language sql volatile
        as $$ select low + floor(random() * (high - low + 1)::float8)::bigint $$;
    create function digits(count bigint) returns text language sql volatile
        as $$ select left(translate(repeat(md5(random()::text), (count / 32)::int + 1), 'abcdef', '123456'), count::int) $$;
    create function hex() returns text language sql volatile as $$ select md5(random()::text) $$;
    create function number() returns text language sql volatile as $$
        select case pick(0, 40) when 0 then 'NaN' when 1 then 'Infinity' when 2 then '-Infinity'
            when 3 then '-' || digits(pick(600, 1000)) || '.' || digits(pick(1, 300)) when 4 then '0.000'
            else left('-', pick(0, 1)::int) || digits(pick(1, 30)) || '.' || digits(pick(0, 20)) end $$;
    create function size() returns float8 language sql volatile as $$
        select (random() - 0.5) * power(10, pick(-30, 30)) $$;
    create function any_float() returns float8 language sql volatile as $$
        select case when random() < 0.1 then (array['NaN', 'Infinity', '-Infinity', '-0'])[pick(1, 4)]::float8
            else (0.1 + random()) * power(10, pick(-300, 300)) end $$;
    create function spot() returns point language sql volatile as $$ select point(size(), size()) $$;
    create function day() returns date language sql volatile as $$
        select case pick(0, 9) when 0 then 'infinity' when 1 then '-infinity'
            when 2 then date '2000-01-01' + pick(-2451000, 2145031000)::int
            else date '2000-01-01' + pick(-1000000, 1000000)::int end $$;
    create function clock() returns time language sql volatile as $$
        select case pick(0, 9) when 0 then time '24:00' else time '00:00' + random() * interval '24 hours' end $$;
    create function moment() returns timestamp language sql volatile as $$
        select case pick(0, 9) when 0 then 'infinity' when 1 then '-infinity'
            when 2 then timestamp '2000-01-01' + pick(-200000000000, 9000000000000) * interval '1 second'
            else timestamp '2000-01-01' + (random() - 0.5) * interval '8000 years' end $$;
    create function ip() returns inet language sql volatile as $$
        select case when random() < 0.5 then format('%s.%s.%s.%s/%s', pick(0, 255), pick(0, 255), pick(0, 255), pick(0, 255), pick(0, 32))
            else rtrim(regexp_replace(hex(), '(....)', '\\1:', 'g'), ':') || '/' || pick(0, 128) end::inet $$;
    create function new_letters(count bigint) returns text language sql volatile as $$
        select coalesce(string_agg(chr(case when random() < 0.4 then
            (array[9, 10, 13, 92, 78, 8, 11, 12, 39, 34, 32, 1, 31, 127, 133, 160, 769, 1488, 1575, 8203, 8206, 8238, 8232, 65279, 65533, 65535, 128165, 1114111, 44, 123, 125])[pick(1, 31)]
            when random() < 0.2 then pick(65536, 1114111) when random() < 0.6 then pick(33, 126) else pick(33, 55000) end::int), ''), '')
        from generate_series(1, count) $$;
    select setseed({SEED});
    create table words as select n, new_letters(60) as word from generate_series(1, 3000) as n; alter table words add primary key (n);
    create function letters(count bigint) returns text language sql volatile as $$
        select substr(word, pick(1, 30)::int, count::int) from words where n = (select pick(1, 3000)) $$
"""

# A value of each type, where it hurts. `i` is the number of the row, `m` and `n` are two moments.
KINDS = {
    "boolean": "random() < 0.5",
    "smallint": "pick(-32768, 32767)",
    "integer": "pick(-2147483648, 2147483647)",
    "bigint": "('x' || hex())::bit(64)::bigint",
    "numeric": "number()::numeric",
    "numeric(18,6)": "(random() * 1e11 - 5e10)::numeric(18,6)",
    "numeric(5,-2)": "pick(-9999999, 9999999)",
    "real": "((0.1 + random() * 0.4) * power(10, pick(-37, 38)))::real",
    "double precision": "any_float()",
    "money": "(pick(-9000000000000000, 9000000000000000)::numeric / 100)::money",
    "text": "letters(pick(0, 30))",
    "varchar(20)": "letters(pick(0, 20))",
    "char(12)": "letters(pick(0, 12))",
    "name": "letters(pick(0, 15))::name",
    '"char"': 'chr(pick(1, 127)::int)::"char"',
    "bytea": "decode(left(repeat(hex(), 4), 2 * pick(0, 60)::int), 'hex')",
    "bit(9)": "pick(0, 511)::int::bit(9)",
    "bit varying": "substring(('x' || hex())::bit(128) for pick(0, 128)::int)",
    "date": "day()",
    "time": "clock()",
    "time(0)": "clock()",
    "timetz": "format('%s%s%s:%s:%s', clock(), (array['+', '-'])[pick(1, 2)], pick(0, 15), lpad(pick(0, 59)::text, 2, '0'), lpad(pick(0, 59)::text, 2, '0'))::timetz",
    "timestamp": "moment()",
    "timestamp(3)": "moment()",
    "timestamptz": "moment()",
    "interval": "make_interval(pick(-9999, 9999)::int, pick(-20, 20)::int, 0, pick(-999, 999)::int, pick(-99, 99)::int, 0, random() * 100 - 50)",
    "uuid": "hex()::uuid",
    "json": """format('{"a": -1%s.%se%s, "%s" : [ 1%s,  null], "a":"\\u00e9"}', digits(pick(1, 40)), digits(pick(1, 40)), pick(-999, 999), hex(), digits(pick(1, 300)))::json""",
    "jsonb": "jsonb_build_object(hex(), ('1' || digits(pick(1, 400)) || '.' || digits(pick(0, 40)))::numeric, letters(pick(0, 9)), jsonb_build_array(null, true, letters(pick(0, 9)), ('1e' || pick(-300, 300))::numeric))",
    "jsonpath": "format('$.%s[*] ? (@.a > %s && @ like_regex \"^%s\")', 'x' || hex(), pick(0, 999), hex())::jsonpath",
    "inet": "ip()",
    "cidr": "network(ip())",
    "macaddr": "left(hex(), 12)::macaddr",
    "macaddr8": "left(hex(), 16)::macaddr8",
    "point": "point(any_float(), any_float())",
    "line": "format('{%s,%s,%s}', 0.1 + random(), size(), size())::line",
    "lseg": "lseg(spot(), spot())",
    "box": "box(spot(), spot())",
    "path": "format((array['[%s,%s,%s]', '(%s,%s,%s)'])[pick(1, 2)], spot(), spot(), spot())::path",
    "polygon": "polygon(box(spot(), spot()))",
    "circle": "circle(spot(), abs(size()))",
    "tsvector": "format('''%s'':%sA,%s ''b ''''c'' %s', hex(), pick(1, 99), pick(100, 9999), hex())::tsvector",
    "tsquery": "format('%s & !(''%s'':*AB <%s> b | ''c d'')', hex(), hex(), pick(1, 99))::tsquery",
    "int4range": "int4range(pick(-999, 0)::int, pick(1, 999)::int, (array['[]', '()', '[)', '(]'])[pick(1, 4)])",
    "int8range": "case when random() < 0.2 then 'empty' else int8range(pick(-999, 0), null) end",
    "numrange": "numrange(-abs(size())::numeric, ('1' || digits(pick(1, 60)))::numeric, (array['[]', '()', '[)', '(]'])[pick(1, 4)])",
    "daterange": "daterange(date '0044-03-15 BC' - pick(0, 9999)::int, date '9999-12-31' + pick(0, 9999)::int)",
    "tsrange": "tsrange(least(m, n), greatest(m, n), '[]')",
    "tstzrange": "tstzrange(least(m, n), greatest(m, n))",
    "int4multirange": "int4multirange(int4range(pick(-999, 0)::int, 5), int4range(pick(6, 9)::int, pick(10, 99)::int))",
    "nummultirange": "nummultirange(numrange(null, -abs(size())::numeric), numrange(random()::numeric, null))",
    "tstzmultirange": "case when random() < 0.2 then '{}' else tstzmultirange(tstzrange(least(m, n), greatest(m, n), '[]')) end",
    "int[]": "format('[%s:%s]={%s,NULL}', -i % 9, -i % 9 + 1, pick(-99, 99))::int[]",
    "text[]": "array[letters(pick(0, 5)), null, 'NULL', '', letters(pick(0, 5)), '{\"', E'\\\\']",
    "varchar[]": "array[[letters(pick(0, 3)), letters(2)], [hex(), '']]",
    "numeric[]": "array[number()::numeric, null, number()::numeric]",
    "float8[]": "array[[[any_float()]], [[any_float()]]]",
    "timestamptz[]": "array[moment(), null, moment()]::timestamptz[]",
    "bytea[]": "array[decode(hex(), 'hex'), '']",
    "jsonb[]": "array[jsonb_build_object(letters(2), letters(3))]",
    "mood": "(enum_range(null::mood))[pick(1, 3)]",
    "mood[]": "array[(enum_range(null::mood))[pick(1, 3)]]",
    "positive": "pick(1, 2147483647)",
    "address": "row(letters(pick(0, 9)), case when random() < 0.5 then letters(3) end, number()::numeric)::address",
    "address[]": "array[row(letters(pick(0, 9)), '', null)::address, null]",
    "oid": "pick(0, 4294967295)::oid",
    "regclass": "pick(1, 20000)::oid::regclass",
    "regtype": "pick(1, 4000)::oid::regtype",
    "regproc": "pick(1, 4000)::oid::regproc",
    "regprocedure": "pick(1, 4000)::oid::regprocedure",
    "regoperator": "pick(1, 4000)::oid::regoperator",
    "regnamespace": "pick(1, 20000)::oid::regnamespace",
    "pg_lsn": "format('%s/%s', to_hex(pick(0, 4294967295)), to_hex(pick(0, 4294967295)))::pg_lsn",
    "txid_snapshot": "format('%s:%s:%s', 10 * i, 10 * i + 9, 10 * i + pick(0, 8))::txid_snapshot",
    "pg_snapshot": "format('%s:%s:%s', 10 * i, 10 * i + 9, 10 * i + pick(0, 8))::pg_snapshot",
    "xid8": "pick(0, 9000000000000000000)::text::xid8",
    "xid": "pick(0, 4294967295)::text::xid",
    "cid": "pick(0, 4294967295)::text::cid",
    "tid": "format('(%s,%s)', pick(0, 4294967295), pick(0, 65535))::tid",
    "xml": "format('<a b=\"%s\">é &amp; %s<!-- 💥 --></a>', hex(), hex())::xml",
    "oidvector": "'1 2 3'::oidvector",
    "record of text": "format('\"%s\"=>\"%s\", \"%s\"=>NULL', hex(), hex(), hex())",
}  # fmt: skip


def kinds_of(database: Database) -> dict[str, str]:
    """The types that this server was built with."""
    built = dict(KINDS)
    if not database.sql(
        "select 1 from pg_config where name = 'CONFIGURE' and setting like '%--with-libxml%'"
    ):
        del built["xml"]
    if database.sql("select current_setting('server_version_num')::int < 150000")[0][0]:
        del built["numeric(5,-2)"]
    return built


def made(kinds: dict[str, str]) -> list[str]:
    """An expression per column: the value, and now and then none."""
    return [f"case when random() < 0.04 then null else {value} end" for value in kinds.values()]


def copied(database: Database, query: str) -> list[list[str | None]]:
    """What COPY prints, as columns."""
    answer = io.BytesIO()
    with database.connection() as connection:
        for statement in PRINTED.split(";"):
            connection.run(statement)
        connection.run(f"copy ({query}) to stdout", stream=answer)
    rows = [line.split("\t") for line in answer.getvalue().decode().split("\n")[:-1]]
    return [[said(field) for field in column] for column in zip(*rows, strict=True)]


def said(field: str) -> str | None:
    if "\\" not in field:
        return field
    return (
        None if field == "\\N" else re.sub(r"\\(.)", lambda pair: UNESCAPED[pair[1]], field, flags=re.DOTALL)
    )


def landed(source: Capture, columns: list[str], operation: str) -> list[list[str | None]]:
    """What the newest batch holds, as columns, by id."""
    newest = source.manifests[-1]
    found: list[list[str | None]] = [[] for _ in columns]
    for stored in newest.objects:
        table = pq.read_table(source.directory / "bucket" / stored.key)
        wanted = [done == operation for done in table.column("_operation").to_pylist()]
        for values, name in zip(found, columns, strict=True):
            texts = table.column(name).to_pylist()
            values += [text for text, yes in zip(texts, wanted, strict=True) if yes]
    order = sorted(range(len(found[0])), key=lambda row: int(found[0][row] or 0))
    return [[values[row] for row in order] for values in found]


def compared(truth: list[list[str | None]], copies: list[list[str | None]], kinds: list[str]) -> int:
    """How many values are the same; fails with the types and counts of those that are not."""
    assert len(truth) == len(copies)
    assert len(truth[0]) == len(copies[0]), f"{len(truth[0])} rows are {len(copies[0])}"
    changed = {
        kind: sum(a != b for a, b in zip(one, other, strict=True))
        for kind, one, other in zip(["id", *kinds], truth, copies, strict=True)
        if one != other
    }
    assert not changed, f"values that are not what PostgreSQL prints: {changed}"
    return sum(map(len, truth[1:]))


@pytest.mark.slow
def test_a_million_random_values_of_every_type_are_the_same_letter_for_letter(
    database: Database, capture: Callable[..., Capture]
) -> None:
    database.sql(FUNCTIONS)
    kinds = kinds_of(database)
    types = ["text" if kind.startswith("record") else kind for kind in kinds]
    columns = [f"c{number}" for number in range(len(types))]
    database.sql(
        f"create table random_values (id int primary key, {', '.join(map(' '.join, zip(columns, types, strict=True)))});"
        " alter table random_values replica identity full"
    )
    database.publish("random_values")
    source = capture(random_values=("public.random_values", ["id"]))
    print(f"GROUNDWORK_SEED={SEED}")

    def fill(first: int) -> None:
        database.sql(
            f"select setseed({(SEED + first / 10_000) % 1}); insert into random_values select i, {', '.join(made(kinds))} from"
            f" (select i, moment() as m, moment() as n from generate_series({first}, {first + ROWS - 1}) i offset 0) as rows"
        )

    def judged(operation: str, where: str = "true", truth: list[list[str | None]] | None = None) -> int:
        query = f"select {', '.join(['id', *columns])} from public.random_values where {where} order by id"
        source.extract()
        return compared(truth or copied(database, query), landed(source, ["id", *columns], operation), types)

    fill(1)
    counted = {"snapshot": judged("snapshot")}
    fill(ROWS + 1)
    counted["insert"] = judged("insert", f"id > {ROWS}")
    changes = ", ".join(f"{column} = {value}" for column, value in zip(columns, made(kinds), strict=True))
    moments = f"(select id as i, moment() as m, moment() as n from random_values where id <= {ROWS} offset 0)"
    database.sql(
        f"select setseed({1 - SEED}); update random_values set {changes} from {moments} as rows where id = i"
    )
    counted["update"] = judged("update", f"id <= {ROWS}")
    everything = f"select {', '.join(['id', *columns])} from public.random_values order by id"
    gone = copied(database, everything)
    database.sql("delete from random_values")
    counted["delete"] = judged("delete", truth=gone)
    print(counted, f"{len(types)} types")
    assert sum(counted.values()) >= WANTED or ROWS < 2500
    source.load()
    source.assert_equal_to_the_source()
