"""Batches per second by who makes them: a thread of the training, or processes.

    .venv/bin/python studies/cost/loading.py           a table
    .venv/bin/python studies/cost/loading.py --json    the numbers behind it

A step that takes so many milliseconds is slept, as where a GPU computes; the first epoch does not count. The settings
take turns, so that other work on the machine meets all of them.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from devices import write_set

from metadcseg.data.loading.augmentation import AugmentOptions
from metadcseg.data.loading.batches import BatchLoader
from metadcseg.data.loading.dataset import SegmentationDataset
from metadcseg.data.store.reader import PreparedSet

WORKERS = (0, 1, 2)


def measure(images: int, size: int, batch: int, step_ms: float, repeats: int) -> dict[str, Any]:
    """Return the seconds of an epoch for every number of workers: each repeat, and their median."""
    with tempfile.TemporaryDirectory() as folder:
        write_set(Path(folder) / "set", images, size)
        prepared = PreparedSet.open(Path(folder) / "set")
        loaders = {
            workers: BatchLoader(
                SegmentationDataset(prepared, "train", size, augment=AugmentOptions()),
                batch=batch,
                workers=workers,
            )
            for workers in WORKERS
        }
        found: dict[int, list[float]] = {workers: [] for workers in WORKERS}
        for epoch in range(repeats + 1):
            for workers, loader in loaders.items():
                before = time.perf_counter()
                for _ in loader.epoch(epoch):
                    time.sleep(step_ms / 1000)
                if epoch:
                    found[workers].append(round(time.perf_counter() - before, 4))
    return {
        "settings": {"images": images, "size": size, "batch": batch, "step_ms": step_ms},
        "machine": {"processors": os.cpu_count(), "torch": torch.__version__, "load": os.getloadavg()[0]},
        "seconds": {
            str(workers): {"median": statistics.median(times), "repeats": times}
            for workers, times in found.items()
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--step-ms", type=float, default=0.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = vars(parser.parse_args())
    as_json = options.pop("json")
    result = measure(**options)
    if as_json:
        print(json.dumps(result, indent=2))
        return 0
    alone = result["seconds"]["0"]["median"]
    for workers, times in result["seconds"].items():
        print(
            f"{workers} workers {times['median']:8.2f} s an epoch, {alone / times['median']:5.2f} of a thread's pace"
        )
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
