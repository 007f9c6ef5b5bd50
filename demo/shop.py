"""The shop's database: made once, with a history, in an embedded PostgreSQL.

Its tables, roles and the payment provider's ledger are in ``demo/shop.sql``, the rows in
``demo/shop_data.sql``. The passwords of the three roles are random, kept beside the server's own.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, date, datetime
from pathlib import Path

from demo.postgres import Postgres
from demo.service import keep_secret

logger = logging.getLogger(__name__)

DATABASE = "shop"
ROLES = ("shop", "groundwork", "provider")


class Shop:
    """The shop in a running server.

    Args:
        server: the PostgreSQL server that holds it.
    """

    def __init__(self, server: Postgres) -> None:
        self.server = server

    def password(self, role: str) -> str:
        """The password of one of the roles `shop`, `groundwork` and `provider`."""
        return keep_secret(self.server.directory / f"password-{role}")

    def url(self, role: str) -> str:
        """The database's address for a role: `shop` writes, `groundwork` captures, `provider`
        reads the payment provider's ledger.
        """
        return self.server.url(DATABASE, user=role, password=self.password(role))

    def create(self, today: date | None = None) -> bool:
        """Make the database with its history if it is absent.

        All of it is one transaction, done under another name and renamed at the end, so a creation
        that was cut off is begun again.

        Args:
            today: the day before which the history ends; today in UTC if not given.

        Returns:
            Whether it was made now.
        """
        server = self.server
        if server.sql("select 1 from pg_database where datname = :name", name=DATABASE):
            return False
        began = time.monotonic()
        draft = f"{DATABASE}_draft"
        server.sql(f"drop database if exists {draft}")
        for role in ROLES:
            server.sql(f"drop role if exists {role}")
        server.sql(f"create database {draft}")
        day = today or datetime.now(UTC).date()
        with server.connection(draft) as connection:
            connection.run("select set_config('demo.today', :day, false)", day=day.isoformat())
            for name in ("shop.sql", "shop_data.sql"):
                connection.execute_simple(Path(__file__).with_name(name).read_text("utf-8"))
            connection.run("analyze")
        for role in ROLES:
            # the password is hexadecimal: it needs no quoting
            server.sql(f"alter role {role} password '{self.password(role)}'")
        server.sql(f"alter database {draft} rename to {DATABASE}")
        logger.info("created database=%s seconds=%.1f", DATABASE, time.monotonic() - began)
        return True
