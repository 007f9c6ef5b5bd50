"""What is sent to Snowflake is Snowflake's: the set-up file, what loads send, and what dbt sends."""

from __future__ import annotations

import re

import pytest

from groundwork.warehouses.snowflake import open_snowflake
from groundwork.warehouses.snowflake_session import Session
from tests.snowflake.account import Account, Emulator
from tests.snowflake.comparing import ROOT
from tests.snowflake.linting import complaints

SETUP = ROOT / "docs" / "snowflake" / "setup.sql"


def statements_of(text: str) -> list[str]:
    bare = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
    return [part.strip() for part in bare.split(";") if part.strip()]


def test_the_set_up_file_is_snowflakes() -> None:
    assert complaints(SETUP.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "copy into t from @s file_format = (type = parket)",
        "copy into t from @s match_by_column = case_sensitive",
        "create warehouse w with auto_suspend = sixty",
        "select strftime(a, '%Y') from t",
        "select starts_with(a, 'b') from t",
        "select json_extract_string(a, '$.b') from t",
        "grant usage on stage s role r",
    ],
)
def test_what_is_not_snowflakes_is_told(wrong: str) -> None:
    assert complaints(wrong) != []


def test_the_set_up_file_runs(emulator: Emulator, account: Account) -> None:
    """Where the emulator has the thing: a role, a monitor or an integration it only takes note of."""
    if account.is_real:
        pytest.skip("changes users and roles of the whole account: run it by hand")
    session = Session(emulator.login(""), "set-up")
    name = account.login.database
    not_there = re.compile(r"^(describe integration|grant database role)", re.IGNORECASE)
    try:
        for statement in statements_of(SETUP.read_text(encoding="utf-8")):
            if not not_there.match(statement):
                own = statement.replace("groundwork.", f"{name}_set_up.")
                session.query(
                    re.sub(r"database( if not exists)? groundwork\b", rf"database\1 {name}_set_up", own)
                )
    finally:
        session.close()
    done = account.statements(tag="set-up")
    assert any("create stage" in entry["sql"] for entry in done)
    nothing = account.statements("nothing", tag="set-up")
    kinds = {" ".join(entry["sql"].split()[:2]).lower() for entry in nothing}
    assert kinds <= {
        "create role", "grant role", "create user", "alter user", "create resource", "create warehouse",
        "alter warehouse", "grant usage", "grant create", "grant all", "grant select", "create storage",
        "grant read", "grant write", "use role",
    }  # fmt: skip
    with open_snowflake(account.login, who="look") as warehouse:
        assert warehouse.tables("visualization") == []
