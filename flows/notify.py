"""Notify: tell by mail what is wrong and was not told yet, and what is over."""

from __future__ import annotations

import sys

from prefect import flow

from tasks.board import look_and_tell
from tasks.watch import read_looks


@flow(name="notify", flow_run_name="notify")
def notify(reason: str = "", looks: str = "") -> None:  # noqa: ARG001
    """Hold what is wrong now against the board of what was told, and tell the difference.

    Automations start it. Which event did is no matter: it looks for itself, so a call that comes twice
    tells nothing twice, and a call that got lost is made good by the next one. Its own deployment does not
    carry the tag `groundwork`, else a broken mail server would call for itself.

    Args:
        reason: the event that called, for the run's page.
        looks: what `watch` saw, as JSON; see `tasks.watch`.
    """
    look_and_tell(read_looks(looks))


if __name__ == "__main__":
    notify(*sys.argv[1:])
