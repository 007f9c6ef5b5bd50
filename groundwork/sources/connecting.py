"""Sockets to a PostgreSQL: by TCP or a Unix socket, in TLS as its connection URL asks."""

from __future__ import annotations

import pwd
import re
import socket
import ssl
import struct

from groundwork.errors import SourceError, SourceRefused, SourceUnreachable
from groundwork.sources.address import Address, Host

_OTHER_NAME, _EXPIRED = 62, (9, 10)
"""Codes of OpenSSL, ``X509_V_ERR_…``: host name mismatch; not yet valid, and no longer."""

_TLS = {"tlsv1.2": ssl.TLSVersion.TLSv1_2, "tlsv1.3": ssl.TLSVersion.TLSv1_3}


def connect(address: Address, host: Host, where: str, *, tls: bool) -> socket.socket:
    """A socket to a server, in TLS or not (PostgreSQL manual, "SSL Session Encryption").

    Args:
        address: the whole of what was asked for.
        host: the server.
        where: what an error is about.
        tls: whether to ask for TLS. With ``prefer`` and ``allow`` a server without TLS gives a plain socket.

    Raises:
        SourceUnreachable: when there is no connection, or no TLS.
        SourceRefused: when the server is not the one that was asked for.
    """
    try:
        plain = _plain(address, host)
    except OSError as error:
        raise SourceUnreachable(
            where,
            f"no connection to {host}",
            why=error.strerror or type(error).__name__,
            fix="check that the server runs, the address, and the firewall",
        ) from error
    try:
        _check_peer(plain, address, host, where)
        secured = _secured(plain, address, host, where) if tls else plain
    except BaseException:
        plain.close()
        raise
    secured.settimeout(None)
    return secured


def _plain(address: Address, host: Host) -> socket.socket:
    # libpq waits at least two seconds; 0 means for ever there, and never does here.
    seconds = address.number("connect_timeout", 10)
    timeout = max(seconds, 2) if seconds > 0 else 10
    if host.socket:
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(timeout)
        try:
            plain.connect(re.sub("^@", "\0", host.socket))
        except BaseException:
            plain.close()
            raise
        return plain
    plain = socket.create_connection((host.address or host.name, host.port), timeout=timeout)
    # SO_RCVBUF stays unset: the kernel then lets the buffer grow (tcp_rmem), and the server is not held up
    # while we decode.
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, address.number("keepalives", 1))
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        for option, name, default in (
            (socket.TCP_USER_TIMEOUT, "tcp_user_timeout", 60_000),
            (socket.TCP_KEEPIDLE, "keepalives_idle", 20),
            (socket.TCP_KEEPINTVL, "keepalives_interval", 10),
            (socket.TCP_KEEPCNT, "keepalives_count", 9),
        ):
            plain.setsockopt(socket.IPPROTO_TCP, option, address.number(name, 0) or default)
    return plain


def _check_peer(plain: socket.socket, address: Address, host: Host, where: str) -> None:
    wanted = address.options.get("requirepeer")
    if not wanted or not host.socket:
        return
    _, user, _ = struct.unpack("3i", plain.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = f"number {user}"
    if name != wanted:
        raise SourceRefused(
            where,
            f"the server runs as user {name}, and requirepeer asks for another",
            fix="correct requirepeer or the directory of the socket in the connection URL",
        )


def _secured(plain: socket.socket, address: Address, host: Host, where: str) -> socket.socket:
    context = _context(address, where)
    direct = address.options.get("sslnegotiation") == "direct"
    name = None if address.options.get("sslsni") == "0" else host.name or host.address
    if direct:
        context.set_alpn_protocols(["postgresql"])
    try:
        if not direct:
            plain.sendall(struct.pack(">II", 8, 80_877_103))
        if direct or plain.recv(1) == b"S":
            return context.wrap_socket(plain, server_hostname=name)
    except OSError as error:
        raise SourceUnreachable(
            where, f"no TLS with {host}", why=_reason(error), fix=_way_out(error, address)
        ) from error
    if address.sslmode in ("prefer", "allow"):
        return plain
    raise SourceRefused(
        where,
        f"the server offers no TLS, and sslmode={address.sslmode} asks for it",
        fix="switch TLS on at the server",
    )


def _context(address: Address, where: str) -> ssl.SSLContext:
    """What is asked of the server's certificate, and ours if it wants one."""
    # A given CA is meant to be used: "require" with one is "verify-ca", as in libpq.
    checked = address.sslmode in ("verify-ca", "verify-full")
    checked = checked or (address.sslmode == "require" and address.sslrootcert is not None)
    named = "sslrootcert"
    try:
        if checked or address.sslrootcert:
            system = address.sslrootcert == "system"
            context = ssl.create_default_context(cafile=None if system else address.sslrootcert)
            # Python 3.13 refuses authorities that libpq takes.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        else:  # the system's authorities would be loaded for nothing: 25 ms of each connection
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = address.sslmode == "verify-full"
        if not checked:
            context.verify_mode = ssl.CERT_NONE
        named = "sslcrl or sslcrldir"
        if checked and (lists := [address.options.get(n) for n in ("sslcrl", "sslcrldir")]) != [None, None]:
            context.load_verify_locations(*lists)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
        _limit_versions(context, address)
        named = "sslcert and sslkey"
        if address.sslcert:
            # Without a password given here, OpenSSL would ask for one on the terminal and wait.
            word = address.options.get("sslpassword", "")
            context.load_cert_chain(address.sslcert, address.options.get("sslkey"), password=word)
    except OSError as error:
        raise SourceRefused(
            where,
            f"{named} of the connection URL cannot be used",
            why=_reason(error),
            fix="name readable PEM files that belong together; a key must not be encrypted, unless"
            " sslpassword opens it",
        ) from error
    return context


def _limit_versions(context: ssl.SSLContext, address: Address) -> None:
    """Hold the versions of TLS that were asked for; below 1.2 there is none."""
    if low := address.options.get("ssl_min_protocol_version"):
        context.minimum_version = _TLS.get(low.lower(), ssl.TLSVersion.TLSv1_2)
    if high := address.options.get("ssl_max_protocol_version"):
        context.maximum_version = _TLS[high.lower()]


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
