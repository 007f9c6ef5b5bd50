"""Where a PostgreSQL is, and a socket to it: in TLS as its connection URL asks."""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from groundwork.errors import SourceRefused, SourceUnreachable


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
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not parts.username:
                raise ValueError
            if not set(query) <= known or len(parts.path) < 2:
                raise ValueError
            port = parts.port or 5432
        except ValueError:
            raise SourceRefused(
                where, "the connection URL is not understood",
                fix="write postgresql://user:password@host:port/database, with "
                f"{', '.join(sorted(known))} as options",
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
    except OSError as error:
        plain.close()
        raise SourceUnreachable(
            where, f"no TLS with {address.host}:{address.port}",
            why=getattr(error, "verify_message", "") or error.strerror or type(error).__name__,
            fix=f"check sslmode ({address.sslmode}) and sslrootcert in the connection URL",
        ) from error  # fmt: skip
    secured.settimeout(None)
    return secured


def _secured(plain: socket.socket, address: Address, where: str) -> socket.socket:
    if address.sslmode in ("disable", "allow"):
        return plain
    plain.sendall(struct.pack(">II", 8, 80_877_103))
    if plain.recv(1) != b"S":
        if address.sslmode == "prefer":
            return plain
        raise SourceRefused(
            where, f"the server offers no TLS, and sslmode={address.sslmode} asks for it",
            fix="switch TLS on at the server",
        )  # fmt: skip
    context = ssl.create_default_context(cafile=address.sslrootcert)
    context.check_hostname = address.sslmode == "verify-full"
    if address.sslmode not in ("verify-ca", "verify-full"):
        context.verify_mode = ssl.CERT_NONE
    if address.sslcert:
        context.load_cert_chain(address.sslcert, address.sslkey)
    return context.wrap_socket(plain, server_hostname=address.host)
