"""The catalog's words for reaching a PostgreSQL; `groundwork.catalog` has those for what is read there."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from groundwork.settings import Named
from groundwork.sizes import Size


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SlotLag(_Entry):
    """How much log a server may keep for us; see `groundwork.sources.retention`."""

    alert: Size = 5 << 30
    """From here on `watch` calls for help."""
    drop: Size | None = None
    """From here on the slot is dropped, and the tables are copied again by the next run. None: never."""

    @model_validator(mode="after")
    def _alert_comes_first(self) -> SlotLag:
        if self.drop is not None and self.drop <= self.alert:
            raise ValueError("drop: must be more than 'alert', so that somebody hears of it before")
        return self


class PostgresConnection(_Entry):
    """How to reach a PostgreSQL: a named URL, and what was prepared there."""

    url: Named
    publication: str = "groundwork"
    slot: str = Field("", pattern="^[a-z0-9_]{0,63}$")
    """Name of the replication slot, derived from source and bucket when empty; another ends in ``_b``."""
    slot_lag: SlotLag = SlotLag()
    snapshot_connections: int = Field(1, ge=1, le=16)
    """Connections over which a large table is copied at once. More than one pays only where processors are
    idle: each loads one of the server's, and a second costs us a quarter more of our own."""
    failover: bool = False
    """Let standbys keep a copy of the slot, to go on after a failover (PostgreSQL 17 and later)."""
    upgraded_from: str = ""
    """The cluster's system identifier before a pg_upgrade that kept the slot; the error after it names it."""
