"""Predictions in an image's own size: for images of a prepared set, and for new image files."""

import glob
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from metadcseg.data.formats.images import SUFFIXES, image_files, read_image, with_channels
from metadcseg.data.loading.input_grid import resize_to_input
from metadcseg.errors import InputError
from metadcseg.evaluation.overlays import Labels, encode_mask, encode_picture, overlay, with_legend
from metadcseg.files import cannot_write, write_bytes
from metadcseg.training.run.folder import TrainedRun, load_run

Image = NDArray[Any]
Predict = Callable[[Tensor], Tensor]
"""(N, C, S, S) normalized images -> (N, L, S, S) class probabilities, S being the input grid's side."""

Progress = Callable[[int, int], object]
"""Called with how many pieces are done, of how many."""

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in Pillow's conversion to gray
_NAMED = 5  # so many bad files are named in the sentence at the end


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
    with torch.inference_mode():
        grid = (
            predict(resize_to_input(image, size, normalized=normalized).unsqueeze(0)).float().cpu()
        )  # (1, L, S, S)
        if not bool(grid.isfinite().all()):
            raise InputError(
                "the network must return finite probabilities, got NaN or infinity: its training diverged, "
                "so train again with a lower --training.lr"
            )
        native = F.interpolate(grid, image.shape[:2], mode="bilinear", align_corners=False)
    return native[0]


def labels_at_native(predict: Predict, image: Image, size: int, *, normalized: bool = False) -> Labels:
    """Return the most probable class of every pixel, (H, W) uint8; see :func:`probabilities_at_native`."""
    probabilities = probabilities_at_native(predict, image, size, normalized=normalized)
    labels: Labels = probabilities.max(dim=0).indices.to(torch.uint8).numpy()
    return labels


def find_images(images: Path) -> list[Path]:
    """Return the files that a path means: itself, the images of a folder, or what a pattern matches.

    Raises:
        InputError: where there is none.
    """
    if images.is_file():
        return [images]
    if images.is_dir():
        files = image_files(images)
        if not files:
            raise InputError(
                f"{images} holds no image ({', '.join(SUFFIXES)}): name another folder or a file"
            )
        return files
    matches = glob.glob(str(images), recursive=True) if glob.has_magic(str(images)) else []
    files = sorted(Path(match) for match in matches if Path(match).is_file())
    if not files:
        raise InputError(f"{images}: there is no such file or folder, and no file matches it as a pattern")
    return files


def output_names(files: Sequence[Path]) -> list[str]:
    """Return one file name for each image: its stem with ``.png``, no two alike on any file system.

    Images that share a stem keep their suffix in the name; those that still collide get a number.

    Example:
        >>> output_names([Path("a.jpg"), Path("b.jpg"), Path("B.png"), Path("x/a.tif"), Path("y/a.tif")])
        ['a.jpg.png', 'b.jpg.png', 'B.png.png', 'a.tif.png', 'a.tif-2.png']
    """
    stems = Counter(file.stem.casefold() for file in files)
    taken: set[str] = set()
    names = []
    for file in files:
        base = file.stem if stems[file.stem.casefold()] == 1 else file.name
        name, number = base, 1
        while name.casefold() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.casefold())
        names.append(f"{name}.png")
    return names


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


def load_predictor(run: Path, device: torch.device | str | None = None) -> tuple[TrainedRun, Predict]:
    """Return a run, and its network as a function of normalized images.

    Args:
        run: the folder of a run.
        device: where it computes; None, or ``auto``, takes a GPU where there is one.

    Raises:
        InputError: where the folder is no run, a file of it is missing or damaged, or there is no such device.
    """
    place = device_of(device)
    trained = load_run(run, place)
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
    progress: Progress | None = None,
) -> list[Path]:
    """Segment image files and write a PNG mask for each, in the image's own size.

    The masks hold 0 and 255 for two classes, class numbers for more (:func:`~.overlays.mask_values`), under
    the names of :func:`output_names`. A file that is there already is left alone: that is fine where it holds
    the same mask, and an error where it holds anything else.

    Args:
        run: the folder of a run.
        images: a file (PNG, JPEG, TIFF), a folder of them, or a pattern such as ``scans/*.png``.
        out: folder for the masks; made where missing.
        overlays: also write every image with its outlines, into ``out/overlays``.
        device: where the network computes; None takes a GPU where there is one.
        progress: called after every file.

    Returns:
        The masks, in the order of the images.

    Raises:
        InputError: at the end, naming the files that were left out, when all others are done; at once where
            run, images or out cannot be used at all.

    Example:
        >>> predict_images(Path("my_run"), Path("new_images"), Path("new_masks"))[0].name  # doctest: +SKIP
        'a.png'
    """
    trained, predict = load_predictor(run, device)
    if trained.info["set"].get("preprocessing"):
        raise InputError(f"{run} was trained on volumes: give volumes")
    files = find_images(images)
    if images.is_dir() and out.resolve() == images.resolve():
        raise InputError(
            f"--out {out} is the folder of the images: give another one, so that none is mixed up"
        )
    written: list[Path] = []
    troubles: list[str] = []
    for done, (file, name) in enumerate(zip(files, output_names(files), strict=True), start=1):
        try:
            image = read_image(file).array
            fitted = fit_channels(file, image, trained.channels)
        except InputError as error:
            troubles.append(str(error))
        else:
            labels = labels_at_native(predict, fitted, trained.size)
            results = {out / name: encode_mask(labels, trained.classes)}
            if overlays:
                results[out / "overlays" / name] = encode_picture(
                    with_legend(
                        overlay(image, labels, foreground=len(trained.classes) - 1),
                        trained.classes,
                        title=file.name,
                    )
                )
            taken = [path for path, content in results.items() if not _write_once(path, content)]
            troubles += [f"{path} exists and holds something else: move it away" for path in taken]
            if out / name not in taken:
                written.append(out / name)
        if progress is not None:
            progress(done, len(files))
    if troubles:
        raise left_out(troubles, len(written), len(files), out)
    return written


def _write_once(path: Path, content: bytes) -> bool:
    """Write a file unless another one is there; return whether ``path`` holds ``content`` now."""
    try:
        if path.exists():
            return path.is_file() and path.read_bytes() == content
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    write_bytes(path, content)
    return True


def left_out(troubles: Sequence[str], written: int, total: int, out: Path) -> InputError:
    """Return the error at the end of a prediction that could not do everything."""
    named = "; ".join(troubles[:_NAMED])
    more = f"; and {len(troubles) - _NAMED} more" if len(troubles) > _NAMED else ""
    return InputError(f"{written} of {total} masks are in {out}, the rest had to be left out: {named}{more}")
