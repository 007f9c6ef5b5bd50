"""Ten million rows in one transaction: `make test-large`, because it takes minutes and gigabytes of disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from tests.capture import Capture, Database, process

ROWS = 10_000_000
MEGABYTES = 1_000

pytestmark = [
    pytest.mark.skipif("GROUNDWORK_TEST_LARGE" not in os.environ, reason="`make test-large` runs it"),
    pytest.mark.timeout(3600),
]


def test_a_transaction_of_ten_million_rows_needs_less_than_a_gigabyte(
    database: Database, capture: Callable[..., Capture]
) -> None:
    database.sql("create table big (id bigint primary key, a text, b numeric, at timestamptz)")
    database.publish("big")
    source = capture(big=("public.big", ["id"]))
    source.extract()
    began = time.monotonic()
    with database.connection() as connection:
        connection.run(
            f"insert into big select i, md5(i::text), i * 1.5, now() from generate_series(1, {ROWS}) i"
        )
    written = time.monotonic()
    done = process(source, "", "extract", timeout=3000)
    assert done.returncode == 0, done.stderr
    used = int(done.stdout.strip())
    print(
        f"rows={ROWS} written_seconds={written - began:.0f} read_seconds={time.monotonic() - written:.0f}"
        f" peak={used} MB of {MEGABYTES}"
    )
    assert used < MEGABYTES
    last = source.manifests[-1]
    assert last.operations == {"insert": ROWS}
    assert len(source.manifests) == 2  # the snapshot, and the transaction as a whole
