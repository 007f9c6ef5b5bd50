"""Watch: notice what did not happen, and what no run can tell."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.watch import awake_since, call_if_changed, look_at_places, look_at_slots, look_at_sources


@flow(name="watch", flow_run_name="watch")
def watch() -> State[None]:
    """Look at all that can go wrong, and call `notify` when something is wrong or mended.

    It completes whatever it finds: a failure of this flow is that it could not look.
    """
    looks = look_at_places()
    if not looks["bucket"]:
        looks |= look_at_slots()
        looks |= look_at_sources(awake_since())
    wrong = sorted(trouble.what for found in looks.values() for trouble in found.values())
    call_if_changed(looks)
    return Completed(message="; ".join(wrong) or "all is well")


if __name__ == "__main__":
    watch()
