"""A tiny set, network and method, with which the loop can be watched."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from metadcseg.data.loading.augmentation import AugmentOptions
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.losses import mean_over_pixels, pixel_cross_entropy
from metadcseg.methods.base import MethodInfo, MethodState, StepReport
from metadcseg.networks import NetworkOptions
from metadcseg.tensors import WeightMaps
from metadcseg.training import TrainingOptions, train

NETWORK = NetworkOptions(class_path="tests.unit.training.helpers.TinyNetwork")
COUNTS = {"train": 7, "gold": 3, "val": 3, "test": 2}


def make_set(
    path: Path, truth: bool = False, edges: bool = False, pairs: int = 0, **counts: int
) -> PreparedSet:
    """Write a set of bright disks; every mask holds both classes, and edges are where it changes between rows.

    So many gold cases hold a mask that theirs replaced: it lies two pixels further to the right.
    """
    draw = np.random.default_rng(0)
    detector = {"detector": "by hand", "sha256": ""} if edges else None
    classes = ("background", "disk")
    with SetWriter(path, name="disks", classes=classes, channels=1, edge_detector=detector) as writer:
        for role, count in (COUNTS | counts).items():
            for number in range(count):
                rows, columns = np.mgrid[:24, :20]
                center = draw.uniform(8, 12, size=2)
                label = ((rows - center[0]) ** 2 + (columns - center[1]) ** 2 < 36).astype(np.uint8)
                image = (80 * label + draw.normal(100, 20, label.shape)).clip(0, 255).astype(np.uint8)
                writer.add(
                    id=f"{role}{number}",
                    role=role,
                    group=f"{role}{number}",
                    image=image[..., None],
                    label=label,
                    truth=label if truth else None,
                    given=np.roll(label, 2, axis=1) if role == "gold" and number < pairs else None,
                    edges=200 * np.diff(label, axis=0, prepend=0).astype(bool).astype(np.uint8)
                    if edges
                    else None,
                )
    return PreparedSet.open(path)


class TinyNetwork(nn.Module):
    """A network with dropout (global randomness) and running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(3, 2, 1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


class Memory:
    """A part of a method's state that changes with every step."""

    def __init__(self) -> None:
        self.seen = torch.zeros(100)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"].clone()


@dataclass(frozen=True)
class Fake:
    """Cross-entropy, weighted by its own random numbers and by what it remembers."""

    name: ClassVar[str] = "fake"
    gold: bool = False
    labels: str = "given"
    maps: bool = True
    poison: int = -1
    edges: bool = False
    pairs: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "log", [])  # what each step got; no option
        object.__setattr__(self, "batches", [])  # likewise

    @property
    def info(self) -> MethodInfo:
        return MethodInfo(
            needs_gold=self.gold,
            supervises_gold=False,
            labels=self.labels,
            uses_edges=self.edges,
            uses_pairs=self.pairs,
        )

    def start(
        self, network: nn.Module, updater: Any, generator: torch.Generator, storage: Any
    ) -> MethodState:
        return MethodState(network, updater, generator, {"memory": Memory()})

    def step(self, state: MethodState, noisy: Any, gold: Any) -> StepReport:
        memory = state.parts["memory"]
        weight = 0.5 + torch.rand((), generator=state.generator) + 0.01 * memory.seen[noisy.indices].mean()
        loss = weight * mean_over_pixels(
            pixel_cross_entropy(state.network(noisy.images).logits, noisy.labels), noisy.labels
        )
        if memory.seen.sum() == self.poison:
            loss = loss * float("nan")
        state.updater.backward(loss)
        state.updater.step()
        memory.seen[noisy.indices] += 1
        self.batches.append((noisy, gold))
        self.log.append((noisy.indices.tolist(), None if gold is None else gold.indices.tolist()))
        ones = torch.ones(noisy.labels.shape)
        maps = WeightMaps(ones, ones * weight.detach()) if self.maps else None
        return StepReport({"loss": loss.detach(), "boundary": loss.detach()}, maps)

    def predict(self, state: MethodState, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return state.network(images).logits.softmax(dim=1)


def options(**changed: Any) -> TrainingOptions:
    standard = {
        "epochs": 3,
        "batch": 2,
        "gold_batch": 2,
        "size": 16,
        "warmup": 2,
        "lr": 0.1,
        "figure_every": 0,
        "accelerator": "cpu",
        "threads": 1,
        "augment": AugmentOptions(zoom=(1, 2)),
    }
    return TrainingOptions(**(standard | changed))


def run(prepared: PreparedSet, out: Path, method: Any = None, **arguments: Any) -> Any:
    changed = arguments.pop("changed", {})
    return train(prepared, method or Fake(), NETWORK, options(**changed), out, **arguments)


class PlainNetwork(nn.Module):
    """A network without chance in it, so that a compiled pass can be compared with a plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.layers(images)
        return answer
