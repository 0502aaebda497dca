"""Weights to begin with, from a file of the user's own: of the whole network, or of its encoder alone."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from warnings import warn

import torch
from torch import Tensor, nn

from metadcseg.errors import InputError, Note, first_of
from metadcseg.networks.contract import Taken
from metadcseg.networks.weights_file import read_bytes, tensors_in

_WANTED = "weights by name, as torch.save(model.state_dict(), FILE) and safetensors write them"


def load_pretrained(network: nn.Module, path: Path, channels: int) -> Taken:
    """Fill a network with those tensors of a file whose names and shapes fit, and say what was not taken.

    A file of an encoder alone is found its place: of all parts of the network, the one with the most tensors of the
    same names and shapes. The first convolution is adapted to other channels than the file's: for one channel its
    kernels are summed over the channels, further channels get their mean. What is no float is passed over: counts of
    batches, and the stage that a network of another training was in. Of a committee's file the first network is taken.

    Args:
        network: the network itself, without what taps it.
        path: a ``.safetensors`` file, or one of torch with tensors and plain values alone.
        channels: C of the images.

    Returns:
        How much was taken.

    Raises:
        InputError: where the file cannot be read, holds no weights, fits nowhere, or holds what is no finite number.

    Example:
        >>> import tempfile, warnings
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = Path(folder.name) / "layer.pth"
        >>> torch.save({"weight": torch.ones(1, 3, 1, 1), "bias": torch.zeros(1)}, file)
        >>> layer = nn.Conv2d(1, 1, 1)
        >>> with warnings.catch_warnings(action="ignore"):
        ...     taken = load_pretrained(layer, file, channels=1)
        >>> taken["taken"], layer.weight.item()
        (2, 3.0)
        >>> folder.cleanup()
    """
    data = read_bytes(path, "network.pretrained")
    given, members = _first_member(tensors_in(path, data, _WANTED))
    own = {name: held for name, held in network.state_dict().items() if held.is_floating_point()}
    places = [f"{name}." if name else "" for name, _ in network.named_modules()]
    found = max((_matches(own, given, place, channels) for place in places), key=len)
    if not found:
        raise InputError(
            f"network.pretrained {path}: none of its {len(given)} tensors has the name and shape of one of the "
            f"network's {len(own)}, such as {next(iter(own))}; rename them, or leave network.pretrained out"
        )
    if not all(bool(tensor.isfinite().all()) for tensor, _ in found.values()):
        raise InputError(f"network.pretrained {path}: some weights are no finite numbers; take another copy")
    with torch.no_grad():
        for name, (tensor, _) in found.items():
            own[name].copy_(tensor)
    used = {source for _, source in found.values()}
    missing, unused = (
        [name for name in own if name not in found],
        [name for name, tensor in sorted(given.items()) if name not in used and tensor.is_floating_point()],
    )
    warn(
        f"network.pretrained {path}: {len(found)} of the network's {len(own)} tensors are from the file"
        + (f", the first of its {members} networks" if members else "")
        + _some("; others start at random", missing)
        + _some("; not used of the file", unused),
        Note,
        stacklevel=3,
    )
    return Taken(
        sha256=hashlib.sha256(data).hexdigest(),
        taken=len(found),
        tensors=len(own),
        unused=len(unused),
        path=str(path.resolve()),
    )


def _first_member(given: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], int]:
    """Return the tensors of a committee's first network and how many networks it has; of any other file all, and 0."""
    split = [re.fullmatch(r"members\.(\d+)\.(?:module\.)?(.+)", name) for name in given]
    if not all(split):
        return given, 0
    own = {found[2]: given[found[0]] for found in split if found is not None and found[1] == "0"}
    return own, len({found[1] for found in split if found is not None})


def _matches(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], place: str, channels: int
) -> dict[str, tuple[Tensor, str]]:
    """Return name in the network -> tensor and its name in the file, where the file is of the part at ``place``."""
    found = {}
    for name, tensor in given.items():
        wanted = own.get(place + name)
        if wanted is not None and (fitted := _fitted(tensor, wanted, channels)) is not None:
            found[place + name] = (fitted, name)
    return found


def _fitted(tensor: Tensor, wanted: Tensor, channels: int) -> Tensor | None:
    """Return a tensor in the shape that is wanted, None where there is no way."""
    if not tensor.is_floating_point():
        return None
    held, shape = (
        tuple(tensor.shape),
        tuple(wanted.shape),
    )  # looked at first: a tensor may claim more than it holds
    if held == shape:
        return tensor.to(wanted.dtype)
    first = len(held) == len(shape) >= 4 and shape[1] == channels and held[1] == 3
    if not first or (held[0], *held[2:]) != (shape[0], *shape[2:]):
        return None
    tensor = tensor.to(wanted.dtype)
    if channels == 1:
        return tensor.sum(dim=1, keepdim=True)
    if channels < held[1]:
        return None
    mean = tensor.mean(dim=1, keepdim=True)
    return torch.cat([tensor, *(mean for _ in range(channels - held[1]))], dim=1)


def _some(what: str, names: list[str]) -> str:
    return f"{what} {len(names)} ({first_of(names, 3)})" if names else ""
