"""The catalog: one YAML file per source, saying what is wanted, why, and where it is.

It is data, not a language: no expressions, no inheritance, no SQL. A mistake is told once, clearly, with
the file, the place in it, and a guess at what was meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from groundwork.catalog.column_types import PATTERN, column_type
from groundwork.catalog.mistakes import first_mistake, guess
from groundwork.catalog.names import NAME, RESERVED_SOURCES, alike, column_problem, one_table
from groundwork.catalog.postgres import PostgresConnection
from groundwork.catalog.postgres import SlotLag as SlotLag
from groundwork.catalog.rest import RestConnection, RestDeletions, RestEndpoint, check_parents
from groundwork.catalog.undecided import undecided
from groundwork.catalog.yaml_text import read_yaml
from groundwork.durations import Duration
from groundwork.errors import CatalogError
from groundwork.mail_address import MailAddress
from groundwork.paths import split_path


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(
            "is not a name: use at most 41 lower-case letters, digits and _, starting with a letter"
        )
    return text


def _source_name(text: str) -> str:
    if text in RESERVED_SOURCES:
        raise ValueError(f"'{text}' is reserved: it is {RESERVED_SOURCES[text]}; choose another name")
    return text


Name = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME.pattern}$"})
]
ColumnType = Annotated[
    str,
    BeforeValidator(column_type),
    WithJsonSchema({"type": "string", "pattern": f"^({PATTERN})$"}),
]
Replication = Literal["full_table", "incremental", "log_based"]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Owner(_Entry):
    """Who answers for a source, and gets its mail."""

    name: str
    email: MailAddress


class Column(_Entry):
    """One column that staging reads out of landing."""

    type: ColumnType
    description: str = ""
    pii: bool = False
    deprecated: date | None = None
    """From this day on it may leave the catalog, or change its type (`groundwork.serving.compatibility`)."""
    subject: str = Field("", pattern=f"^({NAME.pattern})?$")
    """Whom its values name, e.g. ``customer``: all columns with one subject hold the same keys, and `forget`
    follows them. On a primary key: the record is such a subject itself."""
    path: str = ""
    """For JSON records: dotted path into the record. Without it the column's own name is the key, also when
    it holds a dot."""
    parent: str = ""
    """For children: a field of the parent's record that stands in the endpoint, instead of a ``path``."""

    def keys(self, name: str) -> tuple[str, ...]:
        """The keys that lead to the value in a record; ``name`` is the column's own."""
        return split_path(self.path) if self.path else (name,)


class Stream(_Entry):
    """One table or endpoint."""

    description: str = ""
    deprecated: date | None = None
    """From this day on it may leave the catalog."""
    replication: Replication
    primary_key: list[str] = []
    columns: dict[str, Column]

    @model_validator(mode="after")
    def _columns_can_be_carried(self) -> Stream:
        for column in self.columns:
            if problem := column_problem(column):
                raise ValueError(f"columns.{column}: {problem}")
        if pair := alike(self.columns):
            raise ValueError(f"{pair}, and a warehouse cannot tell them apart")
        check_parents(self.columns, getattr(self, "placeholders", []))
        return self

    @model_validator(mode="after")
    def _key_is_declared(self) -> Stream:
        for column in self.primary_key:
            if column not in self.columns:
                known = list(self.columns)
                shown = ", ".join(known[:3]) + (" …" if len(known) > 3 else "")
                raise ValueError(f"primary_key: '{column}' is not a column ({shown}){guess(column, known)}")
        return self


class Source(_Entry):
    """What every kind of source says of itself."""

    source: Annotated[Name, AfterValidator(_source_name)]
    kind: str
    priority: int = Field(ge=1)
    questions: list[str] = Field(min_length=1)
    requested_by: list[str] = Field(min_length=1)
    owner: Owner
    format: str
    history: str
    update_every: Duration
    description: str = ""


class PostgresStream(Stream):
    """One table, read by snapshot and log, or whole each time."""

    table: str = Field(pattern=r"[\s\S]\.[\s\S]")
    """``schema.table`` as PostgreSQL stores the names; a name may hold dots itself, if no other table then
    reads the same."""

    @model_validator(mode="after")
    def _replication_is_possible(self) -> PostgresStream:
        if self.replication == "incremental":
            raise ValueError("replication: a PostgreSQL table is read 'log_based' or 'full_table'")
        return self


class PostgresSource(Source):
    """A PostgreSQL database."""

    kind: Literal["postgres"]
    connection: PostgresConnection
    streams: dict[Name, PostgresStream] = Field(min_length=1)


class RestStream(Stream, RestEndpoint):
    """One endpoint that lists records; see `groundwork.catalog.rest` for the words."""

    shrink_tolerance: float = Field(0.5, ge=0, le=1)
    """Part of the records of a `full_table` that may vanish between two pulls; 1 lets all go."""
    deletions: RestDeletions | None = None
    """Where the API lists what is gone; the key stands there where the stream's own records have it."""

    @model_validator(mode="after")
    def _replication_is_possible(self) -> RestStream:
        if self.replication == "log_based":
            raise ValueError("replication: an API is read 'incremental' or 'full_table'")
        ways = [self.cursor, self.windows, self.sync, self.parent, self.files]
        ways = [way for way in ways if way]
        if self.replication == "incremental" and not ways:
            raise ValueError("cursor: an incremental stream needs one (field, parameter)")
        if len(ways) > 1:
            raise ValueError("cursor: a stream has one of 'cursor', 'windows', 'sync', 'parent' and 'files'")
        for key in ("windows", "deletions", "sync"):
            if self.replication == "full_table" and getattr(self, key):
                raise ValueError(f"{key}: is read 'incremental'")
        if self.paging.query_limit and self.cursor and not self.primary_key:
            raise ValueError("primary_key: one query of 'paging.query_limit' gives records of another again")
        if self.expect.minimum and self.paging.query_limit:
            raise ValueError("expect.minimum: the last query of 'paging.query_limit' may hold few records")
        if self.sync and not self.primary_key:
            raise ValueError("primary_key: tells a changed record of 'sync' from a new one")
        if self.deletions and not self.primary_key:
            raise ValueError("primary_key: says which record a deletion is of")
        if self.expect.minimum and (self.windows or self.parent or self.files or self.sync):
            raise ValueError("expect.minimum: windows, changes, children and lists of files may be empty")
        if self.files and self.replication != "incremental":
            raise ValueError("files: are read 'incremental', and the list is the cursor")
        return self


class RestSource(Source):
    """An HTTP API."""

    kind: Literal["rest"]
    connection: RestConnection
    streams: dict[Name, RestStream] = Field(min_length=1)

    @model_validator(mode="after")
    def _parents_come_first(self) -> RestSource:
        known: list[str] = []
        for name, stream in self.streams.items():
            parent = stream.parent.stream if stream.parent else ""
            if parent and parent not in known:
                before = ", ".join(known) or "none"
                raise ValueError(f"streams.{name}.parent: '{parent}' is no stream before it ({before})")
            if parent and self.streams[parent].replication != stream.replication:
                raise ValueError(f"streams.{name}.replication: is its parent's, or the two do not fit")
            known.append(name)
        return self

    def children(self, name: str) -> dict[str, RestStream]:
        """The streams that are asked for the records of one."""
        return {
            child: stream
            for child, stream in self.streams.items()
            if stream.parent and stream.parent.stream == name
        }


class PushedSource(Source):
    """Records that the platform itself hands over: its logs, runs and results."""

    kind: Literal["pushed"]
    streams: dict[Name, Stream] = Field(min_length=1)


AnySource = PostgresSource | RestSource | PushedSource
_KINDS: dict[str, type[AnySource]] = {
    get_args(kind.model_fields["kind"].annotation)[0]: kind
    for kind in (PostgresSource, RestSource, PushedSource)
}


class Catalog(Mapping[str, AnySource]):
    """All sources by name, in order of priority."""

    def __init__(self, sources: list[AnySource], directory: Path = Path("catalog")) -> None:
        """Order the sources; `load_catalog` reads them from files."""
        self.directory = directory
        self._sources = {s.source: s for s in sorted(sources, key=lambda s: (s.priority, s.source))}

    def __getitem__(self, source: str) -> AnySource:
        """The entry of one source.

        Raises:
            CatalogError: when there is none of this name.
        """
        if source not in self._sources:
            known = list(self._sources)
            raise CatalogError(
                str(self.directory),
                f"there is no source '{source}' ({', '.join(known)})",
                fix=guess(source, known).removeprefix(". "),
            )
        return self._sources[source]

    def __iter__(self) -> Iterator[str]:
        """Names, most wanted first."""
        return iter(self._sources)

    def __len__(self) -> int:
        """Number of sources."""
        return len(self._sources)


def check_streams(entry: AnySource, streams: Iterable[str]) -> None:
    """Refuse streams that a source does not have.

    Raises:
        CatalogError: for the first of them, with a guess.
    """
    for stream in streams:
        if stream not in entry.streams:
            known = list(entry.streams)
            raise CatalogError(
                f"source '{entry.source}'",
                f"there is no stream '{stream}' ({', '.join(known)})",
                fix=guess(stream, known).removeprefix(". "),
            )


def load_catalog(directory: Path) -> Catalog:
    """Read and validate every ``*.yml`` in a directory.

    Raises:
        CatalogError: for the first file that is wrong, naming file, place, mistake and a guess; or when two
            streams would share one table.
    """
    files = sorted(directory.glob("*.yml"))
    if not files:
        raise CatalogError(str(directory), "holds no *.yml file", fix="add one file per source")
    catalog = Catalog([load_source(file) for file in files], directory)
    if shared := one_table({name: entry.streams for name, entry in catalog.items()}):
        table, first, second = shared
        raise CatalogError(
            str(directory), f"streams '{first}' and '{second}' would share the table {table}",
            why="a table is named after its source, two underscores, and its stream",
            fix="rename one of the two streams or sources",
        )  # fmt: skip
    return catalog


def load_source(file: Path) -> AnySource:
    """Read and validate one file.

    Raises:
        CatalogError: naming file, place, mistake and a guess.
    """
    try:
        entry = read_yaml(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        problem = getattr(error, "problem", None) or "cannot be read"
        raise CatalogError(where, f"is not YAML: {problem}") from error
    if not isinstance(entry, dict):
        raise CatalogError(str(file), "must be a mapping of keys", fix="start with 'source: <name>'")
    kind = entry.get("kind")
    if kind not in _KINDS:
        known = list(_KINDS)
        raise CatalogError(
            f"{file}: kind",
            f"'{kind}' is not a kind of source ({', '.join(known)})",
            fix=guess(str(kind), known).removeprefix(". "),
        )
    if left := list(undecided(entry)):
        (place, why), others = left[0], ", ".join(place for place, _ in left[1:])
        raise CatalogError(
            f"{file}: {place}",
            "is not decided",
            why=f"the draft says: {why}",
            fix="write what is right" + (f"; so for {others}" if others else ""),
        )
    try:
        source = _KINDS[kind].model_validate(entry)
    except ValidationError as error:
        raise CatalogError(*first_mistake(file, _KINDS[kind], error)) from error
    if source.source != file.stem:
        raise CatalogError(
            f"{file}: source",
            f"'{source.source}' stands in a file of another name",
            fix=f"rename the file to {source.source}.yml, or the source to '{file.stem}'",
        )
    return source
