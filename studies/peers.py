"""Co-teaching and TriNet on drawn images: what they leave out, told by a number or counted on the pairs.

    .venv/bin/python studies/peers.py --work /tmp/peers

Trains each row on masks that are too large (`over`, 40 %) and on true ones, and prints the best validation DSC.
Stopped, it goes on where it was. Writes results/peers.json.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from metadcseg.data.store.reader import PreparedSet
from metadcseg.methods import create_method
from metadcseg.networks import NetworkOptions
from metadcseg.training import TrainingOptions, read_run, train

RESULTS = Path(__file__).resolve().parents[1] / "results" / "peers.json"
NETWORK = NetworkOptions(name="unet", width=4)
TRAINING = TrainingOptions(
    epochs=8,
    size=32,
    batch=8,
    gold_batch=4,
    warmup=1,
    lr=0.1,
    clip=2,
    ema_decay=0.9,
    figure_every=0,
    threads=1,
)
NOISE, SEEDS = ("over", "none"), (0, 1)
READINGS = {
    "R0 0.8": {"select_ratio": 0.8},
    "R0 0.95": {"select_ratio": 0.95},
    "pairs": {"pairs": True},
}
ROWS = {
    "supervised": ("supervised", {}),
    **{
        f"{name}, {told}": (name, {**options, "ramp": 3})
        for name in ("coteaching", "trinet")
        for told, options in READINGS.items()
    },
}


def metadcseg(*words: object) -> None:
    """Run a command of the product, on one thread."""
    command = [sys.executable, "-m", "metadcseg", *map(str, words)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def prepared(work: Path, noise: str, seed: int) -> Path:
    """Make a set of a seed, and spoil its masks."""
    clean, spoilt = work / f"none-{seed}", work / f"over-{seed}"
    if not clean.exists():
        drawn = ("--count", 120, "--size", 32, "--group", 1, "--difficulty", 0.1, "--seed", seed)
        metadcseg("prepare", "phantom", *drawn, "--gold", 12, "--val", 0.2, "--test", 0.1, "--out", clean)
    if noise == "over" and not spoilt.exists():
        metadcseg("corrupt", clean, "--rate", 0.4, "--model", "over", "--seed", seed, "--out", spoilt)
    return clean if noise == "none" else spoilt


def main() -> None:
    """Train all rows, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, list[float]]] = {}
    for seed in SEEDS:
        for noise in NOISE:
            held = PreparedSet.open(prepared(work, noise, seed))
            for row, (name, options) in ROWS.items():
                run = work / f"{noise}-{seed}-{row}".replace(" ", "-")
                method = create_method(name, gold="mixed", **options)
                if train(held, method, NETWORK, TRAINING, run, seed=seed, resume=run.exists()).interrupted:
                    return
                best = read_run(run)["best"]["dsc"]
                found.setdefault(noise, {}).setdefault(row, []).append(round(best, 4))
                print(noise, seed, row, f"{best:.4f}", flush=True)
    RESULTS.write_text(
        json.dumps({"command": "studies/peers.py", "seeds": SEEDS, "best": found}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
