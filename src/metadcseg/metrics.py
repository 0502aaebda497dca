"""How well a mask agrees with a reference: DSC, IoU, HD, HD95 and NSD, per case and class.

Conventions, the same in every number this package prints:

- *Boundary*: the foreground pixels with a 4-neighbor (in a volume, the voxels with a 6-neighbor) in the background;
  outside the image is background. A volume is scored as a whole, not slice by slice; its lengths without a unit are in
  voxels, which means little where they are not cubes: read those in mm.
  Distances are Euclidean, between pixel centers, in pixels and, where the spacing is known, in mm; where the axes of a
  volume miss right angles (a tilted gantry), between the places of the voxels in the world.
- *HD* is the larger of the two directed maxima over boundary pixels (Huttenlocher et al., TPAMI 1993). *HD95*
  is the larger of the two directed 95th percentiles, linearly interpolated, as in MONAI and DeepMind's
  surface-distance. MedPy pools the two directions before it takes the percentile, so that a missed part of a
  large object can cost nothing.
- *NSD*, the normalized surface Dice (Nikolov et al., JMIR 2021): the share of boundary pixels of both masks
  that lie within a tolerance of the other boundary. Every boundary pixel counts once (MONAI's default);
  DeepMind weighs pieces of contour by their length. ``nsd`` has a tolerance of 1 pixel, ``nsd_mm`` of 2 mm,
  unless told otherwise.
- *Empty masks*: both empty, DSC = IoU = NSD = 1 and HD = HD95 = 0. Exactly one empty, DSC = IoU = NSD = 0 and
  HD = HD95 = the diagonal of the whole image, more than any two of its pixels are apart: missing an object is
  never better than outlining it badly. Nothing is ever NaN or left out.
- *Ignored pixels* (``IGNORE`` in the reference) are background in both masks, before anything is measured.
- *mIoU* is the mean IoU over all classes with the background as one of them. Ignored pixels are then of no class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import hypot

import numpy as np
from numpy.typing import NDArray

from metadcseg.bounding_box import box_of
from metadcseg.constants import IGNORE
from metadcseg.errors import InputError

Mask = NDArray[np.bool_]
Distances = NDArray[np.float64]
Spacing = tuple[float, ...] | tuple[tuple[float, ...], ...]
"""Lengths of a pixel along its axes; or, where axes miss right angles, the step along each of them, a row each."""

METRICS = ("dsc", "iou", "hd", "hd95", "nsd")
"""Measured for every case; lengths in pixels."""

BACKGROUND_METRIC = "miou"
"""IoU averaged over all classes, background included: of a case, never of one class."""

MM_METRICS = ("hd_mm", "hd95_mm", "nsd_mm")
"""Measured where the spacing is known; lengths in mm."""

NSD_TOLERANCE_PX = 1.0
NSD_TOLERANCE_MM = 2.0


@dataclass(frozen=True)
class ClassScore:
    """How well one class of one case was found.

    Args:
        dsc: Dice similarity coefficient, 0 to 1.
        iou: intersection over union (Jaccard), 0 to 1.
        hd: Hausdorff distance in pixels.
        hd95: its directed 95th percentile in pixels.
        nsd: normalized surface Dice, 0 to 1, tolerance in pixels.
        hd_mm: ``hd`` in mm, or None where the spacing is unknown.
        hd95_mm: ``hd95`` in mm, or None.
        nsd_mm: ``nsd`` with the tolerance in mm, or None.
        overlap: pixels of the class in both masks.
        predicted: pixels of the class in the prediction.
        reference: pixels of the class in the reference.
    """

    dsc: float
    iou: float
    hd: float
    hd95: float
    nsd: float
    hd_mm: float | None
    hd95_mm: float | None
    nsd_mm: float | None
    overlap: int
    predicted: int
    reference: int


@dataclass(frozen=True)
class CaseScore:
    """The scores of one case.

    Args:
        row: the case's row in its set.
        id: its name there.
        group: the patient or acquisition that it belongs to.
        reference: what it was compared with, ``"truth"`` or ``"label"``.
        classes: foreground class -> score, in class order.
        background: pixels of the background in both masks, in the prediction and in the reference
            (:func:`background_counts`); None where nobody counted them, so that there is no mIoU.
    """

    row: int
    id: str
    group: str
    reference: str
    classes: Mapping[str, ClassScore]
    background: tuple[int, int, int] | None = None

    def mean(self, metric: str) -> float | None:
        """Return the mean of a metric over the foreground classes; None for mm without a spacing.

        A class that neither mask shows counts with its perfect score. ``"miou"`` has the background as one more class.
        """
        if metric == BACKGROUND_METRIC:
            if self.background is None:
                return None
            return float(
                np.mean([iou_from_counts(*self.background), *(c.iou for c in self.classes.values())])
            )
        values = [getattr(score, metric) for score in self.classes.values()]
        return None if None in values else float(np.mean(values))


def boundary(mask: Mask) -> Mask:
    """Return the pixels of ``mask``, (H, W) or (X, Y, Z) bool, that touch the background with one of their sides.

    Example:
        >>> boundary(np.ones((3, 3), bool)).astype(int).tolist()
        [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    """
    padded, inside = np.pad(mask, 1), slice(1, -1)
    surrounded = mask.copy()
    for axis in range(mask.ndim):
        for shifted in (slice(None, -2), slice(2, None)):
            surrounded &= padded[tuple(shifted if other == axis else inside for other in range(mask.ndim))]
    return mask & ~surrounded


def step_along(spacing: Spacing) -> Distances:
    """Return the step along each axis in a row, (axes, axes) float64."""
    steps = np.asarray(spacing, np.float64)
    return np.diag(steps) if steps.ndim == 1 else steps


def surface_distances(
    prediction: Mask, reference: Mask, spacing: Spacing | None = None
) -> tuple[Distances, Distances]:
    """Return how far each boundary pixel lies from the other mask's boundary.

    Args:
        prediction: (H, W) or (X, Y, Z) bool, not empty.
        reference: likewise, of the same shape.
        spacing: length of a pixel along each axis, or a row for the step along each, in any unit; 1 by default.

    Returns:
        The distances of the prediction's boundary pixels, then those of the reference's.

    Example:
        >>> row = np.eye(1, 8, 2, dtype=bool), np.eye(1, 8, 5, dtype=bool)
        >>> [side.tolist() for side in surface_distances(*row, spacing=(1.0, 0.5))]
        [[1.5], [1.5]]
    """
    box = box_of(prediction | reference)  # a common shift changes no bit
    axes = step_along(spacing or (1.0,) * prediction.ndim)
    points = [np.argwhere(boundary(mask[box])) @ axes for mask in (prediction, reference)]
    return _nearest(points[0], points[1]), _nearest(points[1], points[0])


def hausdorff(sides: tuple[Distances, Distances], percentile: float = 100.0) -> float:
    """Return the larger directed percentile of the distances that :func:`surface_distances` returned.

    Example:
        >>> hausdorff((np.zeros(5), np.array([0.0, 0.0, 7.0])))
        7.0
    """
    return max(float(np.percentile(side, percentile)) for side in sides)


def surface_dice(sides: tuple[Distances, Distances], tolerance: float) -> float:
    """Return the share of all boundary pixels that lie within ``tolerance`` of the other boundary.

    Example:
        >>> surface_dice((np.array([0.0, 1.0]), np.array([0.0, 3.0])), tolerance=1.0)
        0.75
    """
    both = np.concatenate(sides)
    # 20 pixels of 0.1 mm are 2 mm, however a header rounds: that of NIfTI holds 7 digits
    return float(np.mean(both <= tolerance * (1 + 1e-5)))


def dice(prediction: Mask, reference: Mask) -> float:
    """Return the Dice similarity coefficient of two (H, W) bool masks; 1 where both are empty.

    Example:
        >>> dice(np.array([[True, True, False]]), np.array([[True, False, False]]))
        0.6666666666666666
    """
    return dice_from_counts(*_counts(prediction, reference))


def dice_from_counts(overlap: int, predicted: int, reference: int) -> float:
    """Return 2 |A and B| / (|A| + |B|) from pixel counts, 1 where both are 0."""
    return 2 * overlap / (predicted + reference) if predicted + reference else 1.0


def iou_from_counts(overlap: int, predicted: int, reference: int) -> float:
    """Return |A and B| / |A or B| from pixel counts, 1 where both are 0."""
    union = predicted + reference - overlap
    return overlap / union if union else 1.0


def score_masks(
    prediction: Mask,
    reference: Mask,
    spacing: Spacing | None = None,
    *,
    tolerance_px: float = NSD_TOLERANCE_PX,
    tolerance_mm: float = NSD_TOLERANCE_MM,
) -> ClassScore:
    """Compare two masks of one class; conventions and empty masks as the module says.

    Args:
        prediction: (H, W) or (X, Y, Z) bool.
        reference: likewise, of the same shape.
        spacing: of a pixel along each axis in mm, or None where unknown.
        tolerance_px: tolerance of ``nsd``, in pixels.
        tolerance_mm: tolerance of ``nsd_mm``, in mm.

    Raises:
        InputError: where the shapes differ or the masks have other than two or three dimensions.

    Example:
        >>> mask = np.zeros((3, 4), bool)
        >>> mask[1, 1:3] = True
        >>> (score := score_masks(np.zeros_like(mask), mask)).dsc, score.hd
        (0.0, 5.0)
    """
    _check_pair(prediction, reference)
    counts = _counts(prediction, reference)
    hd, hd95, nsd = _lengths(prediction, reference, (1.0,) * prediction.ndim, tolerance_px)
    in_mm = None if spacing is None else _lengths(prediction, reference, spacing, tolerance_mm)
    hd_mm, hd95_mm, nsd_mm = in_mm or (None, None, None)
    overlaps = dice_from_counts(*counts), iou_from_counts(*counts)
    return ClassScore(*overlaps, hd, hd95, nsd, hd_mm, hd95_mm, nsd_mm, *counts)


def score_labels(
    prediction: NDArray[np.integer],
    reference: NDArray[np.integer],
    classes: Sequence[str],
    spacing: Spacing | None = None,
    *,
    tolerance_px: float = NSD_TOLERANCE_PX,
    tolerance_mm: float = NSD_TOLERANCE_MM,
) -> dict[str, ClassScore]:
    """Compare two label maps class by class.

    Args:
        prediction: (H, W) or (X, Y, Z) integer, class numbers.
        reference: likewise, class numbers, or ``IGNORE`` where a pixel must not count.
        classes: names in class order, background first.
        spacing: of a pixel along each axis in mm, or None where unknown.
        tolerance_px: tolerance of ``nsd``, in pixels.
        tolerance_mm: tolerance of ``nsd_mm``, in mm.

    Returns:
        Foreground class -> score, in class order.

    Raises:
        InputError: where the shapes differ, or a mask holds a value that is no class.

    Example:
        >>> given = np.array([[0, 1, 2, IGNORE]], np.uint8)
        >>> scores = score_labels(np.array([[0, 1, 1, 1]]), given, ["background", "organ", "core"])
        >>> {name: (score.overlap, score.predicted, score.reference) for name, score in scores.items()}
        {'organ': (1, 2, 1), 'core': (0, 0, 1)}
    """
    _check_pair(prediction, reference)
    if prediction.size and not 0 <= (least := prediction.min()) <= (most := prediction.max()) < len(classes):
        raise InputError(f"prediction must hold the classes 0 to {len(classes) - 1}, got {least} to {most}")
    counted = reference != IGNORE
    unknown = sorted(set(np.unique(reference[counted]).tolist()) - set(range(len(classes))))
    if unknown:
        raise InputError(
            f"reference must hold the classes 0 to {len(classes) - 1} or {IGNORE}, got {unknown[0]}: "
            "remap its labels"
        )
    limits = {"tolerance_px": tolerance_px, "tolerance_mm": tolerance_mm}
    return {
        name: score_masks((prediction == number) & counted, reference == number, spacing, **limits)
        for number, name in enumerate(classes)
        if number > 0
    }


def background_counts(
    prediction: NDArray[np.integer], reference: NDArray[np.integer]
) -> tuple[int, int, int]:
    """Return how many pixels are background in both label maps, in the prediction and in the reference.

    Args:
        prediction: (H, W) or (X, Y, Z) integer, class numbers.
        reference: likewise; pixels that are ``IGNORE`` there count nowhere.

    Example:
        >>> background_counts(np.array([[0, 0, 1, 0]]), np.array([[0, 1, 0, IGNORE]]))
        (1, 2, 2)
    """
    return _counts((prediction == 0) & (reference != IGNORE), reference == 0)


def _check_pair(prediction: NDArray[np.generic], reference: NDArray[np.generic]) -> None:
    if prediction.ndim not in (2, 3) or prediction.shape != reference.shape:
        raise InputError(
            f"prediction and reference must be masks of one shape, (H, W) or (X, Y, Z), got {prediction.shape} and "
            f"{reference.shape}: resample one to the other"
        )


def _counts(prediction: Mask, reference: Mask) -> tuple[int, int, int]:
    return int((prediction & reference).sum()), int(prediction.sum()), int(reference.sum())


def _lengths(
    prediction: Mask, reference: Mask, spacing: Spacing, tolerance: float
) -> tuple[float, float, float]:
    """Return HD, HD95 and NSD in the unit of ``spacing``."""
    found, exists = bool(prediction.any()), bool(reference.any())
    if not found and not exists:
        return 0.0, 0.0, 1.0
    if found != exists:
        diagonal = _diagonal(prediction.shape, spacing)
        return diagonal, diagonal, 0.0
    sides = surface_distances(prediction, reference, spacing)
    return hausdorff(sides), hausdorff(sides, 95.0), surface_dice(sides, tolerance)


def _diagonal(shape: tuple[int, ...], spacing: Spacing) -> float:
    """Return the length of an image from corner to corner, the longest where axes miss right angles."""
    steps = np.asarray(spacing, np.float64)
    if steps.ndim == 1:
        return hypot(*(side * length for side, length in zip(shape, steps.tolist(), strict=True)))
    ends = (np.array(shape) * signs @ steps for signs in product((1, -1), repeat=len(shape)))
    return max(float(np.linalg.norm(end)) for end in ends)


def _nearest(points: Distances, others: Distances) -> Distances:
    """Return the distance of each point to the nearest of the others (a tree beats a transform of all pixels)."""
    from scipy.spatial import cKDTree

    distances: Distances = cKDTree(others).query(points)[0]
    return distances
