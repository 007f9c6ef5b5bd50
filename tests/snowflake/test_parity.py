"""One bucket, two warehouses, one set of models: every table is the same, row for row and by its digest.

The whole takes minutes (`make test-snowflake`); in `make test` it is a few models of both kinds of sources.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from groundwork import digests
from groundwork.catalog import load_catalog
from groundwork.load import load, prepare
from groundwork.warehouses import Warehouse
from groundwork.warehouses.duckdb import open_duckdb
from groundwork.warehouses.snowflake import open_snowflake
from groundwork.warehouses.snowflake_session import query_tag
from tests.integration.test_replay_proof import Random, commit
from tests.snowflake.account import Account
from tests.snowflake.comparing import ROOT, dbt, differences

WHOLE = bool(os.environ.get("GROUNDWORK_TEST_SNOWFLAKE"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(not WHOLE, reason="takes minutes: make test-snowflake"),
]


@dataclass
class Both:
    account: Account
    duckdb: Callable[[], AbstractContextManager[Warehouse]]
    snowflake: Callable[[], AbstractContextManager[Warehouse]]
    environments: dict[str, dict[str, str]]
    target: Path

    def run(self, *words: str) -> None:
        for name, environment in self.environments.items():
            dbt(environment, self.target / name, *words, "--quiet")


@pytest.fixture(scope="module")
def both(new_account: Callable[..., Account], tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Filled in two rounds, so that the models grew in a first run and in an incremental one."""
    account, place = new_account(), tmp_path_factory.mktemp("both")
    file = place / "warehouse.duckdb"
    tag = query_tag("transform", "flow-run-7")
    both = Both(
        account,
        lambda: open_duckdb(file, who="a test"),
        lambda: open_snowflake(account.login, who="load", run_id="flow-run-7"),
        {
            "duckdb": {"GROUNDWORK_WAREHOUSE": "duckdb", "GROUNDWORK_DUCKDB_PATH": str(file)},
            "snowflake": {"GROUNDWORK_WAREHOUSE": "snowflake", **account.login.dbt_environment(tag)},
        },
        place,
    )
    catalog, bucket, dice = load_catalog(ROOT / "catalog"), account.bucket(), Random(20261122)
    for _ in range(2):
        for entry in catalog.values():
            for _ in range(2):
                commit(entry, bucket, dice)
        for opened in (both.duckdb, both.snowflake):
            with opened() as warehouse:
                prepare(catalog.values(), warehouse)
                for entry in catalog.values():
                    load(entry, bucket, warehouse, run_id="flow-run-7")
        both.run("run")
    return both


def test_every_table_is_the_same_row_for_row(both: Both) -> None:
    with both.duckdb() as one, both.snowflake() as other:
        assert set(other.tables("staging")) == set(one.tables("staging"))
        assert differences(one, other) == []


def test_every_table_has_the_same_digest(both: Both) -> None:
    with both.duckdb() as one, both.snowflake() as other:
        here, there = digests.take(one, "duckdb"), digests.take(other, "snowflake")
    assert digests.differing(here, there) == {}
    assert sum(1 for digest in here.tables.values() if digest.rows) > 20


def test_a_difference_of_one_letter_is_told(both: Both) -> None:
    """Leaves the table of Snowflake as it was."""
    change = "update landing.shop__orders set currency = currency || '{}' where _row = 0"
    back = "update landing.shop__orders set currency = left(currency, length(currency) - 1) where _row = 0"
    with both.duckdb() as one, both.snowflake() as other:
        other.query(change.format("x"))
        try:
            told = digests.differing(digests.take(one, "a"), digests.take(other, "b"))
            assert "landing.shop__orders" in told
            assert any("landing.shop__orders" in line for line in differences(one, other, ["landing"]))
        finally:
            other.query(back)


def test_a_full_refresh_gives_what_growing_gave(both: Both) -> None:
    with both.snowflake() as warehouse:
        grown = digests.take(warehouse, "grown")
    dbt(both.environments["snowflake"], both.target / "snowflake", "run", "--quiet", "--full-refresh")
    with both.snowflake() as warehouse:
        assert digests.differing(grown, digests.take(warehouse, "anew")) == {}
