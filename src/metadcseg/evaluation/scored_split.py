"""Score one split of a prepared set, whoever made the predictions, and write the record beside the run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metadcseg.constants import IGNORE
from metadcseg.data.findings import listed, plural
from metadcseg.data.formats.volumes import write_label_volume
from metadcseg.data.store.content import identity_of
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
from metadcseg.evaluation.predict import Progress
from metadcseg.evaluation.records import summarize, write_record
from metadcseg.evaluation.scoring import Compared, score_unit
from metadcseg.files import cannot_write, disk_is_full, output_folder, refuse_link, safe_names
from metadcseg.metrics import NSD_TOLERANCE_MM, NSD_TOLERANCE_PX, CaseScore
from metadcseg.results.records import same_content
from metadcseg.scratch import scratch_folder


def units_of(prepared: PreparedSet, split: str) -> Sequence[Case | StoredVolume]:
    """Return what is scored of a split: its volumes where it has some, else its cases.

    Raises:
        InputError: where the split has none.
    """
    cases = prepared.select(split)
    if not cases:
        raise InputError(f"{prepared.path} has no {split} cases: choose another --split")
    return [volume for volume in prepared.volumes if volume.role == split] or cases


def score_split(
    run: Path,
    info: Mapping[str, Any],
    prepared: PreparedSet,
    split: str,
    compare: Callable[[Case | StoredVolume], Compared],
    *,
    save_predictions: bool = True,
    overlays: bool = False,
    inference: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score every case of a split, and write ``RUN/evaluation/SPLIT.json``, ``SPLIT.csv`` and the predicted masks.

    Args:
        run: the folder of a run.
        info: what its ``run.json`` says.
        prepared: the set to evaluate on.
        split: a role of that set.
        compare: returns what was predicted for a case, and its reference.
        save_predictions: write the predicted masks.
        overlays: write pictures with outlines.
        inference: test-time options other than the default, for the record.
        progress: called after every case.

    Returns:
        The record, see :func:`~metadcseg.evaluation.evaluate.evaluate_run`.

    Raises:
        InputError: where the split has no cases, ``compare`` refuses, or the disk does.
    """
    units = units_of(prepared, split)
    folder = output_folder(run, "evaluation")
    try:
        with scratch_folder(folder) as temporary:
            work = temporary / split
            work.mkdir()
            names = dict(zip((u.id for u in units), safe_names(u.id for u in units), strict=True))
            writer = _Pictures(work, prepared.classes, names, save_predictions, overlays)
            scores, regions, troubles, unknown = [], [], [], []
            for done, unit in enumerate(units, start=1):
                found = compare(unit)
                try:
                    writer.write(unit, found)
                except (InputError, OSError) as error:
                    if disk_is_full(error):
                        raise
                    # one picture is no reason to lose the scores of the others
                    troubles.append(f"{unit.id}: {error}")
                if (found.reference == IGNORE).all():
                    unknown.append(unit.id)
                else:
                    score, region = score_unit(unit, found, prepared)
                    scores.append(score)
                    regions += [] if region is None else [region]
                if progress is not None:
                    progress(done, len(units))
            if not scores:
                raise InputError(
                    f"no pixel of the {split} masks is known: draw them, or choose another --split"
                )
            predictions = writer.predictions
            record = _record(info, prepared, split, scores, predictions)
            if unknown:
                told = plural(len(unknown), "case")
                record["notes"].append(
                    f"{told} not scored, as the reference is unknown throughout: {listed(unknown, 5)}"
                )
            if inference:
                record["inference"] = dict(inference)
            if regions:
                record["regions"] = summarize(regions)
            _replace(work, folder / split, temporary / "old")
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
        self, folder: Path, classes: Sequence[str], names: Mapping[str, str], masks: bool, overlays: bool
    ) -> None:
        self.classes = classes
        self.predictions: dict[str, str] = {}
        self._folder, self._names = folder, names
        self._masks = masks
        self._overlays = overlays

    def write(self, unit: Case | StoredVolume, found: Compared) -> None:
        name, classes = self._names[unit.id], self.classes
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


def _record(
    info: Mapping[str, Any],
    prepared: PreparedSet,
    split: str,
    scores: list[CaseScore],
    predictions: dict[str, str],
) -> dict[str, Any]:
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
            **identity_of(prepared),
        },
        "declaration": info.get("declaration"),
        "epochs_done": info["epochs_done"],
        **({"trusted_code": code} if (code := (info["network"] or {}).get("class_path")) else {}),
        **summary,
        "tolerance": {"nsd": f"{NSD_TOLERANCE_PX:g} px", "nsd_mm": f"{NSD_TOLERANCE_MM:g} mm"},
        "mask_values": mask_values(prepared.classes),
        "predictions": predictions,
        "notes": _notes(info, prepared, split, [score.reference for score in scores]),
    }


def _notes(info: Mapping[str, Any], prepared: PreparedSet, split: str, references: list[str]) -> list[str]:
    """Return what a reader of the scores has to know to read them right."""
    notes = []
    if not same_content(info["set"], identity_of(prepared)):
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
            f"{unverified} of {len(references)} cases have no verified reference, so their scores are only as good as "
            "the labels given: put verified masks into gold/ and name their role in splits.csv"
        )
    return notes


def _replace(new: Path, target: Path, old: Path) -> None:
    """Put a folder in the place of another; without anything in it, leave none there."""
    refuse_link(target)
    if target.exists():
        target.rename(old)  # inside the temporary folder, so that it vanishes with it
    if any(new.iterdir()):
        new.rename(target)
