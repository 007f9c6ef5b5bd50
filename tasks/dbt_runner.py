"""Run dbt in a flow, with a task run per model and none per data test.

prefect-dbt makes a task run of every node. Of our nodes three in four are data tests that take
milliseconds, and a task run costs a hundred times that, here and on the server. A test that fails still
fails the flow, by name, and its result is in the warehouse.
"""

from __future__ import annotations

from typing import Any

from prefect_dbt import PrefectDbtRunner

TASKS = ("model", "seed", "snapshot")


class ModelsAsTasks(PrefectDbtRunner):  # type: ignore[misc]
    """As its base, for the kinds of nodes in `TASKS` only."""

    def _call_task(self, task_state: Any, manifest_node: Any, *others: Any, **named: Any) -> None:
        if str(manifest_node.resource_type) in TASKS:
            super()._call_task(task_state, manifest_node, *others, **named)
