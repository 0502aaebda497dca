"""What an evaluation leaves behind: means with their spread, and one line per case, as JSON and CSV.

A mean over cases and a value pooled over all pixels answer different questions (a large object dominates the
second), so both are kept, each under its own name.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from metadcseg.csv_files import csv_bytes
from metadcseg.errors import InputError
from metadcseg.files import output_folder, write_bytes
from metadcseg.metrics import (
    BACKGROUND_METRIC,
    METRICS,
    MM_METRICS,
    CaseScore,
    ClassScore,
    dice_from_counts,
    iou_from_counts,
)

_OF_CASES = (*METRICS, BACKGROUND_METRIC, *MM_METRICS)
_COUNTS = ("overlap", "predicted", "reference")


def summarize(scores: Sequence[CaseScore]) -> dict[str, Any]:
    """Return what a set of cases scores together.

    Args:
        scores: one per case, at least one, all with the same classes.

    Returns:
        Plain values, ready for JSON:

        - ``summary``: metric -> ``mean``, ``sd`` (n - 1 in the denominator; None for a single case), ``n``,
          ``median``, ``min``, ``max`` over cases, each case being the mean over its foreground classes. The
          metrics in mm are there where a case has a spacing, and ``n`` counts those cases. ``miou`` averages over the
          background, too.
        - ``per_class``: class -> the same, with ``pooled`` and the counts of empty masks of that class.
        - ``pooled``: ``dsc`` and ``iou`` from pixel counts summed over all cases, averaged over classes; ``miou``
          likewise, with the background as one more class.
        - ``empty_predictions``, ``empty_references``, ``both_empty``: how many pairs of a case and a class
          have an empty prediction, an empty reference, or both. (With one foreground class: how many cases.)
        - ``reference``: ``"truth"``, ``"label"``, or ``"mixed"`` where cases differ.

    Raises:
        InputError: without any case.

    Example:
        >>> import numpy as np
        >>> from metadcseg.metrics import score_labels
        >>> mask = np.eye(4, dtype=np.uint8)
        >>> pairs = [(mask, mask), (0 * mask, mask)]
        >>> cases = [
        ...     CaseScore(row, f"case {row}", "", "truth", score_labels(p, r, ["background", "organ"]))
        ...     for row, (p, r) in enumerate(pairs)
        ... ]
        >>> result = summarize(cases)
        >>> result["summary"]["dsc"]["mean"], result["pooled"]["dsc"], result["empty_predictions"]
        (0.5, 0.6666666666666666, 1)
    """
    if not scores:
        raise InputError("scores must hold at least one case, got none: choose a split that has cases")
    names = list(scores[0].classes)
    per_class = {name: _class_summary([case.classes[name] for case in scores]) for name in names}
    references = {case.reference for case in scores}
    return {
        "summary": _spreads((metric, [case.mean(metric) for case in scores]) for metric in _OF_CASES),
        "per_class": per_class,
        "pooled": {
            metric: fmean(entry["pooled"][metric] for entry in per_class.values())
            for metric in ("dsc", "iou")
        }
        | _pooled_with_background(scores, per_class),
        **{
            count: sum(entry[count] for entry in per_class.values())
            for count in ("empty_predictions", "empty_references", "both_empty")
        },
        "reference": references.pop() if len(references) == 1 else "mixed",
    }


def write_record(
    folder: Path, record: Mapping[str, Any], scores: Sequence[CaseScore], predictions: Mapping[str, str]
) -> None:
    """Write ``SPLIT.json`` and ``SPLIT.csv``, each whole or not at all.

    Args:
        folder: ``RUN/evaluation``; made where missing.
        record: everything that goes into the JSON file; ``record["split"]`` names both files.
        scores: one per case: the lines of the CSV file.
        predictions: id -> path of the predicted mask, relative to ``folder``.

    Raises:
        InputError: where the disk refuses; an earlier file is then still whole.
    """
    table = _table(scores, predictions)
    output_folder(folder.parent, folder.name)
    write_bytes(folder / f"{record['split']}.csv", table)
    text = json.dumps(record, indent=2, allow_nan=False) + "\n"
    write_bytes(folder / f"{record['split']}.json", text.encode())


def _pooled_with_background(
    scores: Sequence[CaseScore], per_class: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    counted = [case.background for case in scores if case.background is not None]
    if len(counted) < len(scores):
        return {}
    background = iou_from_counts(*(sum(column) for column in zip(*counted, strict=True)))
    values = [background, *(entry["pooled"]["iou"] for entry in per_class.values())]
    return {BACKGROUND_METRIC: fmean(values)}


def _class_summary(scores: Sequence[ClassScore]) -> dict[str, Any]:
    columns = ((metric, [getattr(score, metric) for score in scores]) for metric in METRICS + MM_METRICS)
    counts = [sum(getattr(score, count) for score in scores) for count in _COUNTS]
    return {
        **_spreads(columns),
        "pooled": {"dsc": dice_from_counts(*counts), "iou": iou_from_counts(*counts)},
        "empty_predictions": sum(score.predicted == 0 for score in scores),
        "empty_references": sum(score.reference == 0 for score in scores),
        "both_empty": sum(score.predicted == score.reference == 0 for score in scores),
    }


def _spreads(
    columns: Iterable[tuple[str, Sequence[float | None]]],
) -> dict[str, dict[str, float | int | None]]:
    """Describe each column by its known values; a column without any is left out."""
    known = ((metric, [value for value in column if value is not None]) for metric, column in columns)
    return {metric: _spread(values) for metric, values in known if values}


def _spread(values: Sequence[float]) -> dict[str, float | int | None]:
    return {
        "mean": fmean(values),
        "sd": stdev(values) if len(values) > 1 else None,
        "n": len(values),
        "median": median(values),
        "min": min(values),
        "max": max(values),
    }


def _table(scores: Sequence[CaseScore], predictions: Mapping[str, str]) -> bytes:
    """Return one line per case: means over its foreground classes, then every class by itself."""
    names = list(scores[0].classes)
    metrics = METRICS + MM_METRICS
    heading = ["row", "id", "group", "reference", *_OF_CASES]
    heading += [f"{name} {column}" for name in names for column in metrics + _COUNTS]
    lines: list[list[object]] = [[*heading, "prediction"]]
    for case in scores:
        values: list[object] = [case.mean(metric) for metric in _OF_CASES]
        values += [getattr(case.classes[name], column) for name in names for column in metrics + _COUNTS]
        lines.append([case.row, case.id, case.group, case.reference, *values, predictions.get(case.id, "")])
    return csv_bytes(lines)
