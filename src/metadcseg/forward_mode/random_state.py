"""The global random states that modules draw from: put back, so that a second pass draws what the first has drawn."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch


def random_state(devices: Iterable[torch.device]) -> Callable[[], None]:
    """Return what puts the states of the CPU and of some devices back to what they are now.

    Args:
        devices: GPUs among others.

    Example:
        >>> back = random_state([torch.device("cpu")])
        >>> first = torch.rand(3)
        >>> back()
        >>> bool((torch.rand(3) == first).all())
        True
    """
    held = set(devices)
    processor = torch.get_rng_state()
    cuda = {device: torch.cuda.get_rng_state(device) for device in held if device.type == "cuda"}
    mps = torch.mps.get_rng_state() if any(device.type == "mps" for device in held) else None

    def put_back() -> None:
        torch.set_rng_state(processor)
        for device, state in cuda.items():
            torch.cuda.set_rng_state(state, device)
        if mps is not None:
            torch.mps.set_rng_state(mps)

    return put_back


@contextmanager
def kept_random_state(devices: Iterable[torch.device]) -> Iterator[None]:
    """Leave the states of the CPU and of some devices as they were, whatever the block draws or raises."""
    put_back = random_state(devices)
    try:
        yield
    finally:
        put_back()
