"""What an audit comes to: its counts and scores, and the sentences and tables that are shown of it."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit import who_errs
from metadcseg.audit.calibration import Calibration, sentence
from metadcseg.audit.page import CalibrationPoint, PageSummary, SummaryTable
from metadcseg.audit.records import LEVELS, AuditedCase
from metadcseg.audit.scoring import correlation, detection
from metadcseg.data.store.origin import read_origin
from metadcseg.data.store.reader import PreparedSet
from metadcseg.pairs.advice import advise
from metadcseg.pairs.statistics import Diagnosis


def summarize(
    cases: Iterable[tuple[AuditedCase, Mapping[str, NDArray[Any]]]], threshold: float
) -> dict[str, Any]:
    """Return counts, and scores where every case has a truth.

    Args:
        cases: each with the ``detection`` and ``above`` that it was stored with.
        threshold: mean P(wrong) of a region from which it is flagged.

    Returns:
        ``cases``, ``regions``, ``flagged``, ``kinds``, ``like_given`` (masks written as they were given),
        ``expected`` (``dsc.mean`` and its ``correlation`` with the true
        one) and, where there is truth, ``detection``, ``given`` (``dsc.mean``) and ``corrected`` (``dsc.mean`` of the
        level ``balanced``, ``dsc.levels``, and ``worse``: cases whose DSC fell).
    """
    count = regions = flagged = like = 0
    kinds: Counter[str] = Counter()
    expected: list[float] = []
    pairs: list[tuple[float, float]] = []
    corrected: dict[str, list[float]] = {level: [] for level in LEVELS}
    histograms: NDArray[Any] | None = None
    above = np.zeros(2, np.int64)
    for case, more in cases:
        count += 1
        regions += len(case.regions)
        flagged += any(region.probability >= threshold for region in case.regions)
        kinds.update(region.kind for region in case.regions)
        expected.append(case.dsc)
        like += bool(more["like"])
        if case.true_dsc is not None and "detection" in more:
            pairs.append((case.dsc, case.true_dsc))
            for level, value in case.corrected_dsc.items():
                corrected[level].append(value)
            histograms = more["detection"] + (0 if histograms is None else histograms)
            above += more["above"]
    found: dict[str, Any] = {
        "cases": count,
        "regions": regions,
        "flagged": flagged,
        "kinds": dict(kinds.most_common()),
        "like_given": like,
        "expected": {"dsc": {"mean": fmean(expected)}},
    }
    if histograms is None or len(pairs) < count:
        return found
    levels = {level: fmean(values) for level, values in corrected.items()}
    worse = sum(
        after < before - 1e-9 for after, (_, before) in zip(corrected["balanced"], pairs, strict=True)
    )
    found["expected"]["correlation"] = correlation(pairs)
    return {
        **found,
        "detection": detection(histograms, above),
        "given": {"dsc": {"mean": fmean(true for _, true in pairs)}},
        "corrected": {"dsc": {"mean": levels["balanced"], "levels": levels}, "worse": worse},
    }


def said_of(
    record: Mapping[str, Any],
    prepared: PreparedSet,
    diagnosis: Diagnosis | None,
    calibration: Calibration,
    seen: bool,
    pairs_seen: bool,
) -> list[str]:
    """Return what an audit says, in sentences: what was found, how the masks are wrong, how far to believe it.

    Args:
        record: of the audit.
        prepared: the set.
        diagnosis: of its pairs; None where there are too few, and the network judged alone.
        calibration: on them.
        seen: whether the network that was asked had been trained on the masks.
        pairs_seen: likewise on the verified masks of the pairs.
    """
    flagged, cases = record["flagged"], record["cases"]
    said = [
        f"{flagged} of {cases} masks {'has' if flagged == 1 else 'have'} a region that is probably wrong (threshold "
        f"{record['threshold']:g}); expected DSC with the truth {record['expected']['dsc']['mean']:.2f}."
    ]
    if diagnosis is None:
        said.append(
            "There are fewer than two verified masks with the mask that they replaced, so the network judged alone "
            "and may call wrong what it cannot do: keep the old masks of verified cases."
        )
    else:
        said.append(advise(diagnosis).sentence)
        said.append(sentence(calibration, record["threshold"], seen_in_training=pairs_seen))
        said += who_errs.said(record)
    if other := cases - record["like_given"]:
        said.append(
            f"The corrected masks of {other} of {cases} cases are PNG or NIfTI, not like the file that was given: "
            f"{_why_unlike(prepared)}."
        )
    if seen and record["split"] == "train":
        said.append("The network that was asked has been trained on these masks; --folds 5 asks others.")
    if record["split"] == "gold" and record["witnesses"] != "network alone":
        said.append(
            "The table of the pairs was counted on these very masks, so scores on them are too good: the sentence on "
            "verified images is not."
        )
    if "given" in record:
        said.append(
            f"DSC with the truth: given {record['given']['dsc']['mean']:.3f}, corrected "
            f"{record['corrected']['dsc']['mean']:.3f}."
        )
    return said


def _why_unlike(prepared: PreparedSet) -> str:
    """Return why some masks are not like a file that was given."""
    if read_origin(prepared.path) is None:
        return "the set does not say which it is, as one that 'metadcseg prepare' made of files does"
    return "it is gone, the label was made of several files or outlines, or its format is not written (JPEG, DICOM)"


def begun(threshold: float, network: str) -> PageSummary:
    """Return what the page says until the audit is done."""
    return PageSummary(("The audit is not finished.",), threshold, network)


def page_summary(record: Mapping[str, Any], out: Path) -> PageSummary:
    """Return the head of the review page of an audit in a folder."""
    decisions = shlex.quote(str(out / "decisions.json"))
    points = tuple(_point(point) for point in record["calibration"]["reliability"])
    tables = [
        SummaryTable("By kind", ("kind", "regions"), tuple((k, str(n)) for k, n in record["kinds"].items()))
    ]
    if "annotators" in record:
        tables.append(who_errs.shown(record))
    if "detection" in record:
        tables += [_levels(record), _detection(record["detection"])]
    return PageSummary(
        tuple(record["sentences"]),
        record["threshold"],
        record["network"],
        (
            (str(record["cases"]), "cases"),
            (str(record["flagged"]), "flagged"),
            (str(record["regions"]), "regions"),
            (f"{record['expected']['dsc']['mean']:.2f}", "expected DSC"),
        ),
        points,
        tuple(tables),
        (f"metadcseg accept {decisions} --out corrected_folder",),
    )


def _point(point: Mapping[str, float]) -> CalibrationPoint:
    return CalibrationPoint(
        point["expected"], point["observed"], point["low"], point["high"], int(point["pixels"])
    )


def _levels(record: Mapping[str, Any]) -> SummaryTable:
    levels = record["corrected"]["dsc"]["levels"]
    rows = [("given", record["given"]["dsc"]["mean"]), *levels.items()]
    return SummaryTable("DSC with the truth", ("mask", "DSC"), tuple((n, f"{v:.3f}") for n, v in rows))


def _detection(found: Mapping[str, Any]) -> SummaryTable:
    rows: Sequence[tuple[str, Mapping[str, Any]]] = [("audit", found), *found["baselines"].items()]
    shown = tuple((name, _number(row["auroc"]), _number(row["average_precision"])) for name, row in rows)
    return SummaryTable("Wrong pixels found", ("by", "AUROC", "average precision"), shown)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
