"""The body of an answer, unpacked and within its limit; and heads that cannot be read."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp

from groundwork.errors import AnswerUnusable
from groundwork.scratch import told
from groundwork.sources.rest.content_encoding import Unpacker

LARGEST_BODY = 256 << 20
"""Bytes of one answer, unpacked, that we are ready to hold in memory."""

HEAD_LIMITS: dict[str, Any] = {"max_line_size": 64 << 10, "max_field_size": 64 << 10, "max_headers": 1000}
"""Bytes of a status line and of one header, and how many headers an answer may have."""


async def body_of(response: aiohttp.ClientResponse, where: str, into: Path | None, most: int) -> bytes:
    """The body, unpacked; nothing when it goes to a file.

    Args:
        response: whose body was not read yet.
        where: the request, for messages.
        into: file that it goes to instead of memory.
        most: bytes that it may have, unpacked.

    Raises:
        CutOff: when it ends too early.
        AnswerUnusable: when it is larger, or packed in another way than it says.
    """
    unpacker = Unpacker(response.headers.get("Content-Encoding", ""), where)
    pieces, size = [], 0
    with ExitStack() as stack:
        file = None
        if into:
            with told(into):
                file = stack.enter_context(into.open("wb"))
        async for packed in response.content.iter_any():
            for piece in unpacker.feed(packed):
                size += len(piece)
                if size > most:
                    raise _too_large(where, most, "file" if into else "answer")
                if file is None or into is None:
                    pieces.append(piece)
                    continue
                with told(into):  # a full disk is not the API's fault, and not asked again for
                    file.write(piece)
        unpacker.finish()
        if file and into:
            with told(into):
                file.flush()
    return b"".join(pieces)


def _too_large(where: str, most: int, what: str) -> AnswerUnusable:
    fix = "raise files.max_bytes if it is right" if what == "file" else "ask for smaller pages (paging.size)"
    return AnswerUnusable(where, f"the {what} is larger than {most >> 20} MB, unpacked", fix=fix)


def unreadable_head(where: str) -> AnswerUnusable:
    """The error for an answer that the HTTP client's parser refuses."""
    size, count = HEAD_LIMITS["max_field_size"] >> 10, HEAD_LIMITS["max_headers"]
    return AnswerUnusable(
        where,
        f"what the API sends is no HTTP, or its headers are too large ({size} KB each, {count} of them)",
        why="the connection did not break, so asking again would change nothing",
        fix="look at it with curl --include, and tell the API's owner",
    )
