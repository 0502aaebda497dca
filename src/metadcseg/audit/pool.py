"""Table and network as one opinion: a logarithmic pool, in which the network has a weight.

P(true = r | given c, distances, image) is proportional to  T(c, r, b_r)^(1 - w/2) q_r^w exp(o(c, r)).  T(c, c) is the
rest that the table leaves to the given class (:func:`.pair_table.class_posterior`), o(c, c) = 0. At w = 0 the pairs
speak alone. Both know how probable a class is before anything is seen. The plain product, T q, counts that twice and is
too sure, so the table has less to say the more the network has (Genest and Zidek, Statistical Science 1(1), 1986). The
log odds o keep the mean doubt at what the pairs say (:func:`match`).
"""

import numpy as np
from numpy.typing import NDArray

from metadcseg.methods.calibrated.shares import LARGEST
from metadcseg.methods.pair_table import LEAST, OWN

Maps = NDArray[np.float32]
Numbers = NDArray[np.integer]

RATE = 0.5
"""How much of what is missing a round of matching makes up for."""

ROUNDS = 40
"""After so many no share moves by a thousandth."""

_EPSILON = 1e-6


def pooled(
    table: Maps,
    given: Numbers,
    bins: Numbers,
    network: Maps | None,
    weight: float = 1.0,
    log_odds: Maps | None = None,
) -> Maps:
    """Return P(true class) of pixels, (L, P) float32; where the table has no doubt the given class has exactly 1.

    Args:
        table: T, (L, L, B), 0 where c = r.
        given: c, (P,) from 0 to L-1.
        bins: b, (L, P), of the distance to every class.
        network: q, (L, P), at least ``LEAST`` is counted; None: the pairs alone.
        weight: w, from 0 to 1; 0 is the same as no network.
        log_odds: o, (L, L); None: 0.

    Example:
        >>> table = np.zeros((2, 2, 1), np.float32)
        >>> table[1, 0] = 0.8  # of what was given 1, four of five are truly 0
        >>> given, bins = np.array([1]), np.zeros((2, 1), int)
        >>> q = np.array([[0.2], [0.8]], np.float32)  # the network says the reverse
        >>> [round(float(pooled(table, given, bins, q, weight)[0, 0]), 2) for weight in (0.0, 2 / 3, 1.0)]
        [0.8, 0.5, 0.33]
    """
    heard = network is not None and weight > 0
    power = 1 - weight / 2 if heard else 1.0
    classes, _, distances = table.shape
    flat, place = table.astype(np.float32).ravel(), given.astype(np.intp) * (classes * distances)
    doubt, kept = np.zeros(len(given), np.float32), np.ones(len(given), np.float32)
    for r in range(classes):
        share = flat.take(place + (r * distances) + bins[r])
        doubt += share
        kept *= 1 - share
    open_ = doubt > 0
    if not open_.all():  # mostly few pixels are open, and the rest is known without a network
        found = np.empty((classes, len(given)), np.float32)
        for r in range(classes):
            np.equal(given, r, out=found[r])
        if open_.any():
            place = np.flatnonzero(open_)
            said = None if network is None else network[:, place]
            found[:, place] = pooled(table, given[place], bins[:, place], said, weight, log_odds)
        return found
    lifted = np.where(table > 0, table.astype(np.float64) ** power, 0)
    if heard and log_odds is not None:
        lifted *= np.exp(log_odds.astype(np.float64))[:, :, None]
    raised = lifted.astype(np.float32).ravel()
    found = np.stack([raised.take(place + (r * distances) + bins[r]) for r in range(classes)])
    rest = np.maximum(1 - doubt, OWN * kept)
    said = np.maximum(network, LEAST) if network is not None and heard else None
    for base, exponent in ((rest, power), (said, weight)):
        if base is not None and exponent != 1:  # several times as fast as **
            np.log(base, out=base)
            base *= np.float32(exponent)
            np.exp(base, out=base)
    for r in range(classes):
        np.copyto(found[r], rest, where=given == r)
        if said is not None:
            found[r] *= said[r]
    found /= np.maximum(found.sum(axis=0), np.finfo(np.float32).tiny)
    return found


def match(table: Maps, given: Numbers, bins: Numbers, network: Maps, weight: float) -> Maps:
    """Return o, (L, L) float32: such that the mean P(true = r) over the pixels given c is that of the table alone.

    Saerens, Latinne and Decaestecker (2002) correct a classifier for shares that are known so; here for every class
    that was given. In rounds  o(c, r) += rate (logit P(c, r) - logit M(c, r)),  M the mean with o.

    Args:
        table: T, (L, L, B).
        given: c, (P,).
        bins: b, (L, P).
        network: q, (L, P).
        weight: w, above 0.

    Example:
        >>> table = np.zeros((2, 2, 1), np.float32)
        >>> table[1, 0] = 0.5
        >>> given, bins = np.ones(4, int), np.zeros((2, 4), int)
        >>> q = np.array([[0.1, 0.1, 0.1, 0.8], [0.9, 0.9, 0.9, 0.2]], np.float32)  # it sides with the labels
        >>> odds = match(table, given, bins, q, 0.5)
        >>> round(float(pooled(table, given, bins, q, 0.5, odds)[0].mean()), 2)
        0.5
    """
    classes = len(table)
    parts = [np.flatnonzero(given == c) for c in range(classes)]
    odds = np.zeros((classes, classes), np.float32)

    def means(said: Maps | None) -> NDArray[np.float64]:
        found = pooled(table, given, bins, said, weight, odds)
        shares = np.zeros((classes, classes))
        for c, part in enumerate(parts):
            shares[c] = found[:, part].mean(axis=1) if len(part) else 0
        return shares

    wanted = means(None)
    free = (wanted > 0) & ~np.eye(classes, dtype=bool)
    for _ in range(ROUNDS):
        missing = logit(wanted) - logit(means(network))
        odds = np.where(free, odds + RATE * missing, 0).clip(-LARGEST, LARGEST).astype(np.float32)
        if np.abs(missing[free]).max(initial=0) < RATE * 1e-2:
            break
    return odds


def logit(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log(s / (1 - s)) of shares s, which count as within 1e-6 of 0 and 1.

    Example:
        >>> logit(np.array([0.5, 0.75])).round(4).tolist()
        [0.0, 1.0986]
    """
    held = share.clip(_EPSILON, 1 - _EPSILON)
    found: NDArray[np.float64] = np.log(held / (1 - held))
    return found
