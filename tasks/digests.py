"""Keep the digests of what a run left in the warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task

if TYPE_CHECKING:
    from groundwork.digests import Digests


@task(task_run_name="keep-digests")
def keep_digests(into: str = "", all_of_it: bool = False) -> Digests:
    """Digest every table and store the record in the bucket.

    Args:
        into: another warehouse than the settings say.
        all_of_it: read all of landing and tables of any size; else what is new, and up to
            `groundwork.digests.LARGEST` rows.
    """
    from groundwork import digests
    from groundwork.settings import Settings
    from tasks.lookup import platform_bucket, run_id
    from tasks.warehouse import platform_warehouse

    settings = Settings().into(into)
    bucket, name = platform_bucket(settings), settings.warehouse_name
    earlier = None if all_of_it else digests.newest(bucket, name)
    largest = None if all_of_it else digests.LARGEST
    with platform_warehouse(settings, "digests", read_only=True) as warehouse:
        taken = digests.take(warehouse, name, run_id=run_id(), earlier=earlier, largest=largest)
    digests.keep(bucket, taken)
    return taken
