"""The cases of one role as a method may see them: normalized, in the input grid, augmented, in random order.

An image is seen whole. A volume is brought to one grid of Z x S x S voxels, in which its weights live, and is seen
whole or in patches: a patch is a part of the augmented grid, and its warp leads from it to the volume's own grid, so
that weights travel to patches and back as they do between augmented images and their own grids.

All randomness comes from a hash of what it is for (seed, role, epoch, repeat, id), so neither the order in which
samples are made nor where an interrupted epoch starts again changes a bit of any of them.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from metadcseg.constants import IGNORE
from metadcseg.data.loading.augmentation import AugmentOptions, draw_warp
from metadcseg.data.loading.drawn import Drawn, Sample
from metadcseg.data.loading.input_grid import (
    InputCache,
    Size,
    edges_to_input,
    labels_to_input,
    stack_to_input,
)
from metadcseg.data.loading.order import lane_order
from metadcseg.data.store.reader import Case, PreparedSet
from metadcseg.errors import InputError, unknown_name
from metadcseg.warp import Warp

Labels = Literal["given", "truth"]
Grid = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]
"""Image, label, edges, trust and given mask of a case in the input grid, not augmented; all but the image uint8."""


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

    def draw(self, row_in_role: int, epoch: int, repeat: int = 0) -> Drawn:
        """Return the same case as it is before it is moved."""
        ...

    def order(self, epoch: int, repeat: int = 0, lanes: int = 1) -> list[int]:
        """Return the rows of this role in the random order of one pass, see :func:`lane_order`."""
        ...


class SegmentationDataset:
    """The images, or volumes, of one role as a method may see them: with one kind of label, in the input grid.

    Unless ``labels="truth"`` is asked for (the upper bound), a view offers nothing of any reference mask. Unless
    ``pairs`` is asked for, it offers nothing of the masks that verified ones replaced. Half of the patches, by a fair
    coin, are drawn about a voxel of the foreground of the label, the others anywhere.

    Args:
        prepared: where images and masks are read from.
        role: one of ``ROLES``.
        grid: S, the side of the square input grid of images and slices in pixels; or (Z, S, S), that of volumes.
        patch: size of the patches of a volume, None for the whole grid.
        labels: ``"given"``, or ``"truth"`` to train on the reference masks.
        augment: how far images may be moved, and volumes within their slices and mirrored along the stack; or None.
        seed: the run's seed.
        pairs: whether samples hold the masks that verified labels replaced (``Sample.given``), where there are any.

    Attributes:
        ids, channels, classes, has_edges, grid: see :class:`View`.

    Raises:
        InputError: where the role has no cases, an argument is out of its range, slices of a volume were dropped, or a
            patch is larger than the grid.
    """

    def __init__(
        self,
        prepared: PreparedSet,
        role: str,
        grid: int | Size,
        patch: Size | None = None,
        *,
        labels: Labels = "given",
        augment: AugmentOptions | None = None,
        seed: int = 0,
        pairs: bool = False,
    ) -> None:
        self.grid: Size = (grid, grid) if isinstance(grid, int) else grid
        if self.grid[-1] < 2:
            raise InputError(
                f"size must be at least 2 pixels, got {self.grid[-1]}; use the grid's side, such as 256"
            )
        if patch is not None and any(part > side for part, side in zip(patch, self.grid, strict=True)):
            raise InputError(
                f"training.patch {_sides(patch)} must lie in the grid of {_sides(self.grid)} (training.depth, then "
                "training.size twice): make the patch smaller or the grid larger"
            )
        self._stacks = stacks_of(prepared, role, volumes=len(self.grid) == 3)
        if not self._stacks:
            raise InputError(f"{prepared.path} has no {role} cases; prepare the set again with some")
        check_labels(prepared, role, labels)
        cases = prepared.select(role)
        self._has_label_confidence = uses_label_confidence(cases, role, labels)
        self._has_pairs = pairs and any(case.has_given for case in cases)
        self._prepared, self._memory = prepared, InputCache[Grid]()
        self.role, self.patch, self.labels = role, patch or self.grid, labels
        self.augment, self.seed = augment, seed
        self.ids = tuple(self._stacks)
        self.channels = prepared.channels
        self.classes = len(prepared.classes)
        self.has_edges = prepared.edge_detector is not None

    def __len__(self) -> int:
        return len(self._stacks)

    def sample(self, row_in_role: int, epoch: int, repeat: int = 0) -> Sample:
        """Return one image, or one patch of a volume, as it is shown in one epoch; the same arguments, the same bits.

        Args:
            row_in_role: 0 .. len - 1.
            epoch: the epoch, from 0.
            repeat: how many times the case was shown before in this epoch.

        Returns:
            Maps of (S, S), of a volume of (*patch); ``warp`` leads from there to the case's own grid.

        Raises:
            InputError: naming case and file where the stored bytes are damaged.
        """
        return self.draw(row_in_role, epoch, repeat).sample()

    def draw(self, row_in_role: int, epoch: int, repeat: int = 0) -> Drawn:
        """Return a sample before it is moved; see :meth:`sample`, for which this is the first half.

        Raises:
            InputError: likewise.
        """
        (image, label, edges, label_confidence, given), annotators = self._shown(row_in_role, epoch, repeat)
        generator = generator_for("augment", self.seed, self.role, epoch, repeat, self.ids[row_in_role])
        warp = self._augmentation(generator)
        if len(self.grid) == 3:
            warp = warp.after(_placed(self._corner(generator, label, warp), self.patch, self.grid))
        changed = self.augment is not None and self.augment.intensity
        return Drawn(
            images=image[None],
            labels=label[None],
            edges=None if edges is None else edges[None],
            label_confidence=None if label_confidence is None else label_confidence[None],
            given=None if given is None else given[None],
            indices=torch.tensor([row_in_role]),
            warp=warp,
            size=self.patch,
            mode="nearest" if self.augment is None else "bilinear",  # whole pixels are copied as they are
            seeds=(int(torch.randint(2**31 - 1, (), generator=generator)),) if changed else None,
            annotators=None if annotators is None else annotators[None],
        )

    def _shown(self, row: int, epoch: int, repeat: int) -> tuple[Grid, Tensor | None]:
        """Return all maps of a case as it is shown in one epoch, not augmented, and who drew what is shown."""
        return self._memory.get(row, lambda: self._made(row), input_bytes), None

    def order(self, epoch: int, repeat: int = 0, lanes: int = 1) -> list[int]:
        """Return the rows of this role in the random order of one pass, see :func:`lane_order`."""
        return lane_order(len(self), lanes, generator_for("order", self.seed, self.role, epoch, repeat))

    def _made(self, row: int) -> Grid:
        """Return all maps of a case in the grid, before augmentation; all but the image uint8."""
        prepared, cases = self._prepared, self._stacks[self.ids[row]]
        read = prepared.label if self.labels == "given" else prepared.truth
        normalized = prepared.preprocessing is not None
        image = stack_to_input([prepared.image(case) for case in cases], self.grid, normalized=normalized)
        label = labels_to_input([read(case) for case in cases], self.grid)
        edges = None
        if self.has_edges:
            edges = edges_to_input([prepared.edges(case) for case in cases], self.grid)
        label_confidence = given = None
        if self._has_label_confidence:
            label_confidence = torch.full(self.grid, 255, dtype=torch.uint8)
            if cases[0].has_label_confidence:
                label_confidence = labels_to_input(
                    [prepared.label_confidence(case) for case in cases], self.grid
                )
        if self._has_pairs:
            unknown = np.full((cases[0].height, cases[0].width), IGNORE, np.uint8)
            stack = [prepared.given(case) if case.has_given else unknown for case in cases]
            given = labels_to_input(stack, self.grid)
        return image, label, edges, label_confidence, given

    def _augmentation(self, generator: Generator) -> Warp:
        """Draw how a case is moved: an image, or every slice of a volume alike, and the order of its slices."""
        axes = len(self.grid)
        if self.augment is None:
            return Warp.identity(1, axes)
        within = draw_warp(self.augment, self.grid[-1], generator)
        if axes == 2:
            return Warp(within[None])
        matrix = torch.zeros(1, 3, 4)
        matrix[0, :2, :2] = within[:, :2]  # about the center: no shift
        mirrored = bool(torch.rand((), generator=generator) < 0.5) and self.augment.flip
        matrix[0, 2, 2] = -1.0 if mirrored else 1.0
        return Warp(matrix)

    def _corner(self, generator: Generator, label: Tensor, moved: Warp) -> list[int]:
        """Return where in the augmented grid the patch begins: slice, row, column."""
        anywhere = torch.rand(3, generator=generator)
        about, chosen = torch.rand(2, generator=generator).tolist()
        room = torch.tensor([side - part for part, side in zip(self.patch, self.grid, strict=True)])
        corner = (anywhere * (room + 1)).long()
        foreground = ((label != 0) & (label != IGNORE)).nonzero()
        if about < 0.5 and len(foreground):
            voxel = foreground[int(chosen * len(foreground))]
            sides = torch.tensor(self.grid)
            place = (2 * voxel + 1) / sides - 1  # as a warp counts, but z first
            back = moved.inverse().matrix[0]
            seen = (back[:, :3] @ place.flip(0)).flip(0)
            corner = ((seen + 1) / 2 * sides - torch.tensor(self.patch) / 2).round().long()
        return [int(start) for start in corner.clamp(torch.zeros_like(room), room)]


def stacks_of(prepared: PreparedSet, role: str, *, volumes: bool) -> dict[str, tuple[Case, ...]]:
    """Return id -> slices of all that a network sees of a role: every case by itself, or whole volumes.

    Raises:
        InputError: where volumes are asked for and there are none, or slices of one were dropped.
    """
    if not volumes:
        return {case.id: (case,) for case in prepared.select(role)}
    held = tuple(volume for volume in prepared.volumes if volume.role == role)
    if not held:
        what = f"no {role} volumes" if prepared.volumes else "images, no volumes"
        raise InputError(f"network.spatial_dims 3 needs volumes, and {prepared.path} has {what}: take 2")
    stacks = {volume.id: prepared.slices_of(volume) for volume in held}
    for volume in held:
        if len(stacks[volume.id]) != volume.placement.slices:
            raise InputError(
                f"network.spatial_dims 3 needs whole volumes, and {prepared.path} lacks slices of volume "
                f"'{volume.id}': prepare the set with --empty keep, and count gold in volumes, not in slices"
            )
    return stacks


def _placed(corner: list[int], patch: Size, grid: Size) -> Warp:
    """Return the warp from a patch to the grid that it is a part of, to whole voxels."""
    sides = list(zip(corner, patch, grid, strict=True))[::-1]  # x, y, z
    linear = torch.diag(torch.tensor([part / side for _, part, side in sides]))
    shift = torch.tensor([[(2 * start + part) / side - 1] for start, part, side in sides])
    return Warp(torch.cat([linear, shift], dim=1)[None])


def _sides(size: Size) -> str:
    return " x ".join(str(side) for side in size)


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


def input_bytes(grid: Grid) -> int:
    """Return how much memory a grid takes."""
    return sum(part.nbytes for part in grid if part is not None)
