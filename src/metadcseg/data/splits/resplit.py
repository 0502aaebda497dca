"""The same prepared set under other roles: new tables beside the arrays, which are linked and not copied."""

import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from metadcseg.data.splits.folds import check_roles, unit_id, units_of
from metadcseg.data.splits.gold_slices import GoldSlices
from metadcseg.data.store.disk import DiskErrors, publish_folder, scratch_beside
from metadcseg.data.store.layout import ARRAYS, CHECKSUMS, MANIFEST, ROLES, TABLE, VOLUMES, digest
from metadcseg.data.store.origin import carry_origin
from metadcseg.data.store.reader import PreparedSet, refuse_occupied
from metadcseg.errors import InputError, unknown_name
from metadcseg.files import write_bytes


def resplit_set(
    source: PreparedSet,
    out: Path | str,
    roles: Mapping[str, str],
    *,
    note: Mapping[str, Any],
    kept: Mapping[str, Collection[int]] | None = None,
) -> PreparedSet:
    """Write a set with the same images and masks in which every unit has the role given.

    A gold case shows its truth where one is stored; else its label counts as verified, and so becomes its truth. A
    gold case of the source that is to be evaluated keeps its verified label and the mask that this replaced. One that
    comes into training is trained on as any case there, with the mask that was given; where nobody kept that, with the
    verified one. Its truth is the verified label. Where a case that is not for training has a truth and a label that
    differs, the label is what the truth replaced. Arrays are hard links where the disk allows it, else copies.

    Args:
        source: a clean set.
        out: folder of the new set; missing or empty.
        roles: id of every image, or of every volume, -> role; see :func:`~metadcseg.data.splits.folds.fold_roles`.
        note: how the roles came about (JSON values), kept as ``split`` in the set's source.
        kept: id of a gold volume -> numbers of the slices that stay in the set, see
            :func:`~metadcseg.data.splits.gold_slices.kept_slices`; all slices of the other volumes do.

    Raises:
        InputError: where the set is corrupted already, a role is missing or unknown, a group or an image would be
            on both sides of training and evaluation, slices of a volume to be evaluated are missing, slices are
            left out of a volume that is not gold, ``out`` is occupied or the disk refuses.
    """
    out, kept = Path(out), kept or {}
    _check(source, roles, kept)
    refuse_occupied(out)
    with DiskErrors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with scratch_beside(out) as hidden:
            folder = hidden / "set"
            folder.mkdir()
            _link(source.path / ARRAYS, folder / ARRAYS)
            for name, data in _tables(source, roles, note, kept).items():
                write_bytes(folder / name, data)
            carry_origin(source.path, folder, roles)
            publish_folder(folder, out)
    return PreparedSet.open(out)


def without_twin(source: PreparedSet, roles: Mapping[str, str]) -> int:
    """Return how many gold cases of a set come into training with their verified mask, as nobody kept another.

    Args:
        source: the set.
        roles: as for :func:`resplit_set`.
    """
    gold = source.select("gold")
    return sum(roles.get(unit_id(case)) == "train" and not case.has_given for case in gold)


def _check(source: PreparedSet, roles: Mapping[str, str], kept: Mapping[str, Collection[int]]) -> None:
    if source.noise is not None:
        raise InputError(
            f"{source.path} is corrupted already: give other roles to the clean set it was made from"
        )
    split = source.source.get("split")
    if isinstance(split, Mapping) and GoldSlices.read(split.get("gold")):
        raise InputError(
            f"{source.path} holds only the gold slices of its gold volumes: split the set that it was split from"
        )
    for case in source.cases:
        if unit_id(case) not in roles:
            raise InputError(f"{source.path}: '{unit_id(case)}' has no role in the new split: give it one")
    for role in roles.values():
        if role not in ROLES:
            raise unknown_name("role", role, ROLES)
    check_roles(units_of(source), roles)
    for volume in source.volumes:
        held, whole = len(source.slices_of(volume)), volume.placement.slices
        if roles.get(volume.id) in ("val", "test") and held < whole:
            raise InputError(
                f"{source.path}: volume '{volume.id}' has {held} of {whole} slices and cannot be evaluated: prepare "
                "the set again with --empty keep"
            )
    for name in kept:
        if roles.get(name) != "gold":
            raise InputError(
                f"slices of '{name}' would be left out, which is not a gold volume: keep them all"
            )


def _tables(
    source: PreparedSet,
    roles: Mapping[str, str],
    note: Mapping[str, Any],
    kept: Mapping[str, Collection[int]],
) -> dict[str, bytes]:
    """Return the files beside the arrays: those of the source with other roles, and their checksums."""
    rows: list[dict[str, Any]] = []
    for row, case in zip(_rows(source.path / TABLE), source.cases, strict=True):
        if unit_id(case) in kept and case.slice not in kept[unit_id(case)]:
            continue
        row |= {"row": len(rows), "role": roles[unit_id(case)]}
        _pair(row["arrays"], row["role"])
        if row["role"] == "gold":
            _verify(row["arrays"])
        rows.append(row)
    files = {TABLE: _lines(rows)}
    if source.volumes:
        volumes = _rows(source.path / VOLUMES)
        for row in volumes:
            row["role"] = roles.get(row["id"], row["role"])  # a volume that lost all its slices keeps its own
            row["verified"] |= row["role"] == "gold"
        files[VOLUMES] = _lines(volumes)
    manifest = json.loads((source.path / MANIFEST).read_bytes())
    manifest["source"] = {**manifest["source"], "split": dict(note)}
    manifest["cases"] = len(rows)
    manifest["sha256"] = {name: digest(data) for name, data in files.items()}
    files[MANIFEST] = json.dumps(manifest, indent=1).encode()
    sums = {name: digest(data) for name, data in files.items()}
    for metadata in sorted((source.path / ARRAYS).glob("*/zarr.json")):
        sums[metadata.relative_to(source.path).as_posix()] = digest(metadata.read_bytes())
    files[CHECKSUMS] = "".join(f"{value}  {name}\n" for name, value in sorted(sums.items())).encode()
    return files


def _pair(arrays: dict[str, Any], role: str) -> None:
    """Keep the mask that a verified one replaced: stored already, or the label beside a truth that differs.

    In training nothing has replaced it: it is the label.
    """
    if "given" in arrays:
        arrays.setdefault("truth", arrays["label"])  # of a gold case: whatever it becomes, it is verified
    if role == "train":
        arrays["label"] = arrays.pop("given", arrays["label"])
    elif arrays["label"]["sha256"] != arrays.get("truth", arrays["label"])["sha256"]:
        arrays.setdefault("given", arrays["label"])


def _verify(arrays: dict[str, Any]) -> None:
    """Make the label the truth and the truth the label: a gold case is trained on as it was verified."""
    if "truth" in arrays:
        arrays["label"] = arrays["truth"]
        arrays.pop("trust", None)  # it was of the label before
    else:
        arrays["truth"] = arrays["label"]


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()


def _link(source: Path, target: Path) -> None:
    """Link a file, or all files of a folder, whose folders have the rights that the umask leaves.

    Of a symbolic link the file it leads to: a relative one would lead nowhere from another folder.

    Raises:
        InputError: for a link that leads to no file.
    """
    if source.is_dir():
        target.mkdir()
        for entry in source.iterdir():
            _link(entry, target / entry.name)
        return
    held = os.path.realpath(source)
    if not os.path.isfile(held):
        raise InputError(f"{source} leads to no file: the set is damaged, prepare it again")
    try:
        os.link(held, target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)
