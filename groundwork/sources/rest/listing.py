"""Which files there are: by a JSON listing, or by the index page of a web server."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from html.parser import HTMLParser
from typing import Any

import msgspec
from msgspec import Raw
from yarl import URL

from groundwork.catalog.answers import Files
from groundwork.errors import AnswerUnusable
from groundwork.paths import split_path
from groundwork.sources.rest.auth import Access
from groundwork.sources.rest.gate import AddressRefused


@dataclass(frozen=True)
class File:
    """One file of a listing."""

    name: str
    """What it is known by: its name in the listing, or its address below that of the listing."""
    url: URL = field(repr=False)
    version: str
    """Digest of what the listing says that changes with it; "" if that is nothing."""


class Listing:
    """Reads the listings of one stream."""

    def __init__(self, files: Files, access: Access, where: str) -> None:
        """Bring together what the catalog says, and which hosts are ours."""
        self._files, self._access, self._where = files, access, where

    def of_json(self, entries: Iterable[Raw], listing: URL) -> Iterator[File]:
        """The files of the entries of a JSON listing.

        Raises:
            AnswerUnusable: when an entry has no link.
            AddressRefused: when a file is on another host, or its link is none.
        """
        for entry in entries:
            said = msgspec.json.decode(entry)
            link = _at(said, self._files.link)
            if not isinstance(link, str) or not link:
                raise AnswerUnusable(
                    self._where, f"an entry of the listing has no link at '{self._files.link}'",
                    fix="check files.records and files.link against the listing",
                )  # fmt: skip
            url = self._access.gate.resolved(listing, link, self._where, "a file")
            name = _at(said, self._files.name) if self._files.name else None
            versions = [_at(said, path) for path in self._files.version]
            yield from self._file(str(name or ""), url, listing, msgspec.json.encode(versions))

    def of_html(self, body: bytes, listing: URL) -> tuple[list[File], str]:
        """The links of an index page that stay below it, and the link to its next page; "" without one.

        Raises:
            AnswerUnusable: when the page has no link at all.
        """
        index = _Index()
        index.feed(body.decode("utf-8", errors="replace"))
        if not index.links:
            raise AnswerUnusable(
                self._where, "the index page has no links", why="a page for people looks like this",
                fix="check the endpoint, files.listing and the secret",
            )  # fmt: skip
        folder = listing.path.rpartition("/")[0] + "/"
        found: list[File] = []
        for link, beside in index.links:
            try:
                url = self._access.gate.resolved(listing, link, self._where, "a file")
            except AddressRefused:  # a page links to much that is no file of it
                continue
            inside = url.path.startswith(folder) and not url.path.endswith("/")
            if inside and url.path != listing.path:
                found += self._file("", url, listing, " ".join(beside.split()).encode())
        return found, index.next

    def _file(self, name: str, url: URL, listing: URL, version: bytes) -> Iterator[File]:
        folder = listing.path.rpartition("/")[0] + "/"
        name = name or url.path_qs.removeprefix(folder)
        if fnmatchcase(url.name if not self._files.name else name, self._files.pattern):
            said = version.strip(b" -[]") and version
            yield File(self._access.secrets.redact(name), url, digest(said) if said else "")


class _Index(HTMLParser):
    """The links of a page, each with the text that follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.next = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a link begins."""
        said = dict(attrs)
        link = said.get("href") if tag in ("a", "link") else None
        if link and "next" in (said.get("rel") or "").lower().split():
            self.next = link
        elif link and tag == "a":
            self.links.append((link, ""))
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        """Note where a link ends."""
        self._inside = self._inside and tag != "a"

    def handle_data(self, data: str) -> None:
        """Keep what stands beside a link, such as size and time."""
        if self.links and not self._inside:
            link, beside = self.links[-1]
            self.links[-1] = (link, beside + data)


def digest(text: bytes) -> str:
    """A short text that stands for a version."""
    return base64.b64encode(hashlib.blake2b(text, digest_size=9).digest()).decode()


def _at(said: Any, path: str) -> Any:
    for key in split_path(path):
        said = said.get(key) if isinstance(said, dict) else None
    return said
