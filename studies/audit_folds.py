"""Audits by networks that have never been shown the masks they judge, beside the run's own network.

    .venv/bin/python studies/audit_folds.py /tmp/small/benchmarks/left-atrium-directions --noise over-0.4 \
        --seed 0 --folds 3 --out /tmp/folds

Audits the finished run GRID/runs/left-atrium/NOISE/calibrated/seed-N twice by the program's own command: as it is, and
with `--folds`. Whole volumes are dealt to the folds, so each fold trains on fewer. What lies in --out is taken from
there, stopped trainings go on. Writes results/audit-folds.json.
"""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from audit_loop import metadcseg, of_a_run, run_of

from metadcseg.audit.records import LEVELS

RESULTS = Path(__file__).resolve().parents[1] / "results" / "audit-folds.json"


def audited(run: Path, out: Path, *more: object) -> dict[str, Any]:
    """Audit a run, and return what its scores say."""
    metadcseg("audit", run, "--out", out, *more)
    told = json.loads((out / "audit.json").read_text())
    found = told["detection"]
    return {
        "asked": told["network"],
        "auroc": found["auroc"],
        "average_precision": found["average_precision"],
        "disagreement": found["baselines"]["disagreement"]["auroc"],
        "network_weight": told["calibration"]["network_weight"],
        "given": told["given"]["dsc"]["mean"],
        **{level: told["corrected"]["dsc"]["levels"][level] for level in map(str, LEVELS)},
    }


def main() -> None:
    """Audit twice, and note both."""
    parser = of_a_run(__doc__)
    parser.add_argument("--folds", type=int, default=3)
    asked = parser.parse_args()
    run = run_of(asked)
    out = asked.out / asked.set / asked.noise / f"seed-{asked.seed}"
    told = {"set": asked.set, "noise": asked.noise, "seed": asked.seed, "folds": asked.folds}
    row = told | {
        "command": shlex.join(["studies/audit_folds.py", *sys.argv[1:]]),
        "own": audited(run, out / "own"),
        "out_of_fold": audited(run, out / f"folds-{asked.folds}", "--folds", asked.folds),
    }
    held = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else []
    held = [each for each in held if not told.items() <= each.items()]
    held = sorted([*held, row], key=lambda each: (each["set"], each["noise"], each["seed"]))
    RESULTS.write_text(json.dumps({"runs": held}, indent=1) + "\n")


if __name__ == "__main__":
    main()
