"""How the masks are wrong, as the pairs of their set tell: what a report begins with where there are pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

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
    "at 95 %, with images (or patients) as units, however many seeds drew their masks. An offset is positive where the "
    "given outline lies outside."
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
    """Return what the pairs show under every condition.

    Of one condition they are those of its first seed's set, told as ``diagnose`` tells that set. Of several they are
    those of all seeds together: each seed drew other masks.

    Args:
        record: of the benchmark.
        missing: gets a sentence for every set that cannot be read.
    """
    told = PairFindings()
    held = []
    conditions = record.conditions()
    for condition in conditions:
        if read := _found(record, condition, missing, only_first=len(conditions) == 1):
            found = _together(read)
            held.append((condition, list(read), found, found.diagnose()))
    for condition, seeds, found, diagnosis in held:
        said = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"
        key, title = "-".join(["pairs", *condition_key(condition)]), f"{condition.name}, {said}"
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
    record: BenchmarkRecord, condition: Condition, missing: list[str], *, only_first: bool
) -> dict[int, FoundPairs]:
    """Return seed -> pairs of its set, of all seeds or of the first; sets that are gone or have none are left out."""
    tasks = [task for task in record.tasks if task.condition == condition and task.prepared is not None]
    sets = {task.seed: task.prepared for task in sorted(tasks, key=lambda task: -task.seed)}
    found = {}
    for seed in sorted(sets)[: 1 if only_first else None]:
        prepared = sets[seed]
        if prepared is None or not prepared.exists():
            continue
        try:
            if (read := read_pairs(prepared)).pairs:
                found[seed] = read
        except InputError as error:
            missing.append(f"{error}.")
    return found


def _together(found: Mapping[int, FoundPairs]) -> FoundPairs:
    """Return the pairs of all seeds; the masks of one image that several seeds drew are of one group."""
    first = next(iter(found.values()))
    if len(found) == 1:
        return first
    places = {f"{pair.id}, seed {seed}": (held, pair) for seed, held in found.items() for pair in held.pairs}
    return replace(
        first,
        pairs=tuple(replace(pair, id=name) for name, (_, pair) in places.items()),
        verified=sum(held.verified for held in found.values()),
        load_image=lambda name: places[name][0].load_image(places[name][1].id),
    )


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
