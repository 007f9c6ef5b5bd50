"""Where in extract and load a process is struck, or was when it died.

A place is a method of the engine. Each child of the fork server writes into a few shared bytes which one it
entered or left last, so that a kill at random can be told as "in …" or "after …".
"""

from __future__ import annotations

import importlib
import mmap
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXTRACT = {
    "looking for the newest manifest": "groundwork.manifest:latest",
    "holding the slot against the manifest": "groundwork.sources.slot:check",
    "making a temporary slot": "groundwork.sources.slot:create_temporary",
    "copying a table": "groundwork.sources.copytext:decode",
    "making the slot permanent": "groundwork.sources.slot:make_permanent",
    "starting the stream": "groundwork.sources.wire:Connection.start_stream",
    "receiving the log": "groundwork.sources.wire:Connection.receive",
    "adding rows to an object": "groundwork.batch:OpenBatch.add",
    "putting an object": "groundwork.bucket.s3:S3Bucket.put",
    "putting the manifest": "groundwork.bucket.s3:S3Bucket.put_if_absent",
    "acknowledging": "groundwork.sources.wire:Connection.acknowledge",
    "ending the stream": "groundwork.sources.wire:Connection.end_stream",
}
LOAD = {
    "reading a manifest": "groundwork.manifest:read",
    "downloading an object": "groundwork.bucket.s3:S3Bucket.download",
    "widening a table": "groundwork.warehouses.duckdb:DuckDB.widen",
    "landing a batch": "groundwork.warehouses.duckdb:DuckDB.land",
    "inserting an object": "groundwork.warehouses.duckdb:DuckDB._insert",
    "entering it in the ledger": "groundwork.warehouses.duckdb:DuckDB._enter",
}
PLACES = {"extract": EXTRACT, "load": LOAD}
BOARD_BYTES = 64


def found(address: str) -> tuple[Any, str]:
    """The owner of a place and its name there.

    Raises:
        AttributeError: when the engine has no such place any more.
    """
    module, _, path = address.partition(":")
    owner: Any = importlib.import_module(module)
    *between, name = path.split(".")
    for part in between:
        owner = getattr(owner, part)
    getattr(owner, name)
    return owner, name


def watch(what: str, board: Path, aim: dict[str, Any] | None) -> None:
    """Write down where this process is; die at the place aimed at, before or after its n-th call."""
    with board.open("r+b") as file:
        shared = mmap.mmap(file.fileno(), BOARD_BYTES)

    def tell(text: str) -> None:
        shared[:BOARD_BYTES] = text.encode().ljust(BOARD_BYTES)[:BOARD_BYTES]

    tell("before all")
    for place, address in PLACES[what].items():
        owner, name = found(address)
        calls = [0]
        mine = aim if aim and aim["place"] == place else None
        setattr(owner, name, _watched(getattr(owner, name), place, tell, mine, calls))


def _watched(
    original: Callable[..., Any], place: str, tell: Callable[[str], None], aim: dict[str, Any] | None,
    calls: list[int],
) -> Callable[..., Any]:  # fmt: skip
    def watched(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        mine = aim is not None and calls[0] == aim["call"]
        if mine and aim and aim["when"] == "before":
            tell(f"aimed before {place}")
            os.kill(os.getpid(), signal.SIGKILL)
        tell(f"in {place}")
        result = original(*arguments, **options)
        if mine:
            tell(f"aimed after {place}")
            os.kill(os.getpid(), signal.SIGKILL)
        tell(f"after {place}")
        return result

    return watched
