"""Outlines of objects, how much each of their points matters, and polygons filled.

Coordinates are (row, column) with pixel centers at whole numbers.
"""

import math

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray

from metadcseg.noise.paper import Region

Points = NDArray[np.float64]


def outlines(region: Region, start: float) -> Points:
    """Return the outer outlines of a region's objects, point by point.

    Args:
        region: (H, W) bool.
        start: in [0, 1): where on each outline the first point lies.

    Returns:
        (N, 4): number of the outline, row, column, and the smallest tolerance at which the point is dropped
        (see :func:`significance`). Outlines run half-way between pixels; those of holes are left out.

    Example:
        >>> outlines(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], bool), 0.0)[:, 1:3].tolist()
        [[1.0, 0.5], [0.5, 1.0], [1.0, 1.5], [1.5, 1.0]]
    """
    lines = contour_generator(z=np.pad(region, 1).astype(np.float64)).lines(0.5)
    found: list[Points] = []
    for line in lines:
        points = (
            np.asarray(line, np.float64)[:-1, ::-1] - 1.0
        )  # (x, y) to (row, column); without frame and closing
        if _signed_area(points) > 0.0:  # with the objects to their left; holes run the other way
            points = np.roll(points, -math.floor(start * len(points)), axis=0)
            found.append(np.column_stack([np.full(len(points), len(found)), points, significance(points)]))
    return np.concatenate(found) if found else np.zeros((0, 4))


def significance(points: Points) -> NDArray[np.float64]:
    """Return for each point of a closed outline the tolerance from which Ramer-Douglas-Peucker drops it.

    The outline is cut at its first point and at the point furthest from it; these two, and the point that lies
    furthest from the line between them, are never dropped (infinite).

    Args:
        points: (N, 2), at least 3, without the first one repeated.

    Example:
        >>> significance(np.array([[0.0, 0.0], [0.0, 4.0], [1.0, 9.0], [0.0, 10.0], [5.0, 5.0]])).tolist()
        [inf, 0.4417261042993862, 1.0, inf, inf]
    """
    count = len(points)
    closed = np.concatenate([points, points[:1]])
    matters = np.zeros(count + 1)
    far = int(np.argmax(np.hypot(*(points - points[0]).T)))
    third = int(np.argmax(_distances(points, points[0], points[far])))
    matters[[0, far, third, count]] = np.inf
    todo = [(0, far, np.inf), (far, count, np.inf)]
    while todo:
        first, last, most = todo.pop()
        if last - first < 2:
            continue
        distances = _distances(closed[first + 1 : last], closed[first], closed[last])
        split = first + 1 + int(np.argmax(distances))
        # a point stays only while the one that divided its stretch does
        here = min(most, float(distances[split - first - 1])) if split != third else np.inf
        if here > 0.0:
            matters[split] = here
            todo += [(first, split, here), (split, last, here)]
    return matters[:-1]


def _distances(points: Points, one: Points, other: Points) -> NDArray[np.float64]:
    """Return the distance of each point to the stretch between two points."""
    along = other - one
    length = float(along @ along)
    share = ((points - one) @ along / length).clip(0.0, 1.0) if length else np.zeros(len(points))
    distances: NDArray[np.float64] = np.hypot(*(points - one - share[:, None] * along).T)
    return distances


def _signed_area(points: Points) -> float:
    row, column = points.T
    return float(np.sum(column * np.roll(row, -1) - np.roll(column, -1) * row)) / 2.0


def fill(region: Region, corners: Points) -> None:
    """Add the pixels whose centers lie in a polygon (even-odd rule) to a region, in place.

    Args:
        region: (H, W) bool.
        corners: (N, 2), in order; the last is joined to the first.

    Example:
        >>> region = np.zeros((3, 4), bool)
        >>> fill(region, np.array([[-0.5, 0.5], [-0.5, 2.5], [1.5, 2.5], [1.5, 0.5]]))
        >>> region.astype(int).tolist()
        [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    height, width = region.shape
    crossed = np.zeros((height, width + 1), np.uint8)
    for one, other in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        low, high = sorted((float(one[0]), float(other[0])))
        rows = np.arange(
            max(0, math.ceil(low)), min(height, math.ceil(high))
        )  # a side has its upper end only
        if len(rows):
            column = one[1] + (rows - one[0]) * (other[1] - one[1]) / (other[0] - one[0])
            crossed[rows, np.ceil(column).clip(0, width).astype(np.intp)] += (
                1  # crossed from here to the right
            )
    region |= np.cumsum(crossed, axis=1)[:, :-1] % 2 == 1
