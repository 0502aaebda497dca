"""Tables as CSV: each as it is shown, in full digits, and all scores of the benchmark in one long table."""

import csv
import io
from collections.abc import Iterable, Sequence

from metadcseg.report.comparisons import Compared
from metadcseg.report.main_tables import paper_method, set_of_paper, shown_metrics
from metadcseg.report.tables import METRICS, Table
from metadcseg.results.paper_numbers import paper_score
from metadcseg.results.summary import BenchmarkRecord, spread

_COLUMNS = (
    *("set", "noise", "rate", "gold", "row", "metric", "mean", "sd", "seeds", "values"),
    *("paper", "paper_sd", "paper_table", "cases", "difference", "p", "p_holm"),
)


def csv_text(text: str) -> str:
    """Return text that no spreadsheet takes for a formula.

    Example:
        >>> csv_text("=1+1"), csv_text("metadcseg")
        ("'=1+1", 'metadcseg')
    """
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def render_csv(table: Table) -> str:
    """Return a table with a column for every number, its spread and the paper's; columns without any are left out."""
    names = [csv_text(table.corner), "remark"]
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
                names.append(csv_text(f"{name} {kind}".strip()))
    lines: list[list[object]] = []
    for row in table.rows:
        line: list[object] = [csv_text(row.name), csv_text(row.tag)]
        for place, kind in wanted:
            cell = row.cells[place]
            shown = (
                cell.value
                if cell.value is not None
                else csv_text(cell.text.replace("–", "").replace("−", "-"))
            )
            line.append({"": shown, "sd": cell.sd, "paper": cell.paper_value}[kind])
        lines.append(line)
    return _written(names, lines)


def render_values(record: BenchmarkRecord, tests: Sequence[Compared]) -> str:
    """Return one line for every set, noise, gold, row and metric, with the paper's number and, of DSC, the test."""
    known = {(each.condition, each.row): each for each in tests}
    folded = any(condition.folds for condition in record.conditions())
    lines: list[list[object]] = []
    for condition in record.conditions():
        paper = set_of_paper(record, condition.set)
        shown = shown_metrics(
            record, [condition], paper=True
        )  # the paper's numbers stand where the tables have them
        for row in record.rows:
            tasks = record.of(condition, row)
            method = paper_method(tasks) if tasks else None
            for metric in METRICS:
                held = spread([task.score(metric) for task in tasks])
                if held is None:
                    continue
                beside = None
                if condition.papers and metric in shown:
                    beside = paper_score(paper, method, condition.rate, metric.removesuffix("_mm"))
                test = known.get((condition, row)) if metric == "dsc" else None
                values = [
                    f"{task.seed}:{task.score(metric)}" for task in tasks if task.score(metric) is not None
                ]
                line: list[object] = [
                    *(csv_text(condition.set), csv_text(condition.model), condition.rate),
                    *((condition.gold, condition.folds) if folded else (condition.gold,)),
                    *(csv_text(row), metric, *held, " ".join(values)),
                ]
                line += [None] * 3 if beside is None else [beside.value, beside.sd, beside.table]
                line += (
                    [None] * 4
                    if test is None
                    else [test.test.count, test.test.mean, test.test.p, test.adjusted]
                )
                lines.append(line)
    place = _COLUMNS.index("row")
    return _written([*_COLUMNS[:place], *(["folds"] if folded else []), *_COLUMNS[place:]], lines)


def _written(names: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(names)
    table.writerows(lines)
    return file.getvalue()
