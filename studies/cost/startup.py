"""How long a command takes before it does anything, beside ``python -c pass`` in the same run.

    .venv/bin/python studies/cost/startup.py                     a table
    .venv/bin/python studies/cost/startup.py --json              results/startup.json
    .venv/bin/python studies/cost/startup.py --before OTHER/src  also with another state of the sources, in turns

Each command is a process of its own, the commands taking turns; processor seconds (user and system, of the process and
its children) count, since a busy machine stretches the clock. ``check`` looks at ten images of 64 x 64 and their masks.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "metadcseg"]
HEAVY = (
    "torch",
    "monai",
    "SimpleITK",
    "pandas",
    "matplotlib",
    "scipy",
    "zarr",
    "nibabel",
    "PIL",
    "rich",
    "numpy",
)


def folder_of_ten(place: Path) -> Path:
    """Images and masks, a square in each."""
    for name in ("images", "masks"):
        (place / name).mkdir(parents=True)
    for number in range(10):
        mask = np.zeros((64, 64), np.uint8)
        mask[10 : 30 + number, 12:40] = 255
        noise = np.random.default_rng(number).integers(0, 60, (64, 64))
        Image.fromarray((mask // 2 + noise).astype(np.uint8)).save(place / "images" / f"{number}.png")
        Image.fromarray(mask).save(place / "masks" / f"{number}.png")
    return place


def commands(place: Path) -> dict[str, list[str]]:
    """Name -> words."""
    own = ("train", "predict", "evaluate", "prepare", "check", "audit", "export")
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
        "--version": [*COMMAND, "--version"],
        "--help": [*COMMAND, "--help"],
        **{f"{name} --help": [*COMMAND, name, "--help"] for name in own},
        "check of ten files": [*COMMAND, "check", str(place)],
    }


def timed(words: list[str], source: Path) -> tuple[float, float]:
    """Return processor seconds and seconds of the clock, with the package of a folder of sources."""
    around = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(source)}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, check=True, capture_output=True, env=around)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.perf_counter() - begun


def loaded(words: list[str]) -> list[str]:
    """Return which of the large libraries a command imports."""
    ended = subprocess.run(
        [words[0], "-X", "importtime", *words[1:]], check=True, capture_output=True, text=True
    )
    names = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if "import time:" in line}
    return [name for name in HEAVY if name in names]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp())
    lines = commands(folder_of_ten(work / "ten"))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in lines}
    earlier: dict[str, list[float]] = {name: [] for name in lines}
    for _ in range(options.rounds):
        for name, words in lines.items():
            times[name].append(timed(words, ROOT / "src"))
            if options.before is not None and words[1] == "-m" and "export" not in words:
                earlier[name].append(timed(words, options.before.resolve())[0])
    rows = []
    base = statistics.median(used for used, _ in times["python -c pass"])
    for name, words in lines.items():
        used = statistics.median(one for one, _ in times[name])
        rows.append({"command": name, "cpu_seconds": round(used, 3), "times_of_pass": round(used / base, 1)})
        rows[-1] |= {
            "least_seconds": round(min(clock for _, clock in times[name]), 3),
            "loads": loaded(words),
        }
        if earlier[name]:
            rows[-1]["cpu_seconds_before"] = round(statistics.median(earlier[name]), 3)
        print(rows[-1], flush=True)
    shutil.rmtree(work)
    record = {"machine": platform.platform(), "python": platform.python_version(), "rows": rows}
    if options.json:
        (ROOT / "results" / "startup.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
