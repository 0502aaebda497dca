"""The Medical Segmentation Decathlon: any task by its ``dataset.json``, and the two of the paper by name.

::

    TaskNN_NAME/dataset.json
    TaskNN_NAME/imagesTr/CASE.nii.gz     3D, or 4D with the channels last
    TaskNN_NAME/labelsTr/CASE.nii.gz
    TaskNN_NAME/imagesTs/                without labels: not used

All labels are by experts, so each is a reference; label noise is injected afterwards, gold cases are drawn by seed.
The paper (section 4.1) has Task02 (left atrium, MR: not CT as it says, see notes) in five folds
(``metadcseg cross-validate``), and Task01 (brain tumours) in 387 / 48 / 49 cases, of which it scores the three regions
below; which case is where is not published, so the seed decides.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metadcseg.data.findings import Finding
from metadcseg.data.formats.volumes import stem_of
from metadcseg.data.sources.case import RawCase, Scan
from metadcseg.data.sources.dataset_json import (
    file_inside,
    find_dataset_json,
    present,
    read_dataset_json,
    table_of,
    twice,
    unused,
    whole_number,
)
from metadcseg.data.sources.roles import Draw, draw_roles, with_role
from metadcseg.errors import InputError, shown


@dataclass(frozen=True)
class Task:
    """What the paper adds to a task.

    Args:
        labels: how many its ``dataset.json`` has, by which another task is noticed; None for any.
        val: share held out for validation.
        test: share held out for the test.
        regions: name -> label values.
    """

    labels: int | None = None
    val: float = 0.1
    test: float = 0.1
    regions: dict[str, list[int]] = field(default_factory=dict)


ANY = Task()
HEART = Task(labels=2)
BRAIN = Task(
    labels=4,
    val=48 / 484,
    test=49 / 484,
    regions={"enhancing tumour": [3], "oedema": [1], "tumour core": [2, 3]},  # notes.md, 4.3
)


def scan_decathlon(source: Path, draw: Draw | None = None, task: Task = ANY) -> Scan:
    """Find the cases of a task, without decoding a voxel.

    Args:
        source: the folder of the task, one that holds it, or its ``dataset.json``.
        draw: how roles are drawn.
        task: what is known of it beforehand.

    Returns:
        The volumes and everything that is wrong so far; cases without files are left out, and that is said.

    Raises:
        InputError: where ``dataset.json`` is missing, unreadable, of another task, or names files outside its folder.
    """
    draw = draw or Draw()
    path = find_dataset_json(source)
    said = read_dataset_json(path)
    labels = {whole_number(path, value): str(name) for value, name in table_of(path, said, "labels").items()}
    if task.labels is not None and len(labels) != task.labels:
        raise InputError(
            f"{path} is of another task: it has {len(labels)} labels, this one has {task.labels}: name another --source"
        )
    listed = said.get("training")
    if not isinstance(listed, list) or not listed:
        raise InputError(f"{path} must list the cases under 'training', got {shown(listed)}: correct it")
    volumes = [_case(path, entry) for entry in listed]
    findings: list[Finding] = twice(path, [raw.id for raw in volumes])
    if not findings:
        volumes, findings = present(path, volumes)
    roles = draw_roles({raw.id: raw.id for raw in volumes}, draw, val=task.val, test=task.test)
    order = sorted(labels)
    facts: dict[str, Any] = {
        key: str(said[key])[:200] for key in ("name", "licence", "reference") if key in said
    }
    return Scan(
        tuple(sorted((with_role(raw, roles[raw.id]) for raw in volumes), key=lambda raw: raw.id)),
        (*findings, *unused(path)),
        {"dataset_json": facts, **draw.facts()},
        tuple(labels[value] for value in order),
        task.regions or None,
        remap={value: label for label, value in enumerate(order) if value != label},
        values=frozenset(order),
        declared_by=str(path),
    )


def _case(path: Path, entry: object) -> RawCase:
    if not isinstance(entry, dict) or not {"image", "label"} <= set(entry):
        raise InputError(f"{path}: a case must name 'image' and 'label', got {shown(entry)}: correct it")
    image, label = (file_inside(path, entry[key]) for key in ("image", "label"))
    return RawCase(stem_of(image), "train", stem_of(image), (image,), label, verified=True)
