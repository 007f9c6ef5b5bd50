"""Where a PostgreSQL is, and a socket to it: in TLS as its connection URL asks."""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import parse_qs, unquote, urlsplit

from groundwork.errors import SourceError, SourceRefused, SourceUnreachable

SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""As libpq has them (PostgreSQL manual, "SSL Support"); only the last makes sure of whom we speak to."""

_OTHER_NAME, _EXPIRED = 62, (9, 10)
"""Codes of OpenSSL, ``X509_V_ERR_…``: host name mismatch; not yet valid, and no longer."""


@dataclass(frozen=True)
class Address:
    """Where a database is, and how to sign in. Its text form hides the password."""

    host: str
    port: int
    database: str
    user: str
    password: str | None
    sslmode: str = "prefer"
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None

    @classmethod
    def parse(cls, url: str, where: str) -> Address:
        """Read ``postgresql://user:password@host:port/database?sslmode=…``.

        Raises:
            SourceRefused: when it is not such a URL (the URL itself is not repeated: it is a secret).
        """
        known = {"sslmode", "sslrootcert", "sslcert", "sslkey"}
        try:
            parts = urlsplit(url)
            query = {
                name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()
            }
            if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not parts.username:
                raise ValueError
            if not set(query) <= known or len(parts.path) < 2:
                raise ValueError
            if query.get("sslmode", "prefer") not in SSLMODES:  # never taken for one that checks less
                raise ValueError
            port = parts.port or 5432
        except ValueError:
            raise SourceRefused(
                where, "the connection URL is not understood",
                fix="write postgresql://user:password@host:port/database, with "
                f"{', '.join(sorted(known))} as options (sslmode: {', '.join(SSLMODES)})",
            ) from None  # fmt: skip
        password = None if parts.password is None else unquote(parts.password)
        return cls(parts.hostname, port, unquote(parts.path[1:]), unquote(parts.username), password, **query)

    def __str__(self) -> str:
        """``user@host:port/database``."""
        return f"{self.user}@{self.host}:{self.port}/{self.database}"

    def __repr__(self) -> str:
        """As `__str__`: a password must not reach a traceback."""
        return f"Address({self})"


def connect(address: Address, where: str) -> socket.socket:
    """A socket to the server, in TLS as the address asks (PostgreSQL manual, "SSL Session Encryption")."""
    try:
        plain = socket.create_connection((address.host, address.port), timeout=10)
    except OSError as error:
        raise SourceUnreachable(
            where, f"no connection to {address.host}:{address.port}",
            why=error.strerror or type(error).__name__,
            fix="check that the server runs, the address, and the firewall",
        ) from error  # fmt: skip
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # SO_RCVBUF stays unset: the kernel then lets the buffer grow (tcp_rmem), and the server is not held up
    # while we decode.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    try:
        secured = _secured(plain, address, where)
    except BaseException:
        plain.close()
        raise
    secured.settimeout(None)
    return secured


def _secured(plain: socket.socket, address: Address, where: str) -> socket.socket:
    if address.sslmode in ("disable", "allow"):
        return plain
    context = _context(address, where)
    try:
        plain.sendall(struct.pack(">II", 8, 80_877_103))
        answer = plain.recv(1)
        if answer == b"S":
            return context.wrap_socket(plain, server_hostname=address.host)
    except OSError as error:
        raise SourceUnreachable(
            where, f"no TLS with {address.host}:{address.port}",
            why=_reason(error), fix=_way_out(error, address),
        ) from error  # fmt: skip
    if address.sslmode == "prefer":
        return plain
    raise SourceRefused(
        where, f"the server offers no TLS, and sslmode={address.sslmode} asks for it",
        fix="switch TLS on at the server",
    )  # fmt: skip


def _context(address: Address, where: str) -> ssl.SSLContext:
    """What is asked of the server's certificate, and ours if it wants one."""
    # A given CA is meant to be used: "require" with one is "verify-ca", as in libpq.
    checked = address.sslmode in ("verify-ca", "verify-full")
    checked = checked or (address.sslmode == "require" and address.sslrootcert is not None)
    named = "sslrootcert"
    try:
        if checked or address.sslrootcert:
            context = ssl.create_default_context(cafile=address.sslrootcert)
        else:  # the system's authorities would be loaded for nothing: 25 ms of each connection
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = address.sslmode == "verify-full"
        if not checked:
            context.verify_mode = ssl.CERT_NONE
        named = "sslcert and sslkey"
        if address.sslcert:
            # Without a password given here, OpenSSL would ask for one on the terminal and wait.
            context.load_cert_chain(address.sslcert, address.sslkey, password="")
    except OSError as error:
        raise SourceRefused(
            where, f"{named} of the connection URL cannot be used", why=_reason(error),
            fix="name readable PEM files that belong together; a key must not be encrypted",
        ) from error  # fmt: skip
    return context


def _reason(error: OSError) -> str:
    """What happened, in the words of OpenSSL or the system."""
    told = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error.strerror
    return str(told or type(error).__name__)


def not_signed_in(broken: SourceUnreachable, where: str) -> SourceError:
    """What to say when a connection broke while we signed in with a certificate.

    In TLS 1.3 a server judges it only after the handshake. Its verdict may get lost: it closes at once, and
    what we send meanwhile takes away what it said.
    """
    fix = "check sslcert and sslkey in the connection URL, and ssl_ca_file at the server"
    cause: BaseException | None = broken
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and "ALERT" in (cause.reason or ""):
            why = f"it does not accept our certificate ({cause.reason})"
            return SourceRefused(where, "the server ended TLS as we signed in", why=why, fix=fix)
        cause = cause.__cause__ or cause.__context__
    why = "perhaps it does not accept our certificate"
    return SourceUnreachable(where, "the server ended TLS as we signed in", why=why, fix=fix)


def _way_out(error: OSError, address: Address) -> str:
    code = getattr(error, "verify_code", 0)
    if code == _OTHER_NAME:
        return "connect by a name that the server's certificate is for, or let it have one for this name"
    if code in _EXPIRED:
        return "renew the server's certificate, and look at the clocks of both machines"
    if code:
        return "let sslrootcert in the connection URL name the CA that signed the server's certificate"
    return f"check sslmode ({address.sslmode}), sslcert and sslkey in the connection URL"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, so that nothing needs to be encrypted."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
