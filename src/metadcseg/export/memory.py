"""Whether a network can be run at the size that it is exported at, found without computing a single number."""

import copy
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metadcseg.errors import InputError

_CGROUP = Path("/sys/fs/cgroup")
_CONTAINERS = (
    (_CGROUP / "memory.max", _CGROUP / "memory.current"),  # cgroup v2, as a container sees its own
    (_CGROUP / "memory/memory.limit_in_bytes", _CGROUP / "memory/memory.usage_in_bytes"),  # v1
)
"""Where the limit of a container and what is used of it are."""


def refuse_too_large(network: nn.Module, shape: Sequence[int], run: Path, way_out: str) -> None:
    """Refuse images of which a network's maps do not fit into the memory that is free.

    Args:
        network: takes them.
        shape: (N, C, H, W) or (N, C, Z, H, W).
        run: the folder of the network, for the sentence.
        way_out: what to do, its end.

    Raises:
        InputError: saying how much is needed and how much is free.
    """
    needed, free = bytes_needed(network, shape), bytes_free()
    if free is not None and needed > free:
        sides = " x ".join(map(str, shape[2:]))
        raise InputError(
            f"{run}: its network takes {needed / 2**30:.1f} GiB of memory for {shape[0]} images of {sides} pixels, "
            f"{free / 2**30:.1f} GiB are free: {way_out}"
        )


def bytes_needed(network: nn.Module, shape: Sequence[int]) -> int:
    """Return how many bytes images and a network's maps of them have at most at one time.

    The network is carried out on tensors without content (device ``meta``), whatever the size. Of code that cannot be,
    the images alone are counted.

    Args:
        network: its weights are not counted, they are there already.
        shape: of the images, float32.

    Example:
        >>> layers = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU())  # 1, 4 and 4 maps at one time
        >>> bytes_needed(layers, (1, 1, 16384, 16384)) // 2**30
        9
    """
    held = [*network.parameters(), *network.buffers()]
    empty: dict[int, Any] = {id(each): torch.empty_like(each, device="meta") for each in held}
    for each in network.parameters():
        empty[id(each)] = nn.Parameter(empty[id(each)], requires_grad=False)
    peak = _Peak()
    with torch.no_grad(), peak:
        images = torch.empty(*shape, device="meta")
        try:
            copy.deepcopy(network, empty)(images)
        except Exception:  # code of the user's own asks for numbers
            return images.nbytes
    return peak.most


def bytes_free() -> int | None:
    """Return how much memory is left, in the machine and in the container; None where neither says.

    Example:
        >>> (bytes_free() or 1) > 0
        True
    """
    known = [free for free in (_of_machine(), *map(_of_container, _CONTAINERS)) if free is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    try:
        return _numbers(Path("/proc/meminfo"))["MemAvailable:"] * 1024
    except (OSError, KeyError, ValueError):
        names = getattr(os, "sysconf_names", {})
        if not {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(names):
            return None
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_container(files: tuple[Path, Path]) -> int | None:
    """Return what a limit leaves, None where there is none; cached files make room and do not count as used."""
    limit, used = files
    try:
        cached = _numbers(limit.with_name("memory.stat"))
        inactive = cached.get("total_inactive_file", cached.get("inactive_file", 0))
        return max(0, int(limit.read_text()) - int(used.read_text()) + inactive)
    except (OSError, ValueError):  # also "max", which is no limit
        return None


def _numbers(file: Path) -> dict[str, int]:
    """Return the first number of every line by its name."""
    lines = [line.split() for line in file.read_text().splitlines()]
    return {line[0]: int(line[1]) for line in lines if len(line) > 1}


class _Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that are made while it is on, as long as somebody holds them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most: int = 0
        self._now: int = 0
        self._seen: weakref.WeakKeyDictionary[Any, None] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            storage = each.untyped_storage() if isinstance(each, Tensor) else None
            if storage is not None and storage not in self._seen:
                self._seen[storage] = None
                self._now += storage.nbytes()
                self.most = max(self.most, self._now)
                weakref.finalize(storage, self._let_go, storage.nbytes())
        return made

    def _let_go(self, nbytes: int) -> None:
        self._now -= nbytes
