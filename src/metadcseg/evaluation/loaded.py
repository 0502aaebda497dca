"""A trained run as an object: load it, give it an image, get the labels."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage

from metadcseg.colors import class_color
from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid, Volume, as_affine
from metadcseg.data.formats.images import read_image
from metadcseg.data.formats.volumes import is_volume_file, read_volume
from metadcseg.data.slicing.cut import SliceOptions, cut
from metadcseg.errors import InputError
from metadcseg.evaluation.overlays import Labels
from metadcseg.evaluation.predict import (
    fit_channels,
    labels_of_stack,
    load_predictor,
    probabilities_at_native,
)

AnyImage = NDArray[Any] | PillowImage.Image | Path | str


class Model:
    """The network of a finished run, ready to segment; made by :func:`load`.

    Args:
        run: the folder that ``train`` wrote.
        device: ``cpu``, ``cuda``, ``cuda:1`` ...; None takes a GPU where there is one.
        trust_code: whether a class of a network that ``run.json`` names may be imported; its code runs then.

    Raises:
        InputError: where the folder is no run, a file of it is missing or damaged, or there is no such device.
    """

    def __init__(
        self, run: Path | str, device: torch.device | str | None = None, *, trust_code: bool = False
    ) -> None:
        self.path = Path(run)
        self._trained, self._predict = load_predictor(self.path, device, trust_code=trust_code)
        cut_as = self._trained.info["set"].get("preprocessing")
        self._slices = None if cut_as is None else SliceOptions.from_dict(cut_as)

    def __repr__(self) -> str:
        """Return run, method and classes."""
        what = "volumes" if self.takes_volumes else "images"
        method = self._trained.info["method"]
        return f"Model({str(self.path)!r}, {method}, {what}, classes {', '.join(self.classes)})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; label 0 is the first, the background."""
        return self._trained.classes

    @property
    def channels(self) -> int:
        """Channels of the images that the network was trained on."""
        return self._trained.channels

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """Red, green, blue from 0 to 255 of every class, the background black, as overlays tint them."""
        foreground = len(self.classes) - 1
        return ((0, 0, 0), *(class_color(number, foreground) for number in range(1, foreground + 1)))

    @property
    def takes_volumes(self) -> bool:
        """Whether the network was trained on volumes, and so takes volumes."""
        return self._slices is not None

    def segment(self, image: AnyImage, spacing: tuple[float, float, float] | None = None) -> Labels:
        """Return the most probable class of every pixel, or voxel, at the size of the image.

        Args:
            image: an array (H, W) or (H, W, C) of uint8, uint16, int16 or float, without NaN, a Pillow image, or a
                file. Gray is repeated for a network of three channels, color becomes luminance for one of one. For a
                network of volumes: an array (Z, H, W) or (Z, H, W, C) as ``SimpleITK.GetArrayFromImage`` returns it,
                or a file.
            spacing: distance of the voxels of a volume in mm along (Z, H, W); None where it is not known. Files have
                their own.

        Returns:
            (H, W) or (Z, H, W) uint8 class numbers, see :attr:`classes`.

        Raises:
            InputError: where the image has other axes or channels, is empty, or holds NaN or infinity.
        """
        if self._slices is None:
            if spacing is not None:
                raise InputError(f"spacing belongs to volumes, and {self.path} takes images: leave it out")
            labels: Labels = self.probabilities(image).argmax(axis=0).astype(np.uint8)
            return labels
        volume = self._volume(image, spacing)
        stack, placement = cut(volume, self._slices)
        found = labels_of_stack(self._predict, stack, self._trained.grid, placement)
        return np.ascontiguousarray(found.transpose(2, 1, 0))

    def probabilities(self, image: AnyImage) -> NDArray[np.float32]:
        """Return the probability of every class at every pixel of an image.

        Args:
            image: as for :meth:`segment`, no volume.

        Returns:
            (L, H, W) float32, from 0 to 1, adding up to 1 over the L classes.

        Raises:
            InputError: as :meth:`segment`, and for networks of volumes, of which only labels are kept.
        """
        if self._slices is not None:
            raise InputError(f"{self.path} takes volumes, of which only labels are kept: call segment")
        name = str(image) if isinstance(image, str | Path) else "the image"
        array = read_image(Path(image)).array if isinstance(image, str | Path) else _array_of(image)
        if array.ndim == 2:
            array = array[:, :, None]
        if array.ndim != 3:
            raise InputError(
                f"{name} must be (H, W) or (H, W, C), got {array.shape}: give one image at a time"
            )
        fitted = fit_channels(name, _numbers(name, array), self.channels)
        found: NDArray[np.float32] = probabilities_at_native(
            self._predict, fitted, self._trained.size
        ).numpy()
        return found

    def _volume(self, image: AnyImage, spacing: tuple[float, float, float] | None) -> Volume:
        if isinstance(image, str | Path):
            if spacing is not None:
                raise InputError(f"{image} has its own spacing: leave spacing out")
            if not is_volume_file(Path(image)):
                raise InputError(f"{image} is no volume, and {self.path} was trained on volumes: give one")
            volume = read_volume([Path(image)], key=self._trained.info["set"].get("image_key"))
            array, grid = volume.array, volume.grid
        else:
            array = _array_of(image)
            if array.ndim == 3:
                array = array[..., None]
            if array.ndim != 4:
                raise InputError(
                    f"the image must be (Z, H, W) or (Z, H, W, C), since {self.path} was trained on volumes, got "
                    f"{array.shape}: give a whole volume"
                )
            array = array.transpose(2, 1, 0, 3)
            grid = _grid((array.shape[0], array.shape[1], array.shape[2]), spacing)
        if array.shape[3] != self.channels:
            raise InputError(
                f"the volume must have {self.channels} channels, as the network was trained, got {array.shape[3]}"
            )
        return Volume(_numbers("the volume", array), grid)


def load(path: Path | str, device: torch.device | str | None = None, *, trust_code: bool = False) -> Model:
    """Load the network of a run, to segment with.

    Args:
        path: the folder that ``metadcseg train`` wrote (its ``--out``).
        device: ``cpu``, ``cuda``, ``cuda:1`` ...; None takes a GPU where there is one.
        trust_code: whether a class of a network that ``run.json`` names may be imported; its code runs then.

    Returns:
        The model, with the weights that did best on validation.

    Raises:
        InputError: where the folder is no run, a file of it is missing or damaged, or there is no such device.

    Example:
        >>> load("my_run").segment("new_images/a.png").shape  # doctest: +SKIP
        (48, 64)
    """
    return Model(path, device, trust_code=trust_code)


def _array_of(image: NDArray[Any] | PillowImage.Image) -> NDArray[Any]:
    if isinstance(image, PillowImage.Image):
        if image.mode not in ("L", "RGB", "F") and not image.mode.startswith("I"):
            image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
        return np.asarray(image)
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"the image must be a NumPy array, a Pillow image or a file, got {type(image).__name__}: convert it"
        )
    return image


def _numbers(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as uint8, uint16 or float32; refuse what has no pixels, no numbers, or is not finite."""
    if array.size == 0:
        raise InputError(f"{name} must have pixels, got an empty array of {array.shape}: give another")
    if array.dtype.kind not in "buif":
        raise InputError(f"{name} must hold real numbers, got {array.dtype}: convert it")
    kept = array if array.dtype in (np.uint8, np.uint16) else array.astype(np.float32)
    if kept.dtype == np.float32 and (bad := int(np.count_nonzero(~np.isfinite(kept)))):
        raise InputError(
            f"{name} must be finite, got {bad} of {kept.size} values NaN or infinite: replace them"
        )
    return kept


def _grid(shape: tuple[int, int, int], spacing: tuple[float, float, float] | None) -> Grid:
    """Return the grid of a bare array: axes as in files of ITK, which count x to the left and y to the back."""
    if spacing is None:
        return Grid(shape, UNKNOWN_AFFINE, known=False)
    if len(spacing) != 3 or not all(0 < side < float("inf") for side in spacing):
        raise InputError(f"spacing must be three numbers above 0 in mm, along (Z, H, W), got {spacing}")
    z, y, x = spacing
    return Grid(shape, as_affine(np.diag([-x, -y, z, 1.0])))
