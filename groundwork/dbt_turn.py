"""dbt's turn: told where the warehouse is, alone with it while it builds, and let go of afterwards.

dbt is a program of its own, so what it needs to know it reads from the environment.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundwork.errors import WarehouseError
from groundwork.settings import Settings
from groundwork.warehouses import LANDING, LEDGER, Warehouse

if TYPE_CHECKING:
    from groundwork.warehouses.snowflake_login import SnowflakeLogin


@contextmanager
def writers_turn(
    settings: Settings,
    who: str = "transform",
    *,
    login: SnowflakeLogin | None = None,
    run_id: str = "",
) -> Iterator[dict[str, int]]:
    """Tell dbt where the warehouse is, with landing tables to read; hold DuckDB's single place.

    Args:
        settings: see `Settings`.
        who: for whom.
        login: how to sign in to Snowflake; by default what the environment says.
        run_id: the flow run; Snowflake's statements are tagged with it.

    Yields:
        The newest batch per source that is in landing for certain.
    """
    from groundwork.catalog import load_catalog
    from groundwork.load import prepare
    from groundwork.warehouses import open_warehouse
    from groundwork.warehouses.writer import writer_lock

    with open_warehouse(settings, who=who, login=login, run_id=run_id) as warehouse:
        prepare(load_catalog(settings.catalog).values(), warehouse)
        there = newest_batches(warehouse)
    told: dict[str, str] = {"GROUNDWORK_WAREHOUSE": settings.warehouse}
    if settings.warehouse != "duckdb":
        from groundwork.warehouses.snowflake_login import SnowflakeLogin
        from groundwork.warehouses.snowflake_session import query_tag

        known = login or SnowflakeLogin.from_environment()
        with _environment(told | known.dbt_environment(query_tag(who, run_id))):
            yield there
        return
    told["GROUNDWORK_DUCKDB_PATH"] = str(settings.duckdb_file)
    with writer_lock(settings.duckdb_file, who), _environment(told):
        yield there


@contextmanager
def _environment(told: dict[str, str]) -> Iterator[None]:
    """Variables for dbt alone: what runs after it in this process has its own."""
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def newest_batches(warehouse: Warehouse) -> dict[str, int]:
    """The newest batch per source in the ledger."""
    found = warehouse.query(f"select source, max(batch_id) from {LANDING}.{LEDGER} group by source")
    return {source: int(newest) for source, newest in found}


def let_go(settings: Settings) -> None:
    """Close what dbt keeps open until the process ends, so that others can have the warehouse."""
    from dbt.adapters import factory

    forget: Callable[[], None] = factory.reset_adapters
    forget()
    if settings.warehouse == "duckdb":
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager

        manager: Any = DuckDBConnectionManager
        if manager._ENV is not None:
            manager._ENV.close()
        manager.close_all_connections()


def parsed(settings: Settings, target: Path | None = None) -> dict[str, Any]:
    """The project as its files are now: dbt's manifest. No warehouse is asked.

    Args:
        settings: where the project is.
        target: where dbt keeps what it parsed, so that a build there need not parse again; nowhere when None.

    Raises:
        WarehouseError: when dbt cannot read the project.
    """
    import tempfile

    from dbt.cli.main import dbtRunner

    place, home = str(settings.dbt.absolute()), Path.cwd()
    with tempfile.TemporaryDirectory(prefix="groundwork-dbt-") as nowhere:
        into = str(target or nowhere)
        options = ["--project-dir", place, "--profiles-dir", place, "--target-path", into, "--log-path", into]
        try:
            done = dbtRunner().invoke(["--quiet", "parse", *options])
        finally:
            os.chdir(home)
            let_go(settings)
        if not done.success:
            why = str(done.exception).splitlines()[0] if done.exception else "see dbt's own lines above"
            raise WarehouseError(f"dbt project {settings.dbt}", "cannot be read", why=why, fix="mend it")
        manifest: dict[str, Any] = json.loads((Path(into) / "manifest.json").read_bytes())
    return manifest


def build(settings: Settings, arguments: Sequence[str]) -> None:
    """Run one dbt command over the warehouse, in its turn.

    Raises:
        WarehouseError: when a node failed.
    """
    from dbt.cli.main import dbtRunner

    place, home = str(settings.dbt.absolute()), Path.cwd()
    with writers_turn(settings):
        try:
            done = dbtRunner().invoke([*arguments, "--project-dir", place, "--profiles-dir", place])
        finally:
            os.chdir(home)  # dbt moves into its project
            let_go(settings)
    if not done.success:
        results: Any = getattr(done.result, "results", [])
        failed = [r.node.name for r in results if str(r.status) in ("error", "fail", "runtime error")]
        raise WarehouseError(
            f"dbt {arguments[0]}", f"failed ({', '.join(failed[:10]) or type(done.exception).__name__})",
            fix="see dbt's own lines above; landing is complete",
        )  # fmt: skip


def fingerprint(project: Path) -> str:
    """Changes when a file of the dbt project does: what was built is of these models."""
    parts = []
    for directory, names, files in os.walk(project):
        names[:] = [name for name in names if name not in ("target", "logs", "dbt_packages")]
        for name in files:
            found = (Path(directory) / name).stat()
            parts.append(f"{directory}/{name} {found.st_size} {found.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16]
