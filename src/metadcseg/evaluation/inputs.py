"""Which files a path means, and what their masks are called."""

import glob
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from metadcseg.data.formats.images import SUFFIXES, image_files
from metadcseg.data.formats.volumes import is_volume_file, output_suffix, read_grid, stem_of
from metadcseg.errors import InputError
from metadcseg.files import numbered
from metadcseg.reading import is_what

_CHANNEL = re.compile(r"(.+)_(\d{4})")


def find_images(images: Path) -> list[Path]:
    """Return the files that a path means: itself, the images of a folder, or what a pattern matches.

    Raises:
        InputError: where there is none.
    """
    if images.is_file():
        return [images]
    if images.is_dir():
        files = image_files(images)
        if not files:
            raise InputError(
                f"{images} holds no image ({', '.join(SUFFIXES)}): name another folder or a file"
            )
        return files
    matches = glob.glob(str(images), recursive=True) if glob.has_magic(str(images)) else []
    files = sorted(Path(match) for match in matches if Path(match).is_file())
    if not files:
        raise InputError(f"{images}: there is no such file or folder, and no file matches it as a pattern")
    return files


def output_names(files: Sequence[Path]) -> list[str]:
    """Return one file name for each image: its stem with ``.png``, no two alike on any file system.

    Images that share a stem keep their suffix in the name; those that still collide get a number.

    Example:
        >>> output_names([Path("a.jpg"), Path("b.jpg"), Path("B.png"), Path("x/a.tif"), Path("y/a.tif")])
        ['a.jpg.png', 'b.jpg.png', 'B.png.png', 'a.tif.png', 'a.tif-2.png']
    """
    return _told_apart([(file.stem, file.name) for file in files], [".png"] * len(files))


def volume_names(volumes: Sequence[tuple[str, Sequence[Path]]]) -> list[tuple[str, str]]:
    """Return the names of mask and picture of each volume, no two masks or pictures alike on any file system.

    Volumes that would share one keep the name of their first file in it; those that still collide get a number.

    Args:
        volumes: of :func:`find_volumes`.

    Example:
        >>> volume_names([("a", [Path("a.mha")]), ("a", [Path("a.mhd")]), ("a", [Path("a.nii")])])
        [('a.mha.mha', 'a.mha.png'), ('a.mhd.mha', 'a.mhd.png'), ('a.nii', 'a.nii.png')]
    """
    names = [(name, files[0].name) for name, files in volumes]
    masks = _told_apart(names, [output_suffix(files[0]) for _, files in volumes])
    return list(zip(masks, _told_apart(names, [".png"] * len(names)), strict=True))


def _told_apart(names: Sequence[tuple[str, str]], endings: Sequence[str]) -> list[str]:
    """Return short names with their endings, long ones of those that would share one."""
    held = Counter(f"{short}{ending}".casefold() for (short, _), ending in zip(names, endings, strict=True))
    kept = [
        short if held[f"{short}{ending}".casefold()] == 1 else long
        for (short, long), ending in zip(names, endings, strict=True)
    ]
    return numbered(kept, endings)


def find_volumes(images: Path, channels: int, key: str | None) -> list[tuple[str, list[Path]]]:
    """Return name and files of every volume that a path means."""
    if is_volume_file(images) and images.exists():
        return [(stem_of(images), [images])]
    if not images.is_dir():
        what = "is no volume" if images.is_file() else is_what(images)
        raise InputError(
            f"{images} {what}: the network was trained on volumes, give one, or a folder of them"
        )
    files = [
        path for path in sorted(images.iterdir()) if not path.name.startswith(".") and is_volume_file(path)
    ]
    if not files:
        raise InputError(f"{images} holds no volume: the network was trained on volumes, name another folder")
    cases: list[tuple[str, list[Path]]] = []
    parts: dict[str, list[Path]] = {}
    for path in files:
        found = _CHANNEL.fullmatch(stem_of(path))
        if channels == 1 or found is None or not _is_part(path, channels, key):
            cases.append((stem_of(path), [path]))  # four digits may as well be the number of a patient
        elif found[1] in parts:
            parts[found[1]].append(path)
        else:
            parts[found[1]] = [path]
            cases.append((found[1], parts[found[1]]))
    return cases


def _is_part(path: Path, channels: int, key: str | None) -> bool:
    """Return whether a file holds only some of the channels; one that cannot be read is named when its turn comes."""
    try:
        return read_grid(path, key=key)[1] < channels
    except InputError:
        return False


def check_channel_files(files: Sequence[Path], channels: int) -> None:
    """Refuse files of channels of which one is missing: the others would be taken for it."""
    if len(files) == 1:
        return
    found = [stem_of(path)[-4:] for path in files]
    wanted = [f"{number:04d}" for number in range(channels)]
    if found != wanted:
        raise InputError(
            f"{files[0]}: the network was trained on {channels} channels, files {wanted[0]} to {wanted[-1]}, got "
            f"{', '.join(found[:8])}: name every channel once"
        )
