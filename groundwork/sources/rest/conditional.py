"""Asking only for what changed (RFC 9110 §13): an answer's ETag and Last-Modified, sent when we ask again.

They stand in the stream's state, so they are remembered only with the rows they stand for. Only streams of
one page use them: that page 1 is what it was says nothing of page 2.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from groundwork.sources.rest.auth import fits_header
from groundwork.sources.rest.transport import Answer, Request

STRONG_AFTER = timedelta(seconds=60)
"""Last-Modified has whole seconds: something may change again in the same one (RFC 9110 §8.8.2.2)."""


@dataclass(frozen=True)
class Validators:
    """What tells the API which answer we have."""

    request: str = ""
    """Digest of the request that was answered; they are worth nothing for another."""
    etag: str = ""
    last_modified: str = ""

    @classmethod
    def kept(cls, state: Mapping[str, Any]) -> Validators:
        """Those of a stream's state."""
        kept = state.get("validators") or {}
        sound = all(isinstance(text, str) and fits_header(text) for text in kept.values())
        return cls(**kept) if kept and sound else NONE

    @classmethod
    def of(cls, request: Request, answer: Answer, entry: bytes) -> Validators:
        """Those of an answer, as the stream's entry in the catalog made us ask and read it."""
        etag, last_modified = answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")
        if not _strong(last_modified, answer):
            last_modified = ""
        return cls(_digest(request, entry), etag, last_modified) if etag or last_modified else NONE

    @property
    def state(self) -> dict[str, Any]:
        """What to keep in the stream's state; nothing if there is nothing."""
        return {"validators": dataclasses.asdict(self)} if self.request else {}

    def asking(self, request: Request, entry: bytes) -> Request:
        """The request, made conditional if it is the one that we know an answer to."""
        if not self.request or self.request != _digest(request, entry):
            return request
        headers = dict(request.headers)
        if self.etag:
            headers["If-None-Match"] = self.etag
        if self.last_modified:
            headers["If-Modified-Since"] = self.last_modified
        return dataclasses.replace(request, headers=headers)


NONE = Validators()


def _digest(request: Request, entry: bytes) -> str:
    """What was asked and how it is read, without what says how we are known or what we have."""
    asked = msgspec.json.encode([request.method, str(request.url), request.body, entry])
    return hashlib.sha256(asked).hexdigest()[:32]


def _strong(last_modified: str, answer: Answer) -> bool:
    """Whether a change after this answer would have a later time."""
    try:
        changed = parsedate_to_datetime(last_modified)
        said = answer.headers.get("Date", "")
        return parsedate_to_datetime(said) - changed >= STRONG_AFTER
    except (ValueError, TypeError):  # no date, or one with a zone and one without
        return False
