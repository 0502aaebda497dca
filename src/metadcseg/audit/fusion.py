"""What several outlines of one image say together, and how far they say it independently of each other.

Each annotator's table gives P_j(true = r | given, distance). Together

    F(r) ~ prod_j P_j(r) ^ w,    w = 1 / (1 + (n - 1) rho),

over the n annotators who decided a pixel. With rho = 0 they are independent witnesses and their odds multiply. With
rho = 1 F is the geometric mean: seven who err together are no surer than one. It is the logarithmic opinion pool
(Genest and Zidek, Statistical Science 1(1), 1986); n w is the effective number of annotators (the design effect:
Kish, Survey Sampling, 1965). rho is chosen on pairs that the tables have not seen.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.methods.calibrated.shares import LARGEST, RATE
from metadcseg.methods.pair_table import LEAST

Labels = NDArray[np.uint8]
Maps = NDArray[np.float32]

DEPENDENCE = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
"""Values of rho of which one is chosen."""

_ROUNDS = 60  # of matching, after which no share moves by a thousandth
_TINY = 1e-6


def fuse(posteriors: Maps, decided: NDArray[np.bool_], dependence: float) -> Maps:
    """Return F, the probability of each class by all annotators together, (L, H, W) float32.

    Args:
        posteriors: P_j, (A, L, H, W), at least ``LEAST`` is counted.
        decided: (A, H, W), False where an annotator left a pixel open; where all did, F is uniform.
        dependence: rho, from 0 to 1.

    Where all who decided are certain of one class F is exactly 1.

    Example:
        >>> one = np.array([0.2, 0.8], np.float32).reshape(1, 2, 1, 1)
        >>> seven, known = np.repeat(one, 7, axis=0), np.ones((7, 1, 1), bool)
        >>> fuse(seven, known, 1.0)[1].item()  # seven who say the same because they err alike
        0.800000011920929
        >>> round(fuse(seven, known, 0.0)[1].item(), 5)
        0.99994
    """
    count = decided.sum(axis=0)
    weight = 1 / (1 + np.maximum(count - 1, 0) * dependence)
    spoken = np.where(decided[:, None], np.log(np.maximum(posteriors, LEAST)), 0.0).sum(axis=0)
    scores = np.exp(weight * (spoken - spoken.max(axis=0)))
    found: Maps = (scores / scores.sum(axis=0)).astype(np.float32)
    sure = np.where(decided[:, None], posteriors, 1).min(axis=0) == 1
    told = sure.any(axis=0) & (count > 0)
    found[:, told] = sure[:, told]
    return found


def log_loss(found: Maps, verified: Labels) -> float:
    """Return the mean of -log F(true class) over the pixels that are verified.

    Args:
        found: F, (L, H, W), at least ``LEAST`` is counted.
        verified: (H, W) class numbers, or ``IGNORE``; at least one pixel is known.

    Example:
        >>> round(log_loss(np.full((2, 1, 2), 0.5, np.float32), np.array([[1, IGNORE]], np.uint8)), 4)
        0.6931
    """
    known = verified != IGNORE
    told = np.take_along_axis(found[:, known], verified[known][None].astype(np.int64), axis=0)
    return float(-np.log(np.maximum(told, LEAST)).mean(dtype=np.float64))


def chosen_dependence(losses: Sequence[Sequence[float]]) -> float:
    """Return the largest rho whose loss is no more than one standard error above the least.

    Args:
        losses: of each image that the tables have not seen, by ``DEPENDENCE``. Of fewer than two rho is 1: nobody
            knows, so nobody is surer for having company.

    Example:
        >>> chosen_dependence([]), chosen_dependence([[0.1, 0.1, 0.1, 0.2, 0.3, 0.3, 0.3, 0.4]] * 3)
        (1.0, 0.1)
    """
    if len(losses) < 2:
        return 1.0
    held = np.array(losses)
    best = int(held.mean(axis=0).argmin())
    excess = held - held[:, [best]]
    error = excess.std(axis=0, ddof=1) / np.sqrt(len(held))
    return max(rho for rho, ok in zip(DEPENDENCE, excess.mean(axis=0) <= error, strict=True) if ok)


def with_network(prior: Maps, given: Labels, network: Maps, log_odds: NDArray[Any] | None = None) -> Maps:
    """Return P(true class) by all outlines and a network, (L, ...) float32; where the prior is certain it stays.

    As :func:`.pair_table.class_posterior` has it, with F in place of a table: P(r) ~ F(r) q_r exp(o(c, r)).

    Args:
        prior: F, (L, ...).
        given: c, (...) the fused label, or ``IGNORE``, where the most probable class stands for it.
        network: q, (L, ...), at least ``LEAST`` is counted.
        log_odds: o, (L, L), the correction of the network's say; None: 0.

    Example:
        >>> prior, said = np.float32([[0.25], [0.75]]), np.float32([[0.75], [0.25]])
        >>> with_network(prior, np.zeros(1, np.uint8), said).tolist()
        [[0.5], [0.5]]
    """
    scores = prior * np.maximum(network, LEAST)
    if log_odds is not None:
        own = np.where(given == IGNORE, prior.argmax(axis=0), given)
        scores = scores * np.moveaxis(np.exp(log_odds)[own], -1, 0)
    found = scores / np.maximum(scores.sum(axis=0), np.finfo(np.float32).tiny)
    joined: Maps = np.where(prior.max(axis=0) == 1, prior, found).astype(np.float32)
    return joined


def matched_odds(priors: Maps, given: Labels, network: Maps) -> NDArray[np.float64]:
    """Return o, (L, L): with it the network doubts on average as much as the outlines do (:mod:`.shares`).

    Args:
        priors: F of some pixels, (L, P).
        given: their fused label, (P,), or ``IGNORE``, which is left out.
        network: q, (L, P).

    Example:
        >>> priors, said = np.full((2, 4), 0.5, np.float32), np.float32([[0.1, 0.1, 0.1, 0.8], [0.9, 0.9, 0.9, 0.2]])
        >>> given = np.ones(4, np.uint8)
        >>> odds = matched_odds(priors, given, said)
        >>> round(float(with_network(priors, given, said, odds)[0].mean()), 2)  # half is doubted, as before
        0.5
    """
    classes = len(priors)
    odds: NDArray[np.float64] = np.zeros((classes, classes))
    for c in range(classes):
        chosen = given == c
        if not chosen.any():
            continue
        prior, said, own = priors[:, chosen], network[:, chosen], given[chosen]
        wanted = prior.mean(axis=1, dtype=np.float64)
        asked = (wanted > 0) & (np.arange(classes) != c)
        for _ in range(_ROUNDS):
            got = with_network(prior, own, said, odds).mean(axis=1, dtype=np.float64)
            step = RATE * (_logit(wanted) - _logit(got))
            odds[c, asked] = np.clip(odds[c] + step, -LARGEST, LARGEST)[asked]
    return odds


def _logit(share: NDArray[np.float64]) -> NDArray[np.float64]:
    held = np.clip(share, _TINY, 1 - _TINY)
    odds: NDArray[np.float64] = np.log(held / (1 - held))
    return odds
