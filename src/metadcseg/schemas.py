"""Records in JSON that nobody has vouched for, read in the shape that a schema states.

A schema is a class of :mod:`msgspec`: the range of a value stands at its field, as ``Annotated[int, Meta(ge=1)]``, and
what does not fit becomes one sentence with file and field. What a schema does not name is passed over.
"""

import json
import math
import re
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, overload

import msgspec

from metadcseg.errors import InputError
from metadcseg.reading import MOST_BYTES, read_regular, unreadable

_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
    "None": "null",
}
_SHOWN = 60
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

Kind = TypeVar("Kind")


@overload
def read_record(path: Path, kind: type[Kind], way_out: str, most: int = ...) -> Kind: ...
@overload
def read_record(path: Path, kind: Any, way_out: str, most: int = ...) -> Any: ...
def read_record(path: Path, kind: Any, way_out: str, most: int = MOST_BYTES) -> Any:
    """Return what a JSON file holds, in the shape of a schema.

    Args:
        path: the file.
        kind: its schema: a class of msgspec, or a type such as ``dict[str, int]``.
        way_out: what to do where it does not fit, the end of the sentence.
        most: bytes that it may have.

    Raises:
        InputError: naming file and field, what is allowed, and what was got.
    """
    try:
        data = read_regular(path, most)
    except OSError as error:
        raise unreadable(path, error, way_out) from error
    return decoded(data, kind, str(path), way_out)


def decoded(data: bytes, kind: Any, where: str, way_out: str) -> Any:
    """Return what JSON stands for, in the shape of a schema.

    Args:
        data: the JSON, UTF-8.
        kind: its schema.
        where: the file and, of a table, the line; the beginning of the sentence.
        way_out: its end.

    Raises:
        InputError: see :func:`read_record`.

    Example:
        >>> decoded(b'{"a": 1}', dict[str, int], "x.json", "write it again")
        {'a': 1}
        >>> decoded(b'{"a": "b"}', dict[str, int], "x.json", "write it again")
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: x.json: a value in it must be a whole number, got text; write it again
        >>> decoded(b'{"a": Infinity}', dict[str, int], "x.json", "write it again")
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: x.json: it is no JSON at byte 6 ('Infinity}'); write it again
    """
    try:
        if _SURROGATE.search(data):  # a name of a file that is no UTF-8, which msgspec does not take
            return msgspec.convert(json.loads(data, parse_constant=_finite, parse_float=_finite), kind)
        return _decoder(kind).decode(data)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {_fault(str(error))}; {way_out}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{where}: it is {_no_json(data, error)}; {way_out}") from error


def read_plain(path: Path, kind: Any, way_out: str, most: int = MOST_BYTES) -> dict[str, Any]:
    """Return the object in a JSON file as plain values, also those that its schema does not name.

    Raises:
        InputError: see :func:`read_record`.
    """
    value: dict[str, Any] = read_record(path, dict[str, Any], way_out, most)
    fitting(value, kind, str(path), way_out)
    return value


def fitting(value: Any, kind: Any, where: str, way_out: str) -> Any:
    """Return plain values in the shape of a schema, as :func:`decoded` does for JSON.

    Raises:
        InputError: see :func:`read_record`.
    """
    cause: Exception
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        fault, cause = _fault(str(error)), error
    except RecursionError as error:
        fault, cause = "it is nested too deeply", error
    except UnicodeError as error:
        fault, cause = "it holds a key that is no text", error
    raise InputError(f"{where}: {fault}; {way_out}") from cause


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number:.{_SHOWN}} is no finite number")
    return value


@cache
def _decoder(kind: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(kind)


def _fault(message: str) -> str:
    """Return in our words which field does not fit, from the words of msgspec.

    Example:
        >>> _fault("Expected `int` >= 1 - at `$.cases[3].size`")
        "'cases[3].size' must be a whole number >= 1"
        >>> _fault("Object missing required field `seed` - at `$.run`"), _fault("Expected `object`, got `array`")
        ("'run' lacks 'seed'", 'it must be an object, got a list')
    """
    found = re.fullmatch(r"(.*?)(?: - at `(?:key in )?\$\.?(.*)`)?", message, re.S)
    what, place = (found[1], found[2] or "") if found else (message, "")
    named = f"'{place}'" if place and not place.startswith("[...") else "a value in it" if place else "it"
    if missing := re.fullmatch(r"Object missing required field `(.+)`", what):
        return f"{named} lacks '{missing[1]}'"
    if unknown := re.fullmatch(r"Object contains unknown field `(.+)`", what, re.S):
        return f"{named} holds the unknown key {unknown[1]:.{_SHOWN}}"
    if value := re.match(r"Invalid enum value (.+)", what):
        return f"{named} is {value[1]:.{_SHOWN}}, which is none of the names that it can be"
    if re.search("out of range", what):
        return f"{named} must be a number that a computer holds, got one of too many digits"
    if wanted := re.match(r"Expected (.*)", what, re.S):
        return f"{named} must be {re.sub('`([^`]+)`', lambda hit: _in_words(hit[1]), wanted[1])}"
    return f"{named} does not fit ({what})"


def _in_words(kinds: str) -> str:
    return " or ".join(_NAMES.get(kind, kind) for kind in kinds.split(" | "))


def _no_json(data: bytes, error: Exception) -> str:
    """Return why bytes are no JSON."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, MemoryError):
        return "larger than the memory"
    if isinstance(error, UnicodeDecodeError) or "UTF-8" in str(error):
        return "not UTF-8"
    if place := re.search(r"\(byte (\d+)\)", str(error)):
        at = int(place[1])
        near = data[at : at + 20].decode("utf-8", "replace")
        return f"no JSON at byte {at} ({near!r})"
    return "no whole JSON, its end is missing" if "truncated" in str(error) else "no JSON"
