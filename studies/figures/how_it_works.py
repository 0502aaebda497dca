"""Draw docs/images/how-it-works.svg: one training step, from two batches to one update.

    .venv/bin/python studies/figures/how_it_works.py docs/images/how-it-works.svg

The small pictures are a drawn phantom; its map of alpha is a sketch of what the weights are for, not a result.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from scipy import ndimage

from metadcseg.data.synthetic.phantom import PhantomOptions, draw_case

GIVEN, GOLD, PREDICTED, INK = "#c2562e", "#b8860b", "#2a7f9e", "#2b2f36"
CASE = 18


def main(out: Path) -> None:
    """Draw and save the figure."""
    matplotlib.rcParams.update({"svg.hashsalt": "metadcseg", "font.size": 10.5})
    figure = pyplot.figure(figsize=(11, 5.6))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 110), ylim=(0, 56))
    axes.axis("off")
    image, exact = draw_case(PhantomOptions(size=96), CASE)
    image, exact = image[:, :, 0], exact.astype(bool)
    given = ndimage.binary_dilation(exact, iterations=9)
    _picture(axes, image, (2, 35), [(given, GIVEN)])
    _picture(axes, draw_case(PhantomOptions(size=96), 3)[0][:, :, 0], (2, 6), [(_mask(3), GOLD)])
    axes.text(2, 52, "noisy batch: masks as given", color=GIVEN, weight="bold", fontsize=9.5)
    axes.text(2, 23, "gold batch: verified masks", color=GOLD, weight="bold", fontsize=9.5)
    box(axes, (29, 36), 20, 12, "network\n\nlogits, features,\npseudo-labels", INK)
    box(axes, (29, 7), 20, 12, "gold loss\n\nits gradient v", GOLD)
    question = "would trusting this pixel's label\nlower the gold loss?\none derivative for all pixels"
    box(axes, (26, 22), 26, 11, question, PREDICTED)
    alpha = np.where(given & ~exact, 0.25, 1.0)
    _picture(axes, ndimage.gaussian_filter(alpha, 1.2), (57.5, 18), [(given, GIVEN)], "viridis", (0, 1))
    box(axes, (55, 37), 20, 12, "boundary weights\n\nfeature distance to the\ndynamic centers (DCD)", INK)
    box(axes, (53, 7), 24, 8, "alpha: trust in the given label\nbeta: trust in the pseudo-label", PREDICTED)
    box(
        axes,
        (84, 19),
        23,
        21,
        "one loss\n\npixels, by alpha and beta\n+ boundary, by DCD\n+ Dice\n+ gold loss\n\none optimizer step",
        INK,
    )
    for start, end in (
        ((17, 42), (29, 42)),
        ((17, 13), (29, 13)),
        ((39, 36), (39, 33)),
        ((39, 19), (39, 22)),
        ((52, 27.5), (57.5, 27.5)),
        ((49, 42.5), (55, 42.5)),
        ((72.5, 27.5), (84, 28.5)),
        ((75, 42), (84, 36)),
    ):
        axes.add_patch(
            FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=13, color=INK, lw=1.3, zorder=1)
        )
    axes.plot([39, 39, 95.5, 95.5], [7, 3.5, 3.5, 16], color=GOLD, lw=1.3, zorder=1)
    axes.add_patch(
        FancyArrowPatch((95.5, 15), (95.5, 19), arrowstyle="-|>", mutation_scale=13, color=GOLD, lw=1.3)
    )
    figure.savefig(out, dpi=110, metadata={"Date": None} if out.suffix == ".svg" else None, facecolor="white")


def box(axes: Axes, corner: tuple[float, float], width: float, height: float, text: str, color: str) -> None:
    """Draw a box with its text."""
    shape = FancyBboxPatch(
        corner,
        width,
        height,
        boxstyle="round,pad=0,rounding_size=0.8",
        fc="white",
        ec=color,
        lw=1.6,
        zorder=2,
    )
    axes.add_patch(shape)
    x, y = corner[0] + width / 2, corner[1] + height / 2
    axes.text(x, y, text, ha="center", va="center", color=INK, fontsize=9.5, zorder=3)


def _mask(case: int) -> np.ndarray:
    return draw_case(PhantomOptions(size=96), case)[1].astype(bool)


def _picture(
    axes: Axes,
    pixels: np.ndarray,
    corner: tuple[float, float],
    outlines: list[tuple[np.ndarray, str]],
    colors: str = "gray",
    limits: tuple[float, float] | None = None,
) -> None:
    x, y = corner
    extent = (x, x + 15, y, y + 15)
    low, high = limits or (pixels.min(), pixels.max())
    axes.imshow(pixels, cmap=colors, extent=extent, vmin=low, vmax=high, zorder=2, aspect="auto")
    for mask, color in outlines:
        axes.contour(np.flipud(mask), [0.5], colors=[color], extent=extent, linewidths=1.8, zorder=3)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
