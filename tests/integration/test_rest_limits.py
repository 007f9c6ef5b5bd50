"""What the parsers of HTTP, gzip and JSON refuse is named as what it is, and is not asked for again."""

from __future__ import annotations

import gzip
import random
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from groundwork.errors import AnswerUnusable
from groundwork.sources.rest import RestSource
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read, entry, resolve

ONE = b'[{"id":1}]'
LINES = b"".join(b'{"id":%d,"x":"%d"}\n' % (n, random.Random(n).getrandbits(60)) for n in range(3000))
NDJSON = {"format": "ndjson"}


class RawServer:
    """Sends the same bytes to each connection, whether they are HTTP or not."""

    def __init__(self, sent: bytes) -> None:
        self.connections = 0
        self._sent = sent
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                try:
                    connection.recv(65536)
                    connection.sendall(self._sent)
                except OSError:  # the client has read enough
                    pass

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@pytest.fixture
def sends() -> Iterator[Callable[[bytes], RawServer]]:
    """``sends(bytes)``: a server that sends them."""
    servers: list[RawServer] = []

    def start(sent: bytes) -> RawServer:
        servers.append(RawServer(sent))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def http(body: bytes, *headers: bytes) -> bytes:
    head = [b"HTTP/1.1 200 OK", b"Content-Type: application/json", b"Connection: close", *headers]
    return b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", b""]) + body


def read(server: RawServer, stream: dict[str, Any] | None = None) -> Read:
    return Read(RestSource(entry(server.url, stream or {}, retries=1), resolve))


@pytest.mark.parametrize(
    "sent",
    [
        http(ONE, b"X-Large: " + b"a" * 1_000_000),
        http(ONE, *(b"X-%d: a" % number for number in range(5000))),
        http(ONE, b"no colon here"),
        http(ONE, b"Content-Length: 3"),
        b"hello there\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    ],
)
def test_what_is_no_http_is_named_so_and_not_asked_for_again(
    sends: Callable[[bytes], RawServer], sent: bytes
) -> None:
    server = sends(sent)
    with pytest.raises(AnswerUnusable, match="is no HTTP, or its headers are too large"):
        read(server)
    assert server.connections == 1


def test_large_headers_within_the_limits_are_read(sends: Callable[[bytes], RawServer]) -> None:
    assert read(sends(http(ONE, b"X-Large: " + b"a" * 60_000))).ids == [1]
    assert read(sends(http(ONE, *(b"X-%d: a" % number for number in range(900))))).ids == [1]


def packed(encoding: bytes, body: bytes) -> bytes:
    return http(body, b"Content-Encoding: " + encoding)


RAW_DEFLATE = zlib.compressobj(wbits=-15)
RAW = RAW_DEFLATE.compress(LINES) + RAW_DEFLATE.flush()


@pytest.mark.parametrize(
    "sent",
    [
        packed(b"gzip", gzip.compress(LINES)),
        packed(b"X-GZIP", gzip.compress(LINES)),
        packed(b"gzip", gzip.compress(LINES[:30_000]) + gzip.compress(LINES[30_000:])),
        packed(b"gzip", gzip.compress(LINES) + b"\0" * 100),
        packed(b"gzip", gzip.compress(gzip.compress(LINES))),
        packed(b"deflate", zlib.compress(LINES)),
        packed(b"deflate", RAW),
        packed(b"identity", LINES),
        http(gzip.compress(LINES)),
    ],
)
def test_a_packed_body_is_read_to_its_end(sends: Callable[[bytes], RawServer], sent: bytes) -> None:
    assert read(sends(sent), NDJSON).ids == list(range(3000))


@pytest.mark.parametrize("at_row", [False, True])
@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
def test_a_packed_body_that_ends_early_is_no_shorter_list(
    sends: Callable[[bytes], RawServer], encoding: bytes, at_row: bool
) -> None:
    """Cut where a row ends, the unpacked text looks whole."""
    packer = zlib.compressobj(wbits=31 if encoding == b"gzip" else 15)
    half = LINES.index(b"\n", len(LINES) // 2) + 1
    body = packer.compress(LINES[:half]) + packer.flush(zlib.Z_SYNC_FLUSH)
    server = sends(packed(encoding, body if at_row else body[:-200]))
    with pytest.raises(AnswerUnusable, match=r"not whole, 2 times \(the packed body ends too early"):
        read(server, NDJSON)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (packed(b"gzip", b"hello, no gzip"), "is not gzip, though its Content-Encoding says so"),
        (packed(b"br", ONE), "packed in a way that was not asked for"),
        (packed(b"zstd", ONE), "packed in a way that was not asked for"),
        (packed(b"gzip, gzip", ONE), "packed in a way that was not asked for"),
        (packed(b"gzip", gzip.compress(bytes(300 << 20), 1)), "larger than 256 MB, unpacked"),
    ],
)
def test_a_body_that_cannot_be_unpacked_is_named_so_and_not_asked_for_again(
    sends: Callable[[bytes], RawServer], sent: bytes, said: str
) -> None:
    server = sends(sent)
    with pytest.raises(AnswerUnusable, match=said):
        read(server)
    assert server.connections == 1


@pytest.mark.parametrize("how", ["by its header", "by itself"])
def test_a_file_that_unpacks_beyond_the_limit_is_left_out(serve: Callable[..., Api], how: str) -> None:
    large = gzip.compress(LINES * 40, 1)

    async def files(request: Any) -> Any:
        if request.path == "/books":
            return answer([{"url": "/a"}, {"url": "/large"}, {"url": "/z"}])
        if request.path != "/large":
            return answer(b'{"id": 1}\n')
        return answer(large, **({"Content-Encoding": "gzip"} if how == "by its header" else {}))

    stream = {"format": "ndjson", "replication": "incremental", "files": {"max_bytes": 2 << 20}}
    items: list[Any] = []
    source = RestSource(entry(serve(files).url, stream), resolve)
    with pytest.raises(AnswerUnusable, match="file 'large': the file is larger than 2 MB, unpacked"):
        items.extend(source.read({}))
    assert set(items[-1].cursors["books"]["files"]) == {"a", "z"}


@pytest.mark.parametrize(
    ("body", "stream", "said"),
    [
        (b'[{"id":1,"a":' + b"[" * 5000 + b"]" * 5000 + b"}]", {}, "5002 levels deep"),
        (b"[" * 500_000 + b"]" * 500_000, {}, "more than 10000 levels deep"),
        (b'{"a":' * 500_000 + b"1" + b"}" * 500_000, {"records": "a"}, "another shape than the catalog says"),
        (
            b'{"items":[],"total":' + b"9" * 5000 + b"}",
            {"records": "items", "paging": {"total": "total"}},
            "no total where",
        ),
        (
            b'[{"id":1,"at":' + b"9" * 5000 + b"}]",
            {"replication": "incremental", "cursor": {"field": "at", "parameter": "since"}},
            "a number of 5000 characters",
        ),
        (
            b'[{"id":1,"at":1e999999}]',
            {"replication": "incremental", "cursor": {"field": "at", "parameter": "since"}},
            "the cursor field holds a number",
        ),
        (
            b'{"items":[{"id":1}],"items":[{"id":2}]}',
            {"records": "items"},
            "a key stands twice in the outermost object",
        ),
        (
            b'{"items":[{"id":1}],"it\\u0065ms":[{"id":2}]}',
            {"records": "items"},
            "a key stands twice in the outermost object",
        ),
        (
            b'{"d":{"items":[{"id":1}],"next":"/x", "next" : null}}',
            {"records": "d.items", "paging": {"kind": "json_link", "next": "d.next"}},
            "a key stands twice in the object 'd'",
        ),
    ],
)
def test_json_beyond_what_can_be_read_rightly_is_named_so(
    sends: Callable[[bytes], RawServer], body: bytes, stream: dict[str, Any], said: str
) -> None:
    server = sends(http(body))
    with pytest.raises(AnswerUnusable, match=said):
        read(server, stream)
    assert server.connections == 1


@pytest.mark.parametrize(
    "record",
    [
        '{"id":1,"n":' + "9" * 10_000 + "}",
        '{"id":1,"n":1e999999999,"m":-0.0,"k":1.0000000000000000000000000000001}',
        '{"id":1,"id":1,"a":{"b":1,"b":2},"items":3}',
        '{"id":1,"v":"cut \\ud83d","w":"\\udc00\\ud800"}',
        '{"id":1,"deep":' + "[" * 300 + "]" * 300 + "}",
        '{"id":1,"":null,"\\u0000":"\\u0000"}',
    ],
)
def test_a_record_is_landed_letter_for_letter_whatever_its_numbers_and_keys(
    sends: Callable[[bytes], RawServer], record: str
) -> None:
    server = sends(http(f'{{"items":[{record}],"other":1,"other":2}}'.encode()))
    assert read(server, {"records": "items"}).records == [record]
