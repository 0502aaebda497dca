"""What the values of a prepared set must be like; the writer refuses everything else."""

import json
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np

from metadcseg.constants import IGNORE
from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.data.store.arrays import Chunk
from metadcseg.data.store.layout import IMAGE_DTYPES, MAX_SIDE, MAX_VALUES, Array, dtype_name
from metadcseg.errors import InputError


def checked_arrays(
    id: str,
    sizes: tuple[int, int],
    *,
    image: Array,
    label: Array,
    truth: Array | None = None,
    given: Array | None = None,
    edges: Array | None = None,
    label_confidence: Array | None = None,
    outlines: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
    """Refuse arrays of a case that no set can hold; return those that are there by kind, as they are stored.

    Args:
        id: of the case.
        sizes: channels of its image, and number of classes.
        image: (H, W, C).
        label: (H, W) uint8, and so all that follow.
        truth: the reference.
        given: the mask that a verified one replaced.
        edges: 255 times their probability.
        label_confidence: how far the label is to be trusted.
        outlines: annotator -> what he drew.

    Raises:
        InputError: naming the case, the array and what is wrong with it.
    """
    channels, classes = sizes
    arrays = {
        "image": checked_image(id, image, channels),
        "label": checked_mask(id, "label", label, image.shape, classes),
    }
    if truth is not None:
        arrays["truth"] = checked_mask(id, "truth", truth, image.shape, classes)
    if given is not None:
        arrays["given"] = checked_mask(id, "given", given, image.shape, classes)
    if edges is not None:
        arrays["edges"] = checked_size(id, "edges", edges, image.shape)
    if label_confidence is not None:
        arrays["trust"] = checked_size(id, "label_confidence", label_confidence, image.shape)
    if outlines:
        arrays["outlines"] = checked_outlines(id, outlines, image.shape, classes)
    return arrays


def check_counts(classes: int, channels: int) -> None:
    """Refuse numbers of classes and channels that no set can have.

    Raises:
        InputError: naming the number.
    """
    if not 2 <= classes <= IGNORE:
        raise InputError(
            f"classes must name 2 to {IGNORE} classes, background first, got {classes}; name every label value from "
            "0 on"
        )
    if channels < 1:
        raise InputError(f"channels must be at least 1, got {channels}; give the images' channel count")


def check_kinds(id: str, role: str, kinds: Container[str], *, edges: bool) -> None:
    """Refuse a replaced mask without the verified one, and edges in some cases of a set.

    Args:
        id: of the case.
        role: of the case.
        kinds: of its arrays.
        edges: whether the set has them.

    Raises:
        InputError: naming the case.
    """
    if "given" in kinds and role != "gold" and "truth" not in kinds:
        raise InputError(
            f"case {id!r} ({role}) has a given mask, but no verified one that replaced it: add its truth, or "
            "leave given out"
        )
    if ("edges" in kinds) != edges:
        has, wants = ("has", "names no") if "edges" in kinds else ("has no", "names an")
        raise InputError(
            f"case {id!r} {has} edges, but the set {wants} edge_detector: give both or neither, for every case"
        )


def checked_image(id: str, image: Array, channels: int) -> Array:
    """Refuse what is not (H, W, channels) of a type that can be stored, finite."""
    if image.ndim != 3 or image.shape[2] != channels or dtype_name(image.dtype) not in IMAGE_DTYPES:
        raise InputError(
            f"case {id!r}: image must be (H, W, {channels}) of {', '.join(IMAGE_DTYPES)}, "
            f"got {image.shape} of {image.dtype.name}; convert it"
        )
    if min(image.shape) < 1 or max(image.shape) > MAX_SIDE or image.size > MAX_VALUES:
        raise InputError(f"case {id!r}: an image of {image.shape} cannot be stored; crop or resample it")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise InputError(f"case {id!r}: image holds NaN or infinite values; replace or leave out the case")
    return np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))


def checked_mask(id: str, kind: str, mask: Array, image: tuple[int, ...], classes: int) -> Array:
    """Refuse a mask of another size or with values that are no class."""
    mask = checked_size(id, kind, mask, image)
    _refuse_values(f"case {id!r}", kind, mask, classes)
    return mask


def checked_outlines(id: str, outlines: Mapping[str, Array], image: tuple[int, ...], classes: int) -> Array:
    """Refuse outlines of another size or with values that are no class; return all of them, (annotators, H, W)."""
    if image[0] * image[1] * len(outlines) > MAX_VALUES:
        raise InputError(
            f"case {id!r}: {len(outlines)} outlines of {image[:2]} cannot be stored (at most {MAX_VALUES} pixels): "
            "leave some out"
        )
    return np.stack(
        [checked_mask(id, f"outline of {name}", mask, image, classes) for name, mask in outlines.items()]
    )


def check_annotators(
    id: str, chunks: Mapping[str, Chunk], annotators: Sequence[str], annotator: str | None
) -> None:
    """Refuse names that do not fit the outlines of a case.

    Args:
        id: of the case.
        chunks: its arrays by kind.
        annotators: who drew them.
        annotator: who drew the mask as given.

    Raises:
        InputError: naming the case.
    """
    count = chunks["outlines"].shape[0] if "outlines" in chunks else 0
    if not fitting_annotators(count, annotators, annotator):
        raise InputError(
            f"case {id!r}: {count} outlines need as many different names of annotators, got {list(annotators)}, and "
            f"the mask as given is of one of them or of nobody, got {annotator!r}; correct them"
        )


def fitting_annotators(count: int, annotators: Sequence[str], annotator: str | None) -> bool:
    """Return whether names fit so many outlines: as many, each once, and that of the mask as given among them."""
    known = len(set(annotators)) == len(annotators) == count and all(annotators)
    return known and (annotator is None or annotator in annotators)


def check_slice(
    id: str,
    number: int,
    shape: tuple[int, ...],
    unit: tuple[str, str],
    volume: Mapping[str, Any],
    placement: SliceGeometry,
    *,
    free: bool,
) -> None:
    """Refuse a slice that does not fit its volume.

    Args:
        id: of its case.
        number: in the complete stack.
        shape: of its image.
        unit: role and group of the case.
        volume: the row that describes its volume.
        placement: of all slices of the volume.
        free: whether no other case is that slice.

    Raises:
        InputError: naming the case and the volume.
    """
    size = (placement.height, placement.width)
    fits = 0 <= number < placement.slices and shape[:2] == size and free
    if not fits or (volume["role"], volume["group"]) != unit:
        raise InputError(
            f"case {id!r}: slice {number} of {shape[:2]}, role {unit[0]}, does not fit volume {volume['id']!r} of "
            f"{placement.slices} slices of {size}, role {volume['role']}; give each slice once, role and group as its "
            "volume"
        )


def checked_reference(id: str, reference: Array, placement: SliceGeometry, classes: int) -> Array:
    """Refuse a label volume of another size than its file, or with values that are no class."""
    shape = placement.grid.shape
    if reference.shape != shape or dtype_name(reference.dtype) != "uint8" or reference.size > MAX_VALUES:
        raise InputError(
            f"volume {id!r}: reference must be {shape} of uint8 like its file (at most {MAX_VALUES} voxels), "
            f"got {reference.shape} of {reference.dtype.name}; check that they belong together"
        )
    _refuse_values(f"volume {id!r}", "reference", reference, classes)
    return np.ascontiguousarray(reference)


def checked_regions(regions: Mapping[str, Sequence[int]], classes: int) -> dict[str, list[int]]:
    """Refuse regions that name labels which the set does not have."""
    for name, labels in regions.items():
        if not labels or not all(isinstance(label, int) and 0 < label < classes for label in labels):
            raise InputError(
                f"region {name!r} must name labels from 1 to {classes - 1}, got {list(labels)}; correct it"
            )
    return {str(name): [int(label) for label in labels] for name, labels in regions.items()}


def _refuse_values(who: str, kind: str, mask: Array, classes: int) -> None:
    known = mask[mask != IGNORE]
    if known.size and int(known.max()) >= classes:
        raise InputError(
            f"{who}: {kind} holds the value {int(known.max())}, allowed are 0 to "
            f"{classes - 1} and {IGNORE} (unknown); remap the label values"
        )


def checked_size(id: str, kind: str, array: Array, image: tuple[int, ...]) -> Array:
    """Refuse what is not (H, W) uint8 like its image."""
    if array.shape != image[:2] or dtype_name(array.dtype) != "uint8":
        raise InputError(
            f"case {id!r}: {kind} must be {image[:2]} of uint8 like its image, "
            f"got {array.shape} of {array.dtype.name}; check that they belong together"
        )
    return np.ascontiguousarray(array)


def checked_spacing(id: str, spacing: tuple[float, float] | None) -> list[float] | None:
    """Refuse sizes of a pixel that are no sizes; return plain numbers."""
    if spacing is None:
        return None
    values = [float(value) for value in spacing]
    if len(values) != 2 or not all(np.isfinite(value) and value > 0 for value in values):
        raise InputError(
            f"case {id!r}: spacing must be two positive numbers (row, column) in mm, got {spacing}; "
            "correct it or leave it out"
        )
    return values


def json_bytes(name: str, value: Mapping[str, Any]) -> bytes:
    """Return values as JSON; what is none is refused."""
    try:
        return json.dumps(value, indent=1, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must hold JSON values only, got {error}; convert them first") from error
