"""Drafts: what is stored of a batch that cannot be committed in parts, and where reading goes on.

A full read of an API says what is gone by what it does not hold, so it is one batch, however many pages it
has. So that a run that is cut short costs little, what it has is stored as it goes, beside a small file that
lists it. Nobody but the next run of the same source looks at that file: a batch happened only once its
manifest is there.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from groundwork.bucket import Bucket
from groundwork.errors import KeyMissing
from groundwork.manifest import Manifest, StoredRows, now

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
AGE = timedelta(days=1)
"""An older draft is not gone on with: its first pages and its last would be of different times."""


class Draft(BaseModel):
    """A batch that was begun."""

    model_config = ConfigDict(frozen=True)
    version: int = FORMAT_VERSION
    source: str
    batch_id: int
    after: str
    """``commit_id`` of the manifest it follows; "" for the first batch."""
    cursors: dict[str, Any]
    """Where reading goes on."""
    objects: list[StoredRows]
    events: list[dict[str, Any]]
    started_at: datetime
    run_id: str
    """The flow run that wrote it last."""


def draft_key(source: str) -> str:
    """Where a source's draft is, if there is one."""
    return f"{source}/draft.json"


def save(bucket: Bucket, draft: Draft) -> None:
    """Replace the source's draft; its objects are stored."""
    bucket.put(draft_key(draft.source), draft.model_dump_json(indent=1).encode())


def found(bucket: Bucket, source: str, newest: Manifest | None) -> Draft | None:
    """The draft to go on with after the newest manifest, whole and young enough; else None."""
    draft = _read(bucket, source)
    if draft is None or draft.after != (newest.commit_id if newest else ""):
        return None
    missing = [stored.key for stored in draft.objects if not bucket.exists(stored.key)]
    if missing or not timedelta() <= now() - draft.started_at < AGE:
        log.info(
            "draft is not gone on with source=%s missing=%d begun=%s", source, len(missing), draft.started_at
        )
        return None
    return draft


def discard(bucket: Bucket, source: str) -> None:
    """Forget the draft; its objects are leftovers, see `groundwork.keep.sweeping`."""
    bucket.delete(draft_key(source))


def purge(bucket: Bucket, source: str) -> None:
    """Remove the draft with all it holds: it may hold what is to be erased."""
    draft = _read(bucket, source)
    bucket.purge(draft_key(source))  # first: whoever is still writing it looks for it before it commits
    for stored in draft.objects if draft else ():
        bucket.purge(stored.key)


def _read(bucket: Bucket, source: str) -> Draft | None:
    try:
        draft = Draft.model_validate_json(bucket.get(draft_key(source)))
    except (KeyMissing, ValidationError):
        return None
    return draft if draft.version <= FORMAT_VERSION else None
