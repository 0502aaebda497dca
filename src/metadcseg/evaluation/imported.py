"""Predictions of another tool, read and scored as our own are: the reference row of a comparison.

The record says ``method: external``. Its training is not ours, so reports keep such rows apart: other network,
augmentation and length, no test against a row with another budget.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.export.nnunet import file_names, stored_affine
from metadcseg.data.findings import listed, plural
from metadcseg.data.formats.geometry import Grid
from metadcseg.data.formats.images import image_files, read_mask
from metadcseg.data.formats.volumes import is_volume_file, read_label_volume, stem_of
from metadcseg.data.prepare.placing import lies_on
from metadcseg.data.store.disk import publish_folder, scratch_beside
from metadcseg.data.store.reader import Case, PreparedSet, StoredVolume
from metadcseg.errors import InputError, shown
from metadcseg.evaluation.overlays import Labels
from metadcseg.evaluation.predict import Progress
from metadcseg.evaluation.scored_split import score_split, units_of
from metadcseg.evaluation.scoring import Compared, compare_unit, images_of
from metadcseg.files import safe_names
from metadcseg.methods.base import MethodInfo
from metadcseg.training.run.folder import EXTERNAL, RunFolder, write_run
from metadcseg.training.run.identity import describe_set

GOLD = ("unknown", "none", "once", "balanced")
"""How another tool used the verified masks: ``once`` like every other case, ``balanced`` as often as all the others."""


@dataclass(frozen=True)
class ExternalTool:
    """What is known of the training of another tool; what is not known stays None.

    Args:
        tool: its name and version.
        gold: how it used the verified masks, one of :data:`GOLD`.
        seed: of the noise and the split.
        iterations: optimizer steps.
        images: images drawn in training, iterations times the batch.
        parameters: of its network.
        minutes: of training, wall clock.
        pretrained: which weights it began with.

    Raises:
        InputError: for an unknown use of gold, or a number below 0.

    Example:
        >>> ExternalTool("nnU-Net 2.8.1", gold="balanced", iterations=1250).gold
        'balanced'
    """

    tool: str
    gold: str = "unknown"
    seed: int = 0
    iterations: int | None = None
    images: int | None = None
    parameters: int | None = None
    minutes: float | None = None
    pretrained: str | None = None

    def __post_init__(self) -> None:
        if self.gold not in GOLD:
            raise InputError(f"--gold must be one of {', '.join(GOLD)}, got '{self.gold}'")
        for name in ("seed", "iterations", "images", "parameters", "minutes"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 2**63:
                raise InputError(f"--{name} must be a number from 0 on, got {value}")


def import_predictions(
    prepared: PreparedSet,
    predictions: Path,
    out: Path,
    tool: ExternalTool,
    *,
    label: str | None = None,
    split: str = "test",
    remap: Mapping[int, int] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score masks that another tool predicted, and write a folder that ``compare`` and ``report`` read as a run.

    A file is of a case where its name without ending is the case's id, or else what ``export-nnunet`` called it, or
    ``evaluate``. One of the three holds for the whole folder, the first under which every case has a file. Masks of
    images may be pictures or volumes of one slice; those of volumes lie on the grid of the original file, or on that
    of the prepared slices, as ``export-nnunet`` wrote them, and are then brought back to the former.

    Args:
        prepared: the set.
        predictions: folder with one mask for each case of the split.
        out: the new folder.
        tool: who made them, and how.
        label: what tables call the row; the name of the tool where left out.
        split: a role of the set.
        remap: mask value -> class number; files that name their values (``.seg.nrrd``) say it themselves.
        progress: called after every case.

    Returns:
        The record, as :func:`~metadcseg.evaluation.evaluate.evaluate_run` returns one.

    Raises:
        InputError: where a case has no mask or several, a mask has another size, place or values, ``out``
            exists, or the disk refuses; nothing is left there.
    """
    units = units_of(prepared, split)
    files, spare = _matched(prepared, units, predictions)
    if out.exists():
        raise InputError(f"{out} exists: remove it to import anew, or choose another --label or --out")
    masks = {unit.id: _labels(files[unit.id], unit, prepared, remap or {}) for unit in units}
    info = _describe(prepared, tool, label or tool.tool)

    def compare(unit: Case | StoredVolume) -> Compared:
        return compare_unit(prepared, unit, masks[unit.id], images_of(prepared, unit))

    with scratch_beside(out) as scratch:  # all, or nothing
        draft = scratch / "run"
        draft.mkdir()
        write_run(RunFolder(draft), info)
        record = score_split(draft, info, prepared, split, compare, progress=progress)
        out.parent.mkdir(parents=True, exist_ok=True)
        publish_folder(draft, out)
    if spare:
        record["notes"].append(
            f"{plural(len(spare), 'file')} of {predictions} belong to no {split} case: {listed(spare, 5)}"
        )
    return record


def _matched(
    prepared: PreparedSet, units: Sequence[Case | StoredVolume], folder: Path
) -> tuple[dict[str, Path], list[str]]:
    """Return the file of every unit, and the names of the others.

    What one scheme calls a case may be what another calls a different one, so a single scheme holds for all.
    """
    if not folder.is_dir():
        raise InputError(f"--predictions {folder} is no folder: give the one that holds the predicted masks")
    ids = [unit.id for unit in units]
    every = file_names([unit.id for unit in (prepared.volumes or prepared.cases)])
    exported = {id: every[id] for id in ids}
    schemes = [dict(zip(ids, ids, strict=True)), exported, dict(zip(ids, safe_names(ids), strict=True))]
    held: dict[str, list[Path]] = {}
    for file in _masks(folder):
        held.setdefault(stem_of(file) if is_volume_file(file) else file.stem, []).append(file)
    whole = [names for names in schemes if all(name in held for name in names.values())]
    best = max([exported, *schemes], key=lambda names: sum(name in held for name in names.values()))
    names = (whole or [best])[0]
    if missing := [f"{name} (case '{id}')" for id, name in names.items() if name not in held]:
        raise InputError(
            f"{folder} has no mask of {plural(len(missing), 'case')} of {len(units)}: {listed(missing, 5)}; every case "
            "of the split needs a file of that name"
        )
    for id, name in names.items():
        if len(files := held[name]) > 1:
            raise InputError(
                f"case '{id}' has several masks ({listed((file.name for file in files), 5)}): leave one in {folder}"
            )
    taken = set(names.values())
    spare = [file.name for name, files in held.items() for file in files if name not in taken]
    return {id: held[name][0] for id, name in names.items()}, sorted(spare)


def _masks(folder: Path) -> Iterator[Path]:
    yield from image_files(folder)
    yield from (file for file in sorted(folder.iterdir()) if file.is_file() and is_volume_file(file))


def _labels(file: Path, unit: Case | StoredVolume, prepared: PreparedSet, remap: Mapping[int, int]) -> Labels:
    """Return the class numbers of one file in the size of the reference."""
    array, grid, names = _read(file)
    labels = _classes(file, array, prepared.classes, _by_name(file, names, prepared.classes, remap))
    if isinstance(unit, Case):
        if labels.ndim == 3 and labels.shape[2] == 1:
            labels = labels[:, :, 0]
        if labels.shape != (unit.height, unit.width):
            raise _other_size(file, labels.shape, unit.id, [(unit.height, unit.width)])
        return labels
    return _on_native_grid(file, labels, grid, unit)


def _read(file: Path) -> tuple[NDArray[Any], Grid | None, Mapping[int, str]]:
    if is_volume_file(file):
        volume = read_label_volume(file)
        return volume.array, volume.grid, volume.names
    picture = read_mask(file)
    if picture.lossy:
        raise InputError(f"{file} is a JPEG, which blurs class numbers: save the masks as PNG")
    return picture.array, None, {}


def _by_name(
    file: Path, names: Mapping[int, str], classes: Sequence[str], remap: Mapping[int, int]
) -> dict[int, int]:
    """Return a remap that follows the names of a file's values, too, where one of them is the name of a class."""
    numbers = {name.casefold(): number for number, name in enumerate(classes)}
    known = {value: numbers[name.casefold()] for value, name in names.items() if name.casefold() in numbers}
    others = [name for value, name in names.items() if value not in {**known, **remap}]
    if known and others:
        raise InputError(
            f"{file} names {listed(map(shown, others), 5)}, which {'are' if len(others) > 1 else 'is'} no class of the "
            f"set ({', '.join(classes)}): rename, or name the classes of values with --remap VALUE:CLASS,..."
        )
    return {**known, **remap}


def _classes(file: Path, array: NDArray[Any], classes: Sequence[str], remap: Mapping[int, int]) -> Labels:
    values = [int(value) for value in np.unique(array)]
    meant = {value: remap.get(value, value) for value in values}
    strange = [value for value, number in meant.items() if not 0 <= number < len(classes)]
    if strange:
        two = len(classes) == 2 and set(values) <= {0, IGNORE}
        cure = "add --remap 255:1" if two else "name their classes with --remap VALUE:CLASS,..."
        raise InputError(
            f"{file} holds {'values' if len(strange) > 1 else 'the value'} {listed(strange, 8)}, classes are numbers "
            f"from 0 to {len(classes) - 1} ({', '.join(classes)}): {cure}"
        )
    labels = np.zeros(array.shape, np.uint8)
    for value, number in meant.items():
        labels[array == value] = number
    return labels


def _on_native_grid(file: Path, labels: Labels, held: Grid | None, unit: StoredVolume) -> Labels:
    """Return a volume's labels on the grid of its file: as they are, or brought back from the prepared slices."""
    placement = unit.placement
    if held is None:
        raise InputError(
            f"{file} is a picture, but case '{unit.id}' is a volume: give a NIfTI, MHA or NRRD file"
        )
    if lies_on(held, placement.grid):
        return labels
    stored = (placement.slices, placement.height, placement.width)
    lower = Grid(
        placement.unstack(np.empty(stored, np.uint8)).shape,
        tuple(tuple(row) for row in stored_affine(placement).tolist()),
        placement.grid.known,
        placement.grid.placed,
    )
    if not lies_on(held, lower):
        if labels.shape in (placement.grid.shape, lower.shape):
            raise InputError(
                f"{file} has the size of case '{unit.id}' but lies elsewhere (another affine): write predictions "
                "on the grid of the images"
            )
        raise _other_size(file, labels.shape, unit.id, [lower.shape, placement.grid.shape])
    stack = np.flip(labels, placement.flipped).transpose(placement.axis, *placement.plane)  # unstack, undone
    every = np.arange(labels.max() + 1)[:, None, None]
    return placement.restore((plane == every).astype(np.float32) for plane in stack)


def _other_size(file: Path, got: Sequence[int], case: str, allowed: Sequence[Sequence[int]]) -> InputError:
    wanted = " or ".join(" x ".join(map(str, size)) for size in dict.fromkeys(map(tuple, allowed)))
    return InputError(
        f"{file} must have the size of case '{case}', {wanted}, got {' x '.join(map(str, got))}: write predictions "
        "on the grid of the images"
    )


def _describe(prepared: PreparedSet, tool: ExternalTool, label: str) -> dict[str, Any]:
    gold = tool.gold not in ("unknown", "none")
    return {
        "method": EXTERNAL,
        "label": label,
        "options": {},
        "declaration": asdict(MethodInfo(needs_gold=gold, supervises_gold=gold)) | {"passes": None},
        "seed": tool.seed,
        **describe_set(prepared),
        "network": {"name": tool.tool, "pretrained": tool.pretrained},
        "training": {"tool": tool.tool, "iterations": tool.iterations, "images": tool.images},
        "external": asdict(tool),
        "parameters": tool.parameters,
        "seconds": None if tool.minutes is None else 60 * tool.minutes,
        "status": "finished",
        "epochs_done": 0,
    }
