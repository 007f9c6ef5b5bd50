"""A TLS terminator before a PostgreSQL that has none, as pgbouncer and the clouds' proxies are."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOOPBACK = "127.0.0.1"
SSL_REQUEST = struct.pack(">II", 8, 80877103)


@contextmanager
def tls_front(behind: int, certificate: Path, key: Path, clients_of: Path | None = None) -> Iterator[int]:
    """Listen, answer the request for TLS, and pass on in clear what comes; yields the port.

    Args:
        behind: the server's port.
        certificate: what it shows.
        key: of that certificate.
        clients_of: the authority that must have signed the client's certificate, if one is asked for.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if clients_of:
        context.load_verify_locations(clients_of)
        context.verify_mode = ssl.CERT_REQUIRED
    open_sockets: list[socket.socket] = []
    with socket.create_server((LOOPBACK, 0)) as listening:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    open_sockets.append(client)
                    threading.Thread(target=serve, args=(client,), daemon=True).start()

        def serve(client: socket.socket) -> None:
            with suppress(OSError):
                if client.recv(8, socket.MSG_WAITALL) != SSL_REQUEST:
                    client.close()
                    return
                client.sendall(b"S")
                secured = context.wrap_socket(client, server_side=True)
                server = socket.create_connection((LOOPBACK, behind))
                open_sockets.extend([secured, server])
                pass_on(secured, server)

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join(10)
            for one in open_sockets:
                with suppress(OSError):
                    one.close()


def pass_on(secured: ssl.SSLSocket, server: socket.socket) -> None:
    """Bytes both ways until one end closes; in one thread, because TLS has one state for both directions."""
    with suppress(OSError):
        while True:
            ready = [secured] if secured.pending() else select.select([secured, server], [], [])[0]
            for origin, target in ((secured, server), (server, secured)):
                if origin not in ready:
                    continue
                if not (content := origin.recv(1 << 16)):
                    break
                target.sendall(content)
            else:
                continue
            break
    for one in (secured, server):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
