"""What several outlines of one image say together, and how far they say it independently of each other.

Each annotator's table gives P_j(true = r | given, distance). Together

    F(r) ~ prod_j P_j(r) ^ w_j,    w_j = (p_j / sum p) n / (1 + (n - 1) rho),    n = (sum p)^2 / sum p^2,

over the annotators who decided a pixel. p_j is the inverse of the log loss of P_j alone. Where all try to draw one
outline and miss it by a normal error of spread s_j, odds are as steep as 1 / s_j; the best mean weighs them by 1 / s_j
once more. n is how many annotators count. With rho = 0 their odds multiply; with rho = 1 F is a geometric mean:
seven who err together are no surer than one. It is the logarithmic opinion pool (Genest and Zidek, Statistical Science
1(1), 1986); n / (1 + (n - 1) rho) is the effective number of annotators (the design effect: Kish, Survey Sampling,
1965). p and rho come from verified images that the tables have not seen.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit.pool import RATE, ROUNDS, logit
from metadcseg.constants import IGNORE
from metadcseg.methods.calibrated.shares import LARGEST
from metadcseg.methods.pair_table import LEAST

Labels = NDArray[np.uint8]
Maps = NDArray[np.float32]

DEPENDENCE = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
"""Values of rho of which one is chosen."""


def fuse(
    posteriors: Maps, decided: NDArray[np.bool_], dependence: float, precisions: Sequence[float] | None = None
) -> Maps:
    """Return F, the probability of each class by all annotators together, (L, H, W) float32.

    Args:
        posteriors: P_j, (A, L, H, W), at least ``LEAST`` is counted.
        decided: (A, H, W), False where an annotator left a pixel open; where all did, F is uniform.
        dependence: rho, from 0 to 1.
        precisions: p_j, (A,), above 0; None: all alike.

    Where all who decided are certain of one class F is exactly 1.

    Example:
        >>> one = np.array([0.2, 0.8], np.float32).reshape(1, 2, 1, 1)
        >>> seven, known = np.repeat(one, 7, axis=0), np.ones((7, 1, 1), bool)
        >>> round(fuse(seven, known, 1.0)[1].item(), 5)  # seven who say the same because they err alike
        0.8
        >>> round(fuse(seven, known, 0.0)[1].item(), 5)
        0.99994
    """
    p = np.ones(len(posteriors)) if precisions is None else np.array(precisions, np.float64)
    part = np.where(decided, p[:, None, None], 0.0)
    whole = np.maximum(part.sum(axis=0), np.finfo(np.float64).tiny)
    count = whole**2 / np.maximum((part**2).sum(axis=0), np.finfo(np.float64).tiny)
    weight = (part / whole * effective(count, dependence)).astype(np.float32)
    spoken = (weight[:, None] * np.log(np.maximum(posteriors, LEAST))).sum(axis=0)
    scores = np.exp(spoken - spoken.max(axis=0))
    found: Maps = (scores / scores.sum(axis=0)).astype(np.float32)
    sure = np.where(decided[:, None], posteriors, 1).min(axis=0) == 1
    told = sure.any(axis=0) & decided.any(axis=0)
    found[:, told] = sure[:, told]
    return found


def effective(count: Any, dependence: float) -> Any:
    """Return how many independent annotators n are worth: n / (1 + (n - 1) rho), at least n = 1.

    Example:
        >>> float(effective(7, 1.0)), float(effective(7, 0.0))
        (1.0, 7.0)
    """
    return count / (1 + np.maximum(count - 1, 0) * dependence)


def log_loss(found: Maps, verified: Labels, least: float = LEAST) -> float:
    """Return the mean of -log F(true class) over the pixels that are verified.

    Args:
        found: F, (L, ...).
        verified: (...) class numbers, or ``IGNORE``; at least one pixel is known.
        least: the least probability that is counted.

    Example:
        >>> round(log_loss(np.full((2, 1, 2), 0.5, np.float32), np.array([[1, IGNORE]], np.uint8)), 4)
        0.6931
    """
    known = verified != IGNORE
    told = np.take_along_axis(found[:, known], verified[known][None].astype(np.int64), axis=0)
    return float(-np.log(np.maximum(told, least)).mean(dtype=np.float64))


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
    return max(rho for rho, near in zip(DEPENDENCE, near_best(np.array(losses)), strict=True) if near)


def near_best(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which choices are as good as the best, (W,): those whose mean excess is within one standard error.

    Args:
        losses: (K, W) of each of K cases by each choice; of one case the error is 0.

    Example:
        >>> near_best(np.array([[0.1, 0.2, 0.3], [0.2, 0.1, 0.4], [0.1, 0.1, 0.2]])).tolist()
        [True, True, False]
    """
    best = int(losses.mean(axis=0).argmin())
    excess = losses - losses[:, [best]]
    count = len(losses)
    error = excess.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(losses.shape[1])
    near: NDArray[np.bool_] = excess.mean(axis=0) <= error + 1e-9
    return near


def with_network(
    prior: Maps, given: Labels, network: Maps, weight: float = 1.0, log_odds: NDArray[Any] | None = None
) -> Maps:
    """Return P(true class) by all outlines and a network, (L, ...) float32; where the prior is certain it stays.

    As :mod:`.pool` has it, with F in place of a table: P(r) ~ F(r)^(1 - w/2) q_r^w exp(o(c, r)).

    Args:
        prior: F, (L, ...).
        given: c, (...) the fused label, or ``IGNORE``, where the most probable class stands for it.
        network: q, (L, ...), at least ``LEAST`` is counted.
        weight: w, from 0 to 1; 0: the network is not heard.
        log_odds: o, (L, L), the correction of the network's say; None: 0.

    Example:
        >>> prior, said = np.float32([[0.2], [0.8]]), np.float32([[0.8], [0.2]])
        >>> with_network(prior, np.zeros(1, np.uint8), said, 2 / 3).round(4).tolist()
        [[0.5], [0.5]]
    """
    if not weight:
        return prior
    scores = prior ** np.float32(1 - weight / 2) * np.maximum(network, LEAST) ** np.float32(weight)
    if log_odds is not None:
        own = np.where(given == IGNORE, prior.argmax(axis=0), given)
        scores = scores * np.moveaxis(np.exp(log_odds)[own], -1, 0)
    found = scores / np.maximum(scores.sum(axis=0), np.finfo(np.float32).tiny)
    joined: Maps = np.where(prior.max(axis=0) == 1, prior, found).astype(np.float32)
    return joined


def matched_odds(priors: Maps, given: Labels, network: Maps, weight: float) -> NDArray[np.float64]:
    """Return o, (L, L): with it the network doubts on average as much as the outlines do (:func:`.pool.match`).

    Args:
        priors: F of some pixels, (L, P).
        given: their fused label, (P,), or ``IGNORE``, which is left out.
        network: q, (L, P).
        weight: w.

    Example:
        >>> priors, said = np.full((2, 4), 0.5, np.float32), np.float32([[0.1, 0.1, 0.1, 0.8], [0.9, 0.9, 0.9, 0.2]])
        >>> given = np.ones(4, np.uint8)
        >>> odds = matched_odds(priors, given, said, 0.5)
        >>> round(float(with_network(priors, given, said, 0.5, odds)[0].mean()), 2)  # half is doubted, as before
        0.5
    """
    classes = len(priors)
    odds: NDArray[np.float64] = np.zeros((classes, classes))
    for c in range(classes):
        chosen = given == c
        if not chosen.any() or not weight:
            continue
        prior, said, own = priors[:, chosen], network[:, chosen], given[chosen]
        wanted = prior.mean(axis=1, dtype=np.float64)
        asked = (wanted > 0) & (np.arange(classes) != c)
        for _ in range(ROUNDS):
            got = with_network(prior, own, said, weight, odds).mean(axis=1, dtype=np.float64)
            step = RATE * (logit(wanted) - logit(got))
            odds[c, asked] = np.clip(odds[c] + step, -LARGEST, LARGEST)[asked]
            if np.abs(step[asked]).max(initial=0) < RATE * 1e-2:
                break
    return odds
