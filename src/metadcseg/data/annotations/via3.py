"""VGG Image Annotator, version 3: a project. Places are pixels; it states no size of images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from metadcseg.data.annotations.shapes import Drawn, Entry, Export, Patch, Shape, Size, box, ellipse, polygon
from metadcseg.data.annotations.values import class_name, number, stem_candidates
from metadcseg.data.annotations.via import LIKELY, UNNAMED
from metadcseg.data.findings import listed, plural
from metadcseg.errors import InputError, shown
from metadcseg.schemas import fitting, part

_RECTANGLE, _CIRCLE, _ELLIPSE, _POLYGON = 2, 3, 4, 7
_WITHOUT_AREA = (1, 5, 6)  # point, line, polyline
_PARTS = ("file", "view", "metadata", "attribute")
_CHOICES = (2, 3, 4)  # kinds of attributes of which a region names options


class FileSaid(Struct):
    """One of ``file``: an image."""

    fname: Any = None


class ViewSaid(Struct):
    """One of ``view``: what is shown at once."""

    fid_list: Any = None


class RegionSaid(Struct):
    """One of ``metadata``: a region, or without ``xy`` what is said of a whole image."""

    vid: Any = None
    xy: Any = None
    av: Any = None

    @property
    def attributes(self) -> dict[str, Any]:
        """What is said of it."""
        held: dict[str, Any] = part(self.av or {}, dict[str, Any], "'av' of a region")
        return held


class AttributeSaid(Struct):
    """One of ``attribute``; text may have options of any kind, which say nothing."""

    aname: Any = ""
    type: Any = None
    options: Any = None


class ProjectSaid(Struct):
    """The file."""

    file: dict[str, FileSaid]
    view: dict[str, ViewSaid]
    metadata: dict[str, RegionSaid]
    attribute: dict[str, AttributeSaid]


def is_via3(content: object) -> bool:
    """Return whether a JSON file is a project of VIA 3."""
    return isinstance(content, dict) and set(_PARTS) <= set(content)


def read(path: Path, content: dict[str, Any]) -> Export:
    """Return what the file says about each of its images; one without regions has an empty mask.

    The class of a region is the value of its attribute; of several that called ``class``, ``label`` or the like.

    Raises:
        InputError: where images or regions are not understood, or it is open which attribute is the class.
    """
    held: ProjectSaid = fitting(content, ProjectSaid, str(path), "export it again")
    regions: dict[str, list[tuple[str, RegionSaid]]] = {view: [] for view in held.view}
    strays = 0
    for key, region in held.metadata.items():
        if not region.xy:
            continue
        view = str(region.vid)
        if view in regions:
            regions[view].append((key, region))
        else:
            strays += 1
    class_of = _attribute(path, held.attribute, [region for drawn in regions.values() for _, region in drawn])
    entries = []
    for view, drawn in regions.items():
        fids = held.view[view].fid_list
        if not isinstance(fids, list) or len(fids) != 1 or str(fids[0]) not in held.file:
            raise InputError(
                f"{path}: view {shown(view)} is not of one of its files, but {shown(fids)}: export it again"
            )
        entries.append(_entry(path, held.file[str(fids[0])], drawn, class_of))
    notes = (
        (f"{plural(strays, 'region')} of images that the file does not list, passed over",) if strays else ()
    )
    return Export(tuple(entries), (), notes)


def paint(held: list[Any], size: Size) -> Patch:
    """Return the pixels of a region: its kind, then its places.

    Raises:
        InputError: where its kind is not known, or a number is missing.
    """
    kind, places = held[0], [number(each, "a coordinate") for each in held[1:]]
    if kind == _POLYGON and len(places) % 2 == 0:
        return polygon([list(zip(places[::2], places[1::2], strict=True))], size)
    if kind == _RECTANGLE and len(places) == 4:
        return polygon([box(*places)], size)
    if kind == _CIRCLE and len(places) == 3:
        return ellipse((places[0], places[1]), (places[2], places[2]), size)
    if kind == _ELLIPSE and len(places) == 4:
        return ellipse((places[0], places[1]), (places[2], places[3]), size)
    raise InputError(f"is of the kind {shown(kind)} with {len(places)} numbers, which is not read")


def _attribute(
    path: Path, attributes: Mapping[str, AttributeSaid], regions: list[RegionSaid]
) -> tuple[str, AttributeSaid] | None:
    """Return the attribute that is the class, its id and what is said of it; None where regions have none."""
    try:
        used = {key for region in regions for key in region.attributes}
    except InputError as error:
        raise InputError(f"{path}: {error}; export it again") from error
    names = {key: str(attributes[key].aname if key in attributes else "") for key in used}
    likely = [key for key, name in names.items() if name.strip().casefold() in LIKELY]
    if len(used) > 1 and len(likely) != 1:
        told = listed(sorted(names.values()), 8)
        raise InputError(
            f"{path}: its regions have several attributes ({told}), which of them is the class is open: call it "
            "'class' and export again"
        )
    chosen = likely[0] if likely else next(iter(used), None)
    return None if chosen is None else (chosen, attributes.get(chosen, AttributeSaid()))


def _entry(
    path: Path,
    file: FileSaid,
    drawn: list[tuple[str, RegionSaid]],
    class_of: tuple[str, AttributeSaid] | None,
) -> Entry:
    try:
        stems = stem_candidates(file.fname)
    except InputError as error:
        raise InputError(f"{path} {error}: export it again") from error
    shapes, fault, flat = [], "", 0
    for key, region in drawn:
        places = region.xy
        if isinstance(places, list) and places[0] in _WITHOUT_AREA:
            flat += 1
            continue
        try:
            if not isinstance(places, list):
                raise InputError(f"has no shape but {shown(places)}")
            name = UNNAMED if class_of is None else class_name(_value(region, *class_of))
            shapes.append(Shape(name, f"region {key} ('{name}')", places))
        except InputError as error:
            fault = fault or f"holds region {key}, which {error}: correct it"
    notes = (f"{plural(flat, 'region')} without area (lines, points), passed over",) if flat else ()
    mask = Drawn(Path(f"{path} ({stems[-1]})"), (path,), None, tuple(shapes), paint, notes, fault)
    return Entry(path, tuple(stems), mask)


def _value(region: RegionSaid, key: str, attribute: AttributeSaid) -> object:
    """Return what an attribute of a region says: text as it is, of options their names."""
    held = region.attributes.get(key)
    if attribute.type not in _CHOICES:
        return held
    ticked = [each for each in str(held or "").split(",") if each]
    if len(ticked) > 1:
        raise InputError(f"has {len(ticked)} classes at once ({', '.join(ticked)[:80]}), keep one")
    options = part(attribute.options, dict[str, Any], f"its options of {shown(attribute.aname)}", "an object")
    return options.get(ticked[0]) if ticked else None
