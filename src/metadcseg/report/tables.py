"""Tables as all formats share them: what stands in a cell, before anybody decides how it looks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metadcseg.results.paper_numbers import PaperValue

UNKNOWN = "–"
BETTER, WORSE = "↑", "↓"
YES, NO = "✓", "–"

METRICS = {
    "dsc": ("DSC", "", 3),
    "iou": ("IoU", "", 3),
    "miou": ("mIoU", "", 3),
    "hd": ("HD", "px", 1),
    "hd95": ("HD95", "px", 1),
    "hd_mm": ("HD", "mm", 1),
    "hd95_mm": ("HD95", "mm", 1),
    "nsd": ("NSD", "", 3),
}
"""Metric -> its name, unit and digits."""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        text: what is shown.
        spread: what follows it, smaller, such as a standard deviation.
        value: the number itself, None where there is none.
        sd: likewise.
        paper: the paper's number for the same, as text; empty where there is none.
        paper_value: likewise the number.
        best: whether it is the best of its column.
        mark: :data:`BETTER` or :data:`WORSE`, where a test says so.
    """

    text: str = UNKNOWN
    spread: str = ""
    value: float | None = None
    sd: float | None = None
    paper: str = ""
    paper_value: float | None = None
    best: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        name: of the row.
        cells: one for each column.
        tag: a remark beside the name.
        paper: whether all of it is the paper's.
    """

    name: str
    cells: Sequence[Cell]
    tag: str = ""
    paper: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        key: name of its files.
        title: what stands above it.
        columns: heading and unit of each column.
        rows: from top to bottom.
        groups: heading and number of columns, above the columns; none where one line of headings is enough.
        corner: heading of the names of rows.
        notes: sentences below it.
    """

    key: str
    title: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    groups: Sequence[tuple[str, int]] = ()
    corner: str = "row"
    notes: Sequence[str] = ()

    def full_columns(self) -> list[str]:
        """Return one name for each column: group, heading and unit."""
        spans = [name for name, count in self.groups for _ in range(count)] or [""] * len(self.columns)
        plain = [f"{heading} ({unit})" if unit else heading for heading, unit in self.columns]
        return [f"{group}: {name}" if group else name for group, name in zip(spans, plain, strict=True)]


def signed(value: float) -> str:
    """Return a difference with its sign.

    Example:
        >>> signed(0.0184), signed(-0.1)
        ('+0.018', '−0.100')
    """
    return f"{value:+.3f}".replace("-", "−")


def number_cell(
    held: tuple[float, float | None, int] | None,
    digits: int,
    paper: PaperValue | None = None,
    expected: int = 0,
) -> Cell:
    """Return the cell of a mean over seeds.

    Args:
        held: mean, standard deviation and number of seeds, None where nothing is known.
        digits: behind the point.
        paper: the paper's number.
        expected: number of seeds of the grid; where fewer are there, the cell says so.

    Example:
        >>> number_cell((0.9, 0.0123, 3), 3).spread, number_cell((0.9, None, 1), 3, expected=3).spread
        ('± 0.012', '1 of 3 seeds')
    """
    beside = ("", None) if paper is None else (paper_text(paper, digits + 1), paper.value)
    if held is None:
        return Cell(paper=beside[0], paper_value=beside[1])
    mean, sd, count = held
    said = [] if sd is None else [f"± {sd:.{digits}f}"]
    said += [f"{count} of {expected} seeds"] if count < expected else []
    return Cell(f"{mean:.{digits}f}", ", ".join(said), mean, sd, beside[0], beside[1])


def paper_text(paper: PaperValue, digits: int) -> str:
    """Return a number of the paper with its spread.

    Example:
        >>> paper_text(PaperValue(0.9487, 0.0065, 1), 4)
        '0.9487 ± 0.0065'
    """
    return f"{paper.value:.{digits}f}" + ("" if paper.sd is None else f" ± {paper.sd:.{digits}f}")


def paper_cell(paper: PaperValue | None, digits: int) -> Cell:
    """Return a cell that holds nothing but a number of the paper, with one digit more than ours: as it is printed."""
    if paper is None:
        return Cell(text="")
    return Cell(text="", paper=paper_text(paper, digits + 1), paper_value=paper.value)


def mark_best(rows: Sequence[Row], column: int, higher: bool, but: Sequence[str] = ()) -> list[Row]:
    """Return the rows with the best number of a column marked.

    Args:
        rows: of the table.
        column: which.
        higher: whether more is better.
        but: names of rows that do not compete.

    Example:
        >>> rows = [Row("a", [Cell("1", value=1.0)]), Row("b", [Cell("2", value=2.0)])]
        >>> [row.cells[0].best for row in mark_best(rows, 0, higher=True)]
        [False, True]
    """
    values = [
        row.cells[column].value
        for row in rows
        if row.name not in but and not row.paper and row.cells[column].value is not None
    ]
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return list(rows)
    best = max(known) if higher else min(known)
    changed = []
    for row in rows:
        cells = list(row.cells)
        if row.name not in but and not row.paper and cells[column].value == best:
            cells[column] = replace(cells[column], best=True)
        changed.append(replace(row, cells=cells))
    return changed


def lower_is_better(metric: str) -> bool:
    """Return whether a metric is a distance.

    Example:
        >>> lower_is_better("hd95_mm"), lower_is_better("dsc")
        (True, False)
    """
    return metric.startswith("hd")


def plain_cell(
    held: tuple[float, float | None, int] | None,
    digits: int,
    against: tuple[float, float | None, int] | None = None,
) -> Cell:
    """Return the cell of a mean without its spread, and by which factor it differs from another.

    Example:
        >>> plain_cell((3.0, None, 1), 1, (2.0, None, 1)).spread
        '×1.50'
    """
    if held is None:
        return Cell()
    ratio = "" if against is None or not against[0] else f"×{held[0] / against[0]:.2f}"
    return Cell(f"{held[0]:,.{digits}f}", ratio, held[0], held[1])


def paper_only(text: str, value: float) -> Cell:
    """Return a cell that holds nothing but a number of the paper, as it is shown."""
    return Cell("", paper=text, paper_value=value)
