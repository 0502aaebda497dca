"""Predicting with a method: in windows and mirrored views, and without anything that trains."""

from collections.abc import Mapping
from itertools import combinations
from typing import cast

import torch
from torch import Tensor, nn

from metadcseg.methods.base import Method, MethodState

OVERLAP = 0.5
"""Of neighboring windows, along every axis."""

WINDOW_SIGMA = 0.125
"""Of the Gaussian by which the pixels of a window count, as a share of its side (nnU-Net, MONAI)."""

WINDOW_LEAST = 1e-3
"""What the farthest pixel of a window counts at least, the middle counting 1 (MONAI)."""


def predict_whole(
    method: Method,
    state: MethodState,
    images: Tensor,
    window: tuple[int, ...] | None,
    *,
    overlap: float = OVERLAP,
    batch: int = 1,
    flips: bool = False,
) -> Tensor:
    """Return class probabilities of images or volumes, in windows where they are larger than one.

    Where windows overlap, their probabilities are averaged, and count less towards the edges of a window (a Gaussian),
    where a network sees least around it: MONAI's sliding window.

    Args:
        method: predicts a window.
        state: with the network.
        images: (N, C, H, W) float32, or (N, C, Z, H, W).
        window: its size, None for whole images.
        overlap: of neighboring windows, as a share of their side.
        batch: windows that are predicted together.
        flips: average over all mirror images of a window.

    Returns:
        (N, L, H, W), or (N, L, Z, H, W).
    """

    def predict(part: Tensor) -> Tensor:
        if not flips:
            return method.predict(state, part)
        axes = range(2, part.dim())
        views = [view for count in range(len(axes) + 1) for view in combinations(axes, count)]
        found = [method.predict(state, part.flip(view)).flip(view) for view in views]
        return torch.stack(found).mean(dim=0)

    if window is None or window == tuple(images.shape[2:]):
        return predict(images)
    from monai.inferers.utils import sliding_window_inference  # takes seconds: only when used

    return cast(
        Tensor, sliding_window_inference(images, window, batch, predict, overlap=overlap, mode="gaussian")
    )


class _NoUpdates:
    """Stands where a method expects an updater while it only predicts."""

    epoch = 0
    epochs = 0
    steps = 0
    ema_model: nn.Module | None = None
    gold_images = 0
    gold_batch = 0
    lr = 0.0

    def backward(self, loss: Tensor) -> None:
        raise RuntimeError("predicting must not train: backward was called")

    def mean(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        raise RuntimeError("predicting must not train: mean was called")

    def step(self) -> None:
        raise RuntimeError("predicting must not train: step was called")

    def begin_anew(self) -> None:
        raise RuntimeError("predicting must not train: begin_anew was called")


def prediction_state(network: nn.Module) -> MethodState:
    """Return a method state that is good for :meth:`Method.predict` and nothing else."""
    return MethodState(network, _NoUpdates(), torch.Generator())
