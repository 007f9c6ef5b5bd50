"""Service level agreements: what Prefect Cloud alone has, from what the catalog promises.

Cloud then shows on each deployment whether it keeps them. The open-source server knows none; there the flow
`watch` and the automations say the same, and they do so on Cloud too.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from prefect._experimental.sla.objects import FrequencySla, LatenessSla, SlaTypes
from prefect.client.orchestration import SyncPrefectClient

from deployments import stanzas
from deployments.changes import Change, Outcome
from groundwork.catalog import Catalog

LATENESS = timedelta(minutes=10)


def apply_agreements(client: SyncPrefectClient, catalog: Catalog, *, dry_run: bool) -> Iterator[Change]:
    """Give every source's deployment its agreements: begun within ten minutes, done as often as wanted.

    Cloud cannot be asked what there is without changing it, so they are sent each time; sending the same
    changes nothing.
    """
    for deployment in stanzas.ours(client):
        sources = [tag.removeprefix("source:") for tag in deployment.tags if tag.startswith("source:")]
        wanted: list[SlaTypes] = [
            LatenessSla(name="begins in time", within=LATENESS, severity="moderate"),
            *(
                FrequencySla(
                    name=f"{source} is looked at", severity="high",
                    stale_after=catalog[source].update_every * 1.5 + LATENESS,
                )
                for source in sources
                if source in catalog
            ),
        ]  # fmt: skip
        if not sources:
            continue
        if dry_run:
            yield Change("unchanged", "agreements", deployment.name, "sent each time, Cloud cannot be asked")
            continue
        merged = client.apply_slas_for_deployment(deployment.id, wanted)
        outcome: Outcome = "updated" if merged.deleted else "created" if merged.created else "unchanged"
        yield Change(outcome, "agreements", deployment.name)
