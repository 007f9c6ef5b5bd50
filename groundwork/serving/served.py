"""What is served: the tables people read, their columns and types, by the contracts of dbt's models.

It is stored after each transform that succeeded, and the next one is held against it before it builds
(`groundwork.serving.compatibility`), so that nobody's dashboard breaks by surprise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from groundwork.bucket import Bucket
from groundwork.errors import CatalogError, KeyMissing, ObjectDamaged
from groundwork.manifest import now

KEY = "artifacts/served.json"


class ServedColumn(BaseModel):
    """A column that people may have built on."""

    model_config = ConfigDict(frozen=True)
    type: str
    deprecated: date | None = None
    """From this day on it may go."""


class ServedRelation(BaseModel):
    """A table or view that people may have built on."""

    model_config = ConfigDict(frozen=True)
    model: str
    file: str
    columns: dict[str, ServedColumn]
    deprecated: date | None = None
    consumers: list[str] = []
    """Dashboards and exports that read it, with whom to ask."""


class Served(BaseModel):
    """All of it at one moment."""

    model_config = ConfigDict(frozen=True)
    version: int = 1
    at: datetime
    relations: dict[str, ServedRelation]
    """By ``schema.name``."""


def by_contracts(manifest: Mapping[str, Any]) -> Served:
    """What a dbt project would serve: every model with an enforced contract.

    Args:
        manifest: dbt's manifest.json.

    Raises:
        CatalogError: when a date of deprecation is none.
    """
    relations = {}
    for unique_id, node in manifest["nodes"].items():
        if node["resource_type"] == "model" and node["config"].get("contract", {}).get("enforced"):
            relations[f"{node['schema']}.{node['alias']}".lower()] = ServedRelation(
                model=node["name"] + (f" v{node['version']}" if node.get("version") else ""),
                file=node["original_file_path"],
                columns={
                    name.lower(): ServedColumn(
                        type=_type(column.get("data_type")),
                        deprecated=_date(f"{unique_id}.{name}", _meta(column).get("deprecated")),
                    )
                    for name, column in node["columns"].items()
                },
                deprecated=_date(
                    unique_id, node.get("deprecation_date") or node["config"]["meta"].get("deprecated")
                ),
                consumers=_consumers(manifest, unique_id),
            )
    return Served(at=now(), relations=relations)


def _meta(column: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**(column.get("meta") or {}), **((column.get("config") or {}).get("meta") or {})}


def _type(text: str | None) -> str:
    return "".join((text or "").lower().split())


def _date(where: str, given: Any) -> date | None:
    if not given:
        return None
    try:
        return date.fromisoformat(str(given)[:10])
    except ValueError as error:
        raise CatalogError(
            where, f"is deprecated from '{given}', which is no date", fix="write it as 2026-12-31"
        ) from error


def _consumers(manifest: Mapping[str, Any], unique_id: str) -> list[str]:
    """Exposures that depend on a model, however many models lie between."""
    reached, waiting = set[str](), [unique_id]
    while waiting:
        one = waiting.pop()
        if one not in reached:
            reached.add(one)
            waiting += manifest.get("child_map", {}).get(one, [])
    told = []
    for exposure_id in reached & manifest.get("exposures", {}).keys():
        exposure = manifest["exposures"][exposure_id]
        owner = exposure.get("owner") or {}
        who = owner.get("email") or owner.get("name") or "nobody named"
        told.append(f"{exposure.get('label') or exposure['name']} ({who})")
    return sorted(told)


def last(bucket: Bucket) -> Served | None:
    """What was served last; None when nothing ever was.

    Raises:
        ObjectDamaged: when it cannot be understood.
    """
    try:
        return read(bucket.get(KEY), f"{bucket.url}/{KEY}")
    except KeyMissing:
        return None


def read(body: bytes, where: str) -> Served:
    """Read a stored record.

    Raises:
        ObjectDamaged: when it cannot be understood.
    """
    try:
        return Served.model_validate_json(body)
    except ValidationError as error:
        raise ObjectDamaged(
            where, "does not say what was served last",
            why=f"{error.error_count()} fields are wrong or missing",
            fix="restore the object from the bucket's versions",
        ) from error  # fmt: skip


def keep(bucket: Bucket, would: Served, built: Iterable[str]) -> None:
    """Store what is served now that some models were built; what was not built is as it was.

    Args:
        bucket: where.
        would: what the project serves when all of it is built.
        built: ``schema.name`` of each relation that was built, in any case.
    """
    stored, fresh = last(bucket), {name.lower() for name in built}
    before = stored.relations if stored else {}
    relations = {
        name: would.relations[name] if name in fresh else before[name]
        for name in would.relations
        if name in fresh or name in before
    }
    bucket.put(KEY, Served(at=would.at, relations=relations).model_dump_json(indent=1).encode())
