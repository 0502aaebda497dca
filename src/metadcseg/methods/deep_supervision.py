"""Deep supervision: a network's coarser logits learn what its final ones do (Lee et al., AISTATS 2015)."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from metadcseg.algorithm.meta_weights import weighted_pixel_loss
from metadcseg.losses import mean_over_pixels
from metadcseg.networks.contract import DEEP, Output
from metadcseg.tensors import Batch, GlobalBatchSize, WeightMaps


def at_every_depth(loss: Tensor, output: Output, loss_at: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Return (l_0 + sum_k l_k / 2^k) / (1 + sum_k 1 / 2^k), k over the coarser logits; l_0 where there are none.

    Weights that halve with the resolution are nnU-Net's (Isensee et al., Nature Methods 2021).

    Args:
        loss: l_0, a scalar: of the final logits.
        output: what the network returned.
        loss_at: takes logits (N, L, h, w) and the step e of their pixels, 2^k, to l_k; they belong to the labels
            ``[..., ::e, ::e]``.

    Example:
        >>> import torch
        >>> deep = {"deep_1": torch.full((1, 2, 2, 2), 4.0)}
        >>> output = Output(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4), deep)
        >>> at_every_depth(torch.tensor(1.0), output, lambda logits, every: logits.mean()).item()  # (1 + 4 / 2) / 1.5
        2.0
    """
    total, weights = loss, 1.0
    for name, logits in output.auxiliary.items():
        if name.startswith(DEEP):
            every = 2 ** int(name.removeprefix(DEEP))
            total = total + loss_at(logits, every) / every
            weights += 1 / every
    return loss if total is loss else total / weights


def every_pixel(batch: Batch, every: int) -> Batch:
    """Return a batch of every so-many-th pixel along each axis, for a loss of coarser logits."""

    def thinned(maps: Tensor | None) -> Tensor | None:
        return None if maps is None else thin(maps, every)

    size = batch.shard_of
    if size is not None:
        pixels = size.pixels / every ** (batch.labels.dim() - 1)
        size = GlobalBatchSize(pixels, size.images, size.world_size)
    return replace(
        batch,
        images=batch.images[(slice(None), slice(None), *_steps(batch.labels, every))],
        labels=thin(batch.labels, every),
        shard_of=size,
        edges=thinned(batch.edges),
        label_confidence=thinned(batch.label_confidence),
        given=thinned(batch.given),
    )


def thin(maps: Tensor, every: int) -> Tensor:
    """Return every so-many-th pixel of (N, H, W) maps along each axis.

    Example:
        >>> import torch
        >>> thin(torch.arange(5).view(1, 1, 5), 2).tolist()
        [[[0, 2, 4]]]
    """
    return maps[(slice(None), *_steps(maps, every))]


def weighted_at_every_depth(
    loss: Tensor, output: Output, noisy: Batch, second: Tensor, weights: WeightMaps
) -> Tensor:
    """Return :func:`at_every_depth` with the mean weighted pixel loss (eq. 1, 3) of the coarser logits.

    Args:
        loss: of the final logits, a scalar.
        output: what the network returned.
        noisy: the batch.
        second: (N, H, W) int64, pseudo-labels or other candidates.
        weights: the trust in given labels and in ``second``, as the loss of the final logits has it.
    """

    def loss_at(logits: Tensor, every: int) -> Tensor:
        batch = every_pixel(noisy, every)
        trust = WeightMaps(thin(weights.alpha, every), thin(weights.beta, every))
        pixels = weighted_pixel_loss(logits, batch.labels, thin(second, every), trust)
        return mean_over_pixels(pixels, batch.labels, batch.global_batch_size.pixels)

    return at_every_depth(loss, output, loss_at)


def _steps(maps: Tensor, every: int) -> tuple[slice, ...]:
    """Return the slices of the axes behind the first of (N, H, W) maps."""
    return tuple(slice(None, None, every) for _ in maps.shape[1:])
