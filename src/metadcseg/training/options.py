"""The options of training, checked where they are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from metadcseg.data.loading.augmentation import AugmentOptions
from metadcseg.errors import InputError
from metadcseg.validation import check_range, check_types

Accelerator = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "32-true", "bf16-mixed"]
Outlines = Literal["fused", "each"]


_MOST_PROCESSES = 1024


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained (section 4.1 and table 8 of the paper).

    Args:
        epochs: passes over the training cases.
        batch: training cases per step.
        gold_batch: gold cases per step, where the method reads gold.
        size: side of the square input grid, in pixels.
        depth: slices of the input grid of networks in three dimensions, to which every volume is stretched.
        patch: (slices, rows, columns) of the parts of that grid that such networks train on and predict; by default
            the whole grid.
        lr: learning rate before schedule and warm-up.
        momentum: of stochastic gradient descent.
        weight_decay: of stochastic gradient descent.
        decay: the learning rate falls as decay / (epoch + decay), in epochs.
        warmup: epochs over which the learning rate rises linearly; never more than ``epochs``.
        clip: largest norm of the whole gradient; 0 switches clipping off.
        ema_decay: of the exponential moving average (EMA) of the weights, which is what gets validated and kept; 0:
            none.
        augment: how training images are moved.
        outlines: of images that several annotators drew, the label that was ``"fused"`` of all, or ``"each"``: what one
            of them drew, somebody else in each epoch; likewise of gold images for the mask that was replaced.
        validate_every: epochs between two looks at the validation cases; the last epoch always is one.
        figure_every: epochs between two figures of sample predictions; 0: none.
        checkpoint_minutes: minutes between two checkpoints within an epoch, each of which ends with one; 0:
            after every step.
        threads: processor threads of each device; by default all that torch takes, or an equal part of the
            processors where several devices are on one machine.
        workers: processes that make batches for each device, and one more for gold; 0: a thread of the training does.
        devices: GPUs, or processes on a CPU, of each node; ``batch`` and ``gold_batch`` are divided among all
            devices of all nodes, so that their number must divide both.
        nodes: machines that train together, started by torchrun or SLURM.
        accelerator: auto, cpu, cuda or mps.
        precision: 32-true, bf16-mixed for training passes in half precision, or auto: half precision with channels
            last where the device computes bfloat16.
        channels_last: keep the network's maps with their channels together in memory, which is faster on most
            processors; a network of your own that calls ``.view`` on its maps cannot.
        compile: have torch.compile translate the network in its first steps, which takes minutes and pays in long
            trainings; needs a C++ compiler on the machine.

    Raises:
        InputError: naming the option that has a value it must not have.

    Example:
        >>> TrainingOptions(lr=-1)
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: training.lr must be above 0, got -1
    """

    name: ClassVar[str] = "training"

    epochs: int = 100
    batch: int = 8
    gold_batch: int = 8
    size: int = 256
    depth: int = 64
    patch: tuple[int, int, int] | None = None
    lr: float = 0.005
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay: float = 20.0
    warmup: int = 10
    clip: float = 0.2
    ema_decay: float = 0.99
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    outlines: Outlines = "fused"
    validate_every: int = 1
    figure_every: int = 10
    checkpoint_minutes: float = 10.0
    threads: int | None = None
    workers: int = 0
    devices: int = 1
    nodes: int = 1
    accelerator: Accelerator = "auto"
    precision: Precision = "32-true"
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        for name in (
            "epochs",
            "batch",
            "gold_batch",
            "size",
            "depth",
            "validate_every",
            "devices",
            "nodes",
            "threads",
        ):
            check_range(self, name, at_least=1)
        for name in ("workers", "warmup", "figure_every", "weight_decay", "clip", "checkpoint_minutes"):
            check_range(self, name, at_least=0)
        for name in ("lr", "decay"):
            check_range(self, name, above=0)
        for name in ("momentum", "ema_decay"):
            check_range(self, name, at_least=0, below=1)
        for name in ("workers", "threads"):  # a file that asks for more takes the machine down
            check_range(self, name, at_most=_MOST_PROCESSES)
        if self.patch is not None and min(self.patch) < 1:
            raise InputError(f"training.patch must be three whole numbers of at least 1, got {self.patch}")
        sharing = self.devices * self.nodes
        for name in ("batch", "gold_batch"):
            if getattr(self, name) % sharing:
                raise InputError(
                    f"training.{name} must be a multiple of {sharing}, the devices that share it (training.devices x "
                    f"training.nodes), got {getattr(self, name)}"
                )


def training_options(plain: Mapping[str, Any]) -> TrainingOptions:
    """Return options from what JSON has made of them.

    Example:
        >>> import json
        >>> from dataclasses import asdict
        >>> options = TrainingOptions(epochs=3, patch=(8, 64, 64), augment=AugmentOptions(zoom=(1, 2)))
        >>> training_options(json.loads(json.dumps(asdict(options)))) == options
        True
    """
    moved = plain["augment"]
    augment = AugmentOptions(**{**moved, "zoom": tuple(moved["zoom"])})
    patch = None if plain["patch"] is None else tuple(plain["patch"])
    return TrainingOptions(**{**plain, "augment": augment, "patch": patch})
