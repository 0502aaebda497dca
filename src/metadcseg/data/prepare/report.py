"""What was prepared, and the refusal of what cannot be."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metadcseg.data.findings import Finding, grouped, plural
from metadcseg.data.prepare.by_role import ClassCases
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
        class_cases: foreground class -> role -> in how many of its images or volumes the class appears.
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
    class_cases: ClassCases = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "path": str(self.path),
            "name": self.name,
            "cases": self.cases,
            "volumes": self.volumes,
            "pairs": self.pairs,
            "classes": list(self.classes),
            "class_cases": {name: dict(roles) for name, roles in self.class_cases.items()},
            "channels": self.channels,
            "raw_bytes": self.raw_bytes,
            "edges": self.edges,
            "source": self.source,
            "findings": [finding.to_dict() for finding in self.findings],
        }


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
