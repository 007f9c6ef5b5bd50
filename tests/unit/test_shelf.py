"""Between the threads that read and the one that takes: bounded, and over when one of them is."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest

from groundwork.sources.copying import Shelf

ROWS = pa.table({"a": ["x" * 1000]})


def test_no_more_waits_than_the_limit_and_all_of_it_comes() -> None:
    shelf, seen = Shelf([str(n) for n in range(50)], 3 * ROWS.nbytes, 2), []
    put = threading.Semaphore(0)

    def work() -> None:
        while shelf.next_piece() is not None:
            assert shelf.put(ROWS)
            put.release()
        shelf.leave()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert all(put.acquire(timeout=10) for _ in range(3))
    assert not put.acquire(timeout=0.1)  # the fourth must wait
    while (rows := shelf.take()) is not None:
        seen.append(rows)
    for thread in threads:
        thread.join(60)
    assert len(seen) == 50


def test_one_thing_larger_than_the_limit_is_let_through() -> None:
    shelf = Shelf([], 1, 1)
    assert shelf.put(ROWS)
    assert shelf.take() is ROWS


def test_the_first_failure_is_told_at_once_and_ends_the_others() -> None:
    shelf = Shelf(["a", "b"], 1, 2)
    assert shelf.put(ROWS)
    blocked = threading.Thread(target=lambda: shelf.put(ROWS))
    blocked.start()
    shelf.fail(ValueError("first"))
    shelf.fail(ValueError("second"))
    blocked.join(timeout=10)
    assert not blocked.is_alive()
    assert shelf.next_piece() is None
    with pytest.raises(ValueError, match="first"):
        shelf.take()


def test_nobody_waits_for_a_taker_who_has_gone() -> None:
    shelf = Shelf(["a"], 1, 1)
    assert shelf.put(ROWS)
    shelf.close()
    assert not shelf.put(ROWS)
    assert shelf.next_piece() is None
