"""The network between all parts: TCP proxies of our own on loopback, in one thread, that can be cut."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from demo.service import LOOPBACK

T = TypeVar("T")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: closing sends RST, not FIN
BROKEN = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


class Network:
    """The thread in which all links live."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="network", daemon=True)

    def __enter__(self) -> Network:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def call(self, doing: Coroutine[Any, Any, T], seconds: float = 60.0) -> T:
        """Do something in the network's thread and wait for it."""
        return asyncio.run_coroutine_threadsafe(doing, self.loop).result(seconds)

    async def _end(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Link:
    """A port that leads to another one.

    Args:
        network: the thread it lives in.
        name: for the report.
        target: the port it leads to, asked at each connection.
    """

    def __init__(self, network: Network, name: str, target: Callable[[], int]) -> None:
        self.network, self.name, self._target = network, name, target
        self.connections, self.struck = 0, 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._closed_until = 0.0
        self.port: int = network.call(self._listen())

    def reset(self, seconds: float) -> int:
        """Break all connections and refuse new ones for a while; how many were struck."""
        return self.network.call(self._reset(seconds), seconds + 60)

    def swallow(self, seconds: float, *, then_reset: bool) -> int:
        """Let nothing pass for a while, in both directions; how many connections were struck."""
        return self.network.call(self._swallow(seconds, then_reset), seconds + 60)

    async def _listen(self) -> int:
        self._open = asyncio.Event()
        self._open.set()
        self._server = await asyncio.start_server(self._accepted, LOOPBACK, 0, limit=1 << 26)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _reset(self, seconds: float) -> int:
        self._closed_until = time.monotonic() + seconds
        struck = len(self._writers) // 2
        for writer in list(self._writers):
            abort(writer)
        await asyncio.sleep(seconds)
        self.struck += struck
        return struck

    async def _swallow(self, seconds: float, then_reset: bool) -> int:
        struck = len(self._writers) // 2
        self._open.clear()
        await asyncio.sleep(seconds)
        struck = max(struck, len(self._writers) // 2)
        if then_reset:
            for writer in list(self._writers):
                abort(writer)
        self._open.set()
        self.struck += struck
        return struck

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if time.monotonic() < self._closed_until:
                abort(writer)
                return
            self.connections += 1
            await self._open.wait()
            theirs, ours = await asyncio.open_connection(LOOPBACK, self._target(), limit=1 << 26)
            self._writers.add(ours)
            try:
                await self.carry(reader, writer, theirs, ours)
            finally:
                self._writers.discard(ours)
                ours.close()
        except BROKEN:
            abort(writer)
        finally:
            self._writers.discard(writer)
            with suppress(OSError):
                writer.close()

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        theirs: asyncio.StreamReader, ours: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        """Bytes in both directions, until one side ends."""
        ways = [
            asyncio.create_task(self._pump(reader, ours)),
            asyncio.create_task(self._pump(theirs, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(1 << 18):
            await self._open.wait()
            sink.write(chunk)
            await sink.drain()


def abort(writer: asyncio.StreamWriter) -> None:
    """End a connection as a broken network would: by RST."""
    end = writer.get_extra_info("socket")
    if end is not None:
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
