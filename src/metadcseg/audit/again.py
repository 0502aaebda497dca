"""The command that prepares a corrected folder as the audited set was prepared."""

from itertools import chain, count
from pathlib import Path

import numpy as np

from metadcseg.constants import IGNORE
from metadcseg.data.slicing.cut import Axis, SliceOptions
from metadcseg.data.store.origin import read_origin
from metadcseg.data.store.reader import PreparedSet


def prepare_again(prepared: PreparedSet, folder: Path, limit: tuple[int, int] | None = None) -> list[str]:
    """Return the words of the command, with the options that the set tells of itself.

    Args:
        prepared: the set that was audited.
        folder: the corrected one.
        limit: of :class:`~metadcseg.audit.accept.Accepted`.
    """
    names = (f"{folder}-set{end}" for end in chain([""], (f"-{number}" for number in count(2))))
    words = [
        "metadcseg",
        "prepare",
        str(folder),
        "--out",
        next(name for name in names if not Path(name).exists()),
    ]
    source, origin = prepared.source, read_origin(prepared.path)
    values = dict(source.get("remap") or {})
    if origin is None and len(prepared.classes) == 2 and _ignores(prepared):
        values["128"] = IGNORE
    if origin is not None and origin.spare is not None and _ignores(prepared):
        values = {**origin.numbers, **values, origin.spare: IGNORE}
    if values:
        pairs = ",".join(f"{value}:{label}" for value, label in values.items())
        words += [f"--remap={pairs}"]
    words += [
        word
        for name in ("fuse", "confidence", "subfolders")
        if source.get(name)
        for word in (f"--{name}", source[name])
    ]
    if limit is not None:
        words += ["--limit", str(limit[0])]
    if (seed := source.get("fuse_seed") if limit is None else limit[1]) is not None:
        words += ["--seed", str(seed)]
    if origin is not None and (first := next(iter(origin.cases.values()), None)) is not None:
        keys = (("image-key", first.image_key), ("label-key", first.mask_key))
        words += [word for name, key in keys if key for word in (f"--{name}", key)]
    for name, labels in (prepared.regions or {}).items():
        words += ["--region", f"{name}:{','.join(map(str, labels))}"]
    if prepared.preprocessing is not None:
        used = SliceOptions.from_dict(prepared.preprocessing)
        if origin is None:  # what lies in the folder was cut already (`stacked_layout`)
            axis: Axis = ("x", "y", "z")[prepared.volumes[0].placement.axis]
            used = SliceOptions(axis=axis, normalize="none", order=used.order)
        words += _slicing(used)
    elif len(spacings := {case.spacing for case in prepared.cases}) == 1 and (spacing := spacings.pop()):
        words += ["--spacing", ",".join(map(repr, spacing))]
    if prepared.edge_detector is None:
        words += ["--edges", "none"]
    return words


def _slicing(used: SliceOptions) -> list[str]:
    """Return the options that say how volumes are cut, without those by default."""
    default = SliceOptions()
    names = ("axis", "pixel", "normalize", "crop", "empty", "order")
    changed = [name for name in names if getattr(used, name) != getattr(default, name)]
    return [word for name in changed for word in (f"--{name}", str(getattr(used, name)))]


def _ignores(prepared: PreparedSet) -> bool:
    return any(
        bool(np.any(prepared.label(case) == IGNORE))
        or (case.has_label_confidence and not prepared.label_confidence(case).all())
        for case in prepared.cases
    )
