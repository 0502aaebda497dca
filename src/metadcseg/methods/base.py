"""What every method promises, and what the loop, the reports and the contract tests rely on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from metadcseg.methods.late_buffers import LateBuffers
from metadcseg.methods.old_states import upgrade_parts
from metadcseg.tensors import Batch, WeightMaps

GoldSupervision = Literal["none", "mixed"]
"""Of methods that know no gold: whether a gold batch is added to every step, as to all others."""


@dataclass(frozen=True)
class MethodInfo:
    """What a method needs and costs; printed beside every score.

    Args:
        needs_gold: the method reads gold batches.
        supervises_gold: gold batches also enter its training loss.
        labels: which labels of the training cases it gets: ``"given"``, or ``"truth"`` for an upper bound.
        networks: the number of networks it trains: where there are several, it is given a
            :class:`metadcseg.networks.Committee` of so many.
        passes: forward-equivalents of one network per step, counting a backward pass as two and a forward pass that
            carries a tangent as three.
        uses_edges: the edges of a batch (eq. 8) change what it learns; where a set has none, training says so.
        least_gold: of fewer verified cases it learns no trust; where there are fewer, training says so.
        asks_gold: gold also says how far to trust other labels, or how to correct them, trained on or not; what
            the pairs say of them is ``uses_pairs``.
        uses_pairs: gold batches also hold the masks that the verified ones replaced (``Batch.given``), where known.
        warmup: epochs before its own way of learning begins; where training is no longer than that, it says so.
        warmup_option: which of its options says how long that is.
        kept_from: the first epoch, from 0, whose network may be kept as the best, where training goes on so long: the
            epochs before it train only a part of the network.
        network: the only network of the package that it can train, None where any will do; a network of one's own is
            asked when training starts.
        keeps_weights: ``weights`` returns what it has learned of single pixels; False where it always returns None.
    """

    needs_gold: bool
    supervises_gold: bool
    labels: Literal["given", "truth"] = "given"
    networks: int = 1
    passes: float = 3.0
    uses_edges: bool = False
    least_gold: int = 1
    asks_gold: bool = False
    uses_pairs: bool = False
    warmup: int = 0
    warmup_option: str = "warmup"
    kept_from: int = 0
    network: str | None = None
    keeps_weights: bool = True

    @property
    def passes_each(self) -> float:
        """Forward-equivalents per step of all networks together: a pass of each counts as one."""
        return self.passes / self.networks


@dataclass(frozen=True)
class StepReport:
    """What happened in one step.

    Args:
        scalars: name -> 0-dimensional detached tensor (never ``.item()``: that would wait for the device).
        maps: the weights the step trained with, for pictures; None where the method has none.
    """

    scalars: Mapping[str, Tensor]
    maps: WeightMaps | None = None


class Updater(Protocol):
    """How a method changes the network: the loop owns optimizer, clipping, schedule and averaging.

    Attributes:
        epoch: the epoch now running, from 0.
        steps: the optimizer steps taken so far.
        ema_model: the moving average of the network, or None where it is off.
        gold_images: how many verified images there are in all; 0 for a method that reads none.
        gold_batch: how many of them a step gets, over all devices.
    """

    epoch: int
    steps: int
    ema_model: nn.Module | None
    gold_images: int
    gold_batch: int

    @property
    def lr(self) -> float:
        """The learning rate of this step (lambda of eq. 21)."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of ``loss`` to the parameters' ``.grad``."""
        ...

    def mean(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the average over the devices that share a batch; on one device, what was given."""
        ...

    def step(self) -> None:
        """Average the gradients over the devices, clip, take one optimizer step, move the EMA, and clear them."""
        ...

    def begin_anew(self) -> None:
        """Forget what earlier steps left in the optimizer and the EMA, for weights that were put back."""
        ...


class PixelMaps(Protocol):
    """One number for every pixel of every training image, kept in half precision from visit to visit."""

    @property
    def grid(self) -> tuple[int, ...]:
        """(H, W) of every map: the input grid."""
        ...

    def read(self, images: Sequence[int]) -> Tensor:
        """Return (K, H, W) float32 on the CPU; 0 for an image that was never written."""
        ...

    def write(self, images: Sequence[int], values: Tensor) -> None:
        """Keep (K, H, W) numbers, rounded to half precision and cut at +-65504, its largest number."""
        ...


class Storage(Protocol):
    """Where a method keeps what is too large for memory and checkpoints; owned and saved by the loop.

    What is in it goes with the checkpoints: after a crash, the maps are again as they were at the last one.
    """

    def open(self, name: str) -> PixelMaps:
        """Return the maps of this name; all of them are 0 at the start."""
        ...


@dataclass
class MethodState:
    """Everything of a method that changes during training, beside what updater and storage own.

    Args:
        network: the network being trained; called as ``network(images) -> Output(logits, features)``.
        updater: see :class:`Updater`.
        generator: the method's only source of randomness.
        parts: what lives between steps, by name (weight models, centers, running means): modules with buffers.
    """

    network: nn.Module
    updater: Updater
    generator: torch.Generator
    parts: dict[str, Any] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values only, so that it can be read back without pickle."""
        return {
            "generator": self.generator.get_state(),
            "parts": {name: dict(part.state_dict()) for name, part in self.parts.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any], classes: int) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            ValueError: where a part is of more or fewer classes.
        """
        self.generator.set_state(state["generator"])
        saved = upgrade_parts(state["parts"])
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
            for module in part.modules() if isinstance(part, nn.Module) else ():
                if isinstance(module, LateBuffers):
                    module.check_classes(classes)


class Method(Protocol):
    """A frozen dataclass of a method's own options; adding a method is one file and one registry line."""

    name: ClassVar[str]

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs with these options."""
        ...

    def start(
        self, network: nn.Module, updater: Updater, generator: torch.Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step."""
        ...

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Train on one noisy batch (and a gold batch where declared); calls ``updater.step`` at least once."""
        ...

    def weights(self, state: MethodState, noisy: Batch) -> WeightMaps | None:
        """Return the weights of a batch as they stand, without learning; None where the method keeps none.

        They are 0 where labels are ignored, and alpha holds the confidence that the labels came with.
        """
        ...

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images, without touching any state."""
        ...
