"""A case before it is prepared: where its image and mask are, and what they are good for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from metadcseg.data.findings import Finding
from metadcseg.data.slicing.cut import SliceOptions


@dataclass(frozen=True)
class RawCase:
    """One image with its mask, as files or as arrays in memory.

    Args:
        id: name of the case, unique in its set.
        role: ``train`` (imperfect mask), ``gold`` (verified), ``val`` or ``test``.
        group: what must stay together, such as a patient; the id where nothing is known.
        image: a file, or (H, W, C) uint8, uint16 or float32 with C = 1 or 3.
        mask: a file, or (H, W) labels 0 .. L-1 and 255 (ignored).
        verified: whether the mask is beyond doubt: it is then also the reference (*truth*) of
            the case.
        spacing: size of a pixel in mm (row, column) where it is known.
        label_confidence: how far the mask is to be trusted: a number from 0 to 1, or an image of such numbers (of
            integers: 0 to 255); None where nothing is known.
        given: the mask that the verified one replaced, like ``mask``; None where there is none.
    """

    id: str
    role: str
    group: str
    image: Path | NDArray[Any]
    mask: Path | NDArray[Any]
    verified: bool = False
    spacing: tuple[float, float] | None = None
    label_confidence: Path | float | None = None
    given: Path | NDArray[Any] | None = None

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


@dataclass(frozen=True)
class RawVolume:
    """One volume with its label, as files.

    Args:
        id: name of the volume, unique in its set.
        role: ``train`` (imperfect label), ``gold`` (verified), ``val`` or ``test``.
        group: what must stay together, such as a patient.
        images: one file for each channel, all on one grid; a single file may hold all channels.
        label: the label as given; None where there is none, which `prepare` refuses.
        image_key: the data set within an HDF5 file.
        label_key: likewise; ``label`` may be the image file itself.
        verified: whether the label is beyond doubt: it is then also the reference.
        truth: a reference beside the label, on its grid.
        truth_key: the data set within an HDF5 file.
        stacked: ``images`` are HDF5 files of one slice each, in their order along z, which hold labels and truth as
            well (``label`` and ``truth`` name the first of them).
        label_confidence: how far the label is to be trusted: one number from 0 to 1, or a volume of such numbers
            (of integers: 0 to 255); None where nothing is known.
        given: the label that the verified one replaced, on the grid of the image; None where there is none.
        given_key: the data set within an HDF5 file.
    """

    id: str
    role: str
    group: str
    images: tuple[Path, ...]
    label: Path | None
    image_key: str | None = None
    label_key: str | None = None
    verified: bool = False
    truth: Path | None = None
    truth_key: str | None = None
    stacked: bool = False
    label_confidence: Path | float | None = None
    given: Path | None = None
    given_key: str | None = None

    @property
    def where(self) -> str:
        """What a sentence about this volume calls it: its first image file."""
        return str(self.images[0])


@dataclass(frozen=True)
class VolumeScan:
    """What a source of volumes found on disk, before any voxel is decoded.

    Args:
        volumes: in the order of their ids.
        findings: what is wrong already.
        source: where the data is from, kept in the set.
        classes: names of the classes, background first, where the source knows them.
        regions: named unions of labels that are scored beside the classes.
        slices: how the source wants its volumes cut.
        remap: value in a label file -> class number, where the source knows that.
        values: the values that label files may hold, where the source declares them.
        declared_by: the file or data set that does.
    """

    volumes: tuple[RawVolume, ...]
    findings: tuple[Finding, ...] = ()
    source: dict[str, Any] | None = None
    classes: tuple[str, ...] | None = None
    regions: dict[str, list[int]] | None = None
    slices: SliceOptions = field(default_factory=SliceOptions)
    remap: Mapping[int, int] | None = None
    values: frozenset[int] | None = None
    declared_by: str = ""
