"""``dataset.json``, as the Medical Segmentation Decathlon and nnU-Net have it, read as a hostile file."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from metadcseg.data.findings import Finding, listed, plural
from metadcseg.data.sources.case import RawCase
from metadcseg.errors import InputError, shown
from metadcseg.reading import is_what
from metadcseg.schemas import read_record

NAME = "dataset.json"

_MOST_BYTES = 64 * 2**20
_NAMED = 3


def find_dataset_json(source: Path) -> Path:
    """Return the file itself, that of a folder, or that of the only folder in it that has one.

    Raises:
        InputError: where there is none, or several folders have one.
    """
    if source.is_file():
        return source
    if (source / NAME).is_file():
        return source / NAME
    inner = sorted(source.glob(f"*/{NAME}")) if source.is_dir() else []
    if len(inner) == 1:
        return inner[0]
    if inner:
        folders = ", ".join(path.parent.name for path in inner[:8])
        raise InputError(f"{source} holds several data sets ({folders}): name one of them as --source")
    what = f"holds no {NAME}" if source.is_dir() else is_what(source)
    others = [path.name for path in sorted(source.glob("*.json"))][:_NAMED] if source.is_dir() else []
    if others:
        what += f", but {', '.join(others)}"
    raise InputError(f"{source} {what}: --source is the folder of one task, or its {NAME}")


def read_dataset_json(path: Path) -> dict[str, Any]:
    """Return what the file says.

    Raises:
        InputError: where it is too large or not a JSON object.
    """
    said: dict[str, Any] = read_record(path, dict[str, Any], "download it again", _MOST_BYTES)
    return said


def file_inside(path: Path, name: object) -> Path:
    """Return the file that ``dataset.json`` names, which must lie in its folder.

    Args:
        path: of ``dataset.json``.
        name: what it says, such as ``./imagesTr/la_003.nii.gz``.

    Raises:
        InputError: where it is no text, or leads out of the folder.
    """
    folder = path.parent
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"{path}: the name of a file must be text, got {shown(name)}: correct it")
    file = folder / name
    try:
        file.exists()  # some names no file can have
        inside = file.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: no file can be called {shown(name)}: correct it") from error
    if not inside:
        raise InputError(f"{path}: '{name}' leads out of the folder of the data set: correct it")
    return file


def table_of(path: Path, said: dict[str, Any], key: str) -> dict[str, Any]:
    """Return one of its tables, such as ``labels``.

    Raises:
        InputError: where it is missing or no table.
    """
    table = said.get(key)
    if not isinstance(table, dict) or not table:
        raise InputError(f"{path} must hold a table '{key}', got {shown(table)}: correct it")
    return table


def whole_number(path: Path, value: object) -> int:
    """Return a label value.

    Raises:
        InputError: where it is no whole number from 0 to 65535.
    """
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if not 0 <= number < 2**16:
        raise InputError(f"{path}: a label is a whole number from 0 to 65535, got {shown(value)}: correct it")
    return number


def twice(path: Path, ids: Collection[str]) -> list[Finding]:
    """Return an error for every case id that stands for two cases."""
    doubled = [case for case, count in Counter(ids).items() if count > 1]
    return [
        Finding(
            "error", "case-twice", str(path), f"{path}: two cases are called '{case}': rename or remove one"
        )
        for case in doubled
    ]


def present(path: Path, volumes: Collection[RawCase]) -> tuple[list[RawCase], list[Finding]]:
    """Leave out the cases whose files are not there, and say which.

    Raises:
        InputError: where none is there.
    """
    lacking = {
        raw.id: next(file for file in _files(raw) if not file.exists())
        for raw in volumes
        if not all(file.exists() for file in _files(raw))
    }
    there = [raw for raw in volumes if raw.id not in lacking]
    if not there:
        missing = next(iter(lacking.values()), path.parent)
        raise InputError(f"{path}: no case has all its files, such as {missing}: unpack the whole data set")
    if not lacking:
        return there, []
    named = listed(lacking.values(), _NAMED)
    sentence = (
        f"{path}: {plural(len(lacking), 'case')} of {len(volumes)} lack files and are left out ({named}): "
        "unpack the whole data set"
    )
    return there, [Finding("warning", "case-incomplete", str(path), sentence)]


def unused(path: Path) -> list[Finding]:
    """Return a note where there are images for a challenge's test, whose labels nobody has."""
    folder = path.parent / "imagesTs"
    if not folder.is_dir():
        return []
    sentence = f"{folder} comes without labels and is not used: all roles are drawn from imagesTr"
    return [Finding("note", "case-incomplete", str(folder), sentence)]


def _files(raw: RawCase) -> tuple[Path, ...]:
    return (*raw.files, raw.label) if isinstance(raw.label, Path) else raw.files
