"""What methods keep for every pixel of every training image, in memory: for loops that have no run folder."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from metadcseg.errors import InputError
from metadcseg.tensors import check_shape

_LARGEST = torch.finfo(torch.float16).max


class MemoryStorage:
    """A storage (:class:`metadcseg.methods.base.Storage`) of half-precision maps: 2 bytes per pixel, image and map.

    Its numbers are those that a run's files would hold, bit for bit.

    Args:
        grid: (H, W) of every map, or None until :meth:`set_grid` says it.

    Attributes:
        grid: as given, or as said since.
        maps: by name, those that were opened.

    Example:
        >>> maps = MemoryStorage((1, 2)).open("alpha")
        >>> maps.write([2], torch.tensor([[[0.1, 1e6]]]))
        >>> maps.read([0, 2]).tolist()
        [[[0.0, 0.0]], [[0.0999755859375, 65504.0]]]
    """

    def __init__(self, grid: Sequence[int] | None = None) -> None:
        self.grid = None if grid is None else tuple(grid)
        self.maps: dict[str, MemoryPixelMaps] = {}

    def open(self, name: str) -> "MemoryPixelMaps":
        """Return the maps of this name, always the same object; all of them are 0 at the start."""
        if name not in self.maps:
            self.maps[name] = MemoryPixelMaps(self)
        return self.maps[name]

    def set_grid(self, grid: Sequence[int]) -> None:
        """Say the grid, where nobody has said it before."""
        if self.grid is None:
            self.grid = tuple(grid)

    def state_dict(self) -> dict[str, Any]:
        """Return all maps, (K, H, W) float16, and which images they belong to, (K,)."""
        return {name: maps.state_dict() for name, maps in self.maps.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for name, part in state.items():
            self.open(name).load_state_dict(part)


class MemoryPixelMaps:
    """The maps of one name; see :class:`metadcseg.methods.base.PixelMaps`.

    Args:
        storage: knows their grid.
    """

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._maps: dict[int, Tensor] = {}

    @property
    def grid(self) -> tuple[int, ...]:
        """(H, W) of every map.

        Raises:
            InputError: where nobody has said it yet.
        """
        if self._storage.grid is None:
            raise InputError(
                "the grid of the weights that are kept for every pixel is not known yet: give input_grid"
            )
        return self._storage.grid

    def read(self, images: Sequence[int]) -> Tensor:
        """Return (K, H, W) float32 on the CPU; 0 for an image that was never written."""
        zeros = torch.zeros(self.grid)
        return torch.stack([self._maps[image].float() if image in self._maps else zeros for image in images])

    def write(self, images: Sequence[int], values: Tensor) -> None:
        """Keep (K, H, W) numbers, rounded to half precision and cut at +-65504, its largest number."""
        check_shape("the maps to keep", values, (len(images), *self.grid))
        kept = values.detach().float().cpu().clamp(-_LARGEST, _LARGEST).half()
        self._maps.update(zip(images, kept.clone().unbind(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return all maps, (K, H, W) float16, and which images they belong to, (K,)."""
        held = sorted(self._maps)
        return {
            "images": torch.tensor(held, dtype=torch.int64),
            "maps": torch.stack([self._maps[image] for image in held]) if held else torch.zeros(0),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            InputError: where the maps have another grid.
        """
        images, maps = state["images"].tolist(), state["maps"]
        if images:
            self._storage.set_grid(maps.shape[1:])
            check_shape("the maps of the state", maps, (len(images), *self.grid))
        self._maps = dict(zip(images, maps.clone().unbind(), strict=True))
