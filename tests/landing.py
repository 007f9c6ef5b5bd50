"""A warehouse whose landing was filled by hand, and dbt to run over it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
from dbt.adapters.factory import reset_adapters

from groundwork.catalog import Catalog
from groundwork.landing import table_name
from groundwork.load import prepare
from groundwork.manifest import batch_name
from groundwork.warehouses.duckdb import open_duckdb

ROOT = Path(__file__).parent.parent
STARTED = datetime(2026, 1, 1)


@dataclass
class Landing:
    """A DuckDB file with a landing table per stream, and a way to land batches in it."""

    file: Path
    catalog: Catalog
    loads: int = 0
    """How many batches were landed; the clock of `_loaded_at` ticks with it."""

    def __post_init__(self) -> None:
        """Make the tables, as load would."""
        with open_duckdb(self.file, who="test") as warehouse:
            prepare(self.catalog.values(), warehouse)

    def land(self, source: str, batch_id: int, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Land one batch: per stream, rows as columns by name; metadata that is not given is made up.

        A batch that is there already is replaced, with a later `_loaded_at`, as a replay does.
        """
        self.loads += 1
        loaded_at = STARTED + timedelta(minutes=self.loads)
        name = batch_name(batch_id)
        with duckdb.connect(str(self.file)) as connection:
            for stream in self.catalog[source].streams:
                connection.execute(
                    f"delete from landing.{table_name(source, stream)} where _batch_id = ?", [name]
                )
            for stream, given in rows.items():
                for number, row in enumerate(given):
                    self._insert(connection, source, stream, name, number, loaded_at, row)
            connection.execute(
                "delete from landing._batches where source = ? and batch_id = ?", [source, name]
            )
            connection.execute(
                "insert into landing._batches by name select ? as source, ? as batch_id, ? as rows,"
                " ? as objects, '{}' as operations, '[]' as events, ? as started_at, ? as stored_at,"
                " ? as loaded_at, ? as extract_run_id, ? as load_run_id, ? as manifest",
                [
                    source,
                    name,
                    sum(map(len, rows.values())),
                    len(rows),
                    STARTED,
                    STARTED,
                    loaded_at,
                    f"run-{batch_id}",
                    f"run-{batch_id}",
                    f"{source}/manifests/{name}.json",
                ],
            )

    def _insert(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: str,
        stream: str,
        batch: str,
        number: int,
        loaded_at: datetime,
        row: Mapping[str, Any],
    ) -> None:
        whole = {
            "_operation": "insert",
            "_sequence": f"{int(batch):016x}/{number:08x}",
            "_committed_at": STARTED,
            "_extracted_at": STARTED,
            "_stored_at": STARTED,
            "_loaded_at": loaded_at,
            "_batch_id": batch,
            "_file": f"{source}/data/{stream}/{batch}/part-00000.parquet",
            "_row": number,
            "_run_id": f"run-{int(batch)}",
        } | dict(row)
        if "record" in whole and not isinstance(whole["record"], str):
            whole["record"] = json.dumps(whole["record"])
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in whole)
        connection.execute(
            f"insert into landing.{table_name(source, stream)} ({names})"
            f" values ({', '.join('?' * len(whole))})",
            list(whole.values()),
        )

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with duckdb.connect(str(self.file)) as connection:
            connection.execute("set timezone = 'UTC'")
            return connection.execute(sql).fetchall()


@dataclass
class Dbt:
    """The dbt project, run as a person would, over one DuckDB file."""

    file: Path
    target: Path
    project: Path = ROOT / "dbt"

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        """Run a command in this process; what it printed. Fails the test if dbt's verdict is another one."""
        from dbt.cli.main import dbtRunner

        printed = io.StringIO()
        environment = {
            "GROUNDWORK_DUCKDB_PATH": str(self.file),
            "GROUNDWORK_WAREHOUSE": "duckdb",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        before = dict(os.environ)
        os.environ.update(environment)
        try:
            with contextlib.redirect_stdout(printed), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                done = dbtRunner().invoke(
                    [
                        "--no-use-colors",
                        *arguments[0].split(),
                        "--project-dir",
                        str(self.project),
                        "--profiles-dir",
                        str(self.project),
                        "--target-path",
                        str(self.target),
                        "--log-path",
                        str(self.target),
                        *arguments[1:],
                    ]
                )
        finally:
            os.environ.clear()
            os.environ.update(before)
            reset_adapters()
        assert done.success != fails, f"{printed.getvalue()}\n{done.exception or ''}"
        return printed.getvalue()

    def results(self) -> dict[str, str]:
        """Status of every node of the last command by its name."""
        run = json.loads((self.target / "run_results.json").read_text(encoding="utf-8"))
        return {result["unique_id"].split(".")[2]: result["status"] for result in run["results"]}


def sequence(place: int) -> str:
    """A place in the source's order, as the log writes it."""
    return f"{place:016x}/00000000"
