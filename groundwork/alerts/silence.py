"""Silence: what should have been heard of by now, and was not.

Sources are held against ``update_every``, deployments against their schedules, and what a source brings
against what it brought before. All of it is arithmetic over times and counts; who looks is in ``tasks``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from groundwork.catalog import AnySource

LEAST_PATIENCE = timedelta(minutes=10)
WATCH = "watch"
WATCH_PATIENCE = timedelta(minutes=3)
"""`watch` waits for nothing, and what it would have seen stays untold until it is missed."""
LEAST_BATCHES = 20
"""Batches to have seen before anything is said of how much is usual."""
AHEAD = timedelta(minutes=1)
"""Clocks of two machines may differ by this. A time further ahead was written by a clock that was wrong."""
LEAST_ROWS = 50
"""A source that sometimes brings fewer rows than this is not held against its own past."""


def patience(wanted: timedelta, least: timedelta = LEAST_PATIENCE) -> timedelta:
    """How long to wait for something that is wanted this often.

    It may be late by half its interval, and always by ten minutes: a run takes its time, and it may wait
    for the warehouse.
    """
    return wanted + max(wanted / 2, least)


def allowed(deployment: str, wanted: timedelta, least: timedelta = LEAST_PATIENCE) -> timedelta:
    """How long a deployment may go without a success.

    Args:
        deployment: its name.
        wanted: how often it is to run.
        least: see `patience`.
    """
    return patience(wanted, min(least, WATCH_PATIENCE) if deployment == WATCH else least)


def last_look(batches: Sequence[tuple[datetime, int]], at: datetime) -> datetime | None:
    """When a source was last looked at, as far as clocks can be believed; None for never.

    A batch that was stored while a clock ran ahead says nothing of when it was stored.

    Args:
        batches: when each batch was stored (UTC without zone) and its rows.
        at: now, in the same way.
    """
    return max((moment for moment, _ in batches if moment <= at + AHEAD), default=None)


def silence(
    entry: AnySource,
    newest: datetime | None,
    at: datetime,
    *,
    awake: datetime | None = None,
    least: timedelta = LEAST_PATIENCE,
) -> str:
    """What is wrong with a source's newest look, or nothing.

    Args:
        entry: the catalog's entry.
        newest: when it was last looked at (UTC without zone); None for never.
        at: now, in the same way.
        awake: since when the platform could have looked; it is not blamed for what came before.
        least: see `patience`.
    """
    wanted = entry.update_every
    heard = max((moment for moment in (newest, awake) if moment), default=None)
    if heard is not None and at - heard <= patience(wanted, least):
        return ""
    looked = f"{rough(at - newest)} ago" if newest else "never"
    return f"{entry.source} was last looked at {looked}, wanted every {rough(wanted)}"


def too_little(source: str, batches: Sequence[tuple[datetime, int]], wanted: timedelta, at: datetime) -> str:
    """Whether a source that is looked at brings nothing, or far less than it always did; else nothing.

    A source is compared with itself only: one that brings fewer than `LEAST_ROWS` rows now and then is left
    alone until it has been quiet three times longer than it ever was.

    Args:
        source: its name.
        batches: when each batch was stored (UTC without zone) and its rows, oldest first.
        wanted: the catalog's ``update_every``.
        at: now.
    """
    if len(batches) <= LEAST_BATCHES:
        return ""
    *before, (_, newest) = batches
    fewest = min(rows for _, rows in before[-LEAST_BATCHES:])
    if fewest >= LEAST_ROWS and newest * 10 < fewest:
        return (
            f"{source}: its newest batch has {newest:,} rows; "
            f"none of the {LEAST_BATCHES} before it had fewer than {fewest:,}"
        )
    moments = [moment for moment, rows in batches if rows]
    newest_rows = last_look([(moment, 0) for moment in moments], at)
    if len(moments) <= LEAST_BATCHES or newest_rows is None:
        return ""
    gaps = sorted(later - earlier for earlier, later in pairwise(moments))
    # A clock that was set and set right again makes one gap below zero and one that is as much too long.
    steps = sum(gap < -AHEAD for gap in gaps)
    longest = gaps[-1 - steps] if steps < len(gaps) else wanted
    quiet = at - newest_rows
    if quiet > 3 * max(longest, wanted, timedelta(minutes=20)):
        return (
            f"{source}: is looked at, but has brought nothing for {rough(quiet)}; "
            f"before, never so for more than {rough(longest)}"
        )
    return ""


def rough(span: timedelta) -> str:
    """A span as people say it."""
    minutes = span.total_seconds() / 60
    if minutes < 2:
        return f"{span.total_seconds():.0f} seconds"
    if minutes < 120:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.0f} hours" if minutes < 2880 else f"{minutes / 1440:.0f} days"
