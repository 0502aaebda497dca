"""The cases of one role as a method may see them: normalized, in the input grid, augmented, in random order.

All randomness comes from a hash of what it is for (seed, role, epoch, repeat, id), so neither the order in which
samples are made nor where an interrupted epoch starts again changes a bit of any of them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, Protocol

import torch
from torch import Tensor

from metadcseg.constants import IGNORE
from metadcseg.data.loading.augmentation import AugmentOptions, draw_warp
from metadcseg.data.loading.input_grid import (
    InputCache,
    resize_edges_to_input,
    resize_label_to_input,
    resize_to_input,
)
from metadcseg.data.store.reader import Case, PreparedSet
from metadcseg.errors import InputError, unknown_name
from metadcseg.warp import Warp

Labels = Literal["given", "truth"]
Grid = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]
"""Image, label, edges, trust and given mask of a case in the input grid, before augmentation; the last three uint8."""


@dataclass(frozen=True)
class Sample:
    """One image in the input grid.

    Args:
        image: (C, S, S) float32, normalized; a volume's maps have slices before rows.
        label: (S, S) int64, class number or ``IGNORE``.
        edges: (S, S) float32, the probability of an edge from 0 to 1, or None where the set has no edges.
        index: the image's number within its role.
        label_confidence: (S, S) float32 from 0 to 1, or None where nothing is known of any case.
        warp: (2, 3) float32, from the augmented grid to the image's own grid.
        given: (S, S) int64, the mask that a verified label replaced, ``IGNORE`` everywhere where the case has none; or
            None where no case of the role has one or the view was not asked for it.
    """

    image: Tensor
    label: Tensor
    edges: Tensor | None
    index: int
    warp: Tensor
    label_confidence: Tensor | None = None
    given: Tensor | None = None


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
    def grid(self) -> tuple[int, ...]:
        """(H, W) of a case's own grid, in which its weights live."""
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


class SegmentationDataset:
    """The images of one role as a method may see them: images and one kind of label, in the input grid.

    Unless ``labels="truth"`` is asked for (the upper bound), a view offers nothing of any reference mask. Unless
    ``pairs`` is asked for, it offers nothing of the masks that verified ones replaced.

    Args:
        prepared: where images and masks are read from.
        role: one of ``ROLES``.
        size: S, the side of the square input grid in pixels.
        labels: ``"given"``, or ``"truth"`` to train on the reference masks.
        augment: how far images may be moved, or None to leave them as they are.
        seed: the run's seed.
        pairs: whether samples hold the masks that verified labels replaced (``Sample.given``), where there are any.

    Attributes:
        ids, channels, classes, has_edges, grid: see :class:`View`.

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
        pairs: bool = False,
    ) -> None:
        if size < 2:
            raise InputError(f"size must be at least 2 pixels, got {size}; use the grid's side, such as 256")
        self._cases = prepared.select(role)
        if not self._cases:
            raise InputError(f"{prepared.path} has no {role} cases; prepare the set again with some")
        check_labels(prepared, role, labels)
        self._read_image = prepared.image
        self._read_label = prepared.label if labels == "given" else prepared.truth
        self._read_edges = None if prepared.edge_detector is None else prepared.edges
        self._normalized = prepared.preprocessing is not None
        self._has_label_confidence = uses_label_confidence(self._cases, role, labels)
        self._read_label_confidence = prepared.label_confidence
        self._has_pairs = pairs and any(case.has_given for case in self._cases)
        self._read_given = prepared.given
        self._grids = InputCache[Grid]()
        self.role, self.size, self.labels, self.augment, self.seed = role, size, labels, augment, seed
        self.grid: tuple[int, ...] = (size, size)
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
        image, label, *levels, given = self._grid(row_in_role)
        edges, label_confidence = (None if level is None else level.float() / 255 for level in levels)
        given = None if given is None else given.long()
        if self.augment is None:
            unmoved = torch.eye(2, 3)
            return Sample(image.clone(), label.clone(), edges, row_in_role, unmoved, label_confidence, given)
        key = ("augment", self.seed, self.role, epoch, repeat, self.ids[row_in_role])
        matrix = draw_warp(self.augment, self.size, generator_for(*key))
        warp = Warp(matrix[None])
        moved = warp.apply(image[None], "bilinear", fill=0.0)[0]
        moved_label = warp.apply(label[None, None], "nearest", fill=float(IGNORE))[0, 0]
        if given is not None:
            given = warp.apply(given[None, None], "nearest", fill=float(IGNORE))[0, 0]
        if edges is not None:  # as the label: an edge stays where the labels meet, and keeps its probability
            edges = warp.apply(edges[None, None], "nearest", fill=0.0)[0, 0]
        if label_confidence is not None:
            label_confidence = warp.apply(label_confidence[None, None], "nearest", fill=1.0)[0, 0]
        return Sample(moved, moved_label, edges, row_in_role, matrix, label_confidence, given)

    def order(self, epoch: int, repeat: int = 0, lanes: int = 1) -> list[int]:
        """Return the rows of this role in the random order of one pass, see :func:`lane_order`."""
        return lane_order(len(self), lanes, generator_for("order", self.seed, self.role, epoch, repeat))

    def _grid(self, row: int) -> Grid:
        """Return all maps of a case before augmentation, from memory where they still fitted."""
        return self._grids.get(row, lambda: self._made(row), input_bytes)

    def _made(self, row: int) -> Grid:
        case = self._cases[row]
        image = resize_to_input(self._read_image(case), self.size, normalized=self._normalized)
        label = resize_label_to_input(self._read_label(case), self.size)
        edges = None if self._read_edges is None else resize_edges_to_input(self._read_edges(case), self.size)
        label_confidence = None
        if self._has_label_confidence:
            label_confidence = torch.full((self.size, self.size), 255, dtype=torch.uint8)
            if case.has_label_confidence:
                label_confidence = resize_label_to_input(self._read_label_confidence(case), self.size).byte()
        given = None
        if self._has_pairs:
            given = torch.full((self.size, self.size), IGNORE, dtype=torch.uint8)
            if case.has_given:
                given = resize_label_to_input(self._read_given(case), self.size).byte()
        return image, label, edges, label_confidence, given


def uses_label_confidence(cases: Sequence[Case], role: str, labels: Labels) -> bool:
    """Return whether trust in given labels counts: not in verified ones, and not where references are shown."""
    return role != "gold" and labels == "given" and any(case.has_label_confidence for case in cases)


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


def input_bytes(grid: Grid) -> int:
    """Return how much memory a grid takes."""
    return sum(part.nbytes for part in grid if part is not None)
