"""Pairs for tests: discs and what noise makes of them."""

import numpy as np

from metadcseg.noise.base import corrupt, draw_mask
from metadcseg.noise.registry import noise_model
from metadcseg.pairs.statistics import Pair

Y, X = np.mgrid[:120, :130]


def disc(row, column, radius, shape=(120, 130)):
    """Return a disc of ones."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (np.hypot(y - row, x - column) <= radius).astype(np.uint8)


def true_mask(number, classes=2):
    """Return a mask that depends on a number alone: a disc; with four classes one with a core and a bar, too."""
    generator = np.random.default_rng(number)
    row, column, radius = generator.integers(40, 60), generator.integers(45, 80), generator.integers(15, 24)
    mask = disc(row, column, radius)
    if classes > 2:
        mask[disc(row, column, radius // 2) > 0] = 2
        mask[98:112, 20:60] = 3
    return mask


def noisy_pairs(name, count, strength=0.4, classes=2, spacing=None, who=None):
    """Return pairs whose given masks are drawn by a kind of noise, of name ``none`` as they are.

    Args:
        who: takes the draw of the first class, and returns the annotator.
    """
    pairs = []
    for number in range(count):
        true, case, annotator = true_mask(number, classes), f"case{number:02d}", None
        given = true
        if name != "none":
            model = noise_model(name, 0.4)
            draws = draw_mask(model, 3, case, classes)
            given = corrupt(true, draws, model, strength)
            annotator = who(draws[0]) if who else None
        pairs.append(Pair(case, case, given, true, spacing, annotator))
    return pairs
