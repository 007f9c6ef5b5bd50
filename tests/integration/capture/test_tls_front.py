"""TLS before a server that has none itself: what an address asks for is held there too.

The wheel's PostgreSQL is built without TLS; the tests beside this one run where one with TLS was fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from groundwork.errors import SourceError, SourceUnreachable
from tests.capture import Capture, Database
from tests.integration.capture.test_tls import Papers
from tests.tls_front import tls_front


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture
def items(database: Database, tmp_path: Path) -> Iterator[Capture]:
    database.sql("create table items (id int primary key); insert into items values (1), (2)")
    database.publish("items")
    yield Capture(database, tmp_path, items=("public.items", ["id"]))


def behind(items: Capture, port: int, host: str = "127.0.0.1", **options: object) -> str:
    own = items.database.server.port
    return f"{items.database.url()}?{urlencode(options)}".replace(f"127.0.0.1:{own}", f"{host}:{port}")


def test_snapshot_and_log_come_through_tls_verified_in_full(items: Capture, papers: Papers) -> None:
    paths = papers.paths
    with tls_front(items.database.server.port, paths["server"], paths["server-key"]) as port:
        items.url = behind(items, port, sslmode="verify-full", sslrootcert=paths["ca"])
        items.run()
        items.database.sql("insert into items select generate_series(3, 50000)")
        items.run()
    items.assert_equal_to_the_source()


@pytest.mark.parametrize(
    ("shown", "trusted", "host", "message"),
    [
        ("server", "ca", "localhost", "certificate"),
        ("server", "stranger", "127.0.0.1", "certificate"),
        ("stale", "ca", "127.0.0.1", "expired"),
    ],
)
def test_a_front_that_is_not_who_it_should_be_is_refused(
    items: Capture, papers: Papers, shown: str, trusted: str, host: str, message: str
) -> None:
    paths = papers.paths
    with tls_front(items.database.server.port, paths[shown], paths[f"{shown}-key"]) as port:
        items.url = behind(items, port, host, sslmode="verify-full", sslrootcert=paths[trusted])
        with pytest.raises(SourceUnreachable, match=message):
            items.run()


@pytest.mark.parametrize(("name", "let_in"), [("client", True), ("forged", False), ("", False)])
def test_a_front_that_asks_for_our_certificate_gets_it(
    items: Capture, papers: Papers, name: str, let_in: bool
) -> None:
    paths = papers.paths
    own = {"sslcert": paths[name], "sslkey": paths[f"{name}-key"]} if name else {}
    port_behind = items.database.server.port
    with tls_front(port_behind, paths["server"], paths["server-key"], clients_of=paths["ca"]) as port:
        items.url = behind(items, port, sslmode="verify-full", sslrootcert=paths["ca"], **own)
        if let_in:
            items.run()
            items.assert_equal_to_the_source()
            return
        with pytest.raises(SourceError):
            items.run()
