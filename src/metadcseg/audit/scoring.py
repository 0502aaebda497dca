"""How good an audit is where there is truth: how well wrong pixels are told, and what correction gained."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from metadcseg.audit.probability import Labels
from metadcseg.audit.ranking import expected_dsc
from metadcseg.constants import IGNORE
from metadcseg.evaluation.noise_detection import auroc

SCORES = {
    "audit": "P(the given label is wrong)",
    "disagreement": "1 - probability that the network gives to the given class",
    "pairs alone": "P(the given label is wrong) by the pairs' table alone",
    "given foreground": "the given class is not background",
    "near the outline": "nearness to the outline of the given mask",
}
"""What tells wrong pixels from right ones: the audit, and beside it what is simpler."""

BINS = 2048
_FAR = 14.0  # log odds of the first and last bin


def histogram(score: NDArray[np.float32], wrong: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many right and how many wrong pixels have each score, (2, BINS): bins are even in the log odds.

    Args:
        score: (P,) from 0 to 1.
        wrong: (P,) whether the label is wrong.

    Example:
        >>> found = histogram(np.array([0.0, 1.0, 1.0], np.float32), np.array([False, True, False]))
        >>> found[:, [0, -1]].tolist()
        [[1, 1], [0, 1]]
    """
    odds = logit(score.astype(np.float64)).clip(-_FAR, _FAR)
    place = np.rint((odds / _FAR + 1) / 2 * (BINS - 1)).astype(np.int64)
    return np.stack([np.bincount(place[wrong == kind], minlength=BINS) for kind in (False, True)])


def average_precision(right: NDArray[Any], wrong: NDArray[Any]) -> float | None:
    """Return the average precision from histograms of a score, ascending; pixels of one bin come together.

    Example:
        >>> average_precision(np.array([2, 0]), np.array([0, 2])), average_precision(np.array([2]), np.array([2]))
        (1.0, 0.5)
    """
    if not wrong.sum():
        return None
    hits, taken = np.cumsum(wrong[::-1]), np.cumsum((right + wrong)[::-1])
    return float((wrong[::-1] * hits / np.maximum(taken, 1)).sum() / wrong.sum())


def confusion(labels: Labels, truth: Labels, classes: int) -> NDArray[np.float64]:
    """Return how many pixels have each label and each true class, (L, L); what either ignores does not count.

    Example:
        >>> confusion(np.array([0, 1, 1], np.uint8), np.array([0, 1, 255], np.uint8), 2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    known = (labels != IGNORE) & (truth != IGNORE)
    flat = labels[known].astype(np.int64) * classes + truth[known]
    counts = np.bincount(flat, minlength=classes**2).astype(np.float64)
    return np.reshape(counts, (classes, classes))


def true_dsc(labels: Labels, truth: Labels, classes: int) -> float:
    """Return the DSC of a mask with its truth, mean over the foreground classes; what either ignores does not count.

    Example:
        >>> true_dsc(np.array([0, 1, 1], np.uint8), np.array([0, 1, 0], np.uint8), 2)  # 2 * 1 / (2 + 1)
        0.6666666666666666
    """
    return expected_dsc(confusion(labels, truth, classes))


def detection(histograms: NDArray[np.int64], above: NDArray[np.int64]) -> dict[str, Any]:
    """Return how well wrong pixels were told from right ones.

    Args:
        histograms: (S, 2, BINS) in the order of ``SCORES``.
        above: (2,) how many pixels are at least as probably wrong as the threshold, and how many of them are wrong.

    Returns:
        ``auroc`` and ``average_precision`` of the audit, ``precision`` at the threshold, ``pixels`` above it,
        ``wrong_pixels`` (share of all), and ``baselines``: the same two numbers of what is simpler.
    """
    found = {
        name: {"auroc": auroc(*held), "average_precision": average_precision(*held)}
        for name, held in zip(SCORES, histograms, strict=True)
        if held.sum()
    }
    right, wrong = histograms[0].sum(axis=1).tolist()
    return {
        **found.pop("audit", {"auroc": None, "average_precision": None}),
        "precision": float(above[1] / above[0]) if above[0] else None,
        "pixels_above": int(above[0]),
        "wrong_pixels": wrong / max(1, right + wrong),
        "baselines": found,
    }


def correlation(pairs: Mapping[str, tuple[float, float]] | list[tuple[float, float]]) -> float | None:
    """Return Pearson's correlation of expected and true values; None of fewer than three, or without any spread.

    Example:
        >>> correlation([(0.0, 0.1), (0.5, 0.6), (1.0, 1.1)])
        1.0
    """
    values = np.array(list(pairs.values()) if isinstance(pairs, Mapping) else pairs, np.float64)
    if len(values) < 3 or np.ptp(values[:, 0]) < 1e-9 or np.ptp(values[:, 1]) < 1e-9:
        return None
    centered = values - values.mean(axis=0)
    first, second = centered.T
    return round(float(first @ second / np.sqrt((first @ first) * (second @ second))), 6)
