import json

import numpy as np
import pytest
from tests.reference import noise_kinds as reference

from metadcseg.noise.base import corrupt, draw_mask
from metadcseg.noise.systematic import Annotator, Over, Shift, Under


def blobs(rng, shape=(23, 27)):
    """Rectangles here and there, some at the border, some that touch."""
    mask = np.zeros(shape, np.uint8)
    for _ in range(4):
        top, left, height, width = rng.integers(0, (18, 20, 10, 10))
        mask[top : top + height + 1, left : left + width + 1] = 1
    mask[0, 0] = 1
    assert 0 < mask.sum() < mask.size
    return mask


@pytest.mark.parametrize(("model", "loop"), [(Over(), reference.over), (Under(), reference.under)])
@pytest.mark.parametrize("reach", [0, 1, 2, 5, 40])
def test_squares_are_the_loop_version(model, loop, reach):
    rng = np.random.default_rng(reach)
    for _ in range(3):
        mask = blobs(rng)
        noisy = corrupt(mask, [{"reach": reach, "rounding": 0.0}], model, 1.0)
        assert noisy.tolist() == loop(mask.tolist(), reach)


@pytest.mark.parametrize(("model", "reaches"), [(Over(), range(5, 13)), (Under(), range(3, 8))])
def test_reaches_are_drawn_uniformly_and_are_json(model, reaches):
    drawn = [draw_mask(model, 0, str(number), 2)[0] for number in range(2000)]
    assert json.loads(json.dumps(drawn)) == drawn
    for reach in reaches:
        assert np.mean([one["reach"] == reach for one in drawn]) == pytest.approx(1 / len(reaches), abs=0.03)
    assert {model.step(one, 1.0) for one in drawn} == set(reaches)
    assert {model.step(one, 0.0) for one in drawn} == {0}
    excess = [model.step(one, 0.37) - 0.37 * one["reach"] for one in drawn]
    assert np.mean(excess) == pytest.approx(0.0, abs=0.02)


def test_a_square_too_large_leaves_the_middle_of_every_object():
    mask = np.zeros((20, 20), np.uint8)
    mask[1:4, 1:4] = mask[8:17, 8:17] = 1
    mask[18, 1] = 1
    noisy = corrupt(mask, [{"reach": 9, "rounding": 0.0}], Under(), 3.0)
    assert np.argwhere(noisy).tolist() == [[2, 2], [12, 12], [18, 1]]


@pytest.mark.parametrize("model", [Over(), Under()])
def test_a_full_and_an_empty_mask_stay(model):
    for mask in (np.zeros((6, 7), np.uint8), np.ones((6, 7), np.uint8), np.full((6, 7), 255, np.uint8)):
        np.testing.assert_array_equal(corrupt(mask, [{"reach": 5, "rounding": 0.5}], model, 9.0), mask)


def test_the_names_of_the_presets_are_the_sides_of_the_squares():
    assert (Over().preset, Under().preset) == ("over-11-25", "under-7-15")
    assert Annotator().preset == "annotator-1-of-4-11-25"


@pytest.mark.parametrize("direction", [0.0, 77.0, 200.0, 315.0])
@pytest.mark.parametrize("distance", [0.0, 2.6, 9.0, 200.0])
def test_a_shift_is_the_loop_version(direction, distance):
    mask = blobs(np.random.default_rng(1))
    one = {"direction": direction, "length": 1.1, "down": 0.3, "right": 0.8}
    down, right = Shift().step(one, distance)
    assert np.hypot(down, right) == pytest.approx(1.1 * distance, abs=1.5)
    noisy = corrupt(mask, [one], Shift(), distance)
    assert noisy.tolist() == reference.moved(mask.tolist(), down, right)


def test_directions_are_anticlockwise_from_the_right_and_shared_by_all_classes():
    still = {"length": 1.0, "down": 0.5, "right": 0.5}
    steps = [Shift().step({**still, "direction": 90.0 * quarter}, 4.0) for quarter in range(4)]
    assert steps == [(0, 4), (-4, 0), (0, -4), (4, 0)]
    first, second = draw_mask(Shift(), 0, "a", 3)
    assert first == second
    assert first["direction"] != draw_mask(Shift(), 0, "b", 3)[0]["direction"]


def test_one_annotator_in_four_is_bad_and_the_others_change_nothing():
    mask = blobs(np.random.default_rng(2))
    drawn = [draw_mask(Annotator(), 0, str(number), 3) for number in range(1000)]
    assert all(first["annotator"] == second["annotator"] for first, second in drawn)
    for who in range(4):
        of_one = [draws for draws in drawn if draws[0]["annotator"] == who]
        assert len(of_one) == pytest.approx(250, abs=50)
        noisy = corrupt(mask, of_one[0][:1], Annotator(), 0.6)
        wide = reference.over(mask.tolist(), Annotator().step(of_one[0][0], 0.6))
        assert noisy.tolist() == (mask.tolist() if who else wide)
    assert json.loads(json.dumps(drawn)) == drawn
