"""The numbers that the paper reports, to be shown beside ours and marked as the paper's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

_NAMES = (
    ("kvasir-seg", re.compile("kvasir")),
    ("msd-heart", re.compile("msd-?heart|task-?02|left-?atrium")),
    ("msd-brain", re.compile("msd-?brain|task-?01|brats")),
    ("promise12", re.compile("promise")),
)
_PERCENT = ("iou", "dsc")
METADCSEG = "MetaDCSeg"
L2B = "L2B"


@dataclass(frozen=True)
class PaperValue:
    """One number of the paper.

    Args:
        value: in our unit: a fraction for DSC and mIoU; HD as it is printed, without a unit.
        sd: over the paper's three runs, None where it gives none.
        table: of the paper.
    """

    value: float
    sd: float | None
    table: int


@cache
def paper_numbers() -> Mapping[str, Any]:
    """Return what ``paper_numbers.yaml`` holds: as printed, in percent."""
    file = resources.files("metadcseg.results").joinpath("paper_numbers.yaml")
    held: Mapping[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    return held


def paper_set(name: str) -> str | None:
    """Return which of the paper's sets a name means, None where it is none of them.

    Example:
        >>> paper_set("Kvasir_SEG"), paper_set("left atrium"), paper_set("phantom")
        ('kvasir-seg', 'msd-heart', None)
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower())
    return next((key for key, pattern in _NAMES if pattern.search(plain)), None)


def paper_title(key: str) -> str:
    """Return what the paper calls one of its sets.

    Example:
        >>> paper_title("msd-heart")
        'MSD Heart'
    """
    return str(paper_numbers()["main"][key]["title"])


def paper_methods() -> list[str]:
    """Return the methods of tables 1 to 4, the paper's own last.

    Example:
        >>> paper_methods()
        ['MAXFormer', 'MADGNet', 'ConDSeg', 'HAMIL', 'L2B', 'MetaDCSeg']
    """
    return list(paper_numbers()["main"]["msd-heart"]["methods"])


def paper_score(key: str | None, method: str | None, rate: float, metric: str) -> PaperValue | None:
    """Return a score of tables 1 to 4, None where the paper has none.

    Args:
        key: see :func:`paper_set`.
        method: see :func:`paper_methods`.
        rate: of the noise, which is the paper's.
        metric: ``"iou"``, ``"dsc"`` or ``"hd"``.

    Example:
        >>> paper_score("msd-heart", "MetaDCSeg", 0.4, "dsc")
        PaperValue(value=0.9487, sd=0.0065, table=1)
    """
    held = paper_numbers()["main"].get(key)
    if held is None or method not in held["methods"] or rate not in held["levels"]:
        return None
    values = held["methods"][method].get(metric)
    if values is None:
        return None
    mean, sd = values[held["levels"].index(rate)]
    return PaperValue(in_our_unit(metric, mean), in_our_unit(metric, sd), held["table"])


def in_our_unit(metric: str, value: float) -> float:
    """Return a printed number in the unit of our records.

    Example:
        >>> in_our_unit("dsc", 94.87), in_our_unit("hd", 3.78)
        (0.9487, 3.78)
    """
    return round(value / 100, 6) if metric in _PERCENT else value
