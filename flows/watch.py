"""Watch: notice what did not happen."""

from __future__ import annotations

from prefect import flow

from tasks.watch import find_silence


@flow(name="watch", flow_run_name="watch")
def watch() -> None:
    """Fail, and so call for help, when a source was not looked at for too long."""
    find_silence()


if __name__ == "__main__":
    watch()
