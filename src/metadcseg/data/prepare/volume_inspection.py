"""Look at every volume and label before anything is written: one at a time, never stopping at the first problem."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metadcseg.data.findings import Finding, unverified_tests
from metadcseg.data.formats.agreement import Agreement
from metadcseg.data.formats.geometry import Volume
from metadcseg.data.formats.images import Picture
from metadcseg.data.prepare.inspection import Progress, constant_image, duplicates, is_constant, set_findings
from metadcseg.data.prepare.labels import LabelScheme, MaskFacts, mask_facts, settle
from metadcseg.data.prepare.pairs import Pair, pair_findings
from metadcseg.data.prepare.volume_cases import (
    head_of,
    load_given_volume,
    load_image_volume,
    load_label_confidence,
    load_label_volumes,
    require_libraries,
)
from metadcseg.data.slicing.cut import SliceOptions, place
from metadcseg.data.sources.case import RawVolume
from metadcseg.data.store.layout import array_digest
from metadcseg.errors import InputError


@dataclass(frozen=True)
class VolumeInspection:
    """What all volumes and labels together are like.

    Args:
        findings: what was found.
        channels: C of every image, 0 where none could be read.
        scheme: what the values in the labels mean; None where that is an error.
        facts: what is in each label and truth, and in each label that was replaced.
    """

    findings: tuple[Finding, ...]
    channels: int
    scheme: LabelScheme | None
    facts: Mapping[str, MaskFacts]


def inspect_volumes(
    volumes: Sequence[RawVolume],
    *,
    slices: SliceOptions,
    remap: Mapping[int, int] | None = None,
    classes: int | None = None,
    declared: tuple[frozenset[int], str] | None = None,
    resample_labels: bool = False,
    progress: Progress | None = None,
) -> VolumeInspection:
    """Decode every volume once and collect everything that is wrong; one case is in memory at a time.

    Args:
        volumes: what to look at.
        slices: how they will be cut.
        remap: value in a label file -> class number.
        classes: number of classes with background where it is known.
        declared: the values that labels may hold, and the file that says so.
        resample_labels: whether labels may lie on another grid than their image.
        progress: called after every volume.

    Raises:
        InputError: where a library that reads them is not installed.
    """
    require_libraries(volumes)
    findings: list[Finding] = []
    facts: dict[str, MaskFacts] = {}
    digests: list[tuple[str, str, str]] = []
    channels: dict[str, int] = {}
    outlined: dict[tuple[Path, ...], str] = {}
    said = Agreement()
    for number, raw in enumerate(volumes, start=1):
        held = len(digests)
        _inspect(raw, slices, resample_labels, findings, facts, digests, channels, said)
        if outlined.get(raw.images) == raw.group:  # another outline of the same image is no copy of it
            del digests[held:]
        outlined.setdefault(raw.images, raw.group)
        if progress:
            progress(number, len(volumes))
    undeclared = [] if declared is None else _undeclared(facts.values(), remap or {}, *declared)
    scheme, found = (None, undeclared)
    if facts and not undeclared:
        scheme, found = settle(list(facts.values()), remap, classes)
    odd = [] if scheme is None else pair_findings(_pairs(volumes, scheme, facts, resample_labels))
    told = {finding.where for finding in odd if finding.code == "verified-empty"}
    findings += said.findings() + found + _channel_findings(channels) + odd
    findings += [
        _empty(entry)
        for name, entry in facts.items()
        if _is_empty(entry, remap or {}) and entry.where not in told and not name.endswith(" given")
    ]
    findings += duplicates(digests)
    findings += set_findings([(raw.id, raw.role, raw.group) for raw in volumes])
    findings += unverified_tests((raw.role, raw.verified or raw.truth is not None) for raw in volumes)
    return VolumeInspection(tuple(findings), max(channels.values(), default=0), scheme, facts)


def _inspect(
    raw: RawVolume,
    slices: SliceOptions,
    resample_labels: bool,
    findings: list[Finding],
    facts: dict[str, MaskFacts],
    digests: list[tuple[str, str, str]],
    channels: dict[str, int],
    said: Agreement,
) -> None:
    """Look at one volume; what is decoded is let go of at the end."""
    try:
        image = load_image_volume(raw)
    except InputError as error:
        findings.append(Finding("error", "image-unreadable", raw.where, str(error)))
        return
    channels[raw.where] = image.array.shape[3]
    digests.append((raw.where, raw.role, _content(image)))
    findings += [Finding("note", "image-converted", raw.where, note) for note in image.notes]
    findings += _value_findings(raw, image)
    grid = image.grid
    try:
        place(grid, slices)
    except InputError as error:
        findings.append(Finding("error", "slices", raw.where, f"{raw.where}: {error}"))
    del image  # the labels come into the room that it took
    try:
        labels = load_label_volumes(raw, grid, resample=resample_labels)
        load_label_confidence(raw, grid)
    except InputError as error:
        findings.append(Finding("error", "mask-unreadable", str(raw.label or raw.where), str(error)))
        return
    findings += [Finding("note", "mask-converted", str(raw.label), note) for note in labels.notes]
    said.meanings(str(raw.label), labels.label.names, "header")
    facts[f"{raw.id} label"] = volume_facts(str(raw.label), labels.label)
    if labels.truth is not None:
        facts[f"{raw.id} truth"] = volume_facts(str(raw.truth), labels.truth)
    try:
        given = load_given_volume(raw, grid, labels.label, resample=resample_labels)
    except InputError as error:
        sentence = f"{error}; or remove it, {raw.label} has replaced it"
        findings.append(Finding("error", "given-unreadable", str(raw.given), sentence))
        return
    if given is not None:
        said.meanings(str(raw.given), given.names, "header")
        facts[f"{raw.id} given"] = volume_facts(str(raw.given), given)
        if given is not labels.label:
            findings += [Finding("note", "mask-converted", str(raw.given), note) for note in given.notes]


def _pairs(
    volumes: Sequence[RawVolume], scheme: LabelScheme, facts: Mapping[str, MaskFacts], resample: bool
) -> Iterator[Pair]:
    """Yield both labels of every volume that has two; they are read once more, now that it is known what they mean."""
    for raw in volumes:
        if f"{raw.id} given" not in facts:
            continue
        grid, _ = head_of(raw)
        labels = load_label_volumes(raw, grid, resample=resample)
        given = load_given_volume(raw, grid, labels.label, resample=resample)
        best, path, name = labels.label, raw.label, f"{raw.id} label"
        if labels.truth is not None:
            best, path, name = labels.truth, raw.truth, f"{raw.id} truth"
        if given is not None:
            verified = scheme.apply(best.array, facts[name])
            replaced = scheme.apply(given.array, facts[f"{raw.id} given"])
            within = f" ('{raw.given_key}')" if raw.given == path else ""  # one file may hold both
            yield Pair(str(path), f"{raw.given}{within}", verified, replaced)


def volume_facts(where: str, labels: Volume) -> MaskFacts:
    """Return which values a label volume holds; its edges are never soft."""
    return MaskFacts(where, mask_facts(where, Picture(np.unique(labels.array)[None])).levels)


def _content(image: Volume) -> str:
    """Return a digest of the voxels: equal for equal ones, whatever type and file hold them."""
    return array_digest(np.ascontiguousarray(image.array, np.float32))


def _value_findings(raw: RawVolume, image: Volume) -> list[Finding]:
    array = image.array
    if array.dtype.kind == "f" and (bad := int(np.count_nonzero(~np.isfinite(array)))):
        sentence = (
            f"{raw.where}: {bad} of {array.size} voxels are NaN or infinite: replace them and save it again"
        )
        return [Finding("error", "image-not-finite", raw.where, sentence)]
    flat = array.reshape(-1, 1, array.shape[3])
    return [constant_image(raw.where)] if is_constant(flat) else []


def _undeclared(
    facts: Iterable[MaskFacts], remap: Mapping[int, int], values: frozenset[int], where: str
) -> list[Finding]:
    """Return an error for every label that holds a value which its source does not know."""
    known = ", ".join(str(value) for value in sorted(values))
    findings = []
    for entry in facts:
        if strange := [level for level in entry.levels if level not in values and level not in remap]:
            held = ", ".join(str(level) for level in strange[:8]) + (" ..." if len(strange) > 8 else "")
            sentence = (
                f"{entry.where} holds the label {held}, unknown to {where} (which has {known}): correct one of the "
                f"two, or pass --remap{'=' if strange[0] < 0 else ' '}{strange[0]}:0"
            )
            findings.append(Finding("error", "label-unexpected", entry.where, sentence))
    return findings


def _channel_findings(channels: Mapping[str, int]) -> list[Finding]:
    if len(set(channels.values())) < 2:
        return []
    first, *_ = channels
    other = next(where for where, count in channels.items() if count != channels[first])
    sentence = (
        f"{other} has {channels[other]} channels, {first} {channels[first]}: "
        "all volumes of a set have the same ones"
    )
    return [Finding("error", "channels", other, sentence)]


def _is_empty(facts: MaskFacts, remap: Mapping[int, int]) -> bool:
    return {remap.get(level, level) for level in facts.levels} <= {0}


def _empty(facts: MaskFacts) -> Finding:
    sentence = f"{facts.where} is empty, no voxel is foreground: right if nothing is there, else draw it"
    return Finding("warning", "mask-empty", facts.where, sentence)
