"""How far an audit is to be believed: the masks that verified ones replaced, judged as if nobody had verified them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import repeat
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from metadcseg.audit.judged import judge
from metadcseg.audit.margin import fit_margin
from metadcseg.audit.probability import Labels, Maps, PairCounts
from metadcseg.audit.ranking import expected_dsc
from metadcseg.audit.regions import find_regions
from metadcseg.audit.scoring import true_dsc
from metadcseg.audit.weight import WeightFit, tables_of_others
from metadcseg.constants import IGNORE

EDGES = (0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Between which the points of the reliability curve lie."""

_DRAWS, _LEVEL = 1000, 0.95  # of the bootstrap
_BLIND = 0.5  # of the DSC of given masks, below which a network has not learned the task


@dataclass
class Calibration:
    """What the verified images say of an audit.

    Attributes:
        images: how many were judged.
        clusters: of every volume or patient, or of every image where all are of one, by bin of ``EDGES``: how many
            pixels, the sum of their P(wrong), and how many were really wrong.
        regions: how many regions lay above the threshold.
        really: how many of them were wrong: most of their pixels.
        residuals: expected minus true DSC of every image.
        groups: of how many volumes or patients the images are.
        given: DSC of the given with the verified mask of every image.
        network: likewise, of what the network alone draws.
        expected_gains: by how much the corrected mask of every image was expected to be nearer the truth, as DSC.
        true_gains: likewise, how much nearer it was.
        weight: of the network beside the table.
        margin: expected gain above which a mask is corrected.
    """

    images: int = 0
    clusters: list[list[list[float]]] = field(default_factory=list)
    regions: int = 0
    really: int = 0
    residuals: list[float] = field(default_factory=list)
    groups: int = 0
    given: list[float] = field(default_factory=list)
    network: list[float] = field(default_factory=list)
    expected_gains: list[float] = field(default_factory=list)
    true_gains: list[float] = field(default_factory=list)
    weight: float | None = None
    margin: float = 0.0

    @property
    def spread(self) -> float:
        """Root mean square of expected minus true DSC; 0 without an image."""
        return float(np.sqrt(np.mean(np.square(self.residuals)))) if self.residuals else 0.0

    @property
    def interval(self) -> tuple[float, float] | None:
        """In which at 95 % the share of regions that are really wrong lies (Clopper and Pearson, 1934)."""
        return None if not self.regions else share_interval(self.really, self.regions)

    def points(self) -> list[dict[str, float]]:
        """Return the reliability curve: of every bin with pixels mean P(wrong), the share that was wrong, and how many.

        ``low`` and ``high`` limit that share at 95 %: volumes or patients, or images where all are of one, are drawn
        with replacement 1000 times, since pixels of one image are wrong together. They are 0 and 1 of a bin that only
        one of them has.
        """
        held = np.array(self.clusters, np.float64).reshape(-1, 3, len(EDGES) - 1)
        drawn = np.random.default_rng(0).multinomial(
            len(held), np.full(max(1, len(held)), 1 / max(1, len(held))), _DRAWS
        )
        found = []
        for place in range(len(EDGES) - 1):
            pixels, expected, wrong = held[:, :, place].T
            if not pixels.sum():
                continue
            low, high = 0.0, 1.0
            if (pixels > 0).sum() > 1:
                count = drawn @ pixels
                shares = (drawn @ wrong)[count > 0] / count[count > 0]
                low, high = np.quantile(shares, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]).tolist()
            total = float(pixels.sum())
            found.append(
                {
                    "expected": float(expected.sum()) / total,
                    "observed": float(wrong.sum()) / total,
                    "low": low,
                    "high": high,
                    "pixels": total,
                }
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return what ``audit.json`` says."""
        return {
            "images": self.images,
            "regions": self.regions,
            "really_wrong": self.really,
            "interval": self.interval,
            "reliability": self.points(),
            "dsc_error": self.spread,
            "network_weight": self.weight,
            "margin": self.margin,
            "sums": asdict(self),
        }


def calibrate(
    seen: Iterable[tuple[Labels, Labels, Maps]],
    counts: PairCounts,
    fit: WeightFit,
    threshold: float,
    priors: Iterable[Maps | None] | None = None,
) -> Calibration:
    """Judge the given mask of every pair by a table, a weight and a margin that have not seen it.

    Slices of one volume, or images of one patient, are alike: nothing has seen any of them either, where enough other
    pairs are there. Where even all other pairs make no table, or no pixel is known in both masks, the pair is not
    judged.

    Args:
        seen: given and verified mask, (H, W), and the network's probabilities, (L, H, W), of every pair in the order of
            ``counts``.
        counts: of all pairs.
        fit: of the network's weight, on the same pairs.
        threshold: mean P(wrong) from which a region is flagged.
        priors: what tables of annotators that have not seen the pair say of it, likewise; None: nobody is known.
    """
    told = repeat(None) if priors is None else iter(priors)
    found, groups, above = Calibration(weight=fit.weight()), list[str](), list[tuple[int, int]]()
    bins: dict[str, NDArray[np.float64]] = {}
    several, shows = len(set(fit.groups)) > 1, counts.shows()
    for number, (table, (given, verified, network)) in enumerate(
        zip(tables_of_others(counts, fit.groups), seen, strict=True)
    ):
        prior = next(told)
        if table is None or not shows[number]:
            continue
        known = (given != IGNORE) & (verified != IGNORE)
        hidden = np.where(known, given, IGNORE).astype(np.uint8)[None]
        others = fit.witnesses(table, without=number)
        judged = judge(others, hidden, [network], -np.inf, partial(_known, prior))
        error = (given != verified)[None]
        cluster = fit.groups[number] if several else str(number)
        bins[cluster] = bins.get(cluster, 0) + _by_bin(judged.wrong[known[None]], error[known[None]])
        numbers, regions = find_regions(hidden, judged.proposed, judged.wrong)
        flagged = [region.number for region in regions if region.probability >= threshold]
        above.append((len(flagged), sum(int(error[numbers == each].mean() > 0.5) for each in flagged)))
        true = true_dsc(hidden[0], verified, len(network))
        better = np.where(numbers > 0, judged.proposed, hidden)[0]
        groups.append(fit.groups[number])
        found.residuals.append(expected_dsc(judged.counts, judged.highest) - true)
        found.given.append(true)
        found.network.append(true_dsc(judged.network[0], verified, len(network)))
        found.expected_gains.append(float(judged.gains[0]))
        found.true_gains.append(true_dsc(better, verified, len(network)) - true)
    found.images, found.groups = len(groups), len(set(groups))
    found.clusters = [held.tolist() for held in bins.values()]
    found.margin = fit_margin(found.expected_gains, found.true_gains)
    for gain, margin, (regions_above, really) in zip(
        found.expected_gains, margins_of_others(found, groups), above, strict=True
    ):
        if gain > margin:
            found.regions += regions_above
            found.really += really
    return found


def _known(prior: Maps | None, _: int) -> Maps | None:
    return prior


def _by_bin(wrong: Maps, error: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return by bin of ``EDGES`` the pixels, the sum of P(wrong) and how many are wrong, (3, bins), of (P,) pixels."""
    place = np.digitize(wrong, EDGES[1:-1])
    weights = (None, wrong, error)
    return np.stack([np.bincount(place, each, minlength=len(EDGES) - 1) for each in weights]).astype(
        np.float64
    )


def margins_of_others(found: Calibration, groups: Sequence[str]) -> Iterator[float]:
    """Yield for every pair the margin as all others, and none of its group where others are left, have it.

    Args:
        found: what was counted of the pairs.
        groups: of every pair.
    """
    margins: dict[str, float] = {}
    several = len(set(groups)) > 1
    for number, group in enumerate(groups):
        if not several or group not in margins:
            kept = [
                place
                for place, other in enumerate(groups)
                if (other != group if several else place != number)
            ]
            margins[group] = fit_margin(
                [found.expected_gains[place] for place in kept], [found.true_gains[place] for place in kept]
            )
        yield margins[group]


def share_interval(hits: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share.

    Args:
        hits: at least 0.
        count: at least 1 and ``hits``.
        level: how often it holds the share.

    Example:
        >>> low, high = share_interval(9, 10)
        >>> round(low, 3), round(high, 3)
        (0.555, 0.997)
    """
    rest = (1 - level) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, count - hits + 1, rest))
    high = 1.0 if hits == count else float(betaincinv(hits + 1, count - hits, 1 - rest))
    return low, high


def sentence(found: Calibration, threshold: float, *, seen_in_training: bool) -> str:
    """Return what the verified images say, in words.

    Args:
        found: what was counted.
        threshold: as it was.
        seen_in_training: whether the network has been trained on these images.

    Example:
        >>> sentence(Calibration(images=6, regions=10, really=9), 0.7, seen_in_training=False)
        'Of the regions above 0.7, 9 of 10 were really wrong on 6 verified images [0.55 to 1.00].'
    """
    if not found.images:
        return (
            "How far this is right is not known: that takes three verified images with the masks that they replaced: "
            "verify some more."
        )
    images = f"{found.images} verified image{'' if found.images == 1 else 's'}"
    if 0 < found.groups < found.images:
        images += f" (volumes or patients: {found.groups})"
    known = " The network was trained on these images." if seen_in_training else ""
    if found.network and fmean(found.network) < _BLIND * fmean(found.given):
        known += (
            f" There its own masks have a DSC of {fmean(found.network):.2f}, given ones {fmean(found.given):.2f}: "
            "train it longer before you believe it."
        )
    if found.weight == 0:
        known += " The network tells them no better than the pairs' table alone, so it is not heard."
    if found.margin > 0:
        known += (
            f" An image or slice of which correction is expected to raise the DSC by no more than {found.margin:.2f} "
            "stays as given."
        )
    if found.interval is None:
        return f"No region above {threshold:g} on {images}.{known}"
    low, high = found.interval
    return (
        f"Of the regions above {threshold:g}, {found.really} of {found.regions} were really wrong on {images} "
        f"[{low:.2f} to {high:.2f}].{known}"
    )


def read_calibration(told: dict[str, Any]) -> Calibration:
    """Return what :meth:`Calibration.to_dict` said."""
    return Calibration(**told["sums"])
