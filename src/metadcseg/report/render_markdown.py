"""A report as Markdown: tables, and pictures as files beside it."""

import re
from collections.abc import Sequence

from metadcseg.report.sections import Report, Section
from metadcseg.report.tables import Cell, Row, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&])")
_START = re.compile(r"^(\d*)([-=.])(?=\s|$|[-=])")  # of a list or of an underlined heading


def markdown_text(text: str) -> str:
    r"""Return text that Markdown shows as it stands, on one line.

    Example:
        >>> print(markdown_text("a|b <i> [x](y) *z*"))
        a\|b \<i\> \[x\]\(y\) \*z\*
    """
    return _START.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", " ".join(text.split())))


def render_markdown(report: Report) -> str:
    """Return the whole report; pictures are taken from ``figures``, tables lie in ``tables`` as well."""
    parts = [f"# {markdown_text(report.title)}", markdown_text(report.lead)]
    parts.append(
        "\n".join(f"- {markdown_text(name)}: {markdown_text(value)}" for value, name in report.facts)
    )
    if report.failures:
        parts.append("## Failed runs")
        lines = (f"- {markdown_text(name)}: {markdown_text(why)}" for name, why in report.failures)
        parts.append("\n".join(lines))
    for section in report.sections:
        parts += _section(section)
    if report.missing:
        parts.append("## What is missing")
        parts.append("\n".join(f"- missing: {markdown_text(sentence)}" for sentence in report.missing))
    parts.append("## Made with")
    parts.append(
        "\n".join(f"- {markdown_text(name)}: {markdown_text(value)}" for name, value in report.provenance)
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(section: Section) -> list[str]:
    parts = [f"## {markdown_text(section.title)}", *map(markdown_text, section.words)]
    parts += [f"**{markdown_text(section.advice)}**"] if section.advice else []
    parts += [markdown_text(note) for note in section.shared]
    for table in (*section.tables, *section.folded):
        parts += [f"### {markdown_text(table.title)}", markdown_table(table)]
        parts += [markdown_text(note) for note in table.notes if note not in section.shared]
    for plot in section.plots:
        parts += [f"### {markdown_text(plot.title)}", f"![{markdown_text(plot.alt)}](figures/{plot.key}.png)"]
    said = ""
    for gallery in section.galleries:
        parts.append(f"### {markdown_text(gallery.title)}")
        parts.append(f"![{markdown_text(gallery.title)}](figures/{gallery.key}.png)")
        parts += [] if gallery.legend == said else [markdown_text(gallery.legend)]
        said = gallery.legend
    parts += [markdown_text(words) for words in section.after]
    return [*parts, *(f"    {line}" if command else markdown_text(line) for line, command in section.steps)]


def markdown_table(table: Table) -> str:
    """Return a table with one line of headings; the paper's numbers in italics, the best in bold."""
    head = [markdown_text(table.corner), *(markdown_text(name) for name in table.full_columns())]
    lines = [head, ["---", *["---:"] * len(table.columns)], *(_row(row) for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(row: Row) -> Sequence[str]:
    tag = f" ({markdown_text(row.tag)})" if row.tag else ""
    return [
        f"*{markdown_text(row.name)}*{tag}" if row.paper else markdown_text(row.name) + tag,
        *map(_cell, row.cells),
    ]


def _cell(cell: Cell) -> str:
    text = markdown_text(cell.text)
    shown = f"**{text}**" if cell.best and text else text
    shown += f" {markdown_text(cell.mark)}" if cell.mark else ""
    shown += f" {markdown_text(cell.spread)}" if cell.spread else ""
    paper = markdown_text(cell.paper)
    if not paper:
        return shown
    return f"{shown} *(paper: {paper})*" if shown else f"*{paper}*"
