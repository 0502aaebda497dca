"""Images per second with 1 process of 1 thread, 1 process of 2 threads, and 2 processes of 1 thread.

    .venv/bin/python studies/cost/devices.py           a table
    .venv/bin/python studies/cost/devices.py --json    the numbers behind it

Each measurement is a training by the command itself, in a process of its own, without validation and figures; its
first epoch does not count. The three take turns, so that other work on the machine meets all of them.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from metadcseg.data.store.reader import SetWriter
from metadcseg.data.synthetic.phantom import PhantomOptions, phantom_cases

KEY = "throughput with 1 and 2 processes"
SETTINGS = {
    "1 process x 1 thread": (1, 1),
    "1 process x 2 threads": (1, 2),
    "2 processes x 1 thread": (2, 1),
}
METHODS = ("supervised", "binned")


def measure(images: int, size: int, width: int, batch: int, epochs: int, repeats: int) -> dict[str, Any]:
    """Return images per second for every method and setting: each repeat, and their median."""
    found: dict[str, dict[str, list[float]]] = {method: {name: [] for name in SETTINGS} for method in METHODS}
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "set"
        write_set(prepared, images, size)
        for repeat in range(repeats):
            for method in METHODS:
                for name, (devices, threads) in SETTINGS.items():
                    out = Path(folder) / f"{method}-{devices}-{threads}-{repeat}"
                    words = {
                        "data": prepared,
                        "out": out,
                        "method": method,
                        "epochs": epochs,
                        "devices": devices,
                        "accelerator": "cpu",
                        "network.width": width,
                        "training.size": size,
                        "training.batch": batch,
                        "training.gold_batch": batch,
                        "training.threads": threads,
                        "training.figure_every": 0,
                    }
                    options = [f"--{option}={value}" for option, value in words.items()]
                    command = [sys.executable, "-m", "metadcseg", "train", *options]
                    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
                    lines = (out / "metrics.jsonl").read_text().splitlines()[1:]
                    seconds = statistics.median(json.loads(line)["seconds"] for line in lines)
                    found[method][name].append(round(images / seconds, 2))
    return {
        "settings": {"images": images, "size": size, "width": width, "batch": batch, "epochs": epochs},
        "machine": {
            "system": platform.platform(),
            "processors": os.cpu_count(),
            "torch": torch.__version__,
            "load": round(os.getloadavg()[0], 2),
        },
        "images_per_second": {
            method: {
                name: {"median": statistics.median(rates), "repeats": rates} for name, rates in rows.items()
            }
            for method, rows in found.items()
        },
    }


def write_set(path: Path, images: int, size: int) -> None:
    """Write phantom images of the roles train and gold alone."""
    cases = phantom_cases(PhantomOptions(count=images + 8, size=size), gold=8, val=0, test=0)
    with SetWriter(path, name="phantom", classes=("background", "foreground"), channels=1) as writer:
        for case in cases:
            writer.add(id=case.id, role=case.role, group=case.group, image=case.images, label=case.label)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    options = vars(parser.parse_args())
    as_json = options.pop("json")
    result = {KEY: measure(**options)}
    if as_json:
        print(json.dumps(result, indent=2))
        return 0
    for method, rows in result[KEY]["images_per_second"].items():
        for name, rates in rows.items():
            print(f"{method:12} {name:24} {rates['median']:8.1f} images/s  {rates['repeats']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
