"""Makes Prefect agree with this repository: pool, queues, limits, blocks, deployments, automations.

    python -m deployments.apply [--environment NAME] [--dry-run] [--deploy] [--prune] [--remove WHAT]

Applied twice, the second time changes nothing. Automations name a deployment, and deployments need the
pool: hence the order, and ``--deploy``, which runs ``prefect deploy --all`` between the two. What only
Prefect Cloud has is in `deployments.agreements` and `deployments.automations`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Collection, Iterator

from prefect.client.base import ServerType
from prefect.client.orchestration import SyncPrefectClient, get_client

from deployments import environments, inventory, stanzas, steps
from deployments.agreements import apply_agreements
from deployments.automations import apply_automations
from deployments.blocks import apply_blocks
from deployments.changes import Change
from deployments.environments import Environment
from deployments.pools import apply_limits, apply_pool, apply_queues, template
from deployments.saved_settings import apply_saved
from deployments.server import check_server, unwatched
from deployments.variables import apply_variables
from groundwork.catalog import Catalog, load_catalog
from groundwork.errors import GroundworkError, SettingMissing
from groundwork.settings import Settings


def apply(
    *,
    environment: str = "",
    dry_run: bool = False,
    deploy: bool = False,
    prune: bool = False,
    remove: Collection[str] = (),
) -> Iterator[Change]:
    """Apply everything, in order, and say of each thing what was done.

    Args:
        environment: its name; what the server says it is when empty.
        dry_run: say what would be done, and do nothing.
        deploy: also run ``prefect deploy --all``.
        prune: remove what is ours and what no file of the repository names any more. What this process's
            environment merely does not set is kept.
        remove: blocks and variables to remove, as the report names them: ``block secret 'shop-api-token'``.

    Raises:
        GroundworkError: when catalog and prefect.yaml disagree, the server is of another environment, a
            deployment or block that an automation names is missing, or ``prefect deploy`` fails.
    """
    settings = Settings()
    catalog = load_catalog(settings.catalog)
    with get_client(sync_client=True) as client:
        chosen = environments.choose(client, environment)
        if problems := stanzas.problems(template(chosen)[1]):
            raise GroundworkError(str(stanzas.FILE), "disagrees with the catalog", why=" ".join(problems))
        yield from check_server(client)
        made = inventory.Inventory()
        yield from made.noting(_surroundings(client, chosen, catalog, settings, dry_run))
        if deploy:
            asked = environment or os.environ.get(environments.SETTING, "") or chosen.name
            yield from _deploy(client, chosen, asked, dry_run)
        yield from stanzas.prune(client, remove=prune, dry_run=dry_run)
        yield from made.prune(client, remove=prune, dry_run=dry_run, named=remove)
        yield from _automations(client, dry_run=dry_run, prune=prune)
        if client.server_type == ServerType.CLOUD:
            yield from apply_agreements(client, catalog, dry_run=dry_run)


def _surroundings(
    client: SyncPrefectClient, chosen: Environment, catalog: Catalog, settings: Settings, dry_run: bool
) -> Iterator[Change]:
    pool = apply_pool(client, chosen, dry_run=dry_run)
    yield pool
    yield from apply_queues(client, chosen, dry_run=dry_run, fresh=pool.outcome == "created")
    yield from apply_limits(client, chosen, dry_run=dry_run)
    yield from apply_blocks(catalog, settings, dry_run=dry_run)
    yield from apply_variables(client, chosen.own_variables, dry_run=dry_run)
    yield from apply_saved(client, dry_run=dry_run)


def _automations(client: SyncPrefectClient, *, dry_run: bool, prune: bool) -> Iterator[Change]:
    try:
        yield from apply_automations(client, dry_run=dry_run, prune=prune)
    except SettingMissing as error:
        if not dry_run:
            raise
        yield Change("missing", "automations", "all further ones", str(error))


def _deploy(client: SyncPrefectClient, chosen: Environment, asked: str, dry_run: bool) -> Iterator[Change]:
    """Deploy, and say what that changes: Prefect itself only says what there is after it."""
    outputs = {"environment": steps.describe(chosen), "built": {"image": steps.image_name(chosen)}}
    changes = list(stanzas.compare(client, outputs))
    if not dry_run:
        # The steps run in a process of their own; what was asked for may be the path of a file.
        stanzas.deploy({environments.SETTING: asked})
    yield from changes


def main() -> int:
    """The command line; 1 when something could not be applied."""
    parser = argparse.ArgumentParser(prog="python -m deployments.apply", description=__doc__)
    parser.add_argument("--environment", default="", help="local, dev, prod, or a file of your own")
    parser.add_argument("--dry-run", action="store_true", help="say what would change, field by field")
    parser.add_argument("--deploy", action="store_true", help="also run `prefect deploy --all`")
    parser.add_argument("--prune", action="store_true", help="remove what no file names any more")
    parser.add_argument(
        "--remove",
        action="append",
        default=[],
        metavar="WHAT",
        help="remove this block or variable, as the report names it: \"block secret 'shop-api-token'\"",
    )
    chosen = parser.parse_args()
    try:
        for change in apply(
            environment=chosen.environment,
            dry_run=chosen.dry_run,
            deploy=chosen.deploy,
            prune=chosen.prune,
            remove=chosen.remove,
        ):
            print(change, flush=True)
        if not chosen.dry_run:
            with get_client(sync_client=True) as client:
                if note := unwatched(client):
                    print(f"note: {note}", file=sys.stderr)
    except GroundworkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
