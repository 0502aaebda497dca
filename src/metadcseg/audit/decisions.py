"""What a reviewer decided: ``decisions.json`` of the review page, read as hostile.

::

    {"format": "metadcseg-decisions/1", "identity": ..., "set": ...,
     "decisions": [{"case": id, "verdict": "accept" | "reject" | "expert" | null, "level": "balanced",
                    "regions": {"3": "reject"}, "painted": {"0": [class, run, class, run, ...]}, "verified": true}]}
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit.records import LEVELS, AuditedCase, Level
from metadcseg.constants import IGNORE
from metadcseg.data.annotations.values import read_json, shown
from metadcseg.errors import InputError, unknown_name

FORMAT = "metadcseg-decisions/1"

Verdict = Literal["accept", "reject", "expert"]
"""The proposal is right, the given mask is right, or somebody else has to decide."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

MOST_BYTES = 2**28
"""No larger file is read: 256 MiB hold the brush of tens of thousands of slices."""

_KEYS = {"format", "identity", "set", "decisions"}
_CASE_KEYS = {"case", "verdict", "level", "regions", "painted", "verified"}
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")


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
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        said = held.get("format") if isinstance(held, dict) else held
        raise InputError(
            f"{path}: the format must be '{FORMAT}', got {shown(said)}: save it from the review page"
        )
    if strange := sorted(set(held) - _KEYS):
        raise unknown_name(f"key of {path}", strange[0], _KEYS)
    for key, wanted, what in (("identity", identity, "audit"), ("set", fingerprint, "prepared set")):
        if held.get(key) != wanted:
            raise InputError(
                f"{path} is about another {what} ('{key}' is {shown(held.get(key))}, not {shown(wanted)}): give the "
                "folder of the audit that was reviewed"
            )
    rows = held.get("decisions")
    if not isinstance(rows, list):
        raise InputError(f"{path}: 'decisions' must be a list, got {shown(rows)}")
    known = {case.id: case for case in cases}
    found: dict[str, Decision] = {}
    for place, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not isinstance(row.get("case"), str):
            raise InputError(f"{path}: decision {place} must name its 'case', got {shown(row)}")
        id = row["case"]
        if id not in known:
            raise InputError(f"{path}: decision {place} is about {shown(id)}, a case that was not audited")
        if id in found:
            raise InputError(f"{path}: two decisions are about {shown(id)}: remove one of them")
        try:
            found[id] = _decision(row, known[id], classes)
        except InputError as error:
            raise InputError(f"{path}: case {shown(id)}: {error}") from error
    return {id: decision for id, decision in found.items() if not decision.empty}


def _decision(row: dict[str, Any], case: AuditedCase, classes: int) -> Decision:
    if strange := sorted(set(row) - _CASE_KEYS):
        raise unknown_name("key", strange[0], _CASE_KEYS)
    verdict = row.get("verdict")
    level = row.get("level", "balanced")
    if level not in LEVELS:
        raise InputError(f"'level' must be one of {', '.join(LEVELS)}, got {shown(level)}")
    verified = row.get("verified", True)
    if not isinstance(verified, bool):
        raise InputError(f"'verified' must be true or false, got {shown(verified)}")
    numbers = {region.number for region in case.regions}
    regions: dict[int, Verdict] = {}
    for key, said in _table(row, "regions").items():
        number = int(key) if _NUMBER.fullmatch(key) else -1
        if number not in numbers:
            raise InputError(f"there is no region {shown(key)}, it has {len(numbers)}")
        regions[number] = _verdict(said, f"the verdict on region {number}")
    painted: dict[int, NDArray[np.uint8]] = {}
    for key, runs in _table(row, "painted").items():
        index = int(key) if _NUMBER.fullmatch(key) else -1
        if not 0 <= index < case.shape[0]:
            raise InputError(f"there is no slice {shown(key)} to be painted, it has {case.shape[0]}")
        painted[index] = _mask(runs, index, case.shape[1:], classes)
    return Decision(
        case.id,
        None if verdict is None else _verdict(verdict, "'verdict'"),
        level,
        regions,
        painted,
        verified,
    )


def _table(row: dict[str, Any], key: str) -> dict[str, Any]:
    held = row.get(key)
    if held is None:
        return {}
    if not isinstance(held, dict):
        raise InputError(f"'{key}' must be an object, got {shown(held)}")
    return held


def _verdict(said: object, what: str) -> Verdict:
    for verdict in VERDICTS:
        if said == verdict:
            return verdict
    raise InputError(f"{what} must be one of {', '.join(VERDICTS)}, got {shown(said)}")


def _mask(runs: object, index: int, shape: tuple[int, int], classes: int) -> NDArray[np.uint8]:
    """Return a painted slice, (H, W)."""
    what = f"painted slice {index}"
    if not isinstance(runs, list) or len(runs) % 2 or not all(type(each) is int for each in runs):
        raise InputError(f"{what} must be whole numbers class, run, class, run, ..., got {shown(runs)}")
    labels, lengths = runs[::2], runs[1::2]
    if wrong := [label for label in labels if not (0 <= label < classes or label == IGNORE)]:
        raise InputError(
            f"{what} holds the class {shown(wrong[0])}, allowed are 0 to {classes - 1} and {IGNORE}"
        )
    height, width = shape
    if any(length < 1 for length in lengths) or sum(lengths) != height * width:
        raise InputError(f"{what} has runs that do not fill {height} x {width} pixels exactly")
    return np.repeat(np.array(labels, np.uint8), lengths).reshape(shape)
