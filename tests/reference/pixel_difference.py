"""Pixel-difference convolutions as loops over pixels, from section 3.1 of Su et al. (ICCV 2021).

One channel in, one out, zeros beyond the border; images (H, W) and weights (3, 3) are nested lists or arrays.
"""

NEIGHBOURS = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]  # clockwise


def at(image, row, column):
    if 0 <= row < len(image) and 0 <= column < len(image[0]):
        return float(image[row][column])
    return 0.0


def central(image, weights, row, column):
    """Each of the nine pixels minus the one in the middle."""
    total = 0.0
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            difference = at(image, row + down, column + right) - at(image, row, column)
            total += float(weights[down + 1][right + 1]) * difference
    return total


def angular(image, weights, row, column):
    """Each of the eight neighbors minus the next one, clockwise."""
    total = 0.0
    for number, (down, right) in enumerate(NEIGHBOURS):
        next_down, next_right = NEIGHBOURS[(number + 1) % 8]
        difference = at(image, row + down, column + right) - at(image, row + next_down, column + next_right)
        total += float(weights[down + 1][right + 1]) * difference
    return total


def radial(image, weights, row, column):
    """In each of eight directions, the pixel two steps away minus the one a step away; weights 1 to 8 of 0 to 8."""
    flat = [float(weight) for line in weights for weight in line][1:]
    directions = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]
    total = 0.0
    for weight, (down, right) in zip(flat, directions, strict=True):
        outer = at(image, row + 2 * down, column + 2 * right)
        total += weight * (outer - at(image, row + down, column + right))
    return total
