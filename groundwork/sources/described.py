"""Which partitions the log speaks of, when it tells their rows as those of the partitioned table.

The server describes the root and then the partition right before the partition's first row, which names the
root (PostgreSQL, `maybe_send_schema` in pgoutput.c). So a description that is followed by a row of another
table is a partition's. No I/O here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from groundwork.sources.views import Buffer, Positions

Parts = dict[int, dict[int, int]]
"""Root's OID → partition's OID → commit position of the last transaction that it was described in."""


class Described:
    """Carried from buffer to buffer: a row may come in another one than its partition's description."""

    def __init__(self) -> None:
        """Begin with nothing described."""
        self._open: tuple[int, int] | None = None

    def parts(self, buffer: Buffer, body: Positions, kinds: npt.NDArray[np.uint8], commit_lsn: int) -> Parts:
        """The partitions in a buffer.

        Args:
            buffer: the bytes.
            body: where each message's payload begins.
            kinds: the messages' letters.
            commit_lsn: position of the transaction that was open before.
        """
        found: Parts = {}
        begins = np.flatnonzero(kinds == ord("B"))
        described = np.flatnonzero(kinds == ord("R")).tolist()
        for index in ([-1] if self._open and len(kinds) else []) + described:
            if index >= 0:
                before = begins[begins < index]
                lsn = int(buffer.int64(body[before[-1:]] + 1)[0]) if len(before) else commit_lsn
                self._open = int(buffer.int32(body[[index]] + 1)[0]), lsn
            if index + 1 == len(kinds) or self._open is None:
                continue
            if kinds[index + 1] in b"IUD":
                root = int(buffer.int32(body[[index + 1]] + 1)[0])
                part, lsn = self._open
                if part != root:
                    found.setdefault(root, {})[part] = lsn
            self._open = None
        return found
