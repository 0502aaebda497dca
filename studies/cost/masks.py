"""Writing predicted masks: two waits for the disk for each file, or one for all that are ready.

    .venv/bin/python studies/cost/masks.py [--folder DIR]        a table
    .venv/bin/python studies/cost/masks.py --json                results/masks-cost.json

Both write the same PNG files into the same file system, in turns within one run; the median of the rounds counts.
``each`` waits for a file and then for its folder, as predict did before; ``together`` is predict's own writer.
"""

import argparse
import json
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from metadcseg.evaluation.mask_folder import MaskFolder
from metadcseg.evaluation.overlays import encode_mask
from metadcseg.files import write_bytes

ROOT = Path(__file__).resolve().parents[2]


def each(out: Path, masks: list[bytes]) -> None:
    out.mkdir()
    for number, content in enumerate(masks):
        write_bytes(out / f"{number}.png", content)


def together(out: Path, masks: list[bytes]) -> None:
    with MaskFolder(out) as folder:
        for number, content in enumerate(masks):
            folder.write(f"{number}.png", content)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="on the file system to measure")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    blobs = (draw.random((options.images, 44, 44)) > 0.5).astype(np.uint8)
    masks = [
        encode_mask(np.kron(blob, np.ones((8, 8), np.uint8)), ("background", "object")) for blob in blobs
    ]
    seconds: dict[str, list[float]] = {"each": [], "together": []}
    work = Path(tempfile.mkdtemp(dir=options.folder))
    for number in range(options.rounds):
        for way in (each, together) if number % 2 else (together, each):
            begun = time.perf_counter()
            way(work / f"{way.__name__}-{number}", masks)
            seconds[way.__name__].append(time.perf_counter() - begun)
    shutil.rmtree(work)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    record = {
        "machine": platform.platform(),
        "images": options.images,
        "bytes": sum(map(len, masks)),
        "milliseconds_per_mask": {name: 1000 * value / options.images for name, value in medians.items()},
        "ratio": medians["together"] / medians["each"],
        "rounds": [
            after / before for before, after in zip(seconds["each"], seconds["together"], strict=True)
        ],
    }
    print(json.dumps(record, indent=1))
    if options.json:
        (ROOT / "results" / "masks-cost.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
