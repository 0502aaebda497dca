"""JSON of drawing tools, read as hostile: sizes, numbers, names and points are looked at before they are used."""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from unicodedata import normalize

from msgspec import Meta

from metadcseg.data.formats.images import MAX_PIXELS
from metadcseg.errors import InputError, shown
from metadcseg.reading import read_regular
from metadcseg.schemas import part

MOST_BYTES = 2**30
"""No larger file is read."""

Key = int | str
"""By which objects of a file name each other."""

Coordinate = Annotated[float, Meta(ge=-1e9, le=1e9)]
"""In pixels or percent; no image has one beyond."""

_LONGEST_NAME = 200


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        InputError: where it is larger than 1 GiB, no JSON in UTF-8, nested without end, or names one key twice.
    """
    try:
        return json.loads(read_regular(path, MOST_BYTES), object_pairs_hook=_once)
    except InputError:
        raise
    except json.JSONDecodeError as error:
        reason = f"no valid JSON at line {error.lineno}, column {error.colno}"
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start}"
    except RecursionError:
        reason = "nested too deeply"
    except MemoryError:
        reason = "larger than the memory"
    except _Twice as error:
        reason = f"ambiguous, one object names {error} twice"
    except OSError as error:
        reason = f"unreadable ({error.strerror})"
    except ValueError:
        reason = "no valid JSON, it holds a number of thousands of digits"
    raise InputError(f"{path} is {reason}: export it again")


def number(held: object, what: str) -> float:
    """Return a finite number that can be a place in an image, also of text.

    Raises:
        InputError: where it is anything else.

    Example:
        >>> number(7, "x"), number("7.5", "x")
        (7.0, 7.5)
        >>> number(float("nan"), "x")
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: x must be a finite number, got nan
    """
    if isinstance(held, str):
        with suppress(ValueError):
            held = float(held)  # as Python reads it: some programs write .5, 5. and 007
    value: float = part(held, Coordinate, what, "a finite number")
    return value


def numbers(held: dict[str, Any], *keys: str) -> list[float]:
    """Return the numbers that an object holds under these keys.

    Raises:
        InputError: where one is missing or no finite number.
    """
    return [number(held.get(key), f"'{key}'") for key in keys]


def points(held: object) -> list[tuple[float, float]]:
    """Return places [[x, y], ...].

    Raises:
        InputError: where it is anything else.
    """
    places = part(held, list[tuple[Any, Any]], "has points that", "a list of [x, y]")
    return [(number(x, "a coordinate"), number(y, "a coordinate")) for x, y in places]


def class_name(held: object) -> str:
    """Return the name of a class, in one Unicode form.

    Raises:
        InputError: where there is none, or it is no text, or longer than 200 letters.
    """
    name = " ".join(normalize("NFC", held).split()) if isinstance(held, str) else ""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InputError(f"has no class: name it with 1 to {_LONGEST_NAME} letters, got {shown(held)}")
    return name


def person(held: object) -> str | None:
    """Return whom a file names: text, a number, or an object with one of them; None where it names nobody.

    Example:
        >>> person("anna"), person({"id": 7, "email": "ben@home"}), person(3), person("")
        ('anna', 'ben@home', '3', None)
    """
    if isinstance(held, dict):
        return next(
            (found for key in ("email", "username", "name", "id") if (found := person(held.get(key)))), None
        )
    if isinstance(held, bool) or not isinstance(held, int | str):
        return None
    return " ".join(str(held).split())[:_LONGEST_NAME] or None


def image_size(height: object, width: object) -> tuple[int, int] | None:
    """Return (H, W) in pixels, as a file states it; None where it does not.

    Raises:
        InputError: where it is no size, or above 100 megapixels.
    """
    if height is None and width is None:
        return None
    sides = [_side(height), _side(width)]
    if min(sides) < 1:
        raise InputError(f"states the size {shown(height)} x {shown(width)} (rows x columns), which is none")
    if sides[0] * sides[1] > MAX_PIXELS:
        raise InputError(f"states {sides[0]} x {sides[1]} pixels, at most {MAX_PIXELS:,} are read")
    return sides[0], sides[1]


def _side(held: object) -> int:
    """Return a whole number of pixels; 0 where it is none."""
    if isinstance(held, bool) or not isinstance(held, int | float) or not 0 < held < 2**31:
        return 0
    return int(held) if held == int(held) else 0


def stem_candidates(name: object) -> list[str]:
    r"""Return what the stem of an image may be that a file names, the likeliest first; folders are taken off.

    Raises:
        InputError: where it is no name.

    Example:
        >>> stem_candidates("train\\scan.v2.png"), stem_candidates("case_7")
        (['scan.v2', 'scan.v2.png'], ['case_7'])
    """
    text = normalize("NFC", name) if isinstance(name, str) else ""
    base = text.replace("\\", "/").rstrip("/").rpartition("/")[2]
    if not base or not base.isprintable():
        raise InputError(f"names an image {shown(name)}, which is no name of a file")
    stem, dot, _ = base.rpartition(".")
    return list(dict.fromkeys([stem if dot and stem else base, base]))


class _Twice(Exception):
    """A key that one object has twice."""


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise _Twice(ascii(max(counts, key=lambda key: counts[key]))[:60])
    return held
