"""DICOM structure sets (RTSTRUCT): contours of named regions in mm, drawn on the grid of their image.

A contour lies in a plane of slices of the image. A voxel belongs to a region where its center is inside of an odd
number of the region's contours on that slice, so that a contour within another one is a hole; a center on the edge
counts on the side of lower indices.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.findings import plural
from metadcseg.data.formats.dicom import LPS_TO_RAS, pydicom
from metadcseg.data.formats.geometry import Grid, Volume
from metadcseg.data.formats.overlay import Overlay, refuse_stripes
from metadcseg.errors import InputError

CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
"""UID of the kind of file."""

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OFF = 0.3  # of a gap between slices a contour may lie off its slice; archives round positions
_FLAT = 0.5  # voxels that a contour may leave its plane by
_MOST_LOST = 0.1  # of the contours may lie between slices or outside
_FAR = 1e5  # mm; no scanner is so large


@dataclass(frozen=True)
class _Contour:
    region: int
    name: str
    points: NDArray[np.float64]  # (n, 3), in voxels of the image


def read_structures(file: Path, image: Grid) -> Volume:
    """Draw all regions of a structure set as classes.

    Args:
        file: the structure set.
        image: the grid of the image.

    Returns:
        The mask, on the grid of the image.

    Raises:
        InputError: where contours do not lie in planes of the image, or belong to other slices.
    """
    contours, skipped = _contours(file, image)
    drawn = Overlay(file, image.shape, {contour.name for contour in contours})
    notes = [
        f"{file}: {plural(count, f'{kind} contour')} enclose nothing and are passed over"
        for kind, count in skipped.items()
    ]
    if not contours:
        return Volume(drawn.labels()[0], image, tuple(notes))
    axis = int(np.sum([np.ptp(contour.points, axis=0) for contour in contours], axis=0).argmin())
    planes: dict[tuple[int, str, int], list[NDArray[np.float64]]] = {}  # region, its name, slice
    lost: Counter[str] = Counter()
    for contour in contours:
        depth = contour.points[:, axis]
        if np.ptp(depth) > _FLAT:
            raise InputError(
                f"{file}: a contour of '{contour.name}' lies slanted to the slices of the image, over "
                f"{np.ptp(depth):.2g} of them: export the structures for this series"
            )
        number = round(float(depth.mean()))
        if not 0 <= number < image.shape[axis]:
            lost["outside of the image"] += 1
        elif abs(float(depth.mean()) - number) > _OFF:
            lost["between its slices"] += 1
        else:
            plane = (contour.region, contour.name, number)
            planes.setdefault(plane, []).append(np.delete(contour.points, axis, axis=1))
    if lost.total() > _MOST_LOST * len(contours):
        where = " and ".join(f"{count} {where}" for where, count in lost.items())
        raise InputError(
            f"{file}: of {len(contours)} contours lie {where}: export the structures for this series"
        )
    slices: dict[str, set[int]] = {}
    for _, name, number in planes:
        slices.setdefault(name, set()).add(number)
    refuse_stripes(file, slices, "contours")
    notes += [f"{file}: {plural(count, 'contour')} {where}, left out" for where, count in lost.items()]
    sides = np.delete(np.array(image.shape), axis)
    beyond = 0
    for (_, name, number), polygons in planes.items():  # regions of one name are joined
        beyond += sum(bool((each < -0.5).any() or (each > sides - 0.5).any()) for each in polygons)
        places = np.nonzero(enclosed(polygons, (int(sides[0]), int(sides[1]))))
        drawn.add_at(name, np.insert(np.stack(places), axis, number, axis=0))
    if beyond:
        notes.append(f"{file}: {plural(beyond, 'contour')} reach beyond the image, cut at its rim")
    labels, more = drawn.labels()
    return Volume(labels, image, (*notes, *more), names=drawn.names)


def enclosed(polygons: list[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixel centers lie inside of an odd number of polygons.

    Args:
        polygons: (n, 2) corners each, in pixels: centers lie at whole numbers.
        shape: of the image.

    Example:
        >>> square = np.array([(0.5, 0.5), (0.5, 2.5), (2.5, 2.5), (2.5, 0.5)])
        >>> enclosed([square], (3, 4)).astype(int).tolist()
        [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0]]
    """
    crossings = np.zeros((shape[0], shape[1] + 1), np.int64)
    for polygon in polygons:
        for (x, y), (to_x, to_y) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            low, high = sorted((x, to_x))
            rows = np.arange(max(0, int(np.ceil(low))), min(shape[0], int(np.ceil(high))))
            if rows.size:
                at = y + (rows - x) * ((to_y - y) / (to_x - x))
                np.add.at(crossings, (rows, np.clip(np.ceil(at), 0, shape[1]).astype(int)), 1)
    return np.asarray(np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1)


def _contours(file: Path, image: Grid) -> tuple[list[_Contour], Counter[str]]:
    """Return the closed contours in voxels of the image, and how many there are of other kinds."""
    held: Any = pydicom.dcmread(file)
    names = {
        int(roi.ROINumber): " ".join(str(roi.get("ROIName") or "").split())
        for roi in held.StructureSetROISequence
    }
    to_voxels = np.linalg.inv(np.array(image.affine))
    turned = to_voxels[:3, :3] @ LPS_TO_RAS
    found: list[_Contour] = []
    skipped: Counter[str] = Counter()
    seen = set()
    for roi in held.get("ROIContourSequence") or []:
        number = int(roi.ReferencedROINumber)
        if number not in names:
            raise InputError(
                f"{file}: contours belong to region {number}, which it does not name: export it again"
            )
        for contour in roi.get("ContourSequence") or []:
            kind = str(contour.get("ContourGeometricType"))
            points = np.array(contour.get("ContourData") or [], np.float64)
            if kind not in _CLOSED or points.size < 9:
                skipped[kind if kind not in _CLOSED else "too short"] += 1
                continue
            if points.size % 3 or not (np.abs(points) < _FAR).all():
                raise InputError(
                    f"{file}: a contour of '{names[number]}' has points that are no (x, y, z): export it again"
                )
            if (number, points.tobytes()) in seen:
                skipped["repeated"] += 1
                continue
            seen.add((number, points.tobytes()))
            voxels = points.reshape(-1, 3) @ turned.T + to_voxels[:3, 3]
            found.append(_Contour(number, names[number] or f"segment {number}", np.round(voxels, 6)))
    return found, skipped
