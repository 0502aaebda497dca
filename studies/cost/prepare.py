"""What preparing images costs: one process, several, and a plain loop that decodes and writes the same.

    python studies/cost/prepare.py [--count 5000] [--size 256] [--workers 2] [--repeats 3] [--json]

The loop is Pillow and NumPy: it opens every PNG, and writes image and mask as arrays, uncompressed; ``loop with
checksums`` also takes the SHA-256 of each, as a set has it. Edges are not looked for. All are timed in turn, so that
what else the machine does falls on all of them; the least of the repeats counts. Processor seconds, which a busy
machine stretches less, are of this process alone.
"""

import argparse
import hashlib
import json
import os
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


def plain(folder: Path, out: Path, checksums: bool) -> None:
    """Decode and write the same without any check."""
    out.mkdir()
    found = []
    for part in ("images", "masks"):
        for path in sorted((folder / part).iterdir()):
            array = np.array(Image.open(path))
            np.save(out / f"{part}-{path.stem}.npy", array)
            if checksums:
                found.append(hashlib.sha256(array.data).hexdigest())


def timed(work: Callable[[Path], object], out: Path) -> tuple[float, float]:
    """Return the seconds that something takes, of the clock and of the processor, and remove what it wrote."""
    start, used = time.perf_counter(), time.process_time()
    work(out)
    seconds = time.perf_counter() - start, time.process_time() - used
    shutil.rmtree(out)
    return seconds


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    for name, default in (("count", 5000), ("size", 256), ("workers", 2), ("repeats", 3)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--json", action="store_true", help="write results/prepare.json")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, out = Path(temporary) / "drawn", Path(temporary) / "out"
        draw(folder, chosen.count, chosen.size)

        def prepared(workers: int) -> Callable[[Path], object]:
            return lambda place: prepare_folder(folder, place, edges="none", workers=workers)

        ways = {
            "plain loop": lambda place: plain(folder, place, checksums=False),
            "loop with checksums": lambda place: plain(folder, place, checksums=True),
            "1 worker": prepared(1),
            f"{chosen.workers} workers": prepared(chosen.workers),
        }
        taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(chosen.repeats):
            for way, work in ways.items():
                taken[way].append(timed(work, out))
    clock = {way: round(min(seconds for seconds, _ in both), 2) for way, both in taken.items()}
    processor = {way: round(min(used for _, used in both), 2) for way, both in list(taken.items())[:3]}
    loop, summed, one, several = clock.values()
    record = {
        "machine": {"processors": os.cpu_count(), "load": round(os.getloadavg()[0], 1)},
        "settings": vars(chosen),
        "seconds": {way: [round(seconds, 2) for seconds, _ in both] for way, both in taken.items()},
        "least": clock,
        "least processor seconds": processor,
        "times the plain loop": round(one / loop, 2),
        "times the loop with checksums": round(one / summed, 2),
        "times the plain loop, processor": round(processor["1 worker"] / processor["plain loop"], 2),
        "speedup": round(one / several, 2),
        "peak MiB of this process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }
    text = json.dumps(record, indent=1) + "\n"
    sys.stdout.write(text)
    if chosen.json:
        (Path(__file__).resolve().parents[2] / "results/prepare.json").write_text(text)


if __name__ == "__main__":
    main()
