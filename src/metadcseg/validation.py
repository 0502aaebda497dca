"""Checks of options, a method's or those of training, that name the option and say what is allowed."""

import os
import sys
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from metadcseg.errors import InputError, shown, unknown_name

_ALLOWED: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    type(None): ((type(None),), "null"),
}


def check_types(method: Any, called: str | None = None) -> None:
    """Raise unless every option of a method has a value of its annotated type.

    Knows ``bool``, ``int``, ``float`` (an int is fine, infinity is not), tuples of these, ``Literal`` choices, unions
    with None, and options that are classes of their own. A YAML file can hold anything: there, ``1e-3`` is a piece of
    text.

    Args:
        method: a dataclass instance with a ``name``.
        called: what its options are called by; its ``name`` where left out.

    Raises:
        InputError: naming the option as ``METHOD.OPTION``.
    """
    hints = get_type_hints(type(method))
    for option in fields(method):
        name = f"{called or method.name}.{option.name}"
        value, hint = getattr(method, option.name), hints[option.name]
        if get_origin(hint) is Literal:
            if value not in get_args(hint):
                raise unknown_name(f"value of {name}", str(value), get_args(hint))
            continue
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        if not any(_fits(value, kind) for kind in kinds):
            wanted = " or ".join(_words(kind) for kind in kinds)
            raise InputError(f"{name} must be {wanted}, got {shown(value)}")


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        wanted = get_args(kind)
        return isinstance(value, tuple) and len(value) == len(wanted) and all(map(_fits, value, wanted))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    types, _ = _ALLOWED.get(kind, ((kind,), ""))
    if type(value) not in types:  # not isinstance: True is no number
        return False
    return not (kind is float and abs(value) > sys.float_info.max)


def _words(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"({', '.join(_words(part) for part in get_args(kind))})"
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    _, words = _ALLOWED.get(kind, ((), f"of class {getattr(kind, '__name__', kind)}"))
    return words


def check_workers(count: int, *, least: int = 0, what: str = "processes", most: int | None = None) -> int:
    """Return a number of ``--workers`` that can be one: hundreds on a small machine take all its memory.

    Args:
        count: the number.
        least: of them.
        what: they are.
        most: of them; None: four for each processor of this machine, and 8 on a small one.

    Raises:
        InputError: where there are fewer or more.

    Example:
        >>> check_workers(2)
        2
        >>> check_workers(-1, what="threads", most=8)
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: --workers must be a number of threads from 0 to 8, got -1
    """
    most = max(8, 4 * (os.cpu_count() or 1)) if most is None else most
    if not least <= count <= most:
        raise InputError(f"--workers must be a number of {what} from {least} to {most}, got {count}")
    return count


def check_range(
    method: Any,
    option: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> None:
    """Raise unless a number among the options of a method, or of training, lies in its range; None passes.

    Raises:
        InputError: naming the option as ``METHOD.OPTION``.
    """
    value = getattr(method, option)
    if value is None:
        return
    bounds = [
        ("above", above, above is None or value > above),
        ("at least", at_least, at_least is None or value >= at_least),
        ("below", below, below is None or value < below),
        ("at most", at_most, at_most is None or value <= at_most),
    ]
    if not all(fits for _, _, fits in bounds):
        wanted = " and ".join(f"{words} {bound:g}" for words, bound, _ in bounds if bound is not None)
        raise InputError(f"{method.name}.{option} must be {wanted}, got {value}")
