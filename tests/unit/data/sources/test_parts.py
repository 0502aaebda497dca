"""One binary file for each organ or lesion, masks with longer names, and masks beside their images."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from tests.unit.data.folders import picture, save

from metadcseg.data.prepare.checks import check_folder
from metadcseg.data.prepare.pipeline import prepare_folder
from metadcseg.data.store import PreparedSet
from metadcseg.pairs.read import read_pairs


def box(number, value=255, side=24):
    """Return a square at a place that differs from number to number."""
    drawn = np.zeros((side, side), np.uint8)
    drawn[2 + number : 8 + number, 3:9] = value
    return drawn


def stored(path, out):
    prepare_folder(path, out, edges="none")
    held = PreparedSet.open(out)
    whole = {volume.id: held.reference(volume) for volume in held.volumes}
    return held.classes, whole or {case.id: held.label(case) for case in held.cases}


def sentences(path, code):
    return [finding.sentence for finding in check_folder(path).findings if finding.code == code]


def images(path, names):
    for number, name in enumerate(names):
        save(path / "images" / f"{name}.png", picture(number, 24, 24))
    return path


@pytest.mark.parametrize("end", ["_mask", "-seg", "_Segmentation", ".label", "_gt", " mask"])
def test_one_suffix_of_all_masks_is_taken_off(tmp_path, end):
    path = images(tmp_path / "a", "abcdef")
    for number, name in enumerate("abcdef"):
        save(path / "masks" / f"{name}{end}.png", box(number))
    (note,) = sentences(path, "mask-joined")
    assert f"6 masks end in '{end.lower()}'" in note
    _, labels = stored(path, tmp_path / "set")
    assert all((labels[name] == box(number, 1)).all() for number, name in enumerate("abcdef"))


@pytest.mark.parametrize(("first", "end"), [("_mask", "_mask_{}"), ("_seg1", "_seg{}"), ("_gt-1", "_gt-{}")])
def test_numbered_masks_are_joined(tmp_path, first, end):
    path = images(tmp_path / "a", "abcdef")
    for number, name in enumerate("abcdef"):
        save(path / "masks" / f"{name}{first}.png", box(number))
    for extra in (2, 3):
        save(path / "masks" / f"b{end.format(extra)}.png", box(4 * extra))
    (note,) = sentences(path, "mask-joined")
    assert "8 masks" in note
    assert "1 image with several" in note
    classes, labels = stored(path, tmp_path / "set")
    assert (labels["b"] == np.maximum(box(1, 1), np.maximum(box(8, 1), box(12, 1)))).all()
    assert (labels["c"] == box(2, 1)).all()
    assert classes == ("background", "foreground")


def test_masks_of_two_values_are_not_joined(tmp_path):
    path = images(tmp_path / "a", "abcdef")
    for number, name in enumerate("abcdef"):
        save(path / "masks" / f"{name}_mask.png", box(number, 1))
    save(path / "masks/a_mask_2.png", box(9, 2))
    (error,) = sentences(path, "mask-unreadable")
    assert "a_mask_2.png holds 2 and another part of its mask 1" in error


@pytest.mark.parametrize(
    "part", [np.tile(np.linspace(0, 255, 24, dtype=np.uint8), (24, 1)), box(3) - 3], ids=["map", "no zero"]
)
def test_a_part_that_is_not_binary_is_refused(tmp_path, part):
    path = images(tmp_path / "a", "abcdef")
    for number, name in enumerate("abcdef"):
        save(path / "masks" / f"{name}_mask.png", box(number))
    save(path / "masks/c_mask_1.png", part)
    (error,) = sentences(path, "mask-unreadable")
    assert "c_mask_1.png is one of several files of a mask and must hold 0 and one value" in error


@pytest.mark.parametrize("other", ["a_mask.png", "a_mask_1.png", "a/lesion.png"])
def test_two_masks_of_one_image_are_both_named(tmp_path, other):
    path = images(tmp_path / "a", "abcdef")
    for number, name in enumerate("abcdef"):
        save(path / "masks" / f"{name}.png", box(number))
    save(path / "masks" / other, box(5))
    (error,) = sentences(path, "stem-twice")
    assert "masks/a.png and " in error
    assert not check_folder(path).ok


def test_masks_with_two_suffixes_are_not_guessed(tmp_path):
    path = images(tmp_path / "a", "abcdef")
    for number, name in enumerate("abcdef"):
        save(path / "masks" / f"{name}_{'mask' if number else 'gt'}.png", box(number))
    assert len(sentences(path, "mask-missing")) == 6


def test_folders_of_lesions_are_one_class(tmp_path):
    path = images(tmp_path / "a", "abcdef")
    for number, name in enumerate("abcdef"):
        for lesion in range(1 + number % 3):
            save(path / "masks" / name / f"lesion_{lesion}.png", box(6 * lesion))
    assert not sentences(path, "file-ignored")
    (path / "masks/a/notes.txt").write_text("seen by B")
    assert "masks/a holds 1 other file, such as notes.txt" in sentences(path, "file-ignored")[0]
    classes, labels = stored(path, tmp_path / "set")
    assert classes == ("background", "lesion")
    assert (labels["c"] == box(0, 1) + box(6, 1) + box(12, 1)).all()


def test_folders_of_organs_are_classes_of_one_table(tmp_path):
    path = images(tmp_path / "a", "abcdef")
    for number, name in enumerate("abcdef"):
        save(path / "masks" / name / "liver.png", box(0))
        if number % 2:
            save(path / "masks" / name / f"{name}_aorta.png", box(4, 1))
        save(path / "masks" / name / "rib_1.png", np.zeros((24, 24), np.uint8))
    (note,) = sentences(path, "label-absent")
    assert "3 of 6 masks do not have all classes" in note
    assert "without 'aorta'" in note
    classes, labels = stored(path, tmp_path / "set")
    assert classes == ("background", "aorta", "liver", "rib_1")
    assert (labels["a"] == 2 * box(0, 1)).all()
    overlap = np.where(box(0) > 0, 2, box(4, 1))  # of equal extent: the later name
    assert (labels["b"] == overlap).all()
    assert "12 places lie in two of its classes" in sentences(path, "mask-converted")[0]


def test_a_lesion_in_an_organ_is_kept_whatever_it_is_called(tmp_path):
    path = images(tmp_path / "a", "abcdef")
    for name in "abcdef":
        save(path / "masks" / name / "liver.png", box(0) | box(5))
        save(path / "masks" / name / "abscess.png", box(4) & box(6))
    classes, labels = stored(path, tmp_path / "set")
    assert classes == ("background", "abscess", "liver")
    assert (labels["a"] == np.where(box(4) & box(6), 1, 2 * ((box(0) | box(5)) > 0))).all()


def test_a_class_that_vanishes_under_another_is_named(tmp_path):
    path = images(tmp_path / "a", "abcdef")
    for name in "abcdef":
        save(path / "masks" / name / "liver.png", box(0))
        save(path / "masks" / name / "spleen.png", box(0))
    assert "all of 'liver' is covered by other classes" in sentences(path, "mask-unreadable")[0]


def test_gold_folders_make_pairs_by_the_same_table(tmp_path):
    path = images(tmp_path / "a", "abcdefgh")
    for name in "abcdefgh":
        save(path / "masks" / name / "liver.png", box(0))
        save(path / "masks" / name / "cyst.png", box(9))
    for name in "ab":
        save(path / "gold" / name / "liver.png", box(1))
    assert check_folder(path).ok
    pairs = read_pairs(path)
    assert [pair.id for pair in pairs.pairs] == ["a", "b"]
    assert pairs.classes == ("background", "cyst", "liver")
    assert (pairs.pairs[0].verified == 2 * box(1, 1)).all()
    assert (pairs.pairs[0].given == 2 * box(0, 1) + box(9, 1)).all()


def volume(path, array, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([1.0, 1.0, 3.0, 1.0]) if affine is None else affine), path)


def deep(number, value=1):
    return np.repeat(box(number, value)[:, :, None], 4, axis=2)


def total(root, number=6):
    """Write cases as TotalSegmentator does."""
    for case in range(number):
        noise = np.random.default_rng(case).normal(size=(24, 24, 4)).astype(np.float32)
        volume(root / f"s{case:04d}/ct.nii.gz", noise)
        for organ, at in (("spleen", 8), ("kidney_left", case), ("vertebrae_L1", 16)):
            volume(root / f"s{case:04d}/segmentations/{organ}.nii.gz", deep(at))
    return root


def test_total_segmentator(tmp_path):
    path = total(tmp_path / "a")
    assert check_folder(path).ok
    classes, labels = stored(path, tmp_path / "set")
    assert classes == ("background", "kidney_left", "spleen", "vertebrae_L1")
    want = deep(0)  # the three do not overlap in this case
    want[deep(8) > 0], want[deep(16) > 0] = 2, 3
    assert (labels["s0000"] == want).all()


def test_organs_of_another_size_or_with_fractions_are_named(tmp_path):
    path = total(tmp_path / "a")
    volume(path / "s0001/segmentations/spleen.nii.gz", deep(3)[:20])
    volume(path / "s0002/segmentations/spleen.nii.gz", deep(3).astype(np.float32) / 2)
    volume(
        path / "s0003/segmentations/spleen.nii.gz",
        deep(8),
        np.diag([1.0, 1.0, 3.0, 1.0]) + np.eye(4, k=3) * 9,
    )
    found = sentences(path, "mask-unreadable")
    assert len(found) == 3
    assert "s0001/segmentations/spleen.nii.gz is 20 x 24 x 4" in found[0]
    assert "fractions" in found[1]
    assert "different places" in found[2]


@pytest.mark.parametrize("end", ["_seg", "-label", "_mask"])
def test_volumes_may_have_longer_names(tmp_path, end):
    path = tmp_path / "a"
    for case in range(5):
        volume(path / f"images/v{case}.nii.gz", np.random.default_rng(case).normal(size=(24, 24, 4)))
        volume(path / f"masks/v{case}{end}.nii.gz", deep(case))
    _, labels = stored(path, tmp_path / "set")
    assert (labels["v3"] == deep(3)).all()


def busi(root: Path):
    for number, kind in enumerate(["benign", "malignant", "normal"]):
        for case in range(1, 5):
            name = f"{kind} ({case})"
            save(root / kind / f"{name}.png", picture(10 * number + case, 24, 24))
            save(root / kind / f"{name}_mask.png", box(case, 0 if kind == "normal" else 255))
    save(root / "benign/benign (2)_mask_1.png", box(14))
    return root


def test_busi(tmp_path):
    path = busi(tmp_path / "a")
    assert check_folder(path).ok
    assert any(
        "12 images and their masks lie beside each other in 3 folders" in s
        for s in sentences(path, "mask-joined")
    )
    _, labels = stored(path, tmp_path / "set")
    assert len(labels) == 12
    assert (labels["benign (2)"] == box(2, 1) + box(14, 1)).all()
    assert not labels["normal (1)"].any()


def test_images_beside_their_masks_without_folders_and_one_without(tmp_path):
    for number, name in enumerate("abcde"):
        save(tmp_path / "a" / f"{name}.png", picture(number, 24, 24))
        if number:
            save(tmp_path / "a" / f"{name}-mask.png", box(number))
    (error,) = sentences(tmp_path / "a", "mask-missing")
    assert "a.png has no mask: add " in error
    assert "a-mask.png" in error


def test_names_that_occur_in_two_folders_are_told_apart(tmp_path):
    for number, kind in enumerate(["one", "two"]):
        for case in range(4):
            save(tmp_path / "a" / kind / f"{case}.png", picture(9 * number + case, 24, 24))
            save(tmp_path / "a" / kind / f"{case}_mask.png", box(number))
    _, labels = stored(tmp_path / "a", tmp_path / "set")
    assert sorted(labels)[:2] == ["one_0", "one_1"]
    assert (labels["two_3"] == box(1, 1)).all()


def test_more_classes_than_labels_can_tell_are_refused(tmp_path):
    path = images(tmp_path / "a", "abcdef")
    for name in "abcdef":
        save(path / "masks" / name / "liver.png", box(0))
    for number in range(255):
        save(path / "masks/a" / f"{number:03d}_{'x' * 150}.png", box(0))
    (error,) = sentences(path, "mask-unreadable")
    assert "masks/a holds 256 classes, at most 254 fit" in error


def test_palettes_of_parts_may_begin_with_any_color(tmp_path):
    path = images(tmp_path / "a", "abcdef")
    for number, name in enumerate("abcdef"):
        for part in (0, 9):
            image = Image.fromarray(
                (box(number + part) == 0).astype(np.uint8) if number % 2 else box(number + part, 1)
            )
            image.putpalette([0, 200, 0, 0, 0, 0] if number % 2 else [0, 0, 0, 0, 200, 0])
            save(path / "masks" / f"{name}_mask_{part}.png", box(0))
            image.save(path / "masks" / f"{name}_mask_{part}.png")
    _, labels = stored(path, tmp_path / "set")
    assert (labels["b"] == box(1, 1) | box(10, 1)).all()
    assert (labels["c"] == box(2, 1) | box(11, 1)).all()


@pytest.mark.parametrize("names", [("x/liver.jpg", "x/spleen.jpg"), ("x_mask.jpg", "x_mask_1.jpg")])
def test_soft_parts_are_cut_like_one_soft_mask(tmp_path, names):
    """JPEG of one organ each: what a single JPEG mask gets, with a note."""
    drawn = [np.zeros((60, 80), np.uint8) for _ in names]
    drawn[0][10:50, 8:32] = drawn[1][20:44, 44:70] = 255
    for stem in "abcdef":
        save(tmp_path / f"f/images/{stem}.png", picture(ord(stem), 60, 80))
        for name, mask in zip(names, drawn, strict=True):
            save(tmp_path / "f/masks" / name.replace("x", stem, 1), mask, quality=90)
    assert "gray levels between black and white" in sentences(tmp_path / "f", "mask-converted")[0]
    classes, labels = stored(tmp_path / "f", tmp_path / "set")
    for value, mask in enumerate(drawn, start=1):
        assert ((labels["a"] == min(value, len(classes) - 1)) >= (mask > 0)).all()
    assert ((labels["a"] > 0) == (drawn[0] + drawn[1] > 0)).all()
