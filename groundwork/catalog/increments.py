"""The catalog's words for what an incremental stream goes by: a cursor, windows of time, or a sync token."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from groundwork.durations import Duration
from groundwork.paths import answer_steps

DAY = timedelta(days=1)
_UNITS = {
    "%S": timedelta(seconds=1),
    "%M": timedelta(minutes=1),
    "%H": timedelta(hours=1),
    "%d": DAY,
    "%j": DAY,
}
"""The directives that a form of dates may end with, the finest first."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def checked_path(path: str) -> str:
    """A path into an answer, or "" for none.

    Raises:
        ValueError: when it is no path.
    """
    if path:
        answer_steps(path)
    return path


class RestCursor(_Entry):
    """What an incremental stream goes by."""

    field: Annotated[str, AfterValidator(checked_path)]
    """Path in the record to its time or number of change."""
    parameter: str = ""
    """Parameter that asks for records changed since; without it, ``{cursor}`` stands for the value in the
    endpoint, the parameters or the query. Each pull asks from one unit before the last value, so
    the API may include the value (``since``) or exclude it (``modified_after``)."""
    exact: bool = False
    """Ask from the last value itself. Only right where the API includes it, or no two records ever share one
    (a feed of changes whose positions are not to be reckoned with)."""
    lookback: Duration | None = None
    """How far before the last value to ask again, for records that surface late."""
    start: str = ""
    """Value of the parameter in the first pull; without it the first pull asks for everything."""
    epoch: Literal["", "seconds", "milliseconds"] = ""
    """The unit of values that are numbers since 1970; a lookback over numbers needs it."""
    written: str = Field("{cursor}", pattern=r"\{cursor\}")
    """How the parameter says it, where it is a filter: ``updated >= '{cursor}'``."""
    number: bool = False
    """Send it as a JSON number, where it stands in a body."""


def _directives(form: str) -> list[str]:
    return re.findall(r"%.", form)


class RestWindows(_Entry):
    """Time in windows without gaps, each asked for by itself and read page by page to its end."""

    start: datetime
    """Where the first window begins; UTC unless it says otherwise."""
    step: Duration
    """How long a window is; the newest one is read again in each run until it is over."""
    from_parameter: str = Field("", alias="from")
    """Parameter for the beginning of a window; without it, ``{from}`` stands for it in the endpoint, the
    parameters or the query."""
    to_parameter: str = Field("", alias="to")
    """Parameter for its end, which is the beginning of the next one; without it, ``{to}``."""
    format: str = Field("instant", pattern=r"^(instant|date|seconds|milliseconds|(?:[^%]|%[YmdHMSj])+)$")
    """How both are written; numbers count from 1970. Else a form such as ``%Y%m%d``, in UTC."""
    to_included: bool = False
    """The API counts the last day in, so it is sent instead of the day after it (dates only)."""
    reread: list[Duration] = []
    """For late data: each window is read once more at each of these ages."""

    @field_validator("start")
    @classmethod
    def _is_utc(cls, start: datetime) -> datetime:
        return start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)

    @property
    def unit(self) -> timedelta:
        """The finest time that the form can tell."""
        if "%" not in self.format:
            return DAY if self.format == "date" else _UNITS["%S"]
        return next((unit for directive, unit in _UNITS.items() if directive in self.format), timedelta())

    @property
    def by_date(self) -> bool:
        """Whether windows are days or more."""
        return self.unit == DAY

    @model_validator(mode="after")
    def _steps_fit_the_form(self) -> Self:
        day = "%Y" in self.format and ("%j" in self.format or {"%m", "%d"} <= set(_directives(self.format)))
        if "%" in self.format and not day:
            raise ValueError("format: instant, date, seconds, milliseconds, or a form such as %Y%m%d")
        since_midnight = self.start - datetime.combine(self.start, time(), UTC)
        if self.by_date and (self.step % DAY or since_midnight):
            raise ValueError("step: dates need windows of whole days that begin at midnight UTC")
        if self.step % self.unit or since_midnight % self.unit:
            raise ValueError(f"step: '{self.format}' tells nothing finer than {self.unit}")
        if self.to_included and not self.by_date:
            raise ValueError(
                "to_included: is for dates; the edge of other windows that comes twice does no harm"
            )
        return self


class RestSync(_Entry):
    """A token at the end of one pull that begins the next one: delta links, sync tokens, stored cursors."""

    next: Annotated[str, AfterValidator(checked_path)] = ""
    """Path in the body to the token, or to the link, of the last page."""
    header: str = ""
    """Header that holds it instead."""
    parameter: str = ""
    """Parameter that carries the token; without it, it is a link."""
    full_read: dict[str, JsonValue] = {}
    """More parameters of the pulls that read everything; a pull with a token must often not send them."""
    expired: list[Annotated[int, Field(ge=400, le=499)]] = [410]
    """Statuses that say that the API does not know the token any more: everything is read again."""

    @model_validator(mode="after")
    def _stands_in_one_place(self) -> Self:
        if bool(self.next) == bool(self.header):
            raise ValueError("next: a token stands either in the body ('next') or in a 'header'")
        return self


def edges_of(windows: RestWindows | None) -> list[tuple[str, str]]:
    """The edges of a window, and the parameters they have."""
    return [("from", windows.from_parameter), ("to", windows.to_parameter)] if windows else []
