"""Where masks that nobody verified are corrected, pairs follow: the replaced masks are corrected in the same way.

A pair says how the masks that train are wrong. Once these are corrected, a pair that still holds the careless mask says
it of masks that are gone. So the mask in a pair, its twin, is treated as the audited case that is most like it was: the
one with the nearest expected DSC of those that nobody verified. Where all were corrected at a level, all twins are at
that level; where only the worst were, those of the worst. Of several that are equally near, what became of most of them
counts. Where that ties, what changes most: ``network``, then ``balanced``, ``sure``, as given. For a pair that shows
errors that are gone has masks corrected twice, and one that shows too few only leaves some.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metadcseg.audit.case_files import CASES, CaseMasks, read_cases, read_masks
from metadcseg.audit.decisions import Decision
from metadcseg.audit.native import Labels
from metadcseg.audit.originals import Originals
from metadcseg.audit.plan import Mask, Reviews
from metadcseg.audit.records import LEVELS, AuditedCase, Level
from metadcseg.audit.twins import TWINS
from metadcseg.audit.units import check_sizes, paired_units
from metadcseg.errors import InputError

_EQUAL = 1e-9
"""Expected DSC that differ by less are equal: sums of floats are not exact."""


@dataclass(frozen=True)
class Twin:
    """The corrected mask of a pair.

    Args:
        mask: reads and writes it.
        level: that it was corrected at.
        changed: how many pixels differ from the replaced mask.
    """

    mask: Mask
    level: Level
    changed: int


def followed(
    audit: Path,
    cases: Sequence[AuditedCase],
    decisions: Mapping[str, Decision],
    reviews: Reviews,
    originals: Originals,
    can_hold: Callable[[str], bool],
) -> tuple[dict[str, Twin], int]:
    """Return the twins that are corrected as masks without a verified one are, and how many pairs cannot follow.

    Args:
        audit: its folder.
        cases: that were audited.
        decisions: about them, by id.
        reviews: what became of these.
        originals: the files of the set.
        can_hold: whether the mask as given of a case can be replaced: a file of its own holds it.

    Raises:
        InputError: where a file of the audit is damaged.
    """
    train = [case for case in cases if case.split == "train"]
    new = {case.id: case for case in train if case.id in reviews and reviews[case.id].outcome.verified}
    treated = [
        (_known(case.dsc), treatment(case, decisions.get(case.id)) if can_hold(case.id) else None)
        for case in train
        if case.id not in new
    ]
    if not any(level for _, level in treated):
        return {}, 0
    pairs = [unit.id for unit in paired_units(originals.prepared)]
    judged = {case.id: case for case in _judged(audit)}
    check_sizes(list(judged.values()), originals.prepared)
    if left := sum(id not in judged or not can_hold(id) for id in pairs):
        return {}, left  # some at one state, some at another, would say nothing of either
    found: dict[str, Twin] = {}
    for folder, held in ((audit / TWINS, {id: judged[id] for id in pairs}), (audit, new)):
        for id, case in held.items():
            level = most_alike(_known(case.dsc), treated) if can_hold(id) else None
            if level is None:
                continue
            masks = read_masks(folder, case)
            changed = int(np.count_nonzero(masks.corrected[level] != masks.given))
            if changed:
                found[id] = Twin(_mask(folder, case, level, originals), level, changed)
    return found, 0


def treatment(case: AuditedCase, decision: Decision | None) -> Level | None:
    """Return the level at which a case was corrected; None where most of it stays as given.

    Example:
        >>> from metadcseg.audit.records import Region
        >>> region = Region(1, "missing", 0, 1, 2, None, 0.9, 1.8, ((0, 1), (0, 2), (0, 2)))
        >>> case = AuditedCase("a", "a", "train", (1, 2, 2), None, 0.5, (0.4, 0.6), (region,))
        >>> treatment(case, Decision("a", "accept", "sure")), treatment(case, Decision("a", "reject"))
        ('sure', None)
        >>> treatment(case, Decision("a", regions={1: "accept"})), treatment(case, None)
        ('balanced', None)
    """
    if decision is None or decision.verdict in ("reject", "expert"):
        return None
    if decision.verdict == "accept":
        return decision.level
    accepted = sum(said == "accept" for said in decision.regions.values())
    return decision.level if 2 * accepted > len(case.regions) else None


def most_alike(dsc: float, treated: Sequence[tuple[float, Level | None]]) -> Level | None:
    """Return how the case of the nearest expected DSC was treated, whatever the order of the cases.

    Args:
        dsc: expected, of the twin.
        treated: expected DSC and treatment of every case; at least one.

    Returns:
        Of equally near cases what most of them had; where that ties, what changes most.

    Example:
        >>> most_alike(0.6, [(0.9, None), (0.5, "sure")]), most_alike(0.8, [(0.9, None), (0.5, "sure")])
        ('sure', None)
        >>> most_alike(0.6, [(0.7, "network"), (0.5, "sure"), (0.5, "network")])
        'network'
        >>> most_alike(1.0, [(1.0, None), (1.0, "sure")])
        'sure'
    """
    nearest = min(abs(held - dsc) for held, _ in treated)
    counts = Counter(level for held, level in treated if abs(held - dsc) <= nearest + _EQUAL)
    return max((*reversed(LEVELS), None), key=lambda level: counts[level])  # the first of those that tie


def _known(dsc: float) -> float:
    return float(np.nan_to_num(dsc, nan=1.0))  # nothing is said against it


def _judged(audit: Path) -> list[AuditedCase]:
    """Return the pairs as they were judged; none of an audit that could not, or of an earlier version.

    Raises:
        InputError: where a file is damaged, or the folder is there and holds none.
    """
    folder = audit / TWINS
    if not folder.is_dir():
        return []
    if not any((folder / CASES).glob("*.npz")):
        raise InputError(
            f"{folder} is empty, where the audit keeps how the masks of pairs are corrected: put back its files, or "
            "run the audit again; without the folder, pairs stay as they are"
        )
    return read_cases(folder)


def _mask(folder: Path, case: AuditedCase, level: Level, originals: Originals) -> Mask:
    def masks() -> CaseMasks:
        return read_masks(folder, case)

    def read() -> Labels:
        return masks().corrected[level]

    def write(out: Path) -> None:
        held = masks()
        originals.write(out, case.id, held.given, held.corrected[level], held.slices)

    return Mask(read, write)
