"""Annotators with exports of drawing tools, longer names or folders of parts, and several in one export."""

import numpy as np
import pytest
from tests.unit.data.annotations.drawings import (
    HEIGHT,
    NAMES,
    WIDTH,
    block,
    coco,
    images,
    labelme,
    put,
    ring,
    said,
    stored,
    task,
)
from tests.unit.data.folders import picture, save

from metadcseg.data.prepare.checks import check_folder
from metadcseg.data.sources.case import Outlines
from metadcseg.data.sources.folder import scan_folder
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.pairs.read import read_pairs

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # of pycocotools


def of_coco(place, moved=0, categories=((1, "polyp"),), who=None):
    held = coco([(f"{name}.png", [(1, ring(3, 4 + moved, 15, 17 + moved))]) for name in NAMES], categories)
    for number, annotation in enumerate(held["annotations"]):
        if who is not None:
            annotation |= who(number)
    return put(place / "export.json", held)


def of_labelme(place, moved=0):
    for name in NAMES:
        corners = [[4 + moved, 3], [17 + moved, 3], [17 + moved, 15], [4 + moved, 15]]
        put(place / f"{name}.json", labelme([("Polyp", "polygon", corners)], name))


def of_label_studio(place, moved=0, who=None):
    box = {"x": (4 + moved) / WIDTH * 100, "y": 15, "width": 13 / WIDTH * 100, "height": 60, "rotation": 0}
    shape = {
        "id": "r",
        "type": "rectanglelabels",
        "value": box | {"rectanglelabels": ["polyp"]},
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
    }
    more = {} if who is None else who
    put(
        place / "export.json",
        [
            task(n, f"{name}.png", [shape], **{k: v(n) for k, v in more.items()})
            for n, name in enumerate(NAMES)
        ],
    )


def of_colors(place, moved=0):
    place.mkdir(parents=True, exist_ok=True)
    (place / "labelmap.txt").write_text("background:0,0,0::\npolyp:200,10,10::\n")
    for name in NAMES:
        mask = block(3, 4 + moved, 15, 17 + moved)[:, :, None] * np.uint8([200, 10, 10])
        save(place / "SegmentationClass" / f"{name}.png", mask)


def of_pixels(place, moved=0):
    for name in NAMES:
        save(place / f"{name}_mask.png", block(3, 4 + moved, 15, 17 + moved))


def of_parts(place, moved=0):
    for name in NAMES:
        mask = block(3, 4 + moved, 15, 17 + moved) * np.uint8(255)
        for number, rows in enumerate((slice(0, 8), slice(8, 20))):
            part = np.zeros_like(mask)
            part[rows] = mask[rows]
            save(place / name / f"polyp_{number}.png", part)


@pytest.mark.parametrize("first", [of_coco, of_labelme, of_label_studio, of_colors])
@pytest.mark.parametrize("second", [of_coco, of_pixels])
@pytest.mark.parametrize("places", ["masks/{}", "masks_{}"])
def test_each_annotator_has_a_file_of_his_tool(tmp_path, first, second, places):
    folder = images(tmp_path / "f")
    first(folder / places.format("anna"))
    second(folder / places.format("ben"), moved=2)
    assert said(folder, "error") == ""
    assert "masks of 2 annotators; of 4 images anna drew 4, ben 4" in said(folder, "note")
    _, classes = stored(folder, tmp_path)
    assert [name.casefold() for name in classes] == ["background", "polyp"]
    held = PreparedSet.open(tmp_path / "set")
    drawn = held.outlines(held.cases[0])
    np.testing.assert_array_equal(drawn["anna"], block(3, 4, 15, 17))
    np.testing.assert_array_equal(drawn["ben"], block(3, 6, 15, 19))


def test_what_is_advised_can_be_done(tmp_path):
    """An export beside folders of annotators is to be moved into one of its own, which makes it right."""
    folder = images(tmp_path / "f")
    of_coco(folder / "masks")
    for name in ("ben", "cem"):
        of_pixels(folder / "masks" / name, moved=1 + (name == "cem"))
    assert f"move them into a folder of their annotator, {folder / 'masks' / 'NAME'}" in said(folder, "error")
    (folder / "masks/NAME").mkdir()
    (folder / "masks/export.json").rename(folder / "masks/NAME/export.json")
    assert said(folder, "error") == ""
    assert "NAME drew 4, ben 4, cem 4" in said(folder, "note")


@pytest.mark.parametrize("key", ["annotator", "created_by", "annotator_id"])
def test_annotators_within_one_file_are_known_or_refused(tmp_path, key):
    folder = images(tmp_path / "f")
    of_coco(folder / "masks", who=lambda n: {key: ("anna", "ben")[n % 2]})
    assert "masks of 2 annotators; of 4 images anna drew 2, ben 2" in said(folder, "note")
    by = {case.id: case.annotator for case in scan_folder(folder).cases}
    assert by == dict(zip(NAMES, ("anna", "ben", "anna", "ben"), strict=True))
    both = coco([(f"{name}.png", [(1, ring(3, 4, 15, 17)), (1, ring(4, 5, 16, 18))]) for name in NAMES])
    for number, annotation in enumerate(both["annotations"]):
        annotation["attributes"] = {key: {"id": number % 2 + 1}}
    put(folder / "masks/export.json", both)
    told = said(folder, "error")
    assert "export.json (a.png) holds shapes of 2 annotators (1, 2)" in told
    assert "put an export of what each annotator drew into a folder of his own in masks/" in told
    with pytest.raises(InputError):
        stored(folder, tmp_path)


def test_one_annotator_is_not_talked_about_and_tasks_say_who_did_them(tmp_path):
    folder = images(tmp_path / "f")
    of_label_studio(folder / "masks")
    assert "masks of" not in said(folder, "note")
    of_label_studio(folder / "masks", who={"completed_by": lambda n: {"id": n, "email": f"{n % 2}@home"}})
    assert "masks of 2 annotators; of 4 images 0@home drew 2, 1@home 2" in said(folder, "note")
    for name in NAMES[:2]:
        save(folder / "gold" / f"{name}.png", block(2, 4, 15, 17))
    pairs = read_pairs(folder)
    assert [pair.annotator for pair in pairs.pairs] == ["0@home", "1@home"]


@pytest.mark.parametrize("drawn", [of_pixels, of_parts])
def test_names_and_folders_within_those_of_annotators(tmp_path, drawn):
    folder = images(tmp_path / "f")
    drawn(folder / "masks/anna")
    drawn(folder / "masks/ben", moved=1)
    assert said(folder, "error") == ""
    assert "put PNG" not in said(folder)
    stored(folder, tmp_path)
    held = PreparedSet.open(tmp_path / "set")
    np.testing.assert_array_equal(held.outlines(held.cases[0])["ben"], block(3, 5, 15, 18))


@pytest.mark.parametrize("own", ["1.png", "1_mask.png"])
def test_an_annotator_called_like_the_one_image_that_he_drew(tmp_path, own):
    """Beside folders of others his is no folder of parts, and nobody is told to move it where it is."""
    for number in range(1, 8):
        save(tmp_path / f"images/{number}.png", picture(number))
        save(tmp_path / f"masks/2/{number}.png", block(3, 4, 15, 17))
    save(tmp_path / "masks/1" / own, block(3, 5, 15, 18))
    assert said(tmp_path, "error") == ""
    case = next(case for case in scan_folder(tmp_path).cases if case.id == "1")
    assert isinstance(case.label, Outlines)
    assert list(case.label.by) == ["1", "2"]


def test_one_folder_for_each_image_stays_one_for_parts(tmp_path):
    for number in range(1, 5):
        save(tmp_path / f"images/{number}.png", picture(number))
        save(tmp_path / f"masks/{number}/{number}.png", block(3, 4, 15, 17))
    assert {case.annotator for case in scan_folder(tmp_path).cases} == {None}
    assert "masks of" not in said(tmp_path, "note")


@pytest.mark.parametrize(
    ("names", "classes"),
    [(("Polyp", "polyp"), 2), (("polyp", "POLYP"), 2), (("polyp ", "polyp"), 2), (("Polyp", "cyst"), 3)],
)
def test_names_that_differ_in_case_alone_are_one(tmp_path, names, classes):
    """In drawings as in parts."""
    drawn, parts = images(tmp_path / "drawn"), images(tmp_path / "parts")
    for place, name in zip(("anna", "ben"), names, strict=True):
        of_coco(drawn / "masks" / place, moved=place == "ben", categories=((1, name),))
        for image in NAMES:
            moved = int(place == "ben")
            mask = block(3, 4 + moved, 15, 17 + moved)
            save(parts / "masks" / place / image / f"{name.strip()}.png", mask)
    for folder in (drawn, parts):
        report = check_folder(folder)
        assert report.ok, report.errors
        assert len(report.class_cases) == classes - 1


def test_one_file_that_has_both_means_two_classes(tmp_path):
    folder = images(tmp_path / "f")
    shapes = [(1, ring(2, 2, 8, 8)), (2, ring(10, 10, 18, 18))]
    put(folder / "masks/i.json", coco([(f"{n}.png", shapes) for n in NAMES], ((1, "t"), (2, "T"))))
    labels, classes = stored(folder, tmp_path)
    assert classes == ("background", "t", "T")
    assert labels["a"][3, 3] == 1
    assert labels["a"][12, 12] == 2
