"""Score a trained run on one split of a prepared set, every case in its native size."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metadcseg.data.formats.volumes import write_label_volume
from metadcseg.data.store.reader import Case, PreparedSet, StoredVolume
from metadcseg.errors import InputError, first_of
from metadcseg.evaluation.overlays import (
    encode_mask,
    encode_picture,
    kind_of,
    mask_values,
    overlay,
    picture_of,
    with_legend,
)
from metadcseg.evaluation.predict import Progress, load_predictor
from metadcseg.evaluation.records import summarize, write_record
from metadcseg.evaluation.scoring import Compared, predict_unit, score_unit
from metadcseg.files import cannot_write, disk_is_full, safe_names
from metadcseg.metrics import NSD_TOLERANCE_MM, NSD_TOLERANCE_PX, CaseScore
from metadcseg.training.run.folder import TrainedRun


def evaluate_run(
    run: Path,
    prepared: PreparedSet,
    split: str,
    *,
    save_predictions: bool = True,
    overlays: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Predict and score every case of a split, and write ``RUN/evaluation/SPLIT.json`` and ``SPLIT.csv``.

    A case is compared with its truth where it has one, else with the label that was given; which of the two
    is part of the record. Volumes are put together from their slices and scored whole, on the grid of their file,
    and so are the set's regions (unions of labels). Predicted masks go to ``RUN/evaluation/SPLIT/CASE.png``
    (volumes: ``.nii.gz``), CASE being the id made a file name (:func:`~metadcseg.files.safe_names`). What an earlier
    evaluation of that split left is replaced as a whole, and stays as it was when this one fails.

    Args:
        run: the folder of a run.
        prepared: the set to evaluate on; its classes and channels must be those of the run.
        split: a role of that set. Scores on ``train`` say how well bad labels were resisted; nothing is
            chosen by them, nor by those on ``test``.
        save_predictions: write the predicted masks.
        overlays: write every image, or nine slices of a volume, with its outlines, into
            ``RUN/evaluation/SPLIT/overlays``.
        device: where the network computes; None takes a GPU where there is one.
        progress: called after every case.

    Returns:
        The record, as in the JSON file: what :func:`~.records.summarize` returns, and ``split``, ``method``,
        ``label``, ``seed``, ``noise`` (of the set trained on), ``set`` (evaluated on), ``declaration``,
        ``epochs_done``, ``tolerance`` of the NSD, ``predictions`` (id -> path beside the JSON file),
        ``mask_values`` (class -> gray value there), and ``notes``: sentences that belong beside the scores.

    Raises:
        InputError: where run and set do not fit together, the split has no cases, stored bytes are damaged,
            or the disk refuses.

    Example:
        >>> record = evaluate_run(Path("my_run"), PreparedSet.open("my_set"), "test")  # doctest: +SKIP
        >>> record["split"], record["summary"]["dsc"]["n"]  # doctest: +SKIP
        ('test', 2)
    """
    cases = prepared.select(split)
    if not cases:
        raise InputError(f"{prepared.path} has no {split} cases: choose another --split")
    trained, predict = load_predictor(run, device)
    _check_fit(trained, prepared)
    folder = run / "evaluation"
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{split}-", dir=folder) as temporary:
            work = Path(temporary) / split
            work.mkdir()
            whole = [volume for volume in prepared.volumes if volume.role == split]
            units: Sequence[Case | StoredVolume] = whole or cases
            names = dict(zip((u.id for u in units), safe_names(u.id for u in units), strict=True))
            writer = _Pictures(work, trained, names, save_predictions, overlays)
            scores, regions, troubles = [], [], []
            for done, unit in enumerate(units, start=1):
                found = predict_unit(predict, prepared, unit, trained.grid)
                try:
                    writer.write(unit, found)
                except (InputError, OSError) as error:
                    if disk_is_full(error):
                        raise
                    # one picture is no reason to lose the scores of the others
                    troubles.append(f"{unit.id}: {error}")
                score, region = score_unit(unit, found, prepared)
                scores.append(score)
                regions += [] if region is None else [region]
                if progress is not None:
                    progress(done, len(units))
            predictions = writer.predictions
            record = _record(trained, prepared, split, scores, predictions)
            if regions:
                record["regions"] = summarize(regions)
            _replace(work, folder / split, Path(temporary) / "old")
    except OSError as error:
        raise cannot_write(folder, error) from error
    write_record(folder, record, scores, predictions)
    if troubles:
        raise InputError(
            f"the scores of all {len(units)} cases are in {folder}, but masks or pictures of {len(troubles)} are not: "
            f"{first_of(troubles)}"
        )
    return record


class _Pictures:
    """Writes what was predicted for each case, as far as it was asked for."""

    def __init__(
        self, folder: Path, trained: TrainedRun, names: Mapping[str, str], masks: bool, overlays: bool
    ) -> None:
        self.trained = trained
        self.predictions: dict[str, str] = {}
        self._folder, self._names = folder, names
        self._masks = masks
        self._overlays = overlays

    def write(self, unit: Case | StoredVolume, found: Compared) -> None:
        name, classes = self._names[unit.id], self.trained.classes
        if self._overlays:
            (self._folder / "overlays").mkdir(exist_ok=True)
            (self._folder / "overlays" / f"{name}.png").write_bytes(_drawn(unit, found, classes))
        if not self._masks:
            return
        file = self._folder / f"{name}{'.png' if isinstance(unit, Case) else '.nii.gz'}"
        if isinstance(unit, Case):
            file.write_bytes(encode_mask(found.labels, classes))
        else:
            write_label_volume(file, found.labels, unit.placement.grid)
        self.predictions[unit.id] = f"{self._folder.name}/{file.name}"


def _drawn(unit: Case | StoredVolume, found: Compared, classes: Sequence[str]) -> bytes:
    """Return the image with its outlines, or nine slices of the volume, as a PNG file."""
    verified = found.verified
    if isinstance(unit, StoredVolume):
        return picture_of(
            found.stack,
            unit.placement,
            found.labels,
            found.reference,
            classes=classes,
            title=unit.id,
            verified=verified,
        )
    drawn = overlay(
        found.stack[0], found.labels, found.reference, verified=verified, foreground=len(classes) - 1
    )
    kind = kind_of(found.reference, verified)
    return encode_picture(with_legend(drawn, classes, title=unit.id, reference=kind))


def _check_fit(trained: TrainedRun, prepared: PreparedSet) -> None:
    if prepared.classes != trained.classes:
        raise InputError(
            f"{prepared.path} must have the classes of the run ({', '.join(trained.classes)}), got "
            f"{', '.join(prepared.classes)}: evaluate on a set with the same classes"
        )
    if prepared.channels != trained.channels:
        raise InputError(
            f"{prepared.path} must have images of {trained.channels} channels, as the run was trained on, "
            f"got {prepared.channels}: evaluate on a set with as many"
        )
    there, here = _cut(trained.info["set"].get("preprocessing")), _cut(prepared.preprocessing)
    if there != here:
        found = [
            f"{'normalize' if name == 'normalise' else name}: {there.get(name, 'none')} there, "
            f"{here.get(name, 'none')} here"
            for name in sorted(there.keys() | here.keys())
            if there.get(name) != here.get(name)
        ]
        raise InputError(
            f"{prepared.path} must be prepared as the set that the run was trained on ({'; '.join(found)}): "
            "prepare it with the same options"
        )


def _cut(preprocessing: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return how images became what the network sees; which empty slices were dropped changes none of them."""
    return {name: value for name, value in (preprocessing or {}).items() if name != "empty"}


def _record(
    trained: TrainedRun,
    prepared: PreparedSet,
    split: str,
    scores: list[CaseScore],
    predictions: dict[str, str],
) -> dict[str, Any]:
    info = trained.info
    summary = summarize(scores)
    return {
        "split": split,
        "method": info["method"],
        "label": info["label"],
        "seed": info["seed"],
        "noise": info.get("noise"),
        "set": {
            "path": str(prepared.path.resolve()),
            "name": prepared.name,
            "fingerprint": prepared.fingerprint,
        },
        "declaration": info.get("declaration"),
        "epochs_done": info["epochs_done"],
        **summary,
        "tolerance": {"nsd": f"{NSD_TOLERANCE_PX:g} px", "nsd_mm": f"{NSD_TOLERANCE_MM:g} mm"},
        "mask_values": mask_values(trained.classes),
        "predictions": predictions,
        "notes": _notes(info, prepared, split, [score.reference for score in scores]),
    }


def _notes(info: dict[str, Any], prepared: PreparedSet, split: str, references: list[str]) -> list[str]:
    """Return what a reader of the scores has to know to read them right."""
    notes = []
    if info["set"].get("fingerprint") != prepared.fingerprint:
        trained_on = f"{info['set'].get('name')} at {info['set'].get('path')}"
        notes.append(
            f"evaluated on {prepared.name} at {prepared.path}, but trained on another set ({trained_on}): "
            "make sure that they share no images"
        )
    if split in ("train", "gold"):
        notes.append(
            f"the network has seen the {split} images in training: the scores say nothing about new ones"
        )
    if split == "val":
        notes.append("the weights were chosen by these cases: the scores are a little too good")
    if unverified := len(references) - references.count("truth"):
        notes.append(
            f"{unverified} of {len(references)} cases have no verified reference and were compared with the labels as "
            "given, so these scores are only as good as they are: put verified masks into gold/ and name their role in "
            "splits.csv"
        )
    return notes


def _replace(new: Path, target: Path, old: Path) -> None:
    """Put a folder in the place of another; without anything in it, leave none there."""
    if target.exists():
        target.rename(old)  # inside the temporary folder, so that it vanishes with it
    if any(new.iterdir()):
        new.rename(target)
