"""The volumes of a prepared set as networks in three dimensions see them: whole, or in patches.

Every volume is brought to one grid of Z x S x S voxels, in which its weights live. A patch is a part of the augmented
grid, and its warp leads from it to the volume's own grid, so that weights travel to patches and back as they do
between augmented images and their own grids.
"""

import numpy as np
import torch
from torch import Generator, Tensor

from metadcseg.constants import IGNORE
from metadcseg.data.loading.augmentation import AugmentOptions, draw_warp
from metadcseg.data.loading.dataset import (
    Grid,
    Labels,
    Sample,
    check_labels,
    generator_for,
    input_bytes,
    lane_order,
    uses_label_confidence,
)
from metadcseg.data.loading.input_grid import InputCache
from metadcseg.data.loading.volume_grid import (
    resize_edge_stack_to_input,
    resize_label_stack_to_input,
    resize_stack_to_input,
)
from metadcseg.data.store.reader import PreparedSet, StoredVolume
from metadcseg.errors import InputError
from metadcseg.warp import Mode, Warp

Size = tuple[int, int, int]


class VolumeDataset:
    """The volumes of one role, with one kind of label; see :class:`metadcseg.data.loading.dataset.View`.

    Half of the patches, by a fair coin, are drawn about a voxel of the foreground of the label, the others anywhere.

    Args:
        prepared: where volumes and labels are read from.
        role: one of ``ROLES``.
        grid: (Z, S, S), the input grid in voxels.
        patch: size of the patches, None for the whole grid.
        labels: ``"given"``, or ``"truth"`` to train on the reference masks.
        augment: how far volumes may be moved: as images, within their slices, and mirrored along the stack; or None.
        seed: the run's seed.
        pairs: whether samples hold the masks that verified labels replaced (``Sample.given``), where there are any.

    Raises:
        InputError: where the role has no volumes, slices of one were dropped, or a patch is larger than the grid.
    """

    def __init__(
        self,
        prepared: PreparedSet,
        role: str,
        grid: Size,
        patch: Size | None = None,
        *,
        labels: Labels = "given",
        augment: AugmentOptions | None = None,
        seed: int = 0,
        pairs: bool = False,
    ) -> None:
        if patch is not None and any(part > side for part, side in zip(patch, grid, strict=True)):
            raise InputError(
                f"training.patch {_sides(patch)} must lie in the grid of {_sides(grid)} (training.depth, then "
                "training.size twice): make the patch smaller or the grid larger"
            )
        self._volumes = whole_volumes(prepared, role)
        check_labels(prepared, role, labels)
        self._prepared, self._memory = prepared, InputCache[Grid]()
        self.role, self.grid, self.patch = role, grid, patch or grid
        self.labels, self.augment, self.seed = labels, augment, seed
        cases = prepared.select(role)
        self._has_label_confidence = uses_label_confidence(cases, role, labels)
        self._has_pairs = pairs and any(case.has_given for case in cases)
        self.ids = tuple(volume.id for volume in self._volumes)
        self.channels = prepared.channels
        self.classes = len(prepared.classes)
        self.has_edges = prepared.edge_detector is not None

    def __len__(self) -> int:
        return len(self._volumes)

    def sample(self, row_in_role: int, epoch: int, repeat: int = 0) -> Sample:
        """Return one patch of a volume; the same arguments give the same bits.

        Args:
            row_in_role: 0 .. len - 1.
            epoch: the epoch, from 0.
            repeat: how many times the volume was shown before in this epoch.

        Returns:
            Maps of (*patch); ``warp`` (3, 4) leads from the patch to the grid.

        Raises:
            InputError: naming case and file where the stored bytes are damaged.
        """
        image, label, edges, label_confidence, given = self._memory.get(
            row_in_role, lambda: self._made(row_in_role), input_bytes
        )
        generator = generator_for("augment", self.seed, self.role, epoch, repeat, self.ids[row_in_role])
        moved = self._augmentation(generator)
        warp = moved.after(_placed(self._corner(generator, label, moved), self.patch, self.grid))

        def seen(maps: Tensor, fill: float) -> Tensor:
            return warp.apply(maps[None, None].float(), "nearest", fill, self.patch)[0, 0]

        mode: Mode = "nearest" if self.augment is None else "bilinear"  # whole voxels are copied as they are
        return Sample(
            image=warp.apply(image[None], mode, 0.0, self.patch)[0],
            label=seen(label, IGNORE).long(),
            edges=None if edges is None else seen(edges, 0.0) / 255,
            label_confidence=None if label_confidence is None else seen(label_confidence, 255) / 255,
            given=None if given is None else seen(given, IGNORE).long(),
            index=row_in_role,
            warp=warp.matrix[0],
        )

    def order(self, epoch: int, repeat: int = 0, lanes: int = 1) -> list[int]:
        """Return the rows of this role in the random order of one pass, see :func:`lane_order`."""
        return lane_order(len(self), lanes, generator_for("order", self.seed, self.role, epoch, repeat))

    def _made(self, row: int) -> Grid:
        """Return all maps of a volume in the grid; all but the image uint8."""
        prepared, cases = self._prepared, self._prepared.slices_of(self._volumes[row])
        read = prepared.label if self.labels == "given" else prepared.truth
        depth, size, _ = self.grid
        image = resize_stack_to_input([prepared.image(case) for case in cases], depth, size)
        label = resize_label_stack_to_input([read(case) for case in cases], depth, size)
        edges = None
        if self.has_edges:
            edges = resize_edge_stack_to_input([prepared.edges(case) for case in cases], depth, size)
        label_confidence = None
        if self._has_label_confidence:
            label_confidence = torch.full(self.grid, 255, dtype=torch.uint8)
            if cases[0].has_label_confidence:
                label_confidence = resize_label_stack_to_input(
                    [prepared.label_confidence(case) for case in cases], depth, size
                )
        given = None
        if self._has_pairs:
            unknown = np.full((cases[0].height, cases[0].width), IGNORE, np.uint8)
            stack = [prepared.given(case) if case.has_given else unknown for case in cases]
            given = resize_label_stack_to_input(stack, depth, size)
        return image, label, edges, label_confidence, given

    def _augmentation(self, generator: Generator) -> Warp:
        if self.augment is None:
            return Warp.identity(1, axes=3)
        matrix = torch.zeros(1, 3, 4)
        matrix[0, :2, :2] = draw_warp(self.augment, self.grid[1], generator)[
            :, :2
        ]  # about the center: no shift
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


def whole_volumes(prepared: PreparedSet, role: str) -> tuple[StoredVolume, ...]:
    """Return the volumes of a role.

    Raises:
        InputError: where there are none, or slices of one were dropped.
    """
    volumes = tuple(volume for volume in prepared.volumes if volume.role == role)
    if not volumes:
        what = f"no {role} volumes" if prepared.volumes else "images, no volumes"
        raise InputError(f"network.spatial_dims 3 needs volumes, and {prepared.path} has {what}: take 2")
    for volume in volumes:
        if len(prepared.slices_of(volume)) != volume.placement.slices:
            raise InputError(
                f"network.spatial_dims 3 needs whole volumes, and {prepared.path} lacks slices of volume "
                f"'{volume.id}': prepare the set with --empty keep, and count gold in volumes, not in slices"
            )
    return volumes


def _placed(corner: list[int], patch: Size, grid: Size) -> Warp:
    """Return the warp from a patch to the grid that it is a part of, to whole voxels."""
    sides = list(zip(corner, patch, grid, strict=True))[::-1]  # x, y, z
    linear = torch.diag(torch.tensor([part / side for _, part, side in sides]))
    shift = torch.tensor([[(2 * start + part) / side - 1] for start, part, side in sides])
    return Warp(torch.cat([linear, shift], dim=1)[None])


def _sides(size: Size) -> str:
    return " x ".join(str(side) for side in size)
