"""NIfTI files (.nii, .nii.gz), by nibabel."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.formats.geometry import Grid, as_affine
from metadcseg.errors import InputError
from metadcseg.extras import Extra
from metadcseg.reading import check_claim

nibabel: Any = Extra("nibabel", "volumes", "NIfTI files")

SUFFIXES = (".nii", ".nii.gz")

_UNITS = {"meter": 1e3, "micron": 1e-3}
"""Units of a header other than mm, in mm."""

_UNIT_NAMES = {"meter": "meters", "micron": "micrometers"}


def head(path: Path) -> tuple[Grid, int]:
    """Return grid and number of channels, no voxel decoded."""
    image = _opened(path)
    shape, channels = _shape(path, image)
    affine = np.diag([*[_UNITS.get(_unit(image), 1.0)] * 3, 1.0]) @ image.affine
    return Grid(shape, as_affine(affine), placed=_coded(image)), channels


def notes(path: Path) -> tuple[str, ...]:
    """Return what the header of a file says that is easily overlooked."""
    image, said = _opened(path), []
    if (unit := _unit(image)) in _UNITS:
        said.append(f"{path}: its header counts in {_UNIT_NAMES[unit]}, turned into mm")
    if not _coded(image):
        said.append(
            f"{path}: its header does not say where it lies (sform and qform code 0), so its shape and the size of "
            "its voxels count"
        )
    elif image.header["sform_code"] > 0 and image.header["qform_code"] > 0:
        shape, _ = _shape(path, image)
        sform, qform = (
            Grid(shape, as_affine(matrix)) for matrix in (image.header.get_sform(), image.header.get_qform())
        )
        if not sform.same(qform) and not sform.sheared:
            said.append(
                f"{path}: its sform and qform lie {sform.apart(qform)[0]:.3g} mm apart, the sform is taken"
            )
    return tuple(said)


def voxels(path: Path) -> NDArray[Any]:
    """Return (X, Y, Z, C) as stored, slope and intercept applied."""
    image = _opened(path)
    shape, channels = _shape(path, image)
    if path.name.lower().endswith(".gz"):
        claimed = int(np.prod(image.shape, dtype=object)) * image.get_data_dtype().itemsize
        check_claim(path, claimed, packed=True)
    return np.asarray(image.dataobj).reshape(*shape, channels)


def write(path: Path, labels: NDArray[np.integer], grid: Grid, like: Path | None) -> None:
    """Write labels, with the codes and units of ``like`` where that is a NIfTI file; codes 0 without a place."""
    if like is None or not like.name.lower().endswith(SUFFIXES):
        image = nibabel.Nifti1Image(labels, np.array(grid.affine), dtype=labels.dtype)
        code = int(grid.is_placed)
        image.set_qform(None if grid.sheared else image.affine, 0 if grid.sheared else code)
        image.set_sform(image.affine, code)
    else:
        original = _opened(like)
        header = original.header.copy()
        header.set_data_dtype(labels.dtype)
        header["cal_max"] = header["cal_min"] = 0
        image = type(original)(labels, original.affine, header)
    image.header.set_slope_inter(1, 0)
    nibabel.save(image, path)


def _opened(path: Path) -> Any:
    image = nibabel.load(path)
    if not isinstance(image, nibabel.Nifti1Pair):
        raise InputError(f"{path} is not a NIfTI file: export it again")
    return image


def _unit(image: Any) -> str:
    try:
        return str(image.header.get_xyzt_units()[0])
    except KeyError:  # a code that the standard does not have
        return "unknown"


def _coded(image: Any) -> bool:
    return bool(image.header["sform_code"] > 0 or image.header["qform_code"] > 0)


def _shape(path: Path, image: Any) -> tuple[tuple[int, int, int], int]:
    if image.get_data_dtype().kind not in "iuf":
        raise InputError(
            f"{path} holds colors or complex numbers: export it as one number per voxel and channel"
        )
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 5 and shape[3] == 1:
        shape = (*shape[:3], shape[4])
    if len(shape) not in (3, 4):
        raise InputError(f"{path} must hold a volume (X, Y, Z) or (X, Y, Z, channels), got {image.shape}")
    return (shape[0], shape[1], shape[2]), shape[3] if len(shape) == 4 else 1
