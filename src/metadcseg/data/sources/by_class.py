"""A folder for each class: ``masks/CLASS/CASE.png``, or ``masks_CLASS/CASE.png``, with files called like the images.

By its looks that is a folder for each annotator (`metadcseg.data.sources.annotators`), so it must be asked for.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from metadcseg.data.findings import Finding, listed, plural
from metadcseg.data.sources.annotators import folders_of_images, name_of
from metadcseg.data.sources.pairing import Mask, MasksIn, place_of
from metadcseg.data.sources.parts import Parts, joined
from metadcseg.errors import InputError, unknown_name

ANNOTATORS, CLASSES = "annotators", "classes"
SUBFOLDERS = (ANNOTATORS, CLASSES)
"""What the folders in ``masks/`` can be."""

FilesIn = Callable[[Path], tuple[dict[str, Path], list[Finding]]]

_LISTED = 8


def check_subfolders(what: str | None, folders: Collection[Path], masks: Path) -> None:
    """Refuse a word that nobody knows, and one about folders that are not there.

    Args:
        what: one of ``SUBFOLDERS``; None where nobody has said it.
        folders: that may be meant.
        masks: the folder that they lie in.

    Raises:
        InputError: naming what is allowed.
    """
    if what is None:
        return
    if what not in SUBFOLDERS:
        raise unknown_name("--subfolders", what, SUBFOLDERS)
    if not folders:
        raise InputError(
            f"--subfolders {what}: no folder in {masks} holds masks called like images, leave it out"
        )


class ClassFolders:
    """Finds masks of which each class lies in a folder of its own; a class without a file of an image is background.

    Args:
        folder: of the data set.
        inner: the folders of classes in ``masks/`` and beside it; those in ``gold/`` are looked for.
        images: the stems of all images.
        masks_in: finds the masks that lie directly in a folder, which are refused.
        files_in: returns stem -> file of a folder, and what is wrong there.
    """

    def __init__(
        self,
        folder: Path,
        inner: Sequence[Path],
        images: Collection[str],
        masks_in: MasksIn,
        files_in: FilesIn,
    ) -> None:
        self._masks, self._inner, self._images = folder / "masks", inner, images
        self._masks_in, self._files_in = masks_in, files_in

    def __call__(self, place: Path) -> tuple[dict[str, Mask], list[Finding]]:
        """Return the masks of ``masks/`` or ``gold/`` by stem, ascending, and what was found there."""
        folders = self._inner if place == self._masks else folders_of_images(place, self._images)
        direct, findings = self._masks_in(place)
        direct = {stem: mask for stem, mask in direct.items() if place_of(mask) not in folders}
        findings = [one for one in findings if Path(one.where) not in folders]
        held: dict[str, list[tuple[Path, str]]] = {}
        for folder in sorted(folders, key=name_of):
            files, found = self._files_in(folder)
            masks, more = joined(folder, files, self._images)
            findings += [*found, *more]
            if not masks:
                what = "is a folder of a class and holds no mask file called like an image: put them there or remove it"
                findings.append(Finding("error", "no-masks", str(folder), f"{folder} {what}"))
            for stem, mask in masks.items():
                parts = mask.files if isinstance(mask, Parts) else (place_of(mask),)
                held.setdefault(stem, []).extend((part, name_of(folder)) for part in parts)
        if held:
            findings += [self._note(place, sorted(map(name_of, folders))), *_refused(place, direct)]
        parted: dict[str, Mask] = {
            stem: Parts(parts[0][0], tuple(part for part, _ in parts), tuple(name for _, name in parts))
            for stem, parts in held.items()
        }
        return dict(sorted({**direct, **parted}.items())), findings

    def _note(self, place: Path, names: Sequence[str]) -> Finding:
        sentence = f"{place}: {plural(len(names), 'folder')} are classes ({listed(names, _LISTED)}), numbered by name"
        return Finding("note", "mask-joined", str(place), sentence)


def _refused(place: Path, direct: Collection[str]) -> list[Finding]:
    """Return an error where masks lie beside the folders of classes."""
    if not direct:
        return []
    sentence = (
        f"{place} holds {plural(len(direct), 'mask')} (such as {next(iter(direct))}) beside folders of classes: move "
        f"each into the folder of its class, {place / 'CLASS'}, or remove it"
    )
    return [Finding("error", "annotators", str(place), sentence)]
