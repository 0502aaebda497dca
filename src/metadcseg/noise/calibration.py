"""Solve for the strength that corrupts a set of masks by the rate asked for; report what was reached.

Table 9's kernel sizes mean something at one resolution only, so a noise level is a target: the mean of
1 - DSC (eq. 20) over the set. Every trial replays the same draws with another strength (the paper's is the
kernel scale), so the rate is a step function of it, with a step wherever one kernel of one mask grows by a
pixel. Steps are small for a set of masks and large for a handful of tiny ones; a rate that falls between two
steps is refused.
"""

import zlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.errors import InputError
from metadcseg.noise.base import Draw, NoiseModel, draw_mask
from metadcseg.noise.paper import Mask, check_labels, class_rates, paint

Progress = Callable[[int, int], None]
"""Called with how much is done, of how much."""

BISECTIONS = 30
USUAL_TRIALS = 12


@dataclass(frozen=True)
class MaskRecord:
    """What noise did to one mask.

    Args:
        rates: eq. 20 of class 1 .. L-1; None for a class that the clean mask does not hold.
        vanished: foreground before, none after.
    """

    rates: tuple[float | None, ...]
    vanished: bool

    @property
    def rate(self) -> float | None:
        """The mean over the classes that the clean mask holds; None for a mask without foreground."""
        held = [rate for rate in self.rates if rate is not None]
        return sum(held) / len(held) if held else None


def compare(clean: Mask, noisy: Mask, classes: int) -> MaskRecord:
    """Measure the noise of one mask.

    Args:
        clean: (H, W) integer, class 0 .. L-1 or ``IGNORE``.
        noisy: the same shape.
        classes: L, with the background.

    Example:
        >>> compare(np.array([[0, 1, 1]]), np.array([[0, 0, 0]]), 2)
        MaskRecord(rates=(1.0,), vanished=True)
    """
    rates = class_rates(clean, noisy, classes)
    held = any(rate is not None for rate in rates)
    return MaskRecord(rates, held and not bool(np.any((noisy > 0) & (noisy < classes))))


@dataclass(frozen=True)
class NoiseReport:
    """What noise did to a set of masks.

    Args:
        target: corruption rate asked for.
        rate: mean of 1 - DSC over the masks that hold foreground; a mask of several classes counts once.
        sd: standard deviation over the masks (n - 1); 0 for a single mask.
        per_class: mean rate of class 1 .. L-1 over the masks that hold it; None where none does.
        cases: masks that hold foreground.
        empty: masks that hold none, and so have no rate.
        vanished: masks whose foreground noise deleted altogether.
        scale: strength found; what it is a scale of depends on the model (the paper's: the kernels).
        preset: name of the noise level.
        seed: of the draws.
        model: kind of noise.
    """

    target: float
    rate: float
    sd: float
    per_class: tuple[float | None, ...]
    cases: int
    empty: int
    vanished: int
    scale: float
    preset: str
    seed: int
    model: str


def report(
    records: Sequence[MaskRecord], *, target: float, model: NoiseModel, strength: float, seed: int
) -> NoiseReport:
    """Sum up the records of a set; a target of 0 means that no noise was applied.

    Raises:
        InputError: where no mask holds foreground.
    """
    rates = [record.rate for record in records if record.rate is not None]
    if not rates:
        raise InputError(_no_foreground(len(records)))
    columns = zip(*(record.rates for record in records), strict=True)
    held = [[rate for rate in column if rate is not None] for column in columns]
    return NoiseReport(
        target=target,
        rate=float(np.mean(rates)),
        sd=float(np.std(rates, ddof=1)) if len(rates) > 1 else 0.0,
        per_class=tuple(float(np.mean(column)) if column else None for column in held),
        cases=len(rates),
        empty=len(records) - len(rates),
        vanished=sum(record.vanished for record in records),
        scale=strength,
        preset=model.preset if target else "none",
        seed=seed,
        model=model.name,
    )


@dataclass(frozen=True)
class Calibration:
    """The strength found for a set.

    Args:
        strength: to be handed to :func:`metadcseg.noise.base.corrupt`.
        target: corruption rate asked for.
        rate: corruption rate reached.
        trials: how many strengths were tried.
    """

    strength: float
    target: float
    rate: float
    trials: int


def calibrate(
    masks: Iterable[Mask],
    image_ids: Sequence[str],
    model: NoiseModel,
    target: float,
    seed: int,
    *,
    classes: int = 2,
    tolerance: float = 0.01,
    progress: Progress | None = None,
) -> Calibration:
    """Find the strength at which the mean corruption rate of a set meets a target.

    The masks are read once and kept packed. Bisection runs on until the rate is within a tenth of the
    tolerance, as that costs little; the tolerance itself decides what is refused.

    Args:
        masks: (H, W) integer each; class 0 .. L-1 or ``IGNORE``. Masks without foreground do not count.
        image_ids: the masks' names, in the same order: draws come from (seed, id).
        model: the kind of noise.
        target: mean of 1 - DSC, between 0 and 1 (exclusive).
        seed: of the draws.
        classes: L, with the background.
        tolerance: how far from the target the rate may be.
        progress: called now and then with (done, total).

    Raises:
        InputError: where the target cannot be reached (the sentence says which rates can), no mask holds
            foreground, or a mask holds a class beyond L-1.

    Example:
        >>> from metadcseg.noise.systematic import Over
        >>> disc = np.add.outer(np.arange(-32, 32) ** 2, np.arange(-32, 32) ** 2) < 18**2
        >>> masks = [disc.astype(np.uint8)] * 20
        >>> found = calibrate(masks, [str(i) for i in range(20)], Over(), target=0.4, seed=0)
        >>> abs(found.rate - 0.4) <= 0.01
        True
    """
    if not 0.0 < target < 1.0:
        raise InputError(f"the corruption rate to calibrate to must lie between 0 and 1, got {target}")
    tell = progress or (lambda done, total: None)
    count = len(image_ids)
    rehearsals = []
    for done, (mask, image_id) in enumerate(zip(masks, image_ids, strict=True), start=1):
        rehearsal = _Rehearsal.of(mask, draw_mask(model, seed, image_id, classes), model)
        if rehearsal is not None:
            rehearsals.append(rehearsal)
        tell(done, 2 * count)
    if not rehearsals:
        raise InputError(_no_foreground(count))

    tried: dict[float, float] = {}

    def rate_at(strength: float) -> float:
        if strength not in tried:
            tried[strength] = sum(rehearsal.rate(strength) for rehearsal in rehearsals) / len(rehearsals)
            tell(count + count * min(len(tried), USUAL_TRIALS) // USUAL_TRIALS, 2 * count)
        return tried[strength]

    limit = model.limit(max(max(rehearsal.shape) for rehearsal in rehearsals))
    _bisect(rate_at, tried, target, tolerance / 10.0, limit)
    strength, rate = min(tried.items(), key=lambda trial: abs(trial[1] - target))
    if abs(rate - target) > tolerance:
        ends = [rate_at(0.0), rate_at(limit)]
        raise InputError(_unreachable(target, len(rehearsals), sorted([*tried.values(), *ends]), model.name))
    tell(2 * count, 2 * count)
    return Calibration(strength, target, rate, len(tried))


def _bisect(
    rate_at: Callable[[float], float], tried: dict[float, float], target: float, near: float, limit: float
) -> None:
    """Try strengths around the crossing of the target, until one is near or the trials are used up."""
    low, high = 0.0, min(1.0, limit)
    while rate_at(high) < target and high < limit:
        low, high = high, min(2.0 * high, limit)
    if rate_at(high) < target:
        return
    for _ in range(BISECTIONS):
        if min(abs(rate - target) for rate in tried.values()) <= near:
            return
        middle = (low + high) / 2.0
        if rate_at(middle) < target:
            low = middle
        else:
            high = middle


class _Rehearsal:
    """One mask, prepared as drawn and kept packed, ready to be corrupted at any strength."""

    def __init__(self, mask: Mask, draws: Sequence[Draw], model: NoiseModel) -> None:
        self.shape = mask.shape
        self._model = model
        self._draws = draws
        self._clean = _Packed(mask)
        self._prepared = [
            tuple(_Packed(part) for part in model.prepare(mask, value, one))
            for value, one in enumerate(draws, start=1)
        ]
        self._known: dict[tuple[Hashable, ...], float] = {}

    @classmethod
    def of(cls, mask: Mask, draws: Sequence[Draw], model: NoiseModel) -> "_Rehearsal | None":
        """Prepare a mask; None where it holds no foreground."""
        check_labels(mask, len(draws) + 1)
        if not any(np.any(mask == value) for value in range(1, len(draws) + 1)):
            return None
        return cls(mask, draws, model)

    def rate(self, strength: float) -> float:
        """Return the corruption rate at a strength; what was met before (a kernel size, say) costs nothing."""
        steps = tuple(self._model.step(one, strength) for one in self._draws)
        if steps not in self._known:
            self._known[steps] = self._measure(strength)
        return self._known[steps]

    def _measure(self, strength: float) -> float:
        clean = self._clean.unpack()
        regions = [
            self._model.apply(tuple(part.unpack() for part in parts), one, strength)
            for parts, one in zip(self._prepared, self._draws, strict=True)
        ]
        rates = class_rates(clean, paint(regions, clean), len(self._draws) + 1)
        held = [rate for rate in rates if rate is not None]
        return sum(held) / len(held)


class _Packed:
    """An array in little memory: thousands of masks are rehearsed together."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._shape, self._dtype = array.shape, array.dtype
        self._data = zlib.compress(array.tobytes(), 1)

    def unpack(self) -> NDArray[Any]:
        return np.frombuffer(zlib.decompress(self._data), self._dtype).reshape(self._shape)


def _no_foreground(count: int) -> str:
    return f"none of the {count} masks to be corrupted holds foreground; noise needs masks that have some"


def _unreachable(target: float, count: int, rates: list[float], model: str) -> str:
    """Say which rates can be reached; ``rates`` are all that were tried, rising."""
    start = f"a corruption rate of {target:g} cannot be reached with these {count} masks: "
    if rates[0] <= target <= rates[-1]:
        below = max(rate for rate in rates if rate <= target)
        above = min(rate for rate in rates if rate >= target)
        return f"{start}the nearest rates that can are {below:.3f} and {above:.3f}; ask for one of them"
    other = ""
    if model == "paper" and target < rates[0]:
        other = "; the noise model paper-centred, which rotates every class about its own center, often starts lower"
    return f"{start}rates from {rates[0]:.2f} to {rates[-1]:.2f} can; ask for one of those{other}"
