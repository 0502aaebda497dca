"""What a reviewer decided: ``decisions.json`` of the review page, read as hostile.

::

    {"format": "metadcseg-decisions/1", "identity": ..., "set": ...,
     "decisions": [{"case": id, "verdict": "accept" | "reject" | "expert" | null, "level": "balanced",
                    "regions": {"3": "reject"}, "painted": {"0": [class, run, class, run, ...]}, "verified": true}]}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from metadcseg.audit.records import AuditedCase, Level
from metadcseg.constants import IGNORE
from metadcseg.data.annotations.values import read_json
from metadcseg.errors import InputError, shown
from metadcseg.schemas import part

Verdict = Literal["accept", "reject", "expert"]
"""The proposal is right, the given mask is right, or somebody else has to decide."""

MOST_BYTES = 2**28
"""No larger file is read: 256 MiB hold the brush of tens of thousands of slices."""

_FORMAT = Literal["metadcseg-decisions/1"]
_AGAIN = "save it from the review page"
_RUNS = "whole numbers class, run, class, run, ..."


class DecisionsSaid(Struct, forbid_unknown_fields=True):
    """``decisions.json``; its rows are read one by one."""

    format: _FORMAT
    identity: str
    set: str
    decisions: list[Any]


class RowNamed(Struct):
    """What every row says, read before all else."""

    case: str


class RowSaid(Struct, forbid_unknown_fields=True):
    """What was decided about one case; verdicts on regions and painted slices, by number, are read one by one."""

    case: str
    verdict: Verdict | None = None
    level: Level = "balanced"
    regions: dict[str, Any] | None = None
    painted: dict[str, Any] | None = None
    verified: bool = True


@dataclass(frozen=True)
class Decision:
    """What was decided about one case.

    Args:
        case: its id.
        verdict: on the case as a whole; None where there is none.
        level: the corrected mask that it is about.
        regions: number of a region -> verdict.
        painted: index of a slice -> the reviewer's own mask of it, (H, W) uint8 class numbers, 255 is ignored.
        verified: False where a script decided: the mask is changed likewise, and is no gold.
    """

    case: str
    verdict: Verdict | None = None
    level: Level = "balanced"
    regions: Mapping[int, Verdict] = field(default_factory=dict)
    painted: Mapping[int, NDArray[np.uint8]] = field(default_factory=dict)
    verified: bool = True

    @property
    def empty(self) -> bool:
        """Whether nothing was decided."""
        return self.verdict is None and not self.regions and not self.painted


def read_decisions(
    path: Path, *, identity: str, fingerprint: str, cases: Sequence[AuditedCase], classes: int
) -> dict[str, Decision]:
    """Read and check all decisions on an audit.

    Args:
        path: ``decisions.json``.
        identity: of the audit that they must be about.
        fingerprint: of its set.
        cases: that were audited.
        classes: how many the set has.

    Returns:
        id -> decision, in the order of the file, of the cases about which something was decided.

    Raises:
        InputError: naming the file, the case and the first thing that is wrong.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
    if not path.is_file() or size > MOST_BYTES:
        raise InputError(f"{path} must be a file of at most {MOST_BYTES >> 20} MiB: save the decisions again")
    held = read_json(path)
    try:
        part(held.get("format") if isinstance(held, dict) else held, _FORMAT, "the format")
        file = part(held, DecisionsSaid)
    except InputError as error:
        raise InputError(f"{path}: {error}; {_AGAIN}") from error
    for key, said, wanted, what in (
        ("identity", file.identity, identity, "audit"),
        ("set", file.set, fingerprint, "prepared set"),
    ):
        if said != wanted:
            raise InputError(
                f"{path} is about another {what} ('{key}' is {shown(said)}, not {shown(wanted)}): give the folder of "
                "the audit that was reviewed"
            )
    known = {case.id: case for case in cases}
    found: dict[str, Decision] = {}
    for place, row in enumerate(file.decisions, start=1):
        try:
            id = part(row, RowNamed).case
        except InputError as error:
            raise InputError(f"{path}: decision {place} must name its 'case', got {shown(row)}") from error
        if id not in known:
            raise InputError(f"{path}: decision {place} is about {shown(id)}, a case that was not audited")
        if id in found:
            raise InputError(f"{path}: two decisions are about {shown(id)}: remove one of them")
        try:
            found[id] = _decision(part(row, RowSaid), known[id], classes)
        except InputError as error:
            raise InputError(f"{path}: case {shown(id)}: {error}") from error
    return {id: decision for id, decision in found.items() if not decision.empty}


def _decision(row: RowSaid, case: AuditedCase, classes: int) -> Decision:
    numbers = {str(region.number): region.number for region in case.regions}
    regions: dict[int, Verdict] = {}
    for key, said in (row.regions or {}).items():
        if key not in numbers:
            raise InputError(f"there is no region {shown(key)}, it has {len(numbers)}")
        regions[numbers[key]] = part(said, Verdict, f"the verdict on region {key}")
    slices = {str(index): index for index in range(case.shape[0])}
    painted: dict[int, NDArray[np.uint8]] = {}
    for key, runs in (row.painted or {}).items():
        if key not in slices:
            raise InputError(f"there is no slice {shown(key)} to be painted, it has {len(slices)}")
        painted[slices[key]] = _mask(runs, f"painted slice {key}", case.shape[1:], classes)
    return Decision(case.id, row.verdict, row.level, regions, painted, row.verified)


def _mask(held: object, what: str, shape: tuple[int, int], classes: int) -> NDArray[np.uint8]:
    """Return a painted slice, (H, W)."""
    runs = part(held, list[int], what, _RUNS)
    labels, lengths = runs[::2], runs[1::2]
    if len(labels) != len(lengths):
        raise InputError(f"{what} must be {_RUNS}, got {shown(runs)}")
    if wrong := [label for label in labels if not (0 <= label < classes or label == IGNORE)]:
        raise InputError(
            f"{what} holds the class {shown(wrong[0])}, allowed are 0 to {classes - 1} and {IGNORE}"
        )
    height, width = shape
    if any(length < 1 for length in lengths) or sum(lengths) != height * width:
        raise InputError(f"{what} has runs that do not fill {height} x {width} pixels exactly")
    return np.repeat(np.array(labels, np.uint8), lengths).reshape(shape)
