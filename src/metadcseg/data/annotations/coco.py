"""COCO instances (``annotations.json``), as CVAT, Roboflow, Label Studio and others export them.

Polygons become runs by pycocotools, so masks are those that every COCO tool sees. Runs (lists, or packed in letters)
are decoded here: of runs that do not fill the image pycocotools shows what happens to lie in memory.
Crowds (``iscrowd``) are regions of their class like others.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.annotations.shapes import NOTHING, Drawn, Entry, Export, Patch, Shape, Size
from metadcseg.data.annotations.values import (
    class_name,
    image_size,
    number,
    objects,
    person,
    shown,
    stem_candidates,
)
from metadcseg.data.findings import listed, plural
from metadcseg.errors import InputError
from metadcseg.extras import Extra

masks: Any = Extra("pycocotools.mask", "annotations", "COCO files", "pycocotools")

_WHO = ("annotator", "annotator_id", "created_by")

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
    categories = _categories(path, content)
    images: dict[Any, dict[str, Any]] = {}
    for image in objects(content["images"], f"{path}: 'images'"):
        if (key := _key(path, image, "id")) in images:
            raise InputError(f"{path}: two images have the id {shown(key)}: export it again")
        images[key] = image
    drawn: dict[Any, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    strays = 0
    for place, held in enumerate(objects(content.get("annotations", []), f"{path}: 'annotations'")):
        key = _key(path, held, "image_id")
        strays += key not in images
        drawn[key].append((place, held))
    entries = [_entry(path, image, drawn[key], categories) for key, image in images.items()]
    many = plural(strays, "annotation")
    notes = (f"{many} of images that the file does not list, passed over",) if strays else ()
    return Export(tuple(entries), tuple(dict.fromkeys(categories.values())), notes)


def paint(held: dict[str, Any], size: Size) -> Patch:
    """Return the pixels of an annotation.

    Raises:
        InputError: where its segmentation is missing, of another size than its image, or makes no sense.
    """
    segmentation = held.get("segmentation")
    if isinstance(segmentation, dict):
        return Patch(0, 0, _runs(segmentation, size))
    if not isinstance(segmentation, list):
        raise InputError(f"has no 'segmentation' but {shown(segmentation)}, boxes alone are no masks")
    if not segmentation:
        box = " (a box alone is no mask)" if held.get("bbox") else ""
        raise InputError(f"has an empty 'segmentation'{box}")
    rings = [_ring(each, size) for each in segmentation]
    cut = any((ring < -1).any() or (ring > np.array(size[::-1]) + 1).any() for ring in rings)
    usable = [ring.ravel().tolist() for ring in rings if len(ring) > 2]
    if not usable:
        return NOTHING
    runs = [_lengths(each["counts"].decode("ascii")) for each in masks.frPyObjects(usable, *size)]
    return Patch(0, 0, np.logical_or.reduce([_pixels(each, size) for each in runs]), cut)


def _categories(path: Path, content: dict[str, Any]) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for category in objects(content.get("categories", []), f"{path}: 'categories'"):
        key = _key(path, category, "id")
        try:
            name = class_name(category.get("name"))
        except InputError as error:
            raise InputError(f"{path}: category {shown(key)} {error}") from error
        if names.setdefault(key, name) != name:
            raise InputError(
                f"{path}: '{names[key]}' and '{name}' are both category {shown(key)}: export it again"
            )
    return names


def _entry(
    path: Path, image: dict[str, Any], drawn: list[tuple[int, dict[str, Any]]], categories: dict[Any, str]
) -> Entry:
    name = image.get("file_name")
    try:
        stems = stem_candidates(name)
    except InputError as error:
        raise InputError(f"{path}: image {shown(image.get('id'))} {error}: export it again") from error
    shapes, fault, size = [], "", None
    try:
        size = image_size(image.get("height"), image.get("width"))
        for place, held in drawn:
            category = held.get("category_id")
            if not isinstance(category, int | str) or category not in categories:
                raise InputError(
                    f"has an annotation of the category {shown(category)}, which the file does not list"
                )
            said = f"annotation {shown(held.get('id', place))} ('{categories[category]}')"
            shapes.append(Shape(categories[category], said, held))
    except InputError as error:
        fault = f"{error}: correct it"
    called = Path(f"{path} ({stems[-1]})")
    people = sorted({name for _, held in drawn if (name := _annotator(held)) is not None})
    many = f"shapes of {len(people)} annotators ({listed(people, 5)})" if len(people) > 1 else ""
    mask = Drawn(called, (path,), size, tuple(shapes), paint, fault=fault)
    return Entry(path, tuple(stems), mask, many, people[0] if len(people) == 1 else None)


def _annotator(held: dict[str, Any]) -> str | None:
    """Return who drew an annotation, where one of the keys that tools use for it says so."""
    more = held.get("attributes")
    places = [held, more] if isinstance(more, dict) else [held]
    return next((name for place in places for key in _WHO if (name := person(place.get(key)))), None)


def _key(path: Path, held: dict[str, Any], key: str) -> int | str:
    found = held.get(key)
    if isinstance(found, bool) or not isinstance(found, int | str):
        raise InputError(f"{path}: '{key}' must be a number or text, got {shown(found)}: export it again")
    return found


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


def _runs(held: dict[str, Any], size: Size) -> NDArray[np.bool_]:
    """Return the pixels of runs."""
    if held.get("size") != list(size):
        sides = held.get("size")
        got = f"{sides[0]} x {sides[1]}" if isinstance(sides, list) and len(sides) == 2 else shown(sides)
        raise InputError(f"has runs of {got[:40]} pixels, its image {size[0]} x {size[1]}")
    counts = held.get("counts")
    if isinstance(counts, str):
        return _pixels(_lengths(counts), size)
    if isinstance(counts, list) and all(type(each) is int for each in counts):
        return _pixels(counts, size)
    raise InputError(f"has no runs but {shown(counts)}")


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
