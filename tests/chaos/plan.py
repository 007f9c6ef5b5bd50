"""What a run of the proof is asked to do. Everything that is left to chance follows from the seed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plan:
    """How often to strike, and for how long."""

    seed: int
    kills: int = 60
    """Processes to kill with SIGKILL: three of five extract, two load."""
    restarts: int = 6
    """Of PostgreSQL: fast, immediate, and killed."""
    cuts: int = 6
    """Of the network, on one of its three links."""
    faults: int = 6
    """Of the S3 server."""
    seconds: float = 180.0
    """Over how long the strikes are spread."""
    patience: float = 120.0
    """How much longer it may take until each has struck."""
    rate: int = 1300
    """Rows to change per second while the server is up."""
    dbt: bool = True
    """Whether to build base models at the end and hold them against the source too."""
    preludes: dict[str, str] = field(default_factory=dict)
    """``extract`` or ``load`` → Python that breaks a rule in each of its children: to see it caught."""
    again: str = ""
    """The command that asks for this plan."""
