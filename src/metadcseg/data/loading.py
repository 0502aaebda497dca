"""From a prepared set to batches: normalise, bring to the training frame, augment, order, all reproducibly.

All randomness comes from a hash of what it is for (seed, role, epoch, repeat, id), so neither the order in
which samples are made nor where an interrupted epoch starts again changes a bit of any batch. Where several
devices share a batch, what the batch holds does not depend on how many they are.
"""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice, zip_longest
from typing import Literal, Protocol

import torch
from torch import Tensor

from metadcseg.data.augmentation import AugmentOptions, draw_warp
from metadcseg.data.frames import FrameMemory, edges_to_frame, label_to_frame, to_frame
from metadcseg.data.store import PreparedSet
from metadcseg.errors import InputError, unknown_name
from metadcseg.tensors import IGNORE, Batch, Joint
from metadcseg.warp import Warp

Labels = Literal["given", "truth"]


@dataclass(frozen=True)
class Sample:
    """One image in the training frame.

    Args:
        image: (C, S, S) float32, normalised; a volume's maps have slices before rows.
        label: (S, S) int64, class number or ``IGNORE``.
        edges: (S, S) float32, the probability of an edge from 0 to 1, or None where the set has no edges.
        index: the image's number within its role.
        warp: (2, 3) float32, from the augmented frame to the image's own frame.
    """

    image: Tensor
    label: Tensor
    edges: Tensor | None
    index: int
    warp: Tensor


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


def generator_for(*key: str | int) -> torch.Generator:
    """Return a CPU generator whose numbers depend on the key alone, on every machine and in every process.

    Example:
        >>> draw = [torch.rand(1, generator=generator_for("a", 1)).item() for _ in range(2)]
        >>> draw[0] == draw[1] != torch.rand(1, generator=generator_for("a", 2)).item()
        True
    """
    hashed = hashlib.sha256(json.dumps(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(hashed[:8], "big") >> 1)


class View(Protocol):
    """The cases of one role as a method may see them.

    Attributes:
        role: one of ``ROLES``.
        ids: the cases' names; their order defines ``Sample.index``.
        channels: C of every image.
        classes: L, the number of classes.
        has_edges: whether batches come with edges.
    """

    role: str
    ids: tuple[str, ...]
    channels: int
    classes: int
    has_edges: bool

    @property
    def frame(self) -> tuple[int, ...]:
        """(H, W) of a case's own frame, in which its weights live."""
        ...

    def __len__(self) -> int:
        """Return how many cases there are."""
        ...

    def sample(self, row_in_role: int, epoch: int, repeat: int = 0) -> Sample:
        """Return one case as it is shown in one epoch; the same arguments give the same bits."""
        ...

    def order(self, epoch: int, repeat: int = 0, lanes: int = 1) -> list[int]:
        """Return the rows of this role in the random order of one pass, see :func:`lane_order`."""
        ...


class TrainingView:
    """The images of one role as a method may see them: images and one kind of label, in the training frame.

    Unless ``labels="truth"`` is asked for (the upper bound), a view offers nothing of any reference mask.

    Args:
        prepared: where images and masks are read from.
        role: one of ``ROLES``.
        size: S, the side of the square training frame in pixels.
        labels: ``"given"``, or ``"truth"`` to train on the reference masks.
        augment: how far images may be moved, or None to leave them as they are.
        seed: the run's seed.

    Attributes:
        ids, channels, classes, has_edges, frame: see :class:`View`.

    Raises:
        InputError: where the role has no cases, or an argument is out of its range.
    """

    def __init__(
        self,
        prepared: PreparedSet,
        role: str,
        size: int,
        *,
        labels: Labels = "given",
        augment: AugmentOptions | None = None,
        seed: int = 0,
    ) -> None:
        if size < 2:
            raise InputError(f"size must be at least 2 pixels, got {size}; use the frame's side, such as 256")
        self._cases = prepared.select(role)
        if not self._cases:
            raise InputError(f"{prepared.path} has no {role} cases; prepare the set again with some")
        check_labels(prepared, role, labels)
        self._read_image = prepared.image
        self._read_label = prepared.label if labels == "given" else prepared.truth
        self._read_edges = None if prepared.edge_detector is None else prepared.edges
        self._normalised = prepared.preprocessing is not None
        self._frames = FrameMemory[tuple[Tensor, Tensor, Tensor | None]]()
        self.role, self.size, self.labels, self.augment, self.seed = role, size, labels, augment, seed
        self.frame: tuple[int, ...] = (size, size)
        self.ids = tuple(case.id for case in self._cases)
        self.channels = prepared.channels
        self.classes = len(prepared.classes)
        self.has_edges = prepared.edge_detector is not None

    def __len__(self) -> int:
        return len(self._cases)

    def sample(self, row_in_role: int, epoch: int, repeat: int = 0) -> Sample:
        """Return one image as it is shown in one epoch; the same arguments give the same bits.

        Args:
            row_in_role: 0 .. len - 1.
            epoch: the epoch, from 0.
            repeat: how many times the image was shown before in this epoch.

        Raises:
            InputError: naming case and file where the stored bytes are damaged.
        """
        image, label, levels = self._frame(row_in_role)
        edges = None if levels is None else levels.float() / 255
        if self.augment is None:
            return Sample(image.clone(), label.clone(), edges, row_in_role, torch.eye(2, 3))
        key = ("augment", self.seed, self.role, epoch, repeat, self.ids[row_in_role])
        matrix = draw_warp(self.augment, self.size, generator_for(*key))
        warp = Warp(matrix[None])
        moved = warp.apply(image[None], "bilinear", fill=0.0)[0]
        moved_label = warp.apply(label[None, None], "nearest", fill=float(IGNORE))[0, 0]
        if edges is not None:  # as the label: an edge stays where the labels meet, and keeps its probability
            edges = warp.apply(edges[None, None], "nearest", fill=0.0)[0, 0]
        return Sample(moved, moved_label, edges, row_in_role, matrix)

    def order(self, epoch: int, repeat: int = 0, lanes: int = 1) -> list[int]:
        """Return the rows of this role in the random order of one pass, see :func:`lane_order`."""
        return lane_order(len(self), lanes, generator_for("order", self.seed, self.role, epoch, repeat))

    def _frame(self, row: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return image, label and edges (uint8) before augmentation, from memory where they still fitted."""
        return self._frames.get(row, lambda: self._made(row), _bytes)

    def _made(self, row: int) -> tuple[Tensor, Tensor, Tensor | None]:
        case = self._cases[row]
        image = to_frame(self._read_image(case), self.size, normalised=self._normalised)
        label = label_to_frame(self._read_label(case), self.size)
        edges = None if self._read_edges is None else edges_to_frame(self._read_edges(case), self.size)
        return image, label, edges


def check_labels(prepared: PreparedSet, role: str, labels: Labels) -> None:
    """Refuse a kind of label that the cases of a role do not have.

    Raises:
        InputError: for an unknown kind, or a case without a reference mask where that is asked for.
    """
    if labels not in ("given", "truth"):
        raise unknown_name("labels", labels, ("given", "truth"))
    missing = [case.id for case in prepared.select(role) if labels == "truth" and not case.has_truth]
    if missing:
        raise InputError(
            f"labels='truth' needs a reference mask for every {role} case of {prepared.path}, "
            f"{len(missing)} have none, such as {missing[0]!r}; use labels='given'"
        )


def lane_order(count: int, lanes: int, generator: torch.Generator) -> list[int]:
    """Return rows in the random order of one pass.

    The rows are dealt into lanes, row modulo ``lanes``, and every lane is shuffled by itself; the first of
    every lane come first, then the second of every lane, and so on. Where batches have ``lanes`` images,
    each holds one of every lane (the last may lack some), so that a device which takes a fixed set of
    lanes always draws the same images, and their weights need to live nowhere else. The price is small:
    two images of one lane never meet in a batch. One lane is a plain shuffle.

    Args:
        count: of rows.
        lanes: at least 1.
        generator: the only source of randomness.

    Returns:
        Every row from 0 to ``count - 1`` once.
    """
    dealt = [list(range(lane, count, lanes)) for lane in range(min(lanes, count))]
    shuffled = [[rows[i] for i in torch.randperm(len(rows), generator=generator).tolist()] for rows in dealt]
    return [row for rank in zip_longest(*shuffled) for row in rank if row is not None]


def _bytes(frame: tuple[Tensor, Tensor, Tensor | None]) -> int:
    return sum(part.nbytes for part in frame if part is not None)


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
    return Batch(
        images=torch.stack([sample.image for sample in samples]),
        labels=labels,
        indices=torch.tensor([sample.index for sample in samples], dtype=torch.int64),
        warp=Warp(torch.stack([sample.warp for sample in samples])),
        edges=torch.stack(edges) if edges else None,
        joint=None if share.devices == 1 else Joint(valid, len(chosen) / share.devices),
    )
