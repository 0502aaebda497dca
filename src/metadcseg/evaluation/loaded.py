"""A trained run as one object: give it an image, get its mask."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid, Volume, as_affine
from metadcseg.data.formats.images import read_image
from metadcseg.data.formats.volumes import read_volume
from metadcseg.data.slicing.cut import SliceOptions, cut
from metadcseg.errors import InputError
from metadcseg.evaluation.overlays import Labels
from metadcseg.evaluation.predict import Predict, fit_channels, load_predictor, probabilities_at_native
from metadcseg.evaluation.volumes import labels_of_stack
from metadcseg.training.run.folder import TrainedRun


@dataclass(frozen=True)
class Model:
    """A trained network, ready to segment; :func:`load` returns one.

    Args:
        run: the run with its network.
        network: (N, C, S, S) normalized images -> (N, L, S, S) probabilities.
    """

    run: TrainedRun
    network: Predict

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the L classes, background first."""
        return self.run.classes

    @property
    def channels(self) -> int:
        """C, the channels of the images that the network was trained on."""
        return self.run.channels

    @cached_property
    def _slicing(self) -> SliceOptions | None:
        """How volumes are cut; None for a network that was trained on images."""
        cut_as = self.run.info["set"].get("preprocessing")
        return None if cut_as is None else SliceOptions.from_dict(cut_as)

    def segment(self, image: Any, spacing: tuple[float, float, float] | None = None) -> Labels:
        """Return the most probable class of every pixel, at the image's own size.

        Args:
            image: (H, W) or (H, W, C) numbers (uint8, uint16 or float), a Pillow image, or the path of a file. Gray is
                repeated for a network of three channels; color becomes its luminance for one of one channel. Of a
                network that was trained on volumes: (X, Y, Z) or (X, Y, Z, C) numbers, or a path.
            spacing: distance of voxel centers along X, Y and Z in mm, of a volume given as numbers.

        Returns:
            (H, W), or (X, Y, Z) of a volume, uint8 class numbers, 0 for background.

        Raises:
            InputError: where the image has other axes or channels, is empty, or holds NaN or infinity.

        Example:
            >>> load("my_run").segment(np.zeros((48, 64), np.uint8)).shape  # doctest: +SKIP
            (48, 64)
        """
        if self._slicing is not None:
            return self._segment_volume(image, spacing, self._slicing)
        if spacing is not None:
            raise InputError("spacing is for networks that were trained on volumes: leave it out")
        labels: Labels = self.probabilities(image).max(dim=0).indices.to(torch.uint8).numpy()
        return labels

    def probabilities(self, image: Any) -> Tensor:
        """Return (L, H, W) float32 class probabilities, which sum to one in every pixel.

        Args:
            image: as for :meth:`segment`; not of a network that was trained on volumes.

        Raises:
            InputError: see :meth:`segment`.
        """
        if self._slicing is not None:
            raise InputError(f"{self.run.folder.path} was trained on volumes: use segment")
        array = read_image(Path(image)).array if isinstance(image, str | Path) else _checked(image, 2)
        fitted = fit_channels(_named(image), array, self.channels)
        return probabilities_at_native(self.network, fitted, self.run.size)

    def _segment_volume(
        self, image: Any, spacing: tuple[float, float, float] | None, options: SliceOptions
    ) -> Labels:
        if isinstance(image, str | Path):
            volume = read_volume([Path(image)], key=self.run.info["set"].get("image_key"))
        else:
            array = _checked(image, 3)
            affine = UNKNOWN_AFFINE if spacing is None else as_affine(np.diag([*spacing, 1.0]))
            x, y, z = array.shape[:3]
            volume = Volume(array, Grid((x, y, z), affine, known=spacing is not None))
        if volume.array.shape[3] != self.channels:
            raise InputError(
                f"{_named(image)}: the network was trained on {self.channels} channels, got {volume.array.shape[3]}"
            )
        stack, placement = cut(volume, options)
        return labels_of_stack(self.network, stack, self.run.size, placement, self.run.depth)


def load(run: str | Path) -> Model:
    """Return a trained network that segments images; it computes on a GPU where there is one.

    Args:
        run: the folder of a run, the ``--out`` of a training.

    Raises:
        InputError: where the folder is no run, or a file of it is missing or damaged.

    Example:
        >>> load("my_run").segment("new_images/a.png").shape  # doctest: +SKIP
        (48, 64)
    """
    return Model(*load_predictor(Path(run)))


def _named(image: Any) -> Path:
    return Path(image) if isinstance(image, str | Path) else Path("the image")


def _checked(image: Any, axes: int) -> NDArray[Any]:
    """Return numbers with so many axes of space and one of channels."""
    array = np.asarray(image)
    wanted = "(H, W) or (H, W, C)" if axes == 2 else "(X, Y, Z) or (X, Y, Z, C)"
    if array.ndim not in (axes, axes + 1) or array.dtype.kind not in "buif" or 0 in array.shape:
        raise InputError(f"the image must be {wanted} numbers, got {array.dtype} of shape {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError("the image must hold finite numbers, got NaN or infinity: replace them")
    if array.dtype.kind == "b" or array.dtype not in (np.uint8, np.uint16):
        array = array.astype(np.float32)
    return array if array.ndim == axes + 1 else array[..., None]
