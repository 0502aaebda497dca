"""How far the paper's weights move, by what eq. 21-24 are read as: alpha, gamma by distance, wrong pixels found.

    .venv/bin/python studies/paper_weights.py --work /tmp/paper-weights --sizes 32 64

Trains the preset paper-kvasir-seg at width 4 on phantoms with 40 % of the paper's noise: two epochs of warm-up, eight
with meta steps. eta is that of the preset, 0.01; other values show the range. Stopped, it goes on where it was. Writes
results/paper-weights.json.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results" / "paper-weights.json"
READINGS = (("none", 0.01), ("sums", 0.01), ("sums", 0.05), ("sums", 1.7), ("rms", 0.01))
"""meta_scaling and eta; with sums, 0.05 and 1.7 are 3e-4 and 0.01 times the preset's learning rate of 0.006."""

EPOCHS, WARMUP = 10, 2


def metadcseg(*words: object) -> None:
    """Run a command of the product, on one thread."""
    command = [sys.executable, "-m", "metadcseg", *map(str, words)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def measure(work: Path, size: int, scaling: str, eta: float) -> dict[str, Any]:
    """Train one reading, and return what its weights are at the end."""
    noisy, run = work / f"noisy-{size}", work / f"{size}-{scaling}-{eta:g}"
    if not noisy.exists():
        clean = work / f"clean-{size}"
        metadcseg("prepare", "phantom", "--size", size, "--count", 60, "--gold", 8, "--out", clean)
        metadcseg("corrupt", clean, "--rate", 0.4, "--out", noisy)
    weights = run / "evaluation" / "weights.json"
    if not weights.exists():
        small = ["--training.size", size, "--network.width", 4, "--epochs", EPOCHS, "--training.warmup", 2]
        options = ["--metadcseg.warmup", WARMUP, "--metadcseg.meta_scaling", scaling, "--metadcseg.eta", eta]
        metadcseg(
            *("train", "--data", noisy, "--config", "paper-kvasir-seg", *small, *options),
            *("--training.threads", 1, "--training.figure_every", 0, "--resume", "--out", run),
        )
        metadcseg("evaluate", run, "--split", "val", "--weights")
    found = json.loads(weights.read_text())
    gamma = found["distance"]["gamma"]
    return {
        "size": size,
        "meta_scaling": scaling,
        "eta": eta,
        "moved": found["moved"],
        "auroc": {name: found["auroc"].get(name) for name in ("weight", "alpha", "beta - alpha")},
        "gamma_at_outline": gamma[0],
        "gamma_by_distance": dict(zip(map(str, found["distance"]["edges"]), gamma, strict=True)),
    }


def main() -> None:
    """Train all readings at all sizes, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rows = [measure(options.work, size, scaling, eta) for size in options.sizes for scaling, eta in READINGS]
    for row in rows:
        print(json.dumps(row))
    record = {
        "command": f"studies/paper_weights.py --sizes {' '.join(map(str, options.sizes))}",
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
