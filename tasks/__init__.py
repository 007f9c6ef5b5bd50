"""Thin Prefect tasks around groundwork: names, retries, tags, artifacts, blocks.

Importing this carries groundwork's own log lines to Prefect. PREFECT_LOGGING_EXTRA_LOGGERS alone gives
its loggers Prefect's handlers but leaves them at the root's level, WARNING, so INFO would be lost.
"""

from __future__ import annotations

import logging

from prefect.logging.configuration import ensure_logging_setup

from groundwork.log_lines import in_one_line


def _carry_log_lines() -> None:
    ensure_logging_setup()
    ours = logging.getLogger("groundwork")
    if ours.level == logging.NOTSET:
        ours.setLevel(logging.INFO)
    for handler in logging.getLogger("prefect.extra").handlers:
        ours.addHandler(handler)  # does nothing when it is there already
        in_one_line(handler)


_carry_log_lines()
