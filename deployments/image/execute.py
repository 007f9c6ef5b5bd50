"""Execute the run that a container was made for, as `prefect flow-run execute` does, and begin it sooner.

The command starts three interpreters one after the other: itself, one that runs the pull steps, and the
engine, which is able to run them too. Here the first starts the last. What the command is for stays: the run
is cancelled when somebody cancels it, and called crashed when its process dies.

A container that is to stop (`docker stop`, an evicted pod, a spot machine that is taken away) gets SIGTERM,
which the first process of a container ignores by default. Here it is passed on: the run says at once that it
crashed, and why.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from uuid import UUID

import httpx
from prefect.exceptions import PrefectException
from prefect.flows import load_flow_from_flow_run
from prefect.logging.configuration import setup_logging
from prefect.runner._flow_run_executor import FlowRunExecutorContext
from prefect.runner._starter_engine import EngineCommandStarter

RUN = "PREFECT__FLOW_RUN_ID"
"""Environment variable: the run's id, from the worker."""

SECONDS_TO_ASK = 3.0
"""The server may be gone as well, and Docker kills ten seconds after SIGTERM."""


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
        stopping = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
        watching = asyncio.create_task(pass_on(stopping, context, run_id))
        await executor.submit()
        watching.cancel()


async def pass_on(stopping: asyncio.Event, context: FlowRunExecutorContext, run_id: UUID) -> None:
    """Stop the run's process once this one is to stop, unless somebody cancels the run.

    Args:
        stopping: set by SIGTERM.
        context: knows the run's process; it ends that of a cancelled run, and calls the run cancelled.
        run_id: of the run.
    """
    await stopping.wait()
    with contextlib.suppress(TimeoutError, httpx.HTTPError, PrefectException):
        async with asyncio.timeout(SECONDS_TO_ASK):
            run = await context.client.read_flow_run(run_id)
        if run.state is not None and run.state.is_cancelling():
            return
    while (process := context.process_manager.get(run_id)) is None:
        await asyncio.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        process.graceful_kill()


if __name__ == "__main__":
    if RUN not in os.environ:
        sys.exit(f"error: {RUN}: is not set. A worker sets it in the container that it makes for a run.")
    setup_logging()
    asyncio.run(execute(UUID(os.environ[RUN])))
