"""From what a reviewer decided about a case to its mask."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit.case_files import CaseMasks
from metadcseg.audit.decisions import Decision
from metadcseg.audit.records import AuditedCase, Region
from metadcseg.constants import IGNORE


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Args:
        verified: whether all of it was decided: it is gold then.
        changed: how many pixels differ from the given mask.
        painted: how many slices the reviewer painted.
        experts: how many regions, or the case as a whole (1), are left to an expert.
    """

    verified: bool
    changed: int
    painted: int
    experts: int


def review(case: AuditedCase, masks: CaseMasks, decision: Decision) -> tuple[NDArray[np.uint8], Outcome]:
    """Return the mask that follows from a decision, (Z, H, W) uint8, and what became of the case.

    - Verdict *accept*: the corrected mask of its level; regions that were rejected or left to an expert stay as given.
    - Verdict *reject* or *expert*: the given mask.
    - No verdict: the given mask, in accepted regions the corrected one.
    - A painted slice is what was painted, whatever else was said about it. Ignored pixels stay ignored unless painted.

    A case is verified by *accept* or *reject*, or where each of its regions was accepted, rejected or painted over, or
    where all of its slices were painted. None is of which something is left to an expert, the case or a region that
    the verdict on the case does not settle (*reject*): painting takes that back no more than another verdict does. No
    case is whose decision says that nobody looked at it.

    Args:
        case: what was found.
        masks: of the case.
        decision: about it.

    Example:
        >>> given, better = np.zeros((1, 2, 2), np.uint8), np.eye(2, dtype=np.uint8)[None]
        >>> from metadcseg.audit.records import LEVELS, Region
        >>> region = Region(1, "missing", 0, 1, 2, None, 0.9, 1.8, ((0, 1), (0, 2), (0, 2)))
        >>> case = AuditedCase("a", "a", "train", (1, 2, 2), None, 0.5, (0.4, 0.6), (region,))
        >>> first = np.zeros(1, np.int32)
        >>> masks = CaseMasks(given, better.astype(np.int32), given, dict.fromkeys(LEVELS, better), first)
        >>> review(case, masks, Decision("a", "accept"))[0].tolist()
        [[[1, 0], [0, 1]]]
        >>> _, found = review(case, masks, Decision("a", regions={1: "expert"}))
        >>> found.verified, found.changed, found.experts
        (False, 0, 1)
    """
    given = masks.given
    proposed = masks.corrected[decision.level]
    chosen = {
        verdict: [number for number, said in decision.regions.items() if said == verdict]
        for verdict in ("accept", "reject", "expert")
    }
    if decision.verdict == "accept":
        take = ~np.isin(masks.regions, chosen["reject"] + chosen["expert"])
    elif decision.verdict is None:
        take = np.isin(masks.regions, chosen["accept"])
    else:
        take = np.zeros(given.shape, bool)
    mask = np.where(take & (given != IGNORE), proposed, given).astype(np.uint8)
    for index, painted in decision.painted.items():
        mask[index] = painted
    if decision.verdict in ("accept", "reject"):
        decided = True
    else:
        said = [
            region.number in decision.regions or _painted_over(region, decision) for region in case.regions
        ]
        decided = len(decision.painted) == len(given) or (bool(said) and all(said))
    experts = len(chosen["expert"]) if decision.verdict in ("accept", None) else 0
    experts += decision.verdict == "expert"
    changed = int(np.count_nonzero(mask != given))
    verified = decided and not experts and decision.verified
    return mask, Outcome(verified, changed, len(decision.painted), experts)


def _painted_over(region: Region, decision: Decision) -> bool:
    """Return whether each slice was painted from the first to the last that a region lies on."""
    return all(index in decision.painted for index in range(*region.box[0]))
