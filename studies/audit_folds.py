"""Audits by networks that have never been shown the masks they judge, beside the run's own network.

    .venv/bin/python studies/audit_folds.py /tmp/small/benchmarks/left-atrium-directions --noise over-0.4 \
        --seed 0 --folds 3 --out /tmp/folds

Audits the finished run GRID/runs/left-atrium/NOISE/calibrated/seed-N twice by the program's own command: as it is, and
with `--folds`. Whole volumes are dealt to the folds, so each fold trains on fewer. What lies in --out is taken from
there, stopped trainings go on. Writes results/audit-folds.json.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from metadcseg.audit.records import LEVELS

RESULTS = Path(__file__).resolve().parents[1] / "results" / "audit-folds.json"


def audited(run: Path, out: Path, *more: object) -> dict[str, Any]:
    """Audit a run, and return what its scores say."""
    command = [sys.executable, "-m", "metadcseg", "audit", run, "--out", out, *more]
    print("$", shlex.join(map(str, command[2:])), flush=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(list(map(str, command)), check=True, env=environment)
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grid", type=Path, help="folder that holds runs/")
    parser.add_argument("--noise", required=True, help="as in runs/SET/NOISE")
    parser.add_argument("--set", default="left-atrium", help="as in runs/SET")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True, help="takes audits and the networks of folds")
    asked = parser.parse_args()
    run = asked.grid / "runs" / asked.set / asked.noise / "calibrated" / f"seed-{asked.seed}"
    out = asked.out / asked.set / asked.noise / f"seed-{asked.seed}"
    told = {"set": asked.set, "noise": asked.noise, "seed": asked.seed, "folds": asked.folds}
    row = told | {
        "command": shlex.join(["studies/audit_folds.py", *sys.argv[1:]]),
        "own": audited(run, out / "own"),
        "folds": audited(run, out / f"folds-{asked.folds}", "--folds", asked.folds),
    }
    held = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else []
    held = [each for each in held if not told.items() <= each.items()]
    held = sorted([*held, row], key=lambda each: (each["set"], each["noise"], each["seed"]))
    RESULTS.write_text(json.dumps({"runs": held}, indent=1) + "\n")


if __name__ == "__main__":
    main()
