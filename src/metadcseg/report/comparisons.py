"""Every row against plain supervision with equal gold, case by case: which differences are more than luck."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metadcseg.report.tables import BETTER, UNKNOWN, WORSE, Cell, Row, Table, signed
from metadcseg.results.significance import LEAST, LEVEL, PairedTest, holm, paired_test
from metadcseg.results.summary import BenchmarkRecord, Condition, paired_cases, paired_seeds, spread


@dataclass(frozen=True)
class Compared:
    """A row against the baseline under one condition.

    Args:
        condition: set, noise and gold.
        row: which.
        baseline: plain supervision with the same gold, network and training.
        test: case by case.
        seeds: over which each case was averaged.
        adjusted: p after Holm's correction over the table; None where there was no test.
        by_seed: the difference of the means over the test cases, for each seed that both rows have.
    """

    condition: Condition
    row: str
    baseline: str
    test: PairedTest
    seeds: int
    adjusted: float | None = None
    by_seed: tuple[float, ...] = ()

    @property
    def over_seeds(self) -> Cell:
        """Mean and standard deviation (n - 1) of the difference over seeds; of one seed its difference alone."""
        held = spread(self.by_seed)
        if held is None:
            return Cell()
        return Cell(signed(held[0]), "" if held[1] is None else f"± {held[1]:.3f}", held[0], held[1])

    @property
    def sentence(self) -> str:
        """How far the row is from the baseline, and whether that is more than the seeds and the cases differ by."""
        held = spread(self.by_seed)
        if held is None:
            return f"{self.row} and {self.baseline} have no seed in common."
        mean, sd, _ = held
        ahead = f"{self.row} is {abs(mean):.3f} DSC {'ahead of' if mean >= 0 else 'behind'} {self.baseline}"
        if sd is None:
            return f"{ahead}, in one seed: another may turn that around. Over the test cases: {self.verdict}."
        beyond = "more than one" if abs(mean) > sd else "within one"
        wins = sum(value > 0 for value in self.by_seed)
        return (
            f"{ahead} (± {sd:.3f} over {len(self.by_seed)} seeds, {beyond} standard deviation; ahead in {wins}). "
            f"Over the test cases: {self.verdict}."
        )

    @property
    def mark(self) -> str:
        """What the table shows."""
        if self.adjusted is None or self.adjusted >= LEVEL or not self.test.ranks:
            return ""
        return BETTER if self.test.ranks > 0 else WORSE

    @property
    def verdict(self) -> str:
        """What it says, in words."""
        if self.test.p is None:
            return f"too few cases, {LEAST} are needed"
        said = {BETTER: "better", WORSE: "worse", "": "no difference shown"}[self.mark]
        outlying = self.mark and self.test.mean * self.test.ranks < 0
        return f"{said}, though not on average: a few cases differ much the other way" if outlying else said


def compare_all(record: BenchmarkRecord, conditions: Sequence[Condition]) -> list[Compared]:
    """Test every row of a table against plain supervision with equal gold; Holm over all these tests."""
    found = []
    for condition in conditions:
        for row in record.rows:
            baseline = record.baseline(row)
            against = [] if baseline is None else record.of(condition, baseline)
            if baseline is None or row == baseline or not against or not record.of(condition, row):
                continue
            tasks = record.of(condition, row)
            one, other, seeds = paired_cases(tasks, against)
            test = paired_test(one, other)
            if test is not None:
                by_seed = paired_seeds(tasks, against)
                found.append(Compared(condition, row, baseline, test, seeds, by_seed=by_seed))
    tested = [each for each in found if each.test.p is not None]
    adjusted = holm([each.test.p for each in tested if each.test.p is not None])
    corrected = {id(each): p for each, p in zip(tested, adjusted, strict=True)}
    return [replace(each, adjusted=corrected.get(id(each))) for each in found]


def column_name(condition: Condition, gold: str) -> str:
    """Return what a column of a condition is called: without the gold where the title of the table has it."""
    parts = (condition.noise, "" if gold else condition.gold_name, condition.folds_name)
    return ", ".join(part for part in parts if part)


def _baselines(record: BenchmarkRecord, tests: Sequence[Compared]) -> str:
    """Return what the rows were tested against."""
    names = {each.baseline for each in tests} or {str(record.baseline())}
    if len(names) == 1:
        return f"'{names.pop()}'"
    return "plain supervision with the same gold, network and training"


def notes_of_tests(record: BenchmarkRecord, tests: Sequence[Compared]) -> list[str]:
    """Return what the marks of a table mean, or why there are none."""
    baseline = record.baseline()
    if baseline is None:
        return [
            "No finished row is plainly supervised with the gold masks mixed in (supervised, gold = mixed), so there "
            "is nothing to test against: nobody can tell what a method adds to the gold masks themselves."
        ]
    counted = sum(each.adjusted is not None for each in tests)
    if not tests:
        return [f"Nothing to test against {_baselines(record, tests)} yet.", *_untested(record)]
    if not counted:
        cases = max(each.test.count for each in tests)
        return [
            f"No significance is marked: {cases} paired cases are too few, a two-sided signed-rank test needs {LEAST} "
            f"to be able to say anything at the level of {LEVEL}.",
            *_untested(record),
        ]
    return [
        f"{BETTER} better, {WORSE} worse than {_baselines(record, tests)}: its DSC, case by case (each averaged over "
        "the seeds that both rows have; images of one patient are one case), differs by a two-sided Wilcoxon "
        f"signed-rank test with p < {LEVEL} after Holm's correction for all tests of the table. It says that the test "
        "cases did not decide; whether another seed would is what the ± says.",
        *_untested(record),
    ]


def _untested(record: BenchmarkRecord) -> list[str]:
    """Return a sentence that names rows without plain supervision of the same network beside them."""
    done = {task.row for task in record.done()}
    rows = [row for row in record.rows if row in done and not record.pipeline(row)]
    alone = [row for row in rows if record.baseline(row) is None]
    if not alone:
        return []
    return [
        "Not tested, since no finished row is plain supervision with the same gold, network and training: "
        f"{', '.join(alone)}."
    ]


def comparison_table(table: Table, record: BenchmarkRecord, tests: Sequence[Compared]) -> Table | None:
    """Return every test of a main table in numbers, None where there is none."""
    if not tests:
        return None
    rows, several = [], len({each.condition for each in tests}) > 1
    for each in tests:
        test = each.test
        p, adjusted = (UNKNOWN if value is None else _p(value) for value in (test.p, each.adjusted))
        cells = [
            Cell(column_name(each.condition, "")),
            Cell(signed(test.mean), value=test.mean),
            each.over_seeds,
            Cell(str(test.count), value=test.count),
            Cell(f"{test.better} / {test.worse}"),
            Cell(str(each.seeds), value=each.seeds),
            Cell(p, value=test.p),
            Cell(adjusted, value=each.adjusted),
            Cell(each.verdict),
        ]
        rows.append(Row(each.row, cells if several else cells[1:]))
    headings = (
        "noise",
        "DSC, mean difference",
        "over seeds",
        "cases",
        "better / worse",
        "seeds",
        "p",
        "p, Holm",
        "says",
    )
    return Table(
        key=table.key.replace("scores", "tests", 1).removesuffix("-dsc"),
        title=f"{table.title.removesuffix(': DSC')}: each row minus {_baselines(record, tests)}, case by case",
        columns=[(heading, "") for heading in headings[not several :]],
        rows=rows,
    )


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
