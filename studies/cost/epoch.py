"""Where the time of an epoch goes: shares of a whole training epoch, by Python's own profiler.

    .venv/bin/python studies/cost/epoch.py                       a table, on phantoms
    .venv/bin/python studies/cost/epoch.py --set my_set --json   the numbers, on a prepared set of yours

The second of two epochs is what counts: the first one fills caches. A share is the time from entering a part to leaving
it, over the time of the epoch; parts do not overlap, except that a meta step's tangents ride along on the forward pass.
Batches are made by a thread while the step before them runs, so ``waiting for data`` is what the step had to wait.
"""

import argparse
import cProfile
import json
import platform
import pstats
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from metadcseg.cli.config import read_config
from metadcseg.data.store.reader import PreparedSet
from metadcseg.methods import create_method
from metadcseg.training import train
from metadcseg.training.trainer import Trainer

PARTS = {
    "forward passes": [("tap.py", "forward")],
    "backward passes": [("graph.py", "_engine_run_backward")],
    "optimizer, clipping, average of weights": [("updater.py", "step")],
    "per-pixel weights": [("pixel_weights.py", "update"), ("pixel_weights.py", "read")],
    "boundary weights": [("center_distance.py", "forward")],
    "waiting for data": [("_base.py", "result")],
    "validation": [("validation.py", "score")],
    "checkpoint": [("checkpoints.py", "save_checkpoint"), ("pixel_maps.py", "state_dict")],
    "progress and logger": [("progress.py", "step"), ("progress.py", "epoch"), ("logger.py", "write")],
    "figures": [("trainer.py", "_draw_figure"), ("figures.py", "watch")],
}


@contextmanager
def last_epoch_profiled(profile: cProfile.Profile, epochs: int) -> Iterator[None]:
    """Let the profiler look at the last epoch of any training within the block."""
    begin, close = Trainer._train_epoch, Trainer._close_epoch

    def watched(trainer: Trainer, *arguments: object) -> bool:
        if trainer.trainer_state.epoch == epochs - 1:
            profile.enable()
        return begin(trainer, *arguments)  # type: ignore[arg-type]

    def ended(trainer: Trainer, *arguments: object) -> bool:
        done = close(trainer, *arguments)  # type: ignore[arg-type]
        profile.disable()
        return done

    Trainer._train_epoch, Trainer._close_epoch = watched, ended  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trainer._train_epoch, Trainer._close_epoch = begin, close  # type: ignore[method-assign]


def shares(profile: cProfile.Profile) -> dict[str, float]:
    table = pstats.Stats(profile).stats  # type: ignore[attr-defined]

    def spent(functions: list[tuple[str, str]]) -> float:
        return sum(
            entry[3] for (file, _, name), entry in table.items() if (Path(file).name, name) in functions
        )

    epoch = spent([("trainer.py", "_train_epoch"), ("trainer.py", "_close_epoch")])
    found = {part: spent(functions) / epoch for part, functions in PARTS.items()}
    return {"seconds of the epoch": epoch, **found, "all the rest": 1 - sum(found.values())}


def phantoms(folder: Path) -> PreparedSet:
    command = [sys.executable, "-m", "metadcseg"]
    clean, noisy = folder / "clean", folder / "noisy"
    made = ["prepare", "phantom", "--out", str(clean), "--size", "96"]
    subprocess.run([*command, *made], check=True, capture_output=True)
    subprocess.run(
        [*command, "corrupt", str(clean), "--rate", "0.4", "--out", str(noisy)],
        check=True,
        capture_output=True,
    )
    return PreparedSet.open(noisy)


def measure(prepared: PreparedSet, folder: Path, name: str, width: int, size: int) -> dict[str, float]:
    options = {"supervised": {"gold": "mixed"}, "metadcseg": {"warmup": 0}}[name]
    training = replace(read_config("small").training, epochs=2, size=size, threads=torch.get_num_threads())
    profile = cProfile.Profile()
    with last_epoch_profiled(profile, training.epochs):
        network = replace(read_config("small").network, width=width)
        train(prepared, create_method(name, **options), network, training, folder / name)
    return shares(profile)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", type=Path, help="a prepared set with gold; phantoms are drawn without it")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="print the numbers, not the table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepared = PreparedSet.open(options.set) if options.set else phantoms(folder)
        found = {
            name: measure(prepared, folder, name, options.width, options.size)
            for name in ("supervised", "metadcseg")
        }
    if options.json:
        machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
        print(json.dumps({"machine": machine | {"threads": options.threads}, "shares": found}, indent=1))
        return
    for part in next(iter(found.values())):
        print(f"{part:42}" + "".join(f"{name} {values[part]:<9.3g}" for name, values in found.items()))


if __name__ == "__main__":
    main()
