"""Predictions of volumes in patches, as a network that was trained on patches wants them."""

from typing import cast

from torch import Tensor

from metadcseg.methods.base import Method, MethodState

_OVERLAP = 0.5
"""Of neighbouring patches, along every axis."""


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
