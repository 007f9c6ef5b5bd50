"""What is generated from the catalog: dbt's sources and base models, and the catalog's own JSON Schema.

The files are committed, so a reader of dbt sees plain models; `stale` tells when they are not what the
catalog says. Rendering reads nothing but the catalog, and gives the same bytes on every machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from groundwork.catalog import AnySource, Catalog, Column, PostgresSource, Stream
from groundwork.catalog.names import table_of
from groundwork.errors import CatalogError
from groundwork.escaping import dbt_string, jinja_string, yaml_string

COMMAND = "python -m groundwork render"
_MARK = re.compile(rb"(# |\{#- )Generated from catalog/[a-z0-9_]+\.yml by `python -m groundwork render`")
"""How a generated file begins; a file that begins otherwise was written by hand."""
_SCHEMA_MARK = b'"title": "Groundwork catalog"'
_STAGING = Path("dbt/models/staging")
_TYPES = {"text": "text", "json": "text", "integer": "bigint", "float": "double"}
"""Catalog types whose name in both warehouses is another one."""
_PLACE = ["_file", "_row"]
"""What identifies a row of a stream without a key."""

METADATA = {
    "_operation": "text",
    "_sequence": "text",
    "_unchanged": "text",
    "_committed_at": "timestamp",
    "_extracted_at": "timestamp",
    "_stored_at": "timestamp",
    "_loaded_at": "timestamp",
    "_batch_id": "text",
    "_file": "text",
    "_row": "bigint",
    "_run_id": "text",
    "_cast_failures": "text",
    "_built_at": "timestamp",
}
"""Columns of every base model after the stream's own; dbt/models/staging/_columns.md describes them."""


def render(catalog: Catalog, directory: Path) -> list[Path]:
    """Write what differs and remove what no longer belongs.

    Args:
        catalog: what to render.
        directory: the project's root, which holds ``catalog/`` and ``dbt/``.

    Returns:
        The files written or removed, relative to ``directory``, in order.

    Raises:
        CatalogError: when a file without our mark stands where one would be written; nothing is written then.
    """
    changed = stale(catalog, directory)
    files = rendered(catalog)
    for path in changed:
        if path in files:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(files[path].encode())
        else:
            (directory / path).unlink()
    return changed


def stale(catalog: Catalog, directory: Path) -> list[Path]:
    """Generated files that are missing, differ, or belong to nothing in the catalog any more.

    Returns:
        Paths relative to ``directory``, in order.

    Raises:
        CatalogError: when a file without our mark stands where one would be written.
    """
    files = rendered(catalog)
    for path in files:
        if (directory / path).exists() and not _is_generated(directory / path):
            raise CatalogError(
                str(path), "was written by hand, and the catalog would have a generated file there",
                why="it does not begin with the mark of a generated file",
                fix="rename the source or the stream in the catalog, or move your file",
            )  # fmt: skip
    differing = {path for path, text in files.items() if _bytes(directory / path) != text.encode()}
    return sorted(differing | {path for path in _generated(directory) if path not in files})


def rendered(catalog: Catalog) -> dict[Path, str]:
    """Every generated file by its path in the project."""
    files = {Path("catalog/schema.json"): schema()}
    for source in catalog.values():
        folder = _STAGING / source.source
        files[folder / f"_{source.source}__sources.yml"] = _sources(source)
        for name, stream in source.streams.items():
            base = f"base_{source.source}__{name}"
            files[folder / "base" / f"{base}.sql"] = _base_sql(source, name, stream)
            files[folder / "base" / f"{base}.yml"] = _base_yml(source, name, stream)
    return files


def schema() -> str:
    """The JSON Schema of one catalog file, for editors."""
    page: Any = Annotated[AnySource, Field(discriminator="kind")]
    entry: TypeAdapter[Any] = TypeAdapter(page)
    title = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Groundwork catalog"}
    return json.dumps(title | entry.json_schema(), indent=2, ensure_ascii=False) + "\n"


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _generated(directory: Path) -> Iterator[Path]:
    """Files under staging that say of themselves that they are generated."""
    for path in (directory / _STAGING).rglob("*"):
        if path.suffix in (".sql", ".yml") and _is_generated(path):
            yield path.relative_to(directory)


def _is_generated(path: Path) -> bool:
    """Whether a file says of itself that it is generated."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        beginning = file.read(500)
    return bool(_MARK.match(beginning)) or (path.name == "schema.json" and _SCHEMA_MARK in beginning)


def _header(source: AnySource, comment: str = "# {}") -> str:
    return comment.format(
        f"Generated from catalog/{source.source}.yml by `{COMMAND}`: change the catalog, not this."
    )


def _sources(source: AnySource) -> str:
    """Landing tables of one source; fresh when its ledger says that we looked in time."""
    # A batch from the future was stored by a clock that was wrong; it must not make the source fresh.
    query = (
        f"select max(stored_at) from {{{{ source('ledger', 'batches') }}}} where source = '{source.source}'"
        " and stored_at <= {{ utc_now() }}"
    )
    lines = [
        _header(source),
        "version: 2",
        "",
        "sources:",
        f"  - name: {yaml_string(source.source)}",
        f"    description: {dbt_string(source.description or f'The source {source.source}.')}",
        "    schema: \"{{ var('landing_schema') }}\"",
        "    config:",
        f"      loaded_at_query: {yaml_string(query)}",
        "      freshness:",
        f"        warn_after: {_period(3 * source.update_every)}",
        f"        error_after: {_period(12 * source.update_every)}",
        "      meta:",
        f"        owner: {dbt_string(f'{source.owner.name} <{source.owner.email}>')}",
        f"        priority: {source.priority}",
        "    tables:",
    ]
    for name, stream in source.streams.items():
        lines += [
            f"      - name: {yaml_string(name)}",
            f"        identifier: {table_of(source.source, name)}",
            f"        description: {dbt_string(stream.description or f'Every landed row of {name}.')}",
        ]
    return "\n".join(lines) + "\n"


def _base_sql(source: AnySource, name: str, stream: Stream) -> str:
    """One base model: its configuration, and a macro that is told every column."""
    records = not isinstance(source, PostgresSource)
    key = stream.primary_key
    macro = "latest_records" if key else "keyless_records"
    unique_key = [_identifier(column) for column in key or _PLACE]
    lines = [
        _header(source, "{{#- {} -#}}"),
        "{{",
        "    config(",
        "        materialized='incremental',",
        # DuckDB's merge reads all columns of the whole table; to delete and insert costs what changed.
        "        incremental_strategy='merge' if target.type == 'snowflake' else 'delete+insert',",
        f"        unique_key=[{', '.join(jinja_string(column) for column in unique_key)}],",
        "        on_schema_change='append_new_columns',",
        "        pre_hook='{{ empty_if_built_by_another_key() }}',",
        "    )",
        "}}",
        "",
        "{{",
        f"    {macro}(",
        f"        source({jinja_string(source.source)}, {jinja_string(name)}),",
    ]
    if key:
        lines.append(f"        key=[{', '.join(jinja_string(column) for column in key)}],")
    lines.append("        columns=[")
    lines += [
        f"            {_column(column, entry, records, jinja_string)},"
        for column, entry in stream.columns.items()
    ]
    lines.append("        ],")
    if key and stream.replication == "log_based":
        lines.append("        log_based=true,")
    return "\n".join([*lines, "    )", "}}"]) + "\n"


def _column(name: str, column: Column, records: bool, quote: Callable[[str], str]) -> str:
    """What the macros need to know of a column, as a Jinja or YAML map."""
    entry = {"name": quote(name), "type": quote(column.type)}
    if records:
        path = ("parent", column.parent) if column.parent else column.keys(name)
        entry["path"] = f"[{', '.join(quote(part) for part in path)}]"
    if column.parent:  # the request of each record tells which parent's child it is
        entry["of"] = quote("_request")
    return "{" + ", ".join(f"{quote(word)}: {value}" for word, value in entry.items()) + "}"


def _base_yml(source: AnySource, name: str, stream: Stream) -> str:
    """Contract, descriptions and data tests of one base model."""
    key, records = stream.primary_key, not isinstance(source, PostgresSource)
    what = stream.description or f"Records of {name}."
    rows = "Newest version of every record, tombstones included." if key else "Every row a record."
    # The macro `built_by_another_key` reads this end of the table's comment.
    rows += f" Key: {', '.join(_identifier(column) for column in key or _PLACE)}."
    lines = [
        _header(source),
        "version: 2",
        "",
        "models:",
        f"  - name: base_{source.source}__{name}",
        f"    description: {dbt_string(f'{what} {rows}')}",
        "    config:",
        "      access: private",
        "      contract: {enforced: true}",
        f"      tags: [{yaml_string(source.source)}]",
        *([f"    deprecation_date: {stream.deprecated}"] if stream.deprecated else []),
        "    data_tests:",
    ]
    if len(key) != 1:
        lines += [
            "      - unique_combination:",
            "          arguments:",
            f"            columns: [{', '.join(dbt_string(_identifier(c)) for c in key or _PLACE)}]",
        ]
    if key:
        columns = [_column(c, stream.columns[c], records, dbt_string) for c in key]
        landing = f"source({jinja_string(source.source)}, {jinja_string(name)})"
        lines += [
            "      - keys_fit:",
            "          arguments:",
            f"            landing: {yaml_string(landing)}",
            "            key:",
            *(f"              - {column}" for column in columns),
        ]
    lines += ["      - values_fit_their_types", "    columns:"]
    for column, entry in stream.columns.items():
        lines += _described(
            column, _TYPES.get(entry.type, entry.type), dbt_string(entry.description or column)
        )
        meta = ["pii: true"] * entry.pii
        meta += [f"deprecated: {entry.deprecated}"] if entry.deprecated else []
        if meta:
            lines.append(f"        config: {{meta: {{{', '.join(meta)}}}}}")
        if column in key:
            lines.append(f"        data_tests: [{'unique, ' if len(key) == 1 else ''}not_null]")
    for column, kind in METADATA.items():
        lines += _described(column, kind, yaml_string("{{ doc('" + column + "') }}"))
        if not key and column in ("_file", "_row"):
            lines.append("        data_tests: [not_null]")
    return "\n".join(lines) + "\n"


def _described(name: str, data_type: str, description: str) -> list[str]:
    lines = [
        f"      - name: {dbt_string(name)}",
        f"        data_type: {data_type}",
        f"        description: {description}",
    ]
    return lines if _is_plain(name) else [*lines, "        quote: true"]


def _is_plain(name: str) -> bool:
    """Whether a name means itself in both warehouses without quotes."""
    return name.isascii() and name.isidentifier() and name == name.lower() and name not in _RESERVED


def _identifier(name: str) -> str:
    return name if _is_plain(name) else '"' + name.replace('"', '""') + '"'


def _period(length: timedelta) -> str:
    return f"{{count: {max(1, round(length.total_seconds() / 60))}, period: minute}}"


_RESERVED = frozenset(
    """
    account all alter analyse analyze and anti any array as asc asof asymmetric at authorization between
    binary both by case cast check collate collation column concurrently connect connection constraint
    create cross current current_date current_time current_timestamp current_user database default
    deferrable delete desc describe distinct do drop else end except exists false fetch following for
    foreign freeze from full glob grant group gscluster having ilike in increment initially inner insert
    intersect into is isnull issue join lambda lateral leading left like limit localtime localtimestamp
    minus natural not notnull null of offset on only or order organization outer overlaps pivot pivot_longer
    pivot_wider placing positional primary qualify references regexp returning revoke right rlike row rows
    sample schema select semi set show similar some start summarize symmetric table tablesample then to
    trailing trigger true try_cast union unique unpack unpivot update user using values variadic verbose
    view when whenever where window with
    """.split()  # noqa: SIM905 - a list of words reads better so
)
"""Reserved words of DuckDB 2.0 (`duckdb_keywords()`) and Snowflake; a column may have such a name."""


__all__ = ["COMMAND", "METADATA", "render", "rendered", "schema", "stale"]
