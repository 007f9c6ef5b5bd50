"""Connection strings of libpq: URIs and ``keyword=value`` lists, read as libpq reads them.

The grammar is that of `PQconninfoParse` (PostgreSQL manual, "Connection Strings"; `fe-connect.c`), with all
its corners. A property test compares both (`tests/unit/test_conninfo.py`). Defaults, variables of the
environment and files are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

OPTIONS = frozenset(
    re.findall(
        r"\w+",
        """
    service user password passfile channel_binding connect_timeout dbname host hostaddr port client_encoding
    options application_name fallback_application_name keepalives keepalives_idle keepalives_interval
    keepalives_count tcp_user_timeout sslmode sslnegotiation sslcompression sslcert sslkey sslcertmode
    sslpassword sslrootcert sslcrl sslcrldir sslsni requirepeer require_auth min_protocol_version
    max_protocol_version ssl_min_protocol_version ssl_max_protocol_version gssencmode krbsrvname gsslib
    gssdelegation replication target_session_attrs load_balance_hosts scram_client_key scram_server_key
    oauth_issuer oauth_client_id oauth_client_secret oauth_scope sslkeylogfile
    """,
    )
)
"""What libpq of PostgreSQL 18 knows."""

_SPACES = " \t\n\v\f\r"


class NotUnderstood(Exception):
    """A connection string that libpq refuses; the message repeats no value, for values are secrets."""


def parse(text: str) -> dict[str, str]:
    """The options that a connection string sets. Bytes that are no UTF-8 become lone surrogates.

    Raises:
        NotUnderstood: saying what is wrong, and naming an option that there is not.
    """
    text = text.partition("\0")[0]
    for prefix in ("postgresql://", "postgres://"):
        if text.startswith(prefix):
            return _Uri(text[len(prefix) :]).options
    options: dict[str, str] = {}
    for name, value in _pairs(text):
        _store(options, name, value)
    return options


def _store(options: dict[str, str], name: str, value: str) -> None:
    if name == "requiressl":
        name, value = "sslmode", "require" if value.startswith("1") else "prefer"
    if name not in OPTIONS:
        shown = name if re.fullmatch(r"[A-Za-z_]{1,40}", name) else "of another name"
        raise NotUnderstood(f"there is no option {shown}")
    options[name] = value


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """The pairs of ``name = value``; values may be quoted, and a backslash takes the next letter as it is."""
    place, end = 0, len(text)
    while True:
        place = _skip(text, place)
        if place == end:
            return
        start = place
        while place < end and text[place] != "=" and text[place] not in _SPACES:
            place += 1
        name, place = text[start:place], _skip(text, place)
        if place == end or text[place] != "=":
            raise NotUnderstood("a name is not followed by =")
        place = _skip(text, place + 1)
        value, place = _quoted(text, place + 1) if text[place : place + 1] == "'" else _plain(text, place)
        yield name, value


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in _SPACES:
        place += 1
    return place


def _plain(text: str, place: int) -> tuple[str, int]:
    value = ""
    while place < len(text):
        if text[place] in _SPACES:
            return value, place + 1
        place += text[place] == "\\"
        value += text[place : place + 1]
        place += 1
    return value, min(place, len(text))


def _quoted(text: str, place: int) -> tuple[str, int]:
    value = ""
    while place < len(text) and text[place] != "'":
        place += text[place] == "\\"
        value += text[place : place + 1]
        place += 1
    if place >= len(text):
        raise NotUnderstood("a quoted value has no end")
    return value, place + 1


class _Uri:
    """What follows ``postgresql://``."""

    def __init__(self, text: str) -> None:
        self.options: dict[str, str] = {}
        signed = re.match(r"[^@/]*@", text)
        if signed:
            user, _, password = signed[0][:-1].partition(":")
            self._set("user", user)
            self._set("password", password)
            text = text[len(signed[0]) :]
        rest = self._hosts(text)
        if rest and rest[0] != "?":
            name, mark, rest = rest[1:].partition("?")
            self._set("dbname", name)
            rest = mark + rest
        if rest:
            self._query(rest[1:])

    def _set(self, name: str, value: str) -> None:
        if value:
            _store(self.options, name, _decoded(value))

    def _hosts(self, text: str) -> str:
        """Read hosts and ports; return the rest, from the sign on that ends them."""
        hosts, ports = [], []
        while True:
            host, text = self._host(text)
            hosts.append(host)
            port = ""
            if text[:1] == ":":
                port = re.match(r"[^/?,]*", text[1:])[0]  # type: ignore[index]
                text = text[1 + len(port) :]
            ports.append(port)
            if text[:1] != ",":
                break
            text = text[1:]
        self._set("host", ",".join(hosts))
        self._set("port", ",".join(ports))
        return text

    def _host(self, text: str) -> tuple[str, str]:
        if text[:1] != "[":
            host = re.match(r"[^:/?,]*", text)[0]  # type: ignore[index]
            return host, text[len(host) :]
        host, bracket, text = text[1:].partition("]")
        if not bracket:
            raise NotUnderstood("an IPv6 address has no closing bracket")
        if not host:
            raise NotUnderstood("an IPv6 address is empty")
        if text and text[0] not in ":/?,":
            raise NotUnderstood("after an IPv6 address comes neither : nor /")
        return host, text

    def _query(self, text: str) -> None:
        while text:
            pair, _, text = text.partition("&")
            name, equals, value = pair.partition("=")
            if not equals or "=" in value:
                raise NotUnderstood("an option after ? is not written as name=value")
            name, value = _decoded(name), _decoded(value)
            if (name, value) == ("ssl", "true"):
                name, value = "sslmode", "require"
            _store(self.options, name, value)


def _decoded(text: str) -> str:
    """Percent-encoding undone; spaces may only be around it."""
    text = text.lstrip(" ")
    inner = re.match(r"[^ ]*", text)[0]  # type: ignore[index]
    if text[len(inner) :].strip(" "):
        raise NotUnderstood("a space is not written as %20")
    if re.search(r"%(?![0-9A-Fa-f]{2})", inner):
        raise NotUnderstood("a percent sign is not followed by two hexadecimal digits; write it as %25")
    if "%00" in inner:
        raise NotUnderstood("%00 is not allowed")
    pieces = re.split(rb"%([0-9A-Fa-f]{2})", inner.encode("utf-8", "surrogateescape"))
    decoded = b"".join(bytes.fromhex(p.decode()) if n % 2 else p for n, p in enumerate(pieces))
    return decoded.decode("utf-8", "surrogateescape")
