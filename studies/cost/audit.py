"""What `find_label_issues` costs beside cleanlab's segmentation module, on drawn images, in one run.

    .venv/bin/python studies/cost/audit.py --cleanlab /tmp/cleanlab/bin/python

Both read the same memory maps, (N, 4, 256, 256) float32, in processes of their own with one thread. Processor time;
memory is what a process holds for itself at most, mapped files not counted. Then small images come from an iterator,
and what is held is noted on the way: it must not grow with their number. Writes results/audit-cost.json.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from watched import Watched, held, one_thread

one_thread()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from metadcseg.audit.label_issues import find_label_issues  # noqa: E402

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parents[1] / "results" / "audit-cost.json"
CLASSES, SIDE, PAIRS = 4, 256, 8


def drawn(side: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """Return truth, a mask that is up to two pixels too large, and probabilities of a network that errs smoothly."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    truth, given = np.zeros((2, side, side), np.uint8)
    for number in range(1, CLASSES):
        middle, radius = rng.uniform(side / 4, 3 * side / 4, 2), rng.uniform(side / 16, side / 8)
        distance = np.hypot(y - middle[0], x - middle[1])
        truth[distance < radius], given[distance < radius + rng.integers(0, 3)] = number, number
    coarse = rng.normal(size=(CLASSES, side // 8, side // 8)).astype(np.float32)
    logits = coarse.repeat(8, axis=1).repeat(8, axis=2)
    logits += 4 * (truth == np.arange(CLASSES)[:, None, None])
    said = np.exp(logits - logits.max(axis=0))
    return truth, given, said / said.sum(axis=0)


def draw(folder: Path, images: int) -> None:
    """Write the arrays of a folder."""
    labels = np.zeros((images, SIDE, SIDE), np.uint8)
    shape = (images, CLASSES, SIDE, SIDE)
    said = np.lib.format.open_memmap(folder / "probabilities.npy", "w+", np.float32, shape)
    for number in range(images):
        _, labels[number], said[number] = drawn(SIDE, number)
    said.flush()
    np.save(folder / "labels.npy", labels)


def pairs(side: int) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Return verified masks beside those that were given."""
    return [drawn(side, 10**6 + number)[1::-1] for number in range(PAIRS)]


def ours(folder: Path) -> dict[str, object]:
    """Audit the arrays of a folder."""
    labels, said = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("labels", "probabilities"))
    known, before = pairs(SIDE), held()
    with Watched() as watched:
        regions = sum(len(found.regions) for found in find_label_issues(labels, said, known))
    return {
        "seconds": round(watched.seconds, 2),
        "before_mb": round(before / 1e6),
        "peak_mb": round(watched.peak / 1e6),
        "regions": regions,
    }


def flat(images: int) -> dict[str, object]:
    """Audit small images from an iterator, and note what is held after a tenth of them and at the end."""
    some = [drawn(32, number)[1:] for number in range(50)]

    def labels() -> Iterator[NDArray[np.uint8]]:
        return (some[number % 50][0].copy() for number in range(images))

    def said() -> Iterator[NDArray[np.float32]]:
        return (some[number % 50][1].copy() for number in range(images))

    noted = {}
    for number, _ in enumerate(find_label_issues(labels(), said(), pairs(32)), start=1):
        if number in (images // 10, images):
            noted[number] = held()
    first, last = noted.values()
    return {
        "side": 32,
        "held_mb": {str(number): round(value / 1e6, 1) for number, value in noted.items()},
        "growth_per_image_bytes": round((last - first) / (images - images // 10), 1),
    }


def asked_of(python: str, *words: object) -> dict[str, object]:
    """Return what a script prints last."""
    command = [python, *(str(word) for word in words)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, object] = json.loads(said.splitlines()[-1])
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cleanlab", help="a Python that has cleanlab")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--small", type=int, default=30_000, help="images of the iterator")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.one:
        what, value = asked.one
        print(json.dumps(ours(Path(value)) if what == "ours" else flat(int(value))))
        return
    if not asked.cleanlab:
        parser.error("--cleanlab is needed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder, asked.images)
        mine = asked_of(sys.executable, __file__, "--one", "ours", folder)
        theirs = asked_of(asked.cleanlab, HERE / "cleanlab_calls.py", folder)
    spent = sum(theirs["seconds"].values())
    record = {
        "command": f"studies/cost/audit.py --images {asked.images} --small {asked.small}",
        "images": asked.images,
        "shape": [CLASSES, SIDE, SIDE],
        "threads": 1,
        "machine": platform.processor() or platform.machine(),
        "ours": mine,
        "cleanlab": theirs,
        "ratio": {
            "seconds": round(mine["seconds"] / spent, 3),
            "peak": round(mine["peak_mb"] / theirs["peak_mb"], 3),
        },
        "iterator": asked_of(sys.executable, __file__, "--one", "flat", asked.small),
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
