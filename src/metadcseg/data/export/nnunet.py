"""Write a prepared set as a raw folder of nnU-Net (version 2), so that nnU-Net can be run on the same noisy labels.

Images are written as the set has them (normalized, cropped and resampled as it was prepared), one NIfTI file per
channel; 2D images are volumes of one slice. Labels are those given: of training cases noisy ones, of gold cases
verified ones.
"""

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.findings import plural
from metadcseg.data.formats.geometry import UNKNOWN_AFFINE
from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.data.store.reader import Case, PreparedSet, StoredVolume
from metadcseg.errors import InputError
from metadcseg.extras import Extra
from metadcseg.files import cannot_write, numbered
from metadcseg.scratch import scratch_folder, sweep

Progress = Callable[[int, int], object]
"""Called with how many cases are written, of how many."""

nibabel: Any = Extra("nibabel", "volumes", "NIfTI files")

GOLD = ("none", "once", "balanced")

_ENDING = ".nii.gz"
_README = """{folder}: {name} as metadcseg has it, for nnU-Net version 2.

    export nnUNet_raw={parent}  nnUNet_preprocessed=...  nnUNet_results=...
    nnUNetv2_plan_and_preprocess -d {number} --verify_dataset_integrity
    cp {folder}/splits_final.json $nnUNet_preprocessed/{base}/
    nnUNetv2_train {number} {configuration} 0
    nnUNetv2_predict -i {folder}/imagesTs -o predictions -d {number} -c {configuration} -f 0
    metadcseg import-predictions {set} --predictions predictions --tool "nnU-Net 2" --gold {policy} --out imported

imagesTr, labelsTr: {train} training cases with the labels given, {gold} of them gold ({verified}), and {val} validation
cases; splits_final.json has nnU-Net validate on those. imagesTs, labelsTs: {test} test cases and their references.
{ignored}{pairs}{gaps}Images are normalized, cropped and resampled as in the set: scores are of that grid.
"""


def export_nnunet(
    prepared: PreparedSet,
    out: Path,
    *,
    number: int = 500,
    gold: str = "once",
    progress: Progress | None = None,
) -> Path:
    """Write a set as ``OUT/DatasetNNN_NAME``, whole or not at all.

    Args:
        prepared: the set, with noise or without.
        out: the folder that nnU-Net calls ``nnUNet_raw``; made where missing.
        number: of the data set for nnU-Net, 1 to 999.
        gold: ``none`` leaves gold cases out; ``once`` has them among the training cases; ``balanced`` has ceil(T / G)
            copies of each of G gold cases beside T training cases. nnU-Net draws cases at random, so that copies are
            weights: gold is then half of what it sees.
        progress: called after every case.

    Returns:
        The new folder.

    Raises:
        InputError: where the number is taken or none, ``gold`` is another word or asks for gold where there is
            none, slices of a validation or test volume were dropped, there is nothing to train on,
            stored bytes are damaged, or the disk is full.
    """
    if not 1 <= number <= 999:
        raise InputError(f"--id must be a number from 1 to 999, got {number}")
    if gold not in GOLD:
        raise InputError(f"--gold must be one of {', '.join(GOLD)}, got '{gold}'")
    base = f"Dataset{number:03d}_{_plain(prepared.name)}"
    taken = sorted(out.glob(f"Dataset{number:03d}_*")) if out.is_dir() else []
    if taken:
        sweep(out)
        raise InputError(f"{taken[0]} has the number {number} already: choose another --id or --out")
    units: Sequence[Case | StoredVolume] = prepared.volumes or prepared.cases
    names = file_names([unit.id for unit in units])  # of all of them: predictions are told by these
    units = [unit for unit in units if unit.role != "gold" or gold != "none"]
    roles = {
        role: [names[unit.id] for unit in units if unit.role == role]
        for role in ("train", "gold", "val", "test")
    }
    copies = _copies(roles, names.values()) if gold == "balanced" else {}
    if not roles["train"] + roles["gold"]:
        raise InputError(f"{prepared.path} has no case to train on: prepare it with some")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with scratch_folder(out) as scratch:
            work = scratch / base
            work.mkdir()
            ignored = False
            for done, unit in enumerate(units, start=1):
                ignored |= _write(prepared, unit, work, names[unit.id])
                for copy in copies.get(names[unit.id], ()):
                    _copy(work, names[unit.id], copy)
                if progress is not None:
                    progress(done, len(units))
            _describe(prepared, work, (out / base).resolve(), number, roles, ignored, copies, gold)
            work.rename(out / base)
    except OSError as error:
        raise cannot_write(out, error) from error
    return out / base


def stored_affine(placement: SliceGeometry) -> NDArray[np.float64]:
    """Return where the voxels of a volume's stored stack lie in the world, 4 x 4, axes in the order of the file.

    Example:
        >>> from metadcseg.data.formats.geometry import Grid
        >>> grid = Grid((8, 8, 4), ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 3, 0), (0, 0, 0, 1)))
        >>> half = SliceGeometry(grid, axis=2, box=((0, 8), (0, 8), (1, 4)), height=4, width=8)
        >>> stored_affine(half)[:3].tolist()
        [[2.0, 0.0, 0.0, 0.5], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 3.0, 3.0]]
    """
    sizes = np.ones(3)
    sizes[placement.axis] = placement.slices
    sizes[list(placement.plane)] = placement.height, placement.width
    to_file = np.eye(4)
    for axis, (low, high) in enumerate(placement.box):
        scale = (high - low) / sizes[axis]
        to_file[axis, axis], to_file[axis, 3] = scale, low + 0.5 * scale - 0.5
    affine: NDArray[np.float64] = np.array(placement.grid.affine, dtype=float) @ to_file
    return affine


def _write(prepared: PreparedSet, unit: Case | StoredVolume, work: Path, name: str) -> bool:
    """Write images and label of a case; return whether pixels of it are unknown."""
    cases, laid, affine = _cases(prepared, unit)
    part = "Ts" if unit.role == "test" else "Tr"
    for channel in range(prepared.channels):
        planes = np.stack([prepared.image(case)[..., channel] for case in cases]).astype(np.float32)
        _save(work / f"images{part}" / f"{name}_{channel:04d}{_ENDING}", laid(planes), affine)
    best = unit.role == "test"
    read = [prepared.truth if best and case.has_truth else prepared.label for case in cases]
    labels = np.stack([mask(case) for mask, case in zip(read, cases, strict=True)])
    unknown = labels == IGNORE
    labels[unknown] = len(prepared.classes)  # nnU-Net wants its ignore label to be the one after the last
    _save(work / f"labels{part}" / f"{name}{_ENDING}", laid(labels), affine)
    return bool(unknown.any())


def _copies(roles: Mapping[str, Sequence[str]], taken: Iterable[str]) -> dict[str, list[str]]:
    """Return gold case -> names of its further copies, so that gold is drawn as often as all the rest.

    Example:
        >>> _copies({"train": ["a", "b", "c"], "gold": ["g", "h"]}, ["a", "b", "c", "g", "h"])
        {'g': ['g-copy-2'], 'h': ['h-copy-2']}
    """
    if not roles["gold"]:
        raise InputError("--gold balanced: the set has no gold case: leave --gold out")
    each = -(-len(roles["train"]) // len(roles["gold"]))
    made = {name: [f"{name}-copy-{copy}" for copy in range(2, each + 1)] for name in roles["gold"]}
    known = {name.casefold() for name in taken}
    clash = [copy for held in made.values() for copy in held if copy.casefold() in known]
    if clash:
        raise InputError(
            f"--gold balanced: a case is called {clash[0]} already: rename it, or leave --gold out"
        )
    return made


def _copy(work: Path, name: str, copy: str) -> None:
    for file in [*(work / "imagesTr").glob(f"{name}_????{_ENDING}"), work / "labelsTr" / f"{name}{_ENDING}"]:
        shutil.copyfile(file, file.with_name(copy + file.name.removeprefix(name)))


def _cases(
    prepared: PreparedSet, unit: Case | StoredVolume
) -> tuple[Sequence[Case], Callable[[NDArray[Any]], NDArray[Any]], NDArray[np.float64]]:
    """Return the slices, what lays a stack of them in the order of the file, and where they lie."""
    if isinstance(unit, Case):
        affine = np.array(UNKNOWN_AFFINE, dtype=float)
        if unit.spacing is not None:
            affine[0, 0], affine[1, 1] = unit.spacing
        return (unit,), lambda stack: np.moveaxis(stack, 0, 2), affine
    cases = prepared.slices_of(unit)
    if len(cases) != unit.placement.slices and unit.role in ("val", "test"):
        raise InputError(
            f"volume '{unit.id}' holds {len(cases)} of its {unit.placement.slices} slices: prepare it with --empty keep"
        )
    return cases, unit.placement.unstack, stored_affine(unit.placement)


def _save(path: Path, array: NDArray[Any], affine: NDArray[np.float64]) -> None:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def _describe(
    prepared: PreparedSet,
    work: Path,
    folder: Path,
    number: int,
    roles: Mapping[str, Sequence[str]],
    ignored: bool,
    copies: Mapping[str, Sequence[str]],
    policy: str,
) -> None:
    labels = {name: value for value, name in enumerate(prepared.classes)}
    if ignored:
        labels["ignore"] = len(labels)
    training = [*roles["train"], *roles["gold"], *(copy for held in copies.values() for copy in held)]
    said = {
        "channel_names": {str(channel): f"channel {channel}" for channel in range(prepared.channels)},
        "labels": labels,
        "numTraining": len(training) + len(roles["val"]),
        "file_ending": _ENDING,
        "name": prepared.name,
        "description": f"exported by metadcseg from the set {prepared.fingerprint[:12]}",
    }
    (work / "dataset.json").write_text(json.dumps(said, indent=2) + "\n")
    split = [{"train": sorted(training), "val": sorted(roles["val"] or training)}]
    (work / "splits_final.json").write_text(json.dumps(split, indent=2) + "\n")
    gaps = _gaps(prepared)
    text = _README.format(
        folder=folder,
        base=folder.name,
        parent=folder.parent,
        name=prepared.name,
        number=number,
        configuration="3d_fullres" if prepared.volumes and not gaps else "2d",
        gaps=gaps,
        set=shlex.quote(str(prepared.path.resolve())),
        policy=policy,
        verified=_verified(roles["gold"], copies),
        pairs=_left_out(prepared),
        ignored="Unknown pixels have the label ignore.\n" if ignored else "",
        train=len(training),
        gold=len(training) - len(roles["train"]),
        val=len(roles["val"]),
        test=len(roles["test"]),
    )
    (work / "README.txt").write_text(text)


def _verified(gold: Sequence[str], copies: Mapping[str, Sequence[str]]) -> str:
    """Return how gold cases are among the training cases, in words."""
    if not copies:
        return "verified"
    return f"{plural(len(gold), 'verified case')}, {len(copies[gold[0]]) + 1} times each"


def _left_out(prepared: PreparedSet) -> str:
    """Return a line about the masks that verified ones replaced, which nnU-Net has no place for."""
    paired = [case for case in prepared.cases if case.has_given]
    number = len({case.id if case.volume is None else case.volume for case in paired})
    return f"{plural(number, 'mask')} that a verified one replaced did not come along.\n" if number else ""


def _gaps(prepared: PreparedSet) -> str:
    """Return a line about volumes of which not all slices are there, whose stacks are no bodies."""
    units = [unit for unit in prepared.volumes if len(prepared.slices_of(unit)) != unit.placement.slices]
    if not units:
        return ""
    return (
        f"{plural(len(units), 'volume')} of training and gold lack slices (prepare --empty drop, or gold in slices): "
        "those left are stacked\nwithout gaps, which only suits the configuration 2d.\n"
    )


def file_names(ids: Sequence[str]) -> dict[str, str]:
    """Return id -> name of its files in an export, no two alike on any disk.

    Args:
        ids: of all volumes, or all images, of a set, in its order.

    Example:
        >>> file_names(["a/1", "a-1", "b"])
        {'a/1': 'a-1', 'a-1': 'a-1-2', 'b': 'b'}
    """
    return dict(zip(ids, numbered(_plain(id) for id in ids), strict=True))


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "set"
