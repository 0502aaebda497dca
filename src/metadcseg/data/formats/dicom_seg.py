"""DICOM Segmentation objects (SEG): frames of segments, in any order, on the grid of the image that they belong to.

Frames are placed by position and orientation, so it does not matter in which order they come, which slices have none,
and how the image stores its axes. Frames that do not lie on the voxels of the image get a grid of their own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.formats.dicom import LPS_TO_RAS, pydicom
from metadcseg.data.formats.geometry import Grid, Volume, as_affine, invertible
from metadcseg.data.formats.overlay import Overlay, refuse_stripes
from metadcseg.errors import InputError

CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""UIDs of the kinds of files that hold segments: Segmentation Storage and Label Map Segmentation Storage."""

_IN_PLANE, _ACROSS = 0.1, 0.3  # voxels that a frame may be off; archives round positions of slices
_MOST_LOST = 0.1  # of the foreground may lie outside of the image
_MOST = 2**31
_FAR = 1e5  # mm; no scanner is so large


@dataclass(frozen=True)
class _Frames:
    """The header of a file: what its frames are and where they lie."""

    file: Path
    held: Any
    names: dict[int, str]
    numbers: tuple[int | None, ...]  # segment of each frame; None where pixels tell it
    affines: tuple[NDArray[np.float64], ...]  # of each frame: (column, row, 0, 1) to mm in RAS
    size: tuple[int, int]  # rows, columns


def read_segments(path: Path, files: Sequence[Path], image: Grid) -> Volume:
    """Read all segments of some files as classes; segments of one label are one class.

    Args:
        path: what sentences call the mask by.
        files: at least one.
        image: the grid of the image.

    Returns:
        The mask, on the grid of the image or, where its frames lie elsewhere, on their own.

    Raises:
        InputError: where a file lacks what is needed, or lies outside of the image.
    """
    parts = [_frames(file) for file in files]
    size = {part.size for part in parts}
    whole = all(_steps(affine, part.size, image) is not None for part in parts for affine in part.affines)
    if not whole and len(size) > 1:
        raise InputError(
            f"{path}: its files have frames of different sizes, off the image: export them for it"
        )
    grid = image if whole else _own_grid(path, parts)
    drawn = Overlay(path, grid.shape, [name for part in parts for name in part.names.values()])
    slices: dict[str, set[int]] = {}
    inside = outside = 0
    cut = False
    for part in parts:
        for number, places, soft in _pixels(part):
            steps = _steps(part.affines[number[0]], part.size, grid)
            assert steps is not None, "looked at above"  # noqa: S101
            at = steps @ np.stack([places[1], places[0], np.ones_like(places[0])])
            kept = ((at >= 0) & (at < np.array(grid.shape)[:, None])).all(axis=0)
            drawn.add_at(part.names[number[1]], at[:, kept])
            if len(places[0]):
                across = int(np.abs(steps[:, :2]).sum(axis=1).argmin())
                slices.setdefault(part.names[number[1]], set()).add(int(steps[across, 2]))
            inside, outside, cut = inside + int(kept.sum()), outside + int((~kept).sum()), cut or soft
    if outside > _MOST_LOST * (inside + outside):
        raise InputError(
            f"{path}: {outside} of {inside + outside} voxels of its segments lie outside of the image, so it belongs "
            "to another series: export it for this one"
        )
    if whole:
        refuse_stripes(path, slices, "frames")
    labels, notes = drawn.labels()
    if outside:
        notes += (f"{path}: {outside} voxels of its segments lie outside of the image and are left out",)
    if cut:
        notes += (f"{path}: its segments are fractional, cut at one half",)
    return Volume(labels, grid, notes, names=drawn.names)


def _frames(file: Path) -> _Frames:
    held = pydicom.dcmread(file)
    count, rows, columns = (int(held.get(name) or 0) for name in ("NumberOfFrames", "Rows", "Columns"))
    if not 0 < count * rows * columns <= _MOST:
        raise InputError(
            f"{file}: {count} frames of {rows} x {columns} are none, or too many: export it again"
        )
    names = {int(item.SegmentNumber): str(item.get("SegmentLabel") or "") for item in held.SegmentSequence}
    names = {  # label maps name 0, the background, as well
        number: " ".join(name.split()) or f"segment {number}" for number, name in names.items() if number
    }
    groups = held.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != count:
        raise InputError(
            f"{file} has {count} frames and tells of {len(groups)} where they lie: export it again"
        )
    shared = (held.get("SharedFunctionalGroupsSequence") or [None])[0]
    by_pixel = str(held.get("SegmentationType")) == "LABELMAP"
    numbers: list[int | None] = []
    affines = []
    for group in groups:
        number = None
        if not by_pixel:
            number = int(_said(file, group, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)
            if number not in names:
                raise InputError(
                    f"{file}: a frame is of segment {number}, which it does not name: export it again"
                )
        numbers.append(number)
        affines.append(_affine(file, group, shared))
    return _Frames(file, held, names, tuple(numbers), tuple(affines), (rows, columns))


def _said(file: Path, group: Any, shared: Any, name: str) -> Any:
    """Return what a frame, or all frames together, say."""
    for held in (group, shared):
        if held is not None and held.get(name):
            return held.get(name)[0]
    raise InputError(f"{file} does not say the {name} of its frames: export it again, or convert it to NIfTI")


def _affine(file: Path, group: Any, shared: Any) -> NDArray[np.float64]:
    position = _said(file, group, shared, "PlanePositionSequence").ImagePositionPatient
    turned = np.array(
        _said(file, group, shared, "PlaneOrientationSequence").ImageOrientationPatient, np.float64
    )
    measures = _said(file, group, shared, "PixelMeasuresSequence")
    down, right = (float(value) for value in measures.PixelSpacing)
    apart = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 1.0
    affine = np.eye(4)
    columns = [turned[:3] * right, turned[3:] * down, np.cross(turned[:3], turned[3:]) * abs(float(apart))]
    affine[:3, :3] = LPS_TO_RAS @ np.stack(columns, axis=1)
    affine[:3, 3] = LPS_TO_RAS @ np.array(position, np.float64)
    if not (np.abs(affine) < _FAR).all() or not invertible(affine[:3, :3]):
        raise InputError(
            f"{file}: position, orientation or spacing of a frame make no sense: export it again"
        )
    return affine


def _steps(affine: NDArray[np.float64], size: tuple[int, int], grid: Grid) -> NDArray[np.intp] | None:
    """Return (3, 3) from (column, row, 1) of a frame to voxels of a grid; None where it lies between them."""
    exact = (np.linalg.inv(np.array(grid.affine)) @ affine)[:3, [0, 1, 3]]
    steps = np.rint(exact)
    if (np.abs(steps[:, :2]).sum(axis=0) != 1).any() or (np.abs(steps[:, :2]).sum(axis=1) > 1).any():
        return None
    rows, columns = size
    corners = np.array([(c, r, 1) for c in (0, columns - 1) for r in (0, rows - 1)]).T
    across = np.abs(steps[:, :2]).sum(axis=1) == 0
    off = np.abs((exact - steps) @ corners).max(axis=1)
    return steps.astype(np.intp) if (off <= np.where(across, _ACROSS, _IN_PLANE)).all() else None


def _own_grid(path: Path, parts: Sequence[_Frames]) -> Grid:
    """Return the grid of frames that lie off the image: evenly spaced, from the lowest to the highest."""
    size, affines = parts[0].size, [affine for part in parts for affine in part.affines]
    base = affines[0]
    depths = np.array([(np.linalg.inv(base) @ affine[:, 3])[2] for affine in affines])
    levels = np.rint(depths - depths.min()).astype(int)
    affine = base.copy()
    affine[:3, 3] = affines[int(depths.argmin())][:3, 3]
    grid = Grid((size[1], size[0], int(levels.max()) + 1), as_affine(affine))
    if int(np.prod(grid.shape, dtype=object)) > _MOST or any(
        _steps(each, size, grid) is None for each in affines
    ):
        raise InputError(
            f"{path}: its frames lie neither on the voxels of the image nor evenly: export it for this image"
        )
    return grid


def _pixels(part: _Frames) -> Iterator[tuple[tuple[int, int], tuple[NDArray[np.intp], ...], bool]]:
    """Yield frame and segment, (rows, columns) that belong to it, and whether they were cut from fractions."""
    held = part.held
    top = (
        int(held.get("MaximumFractionalValue") or 1)
        if str(held.get("SegmentationType")) == "FRACTIONAL"
        else 1
    )
    for index, (number, frame) in enumerate(zip(part.numbers, _decoded(part), strict=True)):
        if number is not None:
            soft = top > 1 and bool(((frame > 0) & (frame < top)).any())
            yield (index, number), np.nonzero(frame >= (top + 1) // 2 if top > 1 else frame), soft
            continue
        for value in np.unique(frame[frame > 0]).tolist():
            if value not in part.names:
                raise InputError(
                    f"{part.file}: a frame holds segment {value}, which it does not name: export it again"
                )
            yield (index, value), np.nonzero(frame == value), False


def _decoded(part: _Frames) -> Iterator[NDArray[Any]]:
    """Yield frames, (rows, columns); those of single bits need not begin at a byte, which pydicom does not expect."""
    held, size = part.held, part.size[0] * part.size[1]
    if int(held.get("BitsAllocated") or 0) != 1 or held.file_meta.TransferSyntaxUID.is_encapsulated:
        yield from pydicom.pixels.iter_pixels(held)
        return
    packed = np.frombuffer(held.PixelData, np.uint8)
    if packed.size * 8 < size * len(part.numbers):
        raise InputError(f"{part.file} ends before its last frame: copy or export it again")
    for index in range(len(part.numbers)):
        first = index * size
        bits = np.unpackbits(packed[first // 8 : -(-(first + size) // 8)], bitorder="little")
        yield bits[first % 8 : first % 8 + size].reshape(part.size)
