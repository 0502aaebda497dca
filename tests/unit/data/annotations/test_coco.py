"""COCO files as masks: what is stored is what pycocotools draws."""

import numpy as np
import pycocotools.mask as coco_masks
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
)
from tests.unit.data.folders import save

from metadcseg.data.annotations.coco import _lengths
from metadcseg.data.prepare.checks import check_folder
from metadcseg.errors import InputError
from metadcseg.pairs.read import read_pairs

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # of pycocotools

BLOB = block(3, 4, 15, 17) | block(10, 2, 18, 9)


def packed(mask):
    """Return runs as pycocotools packs them."""
    runs = coco_masks.encode(np.asfortranarray(mask))
    return {"size": runs["size"], "counts": runs["counts"].decode()}


def unpacked(mask):
    """Return runs as a list: of zeros first, down the columns."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
    return {"size": list(mask.shape), "counts": np.diff(np.concatenate([[0], edges])).tolist()}


@pytest.mark.parametrize(
    "segmentation", [ring(3, 4, 15, 17), packed(block(3, 4, 15, 17)), unpacked(block(3, 4, 15, 17))]
)
def test_what_is_drawn_is_stored(segmentation, tmp_path):
    folder = images(tmp_path / "f")
    put(folder / "masks" / "instances.json", coco([(f"{name}.png", [(1, segmentation)]) for name in NAMES]))
    labels, classes = stored(folder, tmp_path)
    assert classes == ("background", "polyp")
    for name in NAMES:
        np.testing.assert_array_equal(labels[name], block(3, 4, 15, 17))


@pytest.mark.parametrize("mask", [BLOB, block(0, 0, 1, 1), 1 - BLOB, np.ones_like(BLOB)])
def test_lengths_of_runs_are_those_of_pycocotools(mask):
    assert _lengths(packed(mask)["counts"]) == unpacked(mask)["counts"]
    np.testing.assert_array_equal(coco_masks.decode(coco_masks.encode(np.asfortranarray(mask))), mask)


def test_polygons_are_those_of_pycocotools(tmp_path):
    jagged = [[2.3, 3.1, 20.2, 4.7, 12.9, 9.2, 17.6, 16.4, 5.5, 17.8, 7.1, 9.9], [1, 1, 3, 1, 3, 3]]
    folder = images(tmp_path / "f")
    put(folder / "masks" / "i.json", coco([(f"{name}.png", [(1, jagged)]) for name in NAMES]))
    wanted = coco_masks.decode(coco_masks.merge(coco_masks.frPyObjects(jagged, HEIGHT, WIDTH)))
    np.testing.assert_array_equal(stored(folder, tmp_path)[0]["a"], wanted)


def test_names_decide_and_ids_do_not(tmp_path):
    """Ids 7 and 3 in one file, 1 and 9 in the other, an image in folders, an unused name, an empty image."""
    folder = images(tmp_path / "f")
    one = coco(
        [("train\\2024/a.png", [(3, ring(2, 2, 8, 8)), (7, ring(6, 6, 12, 12))]), ("b.jpg", [])],
        ((7, "tool"), (8, "unused"), (3, "polyp")),
    )
    two = coco(
        [("x/c.png", [(9, ring(1, 1, 5, 5))]), ("d.png", [(1, ring(1, 1, 4, 4))])],
        ((1, "polyp"), (9, "tool")),
    )
    put(folder / "masks" / "one.json", one)
    put(folder / "masks" / "two.json", two)
    labels, classes = stored(folder, tmp_path)
    assert classes == ("background", "tool", "polyp")
    np.testing.assert_array_equal(labels["a"], block(6, 6, 12, 12, 1, block(2, 2, 8, 8, 2)))
    assert not labels["b"].any()
    np.testing.assert_array_equal(labels["c"], block(1, 1, 5, 5, 1))
    np.testing.assert_array_equal(labels["d"], block(1, 1, 4, 4, 2))
    told = said(folder)
    assert "the names of shapes decide (1 tool, 2 polyp)" in told
    assert "1 name without any shape left out (unused)" in told
    assert "one.json (a.png): 4 pixels in shapes of two classes, where the later drawn counts" in told
    assert "(b.jpg) is empty" in told
    again, classes = stored(folder, tmp_path / "again", remap={2: 1, 1: 0})
    np.testing.assert_array_equal(again["d"], block(1, 1, 4, 4))


def test_images_that_one_of_the_two_does_not_have(tmp_path):
    folder = images(tmp_path / "f")
    held = [(f"{name}.png", [(1, ring(2, 2, 8, 8))]) for name in ("a", "b", "d", "other", "third")]
    put(folder / "masks" / "i.json", coco(held))
    assert "2 images of 5 in it, not to be found in" in said(folder, "note")
    errors = said(folder, "error")
    assert errors.count("c.png has no mask, and") == 1
    assert "i.json say nothing of it" in errors


def test_pairs_of_a_file_and_png(tmp_path):
    folder = images(tmp_path / "f")
    given = coco([(f"{name}.png", [(5, ring(2, 2, 10, 10))]) for name in NAMES], ((5, "polyp"),))
    put(folder / "masks" / "i.json", given)
    save(folder / "gold" / "a.png", block(2, 2, 12, 10, 255))
    (folder / "splits.csv").unlink()
    report = check_folder(folder, val=0.3, test=0.3)
    assert report.ok, report.findings
    assert report.pairs == 1
    found = read_pairs(folder)
    assert found.classes == ("background", "polyp")
    np.testing.assert_array_equal(found.pairs[0].given, block(2, 2, 10, 10))
    np.testing.assert_array_equal(found.pairs[0].verified, block(2, 2, 12, 10))


def test_pairs_of_png_and_a_file(tmp_path):
    """Class numbers of PNG are those of the categories, used or not."""
    folder = images(tmp_path / "f")
    for name in NAMES:
        save(folder / "masks" / f"{name}.png", block(2, 2, 10, 10, 2, block(12, 2, 14, 4, 1)))
    put(folder / "gold" / "i.json", coco([("a.png", [(8, ring(2, 2, 12, 10))])], ((3, "tool"), (8, "polyp"))))
    (folder / "splits.csv").unlink()
    found = read_pairs(folder)
    assert found.classes == ("background", "tool", "polyp")
    assert [pair.id for pair in found.pairs] == ["a"]
    np.testing.assert_array_equal(found.pairs[0].verified, block(2, 2, 12, 10, 2))
    labels, classes = stored(folder, tmp_path, val=0.3, test=0.3)
    assert classes == found.classes
    np.testing.assert_array_equal(labels["a"], block(2, 2, 12, 10, 2))


def test_pairs_of_two_files_have_one_table(tmp_path):
    folder = images(tmp_path / "f")
    both = [(1, ring(2, 2, 8, 8)), (2, ring(10, 10, 14, 14))]
    put(folder / "masks" / "i.json", coco([(f"{n}.png", both) for n in NAMES], ((1, "tool"), (2, "polyp"))))
    put(folder / "gold" / "j.json", coco([("a.png", [(1, ring(3, 3, 9, 9))])], ((1, "polyp"),)))
    (folder / "splits.csv").unlink()
    pair = read_pairs(folder).pairs[0]
    np.testing.assert_array_equal(pair.verified, block(3, 3, 9, 9, 2))
    assert set(np.unique(pair.given)) == {0, 1, 2}


def test_a_turned_image_of_another_size_names_the_tag(tmp_path):
    from PIL import Image

    folder = images(tmp_path / "f")
    exif = Image.Exif()
    exif[274] = 6
    with Image.open(folder / "images" / "a.png") as image:
        image.convert("RGB").save(folder / "images" / "a.png", exif=exif)
    put(folder / "masks" / "i.json", coco([(f"{name}.png", [(1, ring(2, 2, 8, 8))]) for name in NAMES]))
    errors = said(folder, "error")
    assert "(a.png) has 20 x 24 pixels (rows x columns), its image" in errors
    assert "24 x 20 (its orientation tag (EXIF 6) turns it" in errors


def changed(change):
    held = coco([(f"{name}.png", [(1, ring(2, 2, 8, 8))]) for name in NAMES])
    change(held)
    return held


def annotation(**more):
    return lambda held: held["annotations"][0].update(more)


def runs(counts, size=(HEIGHT, WIDTH)):
    return annotation(segmentation={"size": list(size), "counts": counts})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            annotation(segmentation=[[1, 2, float("nan"), 4, 5, 6]]),
            "annotation 0 ('polyp') a coordinate must be",
        ),
        (annotation(segmentation=[[1, 2, float("inf"), 4, 5, 6]]), "got inf"),
        (annotation(segmentation=[[1, 2, 10**400, 4, 5, 6]]), "a number of many digits"),
        (annotation(segmentation=[[1, 2, 1e8, 4, 5, 6e7]]), "an outline longer than"),
        (annotation(segmentation=[[1, 2, 3, 4, 5]]), "no list of x, y"),
        (annotation(segmentation="text"), "has no 'segmentation' but 'text'"),
        (annotation(segmentation=None), "boxes alone are no masks"),
        (annotation(segmentation=[]), "a box alone is no mask"),
        (annotation(segmentation=[["a", "b"] * 4]), "got 'a'"),
        (annotation(category_id=99), "category 99, which the file does not list"),
        (annotation(category_id=[1]), "category a list of 1"),
        (runs([0, 10**9]), "do not fill an image"),
        (runs([-5, 485]), "do not fill an image"),
        (runs([1.5, 478.5]), "has runs that must be text or a list of whole numbers, got a list of 2"),
        (runs("ooooooooooooooo"), "letters that COCO does not use"),
        (runs("\u00ff\u00ff"), "do not fill"),
        (runs("P"), "middle of a number"),
        (runs("0"), "do not fill an image"),
        (runs([480], (24, 20)), "has runs of 24 x 20 pixels, its image 20 x 24"),
        (runs([480], (10**9, 10**9)), "has runs of 1000000000 x 1000000000 pixels"),
        (lambda held: held["images"][0].update(height=10**9, width=10**9), "at most 100,000,000 are read"),
        (lambda held: held["images"][0].update(height=-3), "states the size -3 x 24"),
        (lambda held: held["images"][0].update(height=1e308), "states the size 1e+308 x 24"),
        (lambda held: held["images"][0].update(height=20.5), "states the size 20.5 x 24"),
        (lambda held: held["images"][0].update(height="20"), "states the size '20' x 24"),
        (lambda held: held["images"][0].update(height=float("nan")), "states the size nan"),
        (
            lambda held: held["images"].append(dict(held["images"][0], file_name="z.png")),
            "two images have the id 0",
        ),
        (lambda held: held["images"][0].update(id=[1]), "'images[0].id' must be a whole number or text"),
        (lambda held: held["images"][0].update(file_name=None), "names an image nothing"),
        (lambda held: held["images"].append({"id": 9, "file_name": "sub/a.png"}), "two outlines"),
        (lambda held: held["categories"].append({"id": 1, "name": "tool"}), "are both category 1"),
        (lambda held: held["categories"][0].update(name=""), "has no class"),
        (lambda held: held["categories"][0].update(name="x" * 201), "has no class"),
        (lambda held: held.update(annotations=7), "'annotations' must be a list, got 7"),
        (lambda held: held.update(images={"a": 1}), "'images' must be a list"),
        (lambda held: held.update(categories=None), "'categories' must be a list"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(change, says, tmp_path):
    folder = images(tmp_path / "f")
    put(folder / "masks" / "i.json", changed(change))
    errors = said(folder, "error")
    assert says in errors
    assert "i.json" in errors
    with pytest.raises(InputError, match=r"i\.json"):
        stored(folder, tmp_path)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no valid JSON at line 1, column 1"),
        (b"{", "no valid JSON"),
        (b"\xff\xfe\xfa{}\x00", "export it again"),
        ('{"images": [], "annotations": "ü"}'.encode("latin-1"), "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"images": [], "annotations": [], "images": []}', "one object names 'images' twice"),
        (b'{"images": ' + b"9" * 5000 + b"}", "thousands of digits"),
        (b"{}", "no export of COCO, CVAT, Label Studio, LabelMe or VIA"),
        (b"[1, 2]", "no export of COCO"),
        (b"null", "no export of COCO"),
    ],
)
def test_files_that_are_no_json(content, says, tmp_path):
    folder = images(tmp_path / "f")
    (folder / "masks").mkdir()
    (folder / "masks" / "i.json").write_bytes(content)
    assert says in said(folder)
    with pytest.raises(InputError):
        stored(folder, tmp_path)


def test_a_file_above_a_gibibyte_is_not_read(tmp_path):
    folder = images(tmp_path / "f")
    (folder / "masks").mkdir()
    with (folder / "masks" / "i.json").open("wb") as file:
        file.truncate(2**30 + 1)
    assert "i.json is larger than 1024 MiB" in said(folder, "error")


@pytest.mark.parametrize("name", ["../../a.png", "/etc/a.png", "C:\\data\\a.png", "a", "A\u0308.png"])
def test_folders_in_names_are_taken_off(name, tmp_path):
    stem = "\u00c4" if name.startswith("A") else "a"
    folder = images(tmp_path / "f", (stem, "b", "c", "d"))
    held = [(name, [(1, ring(2, 2, 8, 8))]), *((f"{n}.png", [(1, ring(2, 2, 8, 8))]) for n in "bcd")]
    put(folder / "masks" / "i.json", coco(held))
    np.testing.assert_array_equal(stored(folder, tmp_path)[0][stem], block(2, 2, 8, 8))


@pytest.mark.parametrize("segmentation", [[[1, 1, 5, 5]], [[1, 1]], [[1.0, 1, 5, 1, 3, 1]]])
def test_shapes_without_area_are_passed_over_and_said(segmentation, tmp_path):
    folder = images(tmp_path / "f")
    both = [(1, segmentation), (1, ring(2, 2, 8, 8))]
    put(folder / "masks" / "i.json", coco([(f"{name}.png", both) for name in NAMES]))
    labels, _ = stored(folder, tmp_path)
    if len(segmentation[0]) < 6:
        np.testing.assert_array_equal(labels["a"], block(2, 2, 8, 8))
        assert "1 shape without area" in said(folder, "note")
    else:
        assert labels["a"][2:8, 2:8].all()


def test_shapes_beyond_the_image_are_cut_and_said(tmp_path):
    folder = images(tmp_path / "f")
    put(folder / "masks" / "i.json", coco([(f"{name}.png", [(1, ring(-5, -5, 8, 8))]) for name in NAMES]))
    np.testing.assert_array_equal(stored(folder, tmp_path)[0]["a"], block(0, 0, 8, 8))
    assert "1 shape beyond the image, cut there" in said(folder, "note")


def test_one_image_in_two_files_is_an_error(tmp_path):
    folder = images(tmp_path / "f")
    held = coco([(f"{name}.png", [(1, ring(2, 2, 8, 8))]) for name in NAMES])
    put(folder / "masks" / "i.json", held)
    put(folder / "masks" / "j.json", held)
    errors = said(folder, "error")
    assert "i.json (a.png) and" in errors
    assert "j.json (a.png) are two outlines of" in errors
    assert errors.count("(a.png) and") == 1


def test_a_mask_of_pixels_beside_it_counts_and_is_said(tmp_path):
    folder = images(tmp_path / "f")
    for name in NAMES:
        save(folder / "masks" / f"{name}.png", block(4, 4, 12, 12, 255))
        put(
            folder / "masks" / f"{name}.json", labelme([("polyp", "polygon", [[1, 1], [5, 1], [5, 5]])], name)
        )
    np.testing.assert_array_equal(stored(folder, tmp_path)[0]["a"], block(4, 4, 12, 12))
    assert "what is drawn of 4 images is not read, a mask of pixels such as" in said(folder, "warning")


def test_other_json_beside_masks_changes_nothing(tmp_path):
    folder = images(tmp_path / "f")
    for name in NAMES:
        save(folder / "masks" / f"{name}.png", block(4, 4, 12, 12, 255))
    put(folder / "masks" / "dataset.json", {"name": "mine", "license": "none"})
    _, classes = stored(folder, tmp_path)
    assert classes == ("background", "foreground")
    assert "dataset.json is not read" in said(folder, "warning")


def test_workers_draw_the_same(tmp_path):
    folder = images(tmp_path / "f")
    put(folder / "masks" / "i.json", coco([(f"{name}.png", [(1, packed(BLOB))]) for name in NAMES]))
    one, _ = stored(folder, tmp_path / "one")
    two, _ = stored(folder, tmp_path / "two", workers=2)
    for name in NAMES:
        np.testing.assert_array_equal(one[name], two[name])
        np.testing.assert_array_equal(one[name], BLOB)


def test_the_library_is_asked_for_once(tmp_path, monkeypatch):
    import sys

    for module in [name for name in sys.modules if name.startswith("pycocotools")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    folder = images(tmp_path / "f")
    put(folder / "masks" / "i.json", coco([(f"{name}.png", [(1, ring(2, 2, 8, 8))]) for name in NAMES]))
    put(folder / "gold" / "j.json", coco([("a.png", [(1, ring(2, 2, 8, 8))])]))
    with pytest.raises(
        InputError, match=r"COCO files need pycocotools.*pip install 'metadcseg\[annotations\]'"
    ):
        check_folder(folder)


def test_a_file_that_no_mask_is_taken_from_changes_nothing(tmp_path):
    """Categories of a COCO file beside black and white PNG are no classes."""
    folder = images(tmp_path / "f")
    for name in NAMES:
        save(folder / "masks" / f"{name}.png", block(4, 4, 12, 12, 255))
    held = coco(
        [(f"{name}.png", [(1, ring(2, 2, 8, 8))]) for name in NAMES], ((1, "polyp"), (2, "tool"), (3, "x"))
    )
    put(folder / "masks" / "i.json", held)
    labels, classes = stored(folder, tmp_path)
    assert classes == ("background", "foreground")
    np.testing.assert_array_equal(labels["a"], block(4, 4, 12, 12))


def test_files_of_other_images_and_files_in_a_folder_of_their_own(tmp_path):
    folder = images(tmp_path / "f")
    put(folder / "masks" / "annotations" / "i.json", coco([("z.png", [(1, ring(2, 2, 8, 8))])]))
    errors = said(folder, "error")
    assert errors.count("has no mask, and") == 4
    assert "1 image of 1 in it, not to be found in" in said(folder, "note")
    put(
        folder / "masks" / "annotations" / "i.json",
        coco([(f"{n}.png", [(1, ring(2, 2, 8, 8))]) for n in NAMES]),
    )
    np.testing.assert_array_equal(stored(folder, tmp_path)[0]["a"], block(2, 2, 8, 8))
    assert "is not read" not in said(folder)


@pytest.mark.parametrize("name", ["a\n0 errors.png", "\x1b[2Ja.png", "a\0.png"])
def test_names_do_not_write_on_the_terminal(name, tmp_path):
    folder = images(tmp_path / "f")
    put(folder / "masks" / "i.json", coco([(name, [])]))
    assert name not in said(folder)
    assert "which is no name of a file" in said(folder, "error")
