"""CVAT, Label Studio, LabelMe and VIA: what their files say is what is stored, and nothing of it is silent."""

import copy

import numpy as np
import pytest
from PIL import Image
from tests.unit.data.annotations.drawings import (
    HEIGHT,
    NAMES,
    WIDTH,
    block,
    corners,
    images,
    labelme,
    packed,
    png,
    put,
    result,
    said,
    stored,
    task,
    via,
)
from tests.unit.data.folders import save

from metadcseg.data.annotations.label_studio import decode_runs
from metadcseg.errors import InputError
from metadcseg.pairs.read import read_pairs

RED, GREEN = (128, 0, 0), (0, 128, 0)
LABEL_MAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ntool:0,128,0::\npolyp:128,0,0:a,b:cut\n"


def colored(*blocks):
    """Return a mask in color."""
    mask = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for (top, left, bottom, right), color in blocks:
        mask[top:bottom, left:right] = color
    return mask


def cvat(folder, masks, inside=True):
    place = folder / ("SegmentationClass" if inside else "")
    for name, mask in masks.items():
        save(place / f"{name}.png", mask)
    if inside:
        save(folder / "SegmentationObject" / "a.png", colored(((1, 1, 4, 4), (7, 7, 7))))
        (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    (folder / "labelmap.txt").write_text(LABEL_MAP)
    return folder


@pytest.mark.parametrize("inside", [True, False])
def test_colors_are_what_the_label_map_says(inside, tmp_path):
    folder = images(tmp_path / "f")
    mask = colored(((2, 2, 8, 8), RED), ((6, 6, 12, 12), GREEN))
    cvat(folder / "masks", dict.fromkeys(NAMES, mask), inside)
    labels, classes = stored(folder, tmp_path)
    assert classes == ("background", "tool", "polyp")
    np.testing.assert_array_equal(labels["a"], block(6, 6, 12, 12, 1, block(2, 2, 8, 8, 2)))
    assert ("SegmentationObject, ImageSets are not needed" in said(folder)) == inside
    assert "is not read" not in said(folder)


def test_a_palette_of_colors_and_gray_that_is_listed(tmp_path):
    folder = images(tmp_path / "f")
    cvat(folder / "masks", dict.fromkeys(NAMES, colored(((2, 2, 8, 8), RED))), inside=False)
    indexed = Image.fromarray(block(2, 2, 8, 8, 5))
    indexed.putpalette([value for index in range(256) for value in (RED if index == 5 else (0, 0, 0))])
    indexed.save(folder / "masks" / "b.png")
    (folder / "masks" / "labelmap.txt").write_text(LABEL_MAP + "gray:9,9,9::\n")
    save(folder / "masks" / "d.png", block(1, 1, 5, 5, 9))
    labels, classes = stored(folder, tmp_path)
    np.testing.assert_array_equal(labels["b"], block(2, 2, 8, 8, 2))
    np.testing.assert_array_equal(labels["d"], block(1, 1, 5, 5, classes.index("gray")))


@pytest.mark.parametrize("color", [(1, 2, 3), (255, 255, 255), (128, 0, 1)])
def test_a_color_that_is_not_listed_is_named(color, tmp_path):
    folder = images(tmp_path / "f")
    cvat(folder / "masks", dict.fromkeys(NAMES, colored(((2, 2, 8, 8), RED))))
    save(folder / "masks" / "SegmentationClass" / "b.png", colored(((2, 2, 4, 4), color)))
    errors = said(folder, "error")
    assert f"b.png holds the color {','.join(map(str, color))} (4 pixels), which" in errors
    assert "labelmap.txt does not list" in errors


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("polyp 128 0 0", "line 1: 'name:red,green,blue:parts:actions' is read"),
        ("polyp:300,0,0::", "line 1"),
        ("a:1,0,0::\nb:1,0,0::", "line 2: the name or color"),
        ("a:1,0,0::\na:2,0,0::", "line 2: the name or color"),
        (":1,0,0::", "has no class"),
        ("# nothing", "lists no color"),
        ("\u00e4:1,0,0".encode("latin-1"), "no text in UTF-8"),
    ],
)
def test_label_maps_that_make_no_sense(text, says, tmp_path):
    folder = images(tmp_path / "f")
    cvat(folder / "masks", dict.fromkeys(NAMES, colored(((2, 2, 8, 8), RED))))
    (folder / "masks" / "labelmap.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert says in said(folder, "error")


def test_a_name_with_colons_and_another_background(tmp_path):
    folder = images(tmp_path / "f")
    cvat(folder / "masks", dict.fromkeys(NAMES, colored(((2, 2, 8, 8), RED), ((0, 0, 1, 24), GREEN))))
    (folder / "masks" / "labelmap.txt").write_text(
        "Background:0,128,0::\nliver: left:128,0,0::\nlow:0,0,0::\n"
    )
    labels, classes = stored(folder, tmp_path)
    assert classes == ("background", "liver: left", "low")
    np.testing.assert_array_equal(
        labels["a"], block(0, 0, 1, 24, 0, block(2, 2, 8, 8, 1, block(0, 0, 20, 24, 2)))
    )


def test_gold_in_color_beside_masks_in_gray(tmp_path):
    folder = images(tmp_path / "f")
    for name in NAMES:
        save(folder / "masks" / f"{name}.png", block(2, 2, 8, 8, 2, block(10, 10, 14, 14)))
    cvat(folder / "gold", {"a": colored(((2, 2, 9, 9), RED))})
    (folder / "splits.csv").unlink()
    pair = read_pairs(folder).pairs[0]
    np.testing.assert_array_equal(pair.verified, block(2, 2, 9, 9, 2))


STROKE = block(3, 4, 15, 17).astype(bool) | block(10, 2, 18, 9).astype(bool)


def brush(mask=STROKE, label="polyp", **more):
    runs = packed(mask, **more)
    return result({"format": "rle", "rle": runs, "brushlabels": [label]}, "brushlabels")


@pytest.mark.parametrize(
    "mask", [STROKE, ~STROKE, block(0, 0, 20, 24).astype(bool), block(5, 0, 6, 24).astype(bool)]
)
def test_runs_of_strokes(mask):
    words = decode_runs(packed(mask, pieces=True), mask.size * 4).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(words[..., 3], 255 * mask)
    np.testing.assert_array_equal(words[..., 0], 64 * mask)


def test_runs_from_the_description_bit_by_bit():
    """8 words: 5 times 9 in a run (lengths of 3 bits), then 1, 2, 3 as they are."""
    bits = f"{8:032b}" + "00111" + "0010" * 4 + "1" + "01" + "100" + f"{9:08b}"
    bits += "0" + "10" + "010" + f"{1:08b}{2:08b}{3:08b}"
    bits += "0" * (-len(bits) % 8)
    held = [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]
    assert decode_runs(held, 8).tolist() == [9, 9, 9, 9, 9, 1, 2, 3]


@pytest.mark.parametrize(
    ("address", "stem"),
    [
        ("/data/upload/1/0a1b2c3d-a.png", "a"),
        ("https://example.org/x/a.png?token=a%20b", "a"),
        ("/data/local-files/?d=folder/a.png", "a"),
        ("s3://bucket/deep/a.jpg", "a"),
        ("/data/upload/0a1b2c3d-a%20b.png", "a b"),
    ],
)
def test_what_is_drawn_in_label_studio_is_stored(address, stem, tmp_path):
    names = (stem, "b", "c", "d")
    folder = images(tmp_path / "f", names)
    tasks = [task(1, address, [brush()]), *(task(n, f"{x}.png", [brush()]) for n, x in enumerate("bcd", 2))]
    put(folder / "masks" / "project-1.json", tasks)
    labels, classes = stored(folder, tmp_path)
    assert classes == ("background", "polyp")
    np.testing.assert_array_equal(labels[stem], STROKE)


def percent(top, left, bottom, right):
    return [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in corners(top, left, bottom, right)]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"points": percent(2, 3, 9, 12), "closed": True, "polygonlabels": ["polyp"]}, block(2, 3, 9, 12)),
        (
            {"x": 12.5, "y": 10, "width": 25, "height": 50, "rotation": 0, "rectanglelabels": ["polyp"]},
            block(2, 3, 12, 9),
        ),
        (
            {"x": 50, "y": 10, "width": 25, "height": 30, "rotation": 90, "rectanglelabels": ["polyp"]},
            block(2, 6, 8, 12),
        ),
    ],
)
def test_shapes_in_percent(value, wanted, tmp_path):
    folder = images(tmp_path / "f")
    kind = next(key for key in value if key.endswith("labels"))
    more = (
        result({"choices": ["good"]}, "choices"),
        result({"x": 5, "y": 5, "width": 1, "keypointlabels": ["k"]}, "keypoint"),
    )
    put(
        folder / "masks" / "p.json",
        [task(n, f"{x}.png", [result(value, kind), *more]) for n, x in enumerate(NAMES)],
    )
    np.testing.assert_array_equal(stored(folder, tmp_path)[0]["a"], wanted)
    assert "2 results without area (choices, key points), passed over" in said(folder, "note")


def test_an_ellipse_in_percent_and_later_shapes_win(tmp_path):
    folder = images(tmp_path / "f")
    oval = {"x": 50, "y": 50, "radiusX": 25, "radiusY": 20, "rotation": 0, "ellipselabels": ["z"]}
    results = [result(oval, "ellipselabels"), brush(block(9, 11, 11, 13).astype(bool), "a")]
    put(folder / "masks" / "p.json", [task(n, f"{x}.png", results) for n, x in enumerate(NAMES)])
    labels, classes = stored(folder, tmp_path)
    assert classes == ("background", "a", "z")
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    wanted = 2 * (((x - 12) / 6) ** 2 + ((y - 10) / 4) ** 2 <= 1)
    wanted[9:11, 11:13] = 1
    np.testing.assert_array_equal(labels["a"], wanted)


def test_several_annotators_are_not_taken_silently(tmp_path):
    folder = images(tmp_path / "f")
    tasks = [task(n, f"{x}.png", [brush()]) for n, x in enumerate(NAMES)]
    tasks[0]["annotations"].append(dict(tasks[0]["annotations"][0], id=99, completed_by=2))
    tasks[1]["annotations"].append(dict(tasks[1]["annotations"][0], id=98, was_cancelled=True))
    put(folder / "masks" / "p.json", tasks)
    errors = said(folder, "error")
    assert "p.json (a.png) holds 2 annotations of task 0 (by 1, 2): one outline of an image is read" in errors
    assert errors.count("a.png") == 1
    assert "b.png" not in errors
    with pytest.raises(InputError):
        stored(folder, tmp_path)


def test_tasks_that_nobody_did_are_images_without_a_mask(tmp_path):
    folder = images(tmp_path / "f")
    tasks = [task(n, f"{x}.png", [brush()]) for n, x in enumerate(NAMES)]
    tasks[0].update(annotations=[], data=None)
    tasks[1].update(completions=None)  # that of an older version, which is not read beside annotations
    put(folder / "masks" / "p.json", tasks)
    assert "a.png has no mask" in said(folder, "error")
    assert "1 task without annotation, passed over" in said(folder, "note")


def cut_short(value):
    value["rle"] = value["rle"][: len(value["rle"]) // 2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (cut_short, "ends early"),
        (
            lambda value: value.update(rle=packed(block(0, 0, 20, 24)[:10].astype(bool))),
            "its image takes 1,920 of 8",
        ),
        (lambda value: value.update(rle=[255] * 40), "4,294,967,295 numbers"),
        (lambda value: value.update(rle=[0, 0, 7, 128, 56, 16] + [255] * 30), "longer than its image"),
        (
            lambda value: value.update(rle=[300, -1]),
            "has an 'rle' that must be a list of bytes, got a list of 2",
        ),
        (lambda value: value.update(rle=[0.5, True]), "has an 'rle' that must be a list of bytes"),
        (lambda value: value.update(rle="AAAA"), "has an 'rle' that must be a list of bytes, got 'AAAA'"),
        (lambda value: value.update(rle=[]), "ends early"),
        (lambda value: value.update(brushlabels=["a", "b"]), "has 2 classes at once"),
        (lambda value: value.update(brushlabels=[]), "has no class"),
        (lambda value: value.update(brushlabels=[7]), "has no class"),
    ],
)
def test_strokes_that_make_no_sense(change, says, tmp_path):
    folder = images(tmp_path / "f")
    tasks = [copy.deepcopy(task(n, f"{x}.png", [brush()])) for n, x in enumerate(NAMES)]
    change(tasks[0]["annotations"][0]["result"][0]["value"])
    put(folder / "masks" / "p.json", tasks)
    errors = said(folder, "error")
    assert says in errors
    assert "p.json (a.png)" in errors


def test_the_short_form_and_rotated_images_are_refused(tmp_path):
    folder = images(tmp_path / "f")
    put(folder / "masks" / "p.json", [{"id": 1, "image": "a.png", "annotation_id": 4, "tag": []}])
    assert "JSON-MIN): export JSON instead" in said(folder, "error")
    tasks = [task(n, f"{x}.png", [dict(brush(), image_rotation=90)]) for n, x in enumerate(NAMES)]
    put(folder / "masks" / "p.json", tasks)
    assert "drawn on a rotated image" in said(folder, "error")


@pytest.mark.parametrize("names", [("1", "2", "3", "4"), ("task-1", "task-2", "task-3", "task-4")])
def test_the_png_export(names, tmp_path):
    folder = images(tmp_path / "f", names)
    (folder / "splits.csv").unlink()
    for number in range(1, 5):
        where = folder / "masks" / f"task-{number}-annotation-{number + 6}-by-1-tag-"
        save(where.with_name(where.name + "polyp-0.png"), block(2, 2, 8, 8, 255))
        save(where.with_name(where.name + "my-tool-1.png"), block(6, 6, 12, 12, 255))
    labels, classes = stored(folder, tmp_path, val=0.25, test=0.25)
    assert classes == ("background", "my-tool", "polyp")
    np.testing.assert_array_equal(labels[names[0]], block(2, 2, 8, 8, 2, block(6, 6, 12, 12, 1)))


def test_the_png_export_of_images_called_otherwise(tmp_path):
    folder = images(tmp_path / "f")
    for number in range(4):
        save(
            folder / "masks" / f"task-{number}-annotation-{number + 6}-by-1-tag-polyp-0.png",
            block(2, 2, 8, 8, 255),
        )
    assert "put its JSON export beside them" in said(folder, "error")
    put(folder / "masks" / "p.json", [task(n, f"{x}.png", [brush()]) for n, x in enumerate(NAMES)])
    np.testing.assert_array_equal(stored(folder, tmp_path)[0]["a"], STROKE)
    assert "4 files such as" in said(folder, "note")


@pytest.mark.parametrize("place", ["masks", "images"])
def test_labelme_beside_masks_or_images(place, tmp_path):
    folder = images(tmp_path / "f")
    bitmap = {"mask": png(block(0, 0, 2, 3)[:4, :5] * 255)}
    shapes = [
        ("polyp", "polygon", corners(2, 2, 8, 8)),
        ("tool", "rectangle", [[14, 9], [10, 3]]),
        ("polyp", "mask", [[15, 14], [19, 17]], bitmap),
        ("polyp", "linestrip", [[1, 1], [2, 2]]),
    ]
    for name in NAMES:
        put(folder / place / f"{name}.json", labelme(shapes, name))
    labels, classes = stored(folder, tmp_path)
    assert classes == ("background", "polyp", "tool")
    wanted = block(3, 10, 9, 14, 2, block(2, 2, 8, 8))
    wanted[14:16, 15:18] = 1
    np.testing.assert_array_equal(labels["a"], wanted)
    assert "1 shape without area (lines, points), passed over" in said(folder, "note")
    assert "is not read" not in said(folder)


def test_a_circle_and_unknown_pixels_in_labelme(tmp_path):
    folder = images(tmp_path / "f")
    shapes = [("polyp", "circle", [[12, 10], [15, 14]]), ("__ignore__", "polygon", corners(0, 0, 3, 24))]
    for name in NAMES:
        put(folder / "masks" / f"{name}.json", labelme(shapes if name != "b" else shapes[1:], name))
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    wanted = ((x - 12) ** 2 + (y - 10) ** 2 <= 25).astype(np.uint8)
    labels, classes = stored(folder, tmp_path)
    assert classes == ("background", "polyp")
    np.testing.assert_array_equal(labels["a"], block(0, 0, 3, 24, 255, wanted))
    np.testing.assert_array_equal(labels["b"], block(0, 0, 3, 24, 255))


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (("x", "polygon", [[1, 1], [5, float("nan")], [3, 3]]), "got nan"),
        (("x", "polygon", [[1, 1], [5], [3, 3]]), "has points that must be a list of [x, y]"),
        (("x", "polygon", {"a": 1}), "has points that must be a list of [x, y], got an object of 1"),
        (("x", "polygon", [[1, 1], [2e9, 1], [3, 3]]), "a finite number, got 2000000000.0"),
        (("x", "star", [[1, 1], [5, 5]]), "of the kind 'star', which is not read"),
        (("x", ["polygon"], [[1, 1], [5, 5]]), "of the kind a list of 1"),
        (("x", "circle", [[1, 1]]), "a circle of 1 point, 2 make one"),
        (("", "polygon", [[1, 1], [5, 1], [3, 3]]), "shape 1, which has no class"),
        ((None, "polygon", [[1, 1], [5, 1], [3, 3]]), "got nothing"),
        (("x", "mask", [[1, 1], [5, 5]], {"mask": "!!"}), "no bitmap (PNG in base64)"),
        (("x", "mask", [[1, 1], [5, 5]], {"mask": None}), "no bitmap (PNG in base64) but nothing"),
        (
            ("x", "mask", [[1, 1], [5, 5]], {"mask": png(block(0, 0, 1, 1))}),
            "20 x 24 pixels in a box of 5 x 5",
        ),
        (("x", "mask", [[0, 0], [9e8, 9e8]], {"mask": png(block(0, 0, 1, 1))}), "in a box of 900000001"),
    ],
)
def test_labelme_that_makes_no_sense(shape, says, tmp_path):
    folder = images(tmp_path / "f")
    good = ("polyp", "polygon", corners(2, 2, 8, 8))
    for name in NAMES:
        put(folder / "masks" / f"{name}.json", labelme([shape] if name == "b" else [good], name))
    errors = said(folder, "error")
    assert says in errors
    assert "b.json" in errors
    assert "a.json" not in errors


def test_a_labelme_file_of_another_size_or_image(tmp_path):
    folder = images(tmp_path / "f")
    shapes = [("polyp", "polygon", corners(2, 2, 8, 8))]
    for name in NAMES:
        put(
            folder / "masks" / f"{name}.json",
            labelme(shapes, name, (40, 48) if name == "a" else (HEIGHT, WIDTH)),
        )
    assert "a.json has 40 x 48 pixels (rows x columns), its image" in said(folder, "error")
    put(folder / "masks" / "a.json", labelme(shapes, "b"))
    assert "a.json may be drawn on" in said(folder, "error")
    (folder / "masks" / "a.json").unlink()
    put(folder / "masks" / "other.json", labelme(shapes, "a"))
    assert said(folder, "error") == ""


POLYGON = {"name": "polygon", "all_points_x": [2, 8, 8, 2], "all_points_y": [2, 2, 9, 9]}


@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        (POLYGON, block(2, 2, 9, 8)),
        ({"name": "rect", "x": 3, "y": 4, "width": 5, "height": 6}, block(4, 3, 10, 8)),
        ({"name": "circle", "cx": 10, "cy": 8, "r": 1.2}, block(7, 9, 9, 11)),
        (
            {"name": "ellipse", "cx": 10, "cy": 8, "rx": 3.8, "ry": 0.9, "theta": 1.5707963},
            block(5, 9, 11, 11),
        ),
    ],
)
def test_what_is_drawn_in_via_is_stored(shape, wanted, project, tmp_path):
    folder = images(tmp_path / "f")
    more = ({"name": "point", "cx": 1, "cy": 1}, {"type": "polyp"})
    put(
        folder / "masks" / "via.json",
        via([(f"{x}.png", [(shape, {"type": "polyp"}), more]) for x in NAMES], project),
    )
    labels, classes = stored(folder, tmp_path)
    assert classes == ("background", "polyp")
    np.testing.assert_array_equal(labels["a"], wanted)
    assert "1 region without area (lines, points), passed over" in said(folder, "note")


def test_attributes_of_via(tmp_path):
    """Ticked boxes, several attributes of which one is the class, none at all, and regions numbered by version 1."""
    folder = images(tmp_path / "f")
    rect = {"name": "rect", "x": 10, "y": 10, "width": 5, "height": 6}
    regions = [
        (POLYGON, {"Class": {"polyp": True, "tool": False}, "sure": "no"}),
        (rect, {"Class": "tool", "sure": ""}),
    ]
    held = via([(f"{x}.png", regions) for x in NAMES])
    first = next(iter(held.values()))
    first["regions"] = dict(enumerate(first["regions"]))
    put(folder / "masks" / "via.json", held)
    labels, classes = stored(folder, tmp_path)
    assert classes == ("background", "polyp", "tool")
    np.testing.assert_array_equal(labels["a"], block(10, 10, 16, 15, 2, block(2, 2, 9, 8)))
    put(folder / "masks" / "via.json", via([(f"{x}.png", [(POLYGON, {})]) for x in NAMES]))
    assert stored(folder, tmp_path / "bare")[1] == ("background", "foreground")


@pytest.mark.parametrize(
    ("shape", "region", "says"),
    [
        (
            dict(POLYGON, all_points_x=[1, 2]),
            {"c": "x"},
            "has x for a list of 2 points and y for a list of 4",
        ),
        (dict(POLYGON, all_points_x=[1, 2, 3, None]), {"c": "x"}, "x must be a finite number, got nothing"),
        ({"name": "rect", "x": 1, "y": 1, "width": "w"}, {"c": "x"}, "'width' must be a finite number"),
        ({"name": "blob"}, {"c": "x"}, "of the kind 'blob'"),
        (7, {"c": "x"}, "has no shape: it must be an object, got 7"),
        (POLYGON, {"c": ""}, "region 1, which has no class"),
        (POLYGON, {"c": {"a": True, "b": True}}, "2 classes at once (a, b)"),
        (POLYGON, {"one": "a", "two": "b"}, "several attributes (c, one, two)"),
        (POLYGON, 5, "has no class"),
    ],
)
def test_via_that_makes_no_sense(shape, region, says, tmp_path):
    folder = images(tmp_path / "f")
    good = [(POLYGON, {"c": "x"})]
    put(
        folder / "masks" / "via.json",
        via([(f"{x}.png", [(shape, region)] if x == "b" else good) for x in NAMES]),
    )
    assert says in said(folder, "error")


@pytest.mark.parametrize(
    "content",
    [
        {"shapes": 7, "imagePath": "a.png"},
        {"shapes": [7], "imagePath": {"a": 1}},
        {"images": 7, "annotations": 7},
        {"_via_img_metadata": [1]},
        {"_via_img_metadata": {"a": 7}},
        {"x": {"filename": 7, "regions": []}},
        {"x": {"filename": "a.png", "regions": 7}},
        [{"data": 7, "annotations": [{"result": []}]}],
        [{"data": {"image": "http://[bad"}, "annotations": [{"result": []}]}],
        [{"data": {"image": "a.png"}, "annotations": 7}],
        [{"data": {"image": "a.png"}, "annotations": [{"result": 7}]}],
        [{"data": {}, "annotations": []}, 7],
    ],
)
def test_wrong_types_are_one_sentence(content, tmp_path):
    folder = images(tmp_path / "f")
    put(folder / "masks" / "a.json", content)
    assert "a.json" in said(folder, "error")
    with pytest.raises(InputError):
        stored(folder, tmp_path)


def test_more_classes_than_a_set_holds(tmp_path):
    folder = images(tmp_path / "f")
    for name in NAMES:
        shapes = [(f"class {number}", "polygon", corners(2, 2, 8, 8)) for number in range(255)]
        put(folder / "masks" / f"{name}.json", labelme(shapes, name))
    with pytest.raises(InputError, match="name 255 classes, at most 254 fit"):
        stored(folder, tmp_path)
