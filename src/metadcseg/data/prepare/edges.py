"""Edges of images (P_edge of eq. 8): found once per image by PiDiNet and kept with the prepared set.

Importing this module does not import torch; finding edges does.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.store.layout import Array
from metadcseg.errors import InputError

if TYPE_CHECKING:
    from torch import nn

DEFAULT = "pidinet"
"""The detector that comes with the package."""

NONE = "none"

WORK = 20
"""Finding the edges of an image takes about so many times as long as reading it or writing it (measured on one core
of a CPU, images of 352 x 352): by this the time left of a preparation counts the edges before the first is found."""

_PIXELS_PER_SECOND = 0.8e6  # on the same core; more cores need less time

_TILE = 1024
"""Pixels per side that are looked at in one piece; larger images are looked at in overlapping tiles."""

_MARGIN = 128
"""Pixels of overlap on each side of a tile. Further than that the network hardly sees (its farthest kernel
reaches 88 pixels); a multiple of 8, as is the tile, so that the halved maps of tile and image coincide."""

_SMALLEST = 8  # three halvings
_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class EdgeDetector:
    """Finds the edges of one image at a time, at its native size; made by :func:`edge_detector`.

    Args:
        name: what the set says about where its edges are from.
        sha256: of the file with the weights.
        network: PiDiNet with plain convolutions (:func:`metadcseg.networks.pidinet.convert`).
    """

    name: str
    sha256: str
    network: "nn.Module" = field(repr=False)

    def facts(self) -> dict[str, str]:
        """Return what a prepared set keeps about its edges."""
        return {"detector": self.name, "sha256": self.sha256}

    def find(self, image: Array) -> NDArray[np.uint8]:
        """Return the probability that each pixel is on an edge.

        8-bit images are taken as they are. The values of 16-bit and float images are stretched channel by channel
        from their 0.5th to 99.5th percentile to the range from black to white. One channel is shown to the network
        as gray, three as red, green and blue; of any other number the mean is shown as gray.

        Args:
            image: (H, W, C) uint8, uint16 or float32, finite.

        Returns:
            (H, W) uint8, 255 times the probability, rounded. An image with a side below 8 pixels is too small
            for the network: it has no edges.

        Example:
            >>> step = np.zeros((32, 32, 1), np.uint8)
            >>> step[:, 16:] = 200
            >>> edges = edge_detector("pidinet").find(step)
            >>> bool(edges[16, 14:18].max() > 127), bool(edges[16, :8].max() < 64)
            (True, True)
        """
        import torch

        height, width = image.shape[:2]
        edges = np.zeros((height, width), np.uint8)
        if min(height, width) < _SMALLEST:
            return edges
        limits = _limits(image)
        with torch.inference_mode():
            for top, bottom in _spans(height):
                for left, right in _spans(width):
                    rows = slice(max(top - _MARGIN, 0), min(bottom + _MARGIN, height))
                    columns = slice(max(left - _MARGIN, 0), min(right + _MARGIN, width))
                    shown = torch.from_numpy(_as_input(image[rows, columns], limits))
                    found = self.network(shown[None])[0, -1].sigmoid().mul(255).round().byte().numpy()
                    inner = found[top - rows.start :, left - columns.start :]
                    edges[top:bottom, left:right] = inner[: bottom - top, : right - left]
        return edges


def edge_detector(choice: str) -> EdgeDetector | None:
    """Return the detector that an option names.

    Args:
        choice: ``"pidinet"``, the one that comes with the package; ``"none"``; or a file with weights of PiDiNet,
            such as a published ``table5_pidinet.pth`` (a file called ``none`` can be given as ``./none``).

    Returns:
        The detector, or None for ``"none"``.

    Raises:
        InputError: where the file is missing or is none.
    """
    if choice == NONE:
        return None
    import torch

    from metadcseg.networks.pidinet import convert
    from metadcseg.networks.pidinet_weights import load_pidinet, shipped_pidinet

    if choice == DEFAULT:
        (network, sha256), whose = shipped_pidinet(), "of metadcseg"
    elif Path(choice).is_file():
        (network, sha256), whose = load_pidinet(Path(choice)), f"from {Path(choice).name}"
    else:
        raise InputError(
            f"--edges must be {DEFAULT}, {NONE} or a file with weights of PiDiNet, got '{choice}', which is no file"
        )
    converted = convert(network)
    converted.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs; 27 % faster
    return EdgeDetector(f"pidinet-{network.size} {whose}", sha256, converted)


def cost_of(detector: EdgeDetector | str | None) -> int:
    """Return the work of writing one image, in units of reading it: with edges these take nearly all of it.

    Example:
        >>> cost_of(None), cost_of("none"), cost_of("pidinet")
        (1, 1, 21)
    """
    return 1 if detector in (None, NONE) else 1 + WORK


def seconds_for(pixels: int) -> float:
    """Return about how long one core needs to find the edges of so many pixels."""
    return pixels / _PIXELS_PER_SECOND


def _spans(length: int) -> list[tuple[int, int]]:
    """Return the tiles of one axis; a rest shorter than a margin joins the tile before it.

    Example:
        >>> _spans(1000), _spans(2100), _spans(2300)
        ([(0, 1000)], [(0, 1024), (1024, 2100)], [(0, 1024), (1024, 2048), (2048, 2300)])
    """
    starts = [start for start in range(0, length, _TILE) if start == 0 or length - start >= _MARGIN]
    return list(zip(starts, [*starts[1:], length], strict=True))


def _limits(image: Array) -> NDArray[np.float64]:
    """Return (2, C): what is black and what is white in every channel."""
    channels = image.shape[2]
    if image.dtype == np.uint8:
        return np.array([[0.0] * channels, [255.0] * channels])
    return np.stack(
        [np.percentile(image[:, :, channel], _PERCENTILES) for channel in range(channels)], axis=1
    )


def _as_input(image: Array, limits: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return (3, H, W) float32 as the network wants it."""
    from metadcseg.networks.pidinet import DEVIATION, MEAN

    low, high = limits
    scale = np.where(high > low, high - low, 1.0)
    values = ((image - low) / scale).clip(0.0, 1.0)  # (H, W, C); a constant channel is black
    if image.shape[2] != 3:
        values = values.mean(axis=2, keepdims=True)
    normal: NDArray[Any] = (values - np.array(MEAN)) / np.array(DEVIATION)
    return np.ascontiguousarray(np.moveaxis(normal, 2, 0), dtype=np.float32)
