"""Where the weights alpha and beta live between two visits of an image: a pair for every pixel (A.5.2)."""

import torch
from torch import nn

from metadcseg.algorithm.meta_weights import update_weights
from metadcseg.methods.base import Storage
from metadcseg.methods.common import check_kept_grid
from metadcseg.methods.metadcseg.scaling import Scaling, scale_gradients
from metadcseg.tensors import IGNORE, Batch, PixelGradients, WeightMaps


class PixelWeights(nn.Module):
    """A pair (alpha, beta) for every pixel of every training image, kept from visit to visit (A.5.2).

    The pairs live in the image's own grid. A batch reads them through its warp, nearest neighbor, and the
    *change* of an update goes back through the inverse warp, so that a pixel which the augmentation moved out
    of view keeps its pair, and one which it repeated or skipped takes its neighbor's change. Images not seen
    yet, and ignored pixels, have the pair (1, 0) of eq. 2.

    What is stored is how far the pair is from (1, 0): half precision is finest near 0, so that the first small
    updates are not rounded away, and nothing needs to be written for an image not seen yet. The module has no
    buffers: the pairs of all images fill gigabytes, so they lie in the storage, whose owner saves and restores them.

    Args:
        eta: the meta-learning rate of eq. 22.
        scaling: see :func:`~metadcseg.methods.metadcseg.scaling.scale_gradients`.
        storage: where the maps ``alpha`` and ``beta`` are kept.
    """

    def __init__(self, eta: float, scaling: Scaling, storage: Storage) -> None:
        super().__init__()
        self.eta, self.scaling = eta, scaling
        self._alpha, self._beta = storage.open("alpha"), storage.open("beta")

    def read(self, batch: Batch) -> WeightMaps:
        """Return the weights in the batch's grid; beyond the image's edge they are (1, 0).

        Raises:
            InputError: where the maps that are kept are no grid of the batch.
        """
        check_kept_grid(batch, self._alpha.grid)
        images, device = batch.indices.tolist(), batch.labels.device
        kept = torch.stack([self._alpha.read(images), self._beta.read(images)], dim=1).to(
            device
        )  # from (1, 0)
        moved = batch.warp.apply(kept, "nearest", fill=0.0, size=batch.labels.shape[1:])
        return WeightMaps(1 + moved[:, 0], moved[:, 1])

    def update(self, batch: Batch, gradients: PixelGradients) -> WeightMaps:
        """Return the updated weights in the batch's grid and keep the change in the images' own grids.

        Raises:
            InputError: where the maps that are kept are no grid of the batch, or the disk is full.
        """
        valid = batch.labels != IGNORE
        before = self.read(batch)
        gradients = scale_gradients(gradients, self.scaling, valid)
        after = update_weights(before, gradients, eta=self.eta, valid=valid)
        change = torch.stack([after.alpha - before.alpha, after.beta - before.beta], dim=1).detach()
        own_change = batch.warp.inverse().apply(change, "nearest", fill=0.0, size=self._alpha.grid).cpu()
        for image, step in zip(batch.indices.tolist(), own_change.unsqueeze(2), strict=True):
            for maps, moved, least in ((self._alpha, step[0], -1), (self._beta, step[1], 0)):
                maps.write([image], (maps.read([image]) + moved).clamp_min(least))  # alpha, beta >= 0
        return after
