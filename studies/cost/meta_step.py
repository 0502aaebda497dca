"""What a meta step costs: beside plain supervision with the same gold, and beside double backward.

    .venv/bin/python studies/cost/meta_step.py                       a table
    .venv/bin/python studies/cost/meta_step.py --json > step.json    the numbers behind it

Every time is that of one whole training step (forward and backward passes, weights, objective, clipping, optimizer,
moving average) on 4 noisy and 4 gold images. In one case all steps take turns, round after round, and a ratio is the
median over the rounds of the ratios within a round: what slows the machine down for a while slows both sides. Memory is
the highest resident memory of a process of its own that takes three steps, less what it had before the first.

``error_vs_double_backward`` compares the meta-gradients themselves. ``double_backward`` is the same step as published
scripts write it, with plain autograd: a meta pass with a graph of second order, then a training pass, then a gold pass.
``lean_double_backward`` is the best that we could make of it: one noisy pass and one gold gradient serve both, as ours.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from metadcseg.algorithm.lookahead import gold_gradient, pixel_gradients
from metadcseg.algorithm.meta_weights import pseudo_labels, weighted_pixel_loss
from metadcseg.algorithm.objective import total_objective
from metadcseg.forward_mode.call import trainable
from metadcseg.forward_mode.jvp import jvp
from metadcseg.losses import mean_over_pixels, pixel_cross_entropy, soft_dice_loss
from metadcseg.methods import Binned, MetaDCSeg, MethodState, Supervised
from metadcseg.methods.binned.prediction import prediction_of
from metadcseg.networks import NetworkOptions, create_network
from metadcseg.tensors import Batch, PixelGradients, WeightMaps
from metadcseg.training import TrainingOptions
from metadcseg.training.pixel_store.pixel_maps import RunStorage
from metadcseg.training.updater import SgdUpdater
from metadcseg.warp import Warp

Step = Callable[[], Any]

EVERY_SECOND = Binned(pseudo_labels="current", gold_momentum=0.0, dice="given", cross_fit=False)
"""Without what costs something beside the meta step."""
EXACT = replace(EVERY_SECOND, meta_every=1)
METHODS = {
    "supervised": Supervised(gold="mixed"),
    "exact": EXACT,
    "default": EVERY_SECOND,
    "exact_virtual_step": replace(EXACT, virtual_step="exact"),
    "paper": MetaDCSeg(warmup=0, clean_supervision=True),
    "not_shared": replace(EXACT, clean_supervision=False),
}
"""``not_shared`` has the gold gradient for the meta step only: what sharing it with supervision adds is nothing."""


OPPONENTS = {"double_backward": False, "lean_double_backward": True}


def batch(size: int, seed: int, dtype: torch.dtype = torch.float32, count: int = 4) -> Batch:
    """Blobs in noise, and labels that are the blobs."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, 6, 6, generator=generator)
    field = nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    images = field + 0.5 * torch.randn(count, 3, size, size, generator=generator)
    return Batch(images.to(dtype), (field[:, 0] > 0.3).long(), torch.arange(count), Warp.identity(count))


def made(width: int, size: int, folder: str, count: int) -> tuple[nn.Module, SgdUpdater, RunStorage]:
    network = create_network(NetworkOptions(width=width), 3, 2, torch.Generator().manual_seed(1)).train()
    updater = SgdUpdater(network, TrainingOptions(warmup=0), Fabric(accelerator="cpu", devices=1))
    return network, updater, RunStorage(Path(folder), count, (size, size))


def step_of(name: str, width: int, size: int, folder: str, count: int = 4) -> Step:
    """Return a function that takes one whole training step."""
    network, updater, storage = made(width, size, folder, count)
    method = METHODS.get(name, EXACT)
    state = method.start(network, updater, torch.Generator().manual_seed(2), storage)
    noisy, gold = batch(size, 0, count=count), batch(size, 1, count=count)
    if name in OPPONENTS:
        return lambda: double_backward_step(EXACT, state, noisy, gold, lean=OPPONENTS[name])
    return lambda: method.step(state, noisy, gold)


def double_backward(
    network: nn.Module,
    logits: torch.Tensor,
    noisy: Batch,
    pseudo: torch.Tensor,
    v: list[torch.Tensor],
    lr: float,
) -> PixelGradients:
    """The meta-gradients through a graph of second order, on a forward graph that is kept."""
    alpha = torch.ones_like(noisy.labels, dtype=logits.dtype).requires_grad_()
    beta = torch.zeros_like(alpha).requires_grad_()
    loss = mean_over_pixels(
        weighted_pixel_loss(logits, noisy.labels, pseudo, WeightMaps(alpha, beta)), noisy.labels
    )
    step = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
    agreement = torch.stack([(one * other).sum() for one, other in zip(v, step, strict=True)]).sum()
    return PixelGradients(*torch.autograd.grad(-lr * agreement, [alpha, beta], retain_graph=True))


def double_backward_step(method: Binned, state: MethodState, noisy: Batch, gold: Batch, lean: bool) -> None:
    """One step of ``Binned`` with these options, with double backward in place of forward mode."""
    network, updater = state.network, state.updater
    parameters = list(network.parameters())
    v = list(torch.autograd.grad(gold_loss(network, gold), parameters))
    output = network(noisy.images)
    prediction = prediction_of(output.logits).against(noisy.labels)
    gradients = double_backward(network, output.logits, noisy, prediction.labels, v, updater.lr)
    weights = state.parts["weights"].update(noisy, prediction, gradients)
    if not lean:
        output = network(noisy.images)
    boundary = torch.zeros_like(weights.gamma)
    if method.dcd:
        boundary = state.parts["boundary"].weigh(output, noisy, weights.gamma)
    objective = total_objective(
        weighted_pixel_loss(output.logits, noisy.labels, prediction.labels, weights),
        boundary,
        soft_dice_loss(output.logits.softmax(dim=1), noisy.labels),
        noisy.labels,
        method.lambda_boundary,
        method.lambda_dice,
    )
    updater.backward(objective.total)
    if lean:
        for parameter, direction in zip(parameters, v, strict=True):
            parameter.grad += direction
    else:
        updater.backward(gold_loss(network, gold))
    updater.step()


def gold_loss(network: nn.Module, gold: Batch) -> torch.Tensor:
    return mean_over_pixels(pixel_cross_entropy(network(gold.images).logits, gold.labels), gold.labels)


def error(width: int, size: int, dtype: torch.dtype) -> float:
    """Relative error of our meta-gradients against double backward, in the norm over both maps."""
    network = create_network(NetworkOptions(width=width), 3, 2, torch.Generator().manual_seed(1)).to(dtype)
    noisy, gold = batch(size, 0, dtype), batch(size, 1, dtype)
    _, v = gold_gradient(network, trainable(network), gold)
    output, change = jvp(network, noisy.images, v, training_pass=True)
    pseudo = pseudo_labels(output.logits)
    got = pixel_gradients(change, noisy.labels, pseudo, 0.1)
    wanted = double_backward(network, network(noisy.images).logits, noisy, pseudo, list(v.values()), 0.1)
    ours, theirs = (torch.stack([found.alpha, found.beta]) for found in (got, wanted))
    return float((ours - theirs).norm() / theirs.norm())


def times(width: int, size: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of one step of everything, taking turns."""
    names = ["supervised", *OPPONENTS, *(name for name in METHODS if name != "supervised")]
    with tempfile.TemporaryDirectory() as folder:
        steps = {name: step_of(name, width, size, f"{folder}/{name}") for name in names}
        every = dict.fromkeys(names, EXACT.meta_every) | {"default": EVERY_SECOND.meta_every}
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(rounds + 1):
            for name, step in steps.items():
                begun = time.perf_counter()
                for _ in range(every[name]):  # a whole period of its schedule
                    step()
                if turn:  # the first round warms up
                    seconds[name].append((time.perf_counter() - begun) / every[name])
    return seconds


def ratio(seconds: dict[str, list[float]], name: str, over: str) -> float:
    pairs = zip(seconds[name], seconds[over], strict=True)
    return statistics.median(one / other for one, other in pairs)


def memory(name: str, width: int, size: int, threads: int) -> int:
    """Bytes that three steps need at their highest, in a process of its own."""
    command = [sys.executable, __file__, "--alone", name, str(width), str(size), "--threads", str(threads)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def alone(name: str, width: int, size: int) -> int:
    def status(key: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))

    with tempfile.TemporaryDirectory() as folder:
        step = step_of(name, width, size, folder)
        before = status("VmRSS")
        for _ in range(3):
            step()
        return status("VmHWM") - before


def case(width: int, size: int, rounds: int, threads: int) -> dict[str, Any]:
    seconds = times(width, size, rounds)
    highest = {
        name: memory(name, width, size, threads) for name in ("supervised", "exact", "default", *OPPONENTS)
    }
    return {
        "width": width,
        "pixels": size,
        "error_vs_double_backward": {
            "float32": error(width, size, torch.float32),
            "float64": error(width, size, torch.float64),
        },
        "time_vs_double_backward": ratio(seconds, "exact", "double_backward"),
        "peak_memory_vs_double_backward": highest["exact"] / highest["double_backward"],
        "time_vs_lean_double_backward": ratio(seconds, "exact", "lean_double_backward"),
        "peak_memory_vs_lean_double_backward": highest["exact"] / highest["lean_double_backward"],
        "time_vs_supervised": ratio(seconds, "exact", "supervised"),
        "time_vs_supervised_default": ratio(seconds, "default", "supervised"),
        "memory_vs_supervised": highest["exact"] / highest["supervised"],
        "time_vs_supervised_of": {
            name: ratio(seconds, name, "supervised") for name in seconds if name != "supervised"
        },
        "seconds": {
            name: {"median": statistics.median(all_of_it), "quartiles": statistics.quantiles(all_of_it)[::2]}
            for name, all_of_it in seconds.items()
        },
        "peak_bytes": highest,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the numbers, not the table")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--pixels", type=int, nargs="+", default=[96, 160])
    parser.add_argument("--alone", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.alone:
        print(alone(options.alone[0], int(options.alone[1]), int(options.alone[2])))
        return
    cases = []
    for width in options.widths:
        for size in options.pixels:
            cases.append(case(width, size, options.rounds, options.threads))
            print(f"width {width}, {size} pixels: done", file=sys.stderr)
    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    result = {"machine": machine | {"threads": options.threads}, "rounds": options.rounds, "cases": cases}
    if options.json:
        print(json.dumps(result, indent=1))
        return
    for found in cases:
        print(f"\nU-Net++ of width {found['width']}, {found['pixels']} pixels, 4 noisy + 4 gold images")
        for key, value in found.items():
            if key.startswith(("error", "time", "peak_memory", "memory")):
                shown = value if isinstance(value, dict) else {"": value}
                print(
                    f"  {key:32}"
                    + "  ".join(f"{name} {number:.3g}".strip() for name, number in shown.items())
                )


if __name__ == "__main__":
    main()
