import numpy as np
import pytest
from tests.reference import noise_kinds as reference

from metadcseg.noise.base import corrupt, draw_mask
from metadcseg.noise.careless import Careless


def disc(size, radius):
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    return (rows**2 + columns**2 < radius**2).astype(np.uint8)


def two_objects(number):
    """A large and a small object, so far apart that no pixel is as near to one as to the other."""
    rng = np.random.default_rng(number)
    mask = np.zeros((17, 22), np.uint8)
    high, wide = rng.integers(5, 9, 2)
    mask[3 : 3 + high, 2 : 2 + wide] = 1
    mask[3:5, 3:5] = rng.integers(0, 2, (2, 2))
    mask[13:15, 17 : 18 + rng.integers(0, 2)] = 1
    return mask


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.1, 2.5])
def test_it_is_the_loop_version(strength):
    model = Careless()
    same = total = 0
    for number in range(3):
        mask = two_objects(number)
        draws = draw_mask(model, 0, str(number), 2)
        slow = reference.careless(
            mask.tolist(), draws[0], strength, model.sway, model.waves, model.overlooked
        )
        same += int((corrupt(mask, draws, model, strength) == np.array(slow)).sum())
        total += mask.size
    assert same >= total - 6  # pixels as near to one object as to the other may go to either


def test_outlines_are_too_large_on_average_but_not_all_of_them():
    mask, model = disc(80, 18), Careless()
    drawn = [draw_mask(model, 0, str(number), 2) for number in range(300)]
    kept = [one for one in drawn if one[0]["first"] >= 0.3 * model.overlooked]
    growth = np.array([corrupt(mask, one, model, 0.3).sum() / mask.sum() for one in kept])
    assert np.sqrt(growth).mean() == pytest.approx(1.3, abs=0.06)  # the radius: a lean of 1 on average
    assert 0.0 < (growth < 1.02).mean() < 0.2


def test_an_outline_sways_by_what_is_asked_for():
    mask = disc(80, 18)
    steady, unsteady = Careless(leans=(0.0, 0.0), sway=0.0), Careless(leans=(0.0, 0.0), sway=1.0)
    missed = np.array(
        [draw_mask(steady, 0, str(n), 2)[0]["first"] < 0.2 * steady.overlooked for n in range(50)]
    )
    changed = np.array(
        [
            [(corrupt(mask, draw_mask(model, 0, str(n), 2), model, 0.2) != mask).sum() for n in range(50)]
            for model in (steady, unsteady)
        ]
    )
    assert not changed[0][~missed].any()
    assert changed[1][~missed].mean() > 0.1 * mask.sum()


def test_objects_are_overlooked_as_often_as_said_and_whole():
    mask, model = disc(24, 6), Careless()
    gone = [not corrupt(mask, draw_mask(model, 1, str(n), 2), model, 0.6).any() for n in range(600)]
    assert np.mean(gone) == pytest.approx(0.6 * model.overlooked, abs=0.05)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_a_strength_means_the_same_at_twice_the_resolution(name):
    model = Careless()
    draws = draw_mask(model, 0, name, 2)
    one, other = disc(60, 12), disc(120, 24)
    small, large = corrupt(one, draws, model, 0.4), corrupt(other, draws, model, 0.4)
    assert small.sum() / one.sum() == pytest.approx(large.sum() / other.sum(), abs=0.12)


def test_a_class_that_is_everywhere_or_nowhere_is_left_alone():
    model = Careless()
    draws = [{**draw_mask(model, 0, "x", 2)[0], "first": 0.9}]
    for mask in (np.ones((6, 7), np.uint8), np.zeros((6, 7), np.uint8)):
        np.testing.assert_array_equal(corrupt(mask, draws, model, 0.4), mask)
