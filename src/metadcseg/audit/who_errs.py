"""Who errs how: a line of each annotator on the page, in ``audit.json`` and ``annotators.csv``, and their tables."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from metadcseg.audit.annotator_tables import BOUNDS, AnnotatorTables
from metadcseg.audit.page import SummaryTable
from metadcseg.csv_files import csv_bytes
from metadcseg.files import write_bytes
from metadcseg.pairs.statistics import Diagnosis
from metadcseg.schemas import decoded

SUMMARY, TABLES = "annotators.csv", "annotator_tables.csv"

DISTANCE, ABSENT = "distance", "absent"
"""Kinds of bins: pixels by their distance to the other class, and those of images in which it was not drawn."""

_COLUMNS = (
    *("annotator", "masks", "expected_dsc", "too_much", "left_out", "pairs", "pairs_dsc", "offset_px"),
    *("too_large", "too_small", "missing", "invented"),
)


class KeptSaid(Struct):
    """What is kept of one annotator in a case: the expected DSC, and (L, L) pixels by given and true class."""

    dsc: float
    counts: list[list[float]]


class WhoErrs:
    """Adds up what is expected of each annotator, case by case.

    Args:
        tables: of the annotators.
    """

    def __init__(self, tables: AnnotatorTables) -> None:
        self._tables = tables
        self._dsc: dict[str, list[float]] = {}
        self._counts: dict[str, NDArray[np.float64]] = {}

    def add(self, told: NDArray[Any] | None) -> None:
        """Take in what was kept of a case (:meth:`.FusedCase.found`)."""
        text = "{}" if told is None else str(told)
        said = decoded(text.encode(), dict[str, KeptSaid], "what is kept of a case", "run the audit again")
        for name, kept in said.items():
            self._dsc.setdefault(name, []).append(kept.dsc)
            counts = np.array(kept.counts)
            self._counts[name] = self._counts.get(name, np.zeros_like(counts)) + counts

    def written(self, out: Path, classes: Sequence[str], diagnosis: Diagnosis) -> dict[str, Any]:
        """Write both tables, each whole or not at all, and return what ``audit.json`` says.

        Args:
            out: the folder of the audit.
            classes: of the set.
            diagnosis: of its pairs.

        Returns:
            ``dependence``, ``effective`` (how many independent annotators they are worth) and ``annotators``, by name.
            Of the audited cases: ``masks``, ``expected_dsc``, ``too_much`` (of what was drawn the share that is
            probably not there) and ``left_out`` (of what is probably there the share that was not drawn). Of the pairs
            what :meth:`.Summary.to_dict` has: ``pairs``, ``dsc``, ``offset_px`` and so on.

        Raises:
            InputError: where the disk refuses.
        """
        diagnosed = diagnosis.annotators
        rows: dict[str, dict[str, Any]] = {}
        for name in sorted({*self._dsc, *self._tables.pairs}):
            rows[name] = {
                "masks": len(self._dsc.get(name, ())),
                "expected_dsc": fmean(self._dsc[name]) if name in self._dsc else None,
                **_areas(self._counts.get(name)),
                **(diagnosed[name].to_dict() if name in diagnosed else {"pairs": 0}),
            }
        _write(out / SUMMARY, [_COLUMNS, *(_line(name, row) for name, row in rows.items())])
        header = ("annotator", "given", "true", "bin", "from_px", "to_px", "probability")
        _write(out / TABLES, [header, *self._lines(classes)])
        found: dict[str, Any] = {"dependence": self._tables.dependence, "annotators": rows}
        return found | ({"effective": self._tables.effective(sorted(self._dsc))} if self._dsc else {})

    def _lines(self, classes: Sequence[str]) -> Iterator[list[object]]:
        """Yield a line of each annotator, given and other class, and bin; the last distance has no end."""
        distances = zip((0, *BOUNDS), (*BOUNDS, None), strict=True)
        bins = [*((DISTANCE, start, end) for start, end in distances), (ABSENT, None, None)]
        for name in self._tables.pairs:
            table = self._tables.of(name)
            for c, given in enumerate(classes):
                for r, other in enumerate(classes):
                    for b, place in enumerate(bins) if r != c else ():
                        yield [name, given, other, *place, float(table[c, r, b])]


def shown(record: Mapping[str, Any]) -> SummaryTable:
    """Return the table of the page."""
    rows = tuple(
        (
            name,
            str(row["masks"]),
            _number(row["expected_dsc"]),
            _share(row["too_much"]),
            _share(row["left_out"]),
            str(row["pairs"]),
            _number(row.get("offset_px", {}).get("mean"), "+.1f"),
        )
        for name, row in record["annotators"].items()
    )
    head = (
        "annotator",
        "masks",
        "expected DSC",
        "drawn too much",
        "left out",
        "pairs",
        "outline, px outside",
    )
    return SummaryTable("By annotator", head, rows)


def said(record: Mapping[str, Any]) -> list[str]:
    """Return who is expected to be nearest to the truth and who farthest, and how far all err together."""
    known = {
        name: row["expected_dsc"]
        for name, row in record.get("annotators", {}).items()
        if row["expected_dsc"] is not None
    }
    if len(known) < 2:
        return []
    best, worst = (pick(known, key=lambda name: known[name]) for pick in (max, min))
    return [
        f"Of {len(known)} annotators {best} is expected to be nearest to the truth (DSC {known[best]:.2f}) and {worst} "
        f"farthest ({known[worst]:.2f}); together they count as {record['effective']:.1f} independent ones ({SUMMARY})."
    ]


def _line(name: str, row: Mapping[str, Any]) -> list[object]:
    means = [row[key]["mean"] if key in row else None for key in ("dsc", "offset_px")]
    return [name, *(row[key] for key in _COLUMNS[1:6]), *means, *(row.get(key) for key in _COLUMNS[8:])]


def _areas(counts: NDArray[np.float64] | None) -> dict[str, float | None]:
    if counts is None:
        return {"too_much": None, "left_out": None}
    drawn, there = counts[1:].sum(), counts[:, 1:].sum()
    return {
        "too_much": float(counts[1:, 0].sum() / drawn) if drawn else None,
        "left_out": float(counts[0, 1:].sum() / there) if there else None,
    }


def _number(value: float | None, form: str = ".2f") -> str:
    return "–" if value is None else format(value, form)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _write(path: Path, rows: Sequence[Sequence[object]]) -> None:
    rounded = ([round(cell, 6) if isinstance(cell, float) else cell for cell in row] for row in rows)
    write_bytes(path, csv_bytes(rounded))
