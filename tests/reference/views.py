"""The five views of L2B's segmentation script and the average over them, pixel by pixel.

One image and one foreground class at a time; m is the margin in pixels that a zoom adds or takes at each side.
"""

import math

import numpy as np


def sources(y, x, height, width):
    """The pixels from which a bilinear interpolation at (y, x) is made, with their weights; clamped at edges."""
    top, left = math.floor(y), math.floor(x)
    found = []
    for row, along_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, along_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            inside = (min(max(row, 0), height - 1), min(max(column, 0), width - 1))
            found.append((inside, along_y * along_x))
    return found


def resized(image, height, width):
    """Bilinear, pixel centers at halves."""
    rows, columns = image.shape
    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y, x = (i + 0.5) * rows / height - 0.5, (j + 0.5) * columns / width - 0.5
            for pixel, weight in sources(y, x, rows, columns):
                out[i, j] += weight * image[pixel]
    return out


def cropped(image, m):
    return image[m : image.shape[0] - m, m : image.shape[1] - m]


def padded(image, m):
    out = np.zeros((image.shape[0] + 2 * m, image.shape[1] + 2 * m))
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            out[i + m, j + m] = image[i, j]
    return out


def flipped(image, axes):
    for axis in axes:
        image = np.flip(image, axis)
    return image


def zoomed_in(image, m):
    height, width = image.shape
    return cropped(resized(image, height + 2 * m, width + 2 * m), m)


def zoomed_out(image, m):
    height, width = image.shape
    return padded(resized(image, height - 2 * m, width - 2 * m), m)


def views(image, zoom_in, zoom_out, axes):
    """All five; ``zoom_out`` has two margins, ``axes`` those that are mirrored."""
    first, second = zoom_out
    return [
        image,
        zoomed_in(image, zoom_in),
        zoomed_out(image, first),
        zoomed_out(image, second),
        flipped(image, axes),
    ]


def back_from_zoom_in(view, m):
    """Shrunk to where it belongs; 0 for pixels whose center the view does not show."""
    height, width = view.shape
    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y, x = (i + 0.5) * (height + 2 * m) / height - 0.5, (j + 0.5) * (width + 2 * m) / width - 0.5
            y, x = y - m, x - m
            if -0.5 <= y <= height - 0.5 and -0.5 <= x <= width - 0.5:
                for pixel, weight in sources(y, x, height, width):
                    out[i, j] += weight * view[pixel]
    return out


def back_from_zoom_in_as_printed(view, m):
    """The script's order, padding before shrinking: the outermost pixels mix with the 0 around them."""
    return resized(padded(view, m), *view.shape)


def back_from_zoom_out(view, m):
    return resized(cropped(view, m), *view.shape)


def average(seen, zoom_in, zoom_out, axes):
    """The mean of five views' probabilities of one foreground class, in the frame of the first."""
    first, second = zoom_out
    parts = [
        seen[0],
        back_from_zoom_in(seen[1], zoom_in),
        back_from_zoom_out(seen[2], first),
        back_from_zoom_out(seen[3], second),
        flipped(seen[4], axes),
    ]
    return sum(parts) / 5
