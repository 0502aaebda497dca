"""Pictures of a few training samples: what was given, what the network says, and which pixels it trusts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metadcseg.colors import GIVEN, PREDICTED, Color, class_color, printable
from metadcseg.methods.base import StepReport
from metadcseg.tensors import IGNORE, Batch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAMPLES = 4
_INCHES = 2.4
_TINT = 0.3


@dataclass(frozen=True)
class Picture:
    """One sample as a step saw it, on the CPU; of a volume or patch all slices.

    Args:
        image: (C, H, W) float32.
        label: (H, W) int64, the label given, in the same augmented grid.
        alpha: (H, W) trust in the label, or None where the method has no weights.
        beta: (H, W) trust in the pseudo-label, or None.
        name: of the case; empty where it is not known.
    """

    image: Tensor
    label: Tensor
    alpha: Tensor | None = None
    beta: Tensor | None = None
    name: str = ""


class SampleFigure:
    """Catches a few fixed training samples as they pass by.

    Args:
        names: of the training cases, over which the samples are spread evenly.
    """

    def __init__(self, names: Sequence[str]) -> None:
        count, self._names = len(names), names
        chosen = min(SAMPLES, count)
        self._wanted = [number * count // chosen for number in range(chosen)]
        self._caught: dict[int, Picture] = {}

    def watch(self, batch: Batch, report: StepReport) -> None:
        """Keep what is wanted of one step.

        Args:
            batch: of this step; its indices are on the CPU, so that looking for the wanted samples waits for nothing.
            report: of the step on this batch.
        """
        for place, index in enumerate(batch.indices.tolist()):
            if index in self._wanted and index not in self._caught:
                alpha = beta = None
                if report.maps is not None:
                    alpha, beta = (
                        m[place].detach().float().cpu().clone() for m in (report.maps.alpha, report.maps.beta)
                    )
                # copies: a view would keep its whole batch, in memory and in every checkpoint
                self._caught[index] = Picture(
                    batch.images[place].cpu().clone(), batch.labels[place].cpu().clone(), alpha, beta
                )

    def pictures(self) -> list[Picture]:
        """Return what was caught, in the order of the cases."""
        held = [(self._caught[index], self._names[index]) for index in self._wanted if index in self._caught]
        return [replace(picture, name=name) for picture, name in held]

    def clear(self) -> None:
        """Forget everything, before the next epoch."""
        self._caught.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values only."""
        return {
            str(index): {"image": p.image, "label": p.label, "alpha": p.alpha, "beta": p.beta}
            for index, p in self._caught.items()
        }

    @staticmethod
    def merge(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return one state from those of several devices, of which each has caught what it has drawn."""
        return {index: picture for state in states for index, picture in state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for fields in state.values():
            if not all(part is None or isinstance(part, Tensor) for part in fields.values()):
                raise TypeError("a sample figure must be of tensors")
        self._caught = {int(index): Picture(**fields) for index, fields in state.items()}


def draw(pictures: Sequence[Picture], probabilities: Tensor, title: str) -> tuple[bytes, NDArray[np.uint8]]:
    """Draw one row per sample, with its name: orange is the label given, blue what the network predicts.

    Args:
        pictures: the samples, at least one.
        probabilities: (N, L, H, W) of the same samples.
        title: what stands above.

    Returns:
        The PNG file, and the same pixels as (H, W, 3) uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes a second: only when used
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    weighted = any(picture.alpha is not None for picture in pictures)
    names = ("given label", "prediction", "alpha", "beta", "gamma")[: 5 if weighted else 2]
    figure = Figure(figsize=(_INCHES * len(names) + 0.4, _INCHES * len(pictures) + 0.8), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10, parse_math=False)  # $ is a sign like any other
    axes = figure.subplots(len(pictures), len(names), squeeze=False)
    for row, picture, probability in zip(axes, pictures, probabilities, strict=True):
        _draw_row(figure, row, *_flat(picture, probability.float().cpu()))
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name, fontsize=9)
    for row, picture in zip(axes, pictures, strict=True):
        row[0].text(
            0,
            -0.02,
            printable(picture.name),
            transform=row[0].transAxes,
            fontsize=7,
            va="top",
            parse_math=False,
        )
    keys = [("given label", GIVEN), ("prediction", PREDICTED)]
    lines = [Line2D([], [], color=_unit(color), label=name) for name, color in keys]
    figure.legend(handles=lines, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    file = BytesIO()
    canvas.print_png(file)  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return file.getvalue(), pixels[..., :3].copy()


def _flat(picture: Picture, probability: Tensor) -> tuple[Picture, Tensor]:
    """Return images as they are, and of volumes the slice with most foreground in its label."""
    if picture.label.ndim == 2:
        return picture, probability
    known = (picture.label != 0) & (picture.label != IGNORE)
    chosen = int(known.sum(dim=(1, 2)).argmax())
    alpha, beta = (None if maps is None else maps[chosen] for maps in (picture.alpha, picture.beta))
    flat = Picture(picture.image[:, chosen], picture.label[chosen], alpha, beta, picture.name)
    return flat, probability[:, chosen]


def _draw_row(figure: "Figure", row: Sequence["Axes"], picture: Picture, probability: Tensor) -> None:
    for axis in row:
        axis.set_axis_off()
    classes = len(probability)
    shown = _as_shown(picture.image)
    outside = picture.label == IGNORE
    for axis, labels, color in (
        (row[0], picture.label, GIVEN),
        (row[1], probability.argmax(dim=0).where(~outside, IGNORE), PREDICTED),
    ):
        axis.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        _outline(axis, labels.numpy(), classes, color)
    if picture.alpha is None or picture.beta is None:
        return
    for axis, values in zip(
        row[2:], (picture.alpha, picture.beta, picture.alpha + picture.beta), strict=True
    ):
        shown_values = values.masked_fill(outside, torch.nan).numpy()  # zeros there would spread the colors
        drawn = axis.imshow(shown_values, cmap="viridis", interpolation="nearest")
        figure.colorbar(drawn, ax=axis, shrink=0.8).ax.tick_params(labelsize=7)


def _as_shown(image: Tensor) -> NDArray[np.float32]:
    """Return (H, W) or (H, W, 3) from 0 to 1: three channels as colors, otherwise the first in gray."""
    kept = image if len(image) == 3 else image[:1]
    low, high = kept.amin(), kept.amax()
    scaled = (kept - low) / (high - low).clamp(min=1e-6)
    shown: NDArray[np.float32] = scaled.permute(1, 2, 0).squeeze(-1).numpy()
    return shown


def _outline(axis: "Axes", labels: NDArray[np.int64], classes: int, color: Color) -> None:
    """Outline every class in the color of whose label it is; several classes are tinted in colors of their own."""
    for number in range(1, classes):
        mask = (labels == number) & (labels != IGNORE)
        if mask.any() and not mask.all():  # matplotlib warns about a level that no pixel crosses
            if classes > 2:
                tint = np.zeros((*mask.shape, 4))
                tint[mask] = (*_unit(class_color(number, classes - 1)), _TINT)
                axis.imshow(tint, interpolation="nearest")
            axis.contour(mask, levels=[0.5], colors=[_unit(color)], linewidths=1.2)


def _unit(color: Color) -> tuple[float, float, float]:
    """Return a color from 0 to 1, as matplotlib has it."""
    red, green, blue = (value / 255 for value in color)
    return red, green, blue
