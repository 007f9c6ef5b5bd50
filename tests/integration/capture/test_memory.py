"""Memory does not grow with what there is to read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.capture import Capture, Database, process

MEGABYTES = 600
Captures = Callable[..., Capture]


def peak(source: Capture) -> int:
    """Megabytes that an extract in a process of its own needed at most."""
    done = process(source, "", "extract")
    assert done.returncode == 0, done.stderr
    return int(done.stdout.strip())


@pytest.mark.slow
def test_a_snapshot_of_two_million_rows(database: Database, capture: Captures) -> None:
    database.sql(
        "create table big (id bigint primary key, a text, b numeric, at timestamptz);"
        "insert into big select i, md5(i::text), i * 1.5, now() from generate_series(1, 2000000) i"
    )
    database.publish("big")
    source = capture(big=("public.big", ["id"]))
    used = peak(source)
    print(f"{used} MB of {MEGABYTES}")
    assert used < MEGABYTES
    assert source.manifests[-1].operations == {"truncate": 1, "snapshot": 2_000_000}


@pytest.mark.slow
def test_a_transaction_of_three_hundred_thousand_rows(database: Database, capture: Captures) -> None:
    database.sql("create table big (id bigint primary key, a text, b numeric, at timestamptz)")
    database.publish("big")
    source = capture(big=("public.big", ["id"]))
    source.extract()
    database.sql(
        "insert into big select i, repeat(md5(i::text), 6), i * 1.5, now() from generate_series(1, 300000) i;"
        "update big set b = -b where id % 3 = 0"
    )
    used = peak(source)
    print(f"{used} MB of {MEGABYTES}")
    assert used < MEGABYTES
    assert source.manifests[-1].operations == {"insert": 300_000, "update": 100_000}
