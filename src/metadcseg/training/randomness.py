"""Seeds that depend on what they are for, never on how often something was drawn before."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from metadcseg.errors import InputError


def derive_seed(*parts: int | str) -> int:
    """Return a seed from 0 to 2**63 - 1 that follows from its parts alone.

    Example:
        >>> derive_seed(0, "step", 3, 1) == derive_seed(0, "step", 3, 1) != derive_seed(0, "step", 3, 2)
        True
    """
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_device(device: torch.device, seed: int) -> None:
    """Seed the global generators that modules on this device draw from, and those of no other device.

    Dropout and the like draw from them, so each step seeds them (:func:`derive_seed`); a training gives its caller the
    state from before back.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextmanager
def processor_threads(count: int | None, processes: int = 1) -> Iterator[None]:
    """Compute with so many processor threads within the block.

    Args:
        count: the number; None leaves it as it is, or divides the processors among several processes.
        processes: how many compute on this machine together.

    Raises:
        InputError: where the machine has fewer processors: far too many threads end the process.
    """
    most = os.cpu_count() or 1
    if count is not None and count > most:
        raise InputError(f"training.threads must be at most {most}, the processors here, got {count}")
    before = torch.get_num_threads()
    equal = before if processes == 1 else max(1, min(before, most // processes))
    torch.set_num_threads(equal if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
