"""Look at all cases before anything is written: what they are like together, and everything that is wrong."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import Protocol

import numpy as np

from metadcseg.constants import IGNORE
from metadcseg.data.findings import Finding, listed, unverified_tests
from metadcseg.data.formats.orientation import turned_images
from metadcseg.data.prepare.across import duplicates, set_findings
from metadcseg.data.prepare.by_role import ClassCases, MaskCounts, class_cases
from metadcseg.data.prepare.facts import CaseFacts, MaskFacts
from metadcseg.data.prepare.labels import LabelScheme, class_names, settle, typed_remap
from metadcseg.data.prepare.look import Decoded, LookAt, given_is_label, is_given
from metadcseg.data.prepare.meanings import meanings
from metadcseg.data.prepare.numbering import numbering
from metadcseg.data.prepare.outlines import overlap_findings
from metadcseg.data.prepare.pairs import Pair, pair_findings
from metadcseg.data.prepare.plausible import plausibility
from metadcseg.data.prepare.reading import require_libraries
from metadcseg.data.prepare.tiny import Objects, tiny_classes
from metadcseg.data.prepare.ways_out import ways_out
from metadcseg.data.prepare.workers import Workers
from metadcseg.data.sources.case import RawCase, Scan, kind_of


class Progress(Protocol):
    """Called by long work: how much is done, of how much."""

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` pieces are done."""
        ...


@dataclass(frozen=True)
class Inspection:
    """What all cases together are like.

    Args:
        findings: what was found.
        channels: of every image in the set; of images 3 where any has color.
        scheme: what the values in the masks mean; None where that is an error.
        cases: what each case is like, in their order.
        decoded: what was kept of each, where that was asked for.
        names: of the classes, background first, where the masks themselves tell them.
        class_cases: in how many cases of each role each class appears.
    """

    findings: tuple[Finding, ...]
    channels: int
    scheme: LabelScheme | None
    cases: tuple[CaseFacts, ...]
    decoded: tuple[Decoded, ...]
    names: tuple[str, ...] | None = None
    class_cases: ClassCases = field(default_factory=dict)


def inspect(
    scan: Scan,
    how: LookAt,
    *,
    remap: Mapping[int, int] | None = None,
    classes: int | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Decode the files of every case once and collect everything that is wrong.

    Args:
        scan: what to look at.
        how: each case is looked at.
        remap: value in a mask file -> class number; wins over the scan's.
        classes: number of classes with background where it is known.
        workers: who looks; this process alone by default.
        progress: called after every case.

    Raises:
        InputError: where a library that reads the files is not installed.
    """
    require_libraries(scan.cases)
    remap = {**(scan.remap or {}), **(remap or {})}
    facts: list[CaseFacts] = []
    decoded: list[Decoded] = []
    for one, kept in (workers or Workers(1)).each(replace(how, remap=remap), scan.cases):
        facts.append(one)
        decoded.append(kept)
        if progress:
            progress(len(facts), len(scan.cases))
    findings = [finding for one in facts for finding in one.findings]
    called = meanings(
        [entry for one in facts for entry in one.masks.values()],
        declared=(scan.values or scan.classes) is not None,
        remap=remap,
    )
    facts = [
        replace(one, masks={what: called.of(entry) for what, entry in one.masks.items()}) for one in facts
    ]
    known = [
        entry
        for kind in ("label", "truth", "given")
        for one in facts
        for what, entry in one.masks.items()
        if kind_of(what) == kind
    ]
    scheme, found = None, _undeclared(known, remap, scan)
    found += numbering(scan.cases, facts, remap, scan.remap or {})
    if known and not found and not any(finding.severity == "error" for finding in called.findings):
        scheme, found = settle(known, remap, classes or called.number(remap))
    names = None if scheme is None else called.names(remap, scheme.classes)
    odd = [] if scheme is None else pair_findings(_pairs(scan.cases, facts, scheme))
    told = {finding.where for finding in odd if finding.code == "verified-empty"}
    findings += [*called.findings, *_turned(scan.cases, facts), *found, *odd]
    findings += [
        _empty(case, entry)
        for case, one in zip(scan.cases, facts, strict=True)
        for what, entry in one.masks.items()
        if not is_given(what) and _is_empty(entry, remap) and entry.where not in told
        if scheme is None or not scheme.hides(entry)
    ]
    findings += [
        _hidden(one.masks[one.best]) for one in facts if scheme is not None and _is_hidden(one, scheme)
    ]
    by_role: ClassCases = {}
    if scheme is not None:
        named = scan.classes or names or class_names(scheme.classes)
        found, by_role = _plausible(scan, facts, scheme, remap, named)
        findings += found
    findings += overlap_findings([(case, one.overlaps) for case, one in zip(scan.cases, facts, strict=True)])
    ways = ways_out(scan.source)
    findings += duplicates(_shown(scan.cases, facts), ways)
    findings += _channel_findings(scan.cases, facts)
    findings += set_findings([(case.id, case.role, case.group) for case in scan.cases], ways)
    verified = [(case.role, case.verified or case.truth is not None) for case in scan.cases]
    findings += unverified_tests(verified, ways.test)
    channels = max((one.channels for one in facts), default=1)
    return Inspection(tuple(findings), channels, scheme, tuple(facts), tuple(decoded), names, by_role)


def _turned(cases: Sequence[RawCase], facts: Sequence[CaseFacts]) -> list[Finding]:
    """Find images that an orientation tag turns, and whose masks carry none."""
    return turned_images(
        [
            case.where
            for case, one in zip(cases, facts, strict=True)
            if one.orientation != 1 and any(entry.orientation == 1 for entry in one.masks.values())
        ]
    )


def _plausible(
    scan: Scan,
    facts: Sequence[CaseFacts],
    scheme: LabelScheme,
    remap: Mapping[int, int],
    names: Sequence[str],
) -> tuple[list[Finding], ClassCases]:
    """Find masks that can hardly be meant as they are read, and count which class is in how many cases."""
    masks: list[MaskCounts] = []
    beside: list[MaskCounts] = []
    held: list[Counter[int]] = [Counter() for _ in range(scheme.classes)]
    objects: list[Objects] = []
    for case, one in zip(scan.cases, facts, strict=True):
        for what, entry in one.masks.items():
            if what == "given" and given_is_label(case):
                continue
            judged = kind_of(what) == one.best
            labels = scheme.apply(np.array(entry.in_file, np.int64), entry)
            pixels, border = (
                np.bincount(labels, weights=counts, minlength=IGNORE + 1)[: scheme.classes].astype(int)
                for counts in (entry.counts, entry.border)
            )
            counts = (tuple(pixels.tolist()), tuple(border.tolist()))
            counted = MaskCounts(entry.where, case.role, *counts, case.id)
            (masks if judged else beside).append(counted)
            if judged and entry.objects is not None:
                objects.append(_classes_of(entry.objects, entry, scheme))
            for level, label, count in zip(entry.levels, labels.tolist(), entry.counts, strict=True):
                if label < scheme.classes:
                    held[label][level] += count
    values = [each.most_common(1)[0][0] if each else label for label, each in enumerate(held)]
    found = plausibility(masks, values, remap, names, beside, ways_out(scan.source)) + tiny_classes(
        objects, names
    )
    return found, class_cases(masks, names)


def _classes_of(objects: Objects, facts: MaskFacts, scheme: LabelScheme) -> Objects:
    """Return objects by class instead of by value in the file."""
    labels = scheme.apply(np.array(list(objects.sides), np.int64), facts).tolist()
    held: dict[int, Counter[int]] = {}
    for label, sides in zip(labels, objects.sides.values(), strict=True):
        held.setdefault(label, Counter()).update(sides)
    return replace(objects, sides=held)


def _pairs(cases: Sequence[RawCase], facts: Sequence[CaseFacts], scheme: LabelScheme) -> Iterator[Pair]:
    """Yield what the values in both masks of every pair mean; several outlines that were replaced are one pair."""
    for case, one in zip(cases, facts, strict=True):
        if not one.beside:
            continue
        verified = one.masks[one.best]
        replaced = [one.masks[what] for what in one.beside]
        both = case.given_key is not None and verified.where == replaced[0].where  # in one file
        within = f" ('{case.given_key}')" if both else ""
        called = (
            replaced[0].where if len(replaced) == 1 else f"{len(replaced)} outlines in {case.called('given')}"
        )
        rows = list(zip(one.beside.values(), replaced, strict=True))
        drawn = np.concatenate([scheme.apply(values[1], entry) for values, entry in rows])
        right = np.concatenate([scheme.apply(values[0], verified) for values, _ in rows])
        yield Pair(verified.where, f"{called}{within}", right, drawn)


def _shown(cases: Sequence[RawCase], facts: Sequence[CaseFacts]) -> Iterator[tuple[str, str, str]]:
    """Yield file, role and content of every image; another outline of the same image is no copy of it."""
    outlined: dict[tuple[Path, ...], str] = {}
    for case, one in zip(cases, facts, strict=True):
        again = bool(case.files) and outlined.get(case.files) == case.group
        outlined.setdefault(case.files, case.group)
        if one.content is not None and not again:
            yield case.where, case.role, one.content


def _undeclared(facts: Iterable[MaskFacts], remap: Mapping[int, int], scan: Scan) -> list[Finding]:
    """Return an error for every mask that holds a value which its source does not know."""
    if scan.values is None:
        return []
    known = ", ".join(str(value) for value in sorted(scan.values))
    findings = []
    strange = [
        (entry.where, levels)
        for entry in facts
        if (levels := [level for level in entry.levels if level not in scan.values and level not in remap])
    ]
    every = dict.fromkeys(sorted({level for _, levels in strange for level in levels}), 0)
    for where, levels in strange:
        sentence = (
            f"{where} holds the label {listed(levels, 8)}, unknown to {scan.declared_by} (which has {known}): "
            f"correct one of the two, or pass {typed_remap({**remap, **every})}"
        )
        findings.append(Finding("error", "label-unexpected", where, sentence))
    return findings


def _channel_findings(cases: Sequence[RawCase], facts: Sequence[CaseFacts]) -> list[Finding]:
    """Refuse images of other channels than the others; gray among color is repeated."""
    found = [(case, one.channels) for case, one in zip(cases, facts, strict=True) if one.channels]
    color = any(held == 3 and len(case.files) < 2 for case, held in found)
    kept = [(case, held) for case, held in found if not (color and case.flat and held == 1)]
    other = next((entry for entry in kept if entry[1] != kept[0][1]), None)
    if other is None:
        return []
    sentence = (
        f"{other[0].where} has {other[1]} channels, {kept[0][0].where} {kept[0][1]}: "
        "all images and volumes of a set have the same ones"
    )
    return [Finding("error", "channels", other[0].where, sentence)]


def _is_empty(facts: MaskFacts, remap: Mapping[int, int]) -> bool:
    labels = {remap.get(level, level) for level in facts.levels}
    return labels <= {0} or (remap.get(IGNORE) == IGNORE and labels <= {0, IGNORE})


def without_unknown(scan: Scan, seen: Inspection) -> tuple[Scan, Inspection]:
    """Return cases and what was seen of them, without those whose labels are unknown throughout."""
    scheme = seen.scheme
    if scheme is None:
        return scan, seen
    kept = [not _is_hidden(facts, scheme) for facts in seen.cases]
    left = replace(seen, cases=tuple(compress(seen.cases, kept)), decoded=tuple(compress(seen.decoded, kept)))
    return replace(scan, cases=tuple(compress(scan.cases, kept))), left


def _is_hidden(facts: CaseFacts, scheme: LabelScheme) -> bool:
    return facts.best in facts.masks and scheme.hides(facts.masks[facts.best])


def _hidden(facts: MaskFacts) -> Finding:
    sentence = (
        f"{facts.where} is unknown ({IGNORE}) throughout: the case is left out; draw its mask to use it"
    )
    return Finding("warning", "mask-unknown", facts.where, sentence)


def _empty(case: RawCase, facts: MaskFacts) -> Finding:
    noun = "pixel" if case.flat else "voxel"
    sentence = f"{facts.where} is empty, no {noun} is foreground: right if nothing is there, else draw it"
    return Finding("warning", "mask-empty", facts.where, sentence)
