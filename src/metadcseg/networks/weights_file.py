"""Files of weights that somebody else made: read without running anything that is in them."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from metadcseg.errors import InputError
from metadcseg.reading import check_stored, read_regular

_MOST_BYTES = 2**34  # the largest published networks have some GiB
_PREFIXES = ("module.", "_orig_mod.")  # put before every name by torch's DataParallel and torch.compile
_TABLES = ("state_dict", "model_state_dict", "model")


def read_bytes(path: Path, whose: str) -> bytes:
    """Return a file's content.

    Args:
        path: the file.
        whose: what the weights are of, for the message.

    Raises:
        InputError: where it cannot be read, is larger than 16 GiB, or is a pipe or a device, which may never end.
    """
    try:
        return read_regular(path, _MOST_BYTES)
    except InputError as error:
        raise InputError(f"the weights of {whose}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: the weights of {whose} cannot be read ({error.strerror})") from error


def tensors_in(path: Path, data: bytes, wanted: str) -> dict[str, Tensor]:
    """Return name -> tensor of a safetensors file or of a file of torch that holds tensors and plain values alone.

    Args:
        path: the file; its ending ``.safetensors`` decides.
        data: its content.
        wanted: what it must be, for the message.

    Raises:
        InputError: where it is neither, or holds no table of dense tensors.
    """
    found: Any
    try:
        if path.suffix == ".safetensors":
            found = load_safetensors(data)
        else:
            if zipfile.is_zipfile(io.BytesIO(data)):
                with zipfile.ZipFile(io.BytesIO(data)) as archive:
                    check_stored(archive)
            found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can make zip and torch raise almost anything
        why = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0]
        raise InputError(
            f"{path} holds no weights that can be read ({why}); give a .safetensors file or a published .pth file"
        ) from error
    if isinstance(found, Mapping):
        found = next((found[key] for key in _TABLES if isinstance(found.get(key), Mapping)), found)
    if not isinstance(found, Mapping) or not all(_dense(value) for value in found.values()):
        raise InputError(f"{path} holds no table of weights; it must be {wanted}")
    return {_plain(str(name)): value for name, value in found.items()}


def _dense(value: object) -> bool:
    if not isinstance(value, Tensor) or value.is_meta:
        return False
    return value.layout == torch.strided and not value.is_quantized


def _plain(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
