"""What ``--precision auto`` pays where it takes half precision: whole steps in bfloat16, channels last, and in float32.

    .venv/bin/python studies/cost/precision.py                       a table
    .venv/bin/python studies/cost/precision.py --json                the numbers behind it (results/precision.json)

Whole training steps on 4 noisy and 4 gold images; both kinds take turns, a ratio is the median over the rounds. The
direction of the meta step, the gradient of the gold loss, is computed both ways for the same network: its cosine and
whether it is equal bit for bit.
"""

import json
import platform
import statistics
import tempfile
from typing import Any

import torch
from compile import parsed, seconds
from meta_step import METHODS, Step, batch, made

from metadcseg.algorithm.lookahead import gold_gradient
from metadcseg.forward_mode.call import trainable
from metadcseg.networks import NetworkOptions
from metadcseg.training.options import TrainingOptions
from metadcseg.training.precision import settled

COMPARED = {"supervised with gold": "supervised", "binned, default schedule": "default"}


def steps_of(name: str, width: int, size: int, folder: str, reduced: bool) -> Step:
    """Return a function that takes two steps: a whole period of the default schedule."""
    network, updater, storage = made(width, size, folder, 4)
    if reduced:
        network.to(memory_format=torch.channels_last)
    method = METHODS[name]
    state = method.start(network, updater, torch.Generator().manual_seed(2), storage)
    noisy, gold = batch(size, 0), batch(size, 1)

    def two() -> None:
        for _ in range(2):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=reduced):
                method.step(state, noisy, gold)

    return two


def compare(name: str, width: int, size: int, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        plain, reduced = (
            steps_of(name, width, size, f"{folder}/{kind}", kind == "half") for kind in ("plain", "half")
        )
        pairs = [(seconds(reduced), seconds(plain)) for _ in range(rounds + 1)][1:]
    return {
        "half_over_float32": statistics.median(one / other for one, other in pairs),
        "seconds_of_a_float32_step": statistics.median(other for _, other in pairs) / 2,
    }


def fidelity(width: int, size: int) -> dict[str, Any]:
    """Return how the direction of the meta step under autocast lies to that without."""
    with tempfile.TemporaryDirectory() as folder:
        network, _, _ = made(width, size, folder, 4)
        _, plain = gold_gradient(network, trainable(network), batch(size, 1))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            _, mixed = gold_gradient(network, trainable(network), batch(size, 1))
    one, other = (torch.cat([part.flatten() for part in each.values()]) for each in (plain, mixed))
    cosine = torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=0)
    return {"cosine": float(cosine), "equal": bool(torch.equal(one, other))}


def main() -> None:
    options = parsed(__doc__)
    asked = TrainingOptions(precision="auto", accelerator="cpu")
    found = {
        shown: compare(name, options.width, options.pixels, options.rounds)
        for shown, name in COMPARED.items()
    }
    told = {
        "machine": {"processor": platform.processor() or platform.machine(), "torch": torch.__version__},
        "auto": settled(asked, NetworkOptions(width=options.width))[1],
        **vars(options),
        "compared": found,
        "direction_of_the_meta_step": fidelity(options.width, options.pixels),
    }
    print(json.dumps(told, indent=1) if options.json else "\n".join(f"{k}: {v}" for k, v in told.items()))


if __name__ == "__main__":
    main()
