"""A raw folder of nnU-Net (version 2), ``DatasetNNN_NAME`` (Isensee et al., Nature Methods 2021).

::

    dataset.json                  channel_names, labels, file_ending
    imagesTr/CASE_0000.nii.gz     one file per channel, counted from 0000
    labelsTr/CASE.nii.gz
    imagesTs/                     without labels: not used

Of 2D images (``file_ending`` .png, .bmp, .tif) one file, ``CASE_0000.png``, may hold all channels: gray, or red, green
and blue. Else each is a gray file of its own, as of volumes.

Labels that are lists of values are regions; a label called ``ignore`` is ignored here, too. The labels are those given:
none counts as verified unless gold cases are asked for.
"""

import re
from pathlib import Path

from metadcseg.constants import IGNORE
from metadcseg.data.findings import Finding
from metadcseg.data.formats.images import SUFFIXES
from metadcseg.data.formats.volumes import VOLUME_SUFFIXES
from metadcseg.data.sources.case import RawCase, Scan
from metadcseg.data.sources.dataset_json import (
    find_dataset_json,
    present,
    read_dataset_json,
    table_of,
    unused,
    whole_number,
)
from metadcseg.data.sources.roles import Draw, draw_roles, with_role
from metadcseg.errors import InputError
from metadcseg.reading import is_what

_COLORS = 3
_CHANNEL = re.compile(r"(.+)_(\d{4})")


def scan_nnunet(source: Path, draw: Draw | None = None) -> Scan:
    """Find the cases of a raw folder, without decoding a voxel.

    Args:
        source: the folder, or its ``dataset.json``.
        draw: how roles are drawn.

    Returns:
        The images or volumes and everything that is wrong so far.

    Raises:
        InputError: where ``dataset.json`` is missing or says nothing sensible, or there is no image.
    """
    draw = draw or Draw()
    path = find_dataset_json(source)
    said = read_dataset_json(path)
    ending = said.get("file_ending")
    if ending not in (*VOLUME_SUFFIXES, *SUFFIXES):
        known = ", ".join((*VOLUME_SUFFIXES, *SUFFIXES))
        raise InputError(f"{path}: file_ending must be one of {known}, got {ending!r}: convert the files")
    channels = len(table_of(path, said, "channel_names"))
    classes, regions, ignore = _labels(path, table_of(path, said, "labels"))
    volumes, findings = _cases(path, str(ending), channels)
    volumes, found = present(path, volumes)
    roles = draw_roles({raw.id: raw.id for raw in volumes}, draw, val=0.1, test=0.1, gold=None)
    values = sorted(classes)
    remap = {value: label for label, value in enumerate(values) if value != label}
    return Scan(
        tuple(with_role(raw, roles[raw.id]) for raw in volumes),
        (*findings, *found, *unused(path)),
        {"dataset": path.parent.name, **draw.facts()},
        tuple(classes[value] for value in values),
        {name: [values.index(value) for value in members] for name, members in regions.items()} or None,
        remap=remap | dict.fromkeys(ignore, IGNORE),
        values=frozenset([*values, *ignore]),
        declared_by=str(path),
    )


def _labels(path: Path, table: dict[str, object]) -> tuple[dict[int, str], dict[str, list[int]], list[int]]:
    """Return value -> class, region -> values, and the value that is ignored."""
    classes: dict[int, str] = {}
    regions: dict[str, list[int]] = {}
    ignore: list[int] = []
    for name, value in table.items():
        if isinstance(value, list):
            regions[name] = [whole_number(path, member) for member in value]
        elif name == "ignore":
            ignore.append(whole_number(path, value))
        elif (number := whole_number(path, value)) in classes:
            raise InputError(
                f"{path}: '{classes[number]}' and '{name}' are both label {number}: correct one of the two"
            )
        else:
            classes[number] = name
    for value in sorted({member for members in regions.values() for member in members} - set(classes)):
        classes[value] = f"label {value}"
    if 0 not in classes or len(classes) < 2:
        raise InputError(f"{path}: labels must name the background, 0, and a class, got {table}: correct it")
    return classes, regions, ignore


def _cases(path: Path, ending: str, channels: int) -> tuple[list[RawCase], list[Finding]]:
    folder = path.parent / "imagesTr"
    if not folder.is_dir():
        raise InputError(
            f"{folder} {is_what(folder)}: --source is a raw folder of nnU-Net with imagesTr/ and labelsTr/"
        )
    numbers: dict[str, list[int]] = {}
    for file in sorted(folder.glob(f"[!.]*{ending}")):
        found = _CHANNEL.fullmatch(file.name[: -len(ending)])
        if found:
            numbers.setdefault(found[1], []).append(int(found[2]))
    if not numbers:
        raise InputError(f"{folder} holds no image CASE_0000{ending}: is file_ending of {path} right?")
    findings = []
    volumes = []
    for case, held in numbers.items():
        in_one = ending in SUFFIXES and channels in (1, _COLORS) and held == [0]
        if not in_one and held != list(range(channels)):
            sentence = (
                f"{folder}/{case}_*{ending} has the channels {', '.join(map(str, held))}, {path.name} names "
                f"{channels}, counted from 0: complete or remove the case"
            )
            findings.append(Finding("error", "channels", str(folder / case), sentence))
        count = 1 if in_one else channels
        files = tuple(folder / f"{case}_{number:04d}{ending}" for number in range(count))
        volumes.append(RawCase(case, "train", case, files, path.parent / "labelsTr" / f"{case}{ending}"))
    return volumes, findings
