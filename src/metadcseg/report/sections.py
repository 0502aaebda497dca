"""What a report says, section by section, from the records of a benchmark; how it looks is decided elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from metadcseg.report.case_figures import case_galleries, fold_plots, learning_plots
from metadcseg.report.comparisons import Compared, compare_all, comparison_table
from metadcseg.report.cost_tables import cost_tables
from metadcseg.report.learned_figures import detection_table, distance_figures, map_galleries
from metadcseg.report.main_tables import families, score_tables
from metadcseg.report.pair_findings import OF_PAIRS, pair_findings
from metadcseg.report.part_tables import ablation_tables, gold_tables
from metadcseg.report.plots import Plot
from metadcseg.report.sheets import Gallery
from metadcseg.report.tables import Table
from metadcseg.report.values import set_of_paper
from metadcseg.results.records import mapping
from metadcseg.results.summary import BenchmarkRecord, Condition


@dataclass(frozen=True)
class Section:
    """One part of a report.

    Args:
        key: its anchor.
        title: of it.
        words: paragraphs before its tables and figures.
        shared: notes of all its tables, which pages show once.
        tables: in order.
        folded: tables that a page shows on demand.
        plots: in order.
        galleries: in order.
        after: paragraphs after all of that.
        advice: what to do, in a sentence, after the words.
        steps: at its end, texts and commands to be typed, each with whether it is a command.
    """

    key: str
    title: str
    words: Sequence[str] = ()
    shared: Sequence[str] = ()
    tables: Sequence[Table] = ()
    folded: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    galleries: Sequence[Gallery] = ()
    after: Sequence[str] = ()
    advice: str = ""
    steps: Sequence[tuple[str, bool]] = ()


@dataclass
class Report:
    """All that a report says.

    Args:
        title: name of the experiment.
        lead: what was done, in a sentence or two.
        facts: the few large figures under the title, value and name.
        failures: id and sentence of every task that failed, or broke the contract.
        sections: in order.
        missing: one sentence for each piece that could not be shown.
        provenance: name and value of what the numbers were made with.
        tests: of all main tables.
    """

    title: str
    lead: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    provenance: list[tuple[str, str]] = field(default_factory=list)
    tests: list[Compared] = field(default_factory=list)

    def tables(self) -> list[Table]:
        """Return all tables in order."""
        return [table for section in self.sections for table in (*section.tables, *section.folded)]


def build_report(record: BenchmarkRecord, cases: int = 3) -> Report:
    """Return what there is to say about a benchmark.

    Args:
        record: what was read.
        cases: how many cases each figure of examples shows.
    """
    missing: list[str] = []
    report = Report(record.name, _lead(record))
    report.facts = _facts(record)
    broken = (task for task in record.tasks if task.status in ("failed", "refused"))
    report.failures = [(task.id, task.error or "no reason is recorded") for task in broken]
    figures = distance_figures(record, missing)
    detection = detection_table(record)
    papers = speaks_of_paper(record)

    def title(text: str, of_paper: str) -> str:
        return f"{text} ({of_paper})" if papers else text

    report.sections = [
        _pairs(record, missing),
        *_scores(record, report.tests, title("Scores on the test cases", "tables 1 to 4")),
        _section("parts", title("What each part adds", "table 5"), ablation_tables(record)),
        _section("gold", title("How many verified masks", "table 6"), gold_tables(record)),
        Section("cases", title("Test cases", "figure 4"), galleries=case_galleries(record, cases, missing)),
        Section(
            "weights",
            title("Weights and the outline", "figure 3"),
            words=[] if detection is None else [_OF_WEIGHTS],
            tables=[] if detection is None else [detection],
            plots=[figure for figure, _ in figures],
            galleries=map_galleries(record, min(cases, 2), missing),
            after=[sentence for _, sentence in figures],
        ),
        Section("folds", title("Cross-validation", "figure 5"), plots=fold_plots(record)),
        Section("curves", "Learning curves", words=[_OF_CURVES], plots=learning_plots(record)),
        _section("cost", title("What it costs", "table 7"), cost_tables(record)),
        Section("next", "What to do next", steps=_steps(record)),
    ]
    report.sections = [section for section in report.sections if _holds(section)]
    report.missing = list(dict.fromkeys([*_absent(record, report), *record.missing, *missing]))
    report.provenance = _provenance(record)
    return report


_OF_WEIGHTS = (
    "α is the trust in the label given to a pixel, β that in what the network itself says there, γ their sum. "
    "Distances are to the outline of the label that was given, which noise has moved. The band is the standard "
    "deviation over seeds."
)
_OF_CURVES = "The epoch that is scored is the one that did best on the validation cases; the test cases choose nothing."


def speaks_of_paper(record: BenchmarkRecord) -> bool:
    """Return whether any of the sets is one of the paper's: else a report does not name the paper's tables."""
    names = {condition.set for condition in record.conditions()}
    return any(set_of_paper(record, name) is not None for name in names)


def _pairs(record: BenchmarkRecord, missing: list[str]) -> Section:
    told = pair_findings(record, missing)
    return Section(
        "pairs",
        "How the masks are wrong",
        words=[*told.words, OF_PAIRS] if told.words or told.tables else [],
        tables=told.tables,
        plots=told.plots,
        galleries=told.galleries,
        advice=told.advice,
    )


def _steps(record: BenchmarkRecord) -> list[tuple[str, bool]]:
    """Return what the grid says is to be done next; a line that begins with the name of the program is a command."""
    held = record.grid.get("next")
    lines = [str(line) for line in held] if isinstance(held, list) else []
    return [(line, line.startswith("metadcseg ")) for line in lines]


def _section(key: str, title: str, tables: Sequence[Table]) -> Section:
    return Section(key, title, shared=_shared(tables), tables=tables)


def _shared(tables: Sequence[Table]) -> list[str]:
    """Return the notes that all of several tables have."""
    if len(tables) < 2:
        return []
    return [note for note in tables[0].notes if all(note in table.notes for table in tables)]


def _holds(section: Section) -> bool:
    return bool(section.tables or section.plots or section.galleries or section.steps)


def _scores(record: BenchmarkRecord, collected: list[Compared], title: str) -> list[Section]:
    """Return the main tables; those of their tests are shown on demand, but that of a single one with a sentence."""
    tables, folded = [], []
    for conditions in families(record):
        if not any(task.done for task in record.tasks if task.condition in conditions):
            continue
        tests = compare_all(record, conditions)
        made = score_tables(record, conditions, tests)
        tables += made
        held = comparison_table(made[0], record, tests)
        folded += [] if held is None else [held]
        collected += tests
    after = []
    if len(record.conditions()) == 1:
        tables, folded = [*tables, *folded], []
        after = [each.sentence for each in collected if not record.upper_bound(each.row)]
    return [Section("scores", title, shared=_shared(tables), tables=tables, folded=folded, after=after)]


def _lead(record: BenchmarkRecord) -> str:
    counts, total = record.counts(), len(record.tasks)
    said = [f"{counts['done']} of {total} runs are done"]
    said += [f"{counts[name]} {name}" for name in ("failed", "running", "waiting") if counts[name]]
    said += [f"{counts['refused']} refused for breaking the benchmark contract"] if counts["refused"] else []
    about = str(record.grid.get("about") or "").strip()
    lead = f"{about} " if about else ""
    lead += ", ".join(said) + ". "
    if counts["failed"] + counts["refused"] + counts["running"] + counts["waiting"]:
        lead += "The tables hold those that are done. "
    if record.partial:
        lead += f"This grid leaves out rows that every table should have; its reason: {record.partial} "
    return lead.strip()


def _facts(record: BenchmarkRecord) -> list[tuple[str, str]]:
    counts = record.counts()
    conditions = record.conditions()
    facts = [
        (f"{counts['done']} / {len(record.tasks)}", "runs done"),
        (str(len({condition.set for condition in conditions})), "data sets"),
        (str(len(record.rows)), "rows"),
        (str(len({task.seed for task in record.tasks})), "seeds"),
    ]
    return facts if record.seconds is None else [*facts, (duration(record.seconds), "wall clock")]


def duration(seconds: float) -> str:
    """Return a time in words.

    Example:
        >>> duration(48), duration(5321), duration(90000)
        ('48 s', '1 h 29 min', '25 h 0 min')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _absent(record: BenchmarkRecord, report: Report) -> list[str]:
    """Say what this benchmark cannot show, and of the paper's sets which of its tables and figures, and why."""
    held = {section.key for section in report.sections}
    done = record.done()
    if not done:
        return ["No run is done yet, so there is nothing to show: go on with metadcseg benchmark."]
    reasons = {
        "parts": "Table 5 needs rows of one method, metadcseg or binned, that differ in its options meta, dcd or "
        "lambda_dice, and in nothing else.",
        "gold": "Table 6 needs several values of gold in the grid.",
        "weights": "Figure 3 needs a finished row whose method keeps weights, on a set with reference masks "
        "(evaluation/weights.json).",
        "cases": "Pictures of cases need the sets of the runs, and predicted masks.",
        "folds": "Figure 5 needs folds in the grid.",
        "curves": "Learning curves need metrics.jsonl of the runs.",
    }
    if not speaks_of_paper(record):
        reasons = {key: reason for key, reason in reasons.items() if key in ("cases", "curves")}
    sentences = [sentence for key, sentence in reasons.items() if key not in held]
    if not any(task.runs[0].equal_gold_baseline for task in done):
        sentences.append(
            "No finished row is plainly supervised with equal gold, so nobody can tell what a method adds to the gold "
            "masks themselves."
        )
    groups: dict[Condition, set[frozenset[str]]] = {}
    for task in done:
        if not task.folds:
            groups.setdefault(task.condition, set()).add(frozenset(task.cases()))
    sentences += [
        f"{condition.name}: the runs were not all scored on the same cases, so their means are not comparable."
        for condition, sets in groups.items()
        if len(sets) > 1
    ]
    return sentences


def _provenance(record: BenchmarkRecord) -> list[tuple[str, str]]:
    facts = [(name, str(value)) for name, value in record.machine.items()]
    if record.seconds is not None:
        facts.append(("wall clock, over all calls", duration(record.seconds)))
    versions = {str(dict(mapping(task.info, "versions"))) for task in record.done()}
    for held in sorted(versions):
        facts.append(("versions", held.strip("{}").replace("'", "")))
    for condition in record.conditions():
        hashes = {
            f"seed {task.seed}: {str(mapping(task.info, 'noise').get('hash', 'none'))[:12]}"
            for task in record.done()
            if task.condition == condition and not task.folds and not record.upper_bound(task.row)
        }
        if hashes:
            facts.append((f"noise of {condition.name}, sha256", "; ".join(sorted(hashes))))
    return facts
