"""ACDC: short-axis cine MR of the heart, two frames of each patient, three structures.

Two layouts::

    patientNNN/patientNNN_frameFF.nii.gz, ..._gt.nii.gz     official; below training/ and testing/, or flat
    patientNNN_frameFF_slice_S.h5                           slices of HDF5: image, label and scribble

In the second, the slices of a frame are one volume (distances in mm are not known), and ``labels="scribble"`` takes the
scribbles (Valvano et al., IEEE TMI 2021) as the given labels, ignored wherever nothing is drawn, with the dense label
as reference. Frames of a patient stay together. Where ``testing/`` is there, it is the test, as in the challenge.
"""

import re
from pathlib import Path
from typing import Literal, get_args

from metadcseg.constants import IGNORE
from metadcseg.data.sources.case import RawCase, Scan
from metadcseg.data.sources.dataset_json import twice
from metadcseg.data.sources.roles import Draw, draw_roles, with_role
from metadcseg.errors import InputError, unknown_name

CLASSES = ("background", "right ventricle", "myocardium", "left ventricle")
Kind = Literal["label", "scribble"]

_UNDRAWN = 4
_FRAME = re.compile(r"((patient\d+)_frame\d+)\.nii(?:\.gz)?")
_SLICE = re.compile(r"((patient\d+)_frame\d+)_slice_(\d+)\.h5")


def scan_acdc(source: Path, draw: Draw | None = None, labels: str = "label") -> Scan:
    """Find the volumes of either layout, without decoding a voxel.

    Args:
        source: the folder.
        draw: how roles are drawn.
        labels: ``"label"``, or ``"scribble"`` for the slices of HDF5.

    Returns:
        The volumes and everything that is wrong so far.

    Raises:
        InputError: where there is no volume, or there are no scribbles in this layout.
    """
    draw = draw or Draw()
    if labels not in get_args(Kind):
        raise unknown_name("--labels", labels, get_args(Kind))
    volumes = _frames(source)
    if volumes and labels == "scribble":
        raise InputError(
            f"{source} has no scribbles: they are in the slices of HDF5 only, leave --labels out"
        )
    volumes = volumes or _stacks(source, labels)
    if not volumes:
        raise InputError(
            f"{source} holds neither patientNNN_frameFF.nii.gz with _gt.nii.gz nor patientNNN_frameFF_slice_S.h5: "
            "--source is the unpacked ACDC"
        )
    findings = twice(source, [raw.id for raw in volumes])
    tested = {raw.id for raw in volumes if "testing" in raw.files[0].relative_to(source).parts}
    free = {raw.id: raw.group for raw in volumes if raw.id not in tested}
    if not free:
        raise InputError(f"{source} holds testing/ alone: --source is the folder that has training/ as well")
    roles = dict.fromkeys(tested, "test") | draw_roles(free, draw, val=0.1, test=0.0 if tested else 0.2)
    made = (with_role(raw, roles[raw.id]) for raw in volumes)
    remap = {_UNDRAWN: IGNORE} if labels == "scribble" else None
    values = frozenset((0, 1, 2, 3, _UNDRAWN) if labels == "scribble" else (0, 1, 2, 3))
    facts = {"labels": labels, **draw.facts()}
    return Scan(
        tuple(sorted(made, key=lambda raw: raw.id)),
        tuple(findings),
        facts,
        CLASSES,
        remap=remap,
        values=values,
        declared_by="ACDC",
    )


def _frames(source: Path) -> list[RawCase]:
    volumes = []
    for path in sorted(source.rglob("patient*_frame*.nii*")):
        found = _FRAME.fullmatch(path.name)
        label = path.with_name(path.name.replace(".nii", "_gt.nii", 1))
        if found and label.is_file():
            volumes.append(RawCase(found[1], "train", found[2], (path,), label, verified=True))
    return volumes


def _stacks(source: Path, labels: str) -> list[RawCase]:
    """Return the slices of each frame, in their order, as one volume."""
    slices: dict[tuple[str, str], dict[int, Path]] = {}
    for path in sorted(source.rglob("patient*_slice_*.h5")):
        if found := _SLICE.fullmatch(path.name):
            slices.setdefault((found[1], found[2]), {})[int(found[3])] = path
    scribbled = labels == "scribble"
    return [
        RawCase(
            id=case,
            role="train",
            group=patient,
            images=tuple(files[number] for number in sorted(files)),
            label=files[min(files)],
            label_key=labels,
            stacked=True,
            verified=not scribbled,
            truth=files[min(files)] if scribbled else None,
            truth_key="label" if scribbled else None,
        )
        for (case, patient), files in slices.items()
    ]
