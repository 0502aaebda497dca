"""What travels between the rooms: batches and weight maps, with the checks of shape, dtype and range.

Letters used everywhere: N images in a batch, C channels, L classes (0 is background), H and W pixels,
D features. Images may as well be volumes: wherever H, W stand, there are then Z, H, W, and pixels are voxels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metadcseg.errors import InputError
from metadcseg.warp import Warp

IGNORE = 255
"""The label value of a pixel that must not count anywhere (outside the image after a warp, or unknown)."""

AllReduceMean = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Takes named tensors to their averages over the devices that share a batch; on one device, to themselves."""


def check_shape(name: str, tensor: Tensor, expected: tuple[int | None, ...]) -> None:
    """Raise unless a tensor has the expected shape; ``None`` stands for any size.

    Raises:
        InputError: naming the tensor, the shape expected and the shape got.

    Example:
        >>> check_shape("labels", torch.zeros(2, 4, 4), (None, 4, 4))
    """
    fits = len(tensor.shape) == len(expected) and all(
        want is None or got == want for got, want in zip(tensor.shape, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in expected)
        raise InputError(f"{name} must have the shape ({wanted}), got {tuple(tensor.shape)}")


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
        warp: how the augmented frame relates to the image's own frame.
        edges: (N, H, W) float32, the probability from 0 to 1 that a pixel is on an edge (eq. 8), 0 beyond the
            image after a warp; or None where no edges are known.
        label_confidence: (N, H, W) float32 from 0 to 1, how far the given labels are to be trusted, or None: fully.
            It weighs whatever is learned from them (:meth:`trusted`).
        shard_of: the size of the whole batch where this is one device's part of it; by default, it is the whole.

    Raises:
        InputError: where shapes do not fit together, labels are not int64, or edges or trust not float32.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    warp: Warp
    edges: Tensor | None = None
    label_confidence: Tensor | None = None
    shard_of: GlobalBatchSize | None = None

    def __post_init__(self) -> None:
        axes = 3 if self.images.ndim == 5 else 2
        check_shape("images", self.images, (None,) * (2 + axes))
        count, _, *size = self.images.shape
        check_shape("labels", self.labels, (count, *size))
        check_shape("indices", self.indices, (count,))
        check_shape("warp.matrix", self.warp.matrix, (count, axes, axes + 1))
        for name, maps in (("edges", self.edges), ("label_confidence", self.label_confidence)):
            if maps is not None:
                check_shape(name, maps, (count, *size))
                if maps.dtype != torch.float32:
                    raise InputError(f"{name} must be float32 from 0 to 1, got {maps.dtype}")
        if self.labels.dtype != torch.int64:
            raise InputError(f"labels must be int64 class numbers, got {self.labels.dtype}")

    def weigh_by_confidence(self, maps: Tensor) -> Tensor:
        """Return what concerns the given labels, (N, H, W), times the trust in them."""
        return maps if self.label_confidence is None else maps * self.label_confidence

    @property
    def global_batch_size(self) -> GlobalBatchSize:
        """What means over the whole batch divide by; at least 1 pixel, so that an empty mean is 0."""
        if self.shard_of is not None:
            return self.shard_of
        return GlobalBatchSize((self.labels != IGNORE).sum().clamp(min=1), len(self.images))

    def to(self, device: torch.device) -> "Batch":
        """Return the same batch with its maps on ``device``.

        Indices and warp stay where they are: they serve look-ups on the host, which would wait for the device.
        """
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            edges=None if self.edges is None else self.edges.to(device, non_blocking=True),
            label_confidence=None
            if self.label_confidence is None
            else self.label_confidence.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class WeightMaps:
    """The trust of every pixel in its given label (alpha) and in the pseudo-label (beta).

    Args:
        alpha: (N, H, W) float, at least 0.
        beta: (N, H, W) float, at least 0.
    """

    alpha: Tensor
    beta: Tensor

    def __post_init__(self) -> None:
        check_shape("beta", self.beta, tuple(self.alpha.shape))

    @property
    def gamma(self) -> Tensor:
        """The uncertainty weight of eq. 9: alpha + beta, (N, H, W)."""
        return self.alpha + self.beta
