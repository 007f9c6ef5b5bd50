"""Reads flow runs, task runs and log lines out of Prefect's API, each once, none lost.

The API answers at most 200 records, sorts by time only, leaves the order within one moment open, and has
no filter on when a line *arrived* (lines come up to seconds after they were written, more after an
outage). Hence:

- Pages follow a moment, not an offset: the records of a page's last moment are asked for again with the
  next page, so none can fall between two pages or come twice.
- Every export looks again at the last minutes (`OVERLAP`). What it finds there is held against a digest
  per second of log lines and per flow run, kept in the cursor, and is handed over only when it differs.
  So the cursor stays small (at most one entry per second looked back, whatever was logged in it) and
  landing holds every line once; only the lines of a second that a late line came into appear there again,
  and staging keeps one per id.
- Runs are handed over again each time Prefect changed them; staging keeps the newest.

Records stay letter for letter as Prefect sent them; flow runs get two keys added at the end, the names of
their flow and deployment, which Prefect keeps elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from groundwork.errors import AnswerUnusable
from groundwork.sources import Cursors
from groundwork.sources.pushed import Reached, Records

PAGE = 200
"""Most records the API gives at once."""

OVERLAP = timedelta(minutes=15)
"""How far back every export looks again."""

PORTION = 2_000
"""Log lines handed over at once."""

OPEN_STATES = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"]

Ask = Callable[[str, dict[str, Any]], bytes]
"""Posts a question to a path of the API, and gives the answer's body."""


class Found(msgspec.Struct):
    """What is read of a record; the rest stays text."""

    id: str
    timestamp: str = ""
    end_time: str | None = None
    expected_start_time: str | None = None
    updated: str | None = None
    flow_id: str | None = None
    flow_run_id: str | None = None
    deployment_id: str | None = None
    text: str = ""


class RunHistory:
    """A reader of the `ops` streams flow_runs, task_runs and logs; see `PushedSource`."""

    def __init__(
        self, ask: Ask, *, settle: timedelta = timedelta(seconds=30), overlap: timedelta = OVERLAP
    ) -> None:
        """Name the API.

        Args:
            ask: how to ask it.
            settle: how long log lines are left alone, since a run's last lines come after its end.
            overlap: how far back to look again for what came late.
        """
        self._ask, self._settle, self._overlap = ask, settle, overlap
        self._names: dict[str, str] = {}

    def __call__(self, cursors: Cursors) -> Iterator[Records | Reached]:
        """Hand over what is new since the cursors."""
        yield from self._runs(cursors.get("flow_runs") or {}, cursors.get("task_runs") or {})
        yield from self._logs(cursors.get("logs") or {})

    # log lines ------------------------------------------------------------------------------------

    def _logs(self, cursor: dict[str, Any]) -> Iterator[Records | Reached]:
        until = (datetime.now(UTC) - self._settle).replace(microsecond=0)
        since = datetime.fromisoformat(cursor["until"]) - self._overlap if cursor else None
        known: dict[str, str] = cursor.get("seconds", {})
        seen: dict[str, str] = {}
        fresh: list[Found] = []
        for second, lines in _by_second(self.lines(since, until - timedelta(microseconds=1))):
            digest = f"{len(lines)}:{_digest(line.id for line in lines)}"
            seen[str(second)] = digest
            if known.get(str(second)) == digest:
                continue
            fresh += lines
            if len(fresh) >= PORTION:
                yield _records("logs", "POST /logs/filter", fresh)
                whole = datetime.fromtimestamp(second + 1, UTC)
                yield Reached("logs", self._logs_cursor(max(whole, since or whole), {**known, **seen}))
                fresh = []
        yield _records("logs", "POST /logs/filter", fresh)
        yield Reached("logs", self._logs_cursor(until, seen))

    def _logs_cursor(self, until: datetime, seconds: dict[str, str]) -> dict[str, Any]:
        first = int((until - self._overlap).timestamp())
        recent = {second: digest for second, digest in seconds.items() if int(second) >= first}
        return {"until": until.isoformat(), "seconds": recent}

    def lines(self, since: datetime | None, until: datetime) -> Iterator[Found]:
        """Every log line written in a span of time, both ends included, oldest first."""
        return self._by_moment(
            "/logs/filter",
            lambda first, last: {
                "logs": {"timestamp": _span(first, last)},
                "sort": "TIMESTAMP_ASC",
            },
            "timestamp",
            since,
            until,
        )

    # runs -----------------------------------------------------------------------------------------

    def _runs(self, flow_cursor: dict[str, Any], task_cursor: dict[str, Any]) -> Iterator[Records | Reached]:
        now = datetime.now(UTC)
        since = datetime.fromisoformat(flow_cursor["until"]) - self._overlap if flow_cursor else None
        known_runs: dict[str, str] = flow_cursor.get("runs", {})
        known_tasks: dict[str, str] = task_cursor.get("runs", {})
        runs: dict[str, str] = {}
        tasks: dict[str, str] = {}
        for page in _paged(self._flow_runs(since, now), 50):
            changed = [run for run in page if known_runs.get(run.id) != run.updated]
            runs |= {run.id: run.updated or "" for run in page}
            yield _records("flow_runs", "POST /flow_runs/filter", self._named(changed))
            for flow_run_id, group in self._task_runs([run.id for run in page]).items():
                newest = max(run.updated or "" for run in group)
                tasks[flow_run_id] = f"{len(group)}:{newest}:{_digest(run.id for run in group)}"
                if known_tasks.get(flow_run_id) != tasks[flow_run_id]:
                    yield _records("task_runs", "POST /task_runs/filter", group)
        yield Reached("flow_runs", {"until": now.isoformat(), "runs": runs})
        yield Reached("task_runs", {"until": now.isoformat(), "runs": tasks})

    def _flow_runs(self, since: datetime | None, now: datetime) -> Iterator[Found]:
        """Runs that ended since, then runs that are open now; a run may come in both."""
        yield from self._by_moment(
            "/flow_runs/filter",
            lambda first, last: {
                "flow_runs": {"end_time": {**_span(first, last), "is_null_": False}},
                "sort": "END_TIME_DESC",
            },
            "end_time",
            since,
            None,
            newest_first=True,
        )
        yield from self._by_moment(
            "/flow_runs/filter",
            lambda first, last: {
                "flow_runs": {
                    "state": {"type": {"any_": OPEN_STATES}},
                    "expected_start_time": _span(first, last),
                },
                "sort": "EXPECTED_START_TIME_ASC",
            },
            "expected_start_time",
            None,
            now,
        )

    def _task_runs(self, flow_run_ids: list[str]) -> dict[str, list[Found]]:
        """All task runs of some flow runs, by flow run."""
        found: dict[str, Found] = {}
        question = {
            "task_runs": {"flow_run_id": {"any_": flow_run_ids}},
            "sort": "EXPECTED_START_TIME_ASC",
        }
        self._whole("/task_runs/filter", question, found)
        groups: dict[str, list[Found]] = {}
        for run in found.values():
            groups.setdefault(run.flow_run_id or "", []).append(run)
        return groups

    def _named(self, runs: list[Found]) -> list[Found]:
        """The runs' texts with the names of their flow and deployment as two more keys."""
        for kind, ids in (
            ("flows", {run.flow_id for run in runs}),
            ("deployments", {run.deployment_id for run in runs}),
        ):
            missing = sorted(one for one in ids if one and one not in self._names)
            for start in range(0, len(missing), PAGE):
                question = {kind: {"id": {"any_": missing[start : start + PAGE]}}, "limit": PAGE}
                for answer in json.loads(self._ask(f"/{kind}/filter", question)):
                    self._names[answer["id"]] = answer["name"]
        for run in runs:
            names = {
                "flow_name": self._names.get(run.flow_id or ""),
                "deployment_name": self._names.get(run.deployment_id or ""),
            }
            run.text = f"{run.text.rstrip()[:-1]},{json.dumps(names, separators=(',', ':'))[1:]}"
        return runs

    # paging ---------------------------------------------------------------------------------------

    def _by_moment(
        self,
        path: str,
        question: Callable[[str | None, str | None], dict[str, Any]],
        moment: str,
        first: datetime | None,
        last: datetime | None,
        *,
        newest_first: bool = False,
    ) -> Iterator[Found]:
        """Follow the moments from one end of a span to the other, each moment whole."""
        low = first.isoformat() if first else None
        high = last.isoformat() if last else None
        while True:
            page = self._page(path, question(low, high), 0)
            edge = str(getattr(page[-1], moment)) if page else ""
            if len(page) < PAGE:
                yield from page
                return
            if str(getattr(page[0], moment)) != edge:
                yield from (found for found in page if getattr(found, moment) != edge)
                beyond = edge
            else:  # more records of one moment than a page holds
                whole: dict[str, Found] = {}
                self._whole(path, question(edge, edge), whole)
                yield from whole.values()
                step = timedelta(microseconds=-1 if newest_first else 1)
                beyond = (datetime.fromisoformat(edge) + step).isoformat()
            low, high = (low, beyond) if newest_first else (beyond, high)

    def _whole(self, path: str, question: dict[str, Any], found: dict[str, Found]) -> None:
        """Collect all answers to a question by offset; repeat until none can be missing.

        The order within one moment is not promised, so two pages may overlap, and then they also leave
        something out. A pass without a repeated record is whole; else what several passes find is
        united until it is as many as a pass counted.
        """
        for _ in range(20):
            counted = 0
            while page := self._page(path, question, counted):
                counted += len(page)
                found |= {record.id: record for record in page}
                if len(page) < PAGE:
                    break
            if len(found) >= counted:
                return
        raise AnswerUnusable(
            f"Prefect's API {path}",
            "gives other records each time the same question is paged through",
            fix="nothing was lost: the next export asks again",
        )

    def _page(self, path: str, question: dict[str, Any], offset: int) -> list[Found]:
        answer = self._ask(path, {**question, "limit": PAGE, "offset": offset})
        page = []
        for raw in msgspec.json.decode(answer, type=list[msgspec.Raw]):
            record = msgspec.json.decode(raw, type=Found)
            record.text = bytes(raw).decode()
            page.append(record)
        return page


def _span(first: str | None, last: str | None) -> dict[str, str]:
    span = {"after_": first, "before_": last}
    return {name: value for name, value in span.items() if value}


def _records(stream: str, request: str, found: list[Found]) -> Records:
    texts = [record.text for record in found]
    moments = [record.timestamp or record.updated for record in found]
    return Records(stream, texts, request, [datetime.fromisoformat(at) if at else None for at in moments])


def _digest(ids: Iterable[str]) -> str:
    """Same ids, same digest, in whatever order (UUIDs are random enough to be summed)."""
    return f"{sum(int(one.replace('-', ''), 16) for one in ids) & (1 << 64) - 1:x}"


def _by_second(lines: Iterable[Found]) -> Iterator[tuple[int, list[Found]]]:
    """Lines in groups written within one second, with that second since 1970."""
    group: list[Found] = []
    current = -1
    for line in lines:
        second = int(datetime.fromisoformat(line.timestamp).timestamp())
        if second != current and group:
            yield current, group
            group = []
        current = second
        group.append(line)
    if group:
        yield current, group


def _paged(found: Iterable[Found], size: int) -> Iterator[list[Found]]:
    page: list[Found] = []
    seen: set[str] = set()
    for record in found:
        if record.id in seen:
            continue
        seen.add(record.id)
        page.append(record)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
