"""What every network of the package costs: parameters, and one forward and backward pass at several input sizes.

    nice -n 10 .venv/bin/python studies/networks.py

Each pass is of one image of three channels and two classes, in training mode, in a process of its own and on one
thread: seconds of the processor, the second of two passes, and the peak memory of the process, Python and its libraries
included (0.4 GB). Losses are the squares of all that a network returns. Writes results/networks.json after every pass;
what stands there already is not run again.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch

from metadcseg.networks import NETWORKS, NetworkOptions, create_network

RESULTS = Path(__file__).resolve().parents[1] / "results" / "networks.json"
SIZES = ((96, 96), (97, 131), (224, 224), (256, 256), (352, 352))
WIDTHS = {
    "published": {"unetplusplus": 64, "unet": 64, "nnunet-plain": 32},
    "small": {"unetplusplus": 8, "unet": 8, "nnunet-plain": 8},
}


def options_of(name: str, size: str) -> NetworkOptions:
    """Return the options of a network in its published or its small size."""
    if name in WIDTHS[size]:
        return NetworkOptions(name=name, width=WIDTHS[size][name])
    return NetworkOptions(name=name, size=size)  # type: ignore[arg-type]


def peak() -> float:
    """Return the most memory that this process has had, in MB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e6 if platform.system() == "Darwin" else 1e3)


def measure(name: str, size: str, grid: tuple[int, int]) -> dict[str, Any]:
    """Return the cost of one pass; raises where anything in it is not finite."""
    torch.set_num_threads(1)
    network = create_network(options_of(name, size), 3, 2).train()
    images = torch.randn(1, 3, *grid, generator=torch.Generator().manual_seed(0))
    spent = 0.0
    for _ in range(2):
        began = time.process_time()
        output = network(images)
        loss = sum(maps.square().mean() for maps in (output.logits, *output.auxiliary.values()))
        loss.backward()
        spent = time.process_time() - began
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    if not all(bool(value.isfinite().all()) for value in (output.logits, *gradients)):
        raise ValueError(f"{name} {size} at {grid}: numbers that are not finite")
    return {
        "seconds": round(spent, 3),
        "peak_mb": round(peak()),
        "logits": list(output.logits.shape),
    }


def count(name: str, size: str) -> int:
    """Return the number of parameters."""
    with torch.device("meta"):
        network = create_network(options_of(name, size), 3, 2)
    return sum(parameter.numel() for parameter in network.parameters())


def main() -> None:
    """Measure everything that is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--one", nargs=4, metavar=("NAME", "SIZE", "H", "W"), help="print one cost as JSON")
    options = parser.parse_args()
    if options.one:
        name, size, *grid = options.one
        print(json.dumps(measure(name, size, (int(grid[0]), int(grid[1])))))
        return
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"networks": {}}
    found["machine"] = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    for grid, size, name in product(SIZES, ("published", "small"), NETWORKS):
        row = found["networks"].setdefault(f"{name}, {size}", {"parameters": count(name, size), "passes": {}})
        key = f"{grid[0]} x {grid[1]}"
        if key in row["passes"] or (name == "unetplusplus" and grid == (97, 131)):  # it takes no odd size
            continue
        command = [sys.executable, __file__, "--one", name, size, *map(str, grid)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            row["passes"][key] = {"failed": done.stderr.strip().splitlines()[-1][:200]}
        else:
            row["passes"][key] = json.loads(done.stdout)
        print(f"{name}, {size}, {key}: {row['passes'][key]}", flush=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
