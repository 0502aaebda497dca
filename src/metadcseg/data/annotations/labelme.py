"""LabelMe: one JSON file for each image, with polygons, rectangles, circles and bitmaps.

A rectangle of four points (other tools write those) is a polygon. Lines and points have no area and are passed over.
"""

import base64
import binascii
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from PIL import Image

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
from metadcseg.data.annotations.values import class_name, image_size, points, stem_candidates
from metadcseg.data.findings import plural
from metadcseg.data.formats.images import MAX_PIXELS
from metadcseg.errors import InputError, shown
from metadcseg.schemas import part

_POLYGONS = ("polygon", "rotation")
_WITHOUT_AREA = ("line", "linestrip", "point", "points")


class ShapeSaid(Struct):
    """One of ``shapes``; what is wrong with it is said where it is painted. Files before 3.0 name no kind."""

    label: Any = None
    shape_type: Any = None
    points: Any = None
    mask: Any = None

    @property
    def kind(self) -> Any:
        """What it is."""
        return self.shape_type or "polygon"


def is_labelme(content: object) -> bool:
    """Return whether a JSON file is one of LabelMe: shapes, and the name or size of an image."""
    return (
        isinstance(content, dict)
        and "shapes" in content
        and bool({"imagePath", "imageHeight"} & set(content))
    )


def read(path: Path, content: dict[str, Any]) -> Export:
    """Return what the file says about its image, which has the stem of the file, or else is ``imagePath``.

    Raises:
        InputError: where ``imagePath`` is no name.
    """
    shapes, fault, size, flat = [], "", None, 0
    try:
        size = image_size(content.get("imageHeight"), content.get("imageWidth"))
        held_shapes: list[ShapeSaid] = part(content["shapes"], list[ShapeSaid], "states that 'shapes'")
        for place, held in enumerate(held_shapes, start=1):
            if held.kind in _WITHOUT_AREA:
                flat += 1
                continue
            try:
                name = class_name(held.label)
            except InputError as error:
                raise InputError(f"holds shape {place}, which {error}") from error
            shapes.append(Shape(name, f"shape {place} ('{name}')", held))
    except InputError as error:
        fault = f"{error}: correct it"
    stems = stem_candidates(path.name)[:1]
    try:
        stems += stem_candidates(content["imagePath"]) if content.get("imagePath") else []
    except InputError as error:
        raise InputError(f"{path} {error}: correct 'imagePath'") from error
    notes = (f"{plural(flat, 'shape')} without area (lines, points), passed over",) if flat else ()
    drawn = Drawn(path, (path,), size, tuple(shapes), paint, notes, fault)
    return Export((Entry(path, tuple(dict.fromkeys(stems)), drawn),))


def paint(held: ShapeSaid, size: Size) -> Patch:
    """Return the pixels of a shape.

    Raises:
        InputError: where its kind is not known, or its points make no sense.
    """
    kind, places = held.kind, points(held.points)
    if kind in _POLYGONS or (kind == "rectangle" and len(places) == 4):
        return polygon([places], size)
    if kind not in ("rectangle", "circle", "mask"):
        raise InputError(f"is of the kind {shown(kind)}, which is not read")
    if len(places) != 2:
        raise InputError(f"is a {kind} of {plural(len(places), 'point')}, 2 make one")
    (x0, y0), (x1, y1) = places
    if kind == "rectangle":
        return polygon([[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]], size)
    if kind == "circle":
        radius = math.hypot(x1 - x0, y1 - y0)
        return ellipse((x0, y0), (radius, radius), size)
    rows, columns = round(abs(y1 - y0)) + 1, round(abs(x1 - x0)) + 1
    bitmap = _bitmap(held.mask, (rows, columns))
    return pasted(round(min(y0, y1)), round(min(x0, x1)), bitmap, size) if bitmap.any() else NOTHING


def _bitmap(held: object, wanted: Size) -> Any:
    """Return the pixels of a bitmap (PNG in base64), which has the size of its box."""
    try:
        if not isinstance(held, str):
            raise ValueError
        content = base64.b64decode(held, validate=True)
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            width, height = image.size
            if (height, width) != wanted or height * width > MAX_PIXELS:
                raise InputError(
                    f"holds a bitmap of {height} x {width} pixels in a box of {wanted[0]} x {wanted[1]}"
                )
            return np.asarray(image.convert("L")) > 0
    except InputError:
        raise
    except (
        ValueError,
        OSError,
        binascii.Error,
        SyntaxError,
        MemoryError,
        Image.DecompressionBombError,
    ) as error:
        raise InputError(f"holds no bitmap (PNG in base64) but {shown(held, 40)}") from error
