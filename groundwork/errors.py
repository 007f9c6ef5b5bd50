"""Every error a person can meet, as one tree.

    GroundworkError
    ├── CatalogError            the catalog is wrong, or disagrees with what it describes
    ├── SettingMissing          a named secret, variable or setting has no value
    ├── ParameterRefused        a run parameter has a value that is not allowed
    ├── BucketError             the bucket cannot be reached or refuses
    │   ├── KeyMissing          an object that must be there is not
    │   ├── KeyTaken            put-if-absent found the key taken
    │   ├── KeyChanged          another run replaced it first
    │   ├── ManifestConflict    another run committed the same batch first
    │   └── RewriteUnderWay     an erasure or compaction of the source is not finished
    ├── ObjectDamaged           an object is not what its manifest says
    ├── LedgerDisagrees         a warehouse's ledger and the bucket tell different stories
    ├── WrongPlace              bucket, warehouse and settings do not belong together
    ├── SourceError             a source cannot be read
    │   ├── SourceUnreachable   no connection, or it broke
    │   ├── SourceRefused       wrong credentials or missing rights
    │   ├── SourceBusy          another run reads this source now
    │   ├── SourceLocked        another session of the source holds what we wait for, for too long
    │   ├── SlotLost            the replication slot cannot give what comes next
    │   ├── StreamsQuarantined  some streams cannot be read or loaded and are left out; all others are in
    │   ├── UpdatesRefused      a publication makes the application's own UPDATE or DELETE fail
    │   ├── ChangesUnmatched    deletes or updates met no live row in landing; all was loaded
    │   ├── ProtocolError       bytes that are not what the protocol allows
    │   └── AnswerUnusable      an API answered something that is not data
    ├── PromiseBroken           what people read would change without notice
    └── WarehouseError          the warehouse cannot be opened, or refused a statement
        ├── WarehouseBusy       the turn to write did not come in time
        ├── LackOfMemory        a load needs more memory than it may use
        └── WarehouseUnusable   its disk is full, its file is damaged, or its connection is gone

A message says where, what, why and what to do, in that order, and holds no row values and no secrets:
names, counts, sizes and positions only. Causes are chained (``raise … from``), never pasted in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from groundwork.escaping import one_line


class GroundworkError(Exception):
    """Base of all errors that Groundwork raises on purpose."""

    table: str = ""
    """The one table (``schema.table``) or stream it is about, so that others need not suffer; see `about`."""

    def __init__(self, where: str, what: str, *, why: str = "", fix: str = "") -> None:
        """Compose the message; it is one line, whatever the names in it hold.

        Args:
            where: file, source, stream, object or position the error is about.
            what: what is wrong, in one clause.
            why: what it follows from, if that is not obvious.
            fix: what a person can do now.
        """
        self.where, self.what, self.why, self.fix = where, what, why, fix
        tail = "".join(f" {_sentence(part)}" for part in (why, fix) if part)
        super().__init__(one_line(f"{where}: {what}." + tail if tail else f"{where}: {what}"))

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling (Prefect carries exceptions between processes)."""
        return (_rebuild, (type(self), self.where, self.what, self.why, self.fix))


def _sentence(part: str) -> str:
    text = part[0].upper() + part[1:].rstrip(".")
    return text if text.endswith("?") else f"{text}."


def _rebuild(kind: type[GroundworkError], where: str, what: str, why: str, fix: str) -> GroundworkError:
    return kind(where, what, why=why, fix=fix)


@contextmanager
def about(table: str) -> Iterator[None]:
    """Errors from here are about one table or stream, unless they say so of another themselves."""
    try:
        yield
    except GroundworkError as error:
        error.table = error.table or table
        raise


class CatalogError(GroundworkError):
    """The catalog is wrong, or disagrees with what it describes."""


class SettingMissing(GroundworkError):
    """A named secret, variable or setting has no value."""


class ParameterRefused(GroundworkError):
    """A run parameter has a value that is not allowed."""


class BucketError(GroundworkError):
    """The bucket cannot be reached or refuses."""


class KeyMissing(BucketError):
    """An object that must be there is not."""


class KeyTaken(BucketError):
    """Put-if-absent found the key taken."""


class KeyChanged(BucketError):
    """A replacement found other bytes than those it was made from."""


class ManifestConflict(BucketError):
    """Another run committed the same batch first; nothing of ours is read by anyone."""


class RewriteUnderWay(BucketError):
    """Another erasure or compaction of the source is not finished; two cannot be under way at once."""


class ObjectDamaged(GroundworkError):
    """An object is not what its manifest says (size or sha256 differ)."""


class LedgerDisagrees(GroundworkError):
    """A warehouse's ledger knows batches that the bucket does not have, or others."""


class WrongPlace(GroundworkError):
    """Bucket, warehouse and settings do not belong together, or the bucket is empty. Nothing was changed."""


class SourceError(GroundworkError):
    """A source cannot be read."""


class SourceUnreachable(SourceError):
    """No connection, or the connection broke. Safe to try again."""


class SourceRefused(SourceError):
    """Wrong credentials or missing rights. Trying again changes nothing."""


class SourceBusy(SourceError):
    """Another run reads this source now."""


class SourceLocked(SourceError):
    """Another session of the source holds a lock or a transaction that we wait for, for too long."""


class SlotLost(SourceError):
    """The replication slot cannot give what comes next; reading on would lose changes."""


class StreamsQuarantined(SourceError):
    """Some streams cannot be read or loaded and are left out until they can be; all others are in."""


class UpdatesRefused(SourceError):
    """PostgreSQL refuses an UPDATE or DELETE of the application, because of a publication. All was read."""


class ChangesUnmatched(SourceError):
    """Deletes or updates met no live row in landing: it and the source differ. All was loaded."""


class ProtocolError(SourceError):
    """Bytes that are not what the protocol allows; the message names the position."""


class AnswerUnusable(SourceError):
    """An API answered something that is not the data it was asked for."""


class PromiseBroken(GroundworkError):
    """What people read would be altered or gone, and nobody was told in time."""


class WarehouseError(GroundworkError):
    """The warehouse cannot be opened, or refused a statement."""


class WarehouseBusy(WarehouseError):
    """The turn to write to the embedded warehouse did not come in the time that was given."""


class WarehouseUnusable(WarehouseError):
    """Nothing can be written to the warehouse at all; no single stream is the reason."""


class LackOfMemory(WarehouseError):
    """A load needs more memory than it may use."""
