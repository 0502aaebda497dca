"""What becomes of a case: the rule by which accept makes gold, and by which the page counts what was reviewed."""

import numpy as np

from metadcseg.audit.case_files import CaseMasks
from metadcseg.audit.records import LEVELS, AuditedCase, Region

BRUSH = np.array([[1, 1], [0, 255]], np.uint8)
RULES = [
    # verdict, regions, painted slices; verified, regions whose pixels are changed, experts
    ("accept", {}, [], True, {1, 2, 3}, 0),
    ("accept", {2: "reject"}, [], True, {1, 3}, 0),
    ("accept", {2: "expert"}, [], False, {1, 3}, 1),
    ("accept", {2: "expert"}, [1], False, {1, 3}, 1),
    ("reject", {1: "accept"}, [], True, set(), 0),
    ("reject", {1: "expert"}, [], True, set(), 0),
    ("expert", {1: "accept"}, [], False, set(), 1),
    (None, {1: "accept", 2: "reject", 3: "accept"}, [], True, {1, 3}, 0),
    (None, {1: "accept", 2: "reject"}, [], False, {1}, 0),
    (None, {1: "accept", 2: "reject"}, [1, 2], True, {1}, 0),
    (None, {1: "accept", 2: "reject"}, [1], False, {1}, 0),
    (None, {1: "accept", 2: "reject"}, [2], False, {1}, 0),
    (None, {1: "expert", 2: "reject", 3: "reject"}, [0], False, set(), 1),
    (None, {1: "expert", 2: "expert"}, [0, 1, 2], False, set(), 2),
    (None, {}, [0, 1, 2], True, set(), 0),
    ("expert", {}, [0, 1, 2], False, set(), 1),
    (None, {}, [0], False, set(), 0),
    (None, {}, [], False, set(), 0),
]


def three_regions(id="a"):
    """Return three slices with three regions: the first on an ignored pixel as well, the third on two slices."""
    given = np.zeros((3, 2, 2), np.uint8)
    given[0, 0, 1] = 255
    regions = np.zeros((3, 2, 2), np.int32)
    regions[0, 0], regions[1, 0, 0], regions[1:, 1, 1] = 1, 2, 3
    corrected = np.where(regions > 0, np.uint8(1), given)
    found = tuple(
        Region(number, "missing", 0, 1, 1, None, 0.9, 1.0, (span, (0, 2), (0, 2)))
        for number, span in enumerate([(0, 1), (1, 2), (1, 3)], start=1)
    )
    case = AuditedCase(id, id, "train", (3, 2, 2), None, 0.5, (0.4, 0.6), found)
    return case, CaseMasks(
        given, regions, given, dict.fromkeys(LEVELS, corrected), np.arange(3, dtype=np.int32)
    )
