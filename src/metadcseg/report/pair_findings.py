"""How the masks are wrong, as the pairs of their set tell: what a report begins with where there are pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from metadcseg.colors import GIVEN, VERIFIED, LegendEntry
from metadcseg.errors import InputError
from metadcseg.pairs.advice import advise
from metadcseg.pairs.found import FoundPairs
from metadcseg.pairs.intervals import Interval
from metadcseg.pairs.read import read_pairs
from metadcseg.pairs.sentences import sentences
from metadcseg.pairs.statistics import Diagnosis
from metadcseg.report.diagnosis import curves_of, pair_picture
from metadcseg.report.gallery import Example, spread_ranks
from metadcseg.report.part_tables import condition_key
from metadcseg.report.plots import Plot, pair_plot
from metadcseg.report.sheets import Gallery
from metadcseg.report.tables import Cell, Row, Table
from metadcseg.results.summary import BenchmarkRecord, Condition

_ROLES = (LegendEntry("verified", VERIFIED), LegendEntry("given", GIVEN))
OUTLINES = "Green: verified, orange: as it was given. Pairs evenly spaced by their DSC, so that nobody chose."
_SHOWN = 5
OF_PAIRS = (
    "A pair is a verified mask (gold) and the mask that it replaced. In brackets: where the mean over all masks lies, "
    "at 95 %, with images (or patients) as units. An offset is positive where the given outline lies outside."
)


@dataclass
class PairFindings:
    """What the pairs of a benchmark's sets show.

    Args:
        words: sentences, where there is one kind of noise.
        advice: what to do, likewise.
        tables: one line for each kind of noise, where there are several.
        plots: how probable a class is, by the distance to the given outline.
        galleries: some pairs, from the worst to the best.
    """

    words: list[str] = field(default_factory=list)
    advice: str = ""
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    galleries: list[Gallery] = field(default_factory=list)


def pair_findings(record: BenchmarkRecord, missing: list[str]) -> PairFindings:
    """Return what the pairs show under every condition, each on the set of its first seed.

    Args:
        record: of the benchmark.
        missing: gets a sentence for every set that cannot be read.
    """
    told = PairFindings()
    held = []
    for condition in record.conditions():
        if (read := _found(record, condition, missing)) is not None:
            held.append((condition, *read))
    for condition, seed, found, diagnosis in held:
        key, title = "-".join(["pairs", *condition_key(condition)]), f"{condition.name}, seed {seed}"
        curves = curves_of(found, diagnosis.total)
        told.plots += [pair_plot(f"{key}-curve", title, curves)] if curves else []
        ranked = sorted(
            (entry for entry in diagnosis.total.members if entry.dsc is not None),
            key=lambda entry: (entry.dsc, entry.pair.id),
        )
        chosen = [ranked[place] for place in spread_ranks(len(ranked), _SHOWN)]
        try:
            pictures = [pair_picture(found, entry) for entry in chosen]
            example = Example(title, f"{diagnosis.total.pairs} pairs, the worst first", pictures)
            told.galleries.append(Gallery(key, "Pairs", [example], OUTLINES, _ROLES))
        except InputError as error:
            missing.append(f"{error}.")
    if len(held) == 1:
        told.words, told.advice = sentences(held[0][3]), advise(held[0][3]).sentence
    elif held:
        told.tables = [_table([(condition, diagnosis) for condition, _, _, diagnosis in held])]
    return told


def _found(
    record: BenchmarkRecord, condition: Condition, missing: list[str]
) -> tuple[int, FoundPairs, Diagnosis] | None:
    """Return seed, pairs and diagnosis of the first seed's set; None where it is gone, or without pairs."""
    tasks = [task for task in record.tasks if task.condition == condition and task.prepared is not None]
    task = min(tasks, key=lambda held: held.seed, default=None)
    if task is None or task.prepared is None or not task.prepared.exists():
        return None
    try:
        found = read_pairs(task.prepared)
        return (task.seed, found, found.diagnose()) if found.pairs else None
    except InputError as error:
        missing.append(f"{error}.")
        return None


def _table(held: Sequence[tuple[Condition, Diagnosis]]) -> Table:
    in_mm = all(found.total.offset_mm is not None for _, found in held)
    rows = []
    for condition, found in held:
        total = found.total
        lengths = total.offset_mm if in_mm and total.offset_mm is not None else total.offset_px
        counts = (total.pairs, total.too_large, total.too_small, total.missing, total.invented)
        cells = [_cell(total.dsc, 2), _cell(lengths, 1), *(Cell(str(count), value=count) for count in counts)]
        rows.append(Row(condition.name, cells))
    return Table(
        key="pairs",
        title="What the verified masks replaced",
        columns=[
            ("DSC", ""),
            ("offset", "mm" if in_mm else "px"),
            *((name, "") for name in ("pairs", "too large", "too small", "missing", "invented")),
        ],
        rows=rows,
        corner="noise",
    )


def _cell(found: Interval, digits: int) -> Cell:
    if found.mean is None:
        return Cell()
    ends = (
        ""
        if found.low is None or found.high is None
        else f"[{found.low:.{digits}f}, {found.high:.{digits}f}]"
    )
    return Cell(f"{found.mean:.{digits}f}", ends, found.mean)
