"""Records that earlier runs stored of a pull, or of one part of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw

from groundwork.sources import Recall


def recalled_part(recall: Recall, stream: str, told: Mapping[str, Any], mark: str) -> Iterator[list[Raw]]:
    """The records, some at a time.

    Args:
        recall: gives back stored rows.
        stream: whose they are.
        told: what the requests of this part say of themselves; empty for a stream that has no parts.
        mark: of the pull.
    """
    for rows in recall(stream, mark):
        records = rows.column("record")
        wanted = pc.is_valid(records)
        if told:
            requests = rows.column("_request").to_pylist()
            wanted = pc.and_(wanted, pa.array([_is_of(request, told) for request in requests]))
        yield [Raw(text.encode()) for text in records.filter(wanted).to_pylist()]


def _is_of(request: str | None, told: Mapping[str, Any]) -> bool:
    """Whether a request was one of a part."""
    said = msgspec.json.decode(request) if request else {}
    return all(said.get(name) == value for name, value in told.items())
