"""Records in JSON that nobody has vouched for, read in the shape that a schema states.

A schema is a class of :mod:`msgspec`: the range of a value stands at its field, as ``Annotated[int, Meta(ge=1)]``, and
what does not fit becomes one sentence with file and field. What a schema does not name is passed over.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, overload

import msgspec

from metadcseg.errors import InputError, shown, unknown_name
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
_STEP = re.compile(r"\[(\d+|\.\.\.)\]|\.?([^.\[\]]+)")

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
        raise InputError(f"{where}: {_fault(str(error), _loaded(data), kind)}; {way_out}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{where}: it is {_no_json(data, error)}; {way_out}") from error


def _loaded(data: bytes) -> Any:
    """Return the values of JSON, to be shown in a sentence; nothing where Python cannot read it."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError, MemoryError):
        return None


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
    try:
        return part(value, kind)
    except InputError as error:
        raise InputError(f"{where}: {error}; {way_out}") from error


def part(value: Any, kind: Any, named: str = "it", wanted: str = "") -> Any:
    """Return a part of a record in the shape of a schema.

    Args:
        value: plain values.
        kind: the schema.
        named: what the sentence calls the value.
        wanted: what it must be, where that is shorter in words than by the schema.

    Raises:
        InputError: naming the value, what is allowed, and what was got.

    Example:
        >>> part(7, float, "'x'")
        7.0
        >>> part("maybe", Literal["yes", "no"], "the answer")
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: the answer must be one of yes, no, got 'maybe'
    """
    cause: Exception
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        cause = error
        fault = f"{named} must be {wanted}, got {shown(value)}"
        if not wanted:
            fault = _fault(str(error), value, kind, named)
    except RecursionError as error:
        fault, cause = f"{named} is nested too deeply", error
    except UnicodeError as error:
        fault, cause = f"{named} holds a key that is no text", error
    raise InputError(fault) from cause


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number:.{_SHOWN}} is no finite number")
    return value


@cache
def _decoder(kind: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(kind)


def _fault(message: str, value: Any = None, kind: Any = None, named: str = "it") -> str:
    """Return in our words which field does not fit, from the words of msgspec.

    Args:
        message: of msgspec.
        value: what did not fit, as a whole.
        kind: its schema.
        named: what the sentence calls the whole.

    Example:
        >>> _fault("Expected `int` >= 1 - at `$.cases[3].size`")
        "'cases[3].size' must be a whole number >= 1"
        >>> _fault("Object missing required field `seed` - at `$.run`"), _fault("Expected `object`, got `array`")
        ("'run' lacks 'seed'", 'it must be an object, got a list')
    """
    found = re.fullmatch(r"(.*?)(?: - at (`key` in )?`\$\.?(.*)`)?", message, re.S)
    what, of_key, place = (found[1], found[2], found[3] or "") if found else (message, None, "")
    whole = named
    named = f"'{place}'" if place and not place.startswith("[...") else "a value in it" if place else whole
    named = f"a key in {named}" if of_key else named
    if missing := re.fullmatch(r"Object missing required field `(.+)`", what):
        return f"{named} lacks '{missing[1]}'"
    got, names, fields = _at(value, kind, place, of_key=of_key is not None)
    if unknown := re.fullmatch(r"Object contains unknown field `(.+)`", what, re.S):
        return f"{named} holds an {unknown_name('key', unknown[1], fields)}"
    if names:
        return f"{named} must be one of {', '.join(names)}, got {got or _got(what)}"
    if re.search("out of range", what):
        return f"{named} must be a number that a computer holds, got one of too many digits"
    if wanted := re.match(r"Expected (.*?)(?:, got (.*))?$", what, re.S):
        words = re.sub("`([^`]+)`", lambda hit: _in_words(hit[1]), wanted[1])
        got = got or (_got(what) if wanted[2] else "")
        return f"{named} must be {words}" + (f", got {got}" if got else "")
    return f"{named} does not fit ({what})"


def _got(what: str) -> str:
    """Return the kind of what did not fit, in words."""
    kind = re.search(r"got `?([^`]+)`?$", what)
    value = re.match(r"Invalid enum value (.+)", what, re.S)
    return _in_words(kind[1]) if kind else f"{value[1]:.{_SHOWN}}" if value else "another"


def _at(value: Any, kind: Any, place: str, *, of_key: bool) -> tuple[str, list[str], list[str]]:
    """Return what lies at a place of a value (empty where it is no text or number), and what its schema allows.

    Args:
        value: as a whole.
        kind: its schema.
        place: in it, as msgspec names it.
        of_key: whether a key of what lies there is meant, of which nobody says which it is.

    Returns:
        What was got; the names that are allowed, if it is one of some names; the fields, if it is an object.
    """
    kinds = [kind]
    for index, key in _STEP.findall(place):
        step: Any = key or (int(index) if index.isdigit() else None)
        try:
            value = value[step]
        except (TypeError, KeyError, IndexError):
            value = None
        kinds = [inner for each in _each(kinds) for inner in _inner(each, step)]
    held = list(_each(kinds))
    if of_key:
        value, held = None, list(_each(get_args(each)[0] for each in held if get_origin(each) is dict))
    names = [str(name) for each in held if get_origin(each) is Literal for name in get_args(each)]
    fields = [name for each in held for name in _fields(each)]
    return shown(value) if type(value) in (str, int, float) else "", names, fields


def _each(kinds: Iterable[Any]) -> Iterator[Any]:
    """Yield types without what is annotated, of a union those that it is made of."""
    for kind in kinds:
        if get_origin(kind) is Annotated:
            yield from _each(get_args(kind)[:1])
        elif get_origin(kind) in (Union, UnionType):
            yield from _each(get_args(kind))
        else:
            yield kind


def _fields(kind: Any) -> dict[str, Any]:
    """Return the types of the fields of a class."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    return get_type_hints(kind, include_extras=True) if is_dataclass(kind) else {}


def _inner(kind: Any, step: str | int | None) -> list[Any]:
    """Return the type of what a value of a type holds at a key or index."""
    inner = get_args(kind)
    if get_origin(kind) is dict:
        return [inner[1]]
    if get_origin(kind) is tuple and isinstance(step, int) and ... not in inner:
        return list(inner[step : step + 1])
    return [inner[0]] if inner else [held for name, held in _fields(kind).items() if name == step]


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
