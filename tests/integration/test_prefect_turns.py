"""Turns that Prefect gives over all machines."""

from __future__ import annotations

import threading
from contextvars import copy_context
from pathlib import Path

from groundwork.settings import Settings
from tasks.turns import builders_turn


def test_two_builds_at_once_take_turns(deployed: str, prefect_api: str, tmp_path: Path) -> None:
    settings = Settings(warehouse="snowflake", home=tmp_path)
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        assert inside.wait(60)
        with builders_turn(settings):
            order.append("second builds")

    thread = threading.Thread(target=copy_context().run, args=(second,))  # which has the server's address
    thread.start()
    with builders_turn(settings):
        inside.set()
        thread.join(3)  # time in which it would get in, were there no turns
        assert thread.is_alive()
        order.append("first is done")
    thread.join(60)
    assert order == ["first is done", "second builds"]
