"""Slow, obvious versions of the segmentation metrics: every pixel against every other."""

import math


def pixels(mask):
    """Coordinates of the pixels of a mask given as rows of 0 and 1."""
    return [(i, j) for i, row in enumerate(mask) for j, value in enumerate(row) if value]


def boundary(mask):
    inside = set(pixels(mask))
    around = [(-1, 0), (1, 0), (0, -1), (0, 1)]
    return [(i, j) for i, j in inside if any((i + di, j + dj) not in inside for di, dj in around)]


def dsc(a, b):
    a, b = set(pixels(a)), set(pixels(b))
    return 1.0 if not a and not b else 2 * len(a & b) / (len(a) + len(b))


def iou(a, b):
    a, b = set(pixels(a)), set(pixels(b))
    return 1.0 if not a and not b else len(a & b) / len(a | b)


def distances(a, b, spacing):
    """For every boundary pixel of a, the distance to the nearest boundary pixel of b."""
    return [
        min(math.hypot((i - k) * spacing[0], (j - m) * spacing[1]) for k, m in boundary(b))
        for i, j in boundary(a)
    ]


def percentile(values, share):
    """Linear interpolation between the two values around rank share * (n - 1), counted from 0."""
    ordered = sorted(values)
    rank = share * (len(ordered) - 1)
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (rank - below) * (ordered[above] - ordered[below])


def hausdorff(a, b, spacing, share):
    if not pixels(a) and not pixels(b):
        return 0.0
    if not pixels(a) or not pixels(b):
        return math.hypot(len(a) * spacing[0], len(a[0]) * spacing[1])
    return max(percentile(distances(a, b, spacing), share), percentile(distances(b, a, spacing), share))


def nsd(a, b, spacing, tolerance):
    if not pixels(a) and not pixels(b):
        return 1.0
    if not pixels(a) or not pixels(b):
        return 0.0
    both = distances(a, b, spacing) + distances(b, a, spacing)
    return sum(distance <= tolerance for distance in both) / len(both)
