"""The command that prepares a corrected folder as the audited set was prepared."""

from collections.abc import Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np

from metadcseg.constants import IGNORE
from metadcseg.data.slicing.cut import Axis, SliceOptions
from metadcseg.data.store.origin import Origin, read_origin
from metadcseg.data.store.reader import PreparedSet


def prepare_again(prepared: PreparedSet, folder: Path, limit: tuple[int, int] | None = None) -> list[str]:
    """Return the words of the command, with the options that the set tells of itself.

    Args:
        prepared: the set that was audited.
        folder: the corrected one.
        limit: of :class:`~metadcseg.audit.accept.Accepted`.
    """
    names = (f"{folder}-set{end}" for end in chain([""], (f"-{number}" for number in count(2))))
    out = next(name for name in names if not Path(name).exists())
    source, origin = prepared.source, read_origin(prepared.path)
    return [
        *("metadcseg", "prepare", str(folder), "--out", out),
        *_values(prepared, origin),
        *_as_named({name: source.get(name) for name in ("fuse", "confidence", "subfolders")}),
        *_drawn(source, limit),
        *_keys(origin),
        *_regions(prepared),
        *_grid(prepared, origin),
        *([] if prepared.edge_detector is not None else ["--edges", "none"]),
    ]


def _as_named(options: Mapping[str, Any]) -> list[str]:
    """Return the words of options that have a value."""
    return [word for name, value in options.items() if value for word in (f"--{name}", str(value))]


def _values(prepared: PreparedSet, origin: Origin | None) -> list[str]:
    """Return what values of masks mean, that of unknown pixels as a corrected mask has it among them."""
    values = dict(prepared.source.get("remap") or {})
    if origin is None and len(prepared.classes) == 2 and _ignores(prepared):
        values["128"] = IGNORE
    if origin is not None and origin.spare is not None and _ignores(prepared):
        values = {**origin.numbers, **values, origin.spare: IGNORE}
    return [f"--remap={','.join(f'{value}:{label}' for value, label in values.items())}"] if values else []


def _drawn(source: Mapping[str, Any], limit: tuple[int, int] | None) -> list[str]:
    """Return how many training cases are drawn, and the seed of all that is drawn."""
    seed = source.get("fuse_seed") if limit is None else limit[1]
    words = [] if limit is None else ["--limit", str(limit[0])]
    return words if seed is None else [*words, "--seed", str(seed)]


def _keys(origin: Origin | None) -> list[str]:
    """Return the names of arrays in HDF5 files."""
    first = next(iter(origin.cases.values()), None) if origin is not None else None
    return [] if first is None else _as_named({"image-key": first.image_key, "label-key": first.mask_key})


def _regions(prepared: PreparedSet) -> list[str]:
    named = (prepared.regions or {}).items()
    return [word for name, labels in named for word in ("--region", f"{name}:{','.join(map(str, labels))}")]


def _grid(prepared: PreparedSet, origin: Origin | None) -> list[str]:
    """Return how volumes are cut, or the spacing of images where all have one."""
    if prepared.preprocessing is not None:
        used = SliceOptions.from_dict(prepared.preprocessing)
        if origin is None:  # what lies in the folder was cut already (`stacked_layout`)
            axis: Axis = ("x", "y", "z")[prepared.volumes[0].placement.axis]
            used = SliceOptions(axis=axis, normalize="none", order=used.order)
        return _slicing(used)
    spacings = {case.spacing for case in prepared.cases}
    spacing = spacings.pop() if len(spacings) == 1 else None
    return ["--spacing", ",".join(map(repr, spacing))] if spacing else []


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
