"""Signing in to a PostgreSQL: which server of several, in TLS or not, and what must be proven first."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import pg8000.native
from pg8000.exceptions import DatabaseError

from groundwork.errors import SourceError, SourceRefused, SourceUnreachable
from groundwork.sources.address import METHODS, Address, Host
from groundwork.sources.connecting import connect, not_signed_in
from groundwork.sources.incoming import SILENT_SECONDS
from groundwork.sources.server_errors import said

_NOT_ADMITTED = "28000"
"""SQLSTATE: pg_hba.conf has no line for us, perhaps because we came in TLS, or without it."""

_NONE, _PASSWORD, _MD5, _SASL, _SASL_FINAL = 0, 3, 5, 10, 12
_NAMED = {_PASSWORD: "password", _MD5: "md5", 7: "gss", 9: "sspi", _SASL: "scram-sha-256"}
"""Codes of the message "AuthenticationXXX" (PostgreSQL manual, "Message Formats")."""


class Driver(pg8000.native.Connection):  # type: ignore[misc]
    """pg8000 that answers only what the address allows: no secret is sent to a server that asks otherwise."""

    def __init__(self, address: Address, where: str, **options: Any) -> None:
        """Sign in.

        Raises:
            SourceRefused: when the server asks for what the address does not allow.
        """
        self._asked, self._where, self._method = address.options, where, ""
        self._proven = False
        self._usock: Any = None
        super().__init__(address.user, **options)

    def handle_AUTHENTICATION_REQUEST(self, data: bytes, context: object) -> None:  # noqa: N802
        """Check what the server asks for, then answer."""
        (code,) = struct.unpack(">i", data[:4])
        if code in _NAMED:
            self._method = _NAMED[code]
            self._check_method(self._method)
            if self.password is None:
                raise self._refusal("the server asks for a password, and the connection URL has none")
        if code == _NONE:
            self._check_method(self._method or "none")
            if self._method == "scram-sha-256" and not self._proven:
                raise self._refusal("the server did not prove that it knows the password")
        if code == _SASL:
            mechanisms = data[4:].rstrip(b"\0").decode("ascii").split("\0")
            binds = "SCRAM-SHA-256-PLUS" in mechanisms and isinstance(self._usock, ssl.SSLSocket)
            if self._binding == "require" and not binds:
                raise self._refusal("channel_binding=require, and the server offers none")
            if self._binding == "disable":
                self._usock, kept = None, self._usock  # pg8000 binds to a socket that is in TLS
                super().handle_AUTHENTICATION_REQUEST(data, context)
                self._usock = kept
                return
        super().handle_AUTHENTICATION_REQUEST(data, context)
        self._proven = self._proven or code == _SASL_FINAL

    @property
    def _binding(self) -> str:
        return self._asked.get("channel_binding", "prefer")

    def _check_method(self, method: str) -> None:
        words = [word.strip() for word in self._asked.get("require_auth", "").split(",") if word.strip()]
        if words and words[0].startswith("!"):
            words = [m for m in METHODS if f"!{m}" not in words]
        if words and method not in words:
            raise self._refusal(f"the server asks for {method}, which require_auth does not allow")
        if self._binding == "require" and method != "scram-sha-256":
            raise self._refusal(f"channel_binding=require, and the server asks for {method}")

    def _refusal(self, what: str) -> SourceRefused:
        return SourceRefused(
            self._where,
            what,
            fix="correct the connection URL, or how the server lets this user in (pg_hba.conf)",
        )


def sign_in(
    address: Address, where: str, settings: Mapping[str, str], *, replication: bool
) -> tuple[socket.socket, Driver]:
    """A connection to the first server of an address that can be used.

    Args:
        address: where to, and how.
        where: what an error is about.
        settings: the session's.
        replication: whether it is to stream the log.

    Raises:
        SourceUnreachable: when no server can be reached, or none is as ``target_session_attrs`` asks.
        SourceRefused: when a server does not let us in; those that follow are not asked, as in libpq.
    """
    wanted = address.options.get("target_session_attrs", "any")
    failed: list[SourceUnreachable] = []
    for attribute in ("standby", "any") if wanted == "prefer-standby" else (wanted,):
        for host in address.in_order():
            try:
                opened, driver = _signed_in(address, host, where, settings, replication=replication)
            except SourceUnreachable as error:
                failed.append(error)
                continue
            if _fits(driver, attribute):
                return opened, driver
            opened.close()
            what = f"{host} is not as target_session_attrs={wanted} asks"
            failed.append(SourceUnreachable(where, what, fix="correct the connection URL"))
    if len(failed) == 1:
        raise failed[0]
    raise SourceUnreachable(
        where,
        "none of the servers of the connection URL can be used",
        why="; ".join(dict.fromkeys(f"{e.what} ({e.why})" if e.why else e.what for e in failed)),
        fix="check that one of them runs, and the connection URL",
    ) from failed[-1]


def _fits(driver: Driver, attribute: str) -> bool:
    told = driver.parameter_statuses
    standby = told.get("in_hot_standby") == "on"
    read_only = standby or told.get("default_transaction_read_only") == "on"
    fits: dict[str, bool] = {
        "any": True,
        "primary": not standby,
        "standby": standby,
        "read-write": not read_only,
        "read-only": read_only,
    }
    return fits[attribute]


def _ways(address: Address, host: Host) -> Iterator[bool]:
    """Whether to ask for TLS, in the order in which it is tried."""
    if host.socket or address.sslmode == "disable":
        yield False
    elif address.sslmode == "allow":
        yield from (False, True)
    elif address.sslmode == "prefer":
        yield from (True, False)
    else:
        yield True


def _signed_in(
    address: Address, host: Host, where: str, settings: Mapping[str, str], *, replication: bool
) -> tuple[socket.socket, Driver]:
    first, *others = _ways(address, host)
    try:
        return _attempt(address, host, where, settings, replication=replication, tls=first)
    except SourceError as error:
        refused = isinstance(error.__cause__, DatabaseError) and error.__cause__.args[0].get("C")
        if not others or refused != _NOT_ADMITTED:
            raise
        return _attempt(address, host, where, settings, replication=replication, tls=others[0])


def _attempt(
    address: Address, host: Host, where: str, settings: Mapping[str, str], *, replication: bool, tls: bool
) -> tuple[socket.socket, Driver]:
    opened = connect(address, host, where, tls=tls)
    opened.settimeout(SILENT_SECONDS)
    given = address.options
    if given.get("options"):
        settings = {**settings, "options": given["options"]}
    name = given.get("application_name") or given.get("fallback_application_name") or "groundwork"
    try:
        with said(where):
            return opened, Driver(
                address,
                where,
                host=host.name,
                database=address.database,
                password=host.password,
                sock=opened,
                ssl_context=False,
                application_name=name,
                replication="database" if replication else None,
                startup_params=settings,
            )
    except BaseException as error:
        opened.close()
        if address.sslcert and isinstance(error, SourceUnreachable):
            raise not_signed_in(error, where) from error
        raise
