"""Tables as LaTeX, for ``booktabs``."""

import re
from collections.abc import Sequence

from metadcseg.report.tables import Cell, Row, Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "]": "{]}",
    "`": r"\textasciigrave{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "✓": r"$\checkmark$",
    "Δ": r"$\Delta$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "≥": r"$\geq$",
    "…": r"\dots{}",
}


def latex_text(text: str) -> str:
    r"""Return text that LaTeX prints as it stands, on one line.

    Example:
        >>> print(latex_text("50 % of a_b & $x$"))
        50 \% of a\_b \& \$x\$
    """
    plain = re.sub(r"[\x00-\x1f\x7f]", " ", " ".join(text.split()))
    return "".join(_SPECIAL.get(letter, letter) for letter in plain)


def render_latex(table: Table) -> str:
    r"""Return a ``tabular``; under each row with numbers of the paper's stands a line of these, in italics.

    It needs ``\usepackage{booktabs,amssymb,textcomp}`` and ``\usepackage[T1]{fontenc}``.
    """
    lines = [
        f"% {' '.join(latex_text(table.title).split())}",
        r"% \usepackage{booktabs,amssymb,textcomp} \usepackage[T1]{fontenc}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
    ]
    if table.groups:
        spans = [rf"\multicolumn{{{count}}}{{c}}{{{latex_text(name)}}}" for name, count in table.groups]
        lines.append(_line(["", *spans]))
        lines.append(_rules(table.groups))
    heads = [f"{name} ({unit})" if unit else name for name, unit in table.columns]
    lines += [_line([latex_text(table.corner), *map(latex_text, heads)]), r"\midrule"]
    ours = [row for row in table.rows if not row.paper]
    papers = [row for row in table.rows if row.paper]
    for row in ours:
        lines += _row(row)
    if papers:
        lines.append(r"\midrule")
    lines += [line for row in papers for line in _row(row)]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [f"% {latex_text(note)}" for note in table.notes]
    return "\n".join(lines) + "\n"


def _rules(groups: Sequence[tuple[str, int]]) -> str:
    rules, start = [], 2
    for _, count in groups:
        rules.append(rf"\cmidrule(lr){{{start}-{start + count - 1}}}")
        start += count
    return "".join(rules)


def _row(row: Row) -> list[str]:
    tag = f" ({latex_text(row.tag)})" if row.tag else ""
    if row.paper:
        return [_line([rf"\textit{{{latex_text(row.name)}}}{tag}", *map(_paper_or_text, row.cells)])]
    lines = [_line([latex_text(row.name) + tag, *map(_cell, row.cells)])]
    if any(cell.paper for cell in row.cells):
        lines.append(_line([r"\quad\textit{the paper's}", *map(_paper, row.cells)]))
    return lines


def _cell(cell: Cell) -> str:
    text = latex_text(cell.text)
    shown = rf"\textbf{{{text}}}" if cell.best and text else text
    shown += latex_text(cell.mark)
    return f"{shown} {latex_text(cell.spread)}" if cell.spread else shown


def _paper(cell: Cell) -> str:
    return rf"\textit{{{latex_text(cell.paper)}}}" if cell.paper else ""


def _paper_or_text(cell: Cell) -> str:
    return _paper(cell) or latex_text(cell.text)


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
