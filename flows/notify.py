"""Notify: the detailed mail about a run that did not end well, once its log lines are complete."""

from __future__ import annotations

import sys

from prefect import flow

from tasks.trouble import find_affected, read_trouble, tell


@flow(name="notify", flow_run_name="notify-{flow_run_id}")
def notify(flow_run_id: str, reason: str = "") -> None:  # noqa: ARG001
    """Tell by mail what happened, the last log lines, and what it touches.

    Started by the automation `groundwork: run failed`. Its own deployment does not carry the tag
    `groundwork`, else a broken mail server would call for itself.

    Args:
        flow_run_id: the run to tell about.
        reason: the event that called, for the run's page.
    """
    trouble, affected = find_affected(read_trouble(flow_run_id))
    tell(trouble, affected)


if __name__ == "__main__":
    notify(*sys.argv[1:])
