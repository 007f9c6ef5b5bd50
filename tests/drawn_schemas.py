# ruff: noqa: E501 (statements read better in one line)
"""Schemas of PostgreSQL, drawn at random or awkward on purpose, with rows and what an application does to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

TABLES = (
    r"""
orders|Orders|ORDERS|_migrations|__drizzle_migrations|with space|a.b|a..b|.a|2024|order|group|select|größe|ÄÖÜ|日本|_|a__b|a_b|a-b|a'b|a"b|%s|a%b|{{ x }}
no|yes|null|true|no.|a: b|- a|#a|a #b
ledger|_batches|a\nb|a\b|$1|:a|?|*|public|information_schema|user|table|x'; drop table y; --|😀|İstanbul|ﬁle|²
""".strip()
    .replace("\n", "|")
    .replace("\\n", "\n")
    .split("|")
)
TABLES += ["long_name_" * 6 + end for end in ("abc", "abd")]
_COLUMNS = r"""
a|b|c|id|name|email|no|yes|on|off|null|select|from|order|user|current_user|with space|a.b|No.|1a|_order|_id|_sequence|_file|_path|_json|_as_1|a"b|a'b|{{ x }}|{% x %}|a\nb
äö|日本|Größe|Id|NAME|rowid|file_row_number|filename|_|__|%s|:a|?|$1|value|key|landing_row|record|truncated|a\b|#|- a|a: b|timestamp|date|x'; drop table y; --|😀
"""
COLUMNS = _COLUMNS.strip().replace("\n", "|").replace("\\n", "\n").split("|")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return " E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


VALUES = {
    "smallint": "{n}",
    "integer": "-{n}",
    "bigint": "9223372036854775800 + {n}",
    "oid": "{n}",
    "real": "{n}.5",
    "double precision": "{n}e-300",
    "boolean": "{n} > 1",
    "date": "date '2024-02-20' + {n}",
    "timestamp": "timestamp '2024-02-20 23:59:59.999999' + {n} * interval '1 s'",
    "timestamp(0)": "timestamp '2024-02-20' + {n} * interval '1 s'",
    "timestamptz": "timestamptz '2024-10-27 01:30:00+02' + {n} * interval '1 s'",
    "time": "time '23:00' + {n} * interval '1 s'",
    "timetz": "'0{n}:00+02'",
    "interval": "{n} * interval '1 month 1.5 s'",
    "text": "'{n}' || E'\\t\\n\\\\N'",
    "varchar(3)": "'{n}'",
    "char(5)": "'{n}'",
    '"char"': "'{n}'",
    "name": "'{n}'",
    "bytea": "'\\x0{n}ff'",
    "uuid": "'00000000-0000-0000-0000-00000000000{n}'",
    "json": "'{{\"a\": {n}.10}}'",
    "jsonb": "'{{\"a\": {n}.10}}'",
    "inet": "'10.0.0.{n}'",
    "macaddr": "'08:00:2b:01:02:0{n}'",
    "point": "point({n}, 1)",
    "money": "{n}",
    "bit(4)": "cast({n} as bit(4))",
    "tsvector": "'a{n}'",
    "int4range": "int4range({n}, 20)",
    "integer[]": "array[{n}, null]",
    "text[][]": "array[array['{n}', '\"']]",
    "numeric": "{n}.10",
    "pg_lsn": "'0/{n}'",
    "regclass": "'pg_class'",
    "jsonpath": "'$.a{n}'",
    "public.mood": "(enum_range(null::public.mood))[{n}]",
    "public.pair": "row({n}, 'b')",
    "public.short": "'{n}'",
    "public.price": "{n}.25",
    "public.deep": "{n}.5",
    'public."date"': "row({n})",
}
"""A value of each type by a number from 1 to 9; it is different for each, where the type can be a key."""
NO_KEYS = {"boolean", "json", "point", "regclass", "jsonpath", "bit(4)"}
TYPES = """
create type mood as enum ('x', 'y', 'Größe', 'a,b', '1'); create type pair as (a int, b text);
create domain short as varchar(3) check (value <> ''); create domain price as numeric(7,2) not null default 0; create domain deeper as numeric(4,1); create domain deep as deeper;
create type "date" as (a int);
"""


def numeric(chance: Random, version: int) -> str:
    """Any numeric that a server of this version allows."""
    precision = chance.choice([1, 3, 5, 10, 37, 38, 39, 50, 1000, chance.randint(1, 60)])
    if version < 15:
        return f"numeric({precision},{chance.choice([0, 1, precision, chance.randint(0, precision)]) % (precision + 1)})"
    scale = chance.choice([0, 2, -2, 5, precision, precision + 2, -3, chance.randint(-50, 60), 1000, -1000])
    return f"numeric({precision},{max(-1000, min(1000, scale))})"


def value(kind: str, n: int) -> str:
    """An expression of a type, number n."""
    if kind.startswith("numeric("):
        precision, scale = map(int, kind[8:-1].split(","))
        return f"cast('{n if n < 4 else '9' * precision}e{-scale}' as numeric)"
    return VALUES[kind].format(n=n)


@dataclass
class Drawn:
    """One schema: the statements that make it, and what is in it."""

    name: str
    made: list[str] = field(default_factory=list)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    """Type by column, by relation; nothing for views, which no application writes."""

    def named(self, table: str) -> str:
        """A relation of it, as statements name it."""
        return f"{quoted(self.name)}.{quoted(table)}"

    def insert(self, table: str, n: int) -> str:
        """A statement that inserts row n of a table."""
        kinds = self.columns[table]
        values = ", ".join(f"cast({value(kind, n)} as {kind})" for kind in kinds.values())
        return f"insert into {self.named(table)} ({', '.join(map(quoted, kinds))}) values ({values})"


def drawn(seed: int, count: int, version: int) -> list[Drawn]:
    """Schemas, the same for the same seed and version of the server."""
    schemas = []
    for number in range(count):
        chance, schema = Random(f"{seed}/{number}"), Drawn(f"d{number}")
        for name in chance.sample(TABLES, chance.randint(1, 4)):
            _draw(chance, schema, name, version)
        schemas.append(schema)
    return schemas


def _draw(chance: Random, schema: Drawn, name: str, version: int) -> None:
    table = schema.named(name)
    if chance.random() < 0.06:
        schema.columns[name] = {}
        schema.made.append(f"create {chance.choice(['view', 'materialized view'])} {table} as select 1 as a")
        return
    names = chance.sample(COLUMNS, chance.randint(1, 6))
    kinds = {
        n: numeric(chance, version) if chance.random() < 0.35 else chance.choice(list(VALUES)) for n in names
    }
    schema.columns[name] = kinds
    keys = [n for n in names if kinds[n] not in NO_KEYS]
    key = chance.sample(keys, min(len(keys), chance.randint(1, 2)))
    body = [f"{quoted(n)} {kind}" for n, kind in kinds.items()] + _generated(chance, version)
    after: list[str] = []
    by = f" partition by list ({quoted(key[0])})" if key and chance.random() < 0.15 else ""
    if by:
        leaf = schema.named(f"leaf {len(schema.made)}")
        after.append(f"create table {leaf} partition of {table} default")
    if key and chance.random() < 0.5:
        body.append(_primary_key(chance, key, names))
    elif key and not by and chance.random() < 0.4:
        after += _unique_index(chance, table, key)
    unlogged = "" if by or chance.random() < 0.95 else "unlogged "
    schema.made += [f"create {unlogged}table {table} ({', '.join(body)}){by}", *after]
    schema.made += _traits(chance, table, names[0])


def _generated(chance: Random, version: int) -> list[str]:
    if chance.random() < 0.8:
        return []
    kind = "virtual" if version >= 18 and chance.random() < 0.5 else "stored"
    return [f"made integer generated always as (length('x')) {kind}"]


def _primary_key(chance: Random, key: list[str], names: list[str]) -> str:
    listed, spare = ", ".join(map(quoted, key)), [n for n in names if n not in key]
    if spare and chance.random() < 0.3:
        return f"primary key ({listed}) include ({quoted(spare[0])})"
    return f"primary key ({listed})" + " deferrable" * (chance.random() < 0.15)


def _unique_index(chance: Random, table: str, key: list[str]) -> list[str]:
    made = [f"alter table {table} alter {quoted(n)} set not null" for n in key]
    made.append(f"create unique index on {table} ({', '.join(map(quoted, key))})")
    if chance.random() < 0.7:
        made.append(
            f"do $do$ begin execute format('alter table %s replica identity using index %I', {literal(table)}, (select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = cast({literal(table)} as regclass))); end $do$"
        )
    return made


def _traits(chance: Random, table: str, column: str) -> list[str]:
    made = []
    if chance.random() < 0.1:
        made.append(f"alter table {table} replica identity {chance.choice(['nothing', 'full'])}")
    if chance.random() < 0.05:
        made.append(f"alter table {table} enable row level security")
    if chance.random() < 0.3:
        made.append(f"comment on table {table} is {literal(chance.choice(TABLES))}")
        made.append(f"comment on column {table}.{quoted(column)} is {literal(chance.choice(COLUMNS))}")
    return made
