"""The way to the S3 server: a proxy that understands its requests, and can lie about what became of them."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.chaos.network import Link, Network, abort

REFUSES = {"answers 500": (500, "InternalError"), "answers 503": (503, "SlowDown")}
AFTER = {"applies and drops the answer": 0, "applies and answers 500": 500}
KINDS = [*REFUSES, *AFTER]


@dataclass
class Fault:
    """One thing the server does wrong, to the next few requests that fit."""

    kind: str
    times: int
    """More than four outlive the client's retries."""
    method: str = ""
    """``PUT`` or any."""
    part: str = ""
    """Part of the key, ``/manifests/`` or any."""
    struck: Counter[str] = field(default_factory=Counter)

    def fits(self, method: str, path: str) -> bool:
        return self.times > 0 and self.method in ("", method) and self.part in path


@dataclass
class Head:
    """The first lines of a request or an answer."""

    first: bytes
    lines: list[bytes]
    fields: dict[str, str]

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> Head:
        lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
        pairs = (line.decode("latin-1").partition(":") for line in lines[1:])
        return cls(lines[0], lines, {name.lower(): value.strip() for name, _, value in pairs})

    def raw(self, without: bytes = b"-") -> bytes:
        kept = [line for line in self.lines if not line.lower().startswith(without)]
        return b"\r\n".join([*kept, b"", b""])


class S3Link(Link):
    """A `Link` whose requests are read one by one."""

    def __init__(self, network: Network, name: str, target: Callable[[], int], stored: Stored) -> None:
        self._fault: Fault | None = None
        self._guard, self._stored = threading.Lock(), stored
        self.requests: Counter[str] = Counter()
        self.own_write_came_back = 0
        """412 for a key whose put had been applied while its answer was dropped."""
        self._dropped: set[str] = set()
        super().__init__(network, name, target)

    def arm(self, fault: Fault | None) -> None:
        """Do this to the next requests that fit; nothing from now on when None."""
        with self._guard:
            self._fault = fault

    def _struck(self, method: str, path: str, kinds: dict[str, object]) -> str:
        with self._guard:
            fault = self._fault
            if fault is None or fault.kind not in kinds or not fault.fits(method, path):
                return ""
            fault.times -= 1
            fault.struck[f"{method} {_kind_of(path)}"] += 1
            return fault.kind

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        theirs: asyncio.StreamReader, ours: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        """Requests and answers in turn, until one side ends."""
        while not reader.at_eof():
            request = await Head.read(reader)
            method, path, _ = request.first.decode("latin-1").split(" ")
            self.requests[f"{method} {_kind_of(path)}"] += 1
            if request.fields.get("expect"):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await reader.readexactly(int(request.fields.get("content-length", 0)))
            await self._open.wait()
            if kind := self._struck(method, path, dict(REFUSES)):
                writer.write(_refusal(*REFUSES[kind]))
                await writer.drain()
                continue
            ours.write(request.raw(without=b"expect:") + body)
            await ours.drain()
            answer, content = await _answer(theirs, method)
            status = int(answer.first.split(b" ")[1])
            applied = method == "PUT" and status == 200
            if status == 412 and path in self._dropped:
                self.own_write_came_back += 1
            await self._open.wait()
            if kind := self._struck(method, path, dict(AFTER)):
                if applied:
                    self._dropped.add(path)
                if not AFTER[kind]:
                    abort(writer)
                    return
                writer.write(_refusal(500, "InternalError"))
                await writer.drain()
                continue
            if applied:
                self._stored.told(path, body)
            writer.write(answer.raw() + content)
            await writer.drain()


class Stored:
    """What the S3 server said it had stored: it may never forget it."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}

    def told(self, path: str, body: bytes) -> None:
        self.digests[path] = hashlib.sha256(body).hexdigest()


async def _answer(theirs: asyncio.StreamReader, method: str) -> tuple[Head, bytes]:
    head = await Head.read(theirs)
    while head.first.split(b" ")[1] == b"100":
        head = await Head.read(theirs)
    if method == "HEAD" or head.first.split(b" ")[1] in (b"204", b"304"):
        return head, b""
    if head.fields.get("transfer-encoding", "").lower() == "chunked":
        content = b""
        while True:
            line = await theirs.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            content += line + await theirs.readexactly(size + 2)
            if not size:
                return head, content
    return head, await theirs.readexactly(int(head.fields.get("content-length", 0)))


def _refusal(status: int, code: str) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>chaos</Message></Error>".encode()
    lines = (
        f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return lines.encode() + body


def _kind_of(path: str) -> str:
    return "a manifest" if "/manifests/" in path else "an object" if "/data/" in path else "the bucket"
