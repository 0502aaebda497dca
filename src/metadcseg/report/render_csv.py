"""Tables as CSV: each as it is shown, in full digits, and all numbers of the benchmark in one long table."""

from collections.abc import Sequence

from metadcseg.csv_files import csv_rows
from metadcseg.report.comparisons import Compared
from metadcseg.report.tables import Table
from metadcseg.report.values import all_of, long_table
from metadcseg.results.summary import BenchmarkRecord

_COLUMNS = (
    *("set", "noise", "rate", "gold", "row", "metric", "mean", "sd", "seeds", "values"),
    *("paper", "paper_sd", "paper_table", "cases", "difference", "p", "p_holm"),
)


def render_csv(table: Table) -> str:
    """Return a table with a column for every number, its spread and the paper's; columns without any are left out."""
    names = [table.corner, "remark"]
    wanted: list[tuple[int, str]] = []
    for place, name in enumerate(table.full_columns()):
        cells = [row.cells[place] for row in table.rows]
        for kind, there in (
            ("", True),
            ("sd", any(cell.sd is not None for cell in cells)),
            ("paper", any(cell.paper_value is not None for cell in cells)),
        ):
            if there:
                wanted.append((place, kind))
                names.append(f"{name} {kind}".strip())
    lines: list[list[object]] = []
    for row in table.rows:
        line: list[object] = [row.name, row.tag]
        for place, kind in wanted:
            cell = row.cells[place]
            shown = cell.value if cell.value is not None else cell.text.replace("–", "").replace("−", "-")
            line.append({"": shown, "sd": cell.sd, "paper": cell.paper_value}[kind])
        lines.append(line)
    return csv_rows([names, *lines])


def render_values(record: BenchmarkRecord, tests: Sequence[Compared]) -> str:
    """Return one line for every set, noise, gold, row and metric, with the paper's number and, of DSC, the test.

    Lines over all noise and gold of a set have ``all`` for its noise, and no rate.
    """
    folded = any(condition.folds for condition in record.conditions())
    lines: list[list[object]] = []
    for value in long_table(record, tests).values():
        condition, paper, compared = value.condition, value.paper, value.test
        line: list[object] = [
            condition.set,
            condition.model,
            None if condition == all_of(condition.set) else condition.rate,
            *((condition.gold, condition.folds) if folded else (condition.gold,)),
            value.row,
            value.metric,
            *value.held,
            " ".join(f"{seed}:{score}" for seed, score in value.by_seed),
        ]
        line += [None] * 3 if paper is None else [paper.value, paper.sd, paper.table]
        if compared is None:
            line += [None] * 4
        else:
            test = compared.test
            line += [test.count, test.mean, test.p, compared.adjusted]
        lines.append(line)
    place = _COLUMNS.index("row")
    return csv_rows([[*_COLUMNS[:place], *(["folds"] if folded else []), *_COLUMNS[place:]], *lines])
