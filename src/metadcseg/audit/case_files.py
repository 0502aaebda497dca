"""What an audit keeps of each case, to be shown, accepted and chosen from later: ``cases/NAME.npz``."""

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit.records import LEVELS, Arrays, AuditedCase, Level
from metadcseg.errors import InputError, first_of
from metadcseg.files import atomic_file, output_folder
from metadcseg.reading import check_regular
from metadcseg.schemas import fitting

CASES = "cases"
"""The folder in that of an audit."""

_AGAIN = "run the audit again"


@dataclass(frozen=True)
class CaseMasks:
    """The masks of an audited case, all (Z, H, W); an image has Z = 1.

    Args:
        given: uint8 class numbers, 255 is ignored.
        regions: int32 number of the region, 0 where none is.
        wrong: uint8, 255 times the probability that the given label is wrong.
        corrected: uint8 class numbers of every level, 255 is ignored.
        slices: int32 (Z,), the number of every slice in the complete stack of its volume; 0 of an image.
    """

    given: NDArray[np.uint8]
    regions: NDArray[np.int32]
    wrong: NDArray[np.uint8]
    corrected: dict[Level, NDArray[np.uint8]]
    slices: NDArray[np.int32]


def write_case(
    out: Path,
    case: AuditedCase,
    arrays: Arrays,
    slices: NDArray[np.int32] | None = None,
    more: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write ``cases/NAME.npz`` of an audit, whole or not at all.

    Args:
        out: the folder of the audit.
        case: what was found.
        arrays: its pixels; the image is not kept, the set has it.
        slices: int32 (Z,), the number of every slice in the complete stack of its volume; None of an image, or where
            no slice is left out.
        more: further arrays by name, for `read_case`.

    Raises:
        InputError: where the disk refuses.

    Example:
        >>> import tempfile
        >>> mask = np.eye(3, dtype=np.uint8)[None]
        >>> levels = dict.fromkeys(LEVELS, mask)
        >>> arrays = Arrays(mask[..., None], mask, mask * np.float32(0.2), mask.astype(np.int32), levels)
        >>> case = AuditedCase("a", "a", "train", (1, 3, 3), None, 0.9, (0.8, 1.0), ())
        >>> with tempfile.TemporaryDirectory() as out:
        ...     write_case(Path(out), case, arrays)
        ...     found = read_cases(Path(out))
        ...     read_masks(Path(out), found[0]).wrong.max(), found == [case]
        (np.uint8(51), True)
    """
    held: dict[str, NDArray[Any]] = {
        "case": np.array(json.dumps(asdict(case))),
        "given": arrays.given,
        "regions": arrays.regions,
        "wrong": np.rint(arrays.wrong * 255).astype(np.uint8),
        **{level: arrays.corrected[level] for level in LEVELS},
        "slices": np.arange(case.shape[0], dtype=np.int32) if slices is None else slices,
        **(more or {}),
    }
    output_folder(out, CASES)
    with atomic_file(out / CASES / f"{case.name}.npz") as file:
        np.savez_compressed(file, allow_pickle=False, **held)


def read_cases(out: Path) -> list[AuditedCase]:
    """Return all cases of an audit, by the names of their files; no pixel is decoded.

    Args:
        out: the folder of the audit.

    Raises:
        InputError: where there is no case, or a file is damaged.
    """
    files = sorted((out / CASES).glob("*.npz")) if (out / CASES).is_dir() else []
    if not files:
        raise InputError(
            f"{out} holds no audited case ({CASES}/): give the folder that 'metadcseg audit' wrote"
        )
    return [_case(file) for file in files]


def read_case(out: Path, name: str, more: Sequence[str] = ()) -> tuple[AuditedCase, dict[str, NDArray[Any]]]:
    """Return one case and, of the further arrays that were stored with it, those that are there; no mask is decoded.

    Args:
        out: the folder of the audit.
        name: of its files.
        more: names of further arrays.

    Raises:
        InputError: where the file is missing or damaged.
    """
    path = out / CASES / f"{name}.npz"
    return _case(path), _arrays(path, more, needed=False)


def read_masks(out: Path, case: AuditedCase) -> CaseMasks:
    """Return the masks of one case of an audit.

    Args:
        out: the folder of the audit.
        case: from `read_cases`.

    Raises:
        InputError: where the file is missing or damaged.
    """
    path = out / CASES / f"{case.name}.npz"
    held = _arrays(path, ("given", "regions", "wrong", *LEVELS, "slices"))
    slices = held.pop("slices")
    wanted = {name: np.dtype(np.int32 if name == "regions" else np.uint8) for name in held}
    wrong = [
        f"{name} is {array.dtype} {array.shape}"
        for name, array in held.items()
        if array.dtype != wanted[name] or array.shape != case.shape
    ]
    if slices.dtype != np.int32 or slices.shape != case.shape[:1] or (np.diff(slices) <= 0).any():
        wrong.append("the numbers of its slices do not rise")
    if wrong:
        raise InputError(f"{path}: masks must have the shape {case.shape}, {first_of(wrong)}: {_AGAIN}")
    corrected = {level: held[level] for level in LEVELS}
    return CaseMasks(held["given"], held["regions"], held["wrong"], corrected, slices)


def is_whole(out: Path, name: str) -> bool:
    """Return whether a case of an audit is there and all of its masks can be read.

    Args:
        out: the folder of the audit.
        name: of its files.
    """
    try:
        read_masks(out, read_case(out, name)[0])
    except InputError:
        return False
    return True


def _case(path: Path) -> AuditedCase:
    text = str(_arrays(path, ("case",))["case"])
    try:
        held = json.loads(text)  # a DSC that is not known is NaN
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} does not describe a case ({error}): {_AGAIN}") from error
    case: AuditedCase = fitting(held, AuditedCase, str(path), _AGAIN)
    if case.name != path.name.removesuffix(".npz"):
        raise InputError(f"{path} says that it is of '{case.name}': {_AGAIN}")
    return case


def _arrays(path: Path, names: Sequence[str], *, needed: bool = True) -> dict[str, NDArray[Any]]:
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive, np.load(path, allow_pickle=False) as file:
            held = {name: f"{name}.npy" for name in names if needed or name in file}
            for entry in held.values():
                _check_size(archive, entry)
            return {name: file[name] for name in held}
    except InputError:
        raise
    except Exception as error:  # NumPy and zlib raise anything on damaged headers
        raise InputError(f"{path} is missing or damaged ({error}): {_AGAIN}") from error


def _check_size(archive: zipfile.ZipFile, name: str) -> None:
    """Raise unless an array has as many bytes as its header says, before room is made for it."""
    info = archive.getinfo(name)
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        claimed = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or claimed != info.file_size - file.tell():
            raise ValueError(f"{name} claims {claimed} bytes of {dtype} in {info.file_size}")
