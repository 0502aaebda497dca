"""What a training holds of memory, by size of the input grid and width of the network.

    .venv/bin/python studies/cost/memory.py          a line for each case, on phantoms
    .venv/bin/python studies/cost/memory.py --json   the numbers

Each case trains two steps of the default method, the first one a meta step, in a process of its own, as the command
does. Memory is the most that the process held (resident set), validation of two images included.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from metadcseg.cli.config import read_config

CASES = [(64, 8, 8), (96, 16, 8), (160, 16, 8), (256, 16, 8), (256, 32, 4), (256, 64, 2)]
"""Pixels per side of the input grid, channels of the network at full resolution, images of a batch."""


def main() -> None:
    """Train every case and print what it held."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as one JSON object")
    as_json = parser.parse_args().json
    method = read_config("demo").method.name
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (pixels, width, batch) in enumerate(CASES):
            data, out = Path(folder) / f"set-{number}", Path(folder) / f"run-{number}"
            count = 4 * batch + 2
            drawn = ["--count", count, "--gold", 2 * batch, "--val", 2 / count, "--test", 0.0]
            run("prepare", "phantom", "--size", pixels, *drawn, "--edges", "none", "--out", data)
            sizes = ["--training.size", pixels, "--network.width", width, "--training.batch", batch]
            sizes += ["--training.gold_batch", batch, "--training.figure_every", 0, "--training.threads", 1]
            train = ["--config", "demo", "--epochs", 1, f"--{method}.warmup", 0, *sizes]
            peak = run("train", "--data", data, "--out", out, *train)
            rows.append({"pixels": pixels, "width": width, "batch": batch, "peak_gb": round(peak / 1e9, 2)})
            print(rows[-1], file=sys.stderr if as_json else sys.stdout, flush=True)
    if as_json:
        machine = {"processor": platform.machine(), "processors": os.cpu_count(), "threads": 1}
        print(json.dumps({"machine": machine, "method": method, "cases": rows}, indent=1))


def run(*words: object) -> int:
    """Run a command and return the most bytes that it held."""
    command = [sys.executable, "-m", "metadcseg", *(str(word) for word in words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read() if process.stderr else ""
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"metadcseg {' '.join(str(word) for word in words)}: {said}")
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
