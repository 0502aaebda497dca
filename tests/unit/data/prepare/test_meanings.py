"""Where files name their values, names decide: segments of 3 Slicer, colors of palettes."""

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from tests.unit.data.folders import picture, save

from metadcseg.data.prepare.checks import check_folder
from metadcseg.data.prepare.facts import MaskFacts
from metadcseg.data.prepare.meanings import meanings
from metadcseg.data.prepare.pipeline import prepare_folder
from metadcseg.data.store import PreparedSet
from metadcseg.pairs.read import read_pairs

BLACK, RED, GREEN, WHITE = (0, 0, 0), (200, 0, 0), (0, 200, 0), (255, 255, 255)


def shapes(number):
    """Return a drawing of two classes that differs from case to case."""
    drawn = np.zeros((24, 24), np.uint8)
    drawn[4:20, 4:20], drawn[8 : 12 + number, 8:14] = 1, 2
    return drawn


def palettes(path, colors, number=6, draw=shapes, folder="masks"):
    """Write images and masks whose palette is ``colors(number)``: class -> color, in the order of the palette."""
    for n in range(number):
        save(path / f"images/c{n}.png", picture(n, 24, 24))
        table, order = {0: BLACK, 1: GREEN, 2: RED}, colors(n)
        index = np.vectorize(lambda held, table=table, order=order: order.index(table[held]))(draw(n))
        image = Image.fromarray(index.astype(np.uint8))
        image.putpalette([value for color in order for value in color])
        (path / folder).mkdir(exist_ok=True)
        image.save(path / folder / f"c{n}.png")
    return path


def found(path, code):
    return [finding for finding in check_folder(path).findings if finding.code == code]


def held(path, out, **options):
    prepare_folder(path, out, edges="none", **options)
    opened = PreparedSet.open(out)
    return opened, {case.id: opened.label(case) for case in opened.cases}


@pytest.mark.parametrize(
    "odd",
    [(BLACK, RED, GREEN), (GREEN, BLACK, RED), (GREEN, RED, WHITE, BLACK)],
    ids=["classes", "black", "last"],
)
def test_a_color_is_one_class_whatever_its_index(tmp_path, odd):
    path = palettes(tmp_path / "a", lambda n: odd if n % 2 else (BLACK, GREEN, RED))
    assert check_folder(path).ok
    (note,) = found(path, "label-table")
    assert "0 (0, 0, 0), 1 (0, 200, 0), 2 (200, 0, 0)" in note.sentence
    _, labels = held(path, tmp_path / "set")
    assert all((label == shapes(int(id[1:]))).all() for id, label in labels.items())


def test_palettes_that_agree_say_nothing(tmp_path):
    path = palettes(tmp_path / "a", lambda n: (BLACK, GREEN, RED, *([WHITE] * n)))
    assert not found(path, "label-meaning")
    assert not found(path, "label-table")


@pytest.mark.parametrize("odd", [1, 3, 5])
def test_a_mask_without_palette_leaves_it_open(tmp_path, odd):
    path = palettes(tmp_path / "a", lambda n: (BLACK, RED, GREEN) if n == odd else (BLACK, GREEN, RED))
    save(path / "masks/c0.png", shapes(0))
    (clash,) = found(path, "label-meaning")
    assert f"c{odd}.png" in clash.sentence
    assert "disagree: 1 is (" in clash.sentence
    assert "c0.png has no palette" in clash.sentence


@pytest.mark.parametrize(
    ("order", "way"),
    [((GREEN, BLACK), "1:0,0:1"), ((GREEN, BLACK, WHITE), "1:0,0:1"), ((GREEN, WHITE, BLACK), "2:0,0:1")],
)
def test_black_that_is_never_first_leaves_the_background_open(tmp_path, order, way):
    path = palettes(tmp_path / "a", lambda n: order, draw=lambda n: np.minimum(shapes(n), 1))
    (clash,) = found(path, "label-meaning")
    assert "black is color" in clash.sentence
    assert f"pass --remap {way} if black is" in clash.sentence
    assert not check_folder(path).ok
    _, labels = held(path, tmp_path / "set", remap={int(way[0]): 0, 0: 1})
    assert all((label == np.minimum(shapes(int(id[1:])), 1)).all() for id, label in labels.items())


def test_a_palette_of_which_no_color_is_the_background_is_refused(tmp_path):
    path = palettes(tmp_path / "a", lambda n: (BLACK, GREEN, RED))
    image = Image.fromarray(np.minimum(shapes(2), 1))
    image.putpalette([*WHITE, *GREEN])
    image.save(path / "masks/c2.png")
    (clash,) = found(path, "label-meaning")
    assert "which color is the background is open" in clash.sentence


def test_masks_that_were_replaced_go_by_the_table(tmp_path):
    path = palettes(tmp_path / "a", lambda n: (BLACK, GREEN, RED))
    palettes(
        path, lambda n: (RED, BLACK, GREEN), number=2, folder="gold", draw=lambda n: np.roll(shapes(n), 1, 0)
    )
    opened, labels = held(path, tmp_path / "set")
    case = next(case for case in opened.cases if case.id == "c1")
    assert (opened.given(case) == shapes(1)).all()
    assert (labels["c1"] == np.roll(shapes(1), 1, 0)).all()
    pair = next(pair for pair in read_pairs(path).pairs if pair.id == "c1")
    assert (pair.given == shapes(1)).all()
    assert (pair.verified == labels["c1"]).all()


def slicer(path, array, **segments):
    """Write (X, Y, Z) as 3D Slicer does, with the name of each value."""
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
    for number, (name, value) in enumerate(segments.items()):
        image.SetMetaData(f"Segment{number}_Name", name.replace("_", " "))
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def volumes(path, names, number=5):
    """Write volumes whose segments are called as ``names(number)`` tells for organ and lesion."""
    for n in range(number):
        drawn = np.repeat(shapes(n)[:, :, None], 3, axis=2)
        noise = np.random.default_rng(n).normal(size=drawn.shape).astype(np.float32)
        (path / "images").mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(noise.transpose(2, 1, 0)), str(path / f"images/c{n}.nrrd"))
        segments = names(n)
        values = np.array([0, *segments.values()], np.uint8)
        slicer(path / f"masks/c{n}.nrrd", values[drawn], **segments)
    return path


@pytest.mark.parametrize(
    "odd", [{"liver": 2, "tumor": 1}, {"Liver": 7, "_tumor": 3}, {"LIVER_": 1, "tumor": 255}], ids=str
)
def test_names_of_segments_decide(tmp_path, odd):
    path = volumes(tmp_path / "a", lambda n: odd if n % 2 else {"liver": 1, "tumor": 2})
    assert check_folder(path).ok
    (note,) = found(path, "label-table")
    assert "1 liver, 2 tumor" in note.sentence
    opened, _ = held(path, tmp_path / "set")
    assert opened.classes == ("background", "liver", "tumor")
    for volume in opened.volumes:
        assert (opened.reference(volume)[:, :, 0] == shapes(int(volume.id[1:]))).all()


def test_values_that_agree_stay_and_the_classes_have_names(tmp_path):
    path = volumes(tmp_path / "a", lambda n: {"tumor": 1, "liver": 2})
    assert not found(path, "label-table")
    opened, _ = held(path, tmp_path / "set")
    assert opened.classes == ("background", "tumor", "liver")
    opened, _ = held(path, tmp_path / "other", remap={2: 0})
    assert opened.classes == ("background", "tumor")


@pytest.mark.parametrize("name", ["Segment_1", "segment 2", ""])
def test_a_segment_that_nobody_has_named_leaves_it_open(name):
    masks = [
        MaskFacts("a", (0, 1, 2), names={1: "liver", 2: "tumor"}),
        MaskFacts("b", (0, 1, 2), names={1: name, 2: "liver"}),
    ]
    (clash,) = meanings(masks).findings
    assert clash.code == "label-meaning"
    assert "b and a disagree" in clash.sentence


def test_names_that_differ_in_case_alone_are_two_where_one_file_has_both():
    masks = [
        MaskFacts("a", (0, 1, 2), names={1: "N", 2: "n"}),
        MaskFacts("b", (0, 1, 2), names={1: "n", 2: "N"}),
    ]
    held = meanings(masks)
    assert [held.of(mask).levels for mask in masks] == [(0, 1, 2), (0, 2, 1)]


def test_two_segments_of_one_name_are_one_class_and_a_class_of_no_mask_counts():
    masks = [
        MaskFacts("a", (0, 1, 3), names={1: "lesion", 3: "lesion"}),
        MaskFacts("b", (0,), names={1: "cyst"}),
    ]
    held = meanings(masks)
    assert held.classes == ("background", "cyst", "lesion")
    assert held.of(masks[0]).levels == (0, 2, 2)
    assert held.number({}) == 3
    assert "1 of" in held.findings[-1].sentence or "2 of 2 masks" in held.findings[-1].sentence


def test_what_a_source_declares_is_not_overruled():
    masks = [MaskFacts("a", (0, 1), names={1: "liver"}), MaskFacts("b", (0, 1), names={1: "spleen"})]
    assert meanings(masks, declared=True).findings[0].severity == "error"
    assert meanings(masks[:1], declared=True).classes is None


@pytest.mark.parametrize(
    "other", [{1: "ignore", 2: "liver"}, {1: "liver", 2: "Ignore"}, {1: "liver", 255: "ignore"}]
)
def test_a_segment_called_ignore_counts_nowhere(other):
    masks = [
        MaskFacts("a", (0, 1, 255), names={1: "liver", 255: "ignore"}),
        MaskFacts("b", (0, *other), names=other),
    ]
    held = meanings(masks)
    want = {"liver": 1, "ignore": 255}
    assert held.of(masks[1]).levels == (0, *(want[name.lower()] for name in other.values()))
    assert held.classes == ("background", "liver")


@pytest.mark.parametrize(
    ("values", "remap"), [((5, 1), {5: 2}), ((9, 255), {9: 1, 255: 2}), ((2, 1), {1: 2, 2: 1})]
)
def test_a_remap_of_stored_values_decides_where_files_agree(tmp_path, values, remap):
    path = volumes(tmp_path / "a", lambda n: {"liver": values[0], "tumor": values[1]})
    opened, _ = held(path, tmp_path / "set", remap=remap)
    order = [remap.get(value, value) for value in values]
    names = ("liver", "tumor") if order == [1, 2] else ("tumor", "liver")
    assert opened.classes == ("background", *names)
    for volume in opened.volumes:
        want = np.array([0, *order], np.uint8)[shapes(int(volume.id[1:]))]
        assert (opened.reference(volume)[:, :, 0] == want).all()


@pytest.mark.parametrize(
    ("names", "remap", "levels"),
    [
        ({1: "class 2"}, {}, (0, 2)),
        ({1: "Class 2", 2: "class 1", 3: "ignore"}, {}, (0, 2, 1, 255)),
        ({1: "class 2"}, {1: 2, 2: 1}, (0, 1)),  # of which the remap makes class 2
        ({1: "class 2"}, {7: 2, 2: 0}, (0, 7)),
        ({1: "class 2"}, {2: 1}, None),  # no value becomes class 2
        ({1: "class 2", 2: "tumor"}, {}, None),
        ({1: "class 2", 2: "Segment 1"}, {}, None),
        ({1: "foreground"}, {}, None),
        ({2: "foreground", 1: "ignore"}, {}, (0, 1, 255)),
    ],
)
def test_beside_masks_without_names_those_of_this_program_are_numbers(names, remap, levels):
    mask, other = MaskFacts("a.dcm", (0, *names), names=names), MaskFacts("b.nii.gz", (0, 1, 2))
    found = meanings([mask, other], remap=remap)
    assert found.of(mask).levels == (levels or mask.levels)
    assert found.of(other) == other
    assert [finding.severity for finding in found.findings] == (["note"] if levels else [])
