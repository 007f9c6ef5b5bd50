"""Deletions that an API lists at an endpoint of their own: tombstones in the stream that they are of.

They are read before the stream itself. A record that was deleted and made anew since the last run stands in
both, and must end up alive; one that is deleted while we read is in the next run's list.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from groundwork.catalog import RestStream
from groundwork.catalog.rest import RestEndpoint
from groundwork.sources import Rows, Undo
from groundwork.sources.rest.pull import Moved
from groundwork.sources.rest.resume import State

_KEY = "deletions"
"""Where the cursors of the deletions stand in those of the stream."""


def deletions_stream(stream: RestStream) -> RestStream:
    """The endpoint of the deletions, as a stream."""
    assert stream.deletions is not None
    asked = {name: getattr(stream.deletions, name) for name in RestEndpoint.model_fields}
    return stream.model_copy(update={**asked, _KEY: None})


def with_deletions(
    state: Mapping[str, Any],
    deletions: Callable[[State], Iterator[Rows | Moved | Undo]],
    records: Callable[[State], Iterator[Rows | Moved | Undo]],
) -> Iterator[Rows | Moved | Undo]:
    """What is gone, then what is there; the state of each beside the other's."""
    own = {key: value for key, value in state.items() if key != _KEY}
    gone: State = state.get(_KEY) or {}
    for item in deletions(gone):
        if isinstance(item, Moved):
            gone = item.state
            item = dataclasses.replace(item, state={**own, _KEY: gone})
        yield item
    for item in records(own):
        if isinstance(item, Moved):
            item = dataclasses.replace(item, state={**item.state, _KEY: gone})
        yield item
