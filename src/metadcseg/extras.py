"""Libraries that only some need: imported where they are first used, and named in a sentence where they are missing."""

from importlib import import_module
from types import ModuleType
from typing import Any

from metadcseg.errors import InputError


class Extra:
    """A library of one of the package's extras, which stands for its module.

    Args:
        module: its name in an import.
        extra: which extra of the package installs it.
        what: what it is needed for, as the beginning of a sentence.
        package: its name on PyPI, where that is another one.

    Raises:
        InputError: at the first use, where it is not installed.

    Example:
        >>> Extra("math", "volumes", "counting").floor(1.5)
        1
        >>> Extra("no_such_module", "volumes", "NIfTI files").load
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: NIfTI files need no_such_module, ... pip install 'metadcseg[volumes]' (or ...
    """

    def __init__(self, module: str, extra: str, what: str, package: str | None = None) -> None:
        self._module, self._extra, self._what, self._package = module, extra, what, package or module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)

    def require(self) -> None:
        """Import it now, so that one sentence says that it is missing, and not one for each file.

        Raises:
            InputError: where it is not installed.
        """
        self._load()

    def _load(self) -> ModuleType:
        try:
            return import_module(self._module)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != self._module.partition(".")[0]:
                raise
            raise InputError(
                f"{self._what} need {self._package}, which is not installed: pip install "
                f"'metadcseg[{self._extra}]' (or pip install {self._package})"
            ) from error
