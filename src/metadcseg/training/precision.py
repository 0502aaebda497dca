"""``training.precision auto``: half precision where the device computes it, and single precision elsewhere."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from metadcseg.networks import NetworkOptions
from metadcseg.training.options import TrainingOptions


def settled(
    options: TrainingOptions, network: NetworkOptions, earlier: Mapping[str, Any] | None = None
) -> tuple[TrainingOptions, str | None]:
    """Return options with a precision in the place of ``auto``, and a sentence that says which.

    Half precision is taken on processors with AMX or AVX512-BF16 and on GPUs that compute bfloat16, together with
    ``channels_last`` for the package's networks of images. It is of the training passes alone: the meta pass of a
    method, the moving average, validation and prediction stay in single precision. What is settled is recorded, so that
    a run is gone on with as it was begun, on other devices too.

    Args:
        options: of the training.
        network: of the network.
        earlier: what the run that is gone on with has recorded of its training; None of a new one.

    Returns:
        The options, and the sentence; None where ``auto`` was not asked for.
    """
    if options.precision != "auto":
        return options, None
    if earlier is not None:
        held = {
            name: earlier.get(name, getattr(TrainingOptions, name)) for name in ("precision", "channels_last")
        }
        return replace(options, **held), f"precision: {held['precision']}, as this run was begun"
    device, has = _device(options)
    if has is None:
        return replace(options, precision="32-true"), f"precision: 32-true, since {device} lacks bfloat16"
    last = options.channels_last or (network.spatial_dims == 2 and network.class_path is None)
    taken = f"bf16-mixed{', channels last' if last else ''}"
    told = f"precision: {taken}, since {device} has {has}; the meta pass stays in float32"
    return replace(options, precision="bf16-mixed", channels_last=last), told


def _device(options: TrainingOptions) -> tuple[str, str | None]:
    """Return what will compute, and by what it computes bfloat16; None where it does not."""
    if options.accelerator in ("auto", "cuda") and torch.cuda.is_available():
        return "this GPU", "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else None
    if options.accelerator == "mps" or (options.accelerator == "auto" and torch.backends.mps.is_available()):
        return "an Apple GPU", None
    return "this processor", _of_processor()


def _of_processor() -> str | None:
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not there:  # bfloat16 would be computed number by number
        return None
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    return "AVX512-BF16" if torch.cpu._is_avx512_bf16_supported() else None
