"""``model.safetensors``: the weights that a run keeps, with a checksum of their own."""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from metadcseg.errors import InputError
from metadcseg.files import write_bytes
from metadcseg.reading import check_regular

Weights = dict[str, Tensor]


def weights_of(network: nn.Module) -> Weights:
    """Return a copy of a network's parameters and buffers on the CPU."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()}


def save_weights(path: Path, weights: Weights, facts: Mapping[str, str]) -> None:
    """Write weights so that the file is whole or not there; equal ones give equal bytes.

    Args:
        path: the file.
        weights: name -> tensor on the CPU; no two may share memory (:func:`weights_of` sees to it).
        facts: what else the file says about them, such as epoch and validation DSC.

    Raises:
        InputError: where the disk is full.
    """
    write_bytes(path, _ordered(save(weights, metadata={**facts, "sha256": _checksum(weights)})))


def load_weights(path: Path) -> tuple[Weights, dict[str, str]]:
    """Read weights and what the file says about them.

    Raises:
        InputError: where the file is missing or damaged.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file; give the weights that a training kept")
    check_regular(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            facts = dict(file.metadata() or {})
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, ValueError, OSError, RuntimeError) as error:
        raise _damaged(path, str(error).splitlines()[0]) from error
    if facts.pop("sha256", None) != _checksum(weights):
        raise _damaged(path, "its checksum does not fit")
    return weights, facts


def _ordered(content: bytes) -> bytes:
    """Return a file with the entries of its header in order: safetensors writes the facts in a random one.

    The format: the length of the header as 8 bytes, the header as JSON that may end in blanks, the tensors, which begin
    at a multiple of 8 bytes.
    """
    (length,) = struct.unpack_from("<Q", content)
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def _damaged(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: the weights are damaged ({why}); copy the file again from where it was made, or train "
        "again with another --out"
    )


def _checksum(weights: Weights) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
