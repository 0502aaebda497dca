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
from metadcseg.tensors import IGNORE, Batch, Joint
from metadcseg.warp import Warp


@dataclass(frozen=True)
class Share:
    """Which part of every batch is made here.

    Args:
        number: of the device that makes it, from 0.
        devices: how many share the batch.

    Raises:
        InputError: where there is no such device.
    """

    number: int = 0
    devices: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.devices:
            raise InputError(f"a share must have a number from 0 to {self.devices - 1}, got {self.number}")


def epoch_batches(
    view: View,
    *,
    epoch: int,
    batch: int,
    start: int = 0,
    steps: int | None = None,
    share: Share | None = None,
) -> Iterator[Batch]:
    """Yield the batches of one epoch, each bit-identical whatever ``start`` is.

    Args:
        view: the role to train on.
        epoch: the epoch, from 0.
        batch: images per batch, over all devices that share it.
        start: how many batches to leave out at the beginning: where an interrupted epoch goes on.
        steps: None for one pass, whose last batch may be smaller; else go round, reshuffled each time, until
            there are this many full batches, those left out included; one may then hold an image twice.
        share: which part of every batch to make; all of it by default. In a pass, the image of row i is always
            made by device i modulo ``share.devices``.

    Yields:
        Batches, with edges where the set has them; the next is made by a thread while this one is used. A part of
        a batch knows in ``joint`` how many images the whole has, and its own valid pixels, which whoever knows the
        other parts has to average with theirs. A device that has no image of the last, smaller batch makes one of
        its own whose labels are all ``IGNORE``, so that it can take part in the step and counts nowhere.

    Raises:
        InputError: where a count is out of range, there are more devices than cases, or naming case and file
            where stored bytes are damaged.
    """
    share = share or Share()
    if batch < 1 or start < 0 or (steps is not None and steps < 0):
        raise InputError(
            f"batch must be at least 1, start and steps at least 0, got {batch}, {start}, {steps}"
        )
    if batch % share.devices or (steps is None and share.devices > len(view)):  # who goes round has enough
        raise InputError(
            f"a batch of {batch} from {len(view)} {view.role} cases cannot be shared by {share.devices} devices: "
            "their number must divide the batch and not exceed the cases"
        )
    return _made_ahead(view, epoch, _plan(view, epoch, batch, start, steps), share)


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
    view: View, epoch: int, plan: Iterator[list[tuple[int, int]]], share: Share
) -> Iterator[Batch]:
    """Make each batch while the one before it is used; an error in the thread is raised here."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as worker:
        coming: Future[Batch] | None = None
        for chosen in plan:
            ready, coming = coming, worker.submit(_collate, view, epoch, chosen, share)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()


def _collate(view: View, epoch: int, chosen: list[tuple[int, int]], share: Share) -> Batch:
    own = chosen[share.number :: share.devices]  # place in the batch is the lane, lanes drop out from the end
    # row `number` belongs to this device as every row i does with i % devices == number
    samples = [view.sample(row, epoch, repeat) for row, repeat in own or [(share.number, 0)]]
    labels = torch.stack([sample.label for sample in samples])
    if not own:
        labels = torch.full_like(labels, IGNORE)
    valid = (labels != IGNORE).sum()
    edges = [sample.edges for sample in samples if sample.edges is not None]  # of all or of none
    trust = [sample.trust for sample in samples if sample.trust is not None]  # likewise
    return Batch(
        images=torch.stack([sample.image for sample in samples]),
        labels=labels,
        indices=torch.tensor([sample.index for sample in samples], dtype=torch.int64),
        warp=Warp(torch.stack([sample.warp for sample in samples])),
        edges=torch.stack(edges) if edges else None,
        trust=torch.stack(trust) if trust else None,
        joint=None if share.devices == 1 else Joint(valid, len(chosen) / share.devices, share.devices),
    )
