"""The catalog's words for what an API answers with: what counts as data, and lists of files."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ValueError(f"'{name}' is no encoding; usual ones are utf-8, windows-1252, latin-1") from None
    return name


Format = Literal["json", "ndjson", "csv"]
"""How records are written. gzip, or a zip of one file, around them is noticed, not declared."""
Encoding = Annotated[str, AfterValidator(_encoding)]


class Expect(_Entry):
    """What an answer must be to count as data; an API that fails politely is not one with nothing to say."""

    content_type: str = ""
    """Exact type of every answer, e.g. ``application/json``. Without it, types that cannot be fail."""
    required: list[str] = []
    """Paths that every record has (null counts). A page's ends are looked at for the primary key."""
    minimum: int = Field(0, ge=0)
    """Fewest records of any pull. An API that includes the bound always gives the last one again: 1."""


class Files(_Entry):
    """The endpoint lists files; each new or changed one is read, in the order of the list."""

    listing: Literal["json", "html"] = "json"
    """``html``: the links of an index page, as web servers make them."""
    records: str = ""
    """Path to the array of files in a JSON listing; the body itself when empty."""
    link: str = "url"
    """Path, in an entry of a JSON listing, to the file's link or name, relative to the listing."""
    name: str = ""
    """Path, in an entry, to what a file is known by, where its link changes (signed links)."""
    version: list[str] = []
    """Paths in an entry that change when the file does: size, time, ETag. Without any, each file is asked for
    them (HEAD); what an index page says beside its link counts as one."""
    pattern: str = "*"
    """Names that are read, as in a shell: ``*.csv.gz``."""
    max_bytes: int = Field(10 << 30, ge=1)
    """Most bytes of one file, unpacked; a larger one is left out, and the run fails for it."""
