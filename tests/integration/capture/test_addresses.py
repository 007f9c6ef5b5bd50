# ruff: noqa: E501 (messages read better in one line)
"""Connection strings as providers give them: a run connects as they say, or names what it cannot hold."""

from __future__ import annotations

import pwd
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from demo.postgres import Postgres
from demo.service import free_port
from groundwork.errors import SourceError, SourceRefused, SourceUnreachable
from groundwork.sources.address import Address
from groundwork.sources.wire import Connection
from tests.capture import PASSWORD, ROLE, Capture, Database
from tests.integration.capture.test_tls import Papers, programs
from tests.versions.servers import chosen

Captures = Callable[..., Capture]


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def sockets() -> Iterator[Path]:
    """A directory with a short path: a Unix socket's has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="gw-", dir="/tmp") as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


@pytest.fixture(scope="module")
def local(sockets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server with a Unix socket too."""
    settings = {"unix_socket_directories": str(sockets)}
    with Postgres(
        tmp_path_factory.mktemp("local"), durable=False, settings=settings, programs=chosen()
    ) as server:
        server.sql(f"create role {ROLE} login replication password '{PASSWORD}'")
        server.sql("create table items (id int primary key); insert into items values (1), (2)")
        Database(server, "postgres").publish("items")
        yield server


@pytest.fixture(scope="module")
def secured(papers: Papers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server with TLS that admits one role in TLS only, one without it only, and one by MD5."""
    if programs() is None:
        pytest.skip("the wheel's PostgreSQL is built without TLS; `make test-versions` brings others")
    settings = {
        "ssl": "on",
        "ssl_cert_file": str(papers.paths["server"]),
        "ssl_key_file": str(papers.paths["server-key"]),
    }
    server = Postgres(
        tmp_path_factory.mktemp("secured"), durable=False, settings=settings, programs=programs()
    )
    server.prepare()
    server.own(papers.paths["server-key"])
    (server.data / "pg_hba.conf").write_text(
        "hostssl all in_tls 127.0.0.1/32 scram-sha-256\nhostnossl all in_clear 127.0.0.1/32 scram-sha-256\n"
        "host all by_md5 127.0.0.1/32 md5\nhost all by_word 127.0.0.1/32 password\nhost all by_trust 127.0.0.1/32 trust\n"
        "host all in_tls,in_clear 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 scram-sha-256\n"
    )
    with server as running:
        for role in ("in_tls", "in_clear", "by_word", "by_trust"):
            running.sql(f"create role {role} login password '{PASSWORD}'")
        running.sql(f"set password_encryption = 'md5'; create role by_md5 login password '{PASSWORD}'")
        yield running


def asked(url: str, query: str) -> list[list[Any]]:
    with Connection(Address.parse(url, "here"), "here") as connection:
        return connection.run(query)


def spoken(server: Postgres, role: str, options: str) -> tuple[bool, str]:
    """Whether the connection is in TLS, and its version."""
    url = f"postgresql://{role}:{PASSWORD}@127.0.0.1:{server.port}/postgres?{options}"
    ((tls, version),) = asked(
        url, "select ssl, coalesce(version, '') from pg_stat_ssl where pid = pg_backend_pid()"
    )
    return tls, version


def test_a_source_is_read_through_a_unix_socket(local: Postgres, sockets: Path, tmp_path: Path) -> None:
    source = Capture(Database(local, "postgres"), tmp_path, items=("public.items", ["id"]))
    for number, url in enumerate(
        [
            f"postgresql://{ROLE}:{PASSWORD}@{quote(str(sockets), safe='')}:{local.port}/postgres?sslmode=require",
            f"postgresql:///postgres?host={sockets}&port={local.port}&user={ROLE}&password={PASSWORD}",
            f"host={sockets} port={local.port} dbname=postgres user={ROLE} password='{PASSWORD}'",
        ]
    ):
        source.url = url
        local.sql(f"insert into items values ({number + 10})")
        source.run().insist()
        source.assert_equal_to_the_source()
        assert asked(url, "select client_addr from pg_stat_activity where pid = pg_backend_pid()") == [[None]]
    assert "own changes" not in source.troubles()
    local.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots")


def test_the_user_behind_a_unix_socket_is_checked(local: Postgres, sockets: Path) -> None:
    url = f"host={sockets} port={local.port} dbname=postgres user={ROLE} password={PASSWORD} requirepeer="
    owner = pwd.getpwuid((sockets / f".s.PGSQL.{local.port}").stat().st_uid).pw_name
    assert asked(url + owner, "select 1") == [[1]]
    with pytest.raises(SourceRefused, match="requirepeer asks for another"):
        asked(url + "somebody", "select 1")


def test_the_first_of_several_hosts_that_can_be_used_is_used(local: Postgres) -> None:
    closed, closed_too = free_port(), free_port()
    url = f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{closed},127.0.0.1:{local.port}/postgres"
    assert asked(url, "select 1") == [[1]]
    assert asked(f"{url}?load_balance_hosts=random", "select 1") == [[1]]
    named = f"host=nowhere.invalid,here hostaddr=127.0.0.1,127.0.0.1 port={closed},{local.port} user={ROLE} password={PASSWORD} dbname=postgres"
    assert asked(named, "select 1") == [[1]]
    with pytest.raises(
        SourceUnreachable, match=f"none of the servers.*127.0.0.1:{closed}.*127.0.0.1:{closed_too}"
    ):
        asked(
            f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{closed},127.0.0.1:{closed_too}/postgres", "select 1"
        )
    # A server that refuses us ends the search, as in libpq.
    with pytest.raises(SourceRefused, match="28P01"):
        asked(f"postgresql://{ROLE}:wrong@127.0.0.1:{local.port},127.0.0.1:{local.port}/postgres", "select 1")


def test_the_server_is_as_target_session_attrs_asks(local: Postgres) -> None:
    url = f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{local.port}/postgres?target_session_attrs="
    for attribute in ("any", "primary", "read-write", "prefer-standby"):
        assert asked(url + attribute, "select 1") == [[1]]
    for attribute in ("standby", "read-only"):
        with pytest.raises(SourceUnreachable, match=f"is not as target_session_attrs={attribute} asks"):
            asked(url + attribute, "select 1")
    local.sql(f"alter role {ROLE} set default_transaction_read_only = on")
    try:
        assert asked(url + "read-only", "select 1") == [[1]]
    finally:
        local.sql(f"alter role {ROLE} reset default_transaction_read_only")


def test_what_providers_add_is_understood(local: Postgres) -> None:
    url = f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{local.port}/postgres"
    options = (
        "application_name=shop%20reader&connect_timeout=5&options=-c%20geqo%3Doff%20-c%20timezone%3DAsia/Tokyo&keepalives=1&keepalives_idle=30"
        "&keepalives_count=3&tcp_user_timeout=9000&gssencmode=disable&client_encoding=utf8&target_session_attrs=any&channel_binding=prefer"
    )
    shown = "select current_setting('application_name'), current_setting('geqo'), current_setting('timezone')"
    # What decides how values are printed stays ours.
    assert asked(f"{url}?{options}", shown) == [["shop reader", "off", "UTC"]]


def test_a_password_file_is_read_and_must_be_private(local: Postgres, tmp_path: Path) -> None:
    file = tmp_path / "pass"
    file.write_text(f"# ours\nelsewhere:*:*:*:wrong\n127.0.0.1:{local.port}:*:{ROLE}:{PASSWORD}\n")
    url = f"postgresql://{ROLE}@127.0.0.1:{local.port}/postgres?passfile={file}"
    file.chmod(0o644)
    with pytest.raises(SourceRefused, match="others may read passfile"):
        asked(url, "select 1")
    file.chmod(0o600)
    assert asked(url, "select 1") == [[1]]
    with pytest.raises(SourceRefused, match="asks for a password, and the connection URL has none"):
        asked(f"postgresql://{ROLE}@127.0.0.1:{local.port}/postgres", "select 1")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("service=x", "option service is not supported"),
        ("sslmode=verify_full", "sslmode has a value"),
        ("sslmode=", "sslmode has a value"),
        ("channel_binding=yes", "channel_binding"),
        ("gssencmode=require", "gssencmode"),
        ("sslcertmode=require", "sslcertmode"),
        ("replication=database", "option replication"),
        ("sslkeylogfile=/x", "option sslkeylogfile"),
        ("scram_client_key=x", "scram_client_key"),
        ("oauth_issuer=x", "oauth_issuer"),
        ("min_protocol_version=3.2", "min_protocol_version"),
        ("require_auth=password,!md5", "require_auth"),
        ("connect_timeout=soon", "connect_timeout"),
        ("sslnegotiation=direct", "sslnegotiation=direct"),
        ("sslrootcert=system&sslmode=require", "sslrootcert=system"),
        (
            "ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
            "ssl_min_protocol_version is above",
        ),
        ("schema=public", "There is no option schema"),
        ("sslsni=0&sslmode=verify-full", "sslsni=0"),
        ("hostaddr=a", "hostaddr"),
        ("target_session_attrs=writer", "target_session_attrs"),
        ("ssl_max_protocol_version=TLSv1", "ssl_max_protocol_version"),
        ("port=0", "A port"),
        ("port=1,2", "2 ports and 1 hosts"),
    ],
)
def test_an_option_that_cannot_be_held_is_refused_by_its_name(options: str, named: str) -> None:
    with pytest.raises(SourceRefused, match=named) as refused:
        Address.parse(f"postgresql://u:{PASSWORD}@h/d?{options}", "here")
    assert PASSWORD not in str(refused.value)


def test_channel_binding_is_held(secured: Postgres) -> None:
    assert spoken(secured, "in_tls", "sslmode=require&channel_binding=require")[0]
    assert spoken(secured, "in_tls", "sslmode=require&channel_binding=disable")[0]
    with pytest.raises(SourceRefused, match="channel_binding=require, and the server offers none"):
        spoken(secured, "in_clear", "sslmode=disable&channel_binding=require")
    for role, method in (("by_md5", "md5"), ("by_word", "password"), ("by_trust", "none")):
        with pytest.raises(SourceRefused, match=f"channel_binding=require, and the server asks for {method}"):
            spoken(secured, role, "sslmode=require&channel_binding=require")


@pytest.mark.parametrize(
    ("role", "method"),
    [("by_md5", "md5"), ("by_word", "password"), ("by_trust", "none"), ("in_tls", "scram-sha-256")],
)
def test_only_the_methods_that_require_auth_names_are_answered(
    secured: Postgres, role: str, method: str
) -> None:
    assert spoken(secured, role, f"require_auth={method}")[0]
    others = ",".join({"md5", "password", "none", "scram-sha-256"} - {method})
    assert spoken(secured, role, "require_auth=" + ",".join(f"!{m}" for m in others.split(",")))[0]
    for refusing in (f"!{method}", others):
        with pytest.raises(SourceRefused, match=f"asks for {method}, which require_auth does not allow"):
            spoken(secured, role, f"require_auth={refusing}")


def test_prefer_and_allow_take_the_other_way_where_the_server_does_not_admit_one(secured: Postgres) -> None:
    for mode in ("prefer", "allow"):
        assert spoken(secured, "in_tls", f"sslmode={mode}")[0]
        assert not spoken(secured, "in_clear", f"sslmode={mode}")[0]
    assert (
        spoken(secured, "by_md5", "sslmode=prefer")[0] and not spoken(secured, "by_md5", "sslmode=allow")[0]
    )
    with pytest.raises(SourceRefused, match="28000"):
        spoken(secured, "in_clear", "sslmode=require")
    with pytest.raises(SourceRefused, match="28000"):
        spoken(secured, "in_tls", "sslmode=disable")


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_versions_of_tls_are_limited(secured: Postgres, version: str) -> None:
    limits = f"sslmode=require&ssl_min_protocol_version={version}&ssl_max_protocol_version={version.lower()}"
    assert spoken(secured, "in_tls", limits) == (True, version)
    secured.sql(
        f"alter system set {'ssl_min' if version == 'TLSv1.2' else 'ssl_max'}_protocol_version = '{'TLSv1.3' if version == 'TLSv1.2' else 'TLSv1.2'}'"
    )
    secured.sql("select pg_reload_conf()")
    try:
        with pytest.raises(SourceError, match="no TLS with"):
            for _ in range(50):  # the reload takes a moment
                spoken(secured, "in_tls", limits)
    finally:
        secured.sql("alter system reset all")
        secured.sql("select pg_reload_conf()")


def test_tls_begins_at_once_where_it_is_negotiated_directly(secured: Postgres) -> None:
    if secured.major_version < 17:
        pytest.skip("PostgreSQL has direct TLS from 17 on")
    assert spoken(secured, "in_tls", "sslmode=require&sslnegotiation=direct")[0]


def test_the_name_of_the_host_is_verified_when_its_address_is_given(
    secured: Postgres, papers: Papers
) -> None:
    url = f"port={secured.port} dbname=postgres user=in_tls password={PASSWORD} sslmode=verify-full sslrootcert={papers.paths['ca']} hostaddr=127.0.0.1 host="
    assert asked(url + "127.0.0.1", "select 1") == [[1]]
    with pytest.raises(SourceUnreachable, match="no TLS with elsewhere"):
        asked(url + "elsewhere", "select 1")
