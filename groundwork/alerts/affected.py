"""What a failure touches: from a source or a dbt node to tables, models and questions.

Read from the catalog and from dbt's manifest (https://schemas.getdbt.com/dbt/manifest): ``child_map``
says what is built from what, exposures say who looks at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from groundwork.catalog import AnySource
from groundwork.landing import table_name
from groundwork.warehouses import LANDING


@dataclass(frozen=True)
class Affected:
    """What is not as fresh or as right as it should be."""

    tables: list[str] = field(default_factory=list)
    """Landing tables, ``landing.shop__orders``."""
    models: list[str] = field(default_factory=list)
    """Models that people see, ``visualization.orders``."""
    exposures: list[str] = field(default_factory=list)
    """Dashboards and exports that read those models."""
    questions: list[str] = field(default_factory=list)
    """What people wanted to know from the source."""


def by_source(entry: AnySource, manifest: Mapping[str, Any]) -> Affected:
    """What depends on a source.

    Args:
        entry: the catalog's entry.
        manifest: dbt's manifest.json; an empty one when dbt has never run.
    """
    roots = [
        unique_id
        for unique_id, node in manifest.get("sources", {}).items()
        if node.get("source_name") == entry.source
        or node.get("identifier", "").startswith(f"{entry.source}__")
    ]
    models, exposures = _downstream(manifest, roots)
    tables = [f"{LANDING}.{table_name(entry.source, stream)}" for stream in entry.streams]
    return Affected(tables, models, exposures, list(entry.questions))


def by_nodes(nodes: Iterable[str], manifest: Mapping[str, Any]) -> Affected:
    """What depends on dbt nodes that failed; for a test, on what it tests."""
    roots: list[str] = []
    for unique_id in nodes:
        tested = manifest.get("parent_map", {}).get(unique_id, [])
        roots += tested if unique_id.startswith("test.") else [unique_id]
    models, exposures = _downstream(manifest, roots)
    return Affected([], models, exposures, [])


def by_platform(entries: Iterable[AnySource], manifest: Mapping[str, Any]) -> Affected:
    """All there is: for a trouble of the bucket, the warehouse, or what builds the models."""
    each = [by_source(entry, manifest) for entry in entries]
    return Affected(
        [table for one in each for table in one.tables],
        sorted({model for one in each for model in one.models}),
        sorted({exposure for one in each for exposure in one.exposures}),
        [question for one in each for question in one.questions],
    )


def sources_of(nodes: Iterable[str], manifest: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    """The catalog's names of the sources that dbt nodes are built from.

    Args:
        nodes: dbt's unique ids.
        manifest: dbt's manifest.json.
        known: the catalog's names.
    """
    above, waiting = set(), list(nodes)
    while waiting:
        unique_id = waiting.pop()
        if unique_id not in above:
            above.add(unique_id)
            waiting += manifest.get("parent_map", {}).get(unique_id, [])
    read = [manifest.get("sources", {}).get(one, {}) for one in above]
    return sorted(
        source
        for source in known
        if any(
            node.get("source_name") == source or node.get("identifier", "").startswith(f"{source}__")
            for node in read
        )
    )


def _downstream(manifest: Mapping[str, Any], roots: Iterable[str]) -> tuple[list[str], list[str]]:
    """Models of the visualization layer and exposures reachable from some nodes."""
    reached: set[str] = set()
    waiting = list(roots)
    while waiting:
        unique_id = waiting.pop()
        if unique_id not in reached:
            reached.add(unique_id)
            waiting += manifest.get("child_map", {}).get(unique_id, [])
    nodes, exposures = manifest.get("nodes", {}), manifest.get("exposures", {})
    models = [
        f"{node['schema']}.{node['alias']}"
        for unique_id in reached
        if (node := nodes.get(unique_id))
        and node["resource_type"] == "model"
        and "visualization" in node.get("fqn", [])
    ]
    seen = [exposures[one].get("label") or exposures[one]["name"] for one in reached if one in exposures]
    return sorted(models), sorted(seen)
