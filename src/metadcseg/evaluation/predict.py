"""Predictions in an image's own size, or on a volume's own grid."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from metadcseg.data.formats.images import with_channels
from metadcseg.data.loading.input_grid import Size, input_to_stack, stack_to_input
from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.errors import InputError
from metadcseg.evaluation.inference import DEFAULT, InferenceOptions, in_chunks
from metadcseg.evaluation.overlays import Labels
from metadcseg.training.run.folder import TrainedRun, load_run

Image = NDArray[Any]
Predict = Callable[[Tensor], Tensor]
"""(N, C, S, S) normalized images -> (N, L, S, S) class probabilities, S being the input grid's side."""

Progress = Callable[[int, int], object]
"""Called with how many pieces are done, of how many."""

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in Pillow's conversion to gray


def probabilities_at_native(
    predict: Predict,
    image: Image,
    size: int,
    *,
    normalized: bool = False,
    options: InferenceOptions = DEFAULT,
) -> Tensor:
    """Return class probabilities for every pixel of an image.

    The image is normalized and brought to the input grid. The probabilities come back by bilinear resampling, as in
    validation: they still sum to one, and outlines are finer than those of a resampled mask.

    Args:
        predict: the trained network.
        image: (H, W, C) uint8, uint16 or float32, any H and W.
        size: side of the input grid in pixels.
        normalized: whether the image is normalized already, as slices of volumes are.
        options: the same that ``predict`` was made with.

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
    found = probabilities_of_stack(predict, [image], (size, size), normalized=normalized, options=options)
    return next(found)


def probabilities_of_stack(
    predict: Predict,
    stack: Sequence[Image] | Image,
    grid: Size,
    *,
    normalized: bool = True,
    options: InferenceOptions = DEFAULT,
) -> Iterator[Tensor]:
    """Yield class probabilities for every pixel of each slice of a case, an image being a stack of one.

    Args:
        predict: the trained network.
        stack: every slice in order, (H, W, C); to a network of images they may as well be images of any sizes.
        grid: of the network: (S, S) of one that predicts slice by slice, (Z, S, S) of one of volumes.
        normalized: whether they are normalized already, as slices of volumes are.
        options: the same that ``predict`` was made with.

    Yields:
        (L, H, W) float32 on the CPU.

    Raises:
        InputError: where the network returns values that are not finite.
    """
    parts = [stack] if len(grid) == 3 else [[plane] for plane in stack]
    for chunk in in_chunks(parts, options.batch_size):
        inputs = [stack_to_input(part, options.grid_of(part, grid), normalized=normalized) for part in chunk]
        for part, maps in zip(chunk, _answers(predict, inputs), strict=True):
            for plane, own in zip(part, input_to_stack(maps, len(part)), strict=True):
                yield F.interpolate(own[None], plane.shape[:2], mode="bilinear", align_corners=False)[0]


def _answers(predict: Predict, inputs: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield what the network says of each input, of all at once where they are of one size."""
    alike = len({tuple(one.shape) for one in inputs}) == 1
    for batch in [torch.stack(list(inputs))] if alike else [one.unsqueeze(0) for one in inputs]:
        with torch.inference_mode():
            maps = predict(batch).float().cpu()
        if not bool(maps.isfinite().all()):
            raise InputError(
                "the network must return finite probabilities, got NaN or infinity: its training diverged, "
                "so train again with a lower --training.lr"
            )
        yield from maps


def most_probable(probabilities: Tensor) -> Labels:
    """Return the most probable class of every pixel, (H, W) uint8, from (L, H, W); the first of equals."""
    labels: Labels = probabilities.max(dim=0).indices.to(torch.uint8).numpy()
    return labels


def labels_of_stack(
    predict: Predict,
    stack: Sequence[Image] | Image,
    grid: Size,
    placement: SliceGeometry,
    options: InferenceOptions = DEFAULT,
) -> Labels:
    """Return the labels of a volume from its slices.

    Args:
        predict: the trained network.
        stack: every slice of the volume in order, (H, W, C), normalized as the network was trained.
        grid: of the network: (S, S) of one that predicts slice by slice, (Z, S, S) of one of volumes.
        placement: where the slices lie in the volume.
        options: the same that ``predict`` was made with.

    Returns:
        (X, Y, Z) uint8 class numbers, in the order and on the grid of the volume's file.

    Raises:
        InputError: where the network returns values that are not finite.
    """
    found = probabilities_of_stack(predict, stack, grid, options=options)
    return placement.restore(maps.numpy() for maps in found)


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
    run: Path,
    device: torch.device | str | None = None,
    options: InferenceOptions = DEFAULT,
    *,
    trust_code: bool = False,
) -> tuple[TrainedRun, Predict]:
    """Return a run, and its network as a function of normalized images.

    Args:
        run: the folder of a run.
        device: where it computes; None, or ``auto``, takes a GPU where there is one.
        options: how the network is asked.
        trust_code: whether a class of a network that ``run.json`` names may be imported; its code runs then.

    Raises:
        InputError: where the folder is no run, a file of it is missing or damaged, it names a class without
            ``trust_code``, there is no such device, or the options do not fit the network.
    """
    place = device_of(device)
    trained = load_run(run, place, trust_code=trust_code)
    options.check_training(trained.info["training"])
    return trained, lambda images: trained.predict(
        images.to(place),
        windows=options.windows,
        overlap=options.overlap,
        batch=options.batch_size,
        flips=options.flips,
    )


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
