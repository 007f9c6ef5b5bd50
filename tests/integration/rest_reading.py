"""Reading a REST source whole, and the smallest catalog entry that allows it."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pyarrow as pa

from groundwork.catalog import RestSource as Entry
from groundwork.settings import Named
from groundwork.sources import Checkpoint, Rows
from groundwork.sources.rest import RestSource

SECRET = "s3cr3t-Canary/+ä"


def resolve(named: Named) -> str:
    return SECRET


def entry(url: str, stream: dict[str, Any], **connection: Any) -> Entry:
    return Entry.model_validate(
        {
            "source": "books", "kind": "rest", "priority": 1, "questions": ["?"],
            "requested_by": ["tests"], "owner": {"name": "n", "email": "a@b.c"}, "format": "JSON",
            "history": "all", "update_every": "1 hour",
            "connection": {
                "base_url": url, "requests_per_second": 10_000, "max_wait_seconds": 20, **connection
            },
            "streams": {
                "books": {
                    "endpoint": "/books", "replication": "full_table", "columns": {}, **stream
                }
            },
        }
    )  # fmt: skip


def table(rows: Rows) -> pl.DataFrame:
    """Rows as a frame of texts, with what is the same for all of them."""
    assert isinstance(rows.frame, pa.Table)
    frame = pl.DataFrame(pl.from_arrow(rows.frame)).with_columns(pl.col(pl.Categorical).cast(pl.String))
    return frame.with_columns(pl.lit(text).alias(name) for name, text in rows.constants.items())


class Read:
    """Everything a read yielded."""

    def __init__(self, source: RestSource, cursors: dict[str, Any] | None = None) -> None:
        items = list(source.read(cursors or {}))
        frames = [table(item) for item in items if isinstance(item, Rows)]
        self.frame = pl.concat(frames) if frames else pl.DataFrame({"record": []})
        self.checkpoints = [item for item in items if isinstance(item, Checkpoint)]
        self.cursors = json.loads(json.dumps(self.checkpoints[-1].cursors))
        self.events = [event for point in self.checkpoints for event in point.events]
        self.records: list[str] = self.frame["record"].drop_nulls().to_list()

    @property
    def ids(self) -> list[Any]:
        return [json.loads(record)["id"] for record in self.records]
