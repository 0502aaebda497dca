"""Learning curves as PNG pictures, drawn without matplotlib's global state.

Names of runs stand in the page's own legend, or in the picture as :func:`plain_text` leaves them: a name such as
``$x$`` or ``_x`` means something to matplotlib.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

COLORS = ("#2f86c9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
"""Okabe and Ito's colors, told apart without seeing red or green; the blue lightened for dark pages."""

_DASHES = ("-", "--", "-.", ":")
INK = {"light": "#3d4852", "dark": "#b8c4ce"}
"""Text and lines of a figure, by the page that it lies on."""


@dataclass(frozen=True)
class Curve:
    """One line of a figure: what one run scored after each epoch.

    Args:
        position: the run's place in the page, from 0: decides color and dash.
        epochs: how many were done.
        values: one for each epoch.
    """

    position: int
    epochs: Sequence[int]
    values: Sequence[float]


def color(position: int) -> str:
    """Return the color of the run at a place of the page, such as ``"#e69f00"``."""
    return COLORS[position % len(COLORS)]


def draw_curves(curves: Sequence[Curve], heading: str, theme: str, names: Sequence[str] = ()) -> bytes:
    """Draw values against epochs.

    Args:
        curves: at least one; a run of one epoch shows as a dot.
        heading: what the vertical axis is, without mathematics.
        theme: ``"light"`` or ``"dark"``: the page that the transparent picture will lie on.
        names: of the curves, for a legend in the picture; none where the page has one.

    Returns:
        A PNG file; the same curves give the same bytes.
    """
    ink = INK[theme]
    figure = Figure(figsize=(5.6, 3.3 + 0.2 * len(names) / 2), layout="constrained")
    axes = figure.add_subplot()
    for curve in curves:
        dash = _DASHES[curve.position // len(COLORS) % len(_DASHES)]
        axes.plot(
            curve.epochs,
            curve.values,
            dash,
            color=color(curve.position),
            linewidth=2,
            marker="o",
            markersize=5 if len(curve.epochs) == 1 else 2.5,
        )
    axes.set_title(heading, loc="left", color=ink, fontsize=11)
    axes.set_xlabel("epochs done", color=ink)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style(axes, ink)
    if names:
        legend(figure, axes.get_lines(), names, ink)
    return png(figure)


def style(axes: Axes, ink: str) -> None:
    """Give axes the look of all figures: a faint grid, one visible side."""
    axes.tick_params(colors=ink)
    axes.grid(axis="y", color=ink, alpha=0.2, linewidth=0.8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(ink)


def legend(figure: Figure, lines: Sequence[Line2D], names: Sequence[str], ink: str) -> None:
    """Put a legend below the axes; names are text and nothing else."""
    drawn = figure.legend(
        lines,
        [plain_text(name) for name in names],
        loc="outside lower left",
        ncols=2 if max(map(len, names)) > 16 else 3,
        frameon=False,
        fontsize=9,
        labelcolor=ink,
    )
    for text in drawn.get_texts():
        text.set_parse_math(False)


def plain_text(name: str, most: int = 44) -> str:
    """Return a name as a picture can show it: a leading space keeps matplotlib from reading ``_x`` as a command.

    Example:
        >>> plain_text("_x" + chr(7) + "y")
        ' _x?y'
    """
    shown = "".join(letter if letter.isprintable() and ord(letter) < 0x2E80 else "?" for letter in name)
    return " " + (shown if len(shown) <= most else shown[: most - 1] + "…")


def png(figure: Figure) -> bytes:
    """Return a figure as a transparent PNG file without any note of when and by what."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font lacks
        figure.savefig(file, format="png", dpi=180, transparent=True, metadata={"Software": None})
    return file.getvalue()
