"""Classes that a file names: none is imported, and so none of their code runs, without consent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metadcseg.errors import InputError
from metadcseg.networks.factory import NetworkOptions


@dataclass(frozen=True)
class Consent:
    """Whether the class of a network that a file names may be imported.

    Args:
        source: the file, for the sentence.
        trust_code: whether the user said so, by ``--trust-code`` or ``trust_code=True``.
    """

    source: str
    trust_code: bool

    def check(self, class_path: object) -> None:
        """Refuse a class without consent.

        Raises:
            InputError: where there is a class and no consent.

        Example:
            >>> Consent("my_run/run.json", trust_code=False).check("subprocess.Popen")
            Traceback (most recent call last):
            ...
            metadcseg.errors.InputError: my_run/run.json names a network by its class, subprocess.Popen: ...
        """
        if class_path is not None and not self.trust_code:
            raise InputError(
                f"{self.source} names a network by its class, {class_path}: its code would run on this machine, so if "
                "you know that code and trust it, add --trust-code (in Python trust_code=True)"
            )


def network_of(plain: Mapping[str, Any], source: str, trust_code: bool) -> NetworkOptions:
    """Return the network that a file describes; all options that are read from files are made here.

    Args:
        plain: the options, as the file has them.
        source: the file, for the sentence.
        trust_code: whether a class that the file names may be imported.

    Raises:
        InputError: where an option has a value that it must not have, or a class is named without consent.
        TypeError: where there are other options.

    Example:
        >>> network_of({"name": "unet", "width": 4}, "my_run/run.json", trust_code=False).width
        4
    """
    Consent(source, trust_code).check(plain.get("class_path"))
    return NetworkOptions(**plain)
