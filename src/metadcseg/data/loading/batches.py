"""From samples to batches, reproducibly.

Where an interrupted epoch starts again changes no bit of any batch. Where several devices share a batch, what the batch
holds does not depend on how many they are.
"""

import os
import signal
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from metadcseg.data.loading import input_grid
from metadcseg.data.loading.dataset import View
from metadcseg.data.loading.drawn import Drawn
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


class BatchLoader:
    """Makes the batches of a view, epoch after epoch, in processes of its own or in a thread of this one.

    A batch follows from the view, the epoch and its place alone, so who makes it changes no bit.

    Args:
        view: the role to train on.
        batch: images per batch, over all devices that share it.
        steps: None for one pass, whose last batch may be smaller; else go round, reshuffled each time, until
            there are this many full batches, those left out included; one may then hold an image twice.
        shard: which part of every batch to make; all of it by default. In a pass, the image of row i is always
            made by rank i modulo ``shard.world_size``.
        workers: processes that make batches ahead, two each; with 0 a thread makes one.
        pin: put batches where a GPU takes them from without waiting.
        move_on: the device on which whole batches are moved; by default, whoever makes them moves case by case.

    Raises:
        InputError: where a count is out of range, there are more devices than cases, or more workers than processors
            (two are always allowed).
    """

    def __init__(
        self,
        view: View,
        *,
        batch: int,
        steps: int | None = None,
        shard: Shard | None = None,
        workers: int = 0,
        pin: bool = False,
        move_on: torch.device | None = None,
    ) -> None:
        shard = shard or Shard()
        if move_on is not None and shard.world_size > 1:
            raise InputError(
                "devices that share a batch count its pixels before it is moved: leave move_on out"
            )
        if batch < 1 or (steps is not None and steps < 0) or workers < 0:
            raise InputError(
                f"batch must be at least 1, steps and workers at least 0, got {batch}, {steps}, {workers}"
            )
        most = max(2, os.cpu_count() or 1)
        if workers > most:  # hundreds take all the memory before the first batch
            raise InputError(f"training.workers must be at most {most} on this machine, got {workers}")
        if batch % shard.world_size or (
            steps is None and shard.world_size > len(view)
        ):  # who goes round has enough
            raise InputError(
                f"a batch of {batch} from {len(view)} {view.role} cases cannot be shared by {shard.world_size} "
                "devices: their number must divide the batch and not exceed the cases"
            )
        self._view, self._batch, self._steps = view, batch, steps
        self._plan: list[Iterator[_Chosen]] = []
        self._workers, self._move_on = workers, move_on
        self._loader = DataLoader(
            _Collated(view, None if move_on else shard),
            sampler=_Handed(self._plan),
            batch_size=None,
            num_workers=workers,
            pin_memory=pin,
            persistent_workers=workers > 0,
            worker_init_fn=_begin_worker,
            multiprocessing_context="spawn" if workers else None,  # who has threads must not fork
            generator=torch.Generator(),  # it draws one number, of nobody else's
        )

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """Return the batches of one epoch, each bit-identical whatever ``start`` is.

        Args:
            epoch: the epoch, from 0.
            start: how many batches to leave out at the beginning: where an interrupted epoch goes on.

        Returns:
            Batches, with edges where the set has them; the next is made while this one is used. A part of
            a batch knows in ``shard_of`` how many images the whole has, and its own valid pixels, which whoever knows
            the other parts has to average with theirs. A device that has no image of the last, smaller batch makes one
            of its own whose labels are all ``IGNORE``, so that it can take part in the step and counts nowhere.

        Raises:
            InputError: naming case and file where stored bytes are damaged, or where ``start`` is below 0.
        """
        if start < 0:
            raise InputError(f"start must be at least 0, got {start}")
        return self._made(epoch, start)

    def _made(self, epoch: int, start: int) -> Generator[Batch, None, None]:
        chosen = _plan(self._view, epoch, self._batch, start, self._steps)
        self._plan[:] = [((epoch, rows) for rows in chosen)]
        made: Iterator[_Made] = iter(self._loader)
        for batch in made if self._workers else _ahead(made):
            if isinstance(batch, InputError):
                raise batch
            yield batch.to(self._move_on).moved() if isinstance(batch, Drawn) else batch


def epoch_batches(
    view: View,
    *,
    epoch: int,
    batch: int,
    start: int = 0,
    steps: int | None = None,
    shard: Shard | None = None,
) -> Iterator[Batch]:
    """Return the batches of one epoch alone, see :class:`BatchLoader`."""
    return BatchLoader(view, batch=batch, steps=steps, shard=shard).epoch(epoch, start)


@contextmanager
def loaders_lost() -> Iterator[None]:
    """Say in a sentence that a process which makes batches was killed; torch notices that anywhere.

    Raises:
        InputError: then.
    """
    try:
        yield
    except (
        RuntimeError,
        EOFError,
        ConnectionError,
    ) as error:  # the last two: of what it was about to hand over
        if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
            raise
        raise InputError(
            "a process that makes batches was killed (out of memory?): give fewer --training.workers; the same "
            "command with --resume goes on from the last checkpoint"
        ) from error


_Chosen = tuple[int, list[tuple[int, int]]]
"""An epoch, and (row, repeat) of every image of a batch."""

_Made = Batch | Drawn | InputError


class _Handed(Sampler[_Chosen]):
    """Hands the batches of the epoch that is on to the loader, which outlives epochs."""

    def __init__(self, plan: list[Iterator[_Chosen]]) -> None:
        self._plan = plan

    def __iter__(self) -> Iterator[_Chosen]:
        return self._plan[0]


class _Collated(Dataset[_Made]):
    """What runs in a worker: errors go home as values, since torch would put a traceback into their sentence.

    Args:
        view: the role to train on.
        shard: which part of every batch is made; None: all of it, and not moved.
    """

    def __init__(self, view: View, shard: Shard | None) -> None:
        self._view, self._shard = view, shard

    def __getitem__(self, chosen: _Chosen) -> _Made:
        try:
            if self._shard is None:
                epoch, rows = chosen
                return Drawn.joined([self._view.draw(row, epoch, repeat) for row, repeat in rows])
            return _collate(self._view, *chosen, self._shard)
        except InputError as error:
            return error


def _begin_worker(number: int) -> None:
    """Leave Ctrl-C to the training, which needs batches to finish its step; divide the memory for finished grids."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (told := get_worker_info()) is not None:
        input_grid.INPUT_CACHE_BYTES //= told.num_workers


def _plan(
    view: View, epoch: int, batch: int, start: int, steps: int | None
) -> Iterator[list[tuple[int, int]]]:
    """Yield (row, repeat) of every image of every whole batch from ``start`` on."""
    passes, lanes = (range(1), batch) if steps is None else (count(), 1)
    shown = ((row, repeat) for repeat in passes for row in view.order(epoch, repeat, lanes))
    rows = islice(shown, start * batch, None if steps is None else steps * batch)
    while chosen := list(islice(rows, batch)):
        yield chosen


def _ahead(made: Iterator[_Made]) -> Iterator[_Made]:
    """Make each batch in a thread while the one before it is used."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as worker:
        coming = worker.submit(next, made, None)
        while (ready := coming.result()) is not None:
            coming = worker.submit(next, made, None)
            yield ready


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
