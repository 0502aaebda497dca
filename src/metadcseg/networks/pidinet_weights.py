"""Where the weights of an edge detector come from: the file that comes with the package, or one of the user's."""

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from safetensors.torch import load as load_safetensors
from torch import Tensor

from metadcseg.errors import InputError
from metadcseg.networks.pidinet import CHANNELS, PiDiNet, Size
from metadcseg.networks.weights_file import read_bytes, tensors_in

SHIPPED = "pidinet-tiny.safetensors"
"""Trained by this project on drawn scenes (``studies/train_edges.py``), Apache-2.0 like the rest."""

_WANTED = "a PiDiNet of the arrangement carv4 with attention and dilation, not converted"


def shipped_pidinet() -> tuple[PiDiNet, str]:
    """Return the detector that comes with the package, on the CPU and in evaluation mode, and its file's sha256.

    Raises:
        InputError: where the installation lacks the file.
    """
    place = files("metadcseg.networks").joinpath("weights", SHIPPED)
    try:
        data = place.read_bytes()
    except OSError as error:
        raise InputError(
            f"{place}: the weights of the edge detector are missing ({error.strerror}); install metadcseg again"
        ) from error
    return _filled(str(place), load_safetensors(data)), hashlib.sha256(data).hexdigest()


def load_pidinet(path: Path) -> tuple[PiDiNet, str]:
    """Return a detector with the weights of a file, on the CPU and in evaluation mode, and the file's sha256.

    Reads the published checkpoints (``table5_pidinet.pth``, ``-small``, ``-tiny``; nothing is unpickled but tensors
    and plain values) and safetensors files; which of the three sizes it is follows from the first kernel.

    Args:
        path: the file.

    Raises:
        InputError: where the file is missing or unreadable, or holds another network.
    """
    data = read_bytes(path, "the edge detector")
    weights = tensors_in(path, data, _WANTED)
    return _filled(str(path), weights), hashlib.sha256(data).hexdigest()


def _filled(where: str, weights: Mapping[str, Tensor]) -> PiDiNet:
    """Return the network of the size that fits, with these weights; say in one sentence what does not fit."""
    first = weights.get("init_block.weight")
    channels = None if first is None or not first.ndim else first.shape[0]
    sizes: dict[int, Size] = {stage: size for size, (stage, _) in CHANNELS.items()}
    if channels not in sizes:
        begins = "has no init_block" if channels is None else f"begins with {channels} channels"
        known = ", ".join(f"{stage} ({size})" for stage, size in sizes.items())
        raise InputError(f"{where} must be {_WANTED}, whose init_block has {known} channels, but it {begins}")
    network = PiDiNet(sizes[channels])
    wanted = network.state_dict()
    for name, tensor in wanted.items():
        if name not in weights:
            raise InputError(f"{where} must be {_WANTED}, but it lacks {name}")
        if weights[name].shape != tensor.shape:
            raise InputError(
                f"{where} must be {_WANTED}, whose {name} has the shape {tuple(tensor.shape)}, "
                f"got {tuple(weights[name].shape)}"
            )
    if unknown := sorted(weights.keys() - wanted.keys()):
        raise InputError(f"{where} must be {_WANTED}, but it also holds {unknown[0]}")
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise InputError(f"{where}: some weights are not finite numbers; take another copy of the file")
    network.load_state_dict(dict(weights))
    return network.eval()
