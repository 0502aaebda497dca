"""Which files a prepared set was made from, and what the values in its masks mean: the way back to a corrected file.

It lies beside the set, not in it: no checksum names it, sets of equal content stay equal, and it may be removed before
a set is given away. A set that was copied or made from another one has none, or one that is still right.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from metadcseg.constants import IGNORE
from metadcseg.errors import InputError, shown
from metadcseg.files import write_bytes
from metadcseg.reading import read_regular
from metadcseg.schemas import read_record

ORIGIN = "origin.json"
"""The file beside the tables of a set."""

FORMAT = "metadcseg-origin/1"
_AGAIN = "prepare the set again, or remove this file"


class OriginRow(Struct):
    """A case of ``origin.json``."""

    images: list[str]
    values: dict[Annotated[int, Meta(ge=-(2**31), lt=2**32)], Annotated[int, Meta(ge=0, le=IGNORE)]]
    mask: str | None = None
    mask_key: str | None = None
    image_key: str | None = None


class OriginFile(Struct):
    """``origin.json``."""

    format: Literal["metadcseg-origin/1"]
    folder: str
    cases: dict[str, OriginRow]
    unknown: list[str] = []


@dataclass(frozen=True)
class CaseOrigin:
    """The files of one case.

    Args:
        images: of its image, a file for each channel.
        mask: the mask as given: the one that a verified one replaced, or else its label; None where no single file of
            pixels holds it (polygons, runs, a file for each class, outlines of several annotators).
        values: value in the file of that mask -> class number (255: ignored), of the values that it holds.
        mask_key: the data set within an HDF5 file.
        image_key: likewise.
    """

    images: tuple[Path, ...]
    mask: Path | None
    values: Mapping[int, int]
    mask_key: str | None = None
    image_key: str | None = None


@dataclass(frozen=True)
class Origin:
    """Where the files of a set lie.

    Args:
        folder: that all of them lie in.
        cases: id of the image, or of the volume -> its files.
        unknown: ids of those that were left out, as their masks are unknown throughout.
    """

    folder: Path
    cases: Mapping[str, CaseOrigin]
    unknown: Sequence[str] = ()

    def moved(self, folder: Path) -> "Origin":
        """Return the same files in another folder."""

        def there(path: Path) -> Path:
            return folder / path.relative_to(self.folder)

        cases = {
            id: replace(
                case,
                images=tuple(there(path) for path in case.images),
                mask=None if case.mask is None else there(case.mask),
            )
            for id, case in self.cases.items()
        }
        return Origin(folder, cases, self.unknown)

    def value_of(self, label: int, own: Mapping[int, int] | None = None) -> int | None:
        """Return the value that stands for a class in the masks, None where none does.

        Args:
            label: class number, or 255 for ignored.
            own: value -> class number of the mask in question, which is asked first; of others no value is taken that
                stands for another class there.

        Returns:
            The largest such value (of the background 0, or else the least), so that black and white stand for what soft
            edges were cut to. A class that no mask shows has its own number, where every other class has. Ignored
            pixels have else a value that no mask holds (:attr:`spare`), where no file is taken as an example.

        Example:
            >>> files = {"a": CaseOrigin((), None, {0: 0, 255: 1}), "b": CaseOrigin((), None, {0: 0})}
            >>> Origin(Path("x"), files).value_of(1, {0: 0}), Origin(Path("x"), files).value_of(2)
            (255, None)
            >>> Origin(Path("x"), files).value_of(IGNORE)
            128
        """
        there = own or {}
        for values in (there, *(case.values for case in self.cases.values())):
            free = [v for v, number in values.items() if number == label and there.get(v, label) == label]
            if free:
                return max(free) if label else 0 if 0 in free else min(free)
        if self.spare is not None:
            return self.spare if label == IGNORE and own is None else None
        return label if self.cases and there.get(label, label) == label else None

    @property
    def numbers(self) -> dict[int, int]:
        """Value -> class number, of all masks together."""
        return {value: label for case in self.cases.values() for value, label in case.values.items()}

    @property
    def spare(self) -> int | None:
        """A value for ignored pixels that no mask holds; None where one stands for them, or all are class numbers."""
        held = self.numbers
        if IGNORE in held.values() or all(value == number for value, number in held.items()):
            return None
        return next((value for value in (128, *range(254, 0, -1)) if value not in held), None)


def read_origin(folder: Path) -> Origin | None:
    """Return which files a prepared set was made from; None where nothing says so.

    Args:
        folder: of the set.

    Raises:
        InputError: where the file is there and cannot be read.
    """
    path = folder / ORIGIN
    if not path.is_file():
        return None
    said: OriginFile = read_record(path, OriginFile, _AGAIN)
    root = Path(said.folder)
    cases = {id: _files(path, root, row) for id, row in said.cases.items()}
    return Origin(root, cases, said.unknown)


def _files(path: Path, root: Path, row: OriginRow) -> CaseOrigin:
    """Return the files of one case, which must lie in the folder of all."""
    for name in (*row.images, row.mask or ""):
        if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            raise InputError(f"{path}: {shown(name)} lies outside of the folder; {_AGAIN}")
    mask = None if row.mask is None else root / row.mask
    return CaseOrigin(
        tuple(root / name for name in row.images), mask, row.values, row.mask_key, row.image_key
    )


def carry_origin(source: Path, out: Path, ids: Iterable[str]) -> None:
    """Give a set of the same images and masks the origin of the set that it was made from, where that has one.

    Args:
        source: the set that it was made from.
        out: the folder of the other set.
        ids: of its images or volumes.
    """
    path, kept = source / ORIGIN, set(ids)
    if path.is_file() and read_origin(source) is not None:
        held = json.loads(read_regular(path))
        held["cases"] = {id: row for id, row in held["cases"].items() if id in kept}
        write_bytes(out / ORIGIN, json.dumps(held, indent=1).encode())
