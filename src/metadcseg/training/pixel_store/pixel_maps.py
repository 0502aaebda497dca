"""What methods keep for every pixel of every training image, in files that go with the checkpoints.

A checkpoint cannot hold all maps (400 MB for 800 images of 256 x 256), and maps that are written over in place
would be newer than the checkpoint after a crash. So every image has several places for its map (copy on
write): what a checkpoint on the disk refers to is never written over, and the checkpoint only says, for every
image, in which place its map lies and with which checksum. That takes 10 bytes per image and map.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metadcseg.errors import InputError
from metadcseg.tensors import check_shape
from metadcseg.training.pixel_store.npy_file import SLOTS, NpyFile

State = dict[str, Tensor]

_LARGEST = torch.finfo(torch.float16).max


class FilePixelMaps:
    """A map for every training image in one file; see :class:`metadcseg.methods.base.PixelMaps`.

    Four places per image are enough for any order of events: one each for the last checkpoint, the one before
    it (which a damaged last one sends people back to), and one that is being written or whose writing failed;
    the fourth is then free. While all saving succeeds three are used.

    In memory are 8 bytes per image, never the maps.

    Args:
        path: the file; made with the first map that is written, opened by :meth:`load_state_dict`.
        images: the number of images.
        grid: (H, W) of every map.
        rank: the number of this process among those that share the file.
        world: the number of those processes; image i belongs to process i % world, which alone reads and
            writes it.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> maps = FilePixelMaps(Path(folder.name, "a.npy"), images=3, grid=(1, 2))
        >>> maps.write([2], torch.tensor([[[0.25, -1.0]]]))
        >>> maps.read([0, 2]).tolist()
        [[[0.0, 0.0]], [[0.25, -1.0]]]
        >>> saved = maps.state_dict()
        >>> maps.write([2], torch.ones(1, 1, 2))
        >>> maps.load_state_dict(saved)
        >>> maps.read([2]).tolist()
        [[[0.25, -1.0]]]
        >>> folder.cleanup()
    """

    def __init__(self, path: Path, images: int, grid: tuple[int, ...], rank: int = 0, world: int = 1) -> None:
        self.grid = grid
        self._path, self._images = path, images
        self._rank, self._world = rank, world
        self._file: NpyFile | None = None
        self._unsynced = False
        self._slots = np.zeros(images, np.uint8)  # where each image's map lies; 0: nowhere yet
        self._checksums = np.zeros(images, np.uint32)
        self._last = self._before = self._pending = self._slots.copy()  # what checkpoints refer to

    def read(self, images: Sequence[int]) -> Tensor:
        """Return (K, H, W) float32 on the CPU; 0 for an image that was never written.

        Raises:
            InputError: for an image that is none of the run's, or a file that was cut short.
        """
        values = np.zeros((len(images), *self.grid), np.float16)
        for value, image in zip(values, images, strict=True):
            self._check_own(image)
            if self._slots[image]:
                value[:] = self._opened().read(image, int(self._slots[image]))
        return torch.from_numpy(values).float()

    def write(self, images: Sequence[int], values: Tensor) -> None:
        """Keep maps, rounded to half precision and cut at +-65504, its largest number.

        Args:
            images: K numbers of images.
            values: (K, H, W) float.

        Raises:
            InputError: for an image that is none of the run's, or where the disk is full.
        """
        check_shape("the maps to keep", values, (len(images), *self.grid))
        kept = values.detach().float().cpu().clamp(-_LARGEST, _LARGEST).half()
        for image, value in zip(images, kept.numpy(), strict=True):
            self._check_own(image)
            slot = self._free_slot(image)
            self._unsynced = True
            self._checksums[image] = self._opened().write(image, slot, value)
            self._slots[image] = slot  # only now: a write that failed has changed nothing

    def state_dict(self) -> State:
        """Bring everything to the disk and return where it lies.

        What is returned stays readable until the next call, even if :meth:`saved` is never called.

        Returns:
            ``slots`` (N,) uint8, ``checksums`` (N,) int64, ``before`` (N,) uint8: the slots of the last checkpoint.
        """
        if self._file is not None and self._unsynced:
            self._file.flush()
            self._unsynced = False
        self._pending = self._slots.copy()
        return {
            "slots": torch.from_numpy(self._pending.copy()),
            "checksums": torch.from_numpy(self._checksums.astype(np.int64)),
            "before": torch.from_numpy(self._last.copy()),
        }

    def saved(self) -> None:
        """Take note that what :meth:`state_dict` returned last is now in the last checkpoint on the disk."""
        if self._pending is not self._last:  # a second call would forget the checkpoint before
            self._before, self._last = self._last, self._pending

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what :meth:`state_dict` returned.

        Every map of this process is compared with its checksum at once. That takes about as long as reading
        the file, and finds damage while the checkpoint before is still there to go back to.

        Raises:
            InputError: where the file is missing or is not the one that the state belongs to.
        """
        for name in ("slots", "checksums", "before"):
            check_shape(f"{name} of {self._path}", state[name], (self._images,))
        slots, checksums, before = (state[name].numpy() for name in ("slots", "checksums", "before"))
        file = self._file
        if slots.any():
            earlier = self._path.with_suffix(".map")  # what versions before called it
            path = earlier if earlier.exists() and not self._path.exists() else self._path
            file = file or NpyFile(path, self._images, self.grid, new=False)
            for image in np.flatnonzero(slots).tolist():
                if image % self._world == self._rank:
                    file.verify(image, int(slots[image]), int(checksums[image]))
        self._file = file
        self._slots, self._checksums = slots.copy(), checksums.astype(np.uint32)
        self._last = self._pending = slots.copy()
        self._before = before.copy()

    def _opened(self) -> NpyFile:
        if self._file is None:
            self._file = NpyFile(self._path, self._images, self.grid, new=True)
        return self._file

    def _free_slot(self, image: int) -> int:
        """Return the image's own slot if no checkpoint refers to it, otherwise the first one that is free."""
        taken = {int(slots[image]) for slots in (self._last, self._before, self._pending)}
        if (current := int(self._slots[image])) and current not in taken:
            return current
        return next(slot for slot in range(1, SLOTS + 1) if slot not in taken)

    def _check_own(self, image: int) -> None:
        if not 0 <= image < self._images:
            raise InputError(
                f"{self._path} keeps maps of the images 0 to {self._images - 1}, got image {image}: "
                "open a storage with as many images as there are training cases"
            )
        if image % self._world != self._rank:
            raise InputError(
                f"{self._path}: image {image} belongs to process {image % self._world} of {self._world}, "
                f"but process {self._rank} asked for it: draw image i in process i % {self._world} only"
            )


class RunStorage:
    """Where the maps of one run lie; see :class:`metadcseg.methods.base.Storage`.

    After ``state_dict`` is in the last checkpoint, :meth:`saved` must be called, in every process. A folder for a
    try, as in tests, can be any empty one.

    Args:
        folder: of the maps; made with the first map that is written.
        images: the number of training images.
        grid: (H, W) of the input grid.
        rank: the number of this process among those that train together.
        world: the number of those processes.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> storage = RunStorage(Path(folder.name), images=2, grid=(1, 1))
        >>> storage.open("alpha").write([1], torch.full((1, 1, 1), 0.5))
        >>> state = storage.state_dict()
        >>> resumed = RunStorage(Path(folder.name), images=2, grid=(1, 1))
        >>> resumed.load_state_dict(state)
        >>> resumed.open("alpha").read([1]).item()
        0.5
        >>> folder.cleanup()
    """

    def __init__(
        self,
        folder: Path,
        images: int,
        grid: tuple[int, ...],
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._folder, self._images, self._grid = folder, images, grid
        self._rank, self._world = rank, world
        self._maps: dict[str, FilePixelMaps] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the maps that were opened: empty for a method that keeps nothing of single pixels."""
        return tuple(self._maps)

    def open(self, name: str) -> FilePixelMaps:
        """Return the maps of this name, always the same object; nothing is written before the first map."""
        if name not in self._maps:
            path = self._folder / f"{name}.npy"
            self._maps[name] = FilePixelMaps(path, self._images, self._grid, self._rank, self._world)
        return self._maps[name]

    def state_dict(self) -> dict[str, State]:
        """Bring all maps to the disk and return, by name, where they lie."""
        return {name: maps.state_dict() for name, maps in self._maps.items()}

    def saved(self) -> None:
        """Take note that what :meth:`state_dict` returned last is now in the last checkpoint on the disk."""
        for maps in self._maps.values():
            maps.saved()

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go back to what :meth:`state_dict` returned.

        Raises:
            InputError: where a file is missing or is not the one that the state belongs to.
        """
        for name, part in state.items():
            self.open(name).load_state_dict(part)


def merge_states(states: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, State]:
    """Return one state of all processes: what process i % world says of image i.

    Args:
        states: what :meth:`RunStorage.state_dict` returned in process 0, 1, ..., world - 1.

    Example:
        >>> ones, twos = ({"alpha": {"slots": torch.full((3,), value)}} for value in (1, 2))
        >>> merge_states([ones, twos])["alpha"]["slots"].tolist()
        [1, 2, 1]
    """
    merged: dict[str, State] = {}
    for name, part in states[0].items():
        merged[name] = {}
        for key, own in part.items():
            every = torch.stack([state[name][key] for state in states])  # (world, N)
            images = torch.arange(len(own))
            merged[name][key] = every[images % len(states), images]
    return merged
