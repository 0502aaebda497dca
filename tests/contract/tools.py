"""A loop's side of the method contract, as small as it can be: updater, storage, network, batches."""

import atexit
import copy
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metadcseg.methods import create_method
from metadcseg.networks import Committee, TappedNetwork
from metadcseg.tensors import Batch
from metadcseg.training.pixel_store.pixel_maps import RunStorage
from metadcseg.warp import Warp

CLASSES = 3
SIZE = 16

_SCRATCH = Path(tempfile.mkdtemp(prefix="metadcseg-tests-"))
atexit.register(shutil.rmtree, _SCRATCH)


def storage(size: int = SIZE, images: int = 10, folder: Path | None = None, axes: int = 2) -> RunStorage:
    """A storage in a folder of its own, or in one that is there."""
    return RunStorage(folder or Path(tempfile.mkdtemp(dir=_SCRATCH)), images, (size,) * axes)


class PlainUpdater:
    """SGD with momentum and a moving average: the smallest thing that keeps the Updater contract."""

    def __init__(self, network: nn.Module) -> None:
        self.epoch = 0
        self.steps = 0
        self.gold_images = 4
        self.gold_batch = 8
        self.network = network
        self.ema_model = copy.deepcopy(network)
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)

    @property
    def lr(self) -> float:
        return 0.1

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def mean(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(tensors)

    def begin_anew(self) -> None:
        self.optimizer.state.clear()
        self.ema_model.load_state_dict(self.network.state_dict())

    def step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        with torch.no_grad():
            for mean, value in zip(self.ema_model.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value, 0.5)


HEADS = {
    "condseg": {"foreground": 1, "background": 1, "uncertainty": 1},
    "madgnet": dict.fromkeys(["region_1", "distance_1", "boundary_1", "distance_2", "boundary_2"], CLASSES),
}
"""The auxiliary maps that a method trains, with their channels."""


class Heads(nn.Module):
    """A last layer with auxiliary maps beside the logits, and a first stage of ConDSeg's kind without them."""

    def __init__(self, convolution: type[nn.Conv2d] | type[nn.Conv3d], channels: Mapping[str, int]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({name: convolution(6, outputs, 1) for name, outputs in channels.items()})
        self.logits, self.first_stage = convolution(6, CLASSES, 1), convolution(6, CLASSES, 1)
        self.encoder_only = False

    def train_encoder(self, only: bool) -> None:
        self.encoder_only = only

    def forward(self, features: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if self.encoder_only:
            return self.first_stage(features), {}
        return self.logits(features), {name: head(features) for name, head in self.heads.items()}


def tiny_network(
    seed: int = 0, kernel: int = 3, depth: int = 1, axes: int = 2, heads: Mapping[str, int] | None = None
) -> TappedNetwork:
    """A few convolutions; with ``kernel=1`` no pixel knows of any other."""
    convolution = nn.Conv2d if axes == 2 else nn.Conv3d
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for inputs in [2] + [6] * depth:
            layers += [convolution(inputs, 6, kernel, padding=kernel // 2), nn.ReLU()]
        last = convolution(6, CLASSES, 1) if heads is None else Heads(convolution, heads)
        network = nn.Sequential(*layers, last)
    return TappedNetwork(network, str(len(layers)), classes=CLASSES, axes=axes)


def network_of(
    name: str, options: Mapping[str, Any], seed: int = 0, **shape: int
) -> TappedNetwork | Committee:
    """What a method trains: the tiny network with the heads it needs, or a committee of some whose weights differ."""
    count = create_method(name, **options).info.networks
    heads = HEADS.get(name)
    made = [tiny_network(seed + 10 * place, heads=heads, **shape) for place in range(count)]
    return made[0] if count == 1 else Committee(made)


def batch(seed: int, count: int = 2, size: int = SIZE, first: int = 0) -> Batch:
    """Random images, blocks of every class as labels, random edges, one image mirrored."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(count, size, size, dtype=torch.int64)
    labels[:, 2:8, 3:9] = 1
    labels[:, 9:14, 6:12] = 2
    images = torch.randn(count, 2, size, size, generator=generator) + labels.unsqueeze(1)
    matrix = Warp.identity(count).matrix.clone()
    matrix[0, 0, 0] = -1
    edges = 0.5 * (torch.rand(count, size, size, generator=generator) < 0.02)
    return Batch(images, labels, torch.arange(first, first + count), Warp(matrix), edges)


def gold_batch(seed: int, count: int = 2, size: int = SIZE) -> Batch:
    """Verified images and the masks they replaced: shifted by a pixel or two, image by image."""
    return with_given(batch(seed, count, size))


def gold_volume_batch(seed: int) -> Batch:
    """The same of volumes."""
    return with_given(volume_batch(seed))


def with_given(gold: Batch) -> Batch:
    """Return a batch with pairs."""
    shifted = [label.roll(1 + number, dims=-1) for number, label in enumerate(gold.labels)]
    return replace(gold, given=torch.stack(shifted))


def volume_batch(seed: int, count: int = 2, size: int = SIZE, first: int = 0) -> Batch:
    """The same of volumes: patches of half a grid's depth, every slice like the images of :func:`batch`."""
    flat = batch(seed, count, size, first)
    depth = size // 2
    generator = torch.Generator().manual_seed(seed)
    labels = flat.labels.unsqueeze(1).repeat(1, depth, 1, 1)
    noise = torch.randn(count, 2, depth, size, size, generator=generator)
    matrix = Warp.identity(count, 3).matrix
    matrix[:, 2, 2], matrix[:, 2, 3] = 0.5, 0.25  # slices 6 to 13 of 16
    matrix[0, 0, 0] = -1
    assert flat.edges is not None
    edges = flat.edges.unsqueeze(1).repeat(1, depth, 1, 1)
    return Batch(flat.images.unsqueeze(2) + noise, labels, flat.indices, Warp(matrix), edges)
