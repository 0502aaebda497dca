"""The masks that verified ones replaced, corrected as if nobody had verified them.

Where corrected masks train, pairs must show the errors of corrected masks. So each pair's replaced mask (its twin) is
judged as masks without a verified one are: by a table, a weight and a margin that have not seen this pair, nor others
of its group where there are enough. The network is asked as it is for all others: only one of ``--folds`` that was
trained without the pair has not seen the verified mask.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import compress, repeat
from pathlib import Path

import numpy as np

from metadcseg.audit.calibration import Calibration, margins_of_others
from metadcseg.audit.case_files import is_whole, write_case
from metadcseg.audit.judged import Judged, judge
from metadcseg.audit.predictors import CasePredictor
from metadcseg.audit.probability import Maps, PairCounts, Witnesses
from metadcseg.audit.ranking import dsc_interval, expected_dsc
from metadcseg.audit.records import Arrays, AuditedCase
from metadcseg.audit.regions import find_regions
from metadcseg.audit.scoring import true_dsc
from metadcseg.audit.units import Unit, paired_units
from metadcseg.audit.weight import WeightFit, tables_of_others
from metadcseg.data.store.reader import Case, PreparedSet
from metadcseg.files import output_folder

TWINS = "pairs"
"""The folder in that of an audit; it holds ``cases/NAME.npz`` of every image or volume with a pair."""


def write_twins(
    out: Path,
    prepared: PreparedSet,
    predictor: CasePredictor,
    counts: PairCounts,
    fit: WeightFit,
    calibration: Calibration,
    sure: float,
    priors: Iterable[Maps | None] | None = None,
) -> None:
    """Judge and write the twin of every pair; none where too few others are there to judge it.

    Args:
        out: the folder of the audit.
        prepared: the set.
        predictor: the network that is asked.
        counts: of all pairs.
        fit: of the network's weight on them.
        calibration: on them.
        sure: P(wrong) from which the level ``sure`` changes a pixel.
        priors: what tables of annotators that have not seen a pair say of it, in the order of the pairs.

    Raises:
        InputError: where stored bytes are damaged or the disk refuses.
    """
    if not calibration.images:
        return
    judges = _judges(counts, fit, calibration, repeat(None) if priors is None else priors)
    for unit in paired_units(prepared):
        found = [
            _judged(prepared, case, maps, *next(judges))
            for case, maps in zip(unit.cases, predictor.of(unit), strict=True)
            if case.has_given
        ]
        if len(found) == len(unit.cases):  # half a volume would be no mask
            _write(out, prepared, unit, stacked(found), calibration, sure)


def has_twins(out: Path, prepared: PreparedSet, calibration: Calibration) -> bool:
    """Return whether all that :func:`write_twins` writes is there and can be read.

    Args:
        out: the folder of the audit.
        prepared: the set.
        calibration: on its pairs.
    """
    return not calibration.images or all(
        is_whole(out / TWINS, unit.name)
        for unit in paired_units(prepared)
        if all(case.has_given for case in unit.cases)
    )


def _judges(
    counts: PairCounts, fit: WeightFit, calibration: Calibration, priors: Iterable[Maps | None]
) -> Iterator[tuple[Witnesses, float, Maps | None]]:
    """Yield for every pair who judges it, above which expected gain, and what outlines say."""
    told, shows = iter(priors), counts.shows()
    margins = margins_of_others(calibration, list(compress(fit.groups, shows)))
    for number, table in enumerate(tables_of_others(counts, fit.groups)):
        assert table is not None, "calibrated on all pairs"  # noqa: S101
        margin = next(margins) if shows[number] else calibration.margin
        yield fit.witnesses(table, without=number), margin, next(told)


def _judged(
    prepared: PreparedSet, case: Case, maps: Maps, witnesses: Witnesses, margin: float, prior: Maps | None
) -> Judged:
    given = Unit("", (case,)).given(prepared)
    return judge(witnesses, given, [maps], margin, partial(_always, prior))


def _always(prior: Maps | None, _: int) -> Maps | None:
    return prior


def stacked(slices: Sequence[Judged]) -> Judged:
    """Return what is known of a volume, of what is known of each slice."""
    first, *_ = slices
    masks = {
        name: np.concatenate([getattr(one, name) for one in slices])
        for name in ("given", "wrong", "proposed", "network", "gains")
    }
    counts, highest = first.counts, first.highest
    for one in slices[1:]:
        counts, highest = counts + one.counts, np.maximum(highest, one.highest)
    return Judged(counts=counts, highest=highest, **masks)


def _write(
    out: Path, prepared: PreparedSet, unit: Unit, judged: Judged, calibration: Calibration, sure: float
) -> None:
    numbers, regions = find_regions(judged.given, judged.proposed, judged.wrong, unit.spacing)
    corrected = judged.corrected(numbers, sure)
    truth, classes = unit.truth(prepared), len(prepared.classes)
    case = AuditedCase(
        unit.id,
        unit.name,
        "gold",
        unit.shape,
        unit.spacing,
        expected_dsc(judged.counts, judged.highest),
        dsc_interval(judged.counts, regions, calibration.spread, judged.highest),
        regions,
        unit.annotator,
        unit.group,
        true_dsc(judged.given, truth, classes),
        {str(level): true_dsc(mask, truth, classes) for level, mask in corrected.items()},
    )
    arrays = Arrays(unit.image(prepared), judged.given, judged.wrong, numbers, corrected)
    write_case(output_folder(out, TWINS), case, arrays, unit.slices)
