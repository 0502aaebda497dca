"""Write a corrected mask as its owner has it: format, values, size and place of the file that was given.

Only pixels whose class changed get another value: two values that mean one class stay two, soft edges stay soft.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from metadcseg.constants import IGNORE
from metadcseg.data.formats import hdf5, itk, nifti
from metadcseg.data.formats.geometry import Grid, Volume
from metadcseg.data.formats.images import SUFFIXES, read_mask
from metadcseg.data.formats.volumes import read_label_volume, write_label_volume
from metadcseg.data.prepare.placing import OtherGrid, placed_on
from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.data.slicing.resampling import nearest_index
from metadcseg.data.store.origin import CaseOrigin, Origin
from metadcseg.errors import InputError

Labels = NDArray[np.uint8]

_LOSSY = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Change:
    """What a mask was and shall be, on the grid of its file: (H, W) of an image, (X, Y, Z) of a volume.

    Args:
        given: class numbers, 255 is ignored.
        wanted: likewise.
    """

    given: Labels
    wanted: Labels


def suffix_of(mask: Path | None, *, flat: bool) -> str:
    """Return the suffix of a corrected mask: that of the given one, where that format holds it and can be written.

    JPEG changes values, and DICOM slices are many files: PNG and NIfTI take their place, as they do where no single
    file of pixels was given.

    Example:
        >>> [suffix_of(Path(name), flat=True) for name in ("a.png", "a.TIF", "a.jpg")], suffix_of(None, flat=False)
        (['.png', '.TIF', '.png'], '.nii.gz')
    """
    if mask is not None and flat and mask.suffix.lower() in SUFFIXES and mask.suffix.lower() not in _LOSSY:
        return mask.suffix
    if mask is not None and not flat and not mask.is_dir():
        ends = (".seg.nrrd", ".nii.gz", ".nii", ".mha", ".nrrd", *hdf5.SUFFIXES)
        turned = {".mhd": ".mha", ".nhdr": ".nrrd"}
        name = mask.name.lower()
        if end := next((end for end in ends if name.endswith(end)), turned.get(mask.suffix.lower())):
            return end
    return ".png" if flat else ".nii.gz"


def write_image_mask(out: Path, change: Change, values: Origin, case: CaseOrigin | None) -> None:
    """Write the mask of an image.

    Args:
        out: with the suffix that `suffix_of` says.
        change: (H, W).
        values: says which value stands for a class.
        case: the files of this image; None where no file is taken as an example.

    Raises:
        InputError: where the file that was given is another one now, or cannot hold a class.
    """
    mask = None if case is None else case.mask
    picture = None if mask is None else read_mask(mask)
    stored = None if picture is None or case is None else _unchanged(case, picture.array, change)
    array = _values(out, change, stored, values, case)
    if out.suffix.lower() in (".tif", ".tiff"):
        tifffile.imwrite(out, array, compression="zlib", photometric="minisblack", metadata=None)
        return
    if array.dtype not in (np.uint8, np.uint16):
        array = array.astype(np.uint16 if array.max() > IGNORE else np.uint8)
    image = Image.fromarray(array)
    if picture is not None and picture.colors and mask is not None:
        with Image.open(mask) as given:
            image.putpalette(given.getpalette() or [])
    image.save(out)


def write_volume_mask(out: Path, change: Change, grid: Grid, values: Origin, case: CaseOrigin | None) -> None:
    """Write the mask of a volume.

    Args:
        out: with the suffix that `suffix_of` says.
        change: (X, Y, Z) in the order of the axes of the image's file.
        grid: of the image.
        values: as for `write_image_mask`.
        case: likewise.

    Raises:
        InputError: as for `write_image_mask`.
    """
    mask = None if case is None else case.mask
    stored: NDArray[Any] | None = None
    if mask is not None and case is not None:
        volume = read_label_volume(mask, key=case.mask_key)
        if volume.grid.same(grid):
            stored = _unchanged(case, volume.array, change)
            grid = volume.grid
        else:  # preparing put it on the image's grid, on which the corrected one lies
            _refuse_changed(mask, labels_on(volume, grid, case), change)
            mask = None
    array = _values(out, change, stored, values, case)
    name = out.name.lower()
    if name.endswith(hdf5.SUFFIXES):
        with hdf5.h5py.File(out, "w") as file:
            file.create_dataset((case and case.mask_key) or "label", data=array, compression="gzip")
    elif mask is not None and mask.is_file() and _same_kind(mask, out):
        (_nifti_like if name.endswith(nifti.SUFFIXES) else _itk_like)(out, array, mask)
    else:
        write_label_volume(out, array, grid)


def stack_to_file(
    placement: SliceGeometry, reference: Labels, slices: NDArray[np.int32], change: Change
) -> Change:
    """Return a change of slices on the grid of the volume's file.

    Args:
        placement: where the slices lie.
        reference: (X, Y, Z), the mask as given, in the order of the file.
        slices: number of every slice in the complete stack, (D,).
        change: (D, H, W).

    Returns:
        The mask as given, and the one in which pixels that changed have their new class. Where slices were resampled, a
        pixel of the file takes that of the nearest pixel of the slice.

    Example:
        >>> from metadcseg.data.formats.geometry import UNKNOWN_AFFINE
        >>> placement = SliceGeometry(Grid((4, 4, 2), UNKNOWN_AFFINE), 2, ((0, 4), (0, 4), (0, 2)), 2, 2)
        >>> was, new = np.zeros((1, 2, 2), np.uint8), np.eye(2, dtype=np.uint8)[None]
        >>> zeros = np.zeros((4, 4, 2), np.uint8)
        >>> stack_to_file(placement, zeros, np.array([1], np.int32), Change(was, new)).wanted[:, :, 1].tolist()
        [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    """
    changed = on_file(placement, (change.given != change.wanted).astype(np.uint8), slices)
    wanted = on_file(placement, change.wanted, slices)
    return Change(reference, np.where(changed > 0, wanted, reference))


def on_file(placement: SliceGeometry, stack: Labels, slices: NDArray[np.int32]) -> Labels:
    """Return what slices hold on the grid of the volume's file, of the nearest pixel; 0 outside of them.

    Args:
        placement: where the slices lie.
        stack: (D, H, W) uint8.
        slices: number of each in the complete stack, (D,).
    """
    array = np.zeros(placement.grid.shape, np.uint8)
    inner = placement.stack(array)
    rows, columns = (
        nearest_index(stored, native)
        for native, stored in zip(placement.native, stack.shape[1:], strict=True)
    )
    inner[slices] = stack[:, rows[:, None], columns]
    return array


def _unchanged(case: CaseOrigin, stored: NDArray[Any], change: Change) -> NDArray[Any]:
    """Return the values in a file that still is what the set was prepared from."""
    if stored.shape != change.given.shape:
        raise InputError(
            f"{case.mask} has {' x '.join(map(str, stored.shape))} pixels and had "
            f"{' x '.join(map(str, change.given.shape))} when the set was prepared: prepare, train and audit again"
        )
    _refuse_changed(case.mask, _classes(stored, case), change)
    return stored


def _classes(stored: NDArray[Any], case: CaseOrigin) -> Labels:
    """Return the class numbers of a mask; a value that it did not have is ignored."""
    labels = np.full(stored.shape, IGNORE, np.uint8)
    for value, label in case.values.items():
        labels[stored == value] = label
    return labels


def _refuse_changed(mask: Path | None, held: Labels, change: Change) -> None:
    """Refuse a mask that no longer holds what was audited."""
    if ((held != change.given) & (change.given != IGNORE)).any():
        raise changed_since(mask)


def labels_on(volume: Volume, grid: Grid, case: CaseOrigin) -> Labels:
    """Return the class numbers of a volume's mask, put on the grid of its image as preparing does.

    Args:
        volume: as its file holds it.
        grid: of the image.
        case: what its values mean.

    Returns:
        (X, Y, Z) uint8; 255 is ignored, and a value that the file did not have when the set was prepared.

    Raises:
        InputError: where it lies where no set can have been prepared from it, so that it was changed since.
    """
    try:
        names = (str(case.mask), "its image")
        placed = placed_on(volume, grid, names, resample=True, adopt=True)
    except OtherGrid as error:
        raise changed_since(case.mask) from error
    return _classes(placed.array, case)


def changed_since(what: object) -> InputError:
    """Return the error for a mask that is no longer what it was."""
    return InputError(f"{what} was changed since the set was prepared: prepare, train and audit again")


def _values(
    out: Path,
    change: Change,
    stored: NDArray[Any] | None,
    values: Origin,
    case: CaseOrigin | None,
) -> NDArray[Any]:
    """Return the values of the corrected mask: those in the file where nothing changed."""
    own = case.values if case is not None and stored is not None else None
    held = np.zeros(change.wanted.shape, np.int64) if stored is None else stored.astype(np.int64)
    changed = np.ones(change.wanted.shape, bool) if stored is None else change.given != change.wanted
    for label in np.unique(change.wanted[changed]).tolist():
        value = values.value_of(label, own)
        if value is None:
            what = "ignored pixels" if label == IGNORE else f"class {label}"
            raise InputError(
                f"{(case and case.mask) or 'corrected mask'}: no value stands for {what} there: draw some of it "
                "in this mask, prepare the set again, and audit it"
            )
        held[changed & (change.wanted == label)] = value
    if stored is None:
        return held.astype(np.uint8 if held.min() >= 0 and held.max() <= IGNORE else np.int32)
    limits = np.iinfo(stored.dtype)
    fits = limits.min <= held.min() and held.max() <= limits.max
    return held.astype(stored.dtype if fits else np.int32)


def _same_kind(mask: Path, out: Path) -> bool:
    return any(
        mask.name.lower().endswith(ends) and out.name.lower().endswith(ends)
        for ends in (nifti.SUFFIXES, itk.SUFFIXES)
    )


def _nifti_like(out: Path, array: NDArray[Any], like: Path) -> None:
    image = nifti.nibabel.load(like)
    header = image.header.copy()
    header.set_slope_inter(1, 0)
    if array.dtype == np.int32 and header.get_data_dtype().kind == "f":
        array = array.astype(header.get_data_dtype())
    header.set_data_dtype(array.dtype)
    shaped = array.reshape(image.shape)
    nifti.nibabel.save(type(image)(shaped, image.affine, header), out)


def _itk_like(out: Path, array: NDArray[Any], like: Path) -> None:
    given = itk.sitk.ReadImage(str(like))
    if given.GetDimension() != 3 or given.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{like} has several layers, a corrected mask is written with one: export its segments as one layer"
        )
    typed = array.astype(itk.sitk.GetArrayViewFromImage(given).dtype)
    if np.array_equal(typed, array):  # else a class needs a wider type
        array = typed
    image = itk.sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.CopyInformation(given)
    for key in given.GetMetaDataKeys():
        image.SetMetaData(key, given.GetMetaData(key))
    itk.sitk.WriteImage(image, str(out), useCompression=True)
