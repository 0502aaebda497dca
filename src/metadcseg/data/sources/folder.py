"""A plain folder of the reader's own.

::

    FOLDER/images/      PNG, JPEG, TIFF, gray or color, any mixture of sizes; or volumes: NIfTI, MetaImage, NRRD or HDF5
                        files, or one folder of DICOM slices for each case
    FOLDER/masks/       the masks as given, of the same stems: images/x.jpg belongs to masks/x.png, images/x.nii.gz to
                        masks/x.mha. May be missing where every image is an HDF5 file that holds its label as well.
                        Several files for one mask: `metadcseg.data.sources.parts`
                        Exports of drawing tools: `metadcseg.data.sources.drawn`
    FOLDER/gold/        verified masks, of the same stems (they win over masks/, whose own are kept beside them as what
                        they replaced: a pair), and / or
    FOLDER/gold.txt     the stems, one a line, whose mask in masks/ is verified
    FOLDER/masks/NAME/, FOLDER/masks_NAME/, FOLDER/annotators.csv     optional: who drew what (`annotators` here), or
                        a folder for each class, where that is asked for (`by_class` here)
    FOLDER/splits.csv   optional: id,role,group (either of role and group may be left out)
    FOLDER/label_confidence/, FOLDER/label_confidence.csv     optional: how far masks are to be trusted
    (`label_confidence` here)

Images and masks that lie beside each other, without ``images/``: `metadcseg.data.sources.beside`.

Without roles in ``splits.csv``, validation and test cases are held out by seed from the cases that are not
gold, whole groups at a time; groups with a gold case stay in training. Their masks are those given: an
evaluation on them is only as good as they are. For a better one give them verified masks in ``gold/`` and
name their roles in ``splits.csv``. Only verified cases have a reference (*truth*).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from metadcseg.data.case_names import Meant, case_called, one_form
from metadcseg.data.findings import Finding, plural
from metadcseg.data.sources.annotators import Given, folders_inside, given_masks
from metadcseg.data.sources.beside import beside
from metadcseg.data.sources.by_class import ANNOTATORS, CLASSES, ClassFolders, FilesIn, check_subfolders
from metadcseg.data.sources.case import RawCase, Scan
from metadcseg.data.sources.drawn import Drawings
from metadcseg.data.sources.kinds import seen, way_on
from metadcseg.data.sources.label_confidence import label_confidence_of
from metadcseg.data.sources.pairing import Mask, MasksIn, by_stem, place_of, replaced, unmatched
from metadcseg.data.sources.parts import masks_of
from metadcseg.data.sources.volume_folder import holds_label, holds_volumes, volumes_by_stem
from metadcseg.data.splits.roles import SplitRow, assign_roles, limit_training, read_splits
from metadcseg.errors import InputError
from metadcseg.reading import is_what, read_text


def scan_folder(
    folder: Path,
    *,
    seed: int = 0,
    val: float = 0.1,
    test: float = 0.1,
    limit: int | None = None,
    image_key: str | None = None,
    label_key: str | None = None,
    subfolders: str | None = None,
) -> Scan:
    """Find the cases of a plain folder, of images or of volumes, without decoding any.

    Args:
        folder: laid out as above.
        seed: of the split and of the limit.
        val: share held out for validation where ``splits.csv`` names no roles.
        test: share held out for the test likewise.
        limit: use only so many cases of role ``train``; gold, validation and test stay whole.
        image_key: of the image in HDF5 files; ``image`` by default.
        label_key: of the label in HDF5 files; ``label`` by default.
        subfolders: what the folders in ``masks/`` are, ``"annotators"`` or ``"classes"``
            (`metadcseg.data.sources.by_class`); None: the former, unless what is drawn there speaks against it.

    Returns:
        The cases and everything that is wrong so far.

    Raises:
        InputError: where the folder does not exist, has no ``images/``, or mixes images and volumes.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} {is_what(folder)}: a folder holds images/ and masks/, and gold/ for verified masks"
        )
    held = _in_images(folder, subfolders) or _beside_each_other(folder, subfolders) or _refused(folder)
    images, masks_in, drawings = held.images, held.masks_in, held.drawings
    check_subfolders(subfolders, held.inner, folder / "masks")
    given = held.given
    if held.volumes and held.ending is None and not (folder / "masks").is_dir():
        given = {stem: path for stem, path in images.items() if holds_label(path, label_key or "label")}
    verified, gold, found_gold = gold_of(folder, images, masks_in, volumes=held.volumes)
    masks, found_masks = given_masks(
        folder,
        images,
        given,
        verified,
        held.inner if subfolders != CLASSES else [],
        partial(masks_of, images=images, masks_in=masks_in, volumes=held.volumes),
        drawings.drawn_by if drawings else {},
        certain=subfolders == ANNOTATORS,
    )
    findings = [*held.findings, *(one for one in held.found if Path(one.where) not in masks.folders.values())]
    findings += found_masks + found_gold + _open_gold(folder, gold - verified.keys(), masks)
    labels, twins = {**masks.files, **verified}, replaced(masks.files, verified)
    where = next(iter(masks.folders.values()), folder / "masks")
    findings += (
        drawings.unmatched(labels, where) if drawings else unmatched(images, labels, where, held.ending)
    )
    rows: dict[str, SplitRow] = {}
    if (folder / "splits.csv").exists():
        rows, found = read_splits(folder / "splits.csv", set(images))
        findings += found
    groups = {stem: (rows[stem].group if stem in rows else None) or stem for stem in images if stem in labels}
    roles, found = roles_of(folder, groups, rows, gold, (seed, val, test))
    findings += found
    label_confidence, found = label_confidence_of(folder, images, held.files_in)
    findings += found
    cases = tuple(
        RawCase(
            stem,
            role,
            groups[stem],
            (images[stem],),
            verified.get(stem) or masks.mask(stem),
            image_key=image_key,
            label_key=label_key,
            verified=stem in gold or role == "gold",
            label_confidence=label_confidence.get(stem),
            given=masks.mask(stem) if stem in twins else None,
            given_key=label_key,
            annotator=masks.annotator.get(stem),
        )
        for stem, role in limit_training(roles, limit, seed=seed).items()
    )
    drawn = not any(row.role for row in rows.values())
    source: dict[str, Any] = {
        "source": "folder of volumes" if held.volumes else "folder",
        "folder": folder.resolve().name,
        "roles": "drawn" if drawn else "splits.csv",
        "split_seed": seed if drawn else None,
        **({} if subfolders is None else {"subfolders": subfolders}),
    }
    return Scan(
        cases,
        tuple(findings),
        source if held.volumes else source | {"limit": limit},
        classes=drawings.classes if drawings else None,
        remap=drawings.remap if drawings else None,
        unused_names=drawings.unused_names if drawings else (),
    )


@dataclass(frozen=True)
class _Held:
    """The images of a folder, and the masks that one look finds beside them.

    Args:
        volumes: whether images are volumes.
        images: by stem.
        given: masks by stem, those of folders inside ``masks/`` not among them.
        masks_in: what finds the masks of another folder.
        findings: on the images.
        found: on the masks.
        inner: folders inside ``masks/``, and beside it.
        drawings: exports of drawing tools, where these are looked for.
        ending: what the names of masks end in, where they lie beside the images.
    """

    volumes: bool
    images: Mapping[str, Path]
    given: Mapping[str, Mask]
    masks_in: MasksIn
    findings: Sequence[Finding]
    found: Sequence[Finding]
    inner: Sequence[Path] = ()
    drawings: Drawings | None = None
    ending: str | None = None

    @property
    def files_in(self) -> FilesIn:
        """What finds the image files of a folder."""
        return volumes_by_stem if self.volumes else by_stem


def _in_images(folder: Path, subfolders: str | None) -> _Held | None:
    """Look into ``images/`` and ``masks/``; None where the former is not there."""
    if not (folder / "images").is_dir():
        return None
    volumes = holds_volumes(folder)
    files_in = volumes_by_stem if volumes else by_stem
    images, findings = files_in(folder / "images")
    inner = folders_inside(folder, images)
    masks_in: MasksIn = files_in
    drawings: Drawings | None = None
    if not volumes:
        drawings = Drawings(folder, images, inner if subfolders != CLASSES else ())
        masks_in = drawings.masks_in
        findings = [finding for finding in findings if finding.where not in drawings.read]
    if subfolders == CLASSES:
        masks_in = ClassFolders(folder, inner, images, masks_in, files_in)
    given, found = masks_of(folder / "masks", images, masks_in, volumes=volumes)
    return _Held(volumes, images, given, masks_in, findings, found, inner, drawings)


def _beside_each_other(folder: Path, subfolders: str | None) -> _Held | None:
    """Look for images and masks in one folder; None where there are none."""
    if (together := beside(folder)) is None:
        return None
    images, given, found, ending = together
    volumes = holds_volumes(folder)
    inner = folders_inside(folder, images) if subfolders != CLASSES else []
    return _Held(
        volumes, images, given, volumes_by_stem if volumes else by_stem, [], found, inner, ending=ending
    )


def _refused(folder: Path) -> NoReturn:
    typed = way_on(folder)
    way_out = f"rename its folders, or type {typed}" if typed else "make these folders"
    raise InputError(
        f"{folder} holds no folder images/ but {seen(folder)}: images lie in images/, masks in masks/; {way_out}"
    )


def _open_gold(folder: Path, listed_alone: Collection[str], masks: Given) -> list[Finding]:
    """Return the error of cases that ``gold.txt`` names where several people drew them."""
    open_gold = [stem for stem in sorted(listed_alone) if stem in masks.outlines]
    if not open_gold:
        return []
    sentence = (
        f"{folder / 'gold.txt'} names {open_gold[0]}, of which there are {len(masks.outlines[open_gold[0]].by)} "
        f"outlines ({plural(len(open_gold), 'such case')}): put the verified mask into {folder / 'gold'}/"
    )
    return [Finding("error", "annotators", str(folder / "gold.txt"), sentence)]


def gold_of(
    folder: Path, images: Mapping[str, Path], masks_in: MasksIn, *, volumes: bool
) -> tuple[dict[str, Mask], set[str], list[Finding]]:
    """Return the masks in ``gold/``, the stems of all verified cases, and what is wrong."""
    files, findings = masks_of(folder / "gold", images, masks_in, volumes=volumes)
    listing = folder / "gold.txt"
    names: list[str] = []
    if listing.exists():
        try:
            names = [one_form(line.strip()) for line in read_text(listing).splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            sentence = f"{listing} cannot be read ({error}): save it as text in UTF-8"
            findings.append(Finding("error", "gold-unknown", str(listing), sentence))
    for place, held in ((folder / "gold", files), (listing, names)):
        if place.exists() and not held:
            sentence = f"{place} is empty: put verified masks of some images there, or remove it"
            findings.append(Finding("error", "gold-empty", str(place), sentence))
    gold = set()
    claims = [(str(place_of(mask)), stem, stem if stem in images else None) for stem, mask in files.items()]
    claims += [(str(listing), name, case_called(name, images)) for name in names]
    meant = Meant(images)
    for claim, stem, known in claims:
        if known is None:
            hint = meant.hint(stem, "rename it or add the image")
            sentence = f"{claim}: there is no image for the verified case '{stem}': {hint}"
            findings.append(Finding("error", "gold-unknown", claim, sentence))
        else:
            gold.add(known)
    return {stem: mask for stem, mask in files.items() if stem in images}, gold, findings


def roles_of(
    folder: Path,
    groups: Mapping[str, str],
    rows: Mapping[str, SplitRow],
    gold: Collection[str],
    split: tuple[int, float, float],
) -> tuple[dict[str, str], list[Finding]]:
    """Return the role of every usable case, as named in ``splits.csv`` or drawn."""
    findings = []
    if any(row.role for row in rows.values()):
        roles = {stem: (rows[stem].role if stem in rows else None) or "train" for stem in groups}
        for stem in groups:
            if stem in gold and roles[stem] == "train":
                sentence = f"{folder / 'splits.csv'}: case '{stem}' has a verified mask and the role train: "
                finding = sentence + "give it the role gold (or val, test)"
                findings.append(Finding("error", "splits", str(folder / "splits.csv"), finding))
        return roles, findings
    seed, val, test = split
    beside_gold = {groups[stem] for stem in gold if stem in groups}
    free = {stem: group for stem, group in groups.items() if group not in beside_gold}
    drawn: dict[str, str] = {}
    try:
        drawn = assign_roles(free, seed=seed, val=val, test=test)
    except InputError as error:
        findings.append(Finding("error", "splits", str(folder), f"{folder}: {error}"))
    return {stem: "gold" if stem in gold else drawn.get(stem, "train") for stem in groups}, findings
