"""Masks that number their classes each in a way of its own, in one folder."""

import json
import shutil

import numpy as np
import pytest
from tests.unit.data.folders import save

from metadcseg.data.prepare.checks import check_folder
from metadcseg.errors import InputError
from metadcseg.pairs.read import read_pairs

NAMES = [f"c{number:02}" for number in range(6)]


def drawn(shift=0):
    """Class 1 is large, class 2 a small square in it."""
    mask = np.zeros((40, 48), np.uint8)
    mask[8 + shift : 30 + shift, 8:30] = 1
    mask[14 + shift : 20 + shift, 14:20] = 2
    return mask


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(NAMES):
        noise = np.random.default_rng(number).integers(0, 255, (40, 48), np.uint8)
        save(tmp_path / "images" / f"{name}.png", noise)
    return tmp_path


def numbers(place, names=NAMES):
    for number, name in enumerate(names):
        save(place / f"{name}.png", drawn(number % 3))


def parts(place, names=NAMES, classes=("zone", "abscess")):
    for number, name in enumerate(names):
        for value, called in enumerate(classes, start=1):
            save(place / name / f"{called}.png", ((drawn(number % 3) == value) * 255).astype(np.uint8))


def coco(place, names=NAMES, classes=("zone", "abscess"), ignore=()):
    images = [
        {"id": number, "file_name": f"{name}.png", "height": 40, "width": 48}
        for number, name in enumerate(names)
    ]
    corners = {1: (8, 8, 30, 30), 2: (14, 14, 20, 20)}
    shapes = []
    for number in range(len(names)):
        for value, _ in enumerate(classes, start=1):
            top, left, bottom, right = corners[value]
            ring = [left, top, right, top, right, bottom, left, bottom]
            shapes.append(
                {"id": len(shapes) + 1, "image_id": number, "category_id": value, "segmentation": [ring]}
            )
    categories = [{"id": value, "name": name} for value, name in enumerate((*classes, *ignore), start=1)]
    place.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": shapes, "categories": categories}
    (place / "ann.json").write_text(json.dumps(content))


def errors(folder):
    return [finding.sentence for finding in check_folder(folder).findings if finding.severity == "error"]


@pytest.mark.parametrize("masks", [numbers, coco])
@pytest.mark.parametrize("swapped", [False, True])
def test_parts_beside_numbers_without_names_are_refused(folder, masks, swapped):
    first, second = ("gold", "masks") if swapped else ("masks", "gold")
    masks(folder / first, NAMES[:3] if swapped else NAMES)
    parts(folder / second, NAMES if swapped else NAMES[:3])
    (told,) = errors(folder)
    assert "numbers its classes by their names (abscess, zone)" in told
    assert "which is which is open" in told


def test_one_part_beside_two_numbers_is_refused(folder):
    numbers(folder / "masks")
    parts(folder / "gold", NAMES[:3], classes=("lesion",))
    assert any("(lesion)" in told for told in errors(folder))


def test_one_part_beside_one_value_is_plain(folder):
    for name in NAMES:
        save(folder / "masks" / f"{name}.png", ((drawn() > 0) * 255).astype(np.uint8))
    parts(folder / "gold", NAMES[:3], classes=("lesion",))
    assert not errors(folder)


def test_parts_alone_and_numbers_alone_are_right(folder):
    parts(folder / "masks")
    parts(folder / "gold", NAMES[:3])
    assert not errors(folder)


@pytest.mark.parametrize("place", ["masks", "masks/anna"])
def test_white_is_not_taken_for_unknown_because_a_drawing_knows_ignored_pixels(folder, place):
    for name in NAMES:
        save(folder / place / f"{name}.png", ((drawn() > 0) * 255).astype(np.uint8))
    coco(folder / "gold", NAMES[:3], classes=("lesion", "ignore"))
    assert any("is black and white (" in told and "ignore" in told for told in errors(folder))


def test_names_without_a_shape_keep_their_numbers_beside_annotators(folder):
    for annotator in ("anna", "ben"):
        for name in NAMES:
            save(folder / "masks" / annotator / f"{name}.png", (drawn() > 0).astype(np.uint8))
    coco(folder / "gold", NAMES[:3], classes=("liver",), ignore=("tumor",))
    found = check_folder(folder)
    assert not [finding.sentence for finding in found.findings if finding.severity == "error"]
    (table,) = [finding.sentence for finding in found.findings if finding.code == "label-table"]
    assert "1 liver, 2 tumor" in table


def test_diagnose_refuses_what_check_refuses(folder):
    """Where pairs alone do not show it, too: the masks of other images may be numbered otherwise."""
    parts(folder / "masks")
    parts(folder / "gold", NAMES[:3])
    assert len(read_pairs(folder).pairs) == 3
    for name in NAMES[3:]:
        shutil.rmtree(folder / "masks" / name)
    numbers(folder / "masks", NAMES[3:])
    assert "which is which is open" in errors(folder)[0]
    with pytest.raises(InputError, match="which is which is open"):
        read_pairs(folder)


def test_diagnose_refuses_white_beside_unknown_shapes(folder):
    coco(folder / "masks", NAMES[3:], ("zone",), ("ignore",))
    white = [(drawn(number) > 0) * np.uint8(255) for number in range(3)]
    for name, mask in zip(NAMES[:3], white, strict=True):
        save(folder / "masks" / f"{name}.png", mask)
        save(folder / "gold" / f"{name}.png", np.roll(mask, 1, axis=0))
    assert "is black and white" in " ".join(errors(folder))
    with pytest.raises(InputError, match="is black and white"):
        read_pairs(folder)
