"""Predictions in an image's own size, or on a volume's own grid: for cases of a prepared set, and for new files."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from metadcseg.data.formats.images import read_image, with_channels
from metadcseg.data.formats.volumes import output_suffix, read_volume, write_label_volume
from metadcseg.data.loading.input_grid import Size, input_to_stack, stack_to_input
from metadcseg.data.slicing.cut import SliceOptions, cut
from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.errors import InputError, first_of
from metadcseg.evaluation.inputs import check_channel_files, find_images, find_volumes, output_names
from metadcseg.evaluation.overlays import (
    Labels,
    encode_mask,
    encode_picture,
    overlay,
    picture_of,
    with_legend,
)
from metadcseg.files import cannot_write, write_bytes
from metadcseg.training.run.folder import TrainedRun, load_run

Image = NDArray[Any]
Predict = Callable[[Tensor], Tensor]
"""(N, C, S, S) normalized images -> (N, L, S, S) class probabilities, S being the input grid's side."""

Progress = Callable[[int, int], object]
"""Called with how many pieces are done, of how many."""

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in Pillow's conversion to gray


def probabilities_at_native(predict: Predict, image: Image, size: int, *, normalized: bool = False) -> Tensor:
    """Return class probabilities for every pixel of an image.

    The image is normalized and brought to the input grid; the probabilities come back by bilinear
    resampling (as in validation), so that they still sum to one and outlines are finer than those of a
    resampled mask.

    Args:
        predict: the trained network.
        image: (H, W, C) uint8, uint16 or float32, any H and W.
        size: side of the input grid in pixels.
        normalized: whether the image is normalized already, as slices of volumes are.

    Returns:
        (L, H, W) float32 on the CPU.

    Raises:
        InputError: where the image has other axes or no pixels, or the network returns values that are not finite.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise InputError(
            f"an image must be (H, W, C) with at least one pixel and channel, got {image.shape}: give a gray one as "
            "image[:, :, None]"
        )
    return next(probabilities_of_stack(predict, [image], (size, size), normalized=normalized))


def probabilities_of_stack(
    predict: Predict, stack: Sequence[Image] | Image, grid: Size, *, normalized: bool = True
) -> Iterator[Tensor]:
    """Yield class probabilities for every pixel of each slice of a case, an image being a stack of one.

    Args:
        predict: the trained network.
        stack: every slice in order, (H, W, C).
        grid: of the network: (S, S) of one that predicts slice by slice, (Z, S, S) of one of volumes.
        normalized: whether they are normalized already, as slices of volumes are.

    Yields:
        (L, H, W) float32 on the CPU.

    Raises:
        InputError: where the network returns values that are not finite.
    """

    def found(part: Sequence[Image] | Image) -> Tensor:
        with torch.inference_mode():
            maps = predict(stack_to_input(part, grid, normalized=normalized).unsqueeze(0)).float().cpu()[0]
        if not bool(maps.isfinite().all()):
            raise InputError(
                "the network must return finite probabilities, got NaN or infinity: its training diverged, "
                "so train again with a lower --training.lr"
            )
        return maps

    whole = input_to_stack(found(stack), len(stack)) if len(grid) == 3 else None
    for number, plane in enumerate(stack):
        maps = found([plane]) if whole is None else whole[number]
        yield F.interpolate(maps[None], plane.shape[:2], mode="bilinear", align_corners=False)[0]


def labels_at_native(predict: Predict, image: Image, size: int, *, normalized: bool = False) -> Labels:
    """Return the most probable class of every pixel, (H, W) uint8; see :func:`probabilities_at_native`."""
    probabilities = probabilities_at_native(predict, image, size, normalized=normalized)
    labels: Labels = probabilities.max(dim=0).indices.to(torch.uint8).numpy()
    return labels


def labels_of_stack(
    predict: Predict,
    stack: Sequence[Image] | Image,
    grid: Size,
    placement: SliceGeometry,
) -> Labels:
    """Return the labels of a volume from its slices.

    Args:
        predict: the trained network.
        stack: every slice of the volume in order, (H, W, C), normalized as the network was trained.
        grid: of the network: (S, S) of one that predicts slice by slice, (Z, S, S) of one of volumes.
        placement: where the slices lie in the volume.

    Returns:
        (X, Y, Z) uint8 class numbers, in the order and on the grid of the volume's file.

    Raises:
        InputError: where the network returns values that are not finite.
    """
    return placement.restore(maps.numpy() for maps in probabilities_of_stack(predict, stack, grid))


def fit_channels(file: Path | str, image: Image, channels: int) -> Image:
    """Return an image with as many channels as the network was trained with.

    Gray is repeated; color becomes its luminance, float32, for a network of one channel.

    Raises:
        InputError: where neither applies.
    """
    got = image.shape[2]
    if got == 3 and channels == 1:
        return (image.astype(np.float32) @ _LUMINANCE)[:, :, None]
    fitted = with_channels(image, channels) if got == 1 else image
    if fitted.shape[2] != channels:
        raise InputError(f"{file}: the network was trained on {channels} channels, got {got}: convert it")
    return fitted


def load_predictor(
    run: Path, device: torch.device | str | None = None, *, trust_code: bool = False
) -> tuple[TrainedRun, Predict]:
    """Return a run, and its network as a function of normalized images.

    Args:
        run: the folder of a run.
        device: where it computes; None, or ``auto``, takes a GPU where there is one.
        trust_code: whether a class of a network that ``run.json`` names may be imported; its code runs then.

    Raises:
        InputError: where the folder is no run, a file of it is missing or damaged, it names a class without
            ``trust_code``, or there is no such device.
    """
    place = device_of(device)
    trained = load_run(run, place, trust_code=trust_code)
    return trained, lambda images: trained.predict(images.to(place))


def device_of(name: torch.device | str | None) -> torch.device:
    """Return the device that a name means.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; None, or ``auto``, takes a GPU where there is one.

    Raises:
        InputError: where there is no such device.

    Example:
        >>> device_of("cpu")
        device(type='cpu')
    """
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device must be auto, cpu, cuda, cuda:N or mps, and be there, got '{name}': choose another"
        ) from error
    return device


def predict_images(
    run: Path,
    images: Path,
    out: Path,
    *,
    overlays: bool = False,
    device: str | None = None,
    trust_code: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Segment image files, or volumes, and write a mask for each over its image.

    Masks of images are PNG in the image's own size. They hold 0 and 255 for two classes, class numbers for more
    (:func:`~.overlays.mask_values`), under the names of :func:`~.inputs.output_names`.

    A network that was trained on volumes takes volumes and writes label volumes on their grid, in the same format where
    that is one file. They are cut as those that it was trained on, HDF5 files read under the same key. A file is one
    case. Only where the network was trained on several channels and a file of a folder has fewer, the files that share
    its name but for the last four digits are its other channels, counted from 0 (``CASE_0000.nii.gz``,
    ``CASE_0001.nii.gz``, ...).

    What is there already is left alone. For an image that is fine where it holds the same mask, else an error.

    Args:
        run: the folder of a run.
        images: a file (PNG, JPEG, TIFF), a folder of them, or a pattern such as ``scans/*.png``; for a network of
            volumes a volume, a DICOM folder, or a folder of them.
        out: folder for the masks; made where missing.
        overlays: also write every image, or slices of a volume, with its outlines, as PNG into ``out/overlays``.
        device: where the network computes; None takes a GPU where there is one.
        trust_code: whether a class of a network that ``run.json`` names may be imported; its code runs then.
        progress: called after every case.

    Returns:
        The masks, in the order of the images.

    Raises:
        InputError: at the end, naming the files that were left out, when all others are done; at once where
            run, images or out cannot be used at all.

    Example:
        >>> predict_images(Path("my_run"), Path("new_images"), Path("new_masks"))[0].name  # doctest: +SKIP
        'a.png'
    """
    trained, predict = load_predictor(run, device, trust_code=trust_code)
    volumes = trained.info["set"].get("preprocessing") is not None
    if volumes:
        cases = find_volumes(images, trained.channels, trained.info["set"].get("image_key"))
    else:
        files = find_images(images)
        cases = [(name, [file]) for name, file in zip(output_names(files), files, strict=True)]
    if images.is_dir() and out.resolve() == images.resolve():
        raise InputError(
            f"--out {out} is the folder of the images: give another one, so that none is mixed up"
        )
    segment = _segment_volume if volumes else _segment_image
    written: list[Path] = []
    troubles: list[str] = []
    for done, (name, parts) in enumerate(cases, start=1):
        try:
            for mask in segment(trained, predict, parts, out, name, overlays):
                written.append(mask)  # also where its overlay fails
        except InputError as error:
            troubles.append(str(error))
        except OSError as error:  # such as a name that is too long for the file system
            troubles.append(f"{parts[0]}: {cannot_write(out / name, error)}")
        except MemoryError:
            troubles.append(f"{parts[0]} does not fit into memory: make it smaller")
        if progress is not None:
            progress(done, len(cases))
    if troubles:
        raise InputError(
            f"{len(written)} of {len(cases)} masks are in {out}, the rest had to be left out: {first_of(troubles)}"
        )
    return written


def _segment_image(
    trained: TrainedRun, predict: Predict, files: Sequence[Path], out: Path, name: str, overlays: bool
) -> Iterator[Path]:
    """Write the mask of an image, yield where it is, and write its overlay."""
    image = read_image(files[0]).array
    labels = labels_at_native(predict, fit_channels(files[0], image, trained.channels), trained.size)
    _write_once(out / name, encode_mask(labels, trained.classes))
    yield out / name
    if overlays:
        drawn = overlay(image, labels, foreground=len(trained.classes) - 1)
        picture = encode_picture(with_legend(drawn, trained.classes, title=files[0].name))
        _write_once(out / "overlays" / name, picture)


def _segment_volume(
    trained: TrainedRun, predict: Predict, files: Sequence[Path], out: Path, name: str, overlays: bool
) -> Iterator[Path]:
    """Write the labels of a volume, yield where they are, and write a picture of its slices."""
    target = out / f"{name}{output_suffix(files[0])}"
    if target.exists():
        raise InputError(f"{target} exists: move it away")
    check_channel_files(files, trained.channels)
    volume = read_volume(files, key=trained.info["set"].get("image_key"))
    if volume.array.shape[3] != trained.channels:
        raise InputError(
            f"{files[0]}: the network was trained on {trained.channels} channels, got {volume.array.shape[3]}"
        )
    stack, placement = cut(volume, SliceOptions.from_dict(trained.info["set"]["preprocessing"]))
    labels = labels_of_stack(predict, stack, trained.grid, placement)
    _make_folder(out)
    write_label_volume(target, labels, volume.grid, like=files[0] if files[0].is_file() else None)
    yield target
    if overlays:
        picture = picture_of(stack, placement, labels, classes=trained.classes, title=name)
        _write_once(out / "overlays" / f"{name}.png", picture)


def _write_once(path: Path, content: bytes) -> None:
    """Write a file, unless it is there already.

    Raises:
        InputError: where another one is.
    """
    _make_folder(path.parent)
    if not path.exists():
        write_bytes(path, content)
    elif not path.is_file() or path.read_bytes() != content:
        raise InputError(f"{path} exists and holds something else: move it away")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
