"""Find what is wrong with a folder or a prepared set, all of it, before hours are spent on training."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.findings import CheckReport, Finding, unverified_tests, without_repeats
from metadcseg.data.prepare.across import duplicates, set_findings
from metadcseg.data.prepare.by_role import MaskCounts, class_cases
from metadcseg.data.prepare.facts import rim_of
from metadcseg.data.prepare.fusing import outlines_findings
from metadcseg.data.prepare.inspection import Inspection, Progress, inspect, without_unknown
from metadcseg.data.prepare.look import LookAt, constant_image, is_constant
from metadcseg.data.prepare.pairs import Pair, pair_findings
from metadcseg.data.prepare.plausible import plausibility
from metadcseg.data.prepare.tiny import Objects, find_objects, tiny_classes
from metadcseg.data.prepare.ways_out import ways_out
from metadcseg.data.prepare.workers import Workers, as_many_as_help
from metadcseg.data.sources import Scan, scan_folder
from metadcseg.data.sources.annotators import said_of_annotators
from metadcseg.data.store.layout import CHECKSUMS, MANIFEST, TABLE
from metadcseg.data.store.reader import ROLES, Case, PreparedSet, StoredVolume
from metadcseg.errors import InputError
from metadcseg.reading import is_what

__all__ = ["CheckReport", "Finding", "check_folder", "check_path", "check_scan", "check_set"]

Looked = Callable[[Scan, Inspection], object]
"""Takes what a check has found of a source and seen in its files."""


def check_path(path: Path, *, progress: Progress | None = None, **options: Any) -> CheckReport:
    """Check a folder or a prepared set, whichever it is.

    Args:
        path: a folder with ``images/`` and ``masks/``, or a set.
        progress: called after every case.
        options: as for `check_folder`; a set has its split and its labels already.

    Raises:
        InputError: where there is nothing of either kind.
    """
    if not path.is_dir():
        raise InputError(f"{path} {is_what(path)}: give a folder with images/ and masks/, or a prepared set")
    if any((path / name).exists() for name in (MANIFEST, TABLE, CHECKSUMS)):
        return check_set(path, progress=progress)
    return check_folder(path, progress=progress, **options)


def check_folder(
    path: Path | str,
    *,
    remap: Mapping[int, int] | None = None,
    seed: int = 0,
    val: float = 0.1,
    test: float = 0.1,
    image_key: str | None = None,
    label_key: str | None = None,
    resample_labels: bool = False,
    adopt_grid: bool = False,
    crop_labels: bool = False,
    subfolders: str | None = None,
    workers: int | None = 1,
    progress: Progress | None = None,
    looked: Looked | None = None,
) -> CheckReport:
    """Check a plain folder, as `prepare` reads it.

    Args:
        path: the folder.
        remap: value in a mask file -> class number, as it will be given to ``prepare``.
        seed: of the split, where ``splits.csv`` names no roles, as for ``prepare``.
        val: share held out for validation likewise.
        test: share held out for the test likewise.
        image_key: of the image in HDF5 files, ``image`` by default.
        label_key: of the label in HDF5 files, ``label`` by default.
        resample_labels: whether labels of volumes may lie on another grid than their image.
        adopt_grid: whether labels that do not say where they lie take the place of their image.
        crop_labels: whether labels that are resampled may reach beyond their image.
        subfolders: what the folders in ``masks/`` are, ``"annotators"`` or ``"classes"``, as for ``prepare``.
        workers: how many processes decode files; None as many as help.
        progress: called after every case.
        looked: called where there are no errors, while the masks of pairs are at hand.

    Returns:
        Everything that was found; one bad file never hides another.

    Raises:
        InputError: where there is no such folder or it holds no ``images/``.

    Example:
        >>> check_folder(Path("my_folder")).ok  # doctest: +SKIP
        True
    """
    path = Path(path)
    keys: dict[str, Any] = {"image_key": image_key, "label_key": label_key}
    scan = scan_folder(path, seed=seed, val=val, test=test, subfolders=subfolders, **keys)
    return check_scan(
        path,
        scan,
        remap=remap,
        resample_labels=resample_labels,
        adopt_grid=adopt_grid,
        crop_labels=crop_labels,
        workers=workers,
        progress=progress,
        looked=looked,
    )


def check_scan(
    path: Path,
    scan: Scan,
    *,
    remap: Mapping[int, int] | None = None,
    resample_labels: bool = False,
    adopt_grid: bool = False,
    crop_labels: bool = False,
    workers: int | None = 1,
    progress: Progress | None = None,
    looked: Looked | None = None,
) -> CheckReport:
    """Check what a source has found.

    Args:
        path: where the source lies.
        scan: what it found.
        remap: value in a mask file -> class number; wins over the scan's.
        resample_labels: whether labels may lie on another grid than their image.
        adopt_grid: whether labels that do not say where they lie take the place of their image.
        crop_labels: whether labels that are resampled may reach beyond their image.
        workers: how many processes decode files; None as many as help.
        progress: called after every case.
        looked: called where there are no errors, while the masks of pairs are at hand.
    """
    with Workers(workers or as_many_as_help(scan.cases)) as crew, TemporaryDirectory() as room:
        keep = None if looked is None else Path(room)
        seen = inspect(
            scan,
            LookAt(scan.slices, resample_labels, keep, adopt_grid, crop_labels, pairs_only=True),
            remap=remap,
            classes=len(scan.classes or ()) or None,
            workers=crew,
            progress=progress,
        )
        findings = without_repeats((*scan.findings, *outlines_findings(scan.cases)), seen.findings)
        scan, seen = without_unknown(scan, seen)
        pairs = sum(case.given is not None for case in scan.cases)
        roles = _by_role(case.role for case in scan.cases)
        report = CheckReport(path, "folder", roles, findings, pairs, seen.class_cases)
        if looked is not None and report.ok:
            looked(scan, seen)
    return report


def check_set(path: Path, *, progress: Progress | None = None) -> CheckReport:
    """Check a prepared set: every array against its checksum, and everything that a folder is checked for.

    Args:
        path: the set.
        progress: called after every case.

    Returns:
        Everything that was found; a set that cannot be opened is one error.
    """
    try:
        prepared = PreparedSet.open(path)
    except InputError as error:
        return CheckReport(path, "set", {}, (Finding("error", "set-damaged", str(path), str(error)),))
    findings: list[Finding] = []
    seen: dict[str, _Seen] = {}
    shown = _Labels(len(prepared.classes))
    for number, case in enumerate(prepared.cases, start=1):
        findings += _case_findings(prepared, case, seen, shown)
        if progress:
            progress(number, len(prepared.cases))
    findings += _volume_findings(prepared, seen)
    findings += shown.findings(prepared)
    plain = [case for case in prepared.cases if case.volume is None]
    ways = ways_out(prepared.source)
    findings += duplicates(((case.id, case.role, prepared.checksums(case)["image"]) for case in plain), ways)
    units: tuple[Case | StoredVolume, ...] = prepared.volumes or prepared.cases
    findings += set_findings([(unit.id, unit.role, unit.group) for unit in units], ways)
    findings += unverified_tests(((unit.role, _verified(unit)) for unit in units), ways.test)
    if prepared.annotators:
        whose = {case.volume or case.id: case.annotators for case in prepared.cases}
        counts = Counter(name for names in whose.values() for name in names)
        findings.append(Finding("note", "annotators", str(path), said_of_annotators(counts, len(units))))
    paired = _paired(prepared)
    if prepared.noise is None:  # injected noise may well change nothing of a mask
        odd = pair_findings(_pairs(prepared, paired))
        told = {finding.where for finding in odd if finding.code == "verified-empty"}
        findings = [each for each in findings if each.code != "mask-empty" or each.where not in told] + odd
    roles = _by_role(unit.role for unit in units)
    by_role = class_cases(shown.counts, prepared.classes)
    return CheckReport(path, "set", roles, tuple(findings), len(paired), by_role)


class _Labels:
    """What the labels of a set hold; of a case its truth, where it has one."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._held: dict[str, tuple[str, NDArray[np.int64]]] = {}
        self._objects: list[Objects] = []

    def take(self, case: Case, labels: NDArray[np.uint8]) -> None:
        """Count the pixels of a case, and those on its rim, to its volume, and its objects."""
        both = [np.bincount(part.ravel(), minlength=IGNORE + 1) for part in (labels, rim_of(labels[None]))]
        name = case.volume or case.id
        before = self._held[name][1] if name in self._held else 0
        self._held[name] = (case.role, before + np.stack(both)[:, : self._classes])
        self._objects.append(find_objects(case.id, labels[None]))

    @property
    def counts(self) -> list[MaskCounts]:
        """The pixels of every image or volume."""
        return [
            MaskCounts(name, role, tuple(pixels.tolist()), tuple(rim.tolist()))
            for name, (role, (pixels, rim)) in self._held.items()
        ]

    def findings(self, prepared: PreparedSet) -> list[Finding]:
        """Find labels that can hardly be meant so: an error when the set was made, unless somebody said otherwise."""
        told = {int(value): label for value, label in prepared.source.get("remap", {}).items()}
        settled = {0: 0} if 0 in told or prepared.noise is not None else {}
        found = plausibility(
            self.counts, range(self._classes), settled, prepared.classes, ways=ways_out(prepared.source)
        )
        again = "; the labels of a set are settled, so prepare it again with that"
        return [
            Finding("warning", one.code, one.where, one.sentence + again * ("--remap" in one.sentence))
            for one in found
        ] + tiny_classes(self._objects, prepared.classes)


def _paired(prepared: PreparedSet) -> dict[str, list[Case]]:
    """Return id of an image or a volume -> those of its cases that hold the mask that the verified one replaced."""
    paired: dict[str, list[Case]] = {}
    for case in prepared.cases:
        if case.has_given:
            paired.setdefault(case.id if case.volume is None else case.volume, []).append(case)
    return paired


def _pairs(prepared: PreparedSet, paired: Mapping[str, list[Case]]) -> Iterator[Pair]:
    """Yield both masks of all images and volumes that have two and are not damaged."""
    for name, cases in paired.items():
        try:
            verified = np.stack([(prepared.truth if c.has_truth else prepared.label)(c) for c in cases])
            given = np.stack([prepared.given(case) for case in cases])
        except InputError:
            continue  # told already
        yield Pair(name, "its given mask", verified, given)


@dataclass
class _Seen:
    """What the slices of one volume have shown: a volume is empty or constant only where all of them are."""

    contents: dict[str, None] = field(default_factory=dict)
    foreground: bool = False


def _case_findings(
    prepared: PreparedSet, case: Case, seen: dict[str, _Seen], shown: _Labels
) -> list[Finding]:
    findings = []
    readers = {"image": prepared.image, "label": prepared.label}
    for kind in ("truth", "given", "edges", "label_confidence"):
        if getattr(case, f"has_{kind}"):
            readers[kind] = getattr(prepared, kind)
    if case.annotators:
        readers["outlines"] = lambda case: np.stack(list(prepared.outlines(case).values()))
    for kind, read in readers.items():
        try:
            array = read(case)
        except InputError as error:
            findings.append(Finding("error", "checksum", case.id, str(error)))
            continue
        if kind == ("truth" if case.has_truth else "label"):
            shown.take(case, array)
        constant = kind == "image" and is_constant(array)
        empty = kind == "label" and not np.any((array != 0) & (array != IGNORE))
        if case.volume is not None:
            volume = seen.setdefault(case.volume, _Seen())
            volume.foreground |= kind == "label" and not empty
            if kind == "image" and not constant:
                volume.contents[prepared.checksums(case)["image"]] = None
        elif constant:
            findings.append(constant_image(case.id))
        elif empty:
            findings.append(_unknown(case.id) if (array == IGNORE).all() else _empty(case.id))
    return findings


def _volume_findings(prepared: PreparedSet, seen: Mapping[str, _Seen]) -> list[Finding]:
    """Find what is wrong with whole volumes; two that share a slice with content show the same."""
    findings = []
    holders: dict[str, StoredVolume] = {}
    for volume in prepared.volumes:
        try:
            prepared.reference(volume)
        except InputError as error:
            findings.append(Finding("error", "checksum", volume.id, str(error)))
        found = seen.get(volume.id, _Seen())
        if prepared.slices_of(volume) and not found.contents:
            findings.append(constant_image(volume.id))
        if not found.foreground:
            findings.append(_empty(volume.id))
        twins = dict.fromkeys(holders[content] for content in found.contents if content in holders)
        for twin in twins:
            if twin.group == volume.group and twin.placement == volume.placement:
                continue  # another outline of the same image, which leaks nothing
            findings += duplicates(
                [(twin.id, twin.role, ""), (volume.id, volume.role, "")], ways_out(prepared.source)
            )
        for content in found.contents:
            holders.setdefault(content, volume)
    return findings


def _verified(unit: Case | StoredVolume) -> bool:
    return unit.has_truth if isinstance(unit, Case) else unit.verified


def _empty(where: str) -> Finding:
    sentence = f"{where}: its mask is empty: right if nothing is there, otherwise draw it"
    return Finding("warning", "mask-empty", where, sentence)


def _unknown(where: str) -> Finding:
    sentence = (
        f"{where}: its mask is unknown ({IGNORE}) throughout: prepare the set again, which leaves it out"
    )
    return Finding("warning", "mask-unknown", where, sentence)


def _by_role(roles: Iterable[str]) -> dict[str, int]:
    held = list(roles)
    return {role: held.count(role) for role in ROLES}
