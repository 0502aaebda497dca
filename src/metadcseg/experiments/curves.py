"""Learning curves as PNG pictures, drawn without matplotlib's global state and without any text of users.

Names of runs stand in the page's own legend: a name such as ``$x$`` or ``_x`` means something to matplotlib.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

COLOURS = ("#2f86c9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
"""Okabe and Ito's colours, told apart without seeing red or green; the blue lightened for dark pages."""

_DASHES = ("-", "--", "-.", ":")
_INK = {"light": "#3d4852", "dark": "#b8c4ce"}


@dataclass(frozen=True)
class Curve:
    """One line of a figure: what one run scored after each epoch.

    Args:
        position: the run's place in the page, from 0: decides colour and dash.
        epochs: how many were done.
        values: one for each epoch.
    """

    position: int
    epochs: Sequence[int]
    values: Sequence[float]


def colour(position: int) -> str:
    """Return the colour of the run at a place of the page, such as ``"#e69f00"``."""
    return COLOURS[position % len(COLOURS)]


def draw_curves(curves: Sequence[Curve], heading: str, theme: str) -> bytes:
    """Draw values against epochs.

    Args:
        curves: at least one; a run of one epoch shows as a dot.
        heading: what the vertical axis is, without mathematics.
        theme: ``"light"`` or ``"dark"``: the page that the transparent picture will lie on.

    Returns:
        A PNG file; the same curves give the same bytes.
    """
    ink = _INK[theme]
    figure = Figure(figsize=(5.6, 3.3), layout="constrained")
    axes = figure.add_subplot()
    for curve in curves:
        dash = _DASHES[curve.position // len(COLOURS) % len(_DASHES)]
        axes.plot(
            curve.epochs,
            curve.values,
            dash,
            color=colour(curve.position),
            linewidth=2,
            marker="o",
            markersize=5 if len(curve.epochs) == 1 else 2.5,
        )
    axes.set_title(heading, loc="left", color=ink, fontsize=11)
    axes.set_xlabel("epochs done", color=ink)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(colors=ink)
    axes.grid(axis="y", color=ink, alpha=0.2, linewidth=0.8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(ink)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=180, transparent=True, metadata={"Software": None})
    return file.getvalue()
