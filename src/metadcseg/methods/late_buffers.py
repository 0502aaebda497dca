"""Modules whose buffers have no size before the first batch tells how many classes there are."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class LateBuffers(nn.Module):
    """A module of float32 buffers that are empty until the first batch, and as large as those saved when loaded.

    Args:
        sizes: of each buffer, by its name; a letter is any number, the same wherever the letter stands.

    Example:
        >>> module = LateBuffers(counts=("L", "L", 3))
        >>> module.load_state_dict({"counts": torch.ones(2, 2, 3)})
        <All keys matched successfully>
        >>> module.counts.shape
        torch.Size([2, 2, 3])
        >>> module.load_state_dict({"counts": torch.ones(2, 4, 3)})
        Traceback (most recent call last):
        ...
        ValueError: 'counts' must have the sizes (L, L, 3), got (2, 4, 3)
    """

    def __init__(self, **sizes: tuple[int | str, ...]) -> None:
        super().__init__()
        self._sizes = sizes
        for name in sizes:
            self.register_buffer(name, torch.zeros(0))

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        shapes = {name: tuple(state_dict[prefix + name].shape) for name in self._sizes}
        known: dict[str, int] = {}
        for name, got in shapes.items() if any(shape != (0,) for shape in shapes.values()) else ():
            size = self._sizes[name]
            pairs = zip(size, got, strict=False)
            fits = [(known.setdefault(s, g) if isinstance(s, str) else s) == g for s, g in pairs]
            if len(size) != len(got) or not all(fits):
                asked, found = (", ".join(map(str, each)) for each in (size, got))
                raise ValueError(f"'{name}' must have the sizes ({asked}), got ({found})")
        for name, held in dict(self.named_buffers(recurse=False)).items():
            setattr(self, name, held.new_zeros(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def check_classes(self, classes: int) -> None:
        """Raise unless what was loaded is of so many classes, which the letter L stands for.

        Raises:
            ValueError: where a buffer is of more or fewer.
        """
        self._check("L", classes)

    def _check(self, letter: str, number: int) -> None:
        for name, size in self._sizes.items():
            shape = tuple(getattr(self, name).shape)
            if shape != (0,) and any(
                s == letter and got != number for s, got in zip(size, shape, strict=True)
            ):
                raise ValueError(f"'{name}' is {shape}, where {letter} is {number}")
