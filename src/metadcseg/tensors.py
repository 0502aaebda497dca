"""What travels between the rooms: batches and weight maps, with the checks of shape, dtype and range.

Letters used everywhere: N images in a batch, C channels, L classes (0 is background), H and W pixels,
D features. Images may as well be volumes: wherever H, W stand, there are then Z, H, W, and pixels are voxels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Literal

import torch
from torch import Tensor

from metadcseg.constants import IGNORE as IGNORE
from metadcseg.errors import InputError
from metadcseg.warp import Warp

AllReduceMean = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Takes named tensors to their averages over the devices that share a batch; on one device, to themselves."""


Axes = tuple[int | str | EllipsisType | None, ...]
"""An expected shape: a number is that size, a letter or ``None`` any size, a last ``...`` is H, W or Z, H, W."""

Kind = Literal["float", "int64", "bool"]
"""What a tensor holds; ``"float"`` is any floating dtype."""


def check_shape(name: str, tensor: Tensor, expected: Axes) -> None:
    """Raise unless a tensor has the expected shape.

    Raises:
        InputError: naming the tensor, the shape expected and the shape got.

    Example:
        >>> check_shape("labels", torch.zeros(2, 4, 4), (None, 4, 4))
        >>> check_shape("gamma", torch.zeros(4, 4), ("N", ...))
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: gamma must have the shape (N, H, W) or (N, Z, H, W), got (4, 4)
    """
    shapes = [expected]
    if ... in expected:
        shapes = [(*expected[:-1], *pixels) for pixels in (("H", "W"), ("Z", "H", "W"))]
    got = tuple(tensor.shape)
    for shape in shapes:
        pairs = zip(shape, got, strict=False)
        if len(shape) == len(got) and all(want == size for want, size in pairs if isinstance(want, int)):
            return
    wanted = (", ".join("any" if size is None else str(size) for size in shape) for shape in shapes)
    raise InputError(f"{name} must have the shape {' or '.join(f'({shape})' for shape in wanted)}, got {got}")


def check_tensor(name: str, tensor: Tensor, kind: Kind, expected: Axes) -> None:
    """Raise unless a tensor has the expected shape and dtype; values are not looked at, so no device waits.

    Raises:
        InputError: naming the tensor, what is allowed and what was got.

    Example:
        >>> check_tensor("labels", torch.zeros(2, 4, 4), "int64", ("N", ...))
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: labels must be int64, got float32
    """
    check_shape(name, tensor, expected)
    got = str(tensor.dtype).removeprefix("torch.")
    if got != kind and not (kind == "float" and tensor.is_floating_point()):
        raise InputError(f"{name} must be {kind}, got {got}")


def check_label_values(name: str, labels: Tensor, classes: int) -> None:
    """Raise for a label that is neither a class nor ``IGNORE``; values on a GPU are not looked at, which would wait.

    Raises:
        InputError: naming the tensor and what it must hold.

    Example:
        >>> check_label_values("labels", torch.tensor([0, 1, IGNORE]), 2)
        >>> check_label_values("labels", torch.tensor([2]), 2)
        Traceback (most recent call last):
            ...
        metadcseg.errors.InputError: labels must be from 0 to 1, or 255 where unknown, got 2
    """
    if labels.device.type != "cpu" or not labels.numel():
        return
    strange = labels[((labels < 0) | (labels >= classes)) & (labels != IGNORE)]
    if strange.numel():
        raise InputError(
            f"{name} must be from 0 to {classes - 1}, or {IGNORE} where unknown, got {int(strange[0])}"
        )


def check_classes(name: str, maps: Tensor) -> tuple[int, ...]:
    """Return the shape of one map, (N, H, W), of float class maps (N, L, H, W).

    Raises:
        InputError: where there are fewer than 2 classes, or shape or dtype are others.

    Example:
        >>> check_classes("logits", torch.zeros(2, 3, 4, 5))
        (2, 4, 5)
    """
    check_tensor(name, maps, "float", ("N", "L", ...))
    count, classes, *size = maps.shape
    if classes < 2:
        raise InputError(f"{name} must have at least 2 classes (background first), got {classes}")
    return (count, *size)


@dataclass(frozen=True)
class GlobalBatchSize:
    """How much there is of a batch that several devices share: what its means divide by.

    Each device divides the sum over its own part by these numbers; the average over the devices of what comes
    out, gradients included, is then the mean over the joint batch.

    Args:
        pixels: a scalar above 0, the pixels of the joint batch that are not ``IGNORE`` (at least one is
            counted), divided by the devices.
        images: the images of the joint batch, divided by the devices.
        world_size: how many share it.
    """

    pixels: Tensor
    images: float
    world_size: int = 1


@dataclass(frozen=True)
class Batch:
    """Images with the labels that were given for them; never the reference masks.

    Args:
        images: (N, C, H, W) float32, normalized.
        labels: (N, H, W) int64, class 0 .. L-1, or ``IGNORE``.
        indices: (N,) int64, each image's own number within its role: the key of the per-pixel weights.
        warp: how the augmented grid relates to the image's own grid.
        edges: (N, H, W) float32, the probability from 0 to 1 that a pixel is on an edge (eq. 8), 0 beyond the
            image after a warp; or None where no edges are known.
        label_confidence: (N, H, W) float32 from 0 to 1, how far the given labels are to be trusted, or None: fully.
            It weighs whatever is learned from them (:meth:`weigh_by_confidence`).
        shard_of: the size of the whole batch where this is one device's part of it; by default, it is the whole.
        given: (N, H, W) int64 like ``labels``, of verified labels the masks that they replaced, ``IGNORE`` everywhere
            for an image without one; or None where none is known or the method does not ask
            (:attr:`metadcseg.methods.MethodInfo.uses_pairs`).
        annotators: (N, J) bool, who of J annotators drew the labels, of verified ones ``given``; all False where nobody
            or several did; or None where that plays no part.

    Raises:
        InputError: where shapes do not fit together, or a dtype is another.

    Example:
        >>> labels = torch.tensor([[[0, 1], [1, IGNORE]]])
        >>> batch = Batch(torch.zeros(1, 3, 2, 2), labels, torch.arange(1), Warp.identity(1))
        >>> batch.global_batch_size.pixels.item()
        3
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    warp: Warp
    edges: Tensor | None = None
    label_confidence: Tensor | None = None
    shard_of: GlobalBatchSize | None = None
    given: Tensor | None = None
    annotators: Tensor | None = None

    def __post_init__(self) -> None:
        check_tensor("images", self.images, "float", ("N", "C", ...))
        count, _, *size = self.images.shape
        check_shape("labels", self.labels, (count, *size))
        if self.labels.dtype != torch.int64:
            raise InputError(f"labels must be int64 class numbers, got {self.labels.dtype}")
        if self.given is not None:
            check_tensor("given", self.given, "int64", (count, *size))
        check_tensor("indices", self.indices, "int64", (count,))
        if self.annotators is not None:
            check_tensor("annotators", self.annotators, "bool", (count, "J"))
        check_shape("warp.matrix", self.warp.matrix, (count, len(size), len(size) + 1))
        for name, maps in (("edges", self.edges), ("label_confidence", self.label_confidence)):
            if maps is not None:
                check_shape(name, maps, (count, *size))
                if maps.dtype != torch.float32:
                    raise InputError(f"{name} must be float32 from 0 to 1, got {maps.dtype}")

    def weigh_by_confidence(self, maps: Tensor) -> Tensor:
        """Return what concerns the given labels, (N, H, W), times the trust in them."""
        return maps if self.label_confidence is None else maps * self.label_confidence

    def edges_above(self, threshold: float) -> Tensor | None:
        """Return P_edge of eq. 8, (N, H, W) bool: the edges of pixels that count; None where none are known."""
        return None if self.edges is None else (self.edges >= threshold) & (self.labels != IGNORE)

    @property
    def global_batch_size(self) -> GlobalBatchSize:
        """What means over the whole batch divide by; at least 1 pixel, so that an empty mean is 0."""
        if self.shard_of is not None:
            return self.shard_of
        return GlobalBatchSize((self.labels != IGNORE).sum().clamp(min=1), len(self.images))

    def pin_memory(self) -> "Batch":
        """Return the same batch with its maps in memory that a GPU reads without waiting for the processor."""
        held = {
            name: getattr(self, name) for name in ("images", "labels", "edges", "label_confidence", "given")
        }
        return replace(self, **{name: maps.pin_memory() for name, maps in held.items() if maps is not None})

    def to(self, device: torch.device) -> "Batch":
        """Return the same batch with its maps on ``device``.

        Indices, warp and annotators stay where they are: they serve look-ups on the host, which would wait for the
        device.
        """
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            edges=None if self.edges is None else self.edges.to(device, non_blocking=True),
            label_confidence=None
            if self.label_confidence is None
            else self.label_confidence.to(device, non_blocking=True),
            given=None if self.given is None else self.given.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class WeightMaps:
    """The trust of every pixel in its given label (alpha) and in the pseudo-label (beta).

    Args:
        alpha: (N, H, W) float, at least 0.
        beta: (N, H, W) float, at least 0.

    Raises:
        InputError: where the shapes differ, or a map is not float.

    Example:
        >>> WeightMaps(torch.tensor([[[1.0, 0.5]]]), torch.tensor([[[0.0, 0.25]]])).gamma.tolist()
        [[[1.0, 0.75]]]
    """

    alpha: Tensor
    beta: Tensor

    def __post_init__(self) -> None:
        check_tensor("alpha", self.alpha, "float", ("N", ...))
        check_tensor("beta", self.beta, "float", tuple(self.alpha.shape))

    @property
    def gamma(self) -> Tensor:
        """The uncertainty weight of eq. 9: alpha + beta, (N, H, W)."""
        return self.alpha + self.beta


@dataclass(frozen=True)
class PixelGradients:
    """The derivative of the gold loss with respect to every pixel's weights (eq. 29).

    Args:
        alpha: (N, H, W) float; negative where more trust in the given label would lower the gold loss.
        beta: (N, H, W) float; the same for the pseudo-label.

    Raises:
        InputError: where the shapes differ, or a map is not float.
    """

    alpha: Tensor
    beta: Tensor

    def __post_init__(self) -> None:
        check_tensor("gradients.alpha", self.alpha, "float", ("N", ...))
        check_tensor("gradients.beta", self.beta, "float", tuple(self.alpha.shape))
