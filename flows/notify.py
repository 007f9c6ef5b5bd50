"""Notify: tell by mail what is wrong and was not told yet, and what is over."""

from __future__ import annotations

import sys

from prefect import flow

from tasks.board import look_and_tell
from tasks.watch import read_looks

MOST_LOOKS = 10
"""A run that tells something new each time is ended all the same; `watch` calls for the next."""


@flow(name="notify", flow_run_name="notify")
def notify(reason: str = "", looks: str = "") -> None:  # noqa: ARG001
    """Hold what is wrong now against the board of what was told, and tell the difference.

    Automations start it. Which event did is no matter: it looks for itself, until a look finds nothing new.
    So a call that comes meanwhile can be dropped, one that comes twice tells nothing twice, and one that got
    lost is made good by the next. Its own deployment does not carry the tag `groundwork`, else a broken mail
    server would call for itself.

    Args:
        reason: the event that called, for the run's page.
        looks: what `watch` saw, as JSON; see `tasks.watch`.
    """
    seen = read_looks(looks)
    for _ in range(MOST_LOOKS):
        if not look_and_tell(seen):
            break
        seen = {}


if __name__ == "__main__":
    notify(*sys.argv[1:])
