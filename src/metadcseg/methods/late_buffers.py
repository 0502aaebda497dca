"""Modules whose buffers have no size before the first batch tells how many classes there are."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class LateBuffers(nn.Module):
    """A module of float32 buffers that are empty until the first batch, and as large as those saved when loaded.

    Args:
        names: of the buffers.

    Example:
        >>> module = LateBuffers("counts")
        >>> module.load_state_dict({"counts": torch.ones(2, 3)})
        <All keys matched successfully>
        >>> module.counts.shape
        torch.Size([2, 3])
    """

    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            self.register_buffer(name, torch.zeros(0))

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name, held in dict(self.named_buffers(recurse=False)).items():
            setattr(self, name, held.new_zeros(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)
