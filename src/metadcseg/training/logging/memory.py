"""What training takes of a device's memory."""

import torch


def forget_peak(device: torch.device) -> None:
    """Let :func:`peak_memory` begin anew, without what earlier runs of this process have left reserved."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int | None:
    """Return the most bytes that torch has reserved on a CUDA device in this run; None on other devices.

    What is reserved is what others cannot have; what tensors hold of it is less. On a CPU the operating system knows
    better, and MPS keeps no peak.

    Example:
        >>> peak_memory(torch.device("cpu")) is None
        True
    """
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None
