"""Label noise for 1000 masks of 352 x 352: calibrating to 40 % and corrupting, beside two plain loops.

    .venv/bin/python studies/cost/noise.py                       a table
    .venv/bin/python studies/cost/noise.py --json                the numbers behind it

The loops corrupt the same masks with the same draws at the scale that our calibration found: rotation, square erosion
or dilation, ellipse, one mask after the other, once with scipy.ndimage and once with OpenCV (pip install
opencv-python-headless; left out where it is missing). What a loop would need to calibrate, too, is its time times the
number of times that bisection has to look. All take turns within one run; the median of the rounds counts.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metadcseg.noise.base import PaperNoise, corrupt, draw_mask
from metadcseg.noise.calibration import calibrate
from metadcseg.noise.draws import PRESETS, NoiseDraw, NoiseLevel
from metadcseg.noise.paper import corruption_rate

Mask = NDArray[np.uint8]
RATE, SEED = 0.4, 0


def masks(count: int, size: int) -> list[Mask]:
    """Ellipses of every size and place, bent by a smooth field: like polyps, and no two alike."""
    rows, columns = np.mgrid[:size, :size] / size
    made = []
    for number in range(count):
        draw = np.random.default_rng([SEED, number])
        y, x = draw.uniform(0.3, 0.7, 2)
        radius, stretch, turn = draw.uniform(0.06, 0.28), draw.uniform(0.6, 1.6), draw.uniform(0, np.pi)
        across = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
        along = (rows - y) * np.cos(turn) - (columns - x) * np.sin(turn)
        bent = 0.15 * radius * np.sin(draw.integers(2, 6) * np.arctan2(along, across) + draw.uniform(0, 6))
        made.append((np.hypot(across, along * stretch) < radius + bent).astype(np.uint8))
    return made


def plain(mask: Mask, one: NoiseDraw, level: NoiseLevel, tools: str) -> Mask:
    """Eq. 15-19 as one would write them down with the functions of a library."""
    size = one.kernel_size(level.scale)
    if tools == "opencv":
        import cv2

        center = ((mask.shape[1] - 1) / 2, (mask.shape[0] - 1) / 2)
        matrix = cv2.getRotationMatrix2D(center, one.angle, 1.0)
        turned = cv2.warpAffine(mask, matrix, mask.shape[::-1], flags=cv2.INTER_NEAREST)
        kernel = np.ones((size, size), np.uint8)
        changed = (cv2.erode if one.erode else cv2.dilate)(turned, kernel)
    else:
        turned = ndimage.rotate(mask, one.angle, reshape=False, order=0)
        kernel = np.ones((size, size), bool)
        if one.erode:
            changed = ndimage.binary_erosion(turned, kernel, border_value=1).astype(np.uint8)
        else:
            changed = ndimage.binary_dilation(turned, kernel).astype(np.uint8)
    if one.r < level.p_ellipse and changed.sum() > level.ellipse_min_pixels:
        rows, columns = np.nonzero(changed)
        top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
        y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
        height, width = max((bottom - top) / 2, 0.5), max((right - left) / 2, 0.5)
        inside = ((y - (top + bottom) / 2) / height) ** 2 + ((x - (left + right) / 2) / width) ** 2 <= 1
        changed = inside.astype(np.uint8)
    return changed


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def ways(
    level: NoiseLevel, names: Sequence[str], libraries: Sequence[str]
) -> dict[str, Callable[[Mask, str], Mask]]:
    """Ours, which draws as it goes, and the loops, which are handed the draws."""
    drawn = {name: NoiseDraw(**draw_mask(PaperNoise(level), SEED, name, 2)[0]) for name in names}

    def ours(mask: Mask, name: str) -> Mask:
        model = PaperNoise(level)
        return corrupt(mask, draw_mask(model, SEED, name, 2), model, level.scale)

    def loop(tools: str, mask: Mask, name: str) -> Mask:
        return plain(mask, drawn[name], level, tools)

    return {"corrupt": ours, **{tools: partial(loop, tools) for tools in libraries}}


def corrupted(work: Callable[[Mask, str], Mask], clean: Sequence[Mask], names: Sequence[str]) -> list[Mask]:
    return [work(mask, name) for mask, name in zip(clean, names, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the numbers, not the table")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--size", type=int, default=352)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    clean = masks(options.count, options.size)
    names = [str(number) for number in range(options.count)]
    libraries = ["scipy", *(["opencv"] if find_spec("cv2") else [])]
    seconds: dict[str, list[float]] = {name: [] for name in ("calibrate", "corrupt", *libraries)}
    rates: dict[str, float] = {}
    for _ in range(options.rounds):
        spent, found = timed(partial(calibrate, clean, names, PaperNoise(PRESETS[RATE]), RATE, SEED))
        seconds["calibrate"].append(spent)
        level = replace(PRESETS[RATE], scale=found.strength)
        for way, work in ways(level, names, libraries).items():
            spent, noisy = timed(partial(corrupted, work, clean, names))
            seconds[way].append(spent)
            rates[way] = float(
                np.mean([corruption_rate(one, other) for one, other in zip(clean, noisy, strict=True)])
            )
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ours = median["calibrate"] + median["corrupt"]
    result = {
        "machine": {"processor": platform.processor() or platform.machine()},
        "masks": options.count,
        "size": options.size,
        "seconds": seconds,
        "calibrate_and_corrupt_seconds": ours,
        "scale": level.scale,
        "rates": rates,
        "corrupt_time_vs": {tools: median["corrupt"] / median[tools] for tools in libraries},
        "calibrate_and_corrupt_time_vs_corrupting_once": {tools: ours / median[tools] for tools in libraries},
    }
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{options.count} masks of {options.size} x {options.size}, kernel scale {level.scale:.3f}")
    for name, value in median.items():
        shown = f"   mean corruption {rates[name]:.3f}" if name in rates else ""
        print(f"  {name:10} {value:7.2f} s   {min(seconds[name]):.2f} to {max(seconds[name]):.2f}{shown}")


if __name__ == "__main__":
    main()
