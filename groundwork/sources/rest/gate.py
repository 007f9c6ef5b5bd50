"""The gate for URLs: the origin that a client may ask, and the check of each URL against it.

A reference from outside is split once, by the rules of RFC 3986. Only its path and query are used; the origin
is always written from our own. So no text can be checked in one form and be sent in another. `Gate.passed`
checks the URL object that the HTTP client sends, field by field, whatever it was made from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from yarl import URL

from groundwork.errors import SourceRefused

_PARTS = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.DOTALL)
"""RFC 3986, appendix B: scheme, authority, path, query."""
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@%\\\s]+))(?::([0-9]*))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SENT = re.compile(r"/[!-\[\]-~]*")
"""A request target: visible ASCII without a backslash."""
_AS_WRITTEN = "!#$%&'()*+,-./:;=?@[]^_`{|}~"
"""Characters that are sent as they are written; a space, quotes, ``<>`` and all beyond ASCII are escaped."""
_NO_HOST = "the token goes nowhere else"


class AddressRefused(SourceRefused):
    """A URL from outside that is not one, or that leads to another origin. Nothing was sent there."""


@dataclass(frozen=True)
class Gate:
    """The origins that one client may ask."""

    origins: tuple[URL, ...]
    key: str = "connection.base_url"
    """Where the first one is written in the catalog."""

    def covers(self, url: URL) -> bool:
        """Whether a URL is on one of the origins."""
        return any(_origin(url) == _origin(one) for one in self.origins)

    def passed(self, url: URL, where: str) -> URL:
        """The URL, if the HTTP client will ask one of our origins for it.

        Args:
            url: as it is handed to the HTTP client.
            where: the request, for messages.

        Raises:
            AddressRefused: when it leads elsewhere, or cannot stand in a request.
        """
        if url.raw_user is not None or url.raw_password is not None or not self.covers(url):
            raise _elsewhere(where, "the URL of the request", _shown(_origin(url)), self.key)
        target = url.raw_path_qs
        again = URL(f"{url.origin()}{target}", encoded=True)
        if not _SENT.fullmatch(target) or _origin(again) != _origin(url) or again.raw_path_qs != target:
            raise AddressRefused(
                where,
                "the path of the request cannot be sent as it is",
                why="it holds characters that no URL may have",
                fix="check the endpoint and the parameters in the catalog",
            )
        return url

    def resolved(self, at: URL, target: str, where: str, what: str) -> URL:
        """The URL that a reference leads to (RFC 3986 §5.2), on the origin of the URL that holds it.

        Args:
            at: the URL of the answer that holds the reference.
            target: the reference as the API wrote it.
            where: source and stream, for messages.
            what: what the reference is, for messages.

        Raises:
            AddressRefused: when it is no http(s) address, or on another origin.
        """
        problem = _problem(target)
        scheme, authority, path, query = _split(target)
        found = None
        if not problem and (authority is not None or scheme):
            found, problem = _authority(scheme or at.scheme, authority)
        if problem:
            raise AddressRefused(
                where,
                f"{what} has an address that cannot be used: {problem}",
                why="an address that two programs read differently may lead to another host",
                fix="tell the API's owner; see docs/rest-capture.md for what an address may hold",
            )
        if found and found != _origin(at):
            raise _elsewhere(where, what, _shown(found), self.key)
        if found is None and not path:
            path, query = at.raw_path, at.raw_query_string if query is None else query
        elif found or path.startswith("/"):
            path = _without_dots(path or "/")
        else:
            path = _without_dots(at.raw_path.rpartition("/")[0] + "/" + path)
        text = f"{at.origin()}{quote(path, safe=_AS_WRITTEN)}"
        return URL(text if not query else f"{text}?{quote(query, safe=_AS_WRITTEN)}", encoded=True)

    def stored(self, path: str, where: str) -> URL:
        """The URL of a path with its query that a cursor keeps.

        Args:
            path: as `URL.raw_path_qs` writes one.
            where: the request, for messages.

        Raises:
            AddressRefused: when it is no path.
        """
        if not is_path(path):
            raise AddressRefused(
                where,
                "the stored link is no path of this API",
                why="it was not written by a pull of this stream",
                fix="refresh the stream: it is read again from the start",
            )
        return URL(f"{self.origins[0].origin()}{path}", encoded=True)


def is_path(text: object) -> bool:
    """Whether a stored value is a path with its query, as `URL.raw_path_qs` writes one."""
    return isinstance(text, str) and _SENT.fullmatch(text) is not None


def problem_of(text: str) -> str:
    """What is wrong with an absolute http(s) address; "" if nothing is."""
    scheme, authority, _, _ = _split(text)
    return _problem(text) or _authority(scheme or "", authority)[1]


_Origin = tuple[str, str, int | None]
"""Scheme, host in lower-case ASCII without brackets, port."""


def _origin(url: URL) -> _Origin:
    return url.scheme, (url.raw_host or "").lower(), url.port


def _split(text: str) -> tuple[str | None, str | None, str, str | None]:
    match = _PARTS.fullmatch(text)
    assert match is not None  # any text has these parts
    return match[1], match[2], match[3], match[4]


def _problem(target: str) -> str:
    """What is wrong with a text that shall be a URL, whatever it leads to."""
    if not target.isascii() and any(0xD800 <= ord(letter) <= 0xDFFF for letter in target):
        return "it is not UTF-8"
    if _CONTROL.search(target):
        return "it holds a control character"
    if target != target.strip():
        return "it begins or ends with a space"
    if "\\" in target.partition("#")[0].partition("?")[0]:
        return "it holds a backslash"
    return ""


def _authority(scheme: str, authority: str | None) -> tuple[_Origin | None, str]:
    """The origin that scheme and authority name, as the HTTP client reads them; or what is wrong."""
    if scheme.lower() not in ("http", "https"):
        return None, "it is not http or https"
    if not authority:
        return None, "it has no host"
    if "@" in authority:
        return None, "it carries a user or password"
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return None, "its host is not one"
    if match[3] and int(match[3][:6]) > 65535:
        return None, "its port is not one"
    try:
        host = match[1] or match[2]
        built = URL.build(scheme=scheme.lower(), host=host, port=int(match[3]) if match[3] else None)
        return _origin(built), ""
    except ValueError:
        return None, "its host is not one"


def _without_dots(path: str) -> str:
    """A path that begins with a slash, without its dot segments (RFC 3986 §5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _shown(origin: _Origin) -> str:
    scheme, host, port = origin
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _elsewhere(where: str, what: str, shown: str, key: str) -> AddressRefused:
    return AddressRefused(
        where,
        f"{what} is on another host ({shown})",
        why=_NO_HOST,
        fix=f"if that host is right, write it in {key}",
    )
