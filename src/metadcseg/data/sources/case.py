"""A case before it is prepared: where its image and mask are, and what they are good for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from metadcseg.data.findings import Finding


@dataclass(frozen=True)
class RawCase:
    """One image with its mask, as files or as arrays in memory.

    Args:
        id: name of the case, unique in its set.
        role: ``train`` (imperfect mask), ``gold`` (verified), ``val`` or ``test``.
        group: what must stay together, such as a patient; the id where nothing is known.
        image: a file, or (H, W, C) uint8, uint16 or float32 with C = 1 or 3.
        mask: a file, or (H, W) labels 0 .. L-1 and 255 (ignored).
        verified: whether the mask is beyond doubt: it is then also the reference (*truth*) of the case.
        spacing: size of a pixel in mm (row, column) where it is known.
    """

    id: str
    role: str
    group: str
    image: Path | NDArray[Any]
    mask: Path | NDArray[Any]
    verified: bool = False
    spacing: tuple[float, float] | None = None

    @property
    def where(self) -> str:
        """What a sentence about this case calls it: its image file, or its id."""
        return str(self.image) if isinstance(self.image, Path) else self.id


@dataclass(frozen=True)
class Scan:
    """What a source found on disk, before any image is decoded.

    Args:
        cases: the cases in the order of their ids.
        findings: what is wrong already: missing masks, stems that collide, contradictory roles.
        source: where the data is from, kept in the set: name, folder, licence, citation.
        classes: names of the classes, background first, where the source knows them.
    """

    cases: tuple[RawCase, ...]
    findings: tuple[Finding, ...] = ()
    source: dict[str, Any] | None = None
    classes: tuple[str, ...] | None = None
