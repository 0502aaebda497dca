"""From a source to a prepared set: look at everything first, then write all of it or nothing."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from metadcseg.data.findings import Finding, without_repeats
from metadcseg.data.prepare.edges import DEFAULT, cost_of, edge_detector
from metadcseg.data.prepare.estimate import estimate, refuse_too_little_room
from metadcseg.data.prepare.fusing import Doubt, Fusion, fused_findings, fusion_of
from metadcseg.data.prepare.inspection import Progress, inspect, without_unknown
from metadcseg.data.prepare.labels import class_names
from metadcseg.data.prepare.look import LookAt
from metadcseg.data.prepare.origin import write_origin
from metadcseg.data.prepare.report import PrepareReport, refuse_errors
from metadcseg.data.prepare.workers import Workers, as_many_as_help, cores
from metadcseg.data.prepare.writing import WriteCase
from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.data.sources import RawCase, Scan, scan_folder
from metadcseg.data.splits.roles import limit_training
from metadcseg.data.store.disk import scratch_beside
from metadcseg.data.store.reader import ROLES, SetWriter, refuse_occupied
from metadcseg.errors import InputError


def prepare_folder(
    folder: Path | str,
    out: Path | str,
    *,
    name: str | None = None,
    seed: int = 0,
    val: float = 0.1,
    test: float = 0.1,
    limit: int | None = None,
    image_key: str | None = None,
    label_key: str | None = None,
    spacing: tuple[float, float] | None = None,
    subfolders: str | None = None,
    **options: Any,
) -> PrepareReport:
    """Prepare a plain folder of images or of volumes (its layout: `metadcseg.data.sources.folder`).

    Args:
        folder: with ``images/`` and ``masks/``; ``gold/``, ``gold.txt`` and ``splits.csv`` are optional.
        out: where the set goes.
        name: of the set; the folder's by default.
        seed: of the split and of the limit.
        val: share held out for validation where ``splits.csv`` names no roles.
        test: share held out for the test likewise.
        limit: use only so many training cases beside gold; validation and test stay whole.
        image_key: of the image in HDF5 files.
        label_key: of the label in HDF5 files.
        spacing: size of a pixel in mm (row, column), where all images share one; distances then come in mm too.
        subfolders: what the folders in ``masks/`` are, ``"annotators"`` or ``"classes"``.
        options: as for `prepare_scan`: ``classes``, ``remap``, ``regions``, ``edges``, ``slices``, ``fuse``,
            ``confidence``, ``resample_labels``, ``adopt_grid``, ``crop_labels``, ``workers``, ``progress``.

    Raises:
        InputError: naming the first problems, with nothing written.

    Example:
        >>> prepare_folder(Path("my_folder"), Path("my_set")).cases  # doctest: +SKIP
        {'train': 17, 'gold': 3, 'val': 2, 'test': 2}
    """
    folder, out = Path(folder), Path(out)
    refuse_occupied(out)  # before the work; the writer looks again after it
    keys: dict[str, Any] = {"image_key": image_key, "label_key": label_key, "subfolders": subfolders}
    scan = scan_folder(folder, seed=seed, val=val, test=test, limit=limit, **keys)
    if spacing is not None:
        scan = replace(scan, cases=tuple(replace(case, spacing=spacing) for case in scan.cases))
    return prepare_scan(scan, out, name=name or folder.resolve().name, seed=seed, **options)


def prepare_cases(
    cases: Iterable[RawCase],
    out: Path,
    *,
    name: str,
    source: Mapping[str, Any] | None = None,
    **options: Any,
) -> PrepareReport:
    """Prepare cases of any origin, such as phantoms, which come as arrays.

    Args:
        cases: files or arrays; what comes from a generator is kept in memory.
        out: where the set goes.
        name: of the set.
        source: where the data is from, kept in the set.
        options: as for `prepare_scan`: ``classes``, ``remap``, ``edges``, ``workers``, ``progress``.

    Raises:
        InputError: naming the first problems, with nothing written.
    """
    refuse_occupied(out)  # before the work; the writer looks again after it
    return prepare_scan(
        Scan(tuple(cases), source=dict(source or {"source": name})), out, name=name, **options
    )


def prepare_scan(
    scan: Scan,
    out: Path,
    *,
    name: str,
    slices: SliceOptions | None = None,
    classes: Sequence[str] | None = None,
    remap: Mapping[int, int] | None = None,
    regions: Mapping[str, Sequence[int]] | None = None,
    limit: int | None = None,
    seed: int = 0,
    fuse: str | None = None,
    confidence: str | None = None,
    edges: str = DEFAULT,
    resample_labels: bool = False,
    adopt_grid: bool = False,
    crop_labels: bool = False,
    workers: int | None = 1,
    announce: Callable[[Finding], object] | None = None,
    progress: Progress | None = None,
) -> PrepareReport:
    """Prepare what a source has found; every worker has one case in memory at a time, and their number changes no bit.

    Args:
        scan: the cases and what their source knows.
        out: where the set goes.
        name: of the set.
        slices: how volumes are cut; as the scan says by default.
        classes: names of the classes, background first; those of the scan by default, else numbered.
        remap: value in a mask file -> class number (255: ignored), such as ``{7: 1, 900: 2}``; wins over the scan's.
        regions: unions of classes by name, scored beside the classes; those of the scan by default.
        limit: use only so many training cases beside gold.
        seed: of the limit, and of annotators that are drawn.
        fuse: what one label is made of where several annotators drew an image: ``"vote"``, which is the default,
            ``"staple"`` or ``"draw"`` (`metadcseg.data.prepare.fusing`).
        confidence: ``"agreement"`` keeps the share of annotators who gave a label as how far it is to be trusted.
        edges: who finds the edges of eq. 8 in each image or slice: ``"pidinet"``, ``"none"``, or a file with weights.
            Three channels are shown to it as red, green and blue, of any other number the mean as gray.
        resample_labels: whether labels on another grid than their image are resampled to it (nearest).
        adopt_grid: whether labels of the image's shape that do not say where they lie take the image's place.
        crop_labels: whether labels that are resampled may reach beyond their image, which shows only a part.
        workers: how many processes read, look for edges and write; 1 is this one alone, None as many as help.
        announce: called with what preparing volumes will take, before it begins.
        progress: called after every case, which is looked at first and written then: twice. It counts work, of
            which finding edges is the most, so that the time left covers the whole.

    Raises:
        InputError: naming the first problems, with nothing written.
    """
    refuse_occupied(out)  # before the work; the writer looks again after it
    detector = edge_detector(edges)  # its file may be wrong
    scan = replace(limited(scan, limit, seed), slices=slices or scan.slices)
    fusion = fusion_of(scan.cases, fuse, confidence, seed)
    workers = workers or as_many_as_help(scan.cases)
    findings = scan.findings
    if scan.of_volumes:
        needed = estimate(scan, scan.slices, edges=detector is not None)
        refuse_too_little_room(out, needed.disk)
        findings = (needed.finding(out, workers), *findings)
        if announce:
            announce(findings[0])
    named = tuple(classes or scan.classes or ())
    count, each = len(scan.cases), cost_of(detector)
    total = count * (1 + each)
    made_by = None if detector is None else detector.facts()
    counts: Counter[str] = Counter()
    raw_bytes = 0
    doubts: list[tuple[RawCase, Doubt]] = []
    with scratch_beside(out) as keep, Workers(workers) as crew:
        seen = inspect(
            scan,
            LookAt(scan.slices, resample_labels, keep, adopt_grid, crop_labels),
            remap=remap,
            classes=len(named) or None,
            workers=crew,
            progress=(lambda done, _: progress(done, total)) if progress else None,
        )
        findings = without_repeats(findings, seen.findings)
        refuse_errors(name, findings)
        scheme = seen.scheme
        if scheme is None:
            raise InputError(
                f"{name}: there is no case to prepare: put images into images/ and masks into masks/"
            )
        every = scan.cases
        scan, seen = without_unknown(scan, seen)
        named = named or seen.names or class_names(scheme.classes)
        source = _origin(scan, remap, fusion)
        threads = max(1, cores() // workers) if workers > 1 else None
        drop = scan.slices.empty == "drop"
        write = WriteCase(keep, scheme, len(named), seen.channels, fusion, edges, drop, threads)
        items = list(zip(scan.cases, seen.cases, seen.decoded, strict=True))
        with SetWriter(
            out,
            name=name,
            classes=named,
            channels=seen.channels,
            source=source,
            edge_detector=made_by,
            preprocessing=scan.slices.to_dict() if scan.of_volumes else None,
            regions=regions or scan.regions,
        ) as writer:
            unknown = sorted({case.id for case in every} - {case.id for case in scan.cases})
            for done, (case, written) in enumerate(
                zip(scan.cases, crew.each(write, items), strict=True), start=len(unknown) + 1
            ):
                written.into(writer, case)
                counts[case.role] += len(written.slices)
                raw_bytes += written.nbytes
                doubts += [] if written.doubt is None else [(case, written.doubt)]
                if progress:
                    progress(count + each * done, total)
            write_origin(writer.folder, scan.cases, seen.cases, scheme, unknown)
    volumes = Counter(case.role for case in scan.cases)
    return PrepareReport(
        out,
        name,
        {role: counts[role] for role in ROLES},
        named,
        seen.channels,
        raw_bytes,
        made_by,
        (*findings, *fused_findings(fusion, doubts)),
        {role: volumes[role] for role in ROLES} if scan.of_volumes else None,
        source,
        sum(case.given is not None for case in scan.cases),
        seen.class_cases,
    )


def limited(scan: Scan, limit: int | None, seed: int) -> Scan:
    """Return a scan with so many of its training cases, drawn by seed; None keeps all.

    Raises:
        InputError: where the limit is below 1.
    """
    kept = limit_training({case.id: case.role for case in scan.cases}, limit, seed=seed)
    return replace(scan, cases=tuple(case for case in scan.cases if case.id in kept))


def _origin(scan: Scan, remap: Mapping[int, int] | None, fusion: Fusion) -> dict[str, Any]:
    """Return where the data is from, and all that a set keeps of how it was read."""
    source = dict(scan.source or {})
    if mapped := {**(scan.remap or {}), **(remap or {})}:
        source["remap"] = {str(value): label for value, label in mapped.items()}
    if key := next((case.image_key for case in scan.cases if case.image_key), None):
        source["image_key"] = key  # by which new volumes are read, too
    if any(case.outlines for case in scan.cases):
        source |= fusion.facts()
    return source
