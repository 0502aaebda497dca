"""What the head of the review page says of the whole audit, as plain values."""

from dataclasses import dataclass

from metadcseg.errors import InputError


@dataclass(frozen=True)
class CalibrationPoint:
    """Pixels of gold pairs whose given label is wrong with about the same probability, and how many really are.

    Args:
        predicted: their mean P(wrong), from 0 to 1.
        observed: the share of them that is wrong by the verified mask, from 0 to 1.
        low: lower limit of that share at 95 %; None where it is not known.
        high: upper limit.
        pixels: how many they are.
    """

    predicted: float
    observed: float
    low: float | None = None
    high: float | None = None
    pixels: int = 0


@dataclass(frozen=True)
class SummaryTable:
    """A table of the summary; the first column holds the names of the rows.

    Args:
        title: heading.
        columns: heading of every column.
        rows: cells as they are shown, as many in each row as there are columns.

    Raises:
        InputError: for a row of another length.

    Example:
        >>> SummaryTable("By kind", ("kind", "regions"), (("missing", "3"),)).rows
        (('missing', '3'),)
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InputError(
                    f"table {self.title!r}: every row must have {len(self.columns)} cells, got {len(row)}"
                )


@dataclass(frozen=True)
class PageSummary:
    """What the head of the page says.

    Args:
        sentences: the diagnosis; the first is shown larger.
        threshold: a region is flagged from this probability on, from 0 to 1.
        network: which was asked, such as ``"own EMA"`` or ``"out of fold, 5"``.
        facts: a few large figures, (value, what it counts).
        calibration: points of the reliability curve, in any order.
        tables: by kind, class, annotator, ...
        commands: what to type next, one command each, as it stands.

    Raises:
        InputError: for a threshold outside 0 to 1.

    Example:
        >>> PageSummary(("3 of 60 masks are flagged.",), 0.5, "own EMA").facts
        ()
    """

    sentences: tuple[str, ...]
    threshold: float
    network: str
    facts: tuple[tuple[str, str], ...] = ()
    calibration: tuple[CalibrationPoint, ...] = ()
    tables: tuple[SummaryTable, ...] = ()
    commands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise InputError(f"threshold must be from 0 to 1, got {self.threshold}")
