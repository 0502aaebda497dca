"""COCO instances (``annotations.json``), as CVAT, Roboflow, Label Studio and others export them.

Polygons become runs by pycocotools, so masks are those that every COCO tool sees. Runs (lists, or packed in letters)
are decoded here: of runs that do not fill the image pycocotools shows what happens to lie in memory.
Crowds (``iscrowd``) are regions of their class like others.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from metadcseg.data.annotations.shapes import NOTHING, Drawn, Entry, Export, Patch, Shape, Size
from metadcseg.data.annotations.values import (
    Key,
    class_name,
    image_size,
    number,
    person,
    stem_candidates,
)
from metadcseg.data.findings import listed, plural
from metadcseg.errors import InputError, shown
from metadcseg.extras import Extra
from metadcseg.schemas import fitting, part

masks: Any = Extra("pycocotools.mask", "annotations", "COCO files", "pycocotools")

_WHO = ("annotator", "annotator_id", "created_by")


class ImageSaid(Struct):
    """One of ``images``; what is wrong with name or size is the fault of this image alone."""

    id: Key
    file_name: Any = None
    height: Any = None
    width: Any = None


class CategorySaid(Struct):
    """One of ``categories``."""

    id: Key
    name: Any = None


class RunsSaid(Struct):
    """``segmentation`` by runs, as they are or packed in letters."""

    size: Any = None
    counts: Any = None


class AnnotationSaid(Struct):
    """One of ``annotations``; what is wrong beside ``image_id`` is the fault of its image alone."""

    image_id: Key
    id: Any = None
    category_id: Any = None
    segmentation: Any = None
    bbox: Any = None
    attributes: Any = None
    annotator: Any = None
    annotator_id: Any = None
    created_by: Any = None


class FileSaid(Struct):
    """The file."""

    images: list[ImageSaid]
    annotations: list[AnnotationSaid] = []
    categories: list[CategorySaid] = []


_LONGEST = 4_000_000  # pixels along an outline: pycocotools takes 80 bytes for each


def is_coco(content: object) -> bool:
    """Return whether a JSON file is one of COCO: images, and annotations or categories."""
    return (
        isinstance(content, dict)
        and "images" in content
        and bool({"annotations", "categories"} & set(content))
    )


def read(path: Path, content: dict[str, Any]) -> Export:
    """Return what the file says about each of its images; one without annotation has an empty mask.

    Raises:
        InputError: where the file as a whole makes no sense.
    """
    file: FileSaid = fitting(content, FileSaid, str(path), "export it again")
    categories = _categories(path, file.categories)
    images: dict[Key, ImageSaid] = {}
    for image in file.images:
        if image.id in images:
            raise InputError(f"{path}: two images have the id {shown(image.id)}: export it again")
        images[image.id] = image
    drawn: dict[Key, list[tuple[int, AnnotationSaid]]] = defaultdict(list)
    strays = 0
    for place, held in enumerate(file.annotations):
        strays += held.image_id not in images
        drawn[held.image_id].append((place, held))
    entries = [_entry(path, image, drawn[key], categories) for key, image in images.items()]
    many = plural(strays, "annotation")
    notes = (f"{many} of images that the file does not list, passed over",) if strays else ()
    return Export(tuple(entries), tuple(dict.fromkeys(categories.values())), notes)


def paint(held: AnnotationSaid, size: Size) -> Patch:
    """Return the pixels of an annotation.

    Raises:
        InputError: where its segmentation is missing, of another size than its image, or makes no sense.
    """
    segmentation = held.segmentation
    if isinstance(segmentation, dict):
        return Patch(0, 0, _runs(part(segmentation, RunsSaid), size))
    if not isinstance(segmentation, list):
        raise InputError(f"has no 'segmentation' but {shown(segmentation)}, boxes alone are no masks")
    if not segmentation:
        box = " (a box alone is no mask)" if held.bbox else ""
        raise InputError(f"has an empty 'segmentation'{box}")
    rings = [_ring(each, size) for each in segmentation]
    cut = any((ring < -1).any() or (ring > np.array(size[::-1]) + 1).any() for ring in rings)
    usable = [ring.ravel().tolist() for ring in rings if len(ring) > 2]
    if not usable:
        return NOTHING
    runs = [_lengths(each["counts"].decode("ascii")) for each in masks.frPyObjects(usable, *size)]
    return Patch(0, 0, np.logical_or.reduce([_pixels(each, size) for each in runs]), cut)


def _categories(path: Path, categories: Sequence[CategorySaid]) -> dict[Key, str]:
    names: dict[Key, str] = {}
    for category in categories:
        key = category.id
        try:
            name = class_name(category.name)
        except InputError as error:
            raise InputError(f"{path}: category {shown(key)} {error}") from error
        if names.setdefault(key, name) != name:
            raise InputError(
                f"{path}: '{names[key]}' and '{name}' are both category {shown(key)}: export it again"
            )
    return names


def _entry(
    path: Path, image: ImageSaid, drawn: list[tuple[int, AnnotationSaid]], categories: dict[Key, str]
) -> Entry:
    try:
        stems = stem_candidates(image.file_name)
    except InputError as error:
        raise InputError(f"{path}: image {shown(image.id)} {error}: export it again") from error
    shapes, fault, size = [], "", None
    try:
        size = image_size(image.height, image.width)
        for place, held in drawn:
            category = held.category_id
            if not isinstance(category, int | str) or category not in categories:
                raise InputError(
                    f"has an annotation of the category {shown(category)}, which the file does not list"
                )
            said = f"annotation {shown(place if held.id is None else held.id)} ('{categories[category]}')"
            shapes.append(Shape(categories[category], said, held))
    except InputError as error:
        fault = f"{error}: correct it"
    called = Path(f"{path} ({stems[-1]})")
    people = sorted({name for _, held in drawn if (name := _annotator(held)) is not None})
    many = f"shapes of {len(people)} annotators ({listed(people, 5)})" if len(people) > 1 else ""
    mask = Drawn(called, (path,), size, tuple(shapes), paint, fault=fault)
    return Entry(path, tuple(stems), mask, many, people[0] if len(people) == 1 else None)


def _annotator(held: AnnotationSaid) -> str | None:
    """Return who drew an annotation, where one of the keys that tools use for it says so."""
    more = held.attributes if isinstance(held.attributes, dict) else {}
    told = [*(getattr(held, key) for key in _WHO), *(more.get(key) for key in _WHO)]
    return next((name for each in told if (name := person(each))), None)


def _ring(held: object, size: Size) -> Any:
    """Return one polygon, (N, 2), of an outline that fits into memory."""
    if not isinstance(held, list) or len(held) % 2:
        raise InputError(f"has a polygon that is no list of x, y, x, y, ... but {shown(held)}")
    ring = np.array([number(each, "a coordinate") for each in held], np.float64).reshape(-1, 2)
    if len(ring) and np.abs(ring - np.roll(ring, 1, axis=0)).max(axis=1).sum() > _LONGEST:
        raise InputError(
            f"has an outline longer than {_LONGEST:,} pixels in an image of {size[0]} x {size[1]}"
        )
    return ring


def _runs(held: RunsSaid, size: Size) -> NDArray[np.bool_]:
    """Return the pixels of runs."""
    sides = held.size
    if sides != list(size):
        got = f"{sides[0]} x {sides[1]}" if isinstance(sides, list) and len(sides) == 2 else shown(sides)
        raise InputError(f"has runs of {got[:40]} pixels, its image {size[0]} x {size[1]}")
    counts = part(held.counts, str | list[int], "has runs that", "text or a list of whole numbers")
    return _pixels(_lengths(counts) if isinstance(counts, str) else counts, size)


def _pixels(lengths: list[int], size: Size) -> NDArray[np.bool_]:
    """Return the pixels of runs down the columns, background first."""
    if any(each < 0 for each in lengths) or sum(lengths) != size[0] * size[1]:
        raise InputError(f"has runs that do not fill an image of {size[0]} x {size[1]} pixels exactly")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size[::-1]).T


def _lengths(text: str) -> list[int]:
    """Return the lengths that COCO packs into letters: 5 bits each, lowest first, from the third on as differences."""
    lengths: list[int] = []
    value = shift = 0
    for code in text.encode("ascii", "replace"):
        bits = code - 48
        if not 0 <= bits < 64 or shift > 30:
            raise InputError("has runs in letters that COCO does not use")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) and 1 << shift
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    if shift:
        raise InputError("has runs that end in the middle of a number")
    return lengths
