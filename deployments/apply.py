"""Makes Prefect agree with this repository: work pool, blocks, deployments, automations.

    python -m deployments.apply [--dry-run] [--deploy] [--prune]

Applied twice, the second time changes nothing. Automations name a deployment, and deployments need the
pool: hence the order, and ``--deploy``, which runs ``prefect deploy --all`` between the two.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from prefect.client.orchestration import get_client

from deployments import stanzas
from deployments.automations import apply_automations
from deployments.blocks import apply_blocks
from deployments.changes import Change
from groundwork.catalog import load_catalog
from groundwork.errors import GroundworkError
from groundwork.schedules import check_schedules
from groundwork.settings import Settings


def apply(*, dry_run: bool = False, deploy: bool = False, prune: bool = False) -> Iterator[Change]:
    """Apply everything, in order, and say of each thing what was done.

    Args:
        dry_run: say what would be done, and do nothing.
        deploy: also run ``prefect deploy --all``.
        prune: remove what is ours and not named here any more.

    Raises:
        GroundworkError: when catalog and prefect.yaml disagree, a deployment or block that an
            automation names is missing, or ``prefect deploy`` fails.
    """
    settings = Settings()
    catalog = load_catalog(settings.catalog)
    if problems := check_schedules(catalog, stanzas.FILE):
        raise GroundworkError(str(stanzas.FILE), "disagrees with the catalog", why=" ".join(problems))
    with get_client(sync_client=True) as client:
        yield stanzas.apply_pool(client, dry_run=dry_run)
        yield from apply_blocks(catalog, settings, dry_run=dry_run)
        if deploy and not dry_run:
            stanzas.deploy()
        if prune:
            yield from stanzas.prune(client, dry_run=dry_run)
        yield from apply_automations(client, dry_run=dry_run, prune=prune)


def main() -> int:
    """The command line; 1 when something could not be applied."""
    parser = argparse.ArgumentParser(prog="python -m deployments.apply", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="say what would change")
    parser.add_argument("--deploy", action="store_true", help="also run `prefect deploy --all`")
    parser.add_argument("--prune", action="store_true", help="remove what is named no more")
    chosen = parser.parse_args()
    try:
        for change in apply(dry_run=chosen.dry_run, deploy=chosen.deploy, prune=chosen.prune):
            print(change, flush=True)
    except GroundworkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
