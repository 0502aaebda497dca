"""Predictions of whole volumes, put together from those of their slices."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from metadcseg.constants import IGNORE
from metadcseg.data.formats.geometry import Volume
from metadcseg.data.formats.volumes import (
    is_volume_file,
    output_suffix,
    read_grid,
    read_volume,
    stem_of,
    write_label_volume,
)
from metadcseg.data.loading.input_grid import resize_to_input
from metadcseg.data.loading.volume_grid import input_to_stack, resize_stack_to_input
from metadcseg.data.slicing.cut import SliceOptions, cut, cut_labels
from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.data.store.reader import PreparedSet, StoredVolume
from metadcseg.errors import InputError
from metadcseg.evaluation.overlays import Labels, encode_picture, kind_of, montage, with_legend
from metadcseg.evaluation.predict import Predict, Progress, left_out, load_predictor
from metadcseg.files import cannot_write, write_bytes
from metadcseg.metrics import CaseScore, score_labels

_CHANNEL = re.compile(r"(.+)_(\d{4})")


def labels_of_stack(
    predict: Predict,
    stack: Sequence[NDArray[Any]] | NDArray[Any],
    size: int,
    placement: SliceGeometry,
    depth: int | None = None,
) -> Labels:
    """Return the labels of a volume from its slices.

    Args:
        predict: the trained network.
        stack: every slice of the volume in order, (H, W, C), normalized as the network was trained.
        size: side of the input grid in pixels.
        placement: where the slices lie in the volume.
        depth: slices of the input grid of a network of volumes; None for one that predicts slice by slice.

    Returns:
        (X, Y, Z) uint8 class numbers, in the order and on the grid of the volume's file.

    Raises:
        InputError: where the network returns values that are not finite.
    """

    def finite(images: Tensor) -> Tensor:
        with torch.inference_mode():
            found = predict(images.unsqueeze(0)).float().cpu()[0]
        if not bool(found.isfinite().all()):
            raise InputError(
                "the network must return finite probabilities, got NaN or infinity: its training diverged, "
                "so train again with a lower --training.lr"
            )
        return found

    def planes() -> Iterator[NDArray[np.float32]]:
        whole = None if depth is None else finite(resize_stack_to_input(stack, depth, size))
        each = None if whole is None else input_to_stack(whole, len(stack))
        for number, plane in enumerate(stack):
            maps = finite(resize_to_input(plane, size, normalized=True)) if each is None else each[number]
            yield F.interpolate(maps[None], plane.shape[:2], mode="bilinear", align_corners=False)[0].numpy()

    return placement.restore(planes())


def predict_stored(
    predict: Predict, prepared: PreparedSet, volume: StoredVolume, size: int, depth: int | None = None
) -> Labels:
    """Return the labels of a volume of a prepared set, (X, Y, Z) uint8.

    Raises:
        InputError: where slices of it were dropped, or stored bytes are damaged.
    """
    cases = prepared.slices_of(volume)
    if len(cases) != volume.placement.slices:
        raise InputError(
            f"volume '{volume.id}' holds {len(cases)} of its {volume.placement.slices} slices and cannot be put "
            "together: choose another --split, or prepare the set with --empty keep"
        )
    return labels_of_stack(predict, [prepared.image(case) for case in cases], size, volume.placement, depth)


def picture_of(
    stack: Sequence[NDArray[Any]] | NDArray[Any],
    placement: SliceGeometry,
    labels: Labels,
    reference: Labels | None = None,
    *,
    classes: Sequence[str],
    title: str,
    verified: bool = True,
) -> bytes:
    """Return slices of a volume with their outlines and a legend as a PNG file, see :func:`~.overlays.montage`.

    Args:
        stack: every slice in order, (H, W, C).
        placement: where they lie in the volume.
        labels: (X, Y, Z) on the grid of the file.
        reference: likewise, or None.
        classes: names, background first.
        title: name of the case.
        verified: whether the reference is, or is the label as given.
    """
    grid = placement.grid
    found = cut_labels(Volume(labels, grid), placement)
    compared = None if reference is None else cut_labels(Volume(reference, grid), placement)
    picture = montage(stack, found, compared, verified=verified, foreground=len(classes) - 1)
    return encode_picture(with_legend(picture, classes, title=title, reference=kind_of(compared, verified)))


def score_volume(
    labels: Labels, prepared: PreparedSet, volume: StoredVolume
) -> tuple[CaseScore, CaseScore | None]:
    """Return the scores of the classes, and of the set's regions where it has some, on the grid of the file."""
    reference = prepared.reference(volume)
    grid = volume.placement.grid
    spacing = grid.spacing() if grid.known else None
    kind = "truth" if volume.verified else "label"
    classes = score_labels(labels, reference, prepared.classes, spacing)
    score = CaseScore(volume.row, volume.id, volume.group, kind, classes)
    return score, score_regions(score, labels, reference, prepared.regions, spacing)


def predict_volumes(
    run: Path,
    images: Path,
    out: Path,
    *,
    overlays: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Segment volumes and write a label volume for each, over its image: same grid, same format where it is one file.

    The volumes are cut as those that the network was trained on, HDF5 files read under the same key. A file is one
    case. Only where the network was trained on several channels and a file of a folder has fewer, the files that share
    its name but for the last four digits are its other channels, counted from 0 (``CASE_0000.nii.gz``,
    ``CASE_0001.nii.gz``, ...). What is there already is left alone.

    Args:
        run: the folder of a run that was trained on volumes.
        images: a file, a DICOM folder, or a folder of them.
        out: folder for the label volumes; made where missing.
        overlays: also write slices with their outlines, as PNG into ``out/overlays``.
        device: where the network computes; None takes a GPU where there is one.
        progress: called after every volume.

    Returns:
        The label volumes, in the order of the images.

    Raises:
        InputError: at the end, naming the files that were left out, when all others are done; at once where run, images
            or out cannot be used at all.
    """
    trained, predict = load_predictor(run, device)
    options = SliceOptions.from_dict(trained.info["set"]["preprocessing"])
    key = trained.info["set"].get("image_key")
    cases = _cases(images, trained.channels, key)
    if images.is_dir() and out.resolve() == images.resolve():
        raise InputError(
            f"--out {out} is the folder of the images: give another one, so that none is mixed up"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    written, troubles = [], []
    for done, (name, files) in enumerate(cases, start=1):
        target = out / f"{name}{output_suffix(files[0])}"
        try:
            if target.exists():
                raise InputError(f"{target} exists: move it away")
            _check_numbers(files, trained.channels)
            volume = read_volume(files, key=key)
            if volume.array.shape[3] != trained.channels:
                raise InputError(
                    f"{files[0]}: the network was trained on {trained.channels} channels, got {volume.array.shape[3]}"
                )
            stack, placement = cut(volume, options)
            labels = labels_of_stack(predict, stack, trained.size, placement, trained.depth)
            write_label_volume(target, labels, volume.grid, like=files[0] if files[0].is_file() else None)
            written.append(target)
            if overlays:
                (out / "overlays").mkdir(exist_ok=True)
                picture = picture_of(stack, placement, labels, classes=trained.classes, title=name)
                write_bytes(out / "overlays" / f"{name}.png", picture)
        except InputError as error:
            troubles.append(str(error))
        if progress is not None:
            progress(done, len(cases))
    if troubles:
        raise left_out(troubles, len(written), len(cases), out)
    return written


def _cases(images: Path, channels: int, key: str | None) -> list[tuple[str, list[Path]]]:
    """Return name and files of every volume that a path means."""
    if is_volume_file(images) and images.exists():
        return [(stem_of(images), [images])]
    if not images.is_dir():
        what = "is no volume" if images.exists() else "does not exist"
        raise InputError(
            f"{images} {what}: the network was trained on volumes, give one, or a folder of them"
        )
    files = [
        path for path in sorted(images.iterdir()) if not path.name.startswith(".") and is_volume_file(path)
    ]
    if not files:
        raise InputError(f"{images} holds no volume: the network was trained on volumes, name another folder")
    cases: list[tuple[str, list[Path]]] = []
    parts: dict[str, list[Path]] = {}
    for path in files:
        found = _CHANNEL.fullmatch(stem_of(path))
        if channels == 1 or found is None or not _is_part(path, channels, key):
            cases.append((stem_of(path), [path]))  # four digits may as well be the number of a patient
        elif found[1] in parts:
            parts[found[1]].append(path)
        else:
            parts[found[1]] = [path]
            cases.append((found[1], parts[found[1]]))
    return cases


def _is_part(path: Path, channels: int, key: str | None) -> bool:
    """Return whether a file holds only some of the channels; one that cannot be read is named when its turn comes."""
    try:
        return read_grid(path, key=key)[1] < channels
    except InputError:
        return False


def _check_numbers(files: Sequence[Path], channels: int) -> None:
    """Refuse files of channels of which one is missing: the others would be taken for it."""
    if len(files) == 1:
        return
    found = [stem_of(path)[-4:] for path in files]
    wanted = [f"{number:04d}" for number in range(channels)]
    if found != wanted:
        raise InputError(
            f"{files[0]}: the network was trained on {channels} channels, files {wanted[0]} to {wanted[-1]}, got "
            f"{', '.join(found[:8])}: name every channel once"
        )


def score_regions(
    score: CaseScore,
    labels: Labels,
    reference: Labels,
    regions: Mapping[str, Sequence[int]] | None,
    spacing: tuple[float, ...] | None,
) -> CaseScore | None:
    """Return the scores of a set's regions for a case, None where it has none.

    Args:
        score: of its classes.
        labels: predicted, of any shape.
        reference: of the same shape.
        regions: name -> members.
        spacing: in mm along each axis, where it is known.
    """
    if not regions:
        return None
    unions = {
        name: score_labels(_union(labels, members), _union(reference, members), ("background", name), spacing)
        for name, members in regions.items()
    }
    return replace(score, classes={name: found[name] for name, found in unions.items()})


def _union(labels: Labels, members: Sequence[int]) -> Labels:
    """Return 1 where a label is one of the members, 255 where it is unknown, else 0."""
    union: Labels = np.isin(labels, members).astype(np.uint8)
    union[labels == IGNORE] = IGNORE
    return union
