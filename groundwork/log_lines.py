"""Log lines of one line each, whatever the names in them hold."""

from __future__ import annotations

import logging

from groundwork.escaping import one_line


class OneLine(logging.Filter):
    """Makes a message of our own loggers one line; a traceback below it stays as it is."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the message, and keep it."""
        if record.name.partition(".")[0] == "groundwork":
            record.msg, record.args = one_line(record.getMessage()), ()
        return True


def in_one_line(handler: logging.Handler) -> None:
    """Let a handler write each message of ours in one line."""
    if not any(isinstance(one, OneLine) for one in handler.filters):
        handler.addFilter(OneLine())
