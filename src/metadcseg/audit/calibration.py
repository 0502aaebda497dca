"""How far an audit is to be believed: the masks that verified ones replaced, judged as if nobody had verified them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import repeat
from statistics import fmean
from typing import Any

import numpy as np
from scipy.special import betaincinv

from metadcseg.audit.judged import judge
from metadcseg.audit.probability import Labels, Maps, PairCounts, Witnesses
from metadcseg.audit.ranking import expected_dsc
from metadcseg.audit.regions import find_regions
from metadcseg.audit.scoring import true_dsc
from metadcseg.constants import IGNORE

EDGES = (0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Between which the points of the reliability curve lie."""

_BLIND = 0.5  # of the DSC of given masks, below which a network has not learned the task


@dataclass
class Calibration:
    """What the verified images say of an audit.

    Attributes:
        images: how many were judged.
        pixels: by bin of ``EDGES``, how many pixels.
        expected: likewise, the sum of their P(wrong).
        wrong: likewise, how many were really wrong.
        regions: how many regions lay above the threshold.
        really: how many of them were wrong: most of their pixels.
        residuals: expected minus true DSC of every image.
        groups: of how many volumes or patients the images are.
        given: DSC of the given with the verified mask of every image.
        network: likewise, of what the network alone draws.
    """

    images: int = 0
    pixels: list[int] = field(default_factory=lambda: [0] * (len(EDGES) - 1))
    expected: list[float] = field(default_factory=lambda: [0.0] * (len(EDGES) - 1))
    wrong: list[int] = field(default_factory=lambda: [0] * (len(EDGES) - 1))
    regions: int = 0
    really: int = 0
    residuals: list[float] = field(default_factory=list)
    groups: int = 0
    given: list[float] = field(default_factory=list)
    network: list[float] = field(default_factory=list)

    @property
    def spread(self) -> float:
        """Root mean square of expected minus true DSC; 0 without an image."""
        return float(np.sqrt(np.mean(np.square(self.residuals)))) if self.residuals else 0.0

    @property
    def interval(self) -> tuple[float, float] | None:
        """In which at 95 % the share of regions that are really wrong lies (Clopper and Pearson, 1934)."""
        return None if not self.regions else share_interval(self.really, self.regions)

    def points(self) -> list[dict[str, float]]:
        """Return the reliability curve: mean P(wrong), share that was wrong and pixels of every bin that has some."""
        return [
            {"expected": total / count, "observed": bad / count, "pixels": count}
            for count, total, bad in zip(self.pixels, self.expected, self.wrong, strict=True)
            if count
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``audit.json`` says."""
        return {
            "images": self.images,
            "regions": self.regions,
            "really_wrong": self.really,
            "interval": self.interval,
            "reliability": self.points(),
            "dsc_error": self.spread,
            "sums": asdict(self),
        }


def calibrate(
    seen: Iterable[tuple[Labels, Labels, Maps]],
    counts: PairCounts,
    groups: Sequence[str],
    witnesses: Witnesses,
    threshold: float,
    priors: Iterable[Maps | None] | None = None,
) -> Calibration:
    """Judge the given mask of every pair by a table that has not seen it.

    Slices of one volume, or images of one patient, are alike: the table has seen none of them either, where enough
    other pairs make one. Where even all other pairs make none, the pair is not judged.

    Args:
        seen: given and verified mask, (H, W), and the network's probabilities, (L, H, W), of every pair in the order of
            ``counts``.
        counts: of all pairs.
        groups: of every pair, likewise, such as its volume.
        witnesses: as they judge other masks.
        threshold: mean P(wrong) from which a region is flagged.
        priors: what tables of annotators that have not seen the pair say of it, likewise; None: nobody is known.
    """
    found, judged_groups = Calibration(), set[str]()
    told = repeat(None) if priors is None else iter(priors)
    for number, (given, verified, network) in enumerate(seen):
        prior = next(told)
        table = counts.only([group != groups[number] for group in groups]).table()
        if table is None:
            table = counts.only([other != number for other in range(len(groups))]).table()
        if table is None:
            continue
        judged_groups.add(groups[number])
        others = Witnesses(table, witnesses.log_odds)
        known = (given != IGNORE) & (verified != IGNORE)
        hidden = np.where(known, given, IGNORE).astype(np.uint8)[None]
        judged = judge(others, hidden, [network], [prior])
        error = (given != verified)[None]
        bins = np.digitize(judged.wrong, EDGES[1:-1])
        for place in range(len(EDGES) - 1):
            inside = known[None] & (bins == place)
            found.pixels[place] += int(inside.sum())
            found.expected[place] += float(judged.wrong[inside].sum(dtype=np.float64))
            found.wrong[place] += int(error[inside].sum())
        numbers, regions = find_regions(hidden, judged.proposed, judged.wrong)
        for region in regions:
            if region.probability >= threshold:
                found.regions += 1
                found.really += int(error[numbers == region.number].mean() > 0.5)
        true = true_dsc(hidden[0], verified, len(network))
        found.residuals.append(expected_dsc(judged.counts, judged.highest) - true)
        found.given.append(true)
        found.network.append(true_dsc(judged.network[0], verified, len(network)))
        found.images += 1
    found.groups = len(judged_groups)
    return found


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
