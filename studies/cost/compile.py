"""What ``training.compile`` pays: steps of compiled networks beside steps as written, and how long translating takes.

    .venv/bin/python studies/cost/compile.py                       a table
    .venv/bin/python studies/cost/compile.py --json                the numbers behind it

Whole training steps on 4 noisy and 4 gold images; compiled and plain take turns, a ratio is the median over the rounds.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from typing import Any

import torch
from meta_step import METHODS, Step, batch, made

COMPARED = {"supervised with gold": "supervised", "binned, default schedule": "default"}


def steps_of(name: str, width: int, size: int, folder: str, compiled: bool) -> Step:
    """Return a function that takes two steps: a whole period of the default schedule."""
    network, updater, storage = made(width, size, folder, 4)
    if compiled:
        network.compile_passes()
    method = METHODS[name]
    state = method.start(network, updater, torch.Generator().manual_seed(2), storage)
    noisy, gold = batch(size, 0), batch(size, 1)

    def two() -> None:
        method.step(state, noisy, gold)
        method.step(state, noisy, gold)

    return two


def seconds(step: Step) -> float:
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def compare(name: str, width: int, size: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        plain, compiled = (
            steps_of(name, width, size, f"{folder}/{kind}", kind == "compiled")
            for kind in ("plain", "compiled")
        )
        first = seconds(compiled) - seconds(plain)
        pairs = [(seconds(compiled), seconds(plain)) for _ in range(rounds + 1)][1:]
    return {
        "compiled_over_plain": statistics.median(one / other for one, other in pairs),
        "seconds_of_a_plain_step": statistics.median(other for _, other in pairs) / 2,
        "seconds_to_translate": first,
    }


def parsed(description: str | None) -> argparse.Namespace:
    """Return the options of a study that compares steps, and take its number of threads."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--pixels", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options


def main() -> None:
    options = parsed(__doc__)
    found = {
        shown: compare(name, options.width, options.pixels, options.rounds)
        for shown, name in COMPARED.items()
    }
    if options.json:
        machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
        print(json.dumps({"machine": machine, **vars(options), "compared": found}, indent=1))
        return
    for shown, numbers in found.items():
        print(f"{shown}: " + ", ".join(f"{key} {value:.3g}" for key, value in numbers.items()))


if __name__ == "__main__":
    main()
