"""Eq. 6-8, 10-12, 46 and 47 of the paper, pixel by pixel, for one image, in plain Python and numpy."""

import math

import numpy as np


def regions(probability, tau, edges):
    """Eq. 6-8: three sets of (h, w); probability (H, W), edges a set of (h, w)."""
    foreground, background, boundary = set(), set(), set(edges)
    for h, w in np.ndindex(probability.shape):
        m = probability[h, w]
        if m > tau:
            foreground.add((h, w))
        if m < 1 - tau:
            background.add((h, w))
        if 1 - tau <= m <= tau:
            boundary.add((h, w))
    return foreground, background, boundary


def most_uncertain(probability, count):
    """The ``count`` pixels of least confidence, as a set of (h, w)."""
    ranked = sorted(
        np.ndindex(probability.shape), key=lambda pixel: max(probability[pixel], 1 - probability[pixel])
    )
    return set(ranked[:count])


def center(features, gamma, region, default, minimum):
    """Eq. 10 and 47: features (D, H, W), gamma (H, W), region a set of (h, w)."""
    if len(region) < minimum:
        return default
    total = np.zeros(features.shape[0])
    weight = 0.0
    for h, w in region:
        total += gamma[h, w] * features[:, h, w]
        weight += gamma[h, w]
    return total / weight


def norm(vector):
    """The Euclidean norm."""
    return math.sqrt(sum(value * value for value in vector))


def distance(feature, foreground, background, boundary, epsilon, maximum=math.inf):
    """Eq. 11, clipped by eq. 46 where a maximum is given: one pixel's feature and three centers, all (D,)."""
    product = norm(feature - foreground) * norm(feature - background)
    return min(product / (norm(feature - boundary) + epsilon), maximum)


def weights(distances, region, temperature):
    """Eq. 12: distances (H, W), region a set of (h, w)."""
    result = np.zeros_like(distances)
    total = sum(math.exp(distances[pixel] / temperature) for pixel in region)
    for pixel in region:
        result[pixel] = math.exp(distances[pixel] / temperature) / total
    return result
