"""Errors of a PostgreSQL server and of the connection to it, in our tree."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from pg8000.exceptions import DatabaseError, InterfaceError

from groundwork.errors import SourceBusy, SourceError, SourceLocked, SourceRefused, SourceUnreachable
from groundwork.sources.incoming import broken

_KINDS: dict[str, tuple[type[SourceError], str]] = {
    "28P01": (SourceRefused, "check the user and password in the connection URL"),
    "28000": (SourceRefused, "check the user in the connection URL, and pg_hba.conf"),
    "42501": (SourceRefused, "give the role the right; `python -m groundwork doctor` prints the statements"),
    "3D000": (SourceRefused, "check the database's name in the connection URL"),
    "55006": (SourceBusy, "wait for the other run to end, or end it"),
    "55P03": (
        SourceLocked,
        "end the session that holds the lock (pg_stat_activity, pg_locks), then run again",
    ),
    "53300": (SourceUnreachable, "wait, or raise max_connections at the server"),
    "53400": (SourceRefused, "raise max_replication_slots at the server, or drop an unused slot"),
    "57P03": (SourceUnreachable, "wait: the server is starting up or shutting down"),
    "40P01": (SourceUnreachable, "run again: another session and ours waited for each other's locks"),
    "57P01": (SourceUnreachable, "run again: the server closed the connection"),
}


def translated(where: str, fields: dict[str, str]) -> SourceError:
    """The server's error in our tree; its detail and hint may hold row values and are left out."""
    code = fields.get("C", "")
    kind, fix = _KINDS.get(code, (SourceError, ""))
    return kind(where, f"PostgreSQL says: {fields.get('M', 'unknown error')} ({code})", fix=fix)


@contextmanager
def said(where: str) -> Iterator[None]:
    """What goes wrong in here is raised as an error of ours.

    Raises:
        SourceError: as the server's error class says.
        SourceUnreachable: when the connection broke.
    """
    try:
        yield
    except DatabaseError as error:
        fields = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        raise translated(where, fields) from error
    except (InterfaceError, OSError, struct.error) as error:
        raise broken(where, error) from error
