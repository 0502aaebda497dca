"""What a check found: one sentence per matter, how grave it is, and where it is."""

from collections import Counter
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

    Example:
        >>> report = CheckReport(Path("mine"), "folder", {"train": 9, "gold": 1})
        >>> report.ok, report.summary
        (True, 'mine: 10 cases (9 train, 1 gold), 0 errors, 0 warnings, 0 notes')
    """

    path: Path
    kind: Literal["folder", "set"]
    cases: dict[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

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
        """One line: cases by role, findings by severity."""
        roles = ", ".join(f"{number} {role}" for role, number in self.cases.items() if number)
        found = ", ".join(plural(number, severity) for severity, number in self.counts.items())
        total = plural(sum(self.cases.values()), "case")
        return f"{self.path}: {total}{f' ({roles})' if roles else ''}, {found}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "ok": self.ok,
            "cases": self.cases,
            "counts": self.counts,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def without_repeats(scanned: tuple[Finding, ...], inspected: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return what was found while listing files and while looking into them, each matter once.

    A group split across roles is blamed on the line of ``splits.csv`` first and seen again among the cases.
    """
    told = any(finding.code == "group-split" for finding in scanned)
    return scanned + tuple(entry for entry in inspected if not (told and entry.code == "group-split"))


def plural(number: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> plural(1, "case"), plural(2, "case")
        ('1 case', '2 cases')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
