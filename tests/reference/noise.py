"""Eq. 15-20 of the paper, pixel by pixel. Slow and obvious; imports nothing of the package.

A drawn noise is (angle in degrees, erode, kernel before scaling, rounding, r).
"""

import math
from fractions import Fraction


def box_middle(mask):
    """The middle of the bounding box, row and column."""
    ys = [h for h, row in enumerate(mask) for value in row if value]
    xs = [w for row in mask for w, value in enumerate(row) if value]
    return (min(ys) + max(ys)) / 2, (min(xs) + max(xs)) / 2


def rotated(mask, angle, about_itself=False):
    """Eq. 15: every output pixel looks back along the rotation, anticlockwise on the screen."""
    height, width = len(mask), len(mask[0])
    middle_h, middle_w = box_middle(mask) if about_itself else ((height - 1) / 2, (width - 1) / 2)
    theta = math.radians(angle)
    result = [[0] * width for _ in range(height)]
    for h in range(height):
        for w in range(width):
            y, x = h - middle_h, w - middle_w
            source_h = math.floor(y * math.cos(theta) + x * math.sin(theta) + middle_h + 0.5)
            source_w = math.floor(x * math.cos(theta) - y * math.sin(theta) + middle_w + 0.5)
            if 0 <= source_h < height and 0 <= source_w < width:
                result[h][w] = mask[source_h][source_w]
    return result


def window(mask, h, w, size):
    """The values under a square of the given size; pixels beyond the image are no values."""
    height, width = len(mask), len(mask[0])
    first, last = -(size // 2), (size - 1) // 2
    return [
        mask[h + i][w + j]
        for i in range(first, last + 1)
        for j in range(first, last + 1)
        if 0 <= h + i < height and 0 <= w + j < width
    ]


def eroded(mask, size):
    """Eq. 16: a pixel stays where everything under the square is foreground."""
    return [[int(all(window(mask, h, w, size))) for w in range(len(mask[0]))] for h in range(len(mask))]


def dilated(mask, size):
    """Eq. 17: a pixel becomes foreground where anything under the square is."""
    return [[int(any(window(mask, h, w, size))) for w in range(len(mask[0]))] for h in range(len(mask))]


def ellipse(mask):
    """Eq. 19 in exact fractions; over an axis of length 0 only the center fits."""
    ys = [h for h, row in enumerate(mask) for value in row if value]
    xs = [w for row in mask for w, value in enumerate(row) if value]
    y_c, x_c = Fraction(min(ys) + max(ys), 2), Fraction(min(xs) + max(xs), 2)
    r_y, r_x = Fraction(max(ys) - min(ys), 2), Fraction(max(xs) - min(xs), 2)

    def share(offset, radius):
        if radius == 0:
            return 0 if offset == 0 else math.inf
        return offset**2 / radius**2

    return [
        [int(share(h - y_c, r_y) + share(w - x_c, r_x) <= 1) for w in range(len(mask[0]))]
        for h in range(len(mask))
    ]


def corrupted_class(mask, drawn, scale, p_ellipse=0.5, min_pixels=300):
    """Eq. 15-18 on one binary mask."""
    angle, erode, kernel, rounding, r = drawn
    size = max(1, math.floor(kernel * scale + rounding))
    first = rotated(mask, angle)
    second = eroded(first, size) if erode else dilated(first, size)
    if r < p_ellipse and sum(map(sum, second)) > min_pixels:
        return ellipse(second)
    return second


def corrupted(mask, drawn_by_class, scale, ignore=255):
    """Every class by itself, painted back in class order; ignored pixels stay."""
    result = [[0] * len(mask[0]) for _ in mask]
    for value, drawn in enumerate(drawn_by_class, start=1):
        noisy = corrupted_class([[int(v == value) for v in row] for row in mask], drawn, scale)
        for h, row in enumerate(noisy):
            for w, inside in enumerate(row):
                if inside:
                    result[h][w] = value
    for h, row in enumerate(mask):
        for w, value in enumerate(row):
            if value == ignore:
                result[h][w] = ignore
    return result


def corruption_rate(clean, noisy):
    """Eq. 20; two empty masks are equal."""
    pairs = [(a, b) for row, other in zip(clean, noisy, strict=True) for a, b in zip(row, other, strict=True)]
    both = sum(1 for a, b in pairs if a and b)
    total = sum(1 for a, _ in pairs if a) + sum(1 for _, b in pairs if b)
    return 0.0 if total == 0 else 1.0 - 2.0 * both / total
