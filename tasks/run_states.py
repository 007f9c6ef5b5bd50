"""What Prefect knows of our deployments, as troubles: runs that ended badly, hang, wait, or never came.

It is the present state that is read, not an event: whoever looks twice finds the same, and a call for a look
that got lost is made good by the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from groundwork.alerts.silence import WATCH, allowed, rough
from groundwork.alerts.troubles import Board, Kind, Trouble, moment
from groundwork.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

TAG = "groundwork"
SCHEDULED = "groundwork-scheduled"
"""Deployments with this tag are to have a schedule that is on."""
SWITCH = "groundwork_schedules"
"""Prefect variable: `off` where nothing is to run by itself, as in development."""
MAILED = "prefect.automation.action.executed"
ALERT_FAILED = "groundwork: alert failed"
"""The automation by which the server sends a mail itself."""
BY_HAND = timedelta(hours=2)
"""Runs that nothing repeats are told of if they ended within this time."""

Looks = dict[str, dict[str, Trouble]]
"""By subject, all that is wrong with it; see `Board.observe`."""


def look_at_runs(client: SyncPrefectClient, board: Board) -> Looks:
    """Look at every deployment of ours, at runs by hand, and at the pools."""
    from prefect.client.schemas import filters

    tagged = filters.DeploymentFilter(tags=filters.DeploymentFilterTags(all_=[TAG]))
    deployments: list[DeploymentResponse] = []
    while page := client.read_deployments(deployment_filter=tagged, limit=100, offset=len(deployments)):
        deployments += page
    sight = _Sight(client, board)
    looks = {f"deployment {one.name}": sight.standing(one) for one in deployments if SCHEDULED in one.tags}
    repeated = {one.id for one in deployments if SCHEDULED in one.tags}
    looks["runs by hand"] = {t.key: t for t in sight.by_hand(repeated)}
    looks |= sight.waiting(deployments)
    return looks


def awake(client: SyncPrefectClient, board: Board) -> str:
    """When the platform last came back from a trouble of its own (ISO); empty when none is known.

    Nothing is blamed for having been silent before.
    """
    return max(_newest_event(client, "prefect.work-pool.ready"), board.disturbed_until())


def could_not_tell(client: SyncPrefectClient) -> bool:
    """Whether the newest run of `notify` that ended went wrong: something, or all, may be untold since."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.sorting import FlowRunSort

    newest = client.read_flow_runs(
        deployment_filter=filters.DeploymentFilter(name=filters.DeploymentFilterName(any_=["notify"])),
        flow_run_filter=filters.FlowRunFilter(state=_state_type("COMPLETED", "FAILED", "CRASHED")),
        sort=FlowRunSort.END_TIME_DESC,
        limit=1,
    )
    return bool(newest) and not _is_good(newest[0])


def told_by_server(client: SyncPrefectClient, board: Board) -> None:
    """Note on the board that the server sent a mail itself, and that this is over: `notify` runs again.

    That it is over is left to `Board.settle` to tell; if it cannot be told, it is not over.
    """
    kind: Kind = "alert channel"
    told, row = _newest_event(client, MAILED, ALERT_FAILED), board.rows.get(kind)
    if told and not (row and row.opened[-1] >= told):
        what = "the run that tells of troubles went wrong"
        board.observe(kind, {kind: Trouble(kind, kind, kind, what, told)}, moment(told))
        board.rows[kind].untold = False
        board.observe(kind, {}, datetime.now(UTC))


class _Sight:
    """One look, at one moment."""

    def __init__(self, client: SyncPrefectClient, board: Board) -> None:
        self.client, self.settings, self.at = client, Settings(), datetime.now(UTC)
        switch = client.read_variable_by_name(SWITCH)
        self.idle = switch is not None and switch.value == "off"
        since = awake(client, board)
        self.awake = moment(since) if since else None

    def standing(self, deployment: DeploymentResponse) -> dict[str, Trouble]:
        """What is wrong with a deployment that is to run by itself: that it does not, and how a run went.

        Of all that can be said of its runs one thing is, the most telling one.
        """
        from tasks.trouble import troubles_of

        window = self._window(deployment)
        unwatched = self.idle or deployment.name == WATCH  # the switch looks at the newest success of `watch`
        paused = None if unwatched else self._paused(deployment)
        found = {paused.key: paused} if paused else {}
        newest = self._newest(deployment, ["COMPLETED", "FAILED", "CRASHED"])
        # What a lost worker took with it, the next run makes good, if there is one in time.
        if newest and not _is_good(newest) and self._is_fresh(newest.end_time, window):
            return found | {t.key: t for t in troubles_of(self.client, newest, lasting=True)}
        if unwatched:
            return {}
        if going := self._newest(deployment, ["RUNNING"]):
            hung = self._hung(deployment, going, window)
            return found | ({hung.key: hung} if hung else {})
        if found:
            return found
        succeeded = self._newest(deployment, ["COMPLETED"])
        known = [succeeded.end_time if succeeded else None, deployment.created, self.awake]
        since = max((one for one in known if one), default=self.at)
        if self.at - since > window:
            last = (
                f"{rough(self.at - succeeded.end_time)} ago" if succeeded and succeeded.end_time else "never"
            )
            what = f"{deployment.name} last succeeded {last}, though it is to run by itself"
            silent = self._trouble(deployment, "never started", what, since)
            return {silent.key: silent}
        return {}

    def by_hand(self, repeated: set[Any]) -> Iterator[Trouble]:
        """Runs that ended badly and that no schedule repeats: each is a trouble of its own."""
        from prefect.client.schemas import filters
        from prefect.client.schemas.sorting import FlowRunSort

        from tasks.trouble import troubles_of

        bad = filters.FlowRunFilter(
            tags=filters.FlowRunFilterTags(all_=[TAG]),
            state=_state_type("FAILED", "CRASHED"),
            parent_task_run_id=filters.FlowRunFilterParentTaskRunId(is_null_=True),
            end_time=filters.FlowRunFilterEndTime(after_=self.at - BY_HAND),
        )
        runs = self.client.read_flow_runs(flow_run_filter=bad, sort=FlowRunSort.END_TIME_DESC, limit=200)
        for run in runs:
            # Its tag tells, even when its deployment is gone, that others were to come after it.
            if run.deployment_id not in repeated and SCHEDULED not in run.tags:
                yield from troubles_of(self.client, run, lasting=False)

    def waiting(self, deployments: list[DeploymentResponse]) -> Looks:
        """Runs that are not taken up although a worker is there, or do not begin: one trouble per queue."""
        from prefect.client.schemas import filters

        late = filters.FlowRunFilter(
            tags=filters.FlowRunFilterTags(all_=[TAG]),
            state=filters.FlowRunFilterState(name=filters.FlowRunFilterStateName(any_=["Late", "Pending"])),
            expected_start_time=filters.FlowRunFilterExpectedStartTime(
                before_=self.at - timedelta(seconds=self.settings.late_seconds)
            ),
        )
        queues = {(one.work_pool_name or "", one.work_queue_name or "") for one in deployments}
        looks: Looks = {f"queue {pool}/{queue}": {} for pool, queue in queues}
        runs = self.client.read_flow_runs(flow_run_filter=late, limit=200)
        for run in sorted(runs, key=_waits_since, reverse=True):
            where, since = f"{run.work_pool_name}/{run.work_queue_name}", _waits_since(run)
            waited = self.at - max(since, self.awake or since)
            if f"queue {where}" in looks and waited.total_seconds() > self.settings.late_seconds:
                what = f"runs wait in queue {where} and nothing takes them up, {run.name} first"
                if run.state_name == "Pending":
                    what = (
                        f"{run.name} was taken up from queue {where} {rough(waited)} ago and does not begin"
                    )
                trouble = Trouble(
                    f"queue {where}", "late", f"queue {run.work_queue_name}", what, since.isoformat(),
                    run_id=str(run.id),
                )  # fmt: skip
                looks[trouble.key] = {trouble.key: trouble}
        return looks

    def _paused(self, deployment: DeploymentResponse) -> Trouble | None:
        if not deployment.paused and any(schedule.active for schedule in deployment.schedules):
            return None
        why = "is paused" if deployment.paused else "has no schedule that is on"
        what = f"{deployment.name} {why}, so it never starts by itself"
        return self._trouble(deployment, "paused", what, self.at, key=" paused")

    def _hung(self, deployment: DeploymentResponse, run: FlowRun, window: timedelta) -> Trouble | None:
        """A run that takes longer than it may, and has said nothing for as long."""
        if run.start_time is None or self.at - run.start_time < window:
            return None
        last = _last_line(self.client, run) or run.start_time
        if self.at - last < window:
            return None
        quiet = rough(self.at - last)
        what = f"{run.name} runs since {run.start_time:%H:%M:%S} UTC and has logged nothing for {quiet}"
        return self._trouble(deployment, "hung", what, last, run_id=str(run.id))

    def _trouble(
        self, deployment: DeploymentResponse, kind: Any, what: str, since: datetime, run_id: str = "",
        key: str = "",
    ) -> Trouble:  # fmt: skip
        source = _tagged_source(deployment.tags)
        name = source or deployment.name
        return Trouble(
            name + key, kind, name, what, since.isoformat(),
            source=source, deployment=deployment.name, run_id=run_id,
        )  # fmt: skip

    def _window(self, deployment: DeploymentResponse) -> timedelta:
        """How long the deployment may be silent, by its schedules."""
        from groundwork.schedules import longest_gap

        schedules = [one.schedule.model_dump(mode="json") for one in deployment.schedules]
        try:
            longest = longest_gap(schedules)
        except ValueError:
            longest = None
        return allowed(deployment.name, longest or timedelta(days=1), self.settings.patience)

    def _is_fresh(self, ended: datetime | None, window: timedelta) -> bool:
        """Whether a run's end is to be told, or was a part of an outage from which all just came back."""
        if self.awake is None or ended is None or ended > self.awake:
            return True
        return self.at - self.awake > window

    def _newest(self, deployment: DeploymentResponse, states: list[str]) -> FlowRun | None:
        from prefect.client.schemas import filters
        from prefect.client.schemas.sorting import FlowRunSort

        wanted = filters.FlowRunFilter(
            deployment_id=filters.FlowRunFilterDeploymentId(any_=[deployment.id]),
            state=_state_type(*states),
        )
        order = FlowRunSort.START_TIME_DESC if states == ["RUNNING"] else FlowRunSort.END_TIME_DESC
        return next(iter(self.client.read_flow_runs(flow_run_filter=wanted, sort=order, limit=1)), None)


def _newest_event(client: SyncPrefectClient, name: str, resource: str = "") -> str:
    """When an event was last seen within the last two days (ISO); empty for not at all."""
    asked: dict[str, Any] = {
        "occurred": {"since": (datetime.now(UTC) - timedelta(days=2)).isoformat()},
        "event": {"name": [name]},
        "order": "DESC",
    }
    if resource:
        asked["resource"] = {"labels": {"prefect.resource.name": resource}}
    answer = client.request("POST", "/events/filter", json={"filter": asked, "limit": 1})
    events = answer.json()["events"]
    return moment(str(events[0]["occurred"]).replace("Z", "+00:00")).isoformat() if events else ""


def _state_type(*types: str) -> Any:
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType

    any_ = [StateType(name) for name in types]
    return filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=any_))


def _is_good(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_completed()


def _waits_since(run: FlowRun) -> datetime:
    if run.state and run.state.is_pending():
        return run.state.timestamp
    return run.expected_start_time or datetime.now(UTC)


def _tagged_source(tags: list[str]) -> str:
    return next((tag.removeprefix("source:") for tag in tags if tag.startswith("source:")), "")


def _last_line(client: SyncPrefectClient, run: FlowRun) -> datetime | None:
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.client.schemas.sorting import LogSort

    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
    lines = client.read_logs(of_run, limit=1, sort=LogSort.TIMESTAMP_DESC)
    return lines[0].timestamp if lines else None
