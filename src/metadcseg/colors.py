"""What colors mean, the same in all pictures, and the legend that says so.

A line shows whose outline it is: given, verified or predicted. A tint shows the class, where there are several.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
"""Red, green, blue from 0 to 255."""

GIVEN: Color = (230, 159, 0)
"""The label as it was given: orange."""

VERIFIED: Color = (0, 158, 115)
"""A verified label, with which others are compared: bluish green."""

PREDICTED: Color = (86, 180, 233)
"""What a network says: sky blue. The three are of Okabe and Ito's colors, told apart with any color vision."""

_CLASSES: tuple[Color, ...] = ((204, 121, 167), (240, 228, 66), (213, 94, 0), (0, 114, 178))
"""The rest of these colors, so that no class looks like a role."""

_SHADES = ((0.0, 0), (0.45, 0), (0.5, 255), (0.7, 0), (0.25, 0), (0.75, 255))
"""How far the colors are mixed with black or white when the four are used up."""

_LINE, _SWATCH, _MARGIN, _FONT = 15, 10, 3, 11
_LEAST_WIDTH = 132  # pixels, of the text below a small picture
_LONGEST = 40  # characters of a name


class LegendEntry(NamedTuple):
    """One color of a picture and what it means.

    Args:
        text: what it means.
        color: which.
        area: whether it is a tint and no line.
    """

    text: str
    color: Color
    area: bool = False


def class_color(number: int, foreground: int) -> Color:
    """Return the color of a predicted class; the first 24 of several differ.

    Args:
        number: of the class, from 1.
        foreground: how many classes there are beside the background; a single one has the color of predictions.

    Returns:
        Red, green, blue from 0 to 255.

    Example:
        >>> class_color(1, 1), class_color(1, 3), len({class_color(number, 24) for number in range(1, 25)})
        ((86, 180, 233), (204, 121, 167), 24)
    """
    if foreground == 1:
        return PREDICTED
    turn, place = divmod(number - 1, len(_CLASSES))
    share, towards = _SHADES[turn % len(_SHADES)]
    red, green, blue = (round((1 - share) * value + share * towards) for value in _CLASSES[place])
    return red, green, blue


def with_key(
    picture: NDArray[np.uint8], entries: Sequence[LegendEntry], title: str = ""
) -> NDArray[np.uint8]:
    """Return a picture with its name and the meaning of its colors below it, on black.

    Args:
        picture: (H, W, 3) uint8; it stays as it is, at the top left.
        entries: what the colors mean.
        title: of the picture, such as the name of its case; what cannot be printed is shown as a question mark.

    Returns:
        (H + lines of text, W or a little more, 3) uint8.

    Example:
        >>> with_key(np.zeros((40, 200, 3), np.uint8), [LegendEntry("predicted", PREDICTED)], "case 7").shape
        (76, 200, 3)
    """
    font = ImageFont.load_default(_FONT)
    height, width = picture.shape[0], max(picture.shape[1], _LEAST_WIDTH)
    lines: list[list[LegendEntry]] = [[]]
    left = 0.0
    for entry in entries:
        entry = entry._replace(text=printable(entry.text))
        needed = font.getlength(entry.text) + _SWATCH + 4 * _MARGIN
        if lines[-1] and left + needed > width:
            lines.append([])
            left = 0.0
        lines[-1].append(entry)
        left += needed
    name = printable(title)
    rows = [row for row in lines if row]
    total = (len(rows) + bool(name)) * _LINE + 2 * _MARGIN
    sheet = Image.new("RGB", (width, height + total))
    sheet.paste(Image.fromarray(picture), (0, 0))
    pen, top = ImageDraw.Draw(sheet), height + _MARGIN
    if name:
        pen.text((_MARGIN, top), name, "white", font)
        top += _LINE
    for row in rows:
        left = _MARGIN
        for entry in row:
            middle, half = top + _LINE // 2, _SWATCH // 2 if entry.area else 1
            pen.rectangle((left, middle - half, left + _SWATCH, middle + half), fill=entry.color)
            pen.text((left + _SWATCH + _MARGIN, top), entry.text, "white", font)
            left += font.getlength(entry.text) + _SWATCH + 4 * _MARGIN
        top += _LINE
    shown: NDArray[np.uint8] = np.array(sheet)
    return shown


def printable(text: str) -> str:
    r"""Return a text in one line that the font of Pillow has signs for, cut where it is long.

    Example:
        >>> printable("a\nb ä \udce4"), len(printable("x" * 99))
        ('a?b ä ?', 40)
    """
    shown = "".join(sign if sign.isprintable() and ord(sign) < 0x180 else "?" for sign in text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."
