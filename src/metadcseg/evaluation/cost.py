"""What a network costs: parameters, operations and time for an image of the size that it was trained on."""

import time
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from metadcseg.training.run.folder import TrainedRun

REPEATS = 9


def measure_cost(trained: TrainedRun, channels: int, grid: tuple[int, ...]) -> dict[str, Any]:
    """Return parameters, counted operations and the median time of a prediction.

    Args:
        trained: the run, on the device where it shall be timed.
        channels: C.
        grid: (H, W) or (Z, H, W) that the network sees at once.

    Returns:
        ``parameters``; ``flops_per_image`` (multiplications and additions counted apart, of convolutions and matrix
        products, as torch counts them); ``inference_ms_per_image`` (median of several, batch of one); ``grid``,
        ``threads`` and ``device``.
    """
    device = next(trained.network.parameters()).device
    image = torch.zeros(1, channels, *grid, device=device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        trained.network(image)
    seconds = []
    with torch.no_grad():
        for _ in range(REPEATS):
            start = time.perf_counter()
            trained.network(image)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - start)
    return {
        "parameters": sum(parameter.numel() for parameter in trained.network.parameters()),
        "flops_per_image": counter.get_total_flops(),
        "inference_ms_per_image": round(1000 * median(seconds), 3),
        "frame": list(grid),
        "threads": torch.get_num_threads(),
        "device": str(device),
    }
