# ruff: noqa: E501 (statements and messages read better in one line)
"""Everything that can be wrong is one clear error within seconds, without a secret, and nothing half-written."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from demo.s3 import S3Server
from demo.service import free_port
from groundwork.bucket import Bucket
from groundwork.bucket.s3 import S3Bucket, s3_client
from groundwork.errors import (
    BucketError,
    GroundworkError,
    SourceError,
    SourceRefused,
    SourceUnreachable,
    StreamsQuarantined,
)
from groundwork.manifest import manifest_key
from groundwork.sources import copytext, incoming, pgoutput, wire
from tests.capture import PASSWORD, ROLE, Capture, Database, process
from tests.conditions import until

Captures = Callable[..., Capture]
SECRET = "falsch-9c1e"


@pytest.fixture
def items(database: Database, capture: Captures) -> Capture:
    database.sql(
        "create table items (id bigint primary key, t text); insert into items select i, 'item' from generate_series(1, 100) i"
    )
    database.publish("items")
    return capture(items=("public.items", ["id"]))


@contextmanager
def told(kind: type[GroundworkError], message: str, source: Capture, seconds: float = 15) -> Iterator[None]:
    """One error, in time, without secrets anywhere in the traceback, and without a new manifest."""
    before, began = len(source.manifests), time.monotonic()
    with pytest.raises(kind, match=message) as caught:
        yield
    assert time.monotonic() - began < seconds
    whole = "".join(traceback.format_exception(caught.value))
    for secret in (PASSWORD, SECRET, source.database.server.password):
        assert secret not in whole
    assert len(source.manifests) == before


def test_a_wrong_password(items: Capture) -> None:
    items.url = items.database.url(password=SECRET)
    with told(
        SourceRefused,
        "source 'shop': PostgreSQL says: password authentication failed.*Check the user and password",
        items,
    ):
        items.run()


def test_an_unknown_user_and_database(items: Capture) -> None:
    items.url = items.database.url(user="nobody", password=SECRET)
    with told(SourceRefused, "password authentication failed for user .nobody.", items):
        items.run()
    items.url = (
        items.url.replace("nobody", ROLE).replace(SECRET, PASSWORD).replace(items.database.name, "no_such")
    )
    with told(SourceRefused, "database .no_such. does not exist.*Check the database's name", items):
        items.run()


@pytest.mark.parametrize(
    "url",
    [
        *("", "not a url", f"mysql://u:{SECRET}@h/d", f"postgresql://u:{SECRET}@h:port/d"),
        *(f"postgresql://u:{SECRET}@h/d?sslmod=require", f"postgresql://:{SECRET}@h/d"),
    ],
)
def test_a_url_that_is_none(items: Capture, url: str) -> None:
    items.url = url
    with told(SourceRefused, "the connection URL is not understood", items):
        items.run()


def test_a_server_that_is_not_there(items: Capture) -> None:
    items.url = f"postgresql://u:{SECRET}@127.0.0.1:{free_port()}/d"
    with told(
        SourceUnreachable,
        r"no connection to 127.0.0.1:\d+. Connection refused. Check that the server runs",
        items,
    ):
        items.run()


def test_a_server_that_is_something_else(items: Capture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            for _ in range(2):
                taken, _address = other.accept()
                taken.recv(100)
                taken.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                taken.close()

        threading.Thread(target=answer, daemon=True).start()
        items.url = f"postgresql://u:{SECRET}@127.0.0.1:{other.getsockname()[1]}/d"
        with told(SourceError, "the connection broke|no TLS|no connection", items):
            items.run()


def test_tls_that_the_server_does_not_offer(items: Capture) -> None:
    items.url += "?sslmode=verify-full"
    with told(SourceRefused, "the server offers no TLS, and sslmode=verify-full asks for it", items):
        items.run()


def test_a_missing_publication(items: Capture) -> None:
    items.database.sql("drop publication groundwork")
    with told(
        SourceRefused,
        "there is no publication 'groundwork'.*Run the statements that `python -m groundwork doctor --sql` prints",
        items,
    ):
        items.run()


def test_a_table_that_is_not_published_with_a_guess(items: Capture) -> None:
    items.streams = {"items": ("public.item", ["id"])}
    with told(
        SourceRefused,
        r"streams.items.table: 'public.item' is not in publication 'groundwork'. There is no such table. Did you mean 'public.items'\?$",
        items,
    ):
        items.run()
    items.streams = {"xyz": ("elsewhere.entirely", ["id"])}
    with told(SourceRefused, "There is no such table. Correct its name in the catalog", items):
        items.run()


def test_a_column_that_is_not_there_with_a_guess(items: Capture) -> None:
    items.streams = {"items": ("public.items", ["ids"])}
    with told(
        GroundworkError,
        r"shop.streams.items.columns.ids: is not a published column of public.items. Did you mean 'id'\?",
        items,
    ):
        items.run()


def test_a_role_without_replication(items: Capture) -> None:
    items.database.server.sql(f"create role reader_{items.database.name} login password '{PASSWORD}'")
    items.database.sql(f"grant select on items to reader_{items.database.name}")
    items.url = items.database.url(user=f"reader_{items.database.name}")
    try:
        with told(SourceRefused, "permission denied.*WAL sender|must be.*replication", items):
            items.run()
    finally:
        items.database.sql(
            f"drop owned by reader_{items.database.name}; drop role reader_{items.database.name}"
        )


def test_the_least_privileges_are_enough(items: Capture) -> None:
    role = f"least_{items.database.name}"
    items.database.sql(
        f"create role {role} login replication password '{PASSWORD}';"
        f"revoke all on database {items.database.name} from public; grant connect on database {items.database.name} to {role};"
        f"revoke all on schema public from public; grant usage on schema public to {role}; grant select on items to {role}"
    )
    items.url = items.database.url(user=role)
    try:
        items.run()
        items.database.sql("delete from items where id = 1")
        items.run()
        items.assert_equal_to_the_source()
    finally:
        items.database.sql(f"drop owned by {role}; drop role {role}")


def test_a_role_without_select(items: Capture) -> None:
    items.database.sql(f"revoke select on items from {ROLE}")
    with told(SourceRefused, "permission denied for table items.*(Grant the right|doctor)", items):
        items.run()


def test_row_level_security_is_never_a_filter_in_silence(items: Capture) -> None:
    items.database.sql("alter table items enable row level security; create policy p on items using (id < 5)")
    with told(SourceRefused, "row-level security policy for table .items.", items):
        items.run()


@pytest.mark.parametrize("when", ["copy", "log"])
def test_a_connection_that_is_cut_in_the_middle(
    items: Capture, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    if when == "log":
        items.run()
    items.database.sql("insert into items select i, repeat('x', 100) from generate_series(1000, 60000) i")
    monkeypatch.setattr(incoming, "CHUNK", 1 << 16)
    owner, name = {"copy": (copytext, "decode"), "log": (pgoutput.Decoder, "decode")}[when]
    original, seen = getattr(owner, name), []

    def cutting(*arguments: Any, **options: Any) -> Any:
        seen.append(1)
        if len(seen) == 3:
            items.database.server.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = :r and datname = :d",
                r=ROLE,
                d=items.database.name,
            )
        return original(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, cutting)
        with told(SourceUnreachable, "(the connection broke|terminating connection).*Run again", items, 30):
            items.run()
    items.run()
    items.assert_equal_to_the_source()


def test_a_server_that_says_no_more_replication_slots(items: Capture) -> None:
    server = items.database.server
    made = [f"full_{number}" for number in range(20)]
    try:
        for name in made:
            try:
                server.sql(f"select pg_create_physical_replication_slot('{name}')")
            except Exception:
                break
        with told(SourceRefused, "all replication slots are in use.*Raise max_replication_slots", items):
            items.run()
    finally:
        server.sql(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name like 'full\\_%'"
        )


@pytest.mark.parametrize("place", ["scratch", "bucket"])
def test_a_full_disk(items: Capture, tmp_path: Path, place: str) -> None:
    items.run()
    items.database.sql(
        "insert into items select i, md5(i::text) || md5((i + 1)::text) from generate_series(1000, 60000) i"
    )
    before = len(items.manifests)
    # Files may grow to 200 kB: in the scratch directory's file first, or (as it is removed then) in the bucket's.
    prelude = "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    if place == "bucket":
        prelude = """
            original = local.os.fsync
            def full(handle): raise OSError(28, "No space left on device")
            local.os.fsync = full
        """
    done = process(items, prelude, "extract")
    assert done.returncode == 3, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert {
        "scratch": "a temporary file cannot be written (File too large)",
        "bucket": "the directory refused (No space left on device)",
    }[place] in last
    assert "Exception ignored" not in done.stderr
    assert len(items.manifests) == before
    items.run()
    items.assert_equal_to_the_source()


def test_a_scratch_directory_that_is_not_there(
    items: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with told(GroundworkError, "a temporary file cannot be written.*TMPDIR", items):
        items.run()


def readable(bucket: Bucket) -> bool:
    """Whether the manifest can be read: a server that was just started answers before it can."""
    try:
        return bool(bucket.get(manifest_key("shop", 1)))
    except BucketError:
        return False


def test_a_bucket_that_goes_away_in_the_middle(
    items: Capture, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with S3Server(tmp_path_factory.mktemp("s3"), bucket="lake") as server:
        client = s3_client(
            endpoint_url=server.endpoint_url, aws_access_key_id=server.access_key_id,
            aws_secret_access_key=server.secret_access_key, region_name="us-east-1",
        )  # fmt: skip
        items.bucket = S3Bucket("lake", "", client)
        items.run()
        items.assert_equal_to_the_source()
        items.database.sql("delete from items where id < 10")
        original = items.bucket.put

        def going(key: str, body: bytes | Path) -> None:
            server.stop()
            original(key, body)

        items.bucket.put = going  # type: ignore[method-assign]
        with pytest.raises(BucketError, match="the S3 server cannot be reached"):
            items.run()
        del items.bucket.put
        server.start()
        until(lambda: readable(items.bucket), seconds=60, what="the server finds its volumes again")
        items.run()
        items.assert_equal_to_the_source()


def test_a_damaged_object_leaves_its_stream_out_until_it_is_restored(items: Capture) -> None:
    items.extract()
    items.database.sql("delete from items where id = 1")
    items.extract()
    items.database.sql("delete from items where id = 2")
    items.extract()
    stored = items.manifests[1].objects[0]
    body = items.bucket.get(stored.key)
    for damage, message in (
        (body[:-1] + bytes([body[-1] ^ 1]), "has other content than its manifest says"),
        (body[:-1], r"has \d+ bytes, its manifest says \d+"),
    ):
        items.bucket.put(stored.key, damage)
        with pytest.raises(StreamsQuarantined, match=f"ObjectDamaged: .*{message}"):
            items.load()
        with items.warehouse() as warehouse:
            assert warehouse.loaded("shop") == 3
            assert warehouse.query("select distinct _batch_id from landing.shop__items") == [("0000000001",)]
    items.bucket.delete(stored.key)
    with pytest.raises(StreamsQuarantined, match="is missing, though manifest 0000000002 of shop lists it"):
        items.load()
    items.bucket.put(stored.key, body)
    items.load()
    items.assert_equal_to_the_source()


def test_a_silent_reader_gives_signs_of_life(items: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server cuts readers off that it has not heard of for `wal_sender_timeout`."""
    items.run()
    items.database.sql("insert into items select i, repeat('x', 100) from generate_series(1000, 40000) i")
    monkeypatch.setitem(wire.PINNED, "wal_sender_timeout", "2s")
    monkeypatch.setattr(wire, "_SIGN_OF_LIFE_SECONDS", 0.2)
    monkeypatch.setattr(incoming, "CHUNK", 1 << 18)
    original = pgoutput.Decoder.decode

    def slow(*arguments: Any) -> Any:
        time.sleep(0.25)  # not for luck: this reader is slow
        return original(*arguments)

    monkeypatch.setattr(pgoutput.Decoder, "decode", slow)
    began = time.monotonic()
    items.run()
    assert time.monotonic() - began > 4
    items.assert_equal_to_the_source()
