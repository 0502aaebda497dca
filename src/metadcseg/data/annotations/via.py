"""VGG Image Annotator, version 2: annotations as JSON, or a project. Places are pixels; it states no size of images."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from metadcseg.data.annotations.shapes import Drawn, Entry, Export, Patch, Shape, Size, box, ellipse, polygon
from metadcseg.data.annotations.values import (
    class_name,
    number,
    numbers,
    stem_candidates,
)
from metadcseg.data.findings import plural
from metadcseg.errors import InputError, shown
from metadcseg.schemas import fitting, part

UNNAMED = "foreground"
"""Class of regions of which none has an attribute."""

_PROJECT = "_via_img_metadata"
_WITHOUT_AREA = ("point", "polyline", "line")
LIKELY = ("class", "class_name", "classname", "label", "category", "name", "type")
"""Names of attributes that are the class, where regions have several."""


class RegionSaid(Struct):
    """One of ``regions``; what is wrong with it is the fault of its image alone."""

    shape_attributes: Any = None
    region_attributes: Any = None

    @property
    def attributes(self) -> dict[str, Any]:
        """What is said of it."""
        return self.region_attributes if isinstance(self.region_attributes, dict) else {}


class ImageSaid(Struct):
    """An image; version 1 numbers its regions."""

    regions: list[RegionSaid] | dict[str, RegionSaid]
    filename: Any = None

    @property
    def listed(self) -> list[RegionSaid]:
        """Its regions."""
        return list(self.regions.values()) if isinstance(self.regions, dict) else self.regions


def is_via(content: object) -> bool:
    """Return whether a JSON file is one of VIA 2: a project, or files with regions."""
    if not isinstance(content, dict) or not content:
        return False
    return _PROJECT in content or all(
        isinstance(each, dict) and {"filename", "regions"} <= set(each) for each in content.values()
    )


def read(path: Path, content: dict[str, Any]) -> Export:
    """Return what the file says about each of its images; one without regions has an empty mask.

    The class of a region is the value of its attribute; of several that called ``class``, ``label`` or the like.

    Raises:
        InputError: where images or regions are not understood, or it is open which attribute is the class.
    """
    again = "export it again"
    held: dict[str, Any] = fitting(
        content.get(_PROJECT, content), dict[str, Any], f"{path}: its images", again
    )
    files: list[ImageSaid] = [
        fitting(each, ImageSaid, f"{path}: image {shown(key)}", again) for key, each in held.items()
    ]
    attribute = _attribute(path, [region for each in files for region in each.listed])
    return Export(tuple(_entry(path, each, attribute) for each in files))


def paint(held: dict[str, Any], size: Size) -> Patch:
    """Return the pixels of a region.

    Raises:
        InputError: where its kind is not known, or a number is missing.
    """
    kind = held.get("name")
    if kind == "polygon":
        x, y = held.get("all_points_x"), held.get("all_points_y")
        if not isinstance(x, list) or not isinstance(y, list) or len(x) != len(y):
            raise InputError(f"has x for {shown(x)} points and y for {shown(y)}")
        return polygon([[(number(one, "x"), number(two, "y")) for one, two in zip(x, y, strict=True)]], size)
    if kind == "rect":
        left, top, width, height = numbers(held, "x", "y", "width", "height")
        return polygon([box(left, top, width, height)], size)
    if kind == "circle":
        x, y, radius = numbers(held, "cx", "cy", "r")
        return ellipse((x, y), (radius, radius), size)
    if kind == "ellipse":
        x, y, first, second = numbers(held, "cx", "cy", "rx", "ry")
        return ellipse(
            (x, y), (first, second), size, math.fmod(number(held.get("theta", 0), "theta"), math.tau)
        )
    raise InputError(f"is of the kind {shown(kind)}, which is not read")


def _attribute(path: Path, regions: Sequence[RegionSaid]) -> str | None:
    """Return which attribute of the regions is the class; None where they have none."""
    used = Counter(key for region in regions for key in region.attributes)
    likely = [key for key in used if key.strip().casefold() in LIKELY]
    if len(used) > 1 and len(likely) != 1:
        listed = ", ".join(sorted(used)[:8])
        raise InputError(
            f"{path}: its regions have several attributes ({listed}), which of them is the class is open: call it "
            "'class' and export again"
        )
    return likely[0] if likely else next(iter(used), None)


def _entry(path: Path, image: ImageSaid, attribute: str | None) -> Entry:
    try:
        stems = stem_candidates(image.filename)
    except InputError as error:
        raise InputError(f"{path} {error}: export it again") from error
    shapes, fault, flat = [], "", 0
    for place, region in enumerate(image.listed, start=1):
        shape = region.shape_attributes
        if isinstance(shape, dict) and shape.get("name") in _WITHOUT_AREA:
            flat += 1
            continue
        try:
            name = UNNAMED if attribute is None else class_name(_value(region, attribute))
            shape = part(shape, dict[str, Any], "has no shape: it", "an object")
            shapes.append(Shape(name, f"region {place} ('{name}')", shape))
        except InputError as error:
            fault = fault or f"holds region {place}, which {error}: correct it"
    notes = (f"{plural(flat, 'region')} without area (lines, points), passed over",) if flat else ()
    drawn = Drawn(Path(f"{path} ({stems[-1]})"), (path,), None, tuple(shapes), paint, notes, fault)
    return Entry(path, tuple(stems), drawn)


def _value(region: RegionSaid, attribute: str) -> object:
    value = region.attributes.get(attribute)
    if isinstance(value, dict):  # boxes that are ticked
        ticked = [name for name, on in value.items() if on]
        if len(ticked) > 1:
            raise InputError(f"has {len(ticked)} classes at once ({', '.join(ticked)[:80]}), keep one")
        return ticked[0] if ticked else None
    return value
