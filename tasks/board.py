"""The board of open troubles, kept in Prefect: it must be there when bucket and warehouse are not.

An artifact, which a person can read in the UI, with one version per change. Only `notify` writes it, and of
`notify` one run at a time: that is the deployment's concurrency limit.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from prefect import task

from groundwork.alerts.troubles import Board, News
from groundwork.escaping import markdown_text

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from tasks.run_states import Looks

log = logging.getLogger("groundwork.board")

KEY = "groundwork-troubles"
CHANGED = "groundwork.watch.changed"
"""The event by which `watch` asks for a run of `notify`."""


def read_board() -> Board:
    """The board as it was left; an empty one when there is none, or none that can be read.

    A mail that comes twice is better than none.
    """
    from prefect.artifacts import Artifact

    found: Any = Artifact.get(KEY)
    try:
        return Board(json.loads(found.data) if found and found.data else [])
    except (TypeError, ValueError) as error:
        log.warning("the board cannot be read, all is told again: %s", type(error).__name__)
        return Board()


def write_board(board: Board) -> None:
    """Leave the board for the next look."""
    from prefect.artifacts import Artifact

    open_rows = [
        f"- **{markdown_text(row.trouble.about)}**: {row.trouble.kind} since {row.trouble.since}"
        for row in board.open()
    ]
    shown = "\n".join(open_rows) or "all is well"
    Artifact(type="json", key=KEY, description=shown, data=board.dump()).create()


def observe_all(client: SyncPrefectClient, board: Board, looks: Looks) -> News:
    """Look at the runs, add what others saw, and note all of it on the board."""
    from datetime import UTC, datetime

    from tasks.run_states import look_at_runs, told_by_server

    at = datetime.now(UTC)
    told_by_server(client, board)
    for subject, found in {**look_at_runs(client, board), **looks}.items():
        board.observe(subject, found, at)
    return board.settle(at)


@task(task_run_name="look-and-tell")
def look_and_tell(looks: Looks) -> bool:
    """Tell what is new on the board and what is over, then leave the board so; whether there was anything.

    Raises:
        GroundworkError: when something could not be told, it is told by the next run then; or when there is
            nothing to tell, the run before could not, and the mail server still takes nothing.
    """
    from prefect.client.orchestration import get_client

    from tasks.run_states import could_not_tell
    from tasks.telling import make_sure, tell

    with get_client(sync_client=True) as client:
        board = read_board()
        before = json.dumps(board.dump())
        news = observe_all(client, board, looks)
        try:
            failed = tell(client, news)
        finally:
            if json.dumps(board.dump()) != before:
                write_board(board)
        if not news and could_not_tell(client):
            make_sure()
    if failed:
        raise failed[0]
    return bool(news)
