"""What a check found: one sentence per matter, how grave it is, and where it is."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Args:
        severity: ``error`` must be mended before training, ``warning`` should be looked at, ``note`` is said
            so that nothing happens silently.
        code: short name of the kind of finding, such as ``mask-missing``; stable, for scripts.
        where: the file or the case that it is about.
        sentence: what is wrong and what to do.
    """

    severity: Severity
    code: str
    where: str
    sentence: str

    def to_dict(self) -> dict[str, str]:
        """Return plain values."""
        return {"severity": self.severity, "code": self.code, "where": self.where, "sentence": self.sentence}


@dataclass(frozen=True)
class CheckReport:
    """Everything that a check found in a folder or a prepared set.

    Args:
        path: what was checked.
        kind: ``folder`` or ``set``.
        cases: how many cases there are, by role.
        findings: what was found, in the order in which it was found.
        pairs: how many of the cases hold the mask that their verified one replaced.
        class_cases: foreground class -> role -> in how many of its cases the class appears.

    Example:
        >>> report = CheckReport(Path("mine"), "folder", {"train": 9, "gold": 1})
        >>> report.ok, report.summary
        (True, 'mine: 10 cases (9 train, 1 gold), 0 errors, 0 warnings, 0 notes')
    """

    path: Path
    kind: Literal["folder", "set"]
    cases: dict[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    pairs: int = 0
    class_cases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that must be mended first."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each severity."""
        counted = Counter(finding.severity for finding in self.findings)
        return {"error": counted["error"], "warning": counted["warning"], "note": counted["note"]}

    @property
    def summary(self) -> str:
        """One line: cases by role, pairs where there are some, findings by severity."""
        roles = ", ".join(f"{number} {role}" for role, number in self.cases.items() if number)
        found = ", ".join(plural(number, severity) for severity, number in self.counts.items())
        total = plural(sum(self.cases.values()), "case")
        pairs = f", {plural(self.pairs, 'pair')}" if self.pairs else ""
        return f"{self.path}: {total}{f' ({roles})' if roles else ''}{pairs}, {found}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "ok": self.ok,
            "cases": self.cases,
            "pairs": self.pairs,
            "class_cases": {name: dict(roles) for name, roles in self.class_cases.items()},
            "counts": self.counts,
            "findings": [finding.to_dict() for finding in self.findings],
        }


_MANY = {
    "mask-missing": "{} images have no mask",
    "mask-extra": "{} masks have no image",
    "mask-empty": "{} masks are empty",
    "mask-unknown": "{} masks are unknown throughout",
    "mask-unreadable": "{} masks cannot be read",
    "mask-not-labels": "{} masks hold no labels",
    "mask-gray-levels": "{} masks have gray edges",
    "mask-converted": "{} masks were converted",
    "mask-joined": "{} folders hold masks of several files, or with longer names than their images",
    "image-absent": "{} files are of images that are not there, too",
    "image-converted": "{} images were converted",
    "image-constant": "{} images show nothing",
    "image-unreadable": "{} images cannot be read",
    "size-mismatch": "{} masks have another size than their image",
    "mask-elsewhere": "{} masks lie elsewhere than their image",
    "label-unexpected": "{} masks hold an unexpected value",
    "label-ambiguous": "{} masks can be read in two ways",
    "outlines-apart": "{} fused labels have lost all foreground",
    "label-meaning": "{} masks contradict another on what a value means",
    "duplicate": "{} images are there twice",
    "duplicate-across-roles": "{} images are in two roles",
    "group-split": "{} groups are split across roles",
    "file-ignored": "{} files are not read",
    "stem-twice": "{} files share their stem with another",
    "case-twice": "{} cases are named twice",
    "splits": "{} lines of splits.csv are wrong",
    "gold-unknown": "{} verified cases have no image",
    "trust-renamed": "{} files of label confidence have their name of before",
    "trust-unknown": "{} entries of label confidence belong to no case",
    "trust-unreadable": "{} files of label confidence cannot be read",
    "checksum": "{} arrays are damaged",
    "given-unreadable": "{} replaced masks cannot be read",
    "given-size": "{} replaced masks have another size than the verified ones",
    "verified-empty": "{} verified masks are empty, unlike those they replaced",
    "slices": "{} volumes cannot be sliced",
    "slices-thin": "{} volumes are cut into lines of pixels",
}
"""Code -> what several findings of it have in common; those that cannot come more than once are left out."""


@dataclass(frozen=True)
class FindingGroup:
    """Findings of one kind.

    Args:
        severity: of all of them.
        findings: at least one, in the order in which they were found.
    """

    severity: Severity
    findings: tuple[Finding, ...]

    @property
    def where(self) -> str:
        """The file or case of the first one, and how many more there are."""
        more = len(self.findings) - 1
        return self.findings[0].where + (f" and {more} more" if more else "")

    @property
    def sentence(self) -> str:
        """What they say: of several their number and the first as an example."""
        first, number = self.findings[0], len(self.findings)
        if number == 1:
            return first.sentence
        return (
            f"{_MANY.get(first.code, f'{{}} findings of {first.code}').format(number)}, e.g. {first.sentence}"
        )


def grouped(findings: Iterable[Finding]) -> list[FindingGroup]:
    """Return findings by severity and code: the gravest first, of equal ones those found first.

    Example:
        >>> found = [Finding("error", "mask-missing", f"{n}.png", f"{n}.png has no mask: add it") for n in (7, 8)]
        >>> [group.sentence for group in grouped([Finding("note", "estimate", "out", "12 MiB"), *found])]
        ['2 images have no mask, e.g. 7.png has no mask: add it', '12 MiB']
    """
    held: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in findings:
        held.setdefault((finding.severity, finding.code), []).append(finding)
    order: tuple[Severity, ...] = ("error", "warning", "note")
    groups = [FindingGroup(severity, tuple(found)) for (severity, _), found in held.items()]
    return sorted(groups, key=lambda group: order.index(group.severity))


def unverified_tests(cases: Iterable[tuple[str, bool]], way: str) -> list[Finding]:
    """Warn where masks of test cases are as given, so that scores on them are only as good as they are.

    Args:
        cases: role and whether the mask is verified, one pair for every case.
        way: what to do.

    Example:
        >>> found = unverified_tests([("test", False), ("test", True), ("train", False)], "verify them")
        >>> found[0].sentence
        '1 of 2 test masks is not verified, so scores on it are only as good as it is: verify them'
    """
    verified = [known for role, known in cases if role == "test"]
    number = verified.count(False)
    if not number:
        return []
    verb, them, they = ("is", "it", "it is") if number == 1 else ("are", "them", "they are")
    many = f"{number} of {plural(len(verified), 'test mask')}"
    sentence = f"{many} {verb} not verified, so scores on {them} are only as good as {they}: {way}"
    return [Finding("warning", "test-unverified", "test", sentence)]


def without_repeats(scanned: tuple[Finding, ...], inspected: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return what was found while listing files and while looking into them, each matter once.

    A group split across roles is blamed on the line of ``splits.csv`` first and seen again among the cases.
    """
    told = any(finding.code == "group-split" for finding in scanned)
    return scanned + tuple(entry for entry in inspected if not (told and entry.code == "group-split"))


def listed(things: Iterable[object], most: int) -> str:
    """Return the first of some things for a sentence, with dots where there are more.

    Example:
        >>> listed([1, 2, 900], most=2), listed(("a", "b"), most=2)
        ('1, 2 ...', 'a, b')
    """
    held = [str(thing) for thing in things]
    return ", ".join(held[:most]) + (" ..." if len(held) > most else "")


def plural(number: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> plural(1, "case"), plural(2, "case")
        ('1 case', '2 cases')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
