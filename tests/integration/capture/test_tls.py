# ruff: noqa: E501 (messages read better in one line)
"""TLS with a real server: what an address asks for is held, and what is wrong is said without a secret."""

from __future__ import annotations

import datetime
import subprocess
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import trustme

from demo.postgres import Postgres
from demo.service import free_port
from groundwork.errors import GroundworkError, SourceError, SourceRefused, SourceUnreachable
from groundwork.sources import wire
from groundwork.sources.address import Address
from tests.capture import PASSWORD, ROLE, Capture, Database
from tests.versions import servers

Captures = Callable[..., Capture]
AGO = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=3)


class Papers:
    """Certificates: ours and the server's, those of a stranger, and one whose time is over."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority, self.stranger = trustme.CA(), trustme.CA()
        self.paths = {
            "ca": self._written("ca.pem", self.authority.cert_pem),
            "stranger": self._written("stranger.pem", self.stranger.cert_pem),
        }
        self._issue("server", self.authority.issue_cert("127.0.0.1"))
        self._issue("stale", self.authority.issue_cert("127.0.0.1", not_after=AGO))
        self._issue("client", self.authority.issue_cert("x.example", common_name="certified"))
        self._issue("other", self.authority.issue_cert("x.example", common_name="somebody"))
        self._issue("forged", self.stranger.issue_cert("x.example", common_name="certified"))

    def _issue(self, name: str, made: trustme.LeafCert) -> None:
        self.paths[name] = self._written(f"{name}.pem", made.cert_chain_pems[0])
        self.paths[f"{name}-key"] = self._written(f"{name}.key", made.private_key_pem)
        self.paths[f"{name}-key"].chmod(0o600)

    def _written(self, name: str, blob: trustme.Blob) -> Path:
        blob.write_to_path(str(self.directory / name))
        return self.directory / name


def programs() -> Path | None:
    """A PostgreSQL with TLS: this run's own, or one that `make test-versions` has fetched."""
    fetched = servers.programs(18)
    return servers.chosen() or (fetched if fetched.exists() else None)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def secured(papers: Papers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server with a certificate for 127.0.0.1; its role `certified` signs in with a certificate only."""
    if programs() is None:
        pytest.skip("the wheel's PostgreSQL is built without TLS; `make test-versions` brings others")
    settings = {
        "ssl": "on", "ssl_ca_file": str(papers.paths["ca"]),
        "ssl_cert_file": str(papers.paths["server"]), "ssl_key_file": str(papers.paths["server-key"]),
    }  # fmt: skip
    server = Postgres(
        tmp_path_factory.mktemp("secured"), durable=False, settings=settings, programs=programs()
    )
    server.prepare()
    for name in ("server-key", "stale-key"):
        server.own(papers.paths[name])
    (server.data / "pg_hba.conf").write_text(
        "hostssl all certified 127.0.0.1/32 cert\nhost all all 127.0.0.1/32 scram-sha-256\n"
    )
    with server as running:
        running.sql(f"create role {ROLE} login replication password '{PASSWORD}'")
        running.sql(f"create role certified login replication; grant {ROLE} to certified")
        yield running


@pytest.fixture
def items(secured: Postgres, tmp_path: Path) -> Iterator[Capture]:
    database = Database(secured, f"tls_{free_port()}")
    secured.sql(f'create database "{database.name}"')
    database.sql("create table items (id int primary key); insert into items values (1), (2)")
    database.publish("items")
    yield Capture(database, tmp_path, items=("public.items", ["id"]))
    database.drop()


def asking(items: Capture, *, user: str = ROLE, host: str = "127.0.0.1", **options: object) -> str:
    url = items.database.url(user=user).replace("127.0.0.1", host)
    return f"{url}?{urlencode(options)}"


def refused(items: Capture, kind: type[GroundworkError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        items.run()
    whole = "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in whole
    assert "PRIVATE KEY" not in whole


@pytest.mark.parametrize(
    ("sslmode", "named"),
    [("verify-full", True), ("verify-ca", True), ("require", True), ("require", False), ("prefer", False)],
)
def test_snapshot_and_log_are_read_in_tls(items: Capture, papers: Papers, sslmode: str, named: bool) -> None:
    options = {"sslrootcert": papers.paths["ca"]} if named else {}
    items.url = asking(items, sslmode=sslmode, **options)
    items.run()
    items.database.sql("insert into items select generate_series(3, 50000); delete from items where id = 1")
    items.run()
    items.assert_equal_to_the_source()
    with wire.Connection(Address.parse(items.url, "test"), "test") as connection:
        spoken = connection.run("select ssl, version from pg_stat_ssl where pid = pg_backend_pid()")
    assert spoken in ([[True, "TLSv1.3"]], [[True, "TLSv1.2"]])


def test_without_tls_nothing_is_encrypted_because_it_was_asked_for(items: Capture) -> None:
    items.url = asking(items, sslmode="disable")
    with wire.Connection(Address.parse(items.url, "test"), "test") as connection:
        assert connection.run("select ssl from pg_stat_ssl where pid = pg_backend_pid()") == [[False]]


def test_a_server_of_another_name_is_refused(items: Capture, papers: Papers) -> None:
    items.url = asking(items, host="localhost", sslmode="verify-full", sslrootcert=papers.paths["ca"])
    refused(
        items, SourceUnreachable, r"no TLS with localhost:\d+\. Hostname mismatch.*Connect by a name that"
    )
    items.url = asking(items, host="localhost", sslmode="verify-ca", sslrootcert=papers.paths["ca"])
    items.run()


@pytest.mark.parametrize("sslmode", ["verify-full", "verify-ca", "require"])
def test_a_certificate_of_another_authority_is_refused(items: Capture, papers: Papers, sslmode: str) -> None:
    """With a given authority, ``require`` checks it too, as libpq does."""
    items.url = asking(items, sslmode=sslmode, sslrootcert=papers.paths["stranger"])
    refused(items, SourceUnreachable, "no TLS with.*certificate.*Let sslrootcert in the connection URL name")


def test_without_a_given_authority_those_of_the_system_are_asked(items: Capture) -> None:
    items.url = asking(items, sslmode="verify-full")
    refused(items, SourceUnreachable, "no TLS with.*Let sslrootcert in the connection URL name the CA")


def test_a_certificate_whose_time_is_over_is_refused(
    items: Capture, papers: Papers, secured: Postgres
) -> None:
    def present(name: str) -> None:
        secured.settings["ssl_cert_file"] = str(papers.paths[name])
        secured.settings["ssl_key_file"] = str(papers.paths[f"{name}-key"])
        secured.restart()

    present("stale")
    try:
        items.url = asking(items, sslmode="verify-full", sslrootcert=papers.paths["ca"])
        refused(items, SourceUnreachable, "Certificate has expired. Renew the server's certificate")
    finally:
        present("server")
    items.run()


def test_a_certificate_of_ours_signs_us_in(items: Capture, papers: Papers) -> None:
    items.url = asking(
        items, user="certified", sslmode="verify-full", sslrootcert=papers.paths["ca"],
        sslcert=papers.paths["client"], sslkey=papers.paths["client-key"],
    )  # fmt: skip
    items.run()
    items.database.sql("insert into items values (3)")
    items.run()
    items.assert_equal_to_the_source()


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("", SourceRefused, "connection requires a valid client certificate"),
        ("other", SourceRefused, "certificate authentication failed for user .certified."),
        (
            "forged",
            SourceError,
            "the server ended TLS as we signed in.*does not accept our certificate.*sslcert",
        ),
    ],
)
def test_a_certificate_that_is_not_ours_is_refused(
    items: Capture, papers: Papers, name: str, kind: type[GroundworkError], message: str
) -> None:
    own = {"sslcert": papers.paths[name], "sslkey": papers.paths[f"{name}-key"]} if name else {}
    items.url = asking(items, user="certified", sslmode="require", **own)
    refused(items, kind, message)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("sslrootcert", "sslrootcert of the connection URL cannot be used"),
        ("sslcert", "sslcert and sslkey of"),
    ],
)
def test_a_file_that_is_not_there_is_named(items: Capture, tmp_path: Path, option: str, message: str) -> None:
    items.url = asking(items, sslmode="verify-full", **{option: tmp_path / "gone.pem"})
    refused(items, SourceRefused, f"{message}.*No such file or directory")


def test_a_key_that_is_encrypted_or_of_another_certificate_is_named(items: Capture, papers: Papers) -> None:
    pair = {"sslcert": papers.paths["client"], "sslkey": papers.paths["other-key"]}
    items.url = asking(items, sslmode="require", **pair)
    refused(items, SourceRefused, "sslcert and sslkey of the connection URL cannot be used.*MISMATCH")
    locked = papers.directory / "locked.key"
    subprocess.run(
        ["openssl", "pkey", "-in", papers.paths["client-key"], "-aes256", "-passout", "pass:x", "-out", locked],
        check=True, capture_output=True,
    )  # fmt: skip
    items.url = asking(items, sslmode="require", sslcert=papers.paths["client"], sslkey=locked)
    refused(items, SourceRefused, "cannot be used.*a key must not be encrypted")


@pytest.mark.parametrize("sslmode", ["verify_full", "VERIFY-FULL", "on", ""])
def test_a_mistyped_sslmode_is_never_taken_for_a_weaker_one(items: Capture, sslmode: str) -> None:
    items.url = asking(items) + f"sslmode={sslmode}&sslrootcert="
    refused(items, SourceRefused, "the connection URL is not understood.*sslmode: disable, allow")
