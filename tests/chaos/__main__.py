"""``make chaos KILLS=500 RESTARTS=50 CUTS=50 FAULTS=50 SEED=…``: the proof, and its report."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
from pathlib import Path

from tests.chaos.plan import Plan
from tests.chaos.report import markdown, summary
from tests.chaos.world import own_directory, prove
from tests.proofs import report


def main() -> int:
    """0 when nothing is lost, doubled or otherwise wrong, and all that was planned has struck."""
    asked = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    for name, usual in (("kills", 60), ("restarts", 6), ("cuts", 6), ("faults", 6), ("rate", 1300)):
        asked.add_argument(f"--{name}", type=int, default=usual)
    asked.add_argument("--seed", type=int, default=None, help="printed; drawn when not given")
    asked.add_argument("--seconds", type=float, default=None, help="over how long the strikes are spread")
    asked.add_argument("--report", type=Path, default=None)
    asked.add_argument("--publish", action="store_true", help="write docs/proofs/chaos.md")
    given = asked.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    # A run between two kills takes a second or two; a restart about as long.
    seconds = given.seconds or max(
        60.0, 2.2 * given.kills + 2.5 * (given.restarts + given.cuts + given.faults)
    )
    strikes = f"KILLS={given.kills} RESTARTS={given.restarts} CUTS={given.cuts} FAULTS={given.faults}"
    plan = Plan(
        seed, given.kills, given.restarts, given.cuts, given.faults, seconds, patience=max(60.0, seconds / 4),
        rate=given.rate, again=f"make chaos {strikes} SEED={seed}",
    )  # fmt: skip
    # Asked to end, it ends like after Ctrl-C: with all its processes, and its directory.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"seed {seed}: {strikes} over {seconds:.0f} seconds", flush=True)
    with own_directory() as directory:
        proof = prove(plan, directory, lambda line: print(line, flush=True))
    print(summary(proof))
    file = given.report or report("chaos", publish=given.publish)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(markdown(proof), encoding="utf-8")
    print(f"report: {file}")
    return 0 if proof.holds and proof.complete else 1


if __name__ == "__main__":
    sys.exit(main())
