"""Gold images take turns: those that a meta step asks are not those that the network is trained on at the time.

A network that is trained on noisy labels and on gold comes to rest where the two pull alike in opposite directions.
Asked there, the gold images that it is trained on speak against every noisy label that differs, right or wrong. Gold
images that it is not trained on are spared that. Each that is asked is missing in training for an epoch, though: so
no more are asked than it takes.
"""

from dataclasses import replace

import torch
from torch import Tensor

from metadcseg.tensors import IGNORE, AllReduceMean, Batch, GlobalBatchSize
from metadcseg.warp import Warp

ASKED = 4
"""How many gold images in an epoch are enough; of fewer the table learns too little (docs/results/recipe.md)."""


def turns_of(images: int, batch: int) -> int:
    """Return into how many parts gold images are divided: as many, from 2 to 4, as leave each part with enough.

    A single image, or one image at a time, cannot be divided: 1.

    Enough are ``ASKED`` images, and 2 of every batch on average, so that few steps ask nobody.

    Args:
        images: how many verified images there are.
        batch: how many of them a step gets, over all devices.

    Example:
        >>> [turns_of(images, batch=8) for images in (6, 12, 16, 500)]
        [2, 3, 4, 4]
        >>> turns_of(500, batch=2)  # most steps would ask nobody
        2
        >>> turns_of(1, batch=8), turns_of(500, batch=1)  # nothing to divide
        (1, 1)
    """
    if min(images, batch) < 2:
        return 1
    return max(min(images // ASKED, batch // 2, 4), 2)


def turn_of(epoch: int, turns: int) -> int:
    """Return which part is asked in an epoch: that of the images whose number is so, modulo ``turns``.

    Example:
        >>> [turn_of(epoch, turns=3) for epoch in range(4)]
        [2, 1, 0, 2]
    """
    return (turns - 1 - epoch) % turns


def take_turns(
    gold: Batch, epoch: int, turns: int, all_reduce_mean: AllReduceMean = dict
) -> tuple[Batch, Batch]:
    """Return the part of a gold batch to train on, and the part to ask: each epoch another one.

    Args:
        gold: N verified images; which part an image belongs to is told by its index.
        epoch: from 0.
        turns: after how many epochs every image was asked once, at least 2.
        all_reduce_mean: over the devices that share the batch.

    Returns:
        Two batches. One without any image holds a single image, all of whose labels are ignored.

    Example:
        >>> from metadcseg.warp import Warp
        >>> gold = Batch(torch.zeros(3, 1, 2, 2), torch.ones(3, 2, 2).long(), torch.tensor([0, 1, 2]), Warp.identity(3))
        >>> [part.indices.tolist() for part in take_turns(gold, epoch=0, turns=2)]
        [[0, 2], [1]]
        >>> [part.indices.tolist() for part in take_turns(gold, epoch=1, turns=2)]
        [[1], [0, 2]]
    """
    asked = gold.indices % turns == turn_of(epoch, turns)
    return _part(gold, ~asked, all_reduce_mean), _part(gold, asked, all_reduce_mean)


def _part(gold: Batch, kept: Tensor, all_reduce_mean: AllReduceMean) -> Batch:
    chosen = kept.nonzero().flatten()
    count = len(chosen)
    if not count:  # on several devices none may stay away
        chosen = torch.zeros(1, dtype=torch.int64)
    place = chosen.to(gold.labels.device)
    labels = gold.labels[place] if count else torch.full_like(gold.labels[place], IGNORE)
    given = None if gold.given is None else gold.given[place]
    if given is not None and not count:
        given = torch.full_like(given, IGNORE)
    part = Batch(
        gold.images[place],
        labels,
        gold.indices[chosen],
        Warp(gold.warp.matrix[chosen]),
        None if gold.edges is None else gold.edges[place],
        None if gold.label_confidence is None else gold.label_confidence[place],
        given=given,
        annotators=None if gold.annotators is None else gold.annotators[chosen],
    )
    if gold.shard_of is None:
        return part
    held = {"pixels": (labels != IGNORE).sum().float(), "images": labels.new_tensor(count).float()}
    sizes = all_reduce_mean(held)
    pixels = sizes["pixels"].clamp(min=1e-6)
    return replace(
        part, shard_of=GlobalBatchSize(pixels, max(float(sizes["images"]), 1e-6), gold.shard_of.world_size)
    )
