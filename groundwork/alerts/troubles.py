"""Troubles, and the board on which the open ones stand: told once when they come, and once when they go.

Whoever looks, looks at one *subject* (a deployment, the bucket, a slot …) and says all that is wrong with it
now. What is new on the board is told; what is gone from every subject is told too. So it does not matter how
often somebody looks, or which call for a look was lost, doubled or late. What could not be told stays on the
board as that, and is told when it can be, even if it is over by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal

from groundwork.alerts.mail_text import body_text

Kind = Literal[
    "failed", "crashed", "timed out", "hung", "late", "never started", "paused", "stale", "too little",
    "test failed", "quarantine", "slot lag", "disk", "bucket", "warehouse", "alert channel",
]  # fmt: skip
"""What is wrong, in one word for the subject of the mail; each has a section in docs/runbooks.md."""

PLATFORM = frozenset({"bucket", "warehouse", "disk"})
"""Kinds that make sources stale in their turn: their consequences are not told."""

COMES_AND_GOES = 3
"""A trouble that comes this often within `CALM` is told once more as such, and then not until it is over."""
CALM = timedelta(hours=1)
KEPT = timedelta(days=2)
"""How long the board remembers what is over."""


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong now. Times are UTC, as ISO 8601 texts, since a board is stored as JSON."""

    key: str
    """Two troubles with one key are the same trouble."""
    kind: Kind
    about: str
    """What a person would sort by: a source, a deployment, a part of the platform."""
    what: str
    """One sentence."""
    since: str
    source: str = ""
    """The catalog's name of the source it is about, if it is about one."""
    deployment: str = ""
    run_id: str = ""
    node: str = ""
    """dbt's unique id of the test or model, if it is about one."""
    lasting: bool = True
    """False for a run that nobody will repeat: it is told once, and never as recovered."""

    def __post_init__(self) -> None:
        """Make every text fit for the board and for mails: names and messages come from outside."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, str):
                object.__setattr__(self, one.name, body_text(value))


@dataclass
class Row:
    """A trouble on the board."""

    trouble: Trouble
    subjects: list[str]
    """Who sees it still; it is over when nobody does."""
    opened: list[str]
    """When it came, each time within the last `CALM`; times that nobody was told of do not count."""
    message_id: str = ""
    """Of the mail that told it, so that the mail about its end can answer."""
    over: str = ""
    """When it was last seen to be gone; empty while it is there."""
    untold: bool = False
    """That it came is not told yet."""
    owed: bool = False
    """Its end is not told yet."""

    def is_told(self, message_id: str) -> None:
        """Note that it was told how it stands with it."""
        self.message_id = self.message_id or message_id
        self.untold = self.owed = False


@dataclass
class News:
    """What is to be told now."""

    opened: list[Row] = field(default_factory=list)
    recovered: list[Row] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.opened or self.recovered)


class Board:
    """The open troubles, and for a while those that are over."""

    def __init__(self, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        """Read a board as `dump` wrote it."""
        self.rows: dict[str, Row] = {}
        for row in rows:
            given = dict(row)
            trouble = Trouble(**given.pop("trouble"))
            self.rows[trouble.key] = Row(trouble, **given)

    def dump(self) -> list[dict[str, Any]]:
        """The board as JSON can hold it."""
        return [asdict(row) for row in self.rows.values()]

    def open(self) -> list[Row]:
        """What is wrong now."""
        return [row for row in self.rows.values() if not row.over]

    def observe(self, subject: str, found: Mapping[str, Trouble], at: datetime) -> None:
        """Take note of all that is wrong with one subject now.

        Args:
            subject: what was looked at. A look that could not be made is not to be noted at all.
            found: by key; empty when all is well.
            at: when it was looked at (UTC).
        """
        for trouble in found.values():
            self._note(subject, trouble, at)
        for key, row in self.rows.items():
            if subject in row.subjects and key not in found and row.trouble.lasting:
                row.subjects.remove(subject)
                if not row.subjects:
                    row.over, row.owed = at.isoformat(), True

    def settle(self, at: datetime) -> News:
        """What is to be told, once all subjects were observed: until `Row.is_told`, by every look."""
        news = News(opened=[row for row in self.open() if row.untold])
        for row in self.rows.values():
            restless = len(row.opened) >= COMES_AND_GOES and not row.untold
            if row.over and row.owed and (not restless or _ago(row.over, at) >= CALM):
                news.recovered.append(row)
        gone = [
            key
            for key, row in self.rows.items()
            if not row.owed and not row.untold and _ago(row.over or row.opened[-1], at) > KEPT
            if row.over or not row.trouble.lasting
        ]
        for key in gone:
            del self.rows[key]
        return news

    def disturbed_until(self) -> str:
        """When the last trouble of the platform itself ended (ISO); empty when none is remembered."""
        return max((row.over for row in self.rows.values() if row.trouble.kind in PLATFORM), default="")

    def _note(self, subject: str, trouble: Trouble, at: datetime) -> None:
        row = self.rows.get(trouble.key)
        if row is not None and not row.over:
            if subject not in row.subjects:
                row.subjects.append(subject)
            return
        told = [] if row is None else row.opened[:-1] if row.untold else row.opened
        before = [moment for moment in told if _ago(moment, at) < CALM]
        made = Row(trouble, [subject], [*before, at.isoformat()])
        if row is not None and row.owed:  # its end was not told, so its return is none
            made.message_id, made.untold = row.message_id, row.untold
        else:
            made.untold = len(made.opened) <= COMES_AND_GOES
        self.rows[trouble.key] = made


def moment(text: str) -> datetime:
    """The time that an ISO text tells."""
    return datetime.fromisoformat(text)


def _ago(text: str, at: datetime) -> timedelta:
    return at - moment(text)
