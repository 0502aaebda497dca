"""A case before it is prepared: where its image and masks are, and what they are good for."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from metadcseg.data.findings import Finding
from metadcseg.data.formats.geometry import Grid, Volume
from metadcseg.data.formats.images import SUFFIXES
from metadcseg.data.slicing.cut import SliceOptions


class ComposedMask(Protocol):
    """A mask that no single file of pixels holds: polygons, runs, contours, a file for each organ, several outlines.

    It can be pickled: any process may read it. What its values mean, the source says (``classes`` of `Scan`), and the
    names that it knows stand in the volume that it reads.
    """

    @property
    def path(self) -> Path:
        """The file or folder that sentences call it by."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read for it."""
        ...

    def read(self, image: Grid) -> Volume:
        """Return the mask as stored, (X, Y, Z) integers, of an image (H, W, 1).

        Args:
            image: the grid of the image, for what is drawn in its coordinates. A mask that knows a size or grid of
                its own keeps that one: whether the two agree is decided elsewhere (`metadcseg.data.prepare.reading`).

        Raises:
            InputError: naming the file that cannot be read, what is wrong, and what to do.
        """
        ...


@dataclass(frozen=True)
class Outlines:
    """What several annotators drew on one image: one label is to be made of it (`metadcseg.data.prepare.fusing`).

    Args:
        path: the folder that sentences call them by.
        by: annotator -> outline, two or more, in the order of the names.
        certain: whether somebody said that these are annotators; else what they drew may tell otherwise.
    """

    path: Path
    by: Mapping[str, Path | ComposedMask]
    certain: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read for them."""
        held = ((each,) if isinstance(each, Path) else each.files for each in self.by.values())
        return tuple(path for files in held for path in files)


@dataclass(frozen=True, slots=True)
class RawCase:
    """One image or volume with its masks, as files or as arrays in memory; an image is a volume of one slice.

    Args:
        id: name of the case, unique in its set.
        role: ``train`` (imperfect mask), ``gold`` (verified), ``val`` or ``test``.
        group: what must stay together, such as a patient; the id where nothing is known.
        images: one file for each channel, all on one grid, where a single file may hold all channels; or the array of
            an image, (H, W, C) uint8, uint16 or float32 with C = 1 or 3.
        label: the mask as given, a file, a mask that is composed, (H, W) labels 0 .. L-1 and 255 (ignored), or the
            outlines of several annotators; None where there is none, which `prepare` refuses.
        image_key: the data set within an HDF5 file.
        label_key: likewise; ``label`` may be the image file itself.
        verified: whether the label is beyond doubt: it is then also the reference (*truth*) of the case.
        truth: a reference beside the label, on its grid.
        truth_key: the data set within an HDF5 file.
        stacked: ``images`` are HDF5 files of one slice each, in their order along z, which hold labels and truth as
            well (``label`` and ``truth`` name the first of them).
        label_confidence: how far the label is to be trusted: one number from 0 to 1, or an image or volume of such
            numbers (of integers: 0 to 255); None where nothing is known.
        given: the mask that the verified one replaced, like ``label``; None where there is none.
        given_key: the data set within an HDF5 file.
        spacing: size of a pixel of an image in mm (row, column) where it is known; volumes have their own.
        annotator: who drew the mask as given (``given``, or else ``label``), where it is one person and known.
    """

    id: str
    role: str
    group: str
    images: tuple[Path, ...] | NDArray[Any]
    label: Path | ComposedMask | Outlines | NDArray[Any] | None
    _: KW_ONLY
    image_key: str | None = None
    label_key: str | None = None
    verified: bool = False
    truth: Path | ComposedMask | None = None
    truth_key: str | None = None
    stacked: bool = False
    label_confidence: Path | float | None = None
    given: Path | ComposedMask | Outlines | NDArray[Any] | None = None
    given_key: str | None = None
    spacing: tuple[float, float] | None = None
    annotator: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the image; none where it is in memory."""
        return self.images if isinstance(self.images, tuple) else ()

    @property
    def flat(self) -> bool:
        """Whether it is one 2D image, whose pixels a set keeps as they are; volumes become normalized slices."""
        return not self.files or (not self.stacked and self.files[0].suffix.lower() in SUFFIXES)

    @property
    def where(self) -> str:
        """What a sentence about this case calls it: its first image file, or its id."""
        return str(self.files[0]) if self.files else self.id

    @property
    def masks(self) -> tuple[str, ...]:
        """Its masks by name: ``label``, ``truth``, ``given``; of several outlines each one, as ``label/ANNOTATOR``."""
        names = ["label", *(what for what in ("truth", "given") if getattr(self, what) is not None)]
        return tuple(each for what in names for each in _each(what, getattr(self, what)))

    @property
    def outlines(self) -> Outlines | None:
        """What several annotators drew: its label, or what the verified one replaced; None where it is one mask."""
        for held in (self.label, self.given):
            if isinstance(held, Outlines):
                return held
        return None

    def mask(self, what: str) -> Path | ComposedMask | NDArray[Any] | None:
        """Return one of its masks by its name in `masks`."""
        kind, _, annotator = what.partition("/")
        held = getattr(self, kind)
        found: Path | ComposedMask | NDArray[Any] | None = held.by[annotator] if annotator else held
        return found

    def called(self, what: str) -> str:
        """Return what a sentence calls one of its masks (as in `masks`): the file, or the id."""
        held = self.mask(what) if "/" in what else getattr(self, what)
        return str(held if isinstance(held, Path) else getattr(held, "path", self.where))


def kind_of(what: str) -> str:
    """Return ``label``, ``truth`` or ``given`` of the name of a mask in :attr:`RawCase.masks`.

    Example:
        >>> kind_of("truth"), kind_of("given/anna")
        ('truth', 'given')
    """
    return what.partition("/")[0]


def _each(what: str, held: object) -> list[str]:
    return [f"{what}/{name}" for name in held.by] if isinstance(held, Outlines) else [what]


@dataclass(frozen=True)
class Scan:
    """What a source found on disk, before a pixel is decoded.

    Args:
        cases: in the order of their ids.
        findings: what is wrong already: missing masks, stems that collide, contradictory roles.
        source: where the data is from, kept in the set: name, folder, licence, citation.
        classes: names of the classes, background first, where the source knows them.
        regions: named unions of labels that are scored beside the classes.
        slices: how the source wants its volumes cut; without meaning for images.
        remap: value in a mask file -> class number, where the source knows that.
        values: the values that mask files may hold, where the source declares them.
        declared_by: the file or data set that does.
        unused_names: names of classes in exports of drawing tools that no shape has, and so no number.
    """

    cases: tuple[RawCase, ...]
    findings: tuple[Finding, ...] = ()
    source: dict[str, Any] | None = None
    classes: tuple[str, ...] | None = None
    regions: dict[str, list[int]] | None = None
    slices: SliceOptions = field(default_factory=SliceOptions)
    remap: Mapping[int, int] | None = None
    values: frozenset[int] | None = None
    declared_by: str = ""
    unused_names: tuple[str, ...] = ()

    @property
    def of_volumes(self) -> bool:
        """Whether its cases are volumes, which become slices."""
        return any(not case.flat for case in self.cases)
