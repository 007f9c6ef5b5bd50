"""Watch: notice what did not happen."""

from __future__ import annotations

from prefect import flow

from tasks.watch import find_silence, insist, look_at_slots


@flow(name="watch", flow_run_name="watch")
def watch() -> None:
    """Fail, and so call for help, when a source was not looked at for too long or piles up log for us."""
    insist([*look_at_slots(), *find_silence()])


if __name__ == "__main__":
    watch()
