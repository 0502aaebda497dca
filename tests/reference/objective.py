"""Eq. 13 of the paper and the Dice loss in it, pixel by pixel, in plain Python."""

import numpy as np

IGNORE = 255


def dice_loss(probabilities, labels):
    """One image: probabilities (L, H, W), labels (H, W); one pixel added on both sides of the fraction."""
    coefficients = []
    for c in range(1, probabilities.shape[0]):
        overlap, sizes = 0.0, 0.0
        for h, w in np.ndindex(labels.shape):
            if labels[h, w] == IGNORE:
                continue
            y = 1.0 if labels[h, w] == c else 0.0
            overlap += probabilities[c, h, w] * y
            sizes += probabilities[c, h, w] + y
        coefficients.append((2 * overlap + 1) / (sizes + 1))
    return 1 - sum(coefficients) / len(coefficients)


def total(loss, boundary_weights, dice, labels, lambda_1, lambda_2):
    """Eq. 13 with a mean over the pixels of the batch, and means over images."""
    first, pixels = 0.0, 0
    for pixel in np.ndindex(labels.shape):
        if labels[pixel] != IGNORE:
            first += loss[pixel]
            pixels += 1
    second = 0.0
    for i in range(len(labels)):
        for h, w in np.ndindex(labels.shape[1:]):
            if labels[i, h, w] != IGNORE:
                second += boundary_weights[i, h, w] * loss[i, h, w]
    images = len(labels)
    return first / pixels + lambda_1 * second / images + lambda_2 * sum(dice) / images
