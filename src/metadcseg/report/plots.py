"""Figures of a report that are drawn: learning curves, weights against distance, folds.

Each comes in three versions: for a light page, for a dark one, and as a file of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from metadcseg.colors import GIVEN
from metadcseg.pairs.curves import DistanceCurve
from metadcseg.report.curves import INK, Curve, color, draw_curves, legend, plain_text, png, style


@dataclass(frozen=True)
class Plot:
    """A drawn figure.

    Args:
        key: name of its file.
        title: what stands above it.
        alt: what it shows, for those who cannot see it.
        light: PNG for a light page, transparent.
        dark: PNG for a dark page.
        file: PNG on white.
    """

    key: str
    title: str
    alt: str
    light: bytes
    dark: bytes
    file: bytes


@dataclass(frozen=True)
class Band:
    """A mean with its spread, bin by bin.

    Args:
        name: what it is.
        means: one for each bin, None in an empty one.
        spreads: likewise; 0 for one seed.
    """

    name: str
    means: Sequence[float | None]
    spreads: Sequence[float]


def plot(key: str, title: str, alt: str, draw: Callable[[str], bytes]) -> Plot:
    """Return a figure in its three versions.

    Args:
        key: name of its file.
        title: what stands above it.
        alt: what it shows.
        draw: takes the theme, and returns a transparent PNG file.
    """
    light = draw("light")
    return Plot(key, title, alt, light, draw("dark"), _on_white(light))


def _on_white(transparent: bytes) -> bytes:
    with Image.open(BytesIO(transparent)) as drawn:
        white = Image.new("RGBA", drawn.size, "white")
        white.alpha_composite(drawn.convert("RGBA"))
        file = BytesIO()
        white.convert("RGB").save(file, format="PNG", dpi=drawn.info["dpi"])
    return file.getvalue()


def learning_plot(key: str, title: str, curves: Sequence[Curve], names: Sequence[str]) -> Plot:
    """Return learning curves, one for each row."""
    heading = "DSC on validation cases, mean over seeds"
    alt = f"{heading}, against epochs for {', '.join(names)}"
    return plot(key, title, alt, lambda theme: draw_curves(curves, heading, theme, names))


def distance_plot(key: str, title: str, edges: Sequence[float], bands: Sequence[Band]) -> Plot:
    """Return weights against the distance to the outline of the given label."""
    alt = f"{', '.join(band.name for band in bands)} against the distance to the outline of the given label: {title}"

    def draw(theme: str) -> bytes:
        ink = INK[theme]
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axes = figure.add_subplot()
        for place, band in enumerate(bands):
            known = [index for index, mean in enumerate(band.means) if mean is not None]
            means = np.array([band.means[index] for index in known], float)
            spreads = np.array([band.spreads[index] for index in known])
            shade = color(place)
            dash = ("-", "--", ":")[place % 3]  # alpha lies on gamma where beta is 0
            axes.plot(known, means, dash, color=shade, linewidth=2, marker="o", markersize=4)
            axes.fill_between(known, means - spreads, means + spreads, color=shade, alpha=0.2, linewidth=0)
        axes.set_title("mean weight", loc="left", color=ink, fontsize=11)
        axes.set_xlabel("distance to the outline of the given label, px", color=ink)
        axes.set_xticks(range(len(edges)), bin_names(edges), fontsize=8)
        axes.set_ylim(bottom=0)
        style(axes, ink)
        legend(figure, axes.get_lines(), [band.name for band in bands], ink)
        return png(figure)

    return plot(key, title, alt, draw)


def pair_plot(key: str, title: str, curves: Sequence[DistanceCurve]) -> Plot:
    """Return how probable each class is, by the signed distance to the given outline, as pairs tell."""
    alt = f"share of pixels that the verified mask gives to the class, by the distance to the given outline: {title}"

    def draw(theme: str) -> bytes:
        ink = INK[theme]
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0.0, color=[part / 255 for part in GIVEN], linewidth=2.5)
        lines = []
        for place, curve in enumerate(curves):
            known = [index for index, share in enumerate(curve.shares) if share is not None]
            centers = np.array([curve.centers[index] for index in known])
            shares = np.array([curve.shares[index] for index in known], float)
            spreads = np.array([curve.spreads[index] for index in known])
            lines += axes.plot(centers, shares, color=color(place), linewidth=2, marker="o", markersize=4)
            low, high = (shares - spreads).clip(0, 1), (shares + spreads).clip(0, 1)
            axes.fill_between(centers, low, high, color=color(place), alpha=0.2, linewidth=0)
        axes.set_title(
            "how probable the class is; right masks step from 1 to 0", loc="left", color=ink, fontsize=11
        )
        axes.set_xlabel(f"inside | distance to the given outline, {curves[0].unit} | outside", color=ink)
        axes.set_ylim(0, 1)
        style(axes, ink)
        if len(curves) > 1:
            legend(figure, lines, [curve.name for curve in curves], ink)
        return png(figure)

    return plot(key, title, alt, draw)


def bin_names(edges: Sequence[float]) -> list[str]:
    """Return what the bins between edges are called.

    Example:
        >>> bin_names([0, 1, 2])
        ['0–1', '1–2', '≥ 2']
    """
    between = [f"{low:g}–{high:g}" for low, high in pairwise(edges)]
    return [*between, f"≥ {edges[-1]:g}"] if edges else []


def fold_plot(key: str, title: str, rows: Sequence[tuple[str, Sequence[float]]]) -> Plot:
    """Return the DSC of every fold as dots, one line for each row, the mean as a bar."""
    alt = f"DSC of every fold: {'; '.join(f'{name} mean {np.mean(values):.3f}' for name, values in rows)}"

    def draw(theme: str) -> bytes:
        ink = INK[theme]
        figure = Figure(figsize=(5.6, 0.9 + 0.42 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for place, (_, values) in enumerate(rows):
            shade = color(place)
            axes.plot(values, [place] * len(values), "o", color=shade, markersize=7, alpha=0.6)
            axes.plot([np.mean(values)] * 2, [place - 0.3, place + 0.3], color=ink, linewidth=2.5)
        axes.set_title("DSC of each fold", loc="left", color=ink, fontsize=11)
        labels = axes.set_yticks(range(len(rows)), [plain_text(name, 28) for name, _ in rows])
        for label in [*labels, *axes.get_yticklabels()]:
            if hasattr(label, "set_parse_math"):
                label.set_parse_math(False)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        style(axes, ink)
        axes.grid(axis="x", color=ink, alpha=0.2, linewidth=0.8)
        return png(figure)

    return plot(key, title, alt, draw)
