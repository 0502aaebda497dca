"""Write the report of a benchmark: one page, Markdown with its figures, and every table as CSV and LaTeX."""

import json
from collections.abc import Iterable
from contextlib import suppress
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from metadcseg.files import refuse_link
from metadcseg.report.output import as_bytes, write_output
from metadcseg.report.pictures import data_uri
from metadcseg.report.render_csv import render_csv, render_values
from metadcseg.report.render_latex import render_latex
from metadcseg.report.render_markdown import render_markdown
from metadcseg.report.sections import Report, build_report
from metadcseg.report.sheets import draw_sheet
from metadcseg.results.read_benchmark import read_benchmark
from metadcseg.results.records import read_json
from metadcseg.results.summary import BenchmarkRecord

LIST = "report.json"
"""Names the files that a report consists of."""


def write_report(folder: Path, out: Path, cases: int = 3) -> tuple[BenchmarkRecord, Report]:
    """Write ``index.html``, ``report.md``, ``tables`` and ``figures``; files of an earlier report are replaced.

    Args:
        folder: of a benchmark.
        out: of the report.
        cases: how many cases each figure of examples shows.

    Returns:
        What was read, and what is said.

    Raises:
        InputError: where the folder holds no benchmark, or the report cannot be written.
    """
    record = read_benchmark(folder)
    report = build_report(record, cases)
    files: dict[str, bytes] = {}
    for section in report.sections:
        files |= {f"figures/{plot.key}.png": plot.file for plot in section.plots}
        files |= {f"figures/{gallery.key}.png": draw_sheet(gallery) for gallery in section.galleries}
    for table in report.tables():
        files[f"tables/{table.key}.csv"] = as_bytes(render_csv(table))
        files[f"tables/{table.key}.tex"] = as_bytes(render_latex(table))
    files["tables/values.csv"] = as_bytes(render_values(record, report.tests))
    files["report.md"] = as_bytes(render_markdown(report))
    files["index.html"] = as_bytes(render_page(report))
    for name in ("tables", "figures"):
        refuse_link(out / name)  # else files would be cleared behind it
    _clear(out, files)
    files[LIST] = as_bytes(json.dumps({"format": 1, "files": sorted(files)}, indent=1) + "\n")
    for name, content in files.items():
        write_output(out, name, content)
    return record, report


def write_page(report: Report, file: Path) -> Path:
    """Write the page of a report alone.

    Raises:
        InputError: where it cannot be written.
    """
    write_output(file.parent, file.name, as_bytes(render_page(report)))
    return file


def render_page(report: Report) -> str:
    """Return the page: nothing in it is loaded from elsewhere, and everything that is text is escaped."""
    template = resources.files("metadcseg.report").joinpath("report.html.jinja").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["data_uri"] = data_uri
    return environment.from_string(template).render(report=report)


def _clear(out: Path, files: Iterable[str]) -> None:
    """Remove what an earlier report wrote and this one does not, so that no old table is taken for a new one."""
    held = read_json(out / LIST).get("files")
    for name in held if isinstance(held, list) else []:
        file = out / str(name)
        ours = len(Path(str(name)).parts) == 2 and str(name).startswith(("tables/", "figures/"))
        if ours and ".." not in str(name) and name not in files:
            with suppress(OSError):
                file.unlink()
