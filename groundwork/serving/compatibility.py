"""The retro-compatibility gate: what people read is added to, and never altered or taken away unannounced.

A column or table may go, or change its type, once a date of deprecation was served with it and that day has
come. docs/change-a-column.md
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from groundwork.errors import PromiseBroken
from groundwork.serving.served import Served, ServedRelation


@dataclass(frozen=True)
class Breach:
    """One thing that people read and would find gone or altered."""

    relation: str
    model: str
    file: str
    column: str
    what: str
    announced: date | None
    """When it may happen, if anybody was told."""
    consumers: list[str]

    @property
    def text(self) -> str:
        """In one clause."""
        place = f"{self.relation}.{self.column}" if self.column else self.relation
        until = f", which was announced for {self.announced}" if self.announced else ""
        readers = f"; read by {', '.join(self.consumers)}" if self.consumers else ""
        return f"{place} {self.what}{until} (model {self.model}, {self.file}){readers}"


def breaches(before: Served, would: Served, today: date) -> list[Breach]:
    """What would break for readers of what was served last.

    Args:
        before: what was served last.
        would: what would be served now.
        today: the day; what was announced for it or earlier may happen.
    """
    return [
        breach
        for name, relation in sorted(before.relations.items())
        for breach in _of_relation(name, relation, would.relations.get(name), would)
        if breach.announced is None or breach.announced > today
    ]


def _of_relation(
    name: str, before: ServedRelation, would: ServedRelation | None, all_: Served
) -> Iterator[Breach]:
    def breach(column: str, what: str, announced: date | None) -> Breach:
        dates = [day for day in (announced, before.deprecated) if day]
        earliest = min(dates, default=None)
        return Breach(name, before.model, before.file, column, what, earliest, before.consumers)

    if would is None:
        fresh = [other for other in all_.relations.values() if other.columns.keys() == before.columns.keys()]
        guess = next((f" (is it '{other.model}' now?)" for other in fresh if other.model != before.model), "")
        yield breach("", f"would be gone{guess}", None)
        return
    fresh_columns = {c: one for c, one in would.columns.items() if c not in before.columns}
    for column, was in before.columns.items():
        now_ = would.columns.get(column)
        if now_ is None:
            same_type = [c for c, one in fresh_columns.items() if one.type == was.type]
            close = difflib.get_close_matches(column, same_type, n=1, cutoff=0.4) or same_type[:1]
            guess = f" (renamed to '{close[0]}'?)" if close else ""
            yield breach(column, f"would be gone{guess}", was.deprecated)
        elif now_.type != was.type:
            yield breach(column, f"was {was.type} and would be {now_.type}", was.deprecated)


def insist(before: Served | None, would: Served, today: date) -> None:
    """Refuse what would break for readers.

    Args:
        before: what was served last; None when nothing ever was.
        would: what would be served now.
        today: the day.

    Raises:
        PromiseBroken: naming every model, column and reader, and the way out.
    """
    found = breaches(before, would, today) if before else []
    if not found:
        return
    first = found[0]
    on = f"column {first.column}" if first.column else f"model {first.model}"
    raise PromiseBroken(
        f"{len(found)} {'thing' if len(found) == 1 else 'things'} that people read",
        "would change without notice: " + "; ".join(breach.text for breach in found),
        why="what is served is added to, never altered or taken away before an announced day",
        fix=f"nothing was built; put it back and announce it (on {on}:"
        f" config: {{meta: {{deprecated: <date>}}}}{'' if first.column else ', or deprecation_date'}),"
        " transform, tell the readers, and change it from that day on; or serve the new shape beside it,"
        " under a new name or as a new version (versions:)."
        " See docs/change-a-column.md",
    )
