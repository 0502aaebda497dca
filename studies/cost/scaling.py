"""How cost grows with size: each key of the result is one measurement.

    .venv/bin/python studies/cost/scaling.py                    a table
    .venv/bin/python studies/cost/scaling.py store --json       the numbers behind it, of one measurement

``store``: the per-pixel weight store. Resident memory after visiting 1 000 to 100 000 images, time per batch beside a
dictionary of tensors in memory (what version 0.1 had), and what half precision costs over many visits.

``steps``: seconds of a step against images, pixels and width. ``throughput with 1 and 2 processes``: images per
second, by studies/cost/devices.py.
"""

import argparse
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from meta_step import step_of

from metadcseg.training.pixel_store.pixel_maps import RunStorage

Result = dict[str, Any]


# The per-pixel weight store


def measure_store() -> Result:
    """Memory against images, time per batch, rounding."""
    return {
        "memory": [alone("store_memory", images) for images in (1_000, 10_000, 100_000)],
        "batch": [alone("store_batch", size) for size in (96, 256)],
        "rounding": [rounding(eta) for eta in (0.01, 0.05)],
    }


def store_memory(images: int, size: int = 64, batch: int = 8) -> Result:
    """Visit every image once: read and write both maps; then save, and go on as a new process would."""
    with tempfile.TemporaryDirectory() as folder:
        storage = RunStorage(Path(folder), images, (size, size))
        alpha, beta = storage.open("alpha"), storage.open("beta")
        step = torch.full((batch, size, size), 0.01)
        before, begun = resident(), time.perf_counter()
        highest = before
        for first in range(0, images, batch):
            chosen = range(first, min(first + batch, images))
            for maps in (alpha, beta):
                maps.write(chosen, maps.read(chosen) + step[: len(chosen)])
            if first % 4_000 == 0:
                highest = max(highest, resident())
        visited = time.perf_counter()
        state = storage.state_dict()
        synced = time.perf_counter()
        again = RunStorage(Path(folder), images, (size, size))
        again.load_state_dict(state)
        return {
            "images": images,
            "size": size,
            "grown_mb": round((max(highest, resident()) - before) / 1e6, 2),
            "maps_mb": round(
                2 * 4 * images * size**2 / 1e6, 1
            ),  # what a dictionary of float32 tensors would hold
            "checkpoint_mb": round(sum(t.nbytes for maps in state.values() for t in maps.values()) / 1e6, 3),
            "disk_mb": round(sum(512 * f.stat().st_blocks for f in Path(folder).iterdir()) / 1e6, 1),
            "visit_s": round(visited - begun, 2),
            "sync_s": round(synced - visited, 2),
            "resume_s": round(time.perf_counter() - synced, 2),
        }


def store_batch(size: int, images: int = 64, batch: int = 8, repeats: int = 40) -> Result:
    """Time one read and one update of a batch: in files, and in a dictionary of float32 tensors."""
    torch.set_num_threads(1)
    step = 0.01 * torch.randn(batch, 2, size, size, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        storage = RunStorage(Path(folder), images, (size, size))
        maps = [storage.open("alpha"), storage.open("beta")]

        def in_files(chosen: range) -> None:
            kept = torch.stack([one.read(chosen) for one in maps], dim=1)
            for number, one in enumerate(maps):
                one.write(chosen, kept[:, number] + step[:, number])

        held: dict[int, torch.Tensor] = {}

        def in_memory(chosen: range) -> None:
            unseen = torch.zeros(2, size, size)
            kept = torch.stack([held.get(image, unseen) for image in chosen])
            for image, value in zip(chosen, kept + step, strict=True):
                held[image] = value.clone()

        times = {"files_ms": [], "dictionary_ms": []}
        for number in range(repeats):
            first = (batch * number) % images
            for name, work in (("files_ms", in_files), ("dictionary_ms", in_memory)):
                begun = time.perf_counter()
                work(range(first, first + batch))
                times[name].append(1e3 * (time.perf_counter() - begun))
        warm = {
            name: values[images // batch :] for name, values in times.items()
        }  # after each image's first visit
    return {"size": size, "batch": batch, **{name: spread(values) for name, values in warm.items()}}


def rounding(eta: float, visits: int = 200, pixels: int = 200_000) -> Result:
    """Compare weights kept in half precision with float32 after many visits with the same gradients.

    Gradients are heavy-tailed (a pixel's own scale is log-normal, sd 1.5) with a drift of a third of that scale,
    divided by their root mean square over the image, as ``meta_scaling: rms`` does.
    """
    draw = torch.Generator().manual_seed(0)
    scale = torch.exp(1.5 * torch.randn(pixels, generator=draw))
    drift = torch.randn(pixels, generator=draw).sign() / 3
    exact, half = torch.zeros(pixels), torch.zeros(pixels)  # alpha - 1
    for _ in range(visits):
        gradient = scale * (drift + torch.randn(pixels, generator=draw))
        move = eta * gradient / gradient.square().mean().sqrt()
        exact = (exact - move).clamp(min=-1)
        half = (half - move).clamp(min=-1).half().float()
    error = (half - exact).abs()
    small = scale < scale.quantile(
        0.1
    )  # the pixels with the smallest gradients, which rounding would hit first
    return {
        "eta": eta,
        "visits": visits,
        "rms_weight_change": float(f"{exact.square().mean().sqrt():.3g}"),
        "rms_error": float(f"{error.square().mean().sqrt():.3g}"),
        "largest_error": float(f"{error.max():.3g}"),
        "largest_error_to_weight_change": float(f"{(error / (exact.abs() + eta)).max():.3g}"),
        "relative_error_of_smallest_tenth": float(f"{error[small].norm() / exact[small].norm():.3g}"),
        "steady_steps_of_1e-6": steady(1e-6, visits),
        "steady_steps_of_1e-4_after_one_of_0.5": steady(1e-4, visits, first=0.5),
    }


def steady(step: float, visits: int, first: float = 0.0) -> float:
    """Return which share of ``visits`` equal steps is left after rounding; 1 is right."""
    kept = torch.tensor(first).half().float()
    for _ in range(visits):
        kept = (kept + step).half().float()
    return round(float((kept - first) / (step * visits)), 4)


# What all measurements share

# One training step


def measure_steps(rounds: int = 5) -> Result:
    """Seconds of a whole step of binned (a meta step) against images, pixels and width, all taking turns.

    ``exponent`` is the slope of a line through the logarithms: 1 where time grows as the number does.
    """
    torch.set_num_threads(1)
    usual = {"width": 8, "size": 64, "count": 4}
    series = {"count": (2, 4, 8, 16), "size": (64, 96, 128, 192), "width": (8, 16, 32)}
    settings = [(axis, value, {**usual, axis: value}) for axis, values in series.items() for value in values]
    seconds: dict[tuple[str, int], list[float]] = {(axis, value): [] for axis, value, _ in settings}
    with tempfile.TemporaryDirectory() as folder:
        steps = {
            (axis, value): step_of("exact", folder=f"{folder}/{axis}{value}", **setting)
            for axis, value, setting in settings
        }
        for turn in range(rounds + 1):
            for key, step in steps.items():
                begun = time.perf_counter()
                step()
                if turn:  # the first round warms up
                    seconds[key].append(time.perf_counter() - begun)
    found: Result = {"usual": usual}
    for axis, values in series.items():
        medians = [statistics.median(seconds[axis, value]) for value in values]
        amounts = [value**2 for value in values] if axis == "size" else list(values)
        slope = statistics.linear_regression(
            [math.log(a) for a in amounts], [math.log(s) for s in medians]
        ).slope
        name = {"count": "noisy and gold images each", "size": "pixels", "width": "width"}[axis]
        found[name] = {"seconds": dict(zip(amounts, medians, strict=True)), "exponent": slope}
    return found


def measure_processes() -> Result:
    """What studies/cost/devices.py finds: images per second with 1 and 2 processes."""
    script = Path(__file__).with_name("devices.py")
    done = subprocess.run([sys.executable, str(script), "--json"], check=True, capture_output=True, text=True)
    result: Result = json.loads(done.stdout)
    return result


MEASUREMENTS: dict[str, Callable[[], Result]] = {
    "store": measure_store,
    "steps": measure_steps,
    "throughput with 1 and 2 processes": measure_processes,
}
PARTS: dict[str, Callable[[int], Result]] = {"store_memory": store_memory, "store_batch": store_batch}
"""Run in a process of their own, so that no measurement sees the memory of another."""


def alone(part: str, argument: int) -> Result:
    """Run one of ``PARTS`` in a new process."""
    command = [sys.executable, __file__, "--part", part, str(argument)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: Result = json.loads(done.stdout)
    return result


def resident() -> int:
    """Return the bytes of this process that are in memory, mapped files included (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def spread(values: list[float]) -> Result:
    """Return median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)], "n": len(values)}


def machine() -> Result:
    """Return what was measured on."""
    return {
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "free_disk_gb": round(shutil.disk_usage(tempfile.gettempdir()).free / 1e9, 1),
    }


def table(result: Result) -> str:
    """Return a result for people: one block per list of rows."""
    blocks = []
    for name, rows in result.items():
        if not isinstance(rows, list):
            continue
        cells = [[*rows[0]], *([shown(value) for value in row.values()] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in cells
        ]
        blocks.append("\n".join([name, *lines]))
    return "\n\n".join(blocks) or json.dumps(result, indent=1)


def shown(value: Any) -> str:
    """Return one cell."""
    return str(value["median"]) if isinstance(value, dict) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", choices=[[], *MEASUREMENTS], help="all by default")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of tables")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(PARTS[given.part[0]](int(given.part[1]))))
        return
    results = {name: MEASUREMENTS[name]() for name in given.what or MEASUREMENTS}
    if given.json:
        print(json.dumps({"machine": machine(), **results}, indent=2))
        return
    for name, result in results.items():
        print(f"== {name}\n{table(result)}")


if __name__ == "__main__":
    main()
