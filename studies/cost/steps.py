"""What a step of every method costs, as a ratio to plain supervision on the same noisy and gold batch.

    .venv/bin/python studies/cost/steps.py

All methods take their steps in turn, so that whatever else the machine does slows all of them; processor time of one
thread. Drawn images, a gold batch with pairs, after all warm-ups. Writes results/step-cost.json.
"""

import argparse
import json
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from metadcseg.methods import create_method
from metadcseg.methods.memory_storage import MemoryStorage
from metadcseg.methods.updater import OptimizerUpdater
from metadcseg.networks import NetworkOptions, create_network
from metadcseg.tensors import Batch
from metadcseg.warp import Warp

RESULTS = Path(__file__).resolve().parents[2] / "results" / "step-cost.json"
BASE = "noisy + gold"
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    BASE: ("supervised", {"gold": "mixed"}),
    "pairs": ("pairs", {}),
    "glc": ("glc", {}),
    "glc by distance": ("glc", {"by_distance": True}),
    "calibrated": ("calibrated", {"warmup": 0}),
    "calibrated, EMA witness": ("calibrated", {"warmup": 0, "witness": "ema"}),
    "calibrated, meta": ("calibrated", {"warmup": 0, "meta": True}),
    "binned": ("binned", {}),
}


@dataclass(frozen=True)
class Scale:
    """Side of the input grid and width of the network."""

    side: int
    width: int


def drawn(side: int, seed: int, pairs: bool) -> Batch:
    """Return eight disks, in a gold batch with masks that were drawn a pixel or two too large."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    distance = ((y - side // 2) ** 2 + (x - side // 2) ** 2).sqrt()
    labels = torch.stack([(distance < side // 6 + number).long() for number in range(8)])
    given = torch.stack([(distance < side // 6 + number + 2).long() for number in range(8)])
    images = torch.randn(8, 1, side, side, generator=generator) + labels.unsqueeze(1)
    edges = (torch.rand(8, side, side, generator=generator) < 0.02).float()
    return Batch(images, labels, torch.arange(8), Warp.identity(8), edges, given=given if pairs else None)


def measure(scale: Scale, steps: int) -> dict[str, Any]:
    """Return the seconds of a step of plain supervision, and the ratio of every row."""
    started, spent = {}, {row: [] for row in ROWS}
    for row, (name, options) in ROWS.items():
        network = create_network(NetworkOptions(width=scale.width), 1, 2, torch.Generator().manual_seed(0))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        updater = OptimizerUpdater(network, optimizer, clip=2.0, ema_decay=0.99, gold_images=8, gold_batch=8)
        method = create_method(name, **options)
        started[row] = method, method.start(network, updater, torch.Generator(), MemoryStorage())
    noisy, gold = drawn(scale.side, 0, pairs=False), drawn(scale.side, 1, pairs=True)
    for number in range(steps + 2):  # two to get warm
        for row, (method, state) in started.items():
            state.updater.epoch = number // 4
            begin = time.process_time()
            method.step(state, noisy, gold)
            if number > 1:
                spent[row].append(time.process_time() - begin)
    base = statistics.mean(spent[BASE])  # not the median: meta steps take turns with plain ones
    ratios = {row: round(statistics.mean(times) / base, 3) for row, times in spent.items()}
    return {"side": scale.side, "width": scale.width, "seconds": round(base, 4), "ratios": ratios}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=24)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    found = [measure(scale, steps) for scale in (Scale(64, 8), Scale(96, 16))]
    for each in found:
        print(f"{each['side']} px, width {each['width']}: {each['ratios']}")
    record = {
        "command": f"studies/cost/steps.py --steps {steps}",
        "steps": steps,
        "threads": 1,
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "found": found,
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
