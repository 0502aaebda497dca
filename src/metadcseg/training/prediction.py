"""Predicting with a method: of volumes in patches, and without anything that trains."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from metadcseg.methods.base import Method, MethodState

_OVERLAP = 0.5
"""Of neighboring patches, along every axis."""


def predict_whole(
    method: Method, state: MethodState, images: Tensor, patch: tuple[int, int, int] | None
) -> Tensor:
    """Return class probabilities of images, or of volumes in patches that overlap by half.

    Where patches overlap, their probabilities are averaged, and count less towards the edges of a patch (a Gaussian),
    where a network sees least around it: MONAI's sliding window.

    Args:
        method: predicts a patch.
        state: with the network.
        images: (N, C, H, W) float32.
        patch: size of the patches, None for whole images.

    Returns:
        (N, L, H, W).
    """
    if patch is None or patch == tuple(images.shape[2:]):
        return method.predict(state, images)
    from monai.inferers.utils import sliding_window_inference  # takes seconds: only when used

    def predict(part: Tensor) -> Tensor:
        return method.predict(state, part)

    return cast(
        Tensor, sliding_window_inference(images, patch, 1, predict, overlap=_OVERLAP, mode="gaussian")
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
