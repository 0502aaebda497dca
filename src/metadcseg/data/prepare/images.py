"""From a source to a prepared set: look at everything first, then write all of it or nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from metadcseg.data.findings import Finding, grouped, plural, without_repeats
from metadcseg.data.formats.images import with_channels
from metadcseg.data.prepare.edges import DEFAULT, EdgeDetector, cost_of, edge_detector
from metadcseg.data.prepare.inspection import (
    Inspection,
    Progress,
    inspect_cases,
    load_given,
    load_image,
    load_mask,
)
from metadcseg.data.prepare.labels import class_names
from metadcseg.data.sources import RawCase, Scan, scan_folder, scan_kvasir
from metadcseg.data.sources.label_confidence import read_label_confidence
from metadcseg.data.store.reader import ROLES, SetWriter, refuse_occupied
from metadcseg.errors import InputError

_NAMED = 3  # so many problems are told; `metadcseg check` tells all


@dataclass(frozen=True)
class PrepareReport:
    """What was written.

    Args:
        path: the set.
        name: its name.
        cases: role -> number of cases.
        classes: names of the classes, background first.
        channels: 1 or 3.
        raw_bytes: size of all arrays before compression: what a training keeps in memory at most.
        edges: what made the edges (``detector``, ``sha256`` of its weights), or None where there are none.
        findings: warnings and notes; errors are raised before anything is written.
        volumes: role -> number of volumes whose slices the cases are, or None where they are plain images.
        source: where the data is from, as the set keeps it: name, licence, citation, how roles were drawn.
        pairs: how many images or volumes hold the mask that their verified one replaced.
    """

    path: Path
    name: str
    cases: dict[str, int]
    classes: tuple[str, ...]
    channels: int
    raw_bytes: int
    edges: dict[str, str] | None
    findings: tuple[Finding, ...]
    volumes: dict[str, int] | None = None
    source: dict[str, Any] = field(default_factory=dict)
    pairs: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "path": str(self.path),
            "name": self.name,
            "cases": self.cases,
            "volumes": self.volumes,
            "pairs": self.pairs,
            "classes": list(self.classes),
            "channels": self.channels,
            "raw_bytes": self.raw_bytes,
            "edges": self.edges,
            "source": self.source,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def prepare_folder(
    folder: Path,
    out: Path,
    *,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    remap: Mapping[int, int] | None = None,
    seed: int = 0,
    val: float = 0.1,
    test: float = 0.1,
    limit: int | None = None,
    spacing: tuple[float, float] | None = None,
    regions: Mapping[str, Sequence[int]] | None = None,
    edges: str = DEFAULT,
    progress: Progress | None = None,
) -> PrepareReport:
    """Prepare a plain folder (its layout: `metadcseg.data.sources.folder`).

    Args:
        folder: with ``images/`` and ``masks/``; ``gold/``, ``gold.txt`` and ``splits.csv`` are optional.
        out: where the set goes.
        name: of the set; the folder's by default.
        classes: names of the classes, background first; numbered by default.
        remap: value in a mask file -> class number (255: ignored), such as ``{7: 1, 900: 2}``.
        seed: of the split and of the limit.
        val: share held out for validation where ``splits.csv`` names no roles.
        test: share held out for the test likewise.
        limit: use only so many training cases beside gold; validation and test stay whole.
        spacing: size of a pixel in mm (row, column), where all images share one; distances then come in mm too.
        regions: unions of classes by name, scored beside the classes.
        edges: who finds the edges of eq. 8: ``"pidinet"``, ``"none"``, or a file with weights of PiDiNet.
        progress: called after every case, which is looked at first and written then: twice. It counts work, of
            which finding edges is the most, so that the time left covers the whole.

    Raises:
        InputError: naming the first problems, with nothing written.

    Example:
        >>> prepare_folder(Path("my_folder"), Path("my_set")).cases  # doctest: +SKIP
        {'train': 17, 'gold': 3, 'val': 2, 'test': 2}
    """
    refuse_occupied(out)  # before the work; the writer looks again after it
    scan = scan_folder(folder, seed=seed, val=val, test=test, limit=limit)
    if spacing is not None:
        scan = replace(scan, cases=tuple(replace(case, spacing=spacing) for case in scan.cases))
    return _prepare(scan, out, name or folder.resolve().name, classes, remap, edges, progress, regions)


def prepare_kvasir(
    source: Path,
    out: Path,
    *,
    name: str = "kvasir-seg",
    gold: float | int = 0.02,
    seed: int = 0,
    val: float = 0.1,
    test: float = 0.1,
    limit: int | None = None,
    edges: str = DEFAULT,
    progress: Progress | None = None,
) -> PrepareReport:
    """Prepare Kvasir-SEG (its layouts: `metadcseg.data.sources.kvasir`).

    Args:
        source: the folder that was downloaded.
        out: where the set goes.
        name: of the set.
        gold: share (float below 1) or number (int) of the training cases that count as verified.
        seed: of the split (official layout), of the limit and of gold.
        val: share held out for validation (official layout).
        test: share held out for the test (official layout).
        limit: use only so many training cases, the gold ones among them.
        edges: who finds the edges of eq. 8: ``"pidinet"``, ``"none"``, or a file with weights of PiDiNet.
        progress: called after every case, twice, with the work done and that of the whole.

    Raises:
        InputError: naming the first problems, with nothing written.
    """
    refuse_occupied(out)  # before the work; the writer looks again after it
    scan = scan_kvasir(source, gold=gold, seed=seed, val=val, test=test, limit=limit)
    return _prepare(scan, out, name, None, None, edges, progress)


def prepare_cases(
    cases: Iterable[RawCase],
    out: Path,
    *,
    name: str,
    classes: Sequence[str] | None = None,
    source: Mapping[str, Any] | None = None,
    remap: Mapping[int, int] | None = None,
    edges: str = DEFAULT,
    progress: Progress | None = None,
) -> PrepareReport:
    """Prepare cases of any origin, such as phantoms, which come as arrays.

    Args:
        cases: files or arrays; every case is visited twice, so what comes from a generator is kept in memory.
        out: where the set goes.
        name: of the set.
        classes: names of the classes, background first; numbered by default.
        source: where the data is from, kept in the set.
        remap: value in a mask -> class number.
        edges: who finds the edges of eq. 8: ``"pidinet"``, ``"none"``, or a file with weights of PiDiNet.
        progress: called after every case, twice, with the work done and that of the whole.

    Raises:
        InputError: naming the first problems, with nothing written.
    """
    refuse_occupied(out)  # before the work; the writer looks again after it
    scan = Scan(tuple(cases), source=dict(source or {"source": name}))
    return _prepare(scan, out, name, classes, remap, edges, progress)


def _prepare(
    scan: Scan,
    out: Path,
    name: str,
    classes: Sequence[str] | None,
    remap: Mapping[int, int] | None,
    edges: str,
    progress: Progress | None,
    regions: Mapping[str, Sequence[int]] | None = None,
) -> PrepareReport:
    detector = edge_detector(edges)  # before the work: its file may be wrong
    named = tuple(classes or scan.classes or ())
    count, each = len(scan.cases), cost_of(detector)
    total = count * (1 + each)
    inspection = inspect_cases(
        scan.cases,
        remap=remap,
        classes=len(named) or None,
        progress=(lambda done, _: progress(done, total)) if progress else None,
    )
    findings = without_repeats(scan.findings, inspection.findings)
    refuse_errors(name, findings)
    if inspection.scheme is None:
        raise InputError(
            f"{name}: there is no case to prepare: put images into images/ and masks into masks/"
        )
    named = named or class_names(inspection.scheme.classes)
    source = dict(scan.source or {})
    if remap:
        source["remap"] = {str(value): label for value, label in remap.items()}
    made_by = None if detector is None else detector.facts()
    channels, raw_bytes = inspection.channels, inspection.raw_bytes
    with SetWriter(
        out,
        name=name,
        classes=named,
        channels=channels,
        source=source,
        edge_detector=made_by,
        regions=regions,
    ) as writer:
        for done, case in enumerate(scan.cases, start=1):
            raw_bytes += _write(writer, case, inspection, detector)
            if progress:
                progress(count + each * done, total)
    counts = Counter(case.role for case in scan.cases)
    roles = {role: counts[role] for role in ROLES}
    pairs = len(inspection.given_facts)
    return PrepareReport(
        out, name, roles, named, channels, raw_bytes, made_by, findings, source=source, pairs=pairs
    )


def _write(writer: SetWriter, case: RawCase, inspection: Inspection, detector: EdgeDetector | None) -> int:
    """Find the edges of one case and write all of it; return how many bytes the edges take in memory."""
    if inspection.scheme is None:  # excluded by the caller; said here for the type checker
        return 0
    image = with_channels(load_image(case).array, inspection.channels)
    label = inspection.scheme.apply(load_mask(case).array, inspection.facts[case.id])
    edges = None if detector is None else detector.find(image)
    given = load_given(case)
    writer.add(
        id=case.id,
        role=case.role,
        group=case.group,
        image=image,
        label=label,
        truth=label if case.verified else None,
        edges=edges,
        label_confidence=read_label_confidence(case, label.shape),
        given=None
        if given is None
        else inspection.scheme.apply(given.array, inspection.given_facts[case.id]),
        spacing=case.spacing,
    )
    return 0 if edges is None else edges.nbytes


def refuse_errors(name: str, findings: Iterable[Finding]) -> None:
    """Refuse to prepare what has errors; the first are told.

    Raises:
        InputError: where there is any.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        groups = grouped(errors)
        told = "; ".join(group.sentence for group in groups[:_NAMED])
        left = sum(len(group.findings) for group in groups[_NAMED:])
        more = f"; and {left} more ('metadcseg check' lists all)" if left else ""
        raise InputError(f"{name}: {plural(len(errors), 'problem')}: {told}{more}")
