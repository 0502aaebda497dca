"""Pictures of cases side by side: as a page shows them, and as one PNG file."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from metadcseg.colors import LegendEntry, with_key
from metadcseg.report.curves import plain_text
from metadcseg.report.gallery import Example, Picture

_CELL, _GAP, _HEAD, _FOOT = 264, 10, 26, 40


@dataclass(frozen=True)
class Gallery:
    """Cases with their pictures.

    Args:
        key: name of its file.
        title: what stands above it.
        examples: one for each case, all with the same columns.
        legend: what the colors mean, in words.
        roles: the colors of the outlines and of maps, for the picture itself.
        scale: link of a bar with the colors of maps, and what its ends mean; None where there are no maps.
    """

    key: str
    title: str
    examples: Sequence[Example]
    legend: str
    roles: Sequence[LegendEntry] = ()
    scale: tuple[str, str, str] | None = None


def draw_sheet(gallery: Gallery) -> bytes:
    """Return a gallery as one PNG file on white: a line for each case, a column for each picture."""
    columns = max(len(example.pictures) for example in gallery.examples)
    line = _HEAD + _CELL + _FOOT
    width = columns * (_CELL + _GAP) + _GAP
    sheet = Image.new("RGB", (width, len(gallery.examples) * line + _GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, example in enumerate(gallery.examples):
        top = place * line + _GAP
        pen.text((_GAP, top), plain_text(f"{example.id} ({example.rank})", 90).strip(), "black", font)
        for column, picture in enumerate(example.pictures):
            left = column * (_CELL + _GAP) + _GAP
            shown = _opened(picture)
            if shown is None:
                pen.rectangle((left, top + _HEAD, left + _CELL, top + _HEAD + _CELL), outline="gray")
                pen.text((left + 90, top + _HEAD + _CELL // 2), "no picture", "gray", font)
            else:
                sheet.paste(shown, (left, top + _HEAD))
            for number, text in enumerate((picture.name, picture.note)):
                where = left, top + _HEAD + _CELL + 1 + 17 * number
                pen.text(where, plain_text(text, 34).strip(), "black", font)
    if gallery.roles:
        sheet = Image.fromarray(with_key(np.array(sheet), gallery.roles))
    file = io.BytesIO()
    sheet.quantize(192).save(file, format="PNG", optimize=True)
    return file.getvalue()


def _opened(picture: Picture) -> Image.Image | None:
    if not picture.link:
        return None
    content = base64.b64decode(picture.link.partition(",")[2])
    shown = Image.open(io.BytesIO(content), formats=["PNG", "JPEG"]).convert("RGB")
    shown.thumbnail((_CELL, _CELL))
    return shown
