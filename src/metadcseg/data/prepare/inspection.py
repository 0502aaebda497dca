"""Look at every image and mask before anything is written: never stop at the first problem."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.findings import Finding, plural, unverified_tests
from metadcseg.data.formats.agreement import Agreement, said_of_turn
from metadcseg.data.formats.images import Picture, read_image, read_mask
from metadcseg.data.prepare.labels import LabelScheme, MaskFacts, mask_facts, settle
from metadcseg.data.prepare.pairs import Pair, pair_findings
from metadcseg.data.sources.case import RawCase
from metadcseg.data.sources.label_confidence import read_label_confidence
from metadcseg.data.splits.roles import across_roles, split_groups
from metadcseg.data.store.layout import array_digest
from metadcseg.data.store.reader import ROLES
from metadcseg.errors import InputError

TINY_GOLD = 5
"""Fewer verified cases than these are worth a warning."""


class Progress(Protocol):
    """Called by long work: how much is done, of how much."""

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` pieces are done."""
        ...


@dataclass(frozen=True)
class Inspection:
    """What all images and masks together are like.

    Args:
        findings: what was found.
        channels: 3 where any image has color, else 1.
        scheme: what the values in the masks mean; None where that is an error.
        facts: id -> what is in the mask.
        given_facts: id -> what is in the mask that it replaced.
        raw_bytes: size of all arrays before compression.
    """

    findings: tuple[Finding, ...]
    channels: int
    scheme: LabelScheme | None
    facts: Mapping[str, MaskFacts]
    given_facts: Mapping[str, MaskFacts]
    raw_bytes: int


def load_image(case: RawCase) -> Picture:
    """Return the image of a case, (H, W, 1 or 3), from its file or from memory."""
    return read_image(case.image) if isinstance(case.image, Path) else Picture(case.image)


def load_mask(case: RawCase) -> Picture:
    """Return the mask of a case as stored, (H, W), from its file or from memory."""
    return read_mask(case.mask) if isinstance(case.mask, Path) else Picture(case.mask)


def load_given(case: RawCase) -> Picture | None:
    """Return the mask that the verified one of a case replaced, (H, W) as stored; None where there is none."""
    if case.given is None:
        return None
    return read_mask(case.given) if isinstance(case.given, Path) else Picture(case.given)


def inspect_cases(
    cases: Sequence[RawCase],
    *,
    remap: Mapping[int, int] | None = None,
    classes: int | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Decode every image and mask once and collect everything that is wrong.

    Args:
        cases: what to look at.
        remap: value in a mask file -> class number.
        classes: number of classes with background where it is known.
        progress: called after every case.
    """
    findings: list[Finding] = []
    digests: dict[str, str] = {}
    facts: dict[str, MaskFacts] = {}
    given_facts: dict[str, MaskFacts] = {}
    channels, raw_bytes = 1, 0
    said = Agreement()
    for number, case in enumerate(cases, start=1):
        image, mask = _try(case, "image", findings), _try(case, "mask", findings)
        if image is not None:
            findings += _image_findings(case, image)
            digests[case.id] = _content(image.array)
            channels = max(channels, image.array.shape[2])
            raw_bytes += image.array.nbytes
        if mask is not None:
            findings += [Finding("note", "mask-converted", case.id, note) for note in mask.notes]
            facts[case.id] = mask_facts(_name(case, "mask"), mask)
            raw_bytes += mask.array.size * (1 + case.verified)
        if (given := _try_given(case, mask, findings)) is not None:
            given_facts[case.id] = mask_facts(_name(case, "given"), given)
            said.pictures((_name(case, "mask"), given), (_name(case, "given"), given))
            raw_bytes += given.array.size
        findings += [] if image is None else _label_confidence_findings(case, image)
        if image is not None and mask is not None:
            said.pictures((_name(case, "image"), image), (_name(case, "mask"), mask))
            if image.array.shape[:2] != mask.array.shape:
                findings.append(_size_mismatch(case, image, mask))
        if progress:
            progress(number, len(cases))
    known = [*facts.values(), *given_facts.values()]
    scheme, found = settle(known, remap, classes) if facts else (None, [])
    odd = [] if scheme is None else pair_findings(_pairs(cases, scheme, facts, given_facts))
    told = {finding.where for finding in odd if finding.code == "verified-empty"}
    findings += said.findings() + found + odd
    findings += [
        _empty(entry) for entry in facts.values() if _is_empty(entry, remap or {}) and entry.where not in told
    ]
    findings += duplicates((case.where, case.role, digests[case.id]) for case in cases if case.id in digests)
    findings += set_findings([(case.id, case.role, case.group) for case in cases])
    findings += unverified_tests((case.role, case.verified) for case in cases)
    return Inspection(tuple(findings), channels, scheme, facts, given_facts, raw_bytes)


def set_findings(cases: Sequence[tuple[str, str, str]]) -> list[Finding]:
    """Find what is wrong with the roles of a whole set: groups split, gold missing or tiny, roles empty.

    Args:
        cases: (id, role, group).
    """
    if not cases:
        return []  # said already: there are no images or no masks
    findings = []
    roles = {case: role for case, role, _ in cases}
    for group, (first, second) in split_groups(cases).items():
        sentence = across_roles(group, (first, roles[first]), (second, roles[second]))
        findings.append(Finding("error", "group-split", group, sentence))
    counts = Counter(roles.values())
    meaning = {
        "train": ("error", "there is nothing to train on"),
        "val": ("warning", "the best epoch cannot be chosen"),
        "test": ("warning", "the network cannot be evaluated"),
    }
    for role, (severity, consequence) in meaning.items():
        if not counts[role]:
            sentence = f"no case has the role {role}, {consequence}: name some in splits.csv"
            findings.append(Finding(severity, f"no-{role}", role, sentence))  # type: ignore[arg-type]
    return findings + _gold_findings(counts)


def duplicates(images: Iterable[tuple[str, str, str]]) -> list[Finding]:
    """Find images of the same content: an error on both sides of training and evaluation, else a warning.

    Args:
        images: (file or case, role, digest of the decoded content).
    """
    holders = defaultdict(list)
    for where, role, digest in images:
        holders[digest].append((where, role))
    findings = []
    for (first, role), *others in holders.values():
        for where, other in others:
            same = f"{where} shows the same image as {first}"
            if other == role or {other, role} == {"train", "gold"}:
                both = f"both {role}" if other == role else f"{other} and {role}"
                sentence = (
                    f"{same} ({both}): it counts twice, remove one of the two unless both outlines are wanted"
                )
                findings.append(Finding("warning", "duplicate", where, sentence))
            else:
                roles = f"in role {other} and in role {role}"
                sentence = f"{same}, {roles}: remove one of the two or give both one group in splits.csv"
                findings.append(Finding("error", "duplicate-across-roles", where, sentence))
    return findings


def _gold_findings(counts: Mapping[str, int]) -> list[Finding]:
    number = counts.get("gold", 0)
    if number >= TINY_GOLD:
        return []
    if number == 0:
        sentence = (
            "no mask is verified, so methods that learn from gold (such as metadcseg) cannot be trained"
        )
    else:
        sentence = (
            f"only {plural(number, 'case')} of role gold, on which all that is learned about bad pixels hangs"
        )
    advice = f"correct a few masks by hand and put them into gold/ ({TINY_GOLD} or more)"
    return [Finding("warning", "gold-tiny" if number else "gold-missing", ROLES[1], f"{sentence}: {advice}")]


def _try(case: RawCase, what: str, findings: list[Finding]) -> Picture | None:
    """Load an image or a mask; where that fails, keep the sentence."""
    try:
        return load_image(case) if what == "image" else load_mask(case)
    except InputError as error:
        findings.append(Finding("error", f"{what}-unreadable", _name(case, what), str(error)))
        return None


def _try_given(case: RawCase, mask: Picture | None, findings: list[Finding]) -> Picture | None:
    """Load the mask that a verified one replaced; where that fails or the sizes differ, say so."""
    where = _name(case, "given")
    try:
        given = load_given(case)
    except InputError as error:
        sentence = f"{error}; or remove the file, {_name(case, 'mask')} has replaced it"
        findings.append(Finding("error", "given-unreadable", where, sentence))
        return None
    if given is None or mask is None:
        return None
    findings += [Finding("note", "mask-converted", where, note) for note in given.notes]
    if given.array.shape == mask.array.shape:
        return given
    sizes = [" x ".join(str(side) for side in one.array.shape) for one in (given, mask)]
    sentence = (
        f"{where} is {sizes[0]} pixels (rows x columns), but the verified mask {_name(case, 'mask')} that replaced it "
        f"is {sizes[1]}: export it at that size, or remove it"
    )
    findings.append(Finding("error", "given-size", where, sentence))
    return None


def _pairs(
    cases: Sequence[RawCase],
    scheme: LabelScheme,
    facts: Mapping[str, MaskFacts],
    given_facts: Mapping[str, MaskFacts],
) -> Iterator[Pair]:
    """Yield both masks of every case that has two; they are read once more, now that it is known what they mean."""
    for case in cases:
        if case.id in given_facts and (given := load_given(case)) is not None:
            names = _name(case, "mask"), _name(case, "given")
            verified = scheme.apply(load_mask(case).array, facts[case.id])
            yield Pair(*names, verified, scheme.apply(given.array, given_facts[case.id]))


def _label_confidence_findings(case: RawCase, image: Picture) -> list[Finding]:
    try:
        read_label_confidence(case, (image.array.shape[0], image.array.shape[1]))
    except InputError as error:
        return [Finding("error", "trust-unreadable", str(case.label_confidence), str(error))]
    return []


def _name(case: RawCase, what: str) -> str:
    held = getattr(case, what)
    return str(held) if isinstance(held, Path) else case.id


def _image_findings(case: RawCase, image: Picture) -> list[Finding]:
    findings = [Finding("note", "image-converted", case.where, note) for note in image.notes]
    if is_constant(image.array):
        findings.append(constant_image(case.where))
    return findings


def is_constant(image: NDArray[Any]) -> bool:
    """Return whether all pixels of an image are the same."""
    return bool((image == image[:1, :1]).all())


def constant_image(where: str) -> Finding:
    """Return the warning for an image of which all pixels are the same."""
    return Finding(
        "warning",
        "image-constant",
        where,
        f"{where}: all pixels are the same, nothing can be seen: remove it",
    )


def _content(image: NDArray[Any]) -> str:
    """Return a digest of what an image shows: gray saved in color is the same as gray."""
    gray = image.shape[2] == 3 and bool((image == image[:, :, :1]).all())
    return array_digest(image[:, :, :1] if gray else image)


def _size_mismatch(case: RawCase, image: Picture, mask: Picture) -> Finding:
    names, sizes = (_name(case, "image"), _name(case, "mask")), (image.array.shape, mask.array.shape)
    sentence = (
        f"{names[0]} is {sizes[0][0]} x {sizes[0][1]} pixels (rows x columns) but its mask {names[1]} is "
        f"{' x '.join(str(side) for side in sizes[1])}{said_of_turn(image, mask)}: export the mask at the size of the "
        "image"
    )
    return Finding("error", "size-mismatch", names[0], sentence)


def _is_empty(facts: MaskFacts, remap: Mapping[int, int]) -> bool:
    labels = {remap.get(level, level) for level in facts.levels}
    return labels <= {0} or (remap.get(IGNORE) == IGNORE and labels <= {0, IGNORE})


def _empty(facts: MaskFacts) -> Finding:
    sentence = f"{facts.where} is empty, no pixel is foreground: right if nothing is there, else draw it"
    return Finding("warning", "mask-empty", facts.where, sentence)
