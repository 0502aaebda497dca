"""Where the weights alpha and beta live between two visits of an image.

All models have one interface; the method sees maps in the batch's own (augmented) frame and nothing else. A
model may use the features of the pixels; the two here do not.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from metadcseg.algorithm.meta_weights import PixelGradients, Scaling, initial_weights, update_weights
from metadcseg.errors import InputError
from metadcseg.tensors import IGNORE, Batch, WeightMaps


class WeightModel(Protocol):
    """What holds the weights; its state is saved in checkpoints."""

    def read(self, batch: Batch, features: Tensor) -> WeightMaps:
        """Return the weights of the batch's pixels as they stand, (N, H, W) each, on the labels' device."""
        ...

    def update(self, batch: Batch, features: Tensor, gradients: PixelGradients) -> WeightMaps:
        """Descend the meta-gradients (eq. 22-23), keep what is to be kept, and return the new weights."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that is kept, as tensors."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        ...


class NoMemory:
    """Nothing is kept: every step starts from eq. 2, as L2B does from zero.

    One update then moves a weight by about ``eta``: this model wants a far larger ``eta`` than a lasting one.

    Args:
        eta: the meta-learning rate of eq. 22.
        scaling: see :func:`~metadcseg.algorithm.meta_weights.update_weights`.
    """

    def __init__(self, eta: float, scaling: Scaling) -> None:
        self.eta = eta
        self.scaling = scaling

    def read(self, batch: Batch, features: Tensor) -> WeightMaps:
        """Return alpha = 1 and beta = 0 (eq. 2)."""
        count, height, width = batch.labels.shape
        return initial_weights((count, height, width), batch.labels.device)

    def update(self, batch: Batch, features: Tensor, gradients: PixelGradients) -> WeightMaps:
        """Return the weights one update away from eq. 2."""
        valid = batch.labels != IGNORE
        before = self.read(batch, features)
        return update_weights(before, gradients, eta=self.eta, scaling=self.scaling, valid=valid)

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore nothing."""


class PersistentWeights:
    """A pair (alpha, beta) for every pixel of every training image, kept from visit to visit (A.5.2).

    The pairs live in the image's own frame. A batch reads them through its warp, nearest neighbour, and the
    *change* of an update goes back through the inverse warp, so that a pixel which the augmentation moved out
    of view keeps its pair, and one which it repeated or skipped takes its neighbour's change. Images not seen
    yet, and ignored pixels, have the pair (1, 0) of eq. 2.

    Kept in main memory as float32: 8 bytes per pixel of the training frame and image seen.

    Args:
        eta: the meta-learning rate of eq. 22.
        scaling: see :func:`~metadcseg.algorithm.meta_weights.update_weights`.
    """

    def __init__(self, eta: float, scaling: Scaling) -> None:
        self.eta = eta
        self.scaling = scaling
        self._pairs: dict[int, Tensor] = {}  # image -> (2, H, W): alpha, beta in the image's own frame

    def __len__(self) -> int:
        """Return the number of images seen."""
        return len(self._pairs)

    def read(self, batch: Batch, features: Tensor) -> WeightMaps:
        """Return the weights in the batch's frame; beyond the image's edge they are (1, 0)."""
        own = torch.stack([self._own(image, batch) for image in batch.indices.tolist()])
        device = batch.labels.device
        alpha = batch.warp.apply(own[:, :1], "nearest", fill=1.0).squeeze(1).to(device)
        beta = batch.warp.apply(own[:, 1:], "nearest", fill=0.0).squeeze(1).to(device)
        return WeightMaps(alpha, beta)

    def update(self, batch: Batch, features: Tensor, gradients: PixelGradients) -> WeightMaps:
        """Return the updated weights in the batch's frame and keep the change in the images' own frames."""
        valid = batch.labels != IGNORE
        before = self.read(batch, features)
        after = update_weights(before, gradients, eta=self.eta, scaling=self.scaling, valid=valid)
        change = torch.stack([after.alpha - before.alpha, after.beta - before.beta], dim=1).detach().cpu()
        own_change = batch.warp.inverse().apply(change, "nearest", fill=0.0)
        for image, step in zip(batch.indices.tolist(), own_change, strict=True):
            self._pairs[image] = (self._own(image, batch) + step).clamp_min(0)
        return after

    def state_dict(self) -> dict[str, Tensor]:
        """Return ``images`` (K,) int64, ascending, and ``pairs`` (K, 2, H, W) float32 in their own frames."""
        images = sorted(self._pairs)
        pairs = torch.stack([self._pairs[image] for image in images]) if images else torch.empty(0, 2, 0, 0)
        return {"images": torch.tensor(images, dtype=torch.int64), "pairs": pairs}

    @staticmethod
    def merge(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return one state from those of several devices: each image's pair from the device that draws it.

        Args:
            states: in the order of the devices; what a device holds of others' images (from a checkpoint that
                it went on from) is old and does not count.
        """
        owned = [state["images"] % len(states) == rank for rank, state in enumerate(states)]
        images = torch.cat([state["images"][own] for state, own in zip(states, owned, strict=True)])
        known = [state["pairs"][own] for state, own in zip(states, owned, strict=True) if own.any()]
        pairs = torch.cat(known) if known else torch.empty(0, 2, 0, 0)
        ascending = images.argsort()
        return {"images": images[ascending], "pairs": pairs[ascending]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, bit for bit."""
        self._pairs = {
            int(image): pair.clone() for image, pair in zip(state["images"], state["pairs"], strict=True)
        }

    def _own(self, image: int, batch: Batch) -> Tensor:
        _, height, width = batch.labels.shape
        pair = self._pairs.get(image)
        if pair is None:
            unseen = initial_weights((1, height, width), torch.device("cpu"))
            return torch.cat([unseen.alpha, unseen.beta])
        if pair.shape[1:] != (height, width):
            raise InputError(
                f"the weights kept for training image {image} have {tuple(pair.shape[1:])} pixels, but the "
                f"training frame has {(height, width)}: continue with the frame size that the run began with"
            )
        return pair
