"""Hand the masks of an audit to a drawing tool: all of them or nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from metadcseg.audit.about import audited_set
from metadcseg.audit.case_files import CaseMasks, read_cases, read_masks
from metadcseg.audit.exchange.coco import CocoWriter
from metadcseg.audit.exchange.cvat import CvatWriter
from metadcseg.audit.exchange.dicom_seg import DicomSegWriter
from metadcseg.audit.exchange.items import Item, Palette, Writer
from metadcseg.audit.exchange.label_studio import LabelStudioWriter
from metadcseg.audit.exchange.plain import NiftiWriter, TiffWriter
from metadcseg.audit.exchange.slicer import SlicerWriter
from metadcseg.audit.native import Labels, on_file
from metadcseg.audit.originals import Originals
from metadcseg.audit.records import LEVELS, AuditedCase
from metadcseg.audit.units import check_sizes
from metadcseg.constants import IGNORE
from metadcseg.data.store.disk import DiskErrors, publish_folder, refuse_occupied, scratch_beside
from metadcseg.data.store.reader import Case
from metadcseg.errors import InputError, unknown_name
from metadcseg.files import safe_names

IMAGES: dict[str, type[Writer]] = {
    "coco": CocoWriter,
    "cvat": CvatWriter,
    "label-studio": LabelStudioWriter,
    "tiff": TiffWriter,
}
VOLUMES: dict[str, type[Writer]] = {"nifti": NiftiWriter, "slicer": SlicerWriter, "dicom-seg": DicomSegWriter}
FORMATS = (*IMAGES, *VOLUMES)

GIVEN = "given"
WHICH = (*LEVELS, GIVEN)

Progress = Callable[[int, int], object]


def export_annotations(
    audit: Path,
    out: Path,
    to: str,
    *,
    level: str = "balanced",
    worst: int | None = None,
    data: Path | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write masks of audited cases for a drawing tool.

    Args:
        audit: the folder of the audit.
        out: missing or empty.
        to: one of ``FORMATS``.
        level: which masks: one of the corrected levels, or ``given``.
        worst: only so many cases, those of the lowest expected DSC; None: all.
        data: the audited set, where it is not where it was.
        folder: where the files that it was made from lie, where that is not where they were.
        progress: called after every case.

    Returns:
        ``cases``, ``ignored`` (how many have ignored pixels), and what the format counts.

    Raises:
        InputError: for another word, a format that does not hold the images or volumes of the set, where ``out`` is
            occupied, or the disk refuses.
    """
    if to not in FORMATS:
        raise unknown_name("format", to, FORMATS)
    if level not in WHICH:
        raise unknown_name("level", level, WHICH)
    if worst is not None and worst < 1:
        raise InputError(f"--worst must be a number of cases from 1, got {worst}")
    refuse_occupied(out)
    prepared = audited_set(audit, data)
    kinds = VOLUMES if prepared.volumes else IMAGES
    if to not in kinds:
        what = "volumes" if prepared.volumes else "images"
        raise InputError(f"--to {to} does not hold {what}: choose one of {', '.join(kinds)}")
    originals = Originals(prepared, folder)
    check_sizes(held := read_cases(audit), prepared)
    cases = sorted(held, key=lambda case: (case.dsc, case.id))[:worst]
    ignored = sum(bool((read_masks(audit, case).given == IGNORE).any()) for case in cases)
    palette = Palette(prepared.classes, ignored > 0)
    with DiskErrors(out), scratch_beside(out) as draft:
        inner = draft / "export"
        inner.mkdir()
        writer = kinds[to](inner, palette)
        for done, item in enumerate(_items(audit, cases, originals, level), start=1):
            writer.add(item)
            if progress is not None:
                progress(done, len(cases))
        facts = writer.close()
        out.parent.mkdir(parents=True, exist_ok=True)
        publish_folder(inner, out)
    return {"cases": len(cases), "ignored": ignored, **facts}


def _items(audit: Path, cases: list[AuditedCase], originals: Originals, level: str) -> Iterator[Item]:
    names = [originals.stem(case.id) for case in cases]
    if None in names or len(set(names)) < len(names):
        names = list(safe_names(case.id for case in cases))
    for name, case in zip(names, cases, strict=True):
        masks = read_masks(audit, case)
        unit, files = originals.unit(case.id), originals.files(case.id)
        labels = _of(originals, case, masks, level)
        wrong = _wrong(originals, case, masks)
        image = None if files is None or len(files.images) != 1 else files.images[0]
        yield Item(str(name), image, labels, wrong, None if isinstance(unit, Case) else unit.placement.grid)


def _of(originals: Originals, case: AuditedCase, masks: CaseMasks, level: str) -> Labels:
    wanted = next((mask for name, mask in masks.corrected.items() if name == level), masks.given)
    return originals.change(case.id, masks.given, wanted, masks.slices).wanted


def _wrong(originals: Originals, case: AuditedCase, masks: CaseMasks) -> Labels:
    """Return the map of suspicion on the grid of the image: 0 outside of the slices."""
    unit = originals.unit(case.id)
    if isinstance(unit, Case):
        flat: Labels = masks.wrong[0]
        return flat
    return on_file(unit.placement, masks.wrong, masks.slices)
