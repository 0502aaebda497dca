"""An audit without a network: what is proposed is the given mask with a block of another class."""

import json

import numpy as np

from metadcseg.audit.case_files import write_case
from metadcseg.audit.records import Arrays, AuditedCase, Region
from metadcseg.data.store.reader import PreparedSet
from metadcseg.files import safe_names

IDENTITY = "ab" * 32


def units(prepared, role="train"):
    """Return id -> (cases, slices) of the images or volumes of a role."""
    if prepared.volumes:
        held = [(volume.id, prepared.slices_of(volume)) for volume in prepared.volumes if volume.role == role]
        return {id: (cases, np.array([case.slice for case in cases], np.int32)) for id, cases in held}
    return {case.id: ((case,), np.zeros(1, np.int32)) for case in prepared.select(role)}


def proposal(given, label):
    """Return a corrected mask, and the numbers of its two regions: a block in each upper corner."""
    mask, regions = given.copy(), np.zeros(given.shape, np.int32)
    width = given.shape[2]
    for number, columns in ((1, slice(0, 3)), (2, slice(width - 3, width))):
        regions[:, :3, columns] = number
    change = (regions > 0) & (mask != 255)
    mask[change] = label
    return mask, regions


def simulate(folder, prepared: PreparedSet, role="train", label=1):
    """Write the folder of an audit; return case id -> Arrays."""
    made = judge(folder, prepared, role, label)
    about = {
        "format": "metadcseg-audit/1",
        "identity": IDENTITY,
        "set": {"path": str(prepared.path), "name": prepared.name, "fingerprint": prepared.fingerprint},
        "classes": list(prepared.classes),
        "cases": len(made),
    }
    (folder / "audit.json").write_text(json.dumps(about))
    return made


def judge(folder, prepared, role="train", label=1, dsc=lambda number: 0.7):
    """Write the cases of a role, of verified ones the mask that was replaced; return case id -> Arrays.

    Args:
        dsc: from the number of a case to its expected DSC.
    """
    folder.mkdir(parents=True)
    made, held = {}, units(prepared, role)
    for place, (name, (id, (cases, slices))) in enumerate(zip(safe_names(held), held.items(), strict=True)):
        given = np.stack([(prepared.given if case.has_given else prepared.label)(case) for case in cases])
        balanced, regions = proposal(given, label)
        wrong = np.where(regions > 0, np.float32(0.8), np.float32(0.1))
        network = np.where(given == 255, given, np.roll(given, 2, axis=2))
        levels = {"sure": given, "balanced": balanced, "network": network}
        image = np.zeros((*given.shape, 1), np.uint8)
        arrays = Arrays(image, given, wrong, regions, levels)
        found = tuple(
            Region(number, "missing", 0, label, 9, None, 0.8, 7.2, ((0, len(cases)), (0, 3), (0, 3)))
            for number in (1, 2)
        )
        case = AuditedCase(id, name, role, given.shape, None, dsc(place), (0.5, 0.9), found)
        write_case(folder, case, arrays, slices)
        made[id] = arrays
    return made


def runs(mask):
    """Return a mask (H, W) as class, run, class, run, ..."""
    held = []
    for value in mask.ravel().tolist():
        if held and held[-2] == value:
            held[-1] += 1
        else:
            held += [value, 1]
    return held


def decide(folder, prepared, *decisions, **other):
    """Write ``decisions.json``."""
    told = {
        "format": "metadcseg-decisions/1",
        "identity": IDENTITY,
        "set": prepared.fingerprint,
        "decisions": list(decisions),
    }
    path = folder / "decisions.json"
    path.write_text(json.dumps(told | other))
    return path
