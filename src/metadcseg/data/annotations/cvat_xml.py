"""CVAT's own format, "CVAT for images 1.1": one XML file with polygons, rectangles, ellipses and masks in runs."""

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from metadcseg.data.annotations.shapes import (
    NOTHING,
    Drawn,
    Entry,
    Export,
    Patch,
    Shape,
    Size,
    ellipse,
    pasted,
    polygon,
)
from metadcseg.data.annotations.values import class_name, image_size, number, stem_candidates
from metadcseg.data.findings import plural
from metadcseg.data.formats.images import MAX_PIXELS
from metadcseg.errors import InputError, shown
from metadcseg.reading import read_regular

_MOST_BYTES = 2**30
_AREAS = ("polygon", "box", "ellipse", "mask")
_WITHOUT_AREA = ("polyline", "points", "tag", "skeleton", "cuboid")


class _HasType(Exception):
    """The file has a document type."""


class _WithoutTypes(ElementTree.TreeBuilder):
    """Stops at a document type, in whatever encoding it stands: entities, which grow, are defined only there."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise _HasType(name)


def read_xml(path: Path) -> ElementTree.Element:
    """Return the content of an XML file; one with a document type, which may name other files, is refused.

    Raises:
        InputError: where it is too large, no XML, or has a document type.
    """
    try:
        content = read_regular(path, _MOST_BYTES)
    except OSError as error:
        raise InputError(f"{path} is unreadable ({error.strerror}): export it again") from error
    try:
        parser = ElementTree.XMLParser(target=_WithoutTypes())  # noqa: S314
        return ElementTree.fromstring(content, parser)  # noqa: S314 -- without entities it only grows with the file
    except _HasType as error:
        raise InputError(f"{path} has a document type, which exports have not: export it again") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path} is no valid XML ({error}): export it again") from error


def is_cvat(content: object) -> bool:
    """Return whether an XML file is one of CVAT."""
    return isinstance(content, ElementTree.Element) and content.tag == "annotations"


def read(path: Path, content: ElementTree.Element) -> Export:
    """Return what the file says about each of its images; one without shapes has an empty mask.

    Raises:
        InputError: where the file is one of a video, or its images are not understood.
    """
    images = content.findall("image")
    if not images and content.find("track") is not None:
        raise InputError(f"{path} holds tracks of a video: export 'CVAT for images' instead")
    names = [class_name(each.text) for each in content.findall("meta//labels/label/name") if each.text]
    return Export(tuple(_entry(path, image) for image in images), tuple(dict.fromkeys(names)))


def paint(held: tuple[str, dict[str, str]], size: Size) -> Patch:
    """Return the pixels of a shape: its kind and its attributes.

    Raises:
        InputError: where an attribute is missing or makes no sense.
    """
    kind, said = held
    if kind == "polygon":
        return polygon([_points(said.get("points"))], size)
    if kind == "mask":
        return _mask(said, size)
    angle = math.radians(math.fmod(number(said.get("rotation", 0), "'rotation'"), 360))
    if kind == "ellipse":
        x, y, first, second = (number(said.get(key), f"'{key}'") for key in ("cx", "cy", "rx", "ry"))
        return ellipse((x, y), (first, second), size, angle)
    left, top, right, bottom = (number(said.get(key), f"'{key}'") for key in ("xtl", "ytl", "xbr", "ybr"))
    x, y, a, b = (left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2
    cosine, sine = math.cos(angle), math.sin(angle)  # about its center
    corners = ((-a, -b), (a, -b), (a, b), (-a, b))
    return polygon([[(x + p * cosine - q * sine, y + p * sine + q * cosine) for p, q in corners]], size)


def _points(held: str | None) -> list[tuple[float, float]]:
    places = []
    for pair in (held or "").split(";"):
        x, comma, y = pair.partition(",")
        if not comma:
            raise InputError(f"has points that are not 'x,y;x,y;...' but {shown(held)}")
        places.append((number(x, "a coordinate"), number(y, "a coordinate")))
    return places


def _mask(said: dict[str, str], size: Size) -> Patch:
    """Return the pixels of runs, background first, along the rows of a box."""
    left, top, width, height = (
        round(number(said.get(key), f"'{key}'")) for key in ("left", "top", "width", "height")
    )
    if width < 1 or height < 1:
        return NOTHING
    try:
        lengths = [int(each) for each in said.get("rle", "").split(",")]
    except ValueError as error:
        raise InputError(f"has runs that are no numbers but {shown(said.get('rle'))}") from error
    if width * height > MAX_PIXELS or min(lengths) < 0 or sum(lengths) != width * height:
        raise InputError(f"has runs that do not fill its box of {height} x {width} pixels")
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(height, width)
    return pasted(top, left, inside, size)


def _entry(path: Path, image: ElementTree.Element) -> Entry:
    try:
        stems = stem_candidates(image.get("name"))
    except InputError as error:
        raise InputError(f"{path}: image {shown(image.get('id'))} {error}: export it again") from error
    fault, size, flat = "", None, 0
    drawn: list[tuple[float, Shape]] = []
    try:
        size = image_size(_whole(image.get("height")), _whole(image.get("width")))
        for place, shape in enumerate(image, start=1):
            if shape.tag not in _AREAS:
                if shape.tag not in _WITHOUT_AREA:
                    raise InputError(f"holds shape {place} of the kind {shown(shape.tag)}, which is not read")
                flat += 1
                continue
            try:
                name = class_name(shape.get("label"))
                level = number(shape.get("z_order", 0), "'z_order'")
            except InputError as error:
                raise InputError(f"holds shape {place}, which {error}") from error
            held: Any = (shape.tag, dict(shape.attrib))
            drawn.append((level, Shape(name, f"{shape.tag} {place} ('{name}')", held)))
    except InputError as error:
        fault = f"{error}: correct it"
    shapes = tuple(shape for _, shape in sorted(drawn, key=lambda each: each[0]))
    notes = (f"{plural(flat, 'shape')} without area (lines, points, tags), passed over",) if flat else ()
    mask = Drawn(Path(f"{path} ({stems[-1]})"), (path,), size, shapes, paint, notes, fault)
    return Entry(path, tuple(stems), mask)


def _whole(held: str | None) -> float | None:
    return None if held is None else number(held, "the size of the image")
