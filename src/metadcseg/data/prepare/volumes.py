"""From volumes to a prepared set of their slices: look at everything first, then write all of it or nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from metadcseg.data.findings import without_repeats
from metadcseg.data.formats.geometry import Volume
from metadcseg.data.prepare.edges import DEFAULT, EdgeDetector, cost_of, edge_detector
from metadcseg.data.prepare.images import PrepareReport, refuse_errors
from metadcseg.data.prepare.inspection import Progress
from metadcseg.data.prepare.labels import class_names
from metadcseg.data.prepare.volume_cases import (
    foreground,
    load_given_volume,
    load_image_volume,
    load_label_confidence,
    load_label_volumes,
)
from metadcseg.data.prepare.volume_estimate import estimate, refuse_too_little_room
from metadcseg.data.prepare.volume_inspection import VolumeInspection, inspect_volumes, volume_facts
from metadcseg.data.slicing.cut import SliceOptions, cut, cut_labels
from metadcseg.data.sources.case import RawVolume, VolumeScan
from metadcseg.data.splits.roles import limit_training
from metadcseg.data.store.reader import ROLES, SetWriter, refuse_occupied
from metadcseg.errors import InputError

_DROPPED_IN = ("train", "gold")  # validation and test predict whole volumes


def prepare_volumes(
    scan: VolumeScan,
    out: Path,
    *,
    name: str,
    slices: SliceOptions | None = None,
    classes: Sequence[str] | None = None,
    remap: Mapping[int, int] | None = None,
    regions: Mapping[str, Sequence[int]] | None = None,
    limit: int | None = None,
    seed: int = 0,
    edges: str = DEFAULT,
    resample_labels: bool = False,
    progress: Progress | None = None,
) -> PrepareReport:
    """Prepare volumes as slices; one volume is in memory at a time.

    Args:
        scan: the volumes and what their source knows.
        out: where the set goes.
        name: of the set.
        slices: how volumes are cut; as the scan says by default.
        classes: names of the classes, background first; those of the scan by default, else numbered.
        remap: value in a label file -> class number (255: ignored); wins over the scan's.
        regions: unions of classes by name, scored beside the classes; those of the scan by default.
        limit: use only so many training volumes beside gold.
        seed: of the limit.
        edges: who finds the edges of eq. 8 in each slice: ``"pidinet"``, ``"none"``, or a file with weights. Three
            channels are shown to it as red, green and blue, of any other number the mean as gray.
        resample_labels: whether labels on another grid than their image are resampled to it (nearest).
        progress: called after every volume, which is looked at first and written then: twice, with the work done
            and that of the whole, edges included.

    Raises:
        InputError: naming the first problems, with nothing written.
    """
    refuse_occupied(out)  # before the work; the writer looks again after it
    detector = edge_detector(edges)
    scan = replace(limited(scan, limit, seed), slices=slices or scan.slices)
    needed = estimate(scan, scan.slices, edges=detector is not None)
    refuse_too_little_room(out, needed.disk)
    named = tuple(classes or scan.classes or ())
    remap = {**(scan.remap or {}), **(remap or {})}
    count, each = len(scan.volumes), cost_of(detector)
    total = count * (1 + each)
    inspection = inspect_volumes(
        scan.volumes,
        slices=scan.slices,
        remap=remap,
        classes=len(named) or None,
        declared=None if scan.values is None else (scan.values, scan.declared_by),
        resample_labels=resample_labels,
        progress=(lambda done, _: progress(done, total)) if progress else None,
    )
    findings = (needed.finding(out), *without_repeats(scan.findings, inspection.findings))
    refuse_errors(name, findings)
    if inspection.scheme is None:
        raise InputError(
            f"{name}: there is no volume to prepare: put images into images/ and labels into masks/"
        )
    named = named or class_names(inspection.scheme.classes)
    source = dict(scan.source or {})
    if remap:
        source["remap"] = {str(value): label for value, label in remap.items()}
    if key := next((raw.image_key for raw in scan.volumes if raw.image_key), None):
        source["image_key"] = key  # by which new volumes are read, too
    made_by = None if detector is None else detector.facts()
    counts: Counter[str] = Counter()
    raw_bytes = 0
    with SetWriter(
        out,
        name=name,
        classes=named,
        channels=inspection.channels,
        source=source,
        edge_detector=made_by,
        preprocessing=scan.slices.to_dict(),
        regions=regions or scan.regions,
    ) as writer:
        for done, raw in enumerate(scan.volumes, start=1):
            written, size = _write(writer, raw, scan.slices, inspection, detector, resample_labels)
            counts[raw.role] += written
            raw_bytes += size
            if progress:
                progress(count + each * done, total)
    return PrepareReport(
        out,
        name,
        {role: counts[role] for role in ROLES},
        named,
        inspection.channels,
        raw_bytes,
        made_by,
        findings,
        {role: sum(raw.role == role for raw in scan.volumes) for role in ROLES},
        source,
        sum(raw.given is not None for raw in scan.volumes),
    )


def limited(scan: VolumeScan, limit: int | None, seed: int) -> VolumeScan:
    """Return a scan with so many of its training volumes, drawn by seed; None keeps all.

    Raises:
        InputError: where the limit is below 1.
    """
    kept = limit_training({raw.id: raw.role for raw in scan.volumes}, limit, seed=seed)
    return replace(scan, volumes=tuple(raw for raw in scan.volumes if raw.id in kept))


def _write(
    writer: SetWriter,
    raw: RawVolume,
    options: SliceOptions,
    inspection: VolumeInspection,
    detector: EdgeDetector | None,
    resample: bool,
) -> tuple[int, int]:
    """Cut and write one volume; return how many slices were written and their bytes in memory."""
    if inspection.scheme is None:  # excluded by the caller; said here for the type checker
        return 0, 0
    image = load_image_volume(raw)
    grid = image.grid
    try:
        stack, placement = cut(image, options)
    except InputError as error:
        raise InputError(f"{raw.where}: {error}") from error
    del image  # the labels come into the room that it took
    loaded = load_label_volumes(raw, grid, resample=resample)
    scheme = inspection.scheme
    given = scheme.apply(loaded.label.array, volume_facts(str(raw.label), loaded.label))
    best = given
    if loaded.truth is not None:
        best = scheme.apply(loaded.truth.array, volume_facts(str(raw.truth), loaded.truth))
    verified = raw.verified or loaded.truth is not None
    writer.add_volume(
        id=raw.id, role=raw.role, group=raw.group, placement=placement, reference=best, verified=verified
    )
    labels = cut_labels(Volume(given, grid), placement)
    truths = cut_labels(Volume(best, grid), placement) if verified else None
    trusted = load_label_confidence(raw, grid)
    label_confidence = None if trusted is None else cut_labels(Volume(trusted, grid), placement)
    givens = None
    if (replaced := load_given_volume(raw, grid, loaded.label, resample=resample)) is not None:
        values = scheme.apply(replaced.array, volume_facts(str(raw.given), replaced))
        givens = cut_labels(Volume(values, grid), placement)
    written = size = 0
    for number, (plane, label) in enumerate(zip(stack, labels, strict=True)):
        if options.empty == "drop" and raw.role in _DROPPED_IN and not foreground(label).any():
            continue
        found = None if detector is None else detector.find(plane.astype(np.float32))
        arrays = {
            "image": plane,
            "label": label,
            "truth": None if truths is None else truths[number],
            "edges": found,
            "label_confidence": None if label_confidence is None else label_confidence[number],
            "given": None if givens is None else givens[number],
        }
        writer.add(
            id=f"{raw.id}#{number:04d}",
            role=raw.role,
            group=raw.group,
            spacing=placement.slice_spacing,
            volume=raw.id,
            slice=number,
            **arrays,
        )
        written += 1
        size += sum(array.nbytes for array in arrays.values() if array is not None)
    return written, size
