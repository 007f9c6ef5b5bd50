"""Deletions that an API tells of: flags in its records, and endpoints that list what is gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from groundwork.errors import AnswerUnusable
from groundwork.sources import Checkpoint
from groundwork.sources.rest import RestSource
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import entry, resolve, table

CURSOR = {"field": "at", "parameter": "since"}
KEY = {"primary_key": ["id"], "columns": {"id": {"type": "integer"}}}


def read(api: Api, stream: dict[str, Any], cursors: Any = None) -> tuple[list[tuple[int, str]], Any]:
    """Each record's id and what happened to it, and the cursors at the end."""
    told: list[tuple[int, str]] = []
    for item in RestSource(entry(api.url, stream), resolve).read(cursors or {}):
        if isinstance(item, Checkpoint):
            cursors = json.loads(json.dumps(item.cursors))
            continue
        frame = table(item).drop_nulls("record")
        named = frame["_operation"] if "_operation" in frame.columns else ["insert"] * len(frame)
        told += [
            (json.loads(record)["id"], name) for record, name in zip(frame["record"], named, strict=True)
        ]
    return told, cursors


@pytest.mark.parametrize("path", ["deleted", "meta.deleted_at"])
@pytest.mark.parametrize("replication", ["incremental", "full_table"])
def test_records_that_are_flagged_as_deleted_are_tombstones(
    serve: Callable[..., Api], path: str, replication: str
) -> None:
    async def books(request: web.Request) -> web.Response:
        return answer([
            {"id": 1, "at": 1, "deleted": False, "meta": {"deleted_at": None}},
            {"id": 2, "at": 2, "deleted": True, "meta": {"deleted_at": "2026-01-01"}},
            {"id": 3, "at": 3},
        ])  # fmt: skip

    stream: dict[str, Any] = {**KEY, "replication": replication, "deleted": path}
    if replication == "incremental":
        stream["cursor"] = CURSOR
    usual = "insert" if replication == "incremental" else "snapshot"
    assert read(serve(books), stream)[0] == [(1, usual), (2, "delete"), (3, usual)]


class Shelf:
    """Books, and a list of those that are gone, each by what happened since."""

    def __init__(self) -> None:
        self.books = [{"id": n, "at": n} for n in range(1, 6)]
        self.gone: list[dict[str, Any]] = [{"id": 0, "at": 3}]

    async def handle(self, request: web.Request) -> web.Response:
        since, page = int(request.query.get("since", 0)), int(request.query["page"])
        listed = self.gone if request.path == "/gone" else self.books
        found = [one for one in listed if one["at"] >= since]
        return answer({"items": found[(page - 1) * 2 : page * 2]})


PAGES = {"records": "items", "cursor": CURSOR, "paging": {"kind": "page_number", "parameter": "page"}}
STREAM = {**KEY, **PAGES, "replication": "incremental", "deletions": {"endpoint": "/gone", **PAGES}}


def test_what_an_endpoint_lists_as_gone_becomes_tombstones_once(serve: Callable[..., Api]) -> None:
    shelf = Shelf()
    api = serve(shelf.handle)
    first, cursors = read(api, STREAM)
    assert first == [(0, "delete"), *((number, "insert") for number in range(1, 6))]
    assert read(api, STREAM, cursors) == ([], cursors)
    shelf.books.pop(1)
    shelf.gone.append({"id": 2, "at": 9})
    assert read(api, STREAM, cursors)[0] == [(2, "delete")]


def test_a_record_that_was_deleted_and_made_anew_ends_up_alive(serve: Callable[..., Api]) -> None:
    shelf = Shelf()
    api = serve(shelf.handle)
    _, cursors = read(api, STREAM)
    shelf.gone.append({"id": 2, "at": 10})
    shelf.books.append({"id": 2, "at": 11})
    assert read(api, STREAM, cursors)[0] == [(2, "delete"), (2, "insert")]


def test_a_deletion_that_does_not_say_of_what_is_told(serve: Callable[..., Api]) -> None:
    shelf = Shelf()
    shelf.gone = [{"object_id": 2, "at": 9}]
    with pytest.raises(
        AnswerUnusable, match=r"stream 'books', deletions, page 1: .*missing required field 'id'"
    ):
        read(serve(shelf.handle), STREAM)
