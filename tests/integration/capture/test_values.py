# ruff: noqa: E501 (statements and messages read better in one line)
"""Every value is, letter for letter, what PostgreSQL prints: in the snapshot and in the log."""

from __future__ import annotations

from collections.abc import Callable

from tests.capture import Capture, Database

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
    kinds = [kind for kind, values in HARD.items() if values]
    columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(kinds))
    database.sql(f"create table hard (id int generated always as identity primary key, {columns})")
    inserts = []
    for number in range(max(map(len, HARD.values()))):
        values = [HARD[kind][number % len(HARD[kind])] for kind in kinds]
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


def test_two_hundred_thousand_random_values_are_the_same(
    database: Database, capture: Callable[..., Capture]
) -> None:
    database.sql(
        """create table random_values (
            id bigint primary key, a numeric, b double precision, c real, d text, e bytea, f timestamptz, g interval,
            h jsonb, i text[], j inet, k int4range, l numeric[], m date, n time, o uuid, p char(8), q text, r bigint, s numeric(18,6)
        )"""
    )
    fill = """
        insert into random_values select i, (random() - 0.5) * power(10, (random() * 60 - 30)::int)::numeric,
            (random() - 0.5) * power(10, (random() * 600 - 300)::int), ((random() - 0.5) * power(10, (random() * 60 - 30)::int))::real,
            (select string_agg(chr(case when random() < 0.3 then (array[9, 10, 13, 92, 78, 8, 11, 12, 39, 34])[1 + (random() * 9)::int]
                else 32 + (random() * 50000)::int end), '') from generate_series(1, (i + random() * 20)::int % 20)),
            decode(md5(i::text), 'hex'), timestamptz '2000-01-01' + (random() - 0.5) * interval '4000 years',
            (random() - 0.5) * interval '100 years' + (i % 13) * interval '1 month',
            jsonb_build_object(md5(i::text), random(), 'k', (random() * 1e30)::numeric),
            array[md5(i::text), null, '"', E'\\\\', case when random() < 0.5 then '' else E'\\t' end],
            ('10.' || i % 256 || '.0.1/' || i % 33)::inet, int4range((random() * 10)::int, 10 + (random() * 10)::int),
            array[random()::numeric, null, 'NaN'], date '2000-01-01' + ((random() - 0.5) * 2000000)::int, time '00:00' + random() * interval '24 hours',
            gen_random_uuid(), left(md5(i::text), (random() * 8)::int), case when random() < 0.2 then null when random() < 0.2 then '' else repeat('x', (random() * 30)::int) end,
            (random() * 9e18)::bigint, (random() * 1e11)::numeric
        from generate_series({first}, {last}) i"""
    # chr() of a surrogate would be refused; the range above ends before them
    database.sql(fill.format(first=1, last=4000))
    database.publish("random_values")
    source = capture(random_values=("public.random_values", ["id"]))
    source.run()
    database.sql(fill.format(first=4001, last=8000))
    database.sql("update random_values set id = id + 10000, q = d where id % 5 = 0")
    database.sql(
        "update random_values set d = q, l = null where id % 7 = 0; delete from random_values where id % 11 = 0"
    )
    source.run()
    source.assert_equal_to_the_source()


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
