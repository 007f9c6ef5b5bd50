"""Which records of a parent stream wait for their children to be read.

They are noted as the parent's rows pass by, and stand in the cursors of the child from the commit on that
holds those rows: no parent is forgotten, whenever a run is killed, and none is read again to find them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from groundwork.catalog import RestStream
from groundwork.errors import AnswerUnusable, CatalogError
from groundwork.sources import Rows
from groundwork.sources.rest.asking import Part
from groundwork.sources.rest.records import RecordReader
from groundwork.sources.rest.resume import State

if TYPE_CHECKING:
    import pyarrow as pa

Values = list[str]
"""One value for each field that the child's placeholders name."""


class Waiting:
    """The parents whose children are still to be read, for one child stream."""

    def __init__(self, stream: RestStream, where: str) -> None:
        """Nobody waits."""
        self._fields, self._where = stream.placeholders, where
        self._reader = RecordReader(self._fields)
        self._noted: dict[tuple[str, ...], None] = {}

    def note(self, rows: Rows) -> None:
        """Note the parents among rows; a truncate row forgets those before it.

        Raises:
            AnswerUnusable: when a parent has no such field, or one that would lead to another path.
        """
        if rows.constants.get("_operation") == "delete":
            return  # who is gone has no children to read
        frame = cast("pa.Table", rows.frame)
        records = frame["record"].to_pylist()
        told = frame["_operation"].to_pylist() if "_operation" in frame.column_names else []
        for place, record in enumerate(records):
            if told and told[place] == "delete":
                continue
            if record is None:
                self._noted.clear()
                continue
            values = self._reader.texts(record.encode(), self._where)
            for field, value in zip(self._fields, values, strict=True):
                if value in (None, "", ".", ".."):
                    raise AnswerUnusable(
                        self._where, f"a parent has no '{field}' to ask with",
                        fix="check the {parent.…} of the endpoint against a record of the parent",
                    )  # fmt: skip
            self._noted[tuple(str(value) for value in values)] = None

    def taken(self) -> list[Values]:
        """All that were noted since the last time."""
        noted, self._noted = self._noted, {}
        return [list(values) for values in noted]

    def added(self, state: Mapping[str, Any]) -> State:
        """The child's state with what was noted."""
        before = waiting(state, self._fields, self._where)
        known = {tuple(values) for values in before}
        after = before + [values for values in self.taken() if tuple(values) not in known]
        return {**state, "by": self._fields, "waiting": after} if after else dict(state)


def waiting(state: Mapping[str, Any], fields: Sequence[str], where: str) -> list[Values]:
    """Who waits, by a state.

    Raises:
        CatalogError: when they were noted by other fields than the endpoint names now.
    """
    if state.get("waiting") and state["by"] != list(fields):
        raise CatalogError(
            f"{where}: endpoint", "other parents' fields stand in it than when the last run was cut short",
            fix="refresh the parent and this stream, or put the endpoint back for one run",
        )  # fmt: skip
    found: list[Values] = state.get("waiting", [])
    return found


def parts_of(stream: RestStream, parents: Sequence[Values]) -> list[Part]:
    """What to ask for the children of each parent."""
    parts = []
    for number, values in enumerate(parents, 1):
        filled = dict(zip(stream.placeholders, values, strict=True))
        named: dict[str, str | int] = {f"parent.{field}": value for field, value in filled.items()}
        parts.append(Part(f", parent {number} of {len(parents)}", values=named, told={"parent": filled}))
    return parts
