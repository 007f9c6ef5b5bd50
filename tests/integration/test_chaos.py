"""The proof, three minutes of it; `make chaos` runs as much of it as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.plan import Plan
from tests.chaos.report import summary
from tests.chaos.world import prove

PLAN = Plan(
    seed=20261122, kills=24, restarts=3, cuts=4, faults=5, seconds=95.0, patience=25.0, rate=1300,
    again="make chaos KILLS=24 RESTARTS=3 CUTS=4 FAULTS=5 SEED=20261122",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_is_killed_restarted_or_cut_off_nothing_is_lost_and_nothing_doubled(tmp_path: Path) -> None:
    print(f"seed {PLAN.seed}")
    proof = prove(PLAN, tmp_path)
    print(summary(proof))
    assert (proof.verdict.lost, proof.verdict.duplicate) == (0, 0), summary(proof)
    assert proof.holds, summary(proof)
    # On a busy machine fewer runs fit in, and fewer of them can be killed: but each kind must have struck.
    assert proof.killed >= PLAN.kills / 3
    assert proof.struck.restarts and proof.struck.cuts and proof.struck.faults
    assert proof.per_second >= 1000
