"""``cases.csv`` and ``regions.csv``, worst first, with one line at a time in memory."""

import tempfile
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from metadcseg.audit.records import AuditedCase
from metadcseg.csv_files import csv_bytes
from metadcseg.files import atomic_file

CASE_COLUMNS = (
    *("case", "file", "expected_dsc", "low", "high", "regions", "flagged", "annotator", "group"),
    *("true_dsc", "corrected_dsc"),
)
REGION_COLUMNS = (
    *(
        "case",
        "region",
        "kind",
        "given",
        "proposed",
        "pixels",
        "size",
        "unit",
        "probability",
        "expected_wrong",
    ),
    "box",
)


class SortedLines:
    """Lines of a table that are written in the order of a number; they wait in a file, not in memory.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder, SortedLines(Path(folder)) as lines:
        ...     lines.add(2.0, ["b", 1])
        ...     lines.add(1.0, ["=a", 2])
        ...     lines.write(Path(folder, "t.csv"), ["name", "number"])
        ...     print(Path(folder, "t.csv").read_text(), end="")
        rank,name,number
        1,'=a,2
        2,b,1
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, closed by __exit__
        self._keys, self._starts = array("d"), array("q")

    def __enter__(self) -> "SortedLines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: float, cells: Sequence[object]) -> None:
        """Take a line; lines of one key stay in the order in which they came."""
        self._keys.append(key)
        self._starts.append(self._file.tell())
        self._file.write(csv_bytes([cells]))

    def write(self, path: Path, columns: Sequence[str]) -> None:
        """Write the table, whole or not at all, each line with its rank.

        Raises:
            InputError: where the disk refuses.
        """
        ends = [*self._starts[1:], self._file.tell()] if self._starts else []
        with atomic_file(path) as opened:
            opened.write(csv_bytes([["rank", *columns]]))
            for rank, place in enumerate(np.argsort(np.array(self._keys), kind="stable").tolist(), start=1):
                self._file.seek(self._starts[place])
                opened.write(f"{rank},".encode() + self._file.read(ends[place] - self._starts[place]))


def case_cells(case: AuditedCase, file: str, threshold: float) -> list[object]:
    """Return the line of a case, as ``CASE_COLUMNS`` has it."""
    flagged = sum(region.probability >= threshold for region in case.regions)
    corrected = case.corrected_dsc.get("balanced")
    return [
        *(case.id, file, _round(case.dsc), *map(_round, case.dsc_interval), len(case.regions), flagged),
        *(case.annotator, case.group, _round(case.true_dsc), _round(corrected)),
    ]


def region_cells(case: AuditedCase, classes: Sequence[str], unit: str) -> list[tuple[float, list[object]]]:
    """Return the lines of a case's regions, as ``REGION_COLUMNS`` has them, each with what they are sorted by."""
    unit = "" if case.spacing is None else unit
    return [
        (
            -region.expected_wrong,
            [
                *(case.id, region.number, region.kind, classes[region.given], classes[region.proposed]),
                *(region.pixels, _round(region.size), unit, _round(region.probability)),
                *(_round(region.expected_wrong), " ".join(f"{low}:{high}" for low, high in region.box)),
            ],
        )
        for region in case.regions
    ]


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
