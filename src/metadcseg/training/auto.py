"""Input size, width, batch and epochs for a set and a machine, where nobody has said them.

What is chosen follows from the images, the objects in their masks, and the kind of machine: never from a measured
speed, so that the same set on the same machine always gets the same training. It does not depend on the method,
so that methods can be compared.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from math import ceil, prod
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage

from metadcseg.constants import IGNORE
from metadcseg.data.findings import plural
from metadcseg.data.store.reader import PreparedSet
from metadcseg.networks import NetworkOptions
from metadcseg.training.options import TrainingOptions

MOST_CASES = 200
"""Masks that are looked at, spread evenly over training and gold cases."""

_SPECK = 4  # pixels: what is smaller is taken for a slip of the pen
_KEEP = 6.0  # pixels that the smallest objects shall span on the input grid
_LEAST_KEPT = 3.0  # below this the sentence warns
_BYTES = (
    600  # of memory per pixel, image and channel of full resolution: measured, of a step with a gold batch
)
_LEAST_EPOCHS = 10


@dataclass(frozen=True)
class Machine:
    """What there is to compute with.

    Args:
        kind: ``"cuda"``, or ``"cpu"`` for everything else.
        threads: processor threads that train.
        memory: bytes of one GPU.
    """

    kind: Literal["cpu", "cuda"]
    threads: int
    memory: int = 0


@dataclass(frozen=True)
class Objects:
    """How large the small ones among the objects are: the 5th percentile of all connected parts of a class.

    Args:
        share: the diameter of a disk of equal area, as a share of the image's side.
        pixels: the same in pixels of the image.
    """

    share: float
    pixels: float


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Args:
        network: options of the network that nobody had said.
        training: likewise of the training.
        epochs: the epochs of this training, chosen or said.
        sentence: all of it in words.
    """

    network: dict[str, Any]
    training: dict[str, Any]
    epochs: int
    sentence: str


@dataclass(frozen=True)
class _Scale:
    """What a kind of machine can carry: sides, widths to try, epochs, and visits of cases in all.

    A visit costs one for an image of 96 x 96 pixels and a network of width 16. On two threads a CPU makes the
    visits of its budget in about half an hour to an hour, with the default method.
    """

    side: int
    most: int
    depth: int
    widths: tuple[int, ...]
    epochs: int
    steps: int
    budget: float


def this_machine(options: TrainingOptions) -> Machine:
    """Return what the training will compute with; Apple's GPUs count as processors."""
    threads = min((options.threads or torch.get_num_threads()) * options.devices, os.cpu_count() or 1)
    if options.accelerator in ("auto", "cuda") and torch.cuda.is_available():
        return Machine("cuda", threads, torch.cuda.get_device_properties(0).total_memory)
    return Machine("cpu", threads)


def small_objects(prepared: PreparedSet) -> Objects | None:
    """Return how large the smallest objects of training and gold masks are, None where there are none.

    Raises:
        InputError: where a mask is damaged.
    """
    cases = [*prepared.select("train"), *prepared.select("gold")]
    places = np.unique(np.linspace(0, len(cases) - 1, min(MOST_CASES, len(cases))).round().astype(int))
    found: list[tuple[float, float]] = []
    for case in (cases[place] for place in places):
        label = prepared.label(case)
        for value in np.unique(label):
            if value in (0, IGNORE):
                continue
            parts, _ = ndimage.label(label == value, structure=np.ones((3, 3)))
            for area in np.bincount(parts.ravel())[1:]:
                if area >= _SPECK:
                    diameter = 2 * float(np.sqrt(area / np.pi))
                    found.append((diameter / float(np.sqrt(label.size)), diameter))
    if not found:
        return None
    share, pixels = np.percentile(np.array(found), 5, axis=0)
    return Objects(float(share), float(pixels))


def choose(
    prepared: PreparedSet,
    network: NetworkOptions,
    options: TrainingOptions,
    said: Collection[str],
    machine: Machine | None = None,
) -> Choice:
    """Choose what was not said.

    Args:
        prepared: the set to train on.
        network: what was said of it; the rest by default.
        options: likewise of the training.
        said: the options that were said, such as ``training.size``: they are kept and the others fitted to them.
        machine: what there is to compute with; by default this one.

    Returns:
        What to train with.

    Raises:
        InputError: where a mask is damaged.
    """
    machine = machine or this_machine(options)
    solid = network.spatial_dims == 3
    scale = _scale(machine, solid)
    objects = small_objects(prepared)
    size = options.size if "training.size" in said else _size(prepared, scale, objects)
    depth = options.depth if "training.depth" in said else _depth(prepared, scale)
    grid = options.patch if solid and options.patch else (*((depth,) if solid else ()), size, size)
    pixels = prod(grid)
    cases = _count(prepared, solid)
    sharing = options.devices * options.nodes
    least = 2 if solid else 8
    batch = options.batch if "training.batch" in said else sharing * ceil(least / sharing)
    own_width = "network.width" in said or network.width is None or network.class_path is not None
    width, epochs = network.like_width, options.epochs
    for width in (network.like_width,) if own_width else scale.widths:
        visits = scale.budget / (pixels / 96**2 * (width / 16) ** 1.5 * (4 if solid else 1))
        room = int(visits / max(cases, 1))
        if room >= _LEAST_EPOCHS and (machine.kind == "cpu" or _fits(machine, batch, pixels, width)):
            break
    while machine.kind == "cuda" and "training.batch" not in said and batch % (2 * sharing) == 0:
        if _fits(machine, batch, pixels, width):
            break
        batch //= 2
    if "training.epochs" not in said:
        wanted = min(max(scale.epochs, ceil(scale.steps / ceil(max(cases, 1) / batch))), 100)
        epochs = max(_LEAST_EPOCHS, min(wanted, room))
    chosen = {"epochs": epochs, "batch": batch, "gold_batch": batch, "size": size} | (
        {"depth": depth} if solid else {}
    )
    return Choice(
        {} if own_width else {"width": width},
        {name: value for name, value in chosen.items() if f"training.{name}" not in said},
        epochs,
        f"{' x '.join(map(str, grid)) if solid else size} {'voxels' if solid else 'px'}{_kept(objects, size)}, "
        + _size_of(network, width)
        + f"batch {batch}, {plural(epochs, 'epoch')}",
    )


def _size_of(network: NetworkOptions, width: int) -> str:
    if network.class_path:
        return ""
    return f"width {width}, " if network.size is None else f"{network.name} {network.size}, "


def _scale(machine: Machine, solid: bool) -> _Scale:
    if machine.kind == "cuda":
        if solid:
            return _Scale(128, 192, 64, (32, 16, 8), 100, 2000, 1e6)
        return _Scale(256, 512, 64, (64, 32, 16, 8), 100, 2000, 1e7)
    threads = min(machine.threads, 16)
    many = threads >= 8
    budget = 6000.0 * threads
    if solid:
        return _Scale(64, 96, 32, (8,), 40, 800, budget)
    return _Scale(128 if many else 96, 224 if many else 160, 64, (16, 8), 40, 800, budget)


def _size(prepared: PreparedSet, scale: _Scale, objects: Objects | None) -> int:
    """Return a multiple of 32 that keeps the smallest objects, at most the images' own size and what is bearable."""
    cases = [*prepared.select("train"), *prepared.select("gold")]
    own = float(np.median([np.sqrt(case.height * case.width) for case in cases])) if cases else 32.0
    wanted = scale.side if objects is None else max(scale.side, _KEEP / objects.share)
    return int(min(scale.most, 32 * ceil(min(wanted, max(own, 32)) / 32)))


def _depth(prepared: PreparedSet, scale: _Scale) -> int:
    slices = [len(prepared.slices_of(volume)) for volume in prepared.volumes if volume.role == "train"]
    return int(min(scale.depth, 16 * ceil(float(np.median(slices)) / 16))) if slices else scale.depth


def _count(prepared: PreparedSet, solid: bool) -> int:
    if solid:
        return sum(volume.role == "train" for volume in prepared.volumes)
    return len(prepared.select("train"))


def _fits(machine: Machine, batch: int, pixels: int, width: int) -> bool:
    return _BYTES * batch * pixels * width <= 0.6 * machine.memory


def _kept(objects: Objects | None, size: int) -> str:
    if objects is None:
        return ""
    here = objects.share * size
    if here < _LEAST_KEPT:
        return (
            f" (of the smallest objects, {objects.pixels:.0f} px wide, only {here:.1f} are left: a larger "
            "--training.size keeps more)"
        )
    return f" (objects of {objects.pixels:.0f} px and more keep {here:.0f})"
