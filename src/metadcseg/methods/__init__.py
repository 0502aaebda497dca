"""The methods, and the registry that makes them known by name.

``metadcseg`` is the paper's, ``binned`` ours and the default; ``l2b`` and ``supervised`` are what to compare them with.
"""

from dataclasses import fields
from typing import Any

from metadcseg.errors import unknown_name
from metadcseg.methods.base import (
    Method,
    MethodInfo,
    MethodState,
    PixelMaps,
    StepReport,
    Storage,
    Updater,
)
from metadcseg.methods.binned.method import Binned
from metadcseg.methods.l2b.method import L2B
from metadcseg.methods.metadcseg.method import MetaDCSeg
from metadcseg.methods.supervised import Supervised

METHODS: dict[str, type[Any]] = {method.name: method for method in (Binned, MetaDCSeg, L2B, Supervised)}
"""Every method by its name."""


def create_method(name: str, **options: Any) -> Method:
    """Return a method with its options; those left out keep their defaults.

    Raises:
        InputError: for a method or an option that nobody knows, or a value that is not allowed.

    Example:
        >>> create_method("supervised", gold="mixed").info.needs_gold
        True
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    known = [option.name for option in fields(METHODS[name])]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of method '{name}'", option, known)
    method: Method = METHODS[name](**options)
    return method


__all__ = [
    "L2B",
    "METHODS",
    "Binned",
    "MetaDCSeg",
    "Method",
    "MethodInfo",
    "MethodState",
    "PixelMaps",
    "StepReport",
    "Storage",
    "Supervised",
    "Updater",
    "create_method",
]
