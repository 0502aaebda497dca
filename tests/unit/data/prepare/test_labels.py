import numpy as np
import pytest
from PIL import Image
from tests.unit.data.folders import disc, save

from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid, Volume
from metadcseg.data.formats.images import Picture, read_mask
from metadcseg.data.prepare.facts import MaskFacts
from metadcseg.data.prepare.facts import mask_facts as facts_of
from metadcseg.data.prepare.labels import settle
from metadcseg.errors import InputError


def facts(*levels, where="a.png", **options):
    return MaskFacts(where, levels, **options)


def mask_facts(where, picture):
    """Look at a picture as at a volume of one slice."""
    array = np.asarray(picture.array)[:, :, None]
    return facts_of(where, Volume(array, Grid(array.shape, UNKNOWN_AFFINE, known=False), lossy=picture.lossy))


def labels(masks, remap=None):
    """Settle lossless masks together and return what each becomes."""
    pictures = [Picture(np.asarray(mask)) for mask in masks]
    found = [mask_facts(f"{number}.png", mask) for number, mask in enumerate(pictures)]
    scheme, findings = settle(found, remap)
    assert scheme is not None, findings
    return [scheme.apply(mask.array, entry).tolist() for mask, entry in zip(pictures, found, strict=True)]


def test_black_and_white_is_foreground():
    assert labels([[[0, 255]], [[0, 0]], [[255, 255]]]) == [[[0, 1]], [[0, 0]], [[1, 1]]]


def test_class_numbers_stay():
    assert labels([[[0, 1]], [[0, 2]]]) == [[[0, 1]], [[0, 2]]]


def test_255_beside_classes_is_ignored():
    assert labels([[[0, 1, 255]]]) == [[[0, 1, 255]]]


def test_black_and_white_mixes_with_zero_and_one():
    assert labels([[[0, 1]], [[0, 255]]]) == [[[0, 1]], [[0, 1]]]


def test_white_is_foreground_beside_a_value_that_is_ignored():
    assert labels([[[0, 128, 255]], [[0, 128, 0]], [[0, 255, 0]]], {128: 255}) == [
        [[0, 255, 1]],
        [[0, 255, 0]],
        [[0, 1, 0]],
    ]


def test_a_remap_is_applied_first():
    assert labels([[[0, 7, 900]]], {7: 1, 900: 2}) == [[[0, 1, 2]]]
    assert labels([[[0, 128, 255]]], {128: 1, 255: 2}) == [[[0, 1, 2]]]
    assert labels([[[0, 1, 255]], [[0, 0, 255]]], {255: 255}) == [[[0, 1, 255]], [[0, 0, 255]]]


def test_what_255_is_must_be_said_where_it_is_ambiguous():
    held = [facts(0, 1, 2), facts(0, 255, where="b.png")]
    scheme, findings = settle(held)
    assert scheme is None
    assert [(finding.code, finding.where) for finding in findings] == [("label-ambiguous", "b.png")]
    assert settle(held, {255: 1})[0] is not None
    assert settle(held, {255: 255})[0] is not None
    assert settle([facts(0, 1, 255), facts(0, 255)])[0] is None


@pytest.mark.parametrize(
    ("levels", "suggestion"),
    [
        ((0, 7, 900), "--remap 7:1,900:2"),
        ((0, 128, 255), "--remap 128:1,255:2"),
        ((0, 1, 2, 9), "--remap 9:3"),
        ((0, 1, 3, 255), "--remap 3:2"),
        ((-1, 0, 1), "--remap=-1:0"),
        ((-1024, 0, 1), "--remap=-1024:0"),
        ((-2, -1, 0, 1, 7), "--remap=-2:0,-1:0,7:2"),
    ],
)
def test_unexpected_values_come_with_a_remap_that_works(levels, suggestion):
    scheme, findings = settle([facts(0), facts(*levels, where="b.png")])
    assert scheme is None
    assert [(finding.code, finding.where) for finding in findings] == [("label-unexpected", "b.png")]
    assert findings[0].sentence.endswith(suggestion)
    pairs = [pair.split(":") for pair in suggestion.removeprefix("--remap")[1:].split(",")]
    repaired = settle([facts(*levels)], {int(value): int(label) for value, label in pairs})
    assert repaired[0] is not None, repaired[1]


def test_only_files_with_the_stray_value_are_blamed():
    held = [facts(0, 1, 2, where="good.png"), facts(0, 1, 7, where="bad.png")]
    assert [finding.where for finding in settle(held)[1]] == ["bad.png"]


def test_named_classes_need_not_all_appear():
    assert settle([facts(0, 2)])[0] is None
    scheme, findings = settle([facts(0, 2)], classes=4)
    assert scheme is not None
    assert scheme.classes == 4
    assert not findings
    assert "--remap 4:0" in settle([facts(0, 4)], classes=4)[1][0].sentence


def test_no_foreground_anywhere_is_an_error():
    scheme, findings = settle([facts(0), facts(0)])
    assert scheme is None
    assert findings[0].code == "no-foreground"
    assert settle([facts(0), facts(0, 1)])[0] is not None


@pytest.mark.parametrize("quality", [20, 75, 95])
def test_jpeg_masks_are_thresholded_and_said(tmp_path, quality):
    mask = disc(40, 44)
    read = read_mask(save(tmp_path / "a.jpg", mask, quality=quality))
    assert len(np.unique(read.array)) > 4, "the test needs gray levels"
    found = mask_facts("a.jpg", read)
    scheme, findings = settle([found])
    assert [(finding.severity, finding.code) for finding in findings] == [("note", "mask-gray-levels")]
    np.testing.assert_array_equal(scheme.apply(read.array, found), read.array > 127)
    assert np.mean((read.array > 127) != (mask > 127)) < 0.01


def test_soft_edges_of_resampling_are_thresholded_too():
    for side in (30, 150):
        soft = np.array(Image.fromarray(disc(40, 44)).resize((side, side), Image.Resampling.BILINEAR))
        assert mask_facts("a.png", Picture(soft)).soft
    assert not mask_facts("a.png", Picture(disc())).soft


def test_gray_regions_are_classes_not_edges(tmp_path):
    cup = disc(60, 60, value=128)
    cup[25:35, 25:35] = 255
    assert not mask_facts("a.png", Picture(cup)).soft
    read = read_mask(save(tmp_path / "a.jpg", cup))
    scheme, findings = settle([mask_facts("a.jpg", read)])
    assert scheme is None
    assert "save it as PNG" in findings[0].sentence


def test_class_numbers_do_not_survive_jpeg(tmp_path):
    read = read_mask(save(tmp_path / "a.jpg", disc(value=2), quality=60))
    assert settle([mask_facts("a.jpg", read)])[1][0].code in ("mask-not-labels", "label-unexpected")


def test_a_photograph_is_no_mask():
    ramp = np.arange(480, dtype=np.uint16).reshape(20, 24)
    assert settle([mask_facts("a.png", Picture(ramp))])[1][0].code == "mask-not-labels"


def test_a_remap_may_speak_of_gray_levels():
    soft = np.array(Image.fromarray(disc(40, 44)).resize((20, 22), Image.Resampling.BILINEAR))
    picture = Picture(soft)
    found = mask_facts("a.png", picture)
    remap = {int(level): int(level > 200) for level in np.unique(soft)}
    scheme, findings = settle([found], remap)
    assert scheme is not None
    assert not findings
    np.testing.assert_array_equal(scheme.apply(soft, found), soft > 200)


def test_dozens_of_values_get_no_endless_remap():
    sentence = settle([facts(*range(0, 250, 5))])[1][0].sentence
    assert "save a mask of class numbers" in sentence
    assert len(sentence) < 200


@pytest.mark.parametrize("label", [300, -1])
def test_a_remap_to_no_class_is_refused(label):
    with pytest.raises(InputError, match="--remap"):
        settle([facts(0, 7)], {7: label})


SOFT = tuple(range(0, 256, 5))


def of_gold(levels=(0, 1, 255)):
    return [MaskFacts(f"gold/{n}.png", levels) for n in range(3)]


@pytest.mark.parametrize("levels", [SOFT, (0, 255)])
@pytest.mark.parametrize("remap", [{}, {255: 255}])
def test_white_in_jpeg_is_an_object_where_255_is_unknown_elsewhere(levels, remap):
    """No remap could serve both: 255 is the object in the one and nobody knows what in the other."""
    jpeg = MaskFacts("anna/a.jpg", levels, soft=len(levels) > 2, lossy=True)
    gold = of_gold()
    scheme, found = settle([jpeg, *gold], remap)
    assert [one.severity for one in found] == (["note"] if len(levels) > 2 else [])
    assert all("while 255 is unknown in other masks" in one.sentence for one in found)
    assert scheme.classes == 2
    assert scheme.apply(np.array([0, 200 if len(levels) > 2 else 255, 255], np.uint8), jpeg).tolist() == [
        0,
        1,
        1,
    ]
    assert scheme.apply(np.array([0, 1, 255], np.uint8), gold[0]).tolist() == [0, 1, 255]


def test_white_in_jpeg_beside_two_classes_is_open():
    jpeg = MaskFacts("anna/a.jpg", SOFT, soft=True, lossy=True)
    for remap in ({}, {255: 255}):
        scheme, found = settle([jpeg, *of_gold((0, 1, 2, 255))], remap)
        (told,) = [one.sentence for one in found if one.severity == "error"]
        assert scheme is None
        assert "save it as PNG with the number of its class" in told
        assert "--remap" not in told
    scheme, found = settle([jpeg, *of_gold((0, 1, 2))], {255: 2})
    assert scheme.apply(np.array([0, 255], np.uint8), jpeg).tolist() == [0, 2]


def test_no_remap_is_suggested_that_is_wrong_for_the_other_masks():
    white = MaskFacts("masks/a.png", (0, 255))
    _, found = settle([white, *of_gold()])
    told = found[0].sentence
    assert "--remap 255:1" not in told
    assert "--remap 255:255 if it is ignored, as in gold/0.png; if it is foreground, save it with" in told
    _, found = settle([white, *of_gold((0, 1, 2))])
    assert "--remap 255:1 if it is foreground" in found[0].sentence


@pytest.mark.parametrize(
    ("levels", "remap", "way"),
    [
        ([(0, 7, 9)], {7: 1}, "--remap 7:1,9:2"),
        ([(0, 1), (0, 7, 900)], {1: 5}, "--remap 1:1,7:2,900:3"),
        ([(0, 3)], {3: 7}, "--remap 3:1"),
    ],
)
def test_the_remap_that_is_advised_holds_what_was_given_and_settles_the_masks(levels, remap, way):
    found = [facts(*held, where=f"{number}.png") for number, held in enumerate(levels)]
    _, findings = settle(found, remap)
    assert findings[0].sentence.endswith(f"try {way}")
    pairs = (pair.split(":") for pair in way.removeprefix("--remap ").split(","))
    assert settle(found, {int(value): int(label) for value, label in pairs})[1] == []


def test_what_white_may_be_is_advised_beside_the_remap_given():
    found = [facts(0, 7, where="a.png"), facts(0, 9, where="b.png"), facts(0, 255, where="c.png")]
    _, findings = settle(found, {7: 1, 9: 2})
    assert (
        "pass --remap 7:1,9:2,255:1 if it is foreground, --remap 7:1,9:2,255:255 if" in findings[0].sentence
    )
