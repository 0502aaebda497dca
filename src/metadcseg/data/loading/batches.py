"""From samples to batches, reproducibly.

Where an interrupted epoch starts again changes no bit of any batch. Where several devices share a batch, what the batch
holds does not depend on how many they are.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice

import torch

from metadcseg.data.loading.dataset import View
from metadcseg.errors import InputError
from metadcseg.tensors import IGNORE, Batch, GlobalBatchSize
from metadcseg.warp import Warp


@dataclass(frozen=True)
class Shard:
    """Which part of every batch is made here.

    Args:
        rank: of the process that makes it, from 0.
        world_size: how many processes share the batch.

    Raises:
        InputError: where there is no such rank.
    """

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise InputError(f"a shard must have a rank from 0 to {self.world_size - 1}, got {self.rank}")


def epoch_batches(
    view: View,
    *,
    epoch: int,
    batch: int,
    start: int = 0,
    steps: int | None = None,
    shard: Shard | None = None,
) -> Iterator[Batch]:
    """Yield the batches of one epoch, each bit-identical whatever ``start`` is.

    Args:
        view: the role to train on.
        epoch: the epoch, from 0.
        batch: images per batch, over all devices that share it.
        start: how many batches to leave out at the beginning: where an interrupted epoch goes on.
        steps: None for one pass, whose last batch may be smaller; else go round, reshuffled each time, until
            there are this many full batches, those left out included; one may then hold an image twice.
        shard: which part of every batch to make; all of it by default. In a pass, the image of row i is always
            made by device i modulo ``share.devices``.

    Yields:
        Batches, with edges where the set has them; the next is made by a thread while this one is used. A part of
        a batch knows in ``shard_of`` how many images the whole has, and its own valid pixels, which whoever knows the
        other parts has to average with theirs. A device that has no image of the last, smaller batch makes one of
        its own whose labels are all ``IGNORE``, so that it can take part in the step and counts nowhere.

    Raises:
        InputError: where a count is out of range, there are more devices than cases, or naming case and file
            where stored bytes are damaged.
    """
    shard = shard or Shard()
    if batch < 1 or start < 0 or (steps is not None and steps < 0):
        raise InputError(
            f"batch must be at least 1, start and steps at least 0, got {batch}, {start}, {steps}"
        )
    if batch % shard.world_size or (
        steps is None and shard.world_size > len(view)
    ):  # who goes round has enough
        raise InputError(
            f"a batch of {batch} from {len(view)} {view.role} cases cannot be shared by {shard.world_size} devices: "
            "their number must divide the batch and not exceed the cases"
        )
    return _made_ahead(view, epoch, _plan(view, epoch, batch, start, steps), shard)


def _plan(
    view: View, epoch: int, batch: int, start: int, steps: int | None
) -> Iterator[list[tuple[int, int]]]:
    """Yield (row, repeat) of every image of every whole batch from ``start`` on."""
    passes, lanes = (range(1), batch) if steps is None else (count(), 1)
    shown = ((row, repeat) for repeat in passes for row in view.order(epoch, repeat, lanes))
    rows = islice(shown, start * batch, None if steps is None else steps * batch)
    while chosen := list(islice(rows, batch)):
        yield chosen


def _made_ahead(
    view: View, epoch: int, plan: Iterator[list[tuple[int, int]]], shard: Shard
) -> Iterator[Batch]:
    """Make each batch while the one before it is used; an error in the thread is raised here."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as worker:
        coming: Future[Batch] | None = None
        for chosen in plan:
            ready, coming = coming, worker.submit(_collate, view, epoch, chosen, shard)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()


def _collate(view: View, epoch: int, chosen: list[tuple[int, int]], shard: Shard) -> Batch:
    own = chosen[
        shard.rank :: shard.world_size
    ]  # place in the batch is the lane, lanes drop out from the end
    # row `number` belongs to this device as every row i does with i % devices == number
    samples = [view.sample(row, epoch, repeat) for row, repeat in own or [(shard.rank, 0)]]
    labels = torch.stack([sample.label for sample in samples])
    given = [sample.given for sample in samples if sample.given is not None]  # of all or of none
    if not own:
        labels = torch.full_like(labels, IGNORE)
        given = [torch.full_like(maps, IGNORE) for maps in given]
    valid = (labels != IGNORE).sum()
    edges = [sample.edges for sample in samples if sample.edges is not None]  # of all or of none
    label_confidence = [
        sample.label_confidence for sample in samples if sample.label_confidence is not None
    ]  # likewise
    annotators = [sample.annotators for sample in samples if sample.annotators is not None]
    return Batch(
        images=torch.stack([sample.image for sample in samples]),
        labels=labels,
        indices=torch.tensor([sample.index for sample in samples], dtype=torch.int64),
        warp=Warp(torch.stack([sample.warp for sample in samples])),
        edges=torch.stack(edges) if edges else None,
        label_confidence=torch.stack(label_confidence) if label_confidence else None,
        given=torch.stack(given) if given else None,
        annotators=torch.stack(annotators) if annotators else None,
        shard_of=None
        if shard.world_size == 1
        else GlobalBatchSize(valid, len(chosen) / shard.world_size, shard.world_size),
    )
