"""Which cases a page shows, chosen by rule and never by hand, and how their pictures are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metadcseg.colors import GIVEN, PREDICTED, VERIFIED
from metadcseg.data.store.reader import Case, PreparedSet
from metadcseg.errors import InputError
from metadcseg.report.pictures import Labels, outlined, read_mask
from metadcseg.results.records import RunRecord


@dataclass(frozen=True)
class Picture:
    """One picture of a page.

    Args:
        link: carries the picture itself; empty where there is none.
        alt: what it shows, for those who cannot see it.
        name: heading below it.
        note: what stands beside the heading, such as a score.
    """

    link: str
    alt: str
    name: str
    note: str = ""


@dataclass(frozen=True)
class Example:
    """One test case with everybody's outline.

    Args:
        id: of the case.
        rank: by which rule it was chosen.
        pictures: the bare image, then one for each run.
    """

    id: str
    rank: str
    pictures: list[Picture]


def spread_ranks(total: int, count: int) -> list[int]:
    """Return up to ``count`` of ``total`` places, evenly spaced from first to last; one alone is the middle.

    Example:
        >>> spread_ranks(56, 4), spread_ranks(5, 1), spread_ranks(2, 4)
        ([0, 18, 37, 55], [2], [0, 1])
    """
    if count == 1 and total:
        return [total // 2]
    return sorted({round(place) for place in np.linspace(0, total - 1, min(count, total))})


def rank_name(place: int, total: int) -> str:
    """Return what a place among cases from worst to best is called.

    Example:
        >>> rank_name(0, 5), rank_name(2, 5), rank_name(4, 5)
        ('worst', 'number 3 of 5 from the worst', 'best')
    """
    return {0: "worst", total - 1: "best"}.get(place, f"number {place + 1} of {total} from the worst")


def prediction_examples(
    prepared: PreparedSet, runs: Sequence[RunRecord], count: int, missing: list[str]
) -> list[Example]:
    """Draw everybody's outlines on test cases, evenly spaced from worst to best of the first scored run."""
    known = {case.id: case for case in prepared.select("test")}
    first = next((run for run in runs if known.keys() & run.cases.keys()), None)
    if first is None:
        return []
    ranked = sorted(
        (case for case in first.cases if case in known), key=lambda case: (first.cases[case].dsc, case)
    )
    examples = []
    for place in spread_ranks(len(ranked), count):
        case = known[ranked[place]]
        examples.append(
            Example(case.id, rank_name(place, len(ranked)), _case_pictures(prepared, case, runs, missing))
        )
    return examples


def _case_pictures(
    prepared: PreparedSet, case: Case, runs: Sequence[RunRecord], missing: list[str]
) -> list[Picture]:
    try:
        reference = prepared.truth(case) if case.has_truth else prepared.label(case)
    except InputError as error:
        missing.append(f"{error}.")
        return []
    known, tint = ("verified", VERIFIED) if case.has_truth else ("given", GIVEN)
    hue = "green" if case.has_truth else "orange"
    pictures = [Picture(_draw(prepared, case, [], missing), f"test case {case.id}: the image alone", "image")]
    for run in runs:
        score = run.cases.get(case.id)
        note = "no score" if score is None else f"DSC {score.dsc:.2f}"
        link, alt = (
            "",
            f"test case {case.id}: {known} outline in {hue}, that of {run.name} in blue, {note}",
        )
        if score is not None and score.prediction is not None:
            try:
                shape = (case.height, case.width)
                mask = read_mask(score.prediction, shape, len(prepared.classes))
                link = _draw(prepared, case, [(reference, tint), (mask, PREDICTED)], missing)
            except InputError as error:
                missing.append(f"{error}.")
        pictures.append(Picture(link, alt, run.name, note))
    return pictures


def _draw(
    prepared: PreparedSet, case: Case, outlines: list[tuple[Labels, tuple[int, int, int]]], missing: list[str]
) -> str:
    try:
        return outlined(prepared.image(case), outlines)
    except InputError as error:
        missing.append(f"{error}.")
        return ""
