"""Tell which files a set is made from (`metadcseg.data.store.origin`)."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metadcseg.data.prepare.facts import CaseFacts
from metadcseg.data.prepare.labels import LabelScheme
from metadcseg.data.sources.case import Outlines, RawCase
from metadcseg.data.store.origin import FORMAT, ORIGIN
from metadcseg.files import write_bytes


def write_origin(
    out: Path,
    cases: Sequence[RawCase],
    facts: Sequence[CaseFacts],
    scheme: LabelScheme,
    unknown: Sequence[str] = (),
) -> None:
    """Write which files a set was made from; nothing where a case comes from memory.

    Args:
        out: the folder of the set.
        cases: of its source.
        facts: what each of them is like.
        scheme: what the values in the masks mean.
        unknown: ids of the cases that were left out, as their masks are unknown throughout.

    Raises:
        InputError: where the disk refuses.
    """
    if not cases or not all(case.files for case in cases):
        return
    rows = {case.id: _row(case, each, scheme) for case, each in zip(cases, facts, strict=True)}
    files = [Path(name) for row in rows.values() for name in (*row["images"], row.get("mask")) if name]
    folder = Path(os.path.commonpath([path.parent for path in files]))
    if folder.name == "images":  # no single files hold the masks
        folder = folder.parent
    for row in rows.values():
        row["images"] = [os.path.relpath(name, folder) for name in row["images"]]
        if "mask" in row:
            row["mask"] = os.path.relpath(row["mask"], folder)
    told = {"format": FORMAT, "folder": str(folder), "cases": rows}
    told |= {"unknown": list(unknown)} if unknown else {}
    write_bytes(out / ORIGIN, json.dumps(told, indent=1).encode())


def _row(case: RawCase, facts: CaseFacts, scheme: LabelScheme) -> dict[str, Any]:
    row: dict[str, Any] = {"images": [str(path.absolute()) for path in case.files]}
    what = "label" if case.given is None else "given"
    held = getattr(case, what)
    if isinstance(held, Path) and not case.stacked:
        row["mask"] = str(held.absolute())
    kinds = [f"{what}/{name}" for name in held.by] if isinstance(held, Outlines) else [what]
    values: dict[int, int] = {}
    for kind in kinds:
        stored = facts.masks[kind].in_file
        numbers = scheme.apply(np.array(stored, np.int64), facts.masks[kind]).tolist()
        values |= dict(zip(stored, numbers, strict=True))
    row["values"] = {str(value): label for value, label in values.items()}
    keys = {"mask_key": getattr(case, f"{what}_key"), "image_key": case.image_key}
    return row | {name: key for name, key in keys.items() if key}
