"""In how many cases of each role each class appears."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from metadcseg.data.store.layout import ROLES

ClassCases = Mapping[str, Mapping[str, int]]
"""Name of a foreground class -> role -> in how many of its cases the class appears."""

_MOST_ROWS = 20


HALF = 0.5
"""Foreground above this share of the pixels is looked at twice."""

BORDER = 0.9
"""Foreground on this share of the rim of the image, too, is what exchanged black and white look like."""


@dataclass(frozen=True)
class MaskCounts:
    """What counting says about one mask.

    Args:
        where: the file or case.
        role: of its case.
        pixels: how many are of each class, the background first; ignored ones are left out.
        border: likewise, on the rim of the image or of the slices.
        case: id of its case, where several masks are of one.

    Example:
        >>> mask = MaskCounts("a.png", "train", pixels=(30, 70), border=(5, 15))
        >>> mask.share, mask.border_share
        (0.7, 0.75)
    """

    where: str
    role: str
    pixels: tuple[int, ...]
    border: tuple[int, ...]
    case: str = ""

    @property
    def share(self) -> float:
        """Foreground, as a share of the known pixels, from 0 to 1."""
        return sum(self.pixels[1:]) / max(1, sum(self.pixels))

    @property
    def border_share(self) -> float:
        """Foreground, as a share of the known pixels on the rim, from 0 to 1."""
        return sum(self.border[1:]) / max(1, sum(self.border))

    @property
    def inside_out(self) -> bool:
        """Whether foreground is most of the image, up to all of it, and all around it."""
        return self.share > HALF and self.border_share >= BORDER


def classes_by_role(masks: Iterable[MaskCounts]) -> dict[str, tuple[int, ...]]:
    """Return role -> in how many cases each class appears, the background first.

    Example:
        >>> classes_by_role([MaskCounts("a", "train", (9, 1, 0), (4, 0, 0)), MaskCounts("b", "train", (9, 1), (4, 0))])
        {'train': (2, 2, 0)}
    """
    held: dict[tuple[str, str], set[int]] = {}
    classes = 0
    for mask in masks:
        classes = max(classes, len(mask.pixels))
        labels = {label for label, pixels in enumerate(mask.pixels) if pixels > 0}
        held.setdefault((mask.case or mask.where, mask.role), set()).update(labels)
    counts: dict[str, list[int]] = {}
    for (_, role), labels in held.items():
        row = counts.setdefault(role, [0] * classes)
        for label in labels:
            row[label] += 1
    return {role: tuple(row) for role, row in counts.items()}


def class_cases(masks: Iterable[MaskCounts], names: Sequence[str]) -> ClassCases:
    """Return the same by name, of foreground classes and of roles that any mask has.

    Args:
        masks: the best of every case.
        names: of all classes, the background first.

    Example:
        >>> masks = [MaskCounts("a", "train", (9, 1, 0), (4, 0, 0)), MaskCounts("b", "gold", (9, 1, 2), (4, 0, 0))]
        >>> class_cases(masks, ("background", "liver", "cyst"))
        {'liver': {'train': 1, 'gold': 1}, 'cyst': {'train': 0, 'gold': 1}}
    """
    held = classes_by_role(masks)
    roles = [role for role in ROLES if role in held]
    return {
        name: {role: held[role][label] if label < len(held[role]) else 0 for role in roles}
        for label, name in enumerate(names)
        if label
    }


def class_table(classes: ClassCases, cases: Mapping[str, int]) -> list[str]:
    """Return the lines of a table, roles across and classes down; none where all cases show the only class.

    Args:
        classes: as `class_cases` returns it.
        cases: role -> number of cases.

    Example:
        >>> counts = {"liver": {"train": 8, "gold": 3}, "cyst": {"train": 2, "gold": 0}}
        >>> print(*class_table(counts, {"train": 8, "gold": 3}), sep=chr(10))
        cases with  train  gold
        liver           8     3
        cyst            2     0
        in all          8     3
    """
    roles = [role for role in ROLES if any(role in row for row in classes.values())]
    plain = len(classes) < 2 and all(row[role] == cases.get(role) for row in classes.values() for role in row)
    if not roles or plain:
        return []
    rows = [("cases with", roles)]
    rows += [(name, [str(row.get(role, 0)) for role in roles]) for name, row in classes.items()][:_MOST_ROWS]
    rows.append(("in all", [str(cases.get(role, 0)) for role in roles]))
    first = max(len(name) for name, _ in rows)
    widths = [max(len(row[place]) for _, row in rows) + 1 for place in range(len(roles))]
    lines = [
        f"{name:<{first}} " + " ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        for name, row in rows
    ]
    if len(classes) > _MOST_ROWS:
        lines.insert(-1, f"({len(classes) - _MOST_ROWS} more classes: --json)")
    return lines
