"""Execute the run that a container was made for, as `prefect flow-run execute` does, and begin it sooner.

The command starts three interpreters one after the other: itself, one that runs the pull steps, and the
engine, which is able to run them too. Here the first starts the last. What the command is for stays: the run
is cancelled when somebody cancels it, and called crashed when its process dies.
"""

from __future__ import annotations

import asyncio
import os
import sys
from uuid import UUID

from prefect.flows import load_flow_from_flow_run
from prefect.logging.configuration import setup_logging
from prefect.runner._flow_run_executor import FlowRunExecutorContext
from prefect.runner._starter_engine import EngineCommandStarter

RUN = "PREFECT__FLOW_RUN_ID"
"""Environment variable: the run's id, from the worker."""


async def execute(run_id: UUID) -> None:
    """See a run through to its end, whatever that is: its state tells it.

    Args:
        run_id: of a run that a worker has taken up.
    """
    async with FlowRunExecutorContext() as context:
        run = await context.client.read_flow_run(run_id)
        starter = EngineCommandStarter(control_channel=context.control_channel)
        executor = context.create_executor(
            run, starter, resolve_flow=load_flow_from_flow_run, propose_submitting=False
        )
        await executor.submit()


if __name__ == "__main__":
    if RUN not in os.environ:
        sys.exit(f"error: {RUN}: is not set. A worker sets it in the container that it makes for a run.")
    setup_logging()
    asyncio.run(execute(UUID(os.environ[RUN])))
