"""How long a training will take: a few steps of its network on its device, times what the method makes of them."""

import time
from collections.abc import Mapping
from copy import deepcopy
from math import ceil
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from metadcseg.networks import NetworkOptions
from metadcseg.training.options import TrainingOptions

_SECONDS = 3.0
_MOST_STEPS = 3


def seconds_per_pass(
    network: nn.Module, channels: int, described: NetworkOptions, options: TrainingOptions, fabric: Fabric
) -> float | None:
    """Return the seconds of one forward pass of one case, a third of forward and backward; None where none works.

    On a processor time grows with the pixels, so that a part of a large image is enough. The network itself is left
    as it is.

    Args:
        network: on its device.
        channels: C of the images.
        described: which network that is.
        options: the input grid.
        fabric: device and precision.
    """
    own, solid = described.class_path is not None, described.spatial_dims == 3
    grid: tuple[int, ...] = (options.size, options.size)
    if solid:
        grid = options.patch or (options.depth, *grid)
    few = fabric.device.type == "cpu" and not own
    looked = tuple(min(side, limit) for side, limit in zip(grid, _part(solid), strict=True)) if few else grid
    part = 1.0
    for side, whole in zip(looked, grid, strict=True):
        part *= side / whole
    probe = deepcopy(network).train()
    images = torch.zeros(2 if few and not solid else 1, channels, *looked, device=fabric.device)
    spent: list[float] = []
    began = time.monotonic()
    try:
        while len(spent) < _MOST_STEPS and (not spent or time.monotonic() - began < _SECONDS):
            start = time.monotonic()
            with fabric.autocast():
                loss = probe(images).logits.float().mean()
            fabric.backward(loss)
            if fabric.device.type == "cuda":
                torch.cuda.synchronize(fabric.device)
            spent.append(time.monotonic() - start)
    except (RuntimeError, ValueError):  # the training itself will say what is wrong, and where
        return None
    return min(spent) / 3 / len(images) / part


def expected_seconds(
    per_pass: float, *, cases: int, validation: int, passes: float, options: TrainingOptions
) -> float:
    """Return the seconds of a whole training.

    Args:
        per_pass: seconds of a forward pass of one case.
        cases: training cases, or volumes.
        validation: validation cases, or volumes.
        passes: forward-equivalents of the method per step and training case.
        options: epochs, and how often to validate.

    Example:
        >>> expected_seconds(0.01, cases=100, validation=10, passes=6.0, options=TrainingOptions(epochs=10))
        61.0
    """
    looks = ceil(options.epochs / options.validate_every)
    return per_pass * (options.epochs * cases * passes + looks * validation)


def announce(
    chosen: str,
    per_pass: float | None,
    cases: int,
    validation: int,
    passes: float,
    options: TrainingOptions,
    machine: Mapping[str, Any],
    network: NetworkOptions,
) -> str:
    """Return the line that says what was chosen, how long it will take, and how to have it otherwise.

    Args:
        chosen: the options in words.
        per_pass: see :func:`expected_seconds`; None where nothing could be timed.
        cases: likewise.
        validation: likewise.
        passes: likewise.
        options: of the training.
        machine: as ``run.json`` describes it.
        network: which; it decides how its size is told.
    """
    where = "this GPU" if machine["device"] == "cuda" else f"this {machine['device'].upper()}"
    if machine["device"] == "cpu":
        where += f" ({machine['threads']} thread{'s' if machine['threads'] > 1 else ''})"
    told = ""
    if per_pass is not None:
        shared = per_pass / (options.devices * options.nodes)
        seconds = expected_seconds(shared, cases=cases, validation=validation, passes=passes, options=options)
        told = f": {in_words(seconds)} on {where}"
    size = "" if network.class_path else f"--network.{'width' if network.size is None else 'size'}, "
    return f"auto: {chosen}{told}; change with --training.size, {size}--epochs, or take --config small"


def in_words(seconds: float) -> str:
    """Return a duration as one says it.

    Example:
        >>> in_words(40), in_words(700), in_words(50_000)
        ('under a minute', 'about 12 min', 'about 13.9 h')
    """
    if seconds < 45:
        return "under a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def _part(solid: bool) -> tuple[int, ...]:
    return (16, 64, 64) if solid else (96, 96)
