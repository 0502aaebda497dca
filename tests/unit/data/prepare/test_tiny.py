"""Classes that shrink to a few pixels are told, with the size that keeps them."""

import numpy as np
import pytest

from metadcseg.data.prepare.tiny import find_objects, tiny_classes, tiny_in_set
from metadcseg.data.store.reader import PreparedSet, SetWriter

NAMES = ("background", "lesion", "organ")


def squares(side, *sizes, classes=(1,), dtype=np.uint8):
    """A mask of (1, side, side) with a square of so many pixels a side for each size, in a row."""
    mask = np.zeros((1, side, side), dtype)
    step = max(sizes) + 2
    for number, size in enumerate(sizes):
        top, left = (step * place for place in divmod(number, side // step))
        mask[0, top : top + size, left : left + size] = classes[number % len(classes)]
    return mask


def told(masks, size=256, **options):
    objects = [find_objects(f"{number}.png", mask, size, **options) for number, mask in enumerate(masks)]
    return tiny_classes(objects, NAMES, size)


@pytest.mark.parametrize(("side", "square", "wanted"), [(640, 4, 480), (1024, 5, 608), (2000, 7, 832)])
def test_a_tiny_class_is_told_with_a_size_that_keeps_it_and_that_a_network_takes(side, square, wanted):
    (found,) = told([squares(side, square)])
    assert f"--training.size {wanted} " in found.sentence
    assert wanted % 32 == 0
    assert not told([squares(side, square)], wanted)
    (single,) = told([squares(side, square)], wanted - 32)
    assert f"--training.size {wanted} " in single.sentence


@pytest.mark.parametrize("many", [20, 100, 1000])
def test_one_speck_among_many_dictates_nothing(many):
    large = find_objects("a.png", squares(640, 50))
    masks = [large] * many + [find_objects("speck.png", squares(640, 3))]
    assert not tiny_classes(masks, NAMES)


def test_the_size_keeps_all_but_a_twentieth():
    """Of 100 objects 90 are of 30 pixels, 7 of 25, 3 of 9: the least are given up."""
    sizes = [6] * 90 + [5] * 7 + [3] * 3
    (found,) = told([squares(2000, *sizes)])
    assert "in 100 of 100 objects, such as in 0.png" in found.sentence
    assert "--training.size 1152 to keep 95 %" in found.sentence  # 2000 sqrt(8 / 25) = 1131


@pytest.mark.parametrize(("side", "square"), [(500, 3), (300, 3), (420, 3)])
def test_no_size_above_the_images_own_is_advised(side, square):
    (found,) = told([squares(side, square)], 128)
    size = int(found.sentence.split("--training.size ")[1].split()[0])
    assert 128 < size <= side


def test_objects_that_are_tiny_in_the_image_itself_are_told_where_there_are_no_others():
    assert not told([squares(640, 2, 2, 2, 50)])
    (found,) = told([squares(640, 2, 2, 2)] * 3)
    assert "has no object of 8 pixels or more in 3 masks, such as 0.png" in found.sentence
    assert "--training.size" not in found.sentence
    assert not told([squares(24, 1, 2)])  # the input grid is larger than the image


def test_each_object_counts_and_not_their_sum():
    mask = squares(640, *[4] * 200)
    assert (mask > 0).sum() > 8 * 640**2 / 256**2
    (found,) = told([mask])
    assert found.sentence.startswith(
        "lesion has fewer than 8 pixels at an input grid of 256 x 256 in 200 of 200"
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_classes_are_told_apart_whatever_type_holds_them(dtype):
    mask = squares(640, 4, 50, classes=(1, 2), dtype=dtype)
    assert find_objects("a", mask).sides == {1: {453: 1}, 2: {0: 1}}
    many = mask.astype(np.int64) * 450 - 1024 * (mask == 0)
    assert find_objects("a", many).sides == {450: {453: 1}, 900: {0: 1}}


def test_slices_of_volumes_are_measured_at_the_size_that_they_will_have():
    stack = np.concatenate([squares(512, 4)] * 3)
    (found,) = told([stack])
    assert "in 3 of 3 objects" in found.sentence
    assert not told([stack], native=(100, 100))  # a crop leaves a part, which shows the object larger
    (coarse,) = told([stack], zoom=0.1)  # --pixel has made it too small itself
    assert "no object of 8 pixels" in coarse.sentence


def test_noise_and_nothing_take_no_time():
    noise = np.random.default_rng(0).integers(0, 256, (1, 600, 600), np.uint8)
    assert len(find_objects("noise", noise).sides) == 255
    assert find_objects("none", np.zeros((0, 5, 5), np.uint8)).sides == {}
    assert not told([np.zeros((1, 600, 600), np.uint8)])


@pytest.fixture
def prepared(tmp_path):
    """A set of images of 200 x 200 with a lesion of 9 pixels and an organ of 2500; 300 of them."""
    with SetWriter(tmp_path / "set", name="set", classes=NAMES, channels=1) as writer:
        for number in range(300):
            mask = squares(200, 3, 50, classes=(1, 2))[0]
            mask[-9:] = 255
            image = np.full((200, 200, 1), number % 256, np.uint8)
            role = "test" if number > 280 else "gold" if number < 5 else "train"
            writer.add(id=str(number), role=role, group="", image=image, label=mask)
    return PreparedSet.open(tmp_path / "set")


def test_a_prepared_set_is_judged_at_the_size_of_a_training(prepared, monkeypatch):
    (found,) = tiny_in_set(prepared, 128)
    assert found.where == "lesion"
    assert "128 x 128 in 200 of 200 objects" in found.sentence
    assert found.sentence.endswith("train with --training.size 192 to keep 95 % of them")
    assert not tiny_in_set(prepared, 192)
    looked = []
    monkeypatch.setattr(
        PreparedSet, "label", lambda _, case: looked.append(case) or np.zeros((4, 4), np.uint8)
    )
    tiny_in_set(prepared, 96)
    assert len(looked) == 200
    assert {case.role for case in looked} == {"train", "gold"}
