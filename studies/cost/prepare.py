"""What preparing images costs: one process, several, and a plain loop that decodes and writes the same.

    python studies/cost/prepare.py [--count 5000] [--size 256] [--workers 2] [--repeats 3]

The loop is Pillow and NumPy: it opens every PNG, and writes image and mask as arrays, uncompressed. All three are timed
in turn, so that what else the machine does falls on all of them; the least of the repeats counts.
"""

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from metadcseg.data.prepare.pipeline import prepare_folder


def draw(folder: Path, count: int, size: int) -> None:
    """Draw color images that look like tissue to a compressor, and one disc for each."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    y, x = np.mgrid[:size, :size]
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((size, size)).filter(ImageFilter.GaussianBlur(2))
        noisy = np.asarray(smooth, np.int16) + rng.integers(-6, 7, (size, size, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"images/{number:05d}.png")
        center, radius = rng.uniform(size / 3, 2 * size / 3, 2), rng.uniform(size / 16, size / 4)
        disc = (y - center[0]) ** 2 + (x - center[1]) ** 2 < radius**2
        Image.fromarray((disc * 255).astype(np.uint8)).save(folder / f"masks/{number:05d}.png")


def plain(folder: Path, out: Path) -> None:
    """Decode and write the same without any check."""
    out.mkdir()
    for part in ("images", "masks"):
        for path in sorted((folder / part).iterdir()):
            np.save(out / f"{part}-{path.stem}.npy", np.array(Image.open(path)))


def timed(work: Callable[[Path], object], out: Path) -> float:
    """Return the seconds that something takes, and remove what it wrote."""
    start = time.perf_counter()
    work(out)
    seconds = time.perf_counter() - start
    shutil.rmtree(out)
    return seconds


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    for name, default in (("count", 5000), ("size", 256), ("workers", 2), ("repeats", 3)):
        options.add_argument(f"--{name}", type=int, default=default)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, out = Path(temporary) / "drawn", Path(temporary) / "out"
        draw(folder, chosen.count, chosen.size)

        def prepared(workers: int) -> Callable[[Path], object]:
            return lambda place: prepare_folder(folder, place, edges="none", workers=workers)

        ways = {"plain loop": lambda place: plain(folder, place), "1 worker": prepared(1)}
        ways[f"{chosen.workers} workers"] = prepared(chosen.workers)
        seconds = {way: [] for way in ways}
        for _ in range(chosen.repeats):
            for way, work in ways.items():
                seconds[way].append(timed(work, out))
    best = {way: min(taken) for way, taken in seconds.items()}
    loop, one, several = best.values()
    record = {
        "images": chosen.count,
        "seconds": seconds,
        "speedup": one / several,
        "times the plain loop": one / loop,
        "peak MiB of this process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }
    sys.stdout.write(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
