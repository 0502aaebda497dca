import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from tests.unit.noise.tools import apply, draws_for

from metadcseg.errors import InputError
from metadcseg.noise import draws as noise_draws
from metadcseg.noise import paper as noise
from metadcseg.noise.base import corrupt, draw_mask
from metadcseg.noise.calibration import calibrate
from metadcseg.noise.registry import MODELS, noise_model

quick = settings(deadline=None, max_examples=25, derandomize=True)
shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)
masks = arrays(np.uint8, shapes, elements=st.sampled_from([0, 0, 1, 2, 255]))
binary = arrays(np.uint8, shapes, elements=st.sampled_from([0, 0, 1, 255]))
strengths = st.one_of(st.floats(0, 3), st.floats(0, 1e4))
seeds = st.integers(0, 2**40)
every_model = pytest.mark.parametrize("name", MODELS)


def corrupted(name, mask, strength, seed, classes=2):
    model = noise_model(name, 0.4)
    return corrupt(mask, draw_mask(model, seed, "case", classes), model, strength)


def inside(mask):
    return (mask > 0) & (mask < 255)


@every_model
@quick
@given(mask=masks, strength=strengths, seed=seeds)
def test_corrupting_is_pure_keeps_ignored_pixels_and_invents_no_class(name, mask, strength, seed):
    before = mask.copy()
    noisy = corrupted(name, mask, strength, seed, 3)
    np.testing.assert_array_equal(mask, before)
    np.testing.assert_array_equal(noisy, corrupted(name, mask, strength, seed, 3))
    assert (noisy.shape, noisy.dtype) == (mask.shape, mask.dtype)
    assert not np.shares_memory(noisy, mask)
    np.testing.assert_array_equal(noisy == 255, mask == 255)
    assert set(np.unique(noisy)) <= {*np.unique(mask), 0}


@every_model
@quick
@given(
    ids=st.lists(st.text(max_size=6), min_size=1, max_size=5, unique=True), seed=seeds, shuffler=st.randoms()
)
def test_draws_are_json_and_depend_on_seed_and_id_alone(name, ids, seed, shuffler):
    model = noise_model(name, 0.4)
    ordered = {image: draw_mask(model, seed, image, 3) for image in ids}
    shuffler.shuffle(ids)
    assert {image: draw_mask(model, seed, image, 3) for image in ids} == ordered
    assert json.loads(json.dumps(ordered)) == ordered
    assert all(len(draws) == 2 for draws in ordered.values())


@every_model
@quick
@given(mask=binary, strength=strengths, seed=seeds)
def test_equal_steps_make_equal_masks(name, mask, strength, seed):
    model = noise_model(name, 0.4)
    draws = draw_mask(model, seed, "case", 2)
    other = strength + 0.01
    if model.step(draws[0], strength) == model.step(draws[0], other):
        np.testing.assert_array_equal(
            corrupt(mask, draws, model, strength), corrupt(mask, draws, model, other)
        )


@every_model
@quick
@given(mask=binary, seed=seeds)
def test_beyond_the_limit_nothing_changes(name, mask, seed):
    limit = noise_model(name, 0.4).limit(max(mask.shape))
    np.testing.assert_array_equal(
        corrupted(name, mask, limit, seed), corrupted(name, mask, 1.7 * limit, seed)
    )


@pytest.mark.parametrize("name", ["over", "invented", "annotator"])
@quick
@given(mask=binary, strength=strengths, seed=seeds, more=st.floats(1, 3))
def test_what_adds_only_adds_the_more_the_stronger(name, mask, strength, seed, more):
    noisy = corrupted(name, mask, strength, seed)
    assert not (inside(mask) & ~inside(noisy)).any()
    assert not (inside(noisy) & ~inside(corrupted(name, mask, strength * more, seed))).any()


@pytest.mark.parametrize("name", ["under", "missing"])
@quick
@given(mask=binary, strength=strengths, seed=seeds, more=st.floats(1, 3))
def test_what_removes_only_removes_the_more_the_stronger(name, mask, strength, seed, more):
    noisy = corrupted(name, mask, strength, seed)
    assert not (inside(noisy) & ~inside(mask)).any()
    assert not (inside(corrupted(name, mask, strength * more, seed)) & ~inside(noisy)).any()


@quick
@given(mask=binary, strength=st.floats(0, 1), seed=seeds)
def test_objects_are_missing_whole_or_not_at_all(mask, strength, seed):
    left = inside(corrupted("missing", mask, strength, seed))
    objects, count = ndimage.label(inside(mask), np.ones((3, 3)))
    for number in range(1, count + 1):
        assert left[objects == number].all() or not left[objects == number].any()


@quick
@given(mask=binary, strength=strengths, seed=seeds)
def test_no_object_is_too_small_for_under(mask, strength, seed):
    left = inside(corrupted("under", mask, strength, seed))
    objects, count = ndimage.label(mask == 1, np.ones((3, 3)))
    assert all(left[objects == number].any() for number in range(1, count + 1))


@quick
@given(mask=masks, strength=strengths, seed=seeds)
def test_false_objects_leave_every_true_pixel_its_class_and_touch_none(mask, strength, seed):
    noisy = corrupted("invented", mask, strength, seed, 3)
    np.testing.assert_array_equal(noisy[inside(mask)], mask[inside(mask)])
    false = inside(noisy) & ~inside(mask)
    assert not (ndimage.binary_dilation(false, np.ones((3, 3))) & inside(mask)).any()


@quick
@given(mask=binary, strength=strengths, seed=seeds)
def test_a_polygon_stays_in_the_bounding_box(mask, strength, seed):
    box = noise.bounding_box(mask == 1)
    after = noise.bounding_box(corrupted("polygon", mask, strength, seed) == 1)
    assert after is None or (
        after[0] >= box[0] and after[1] <= box[1] and after[2] >= box[2] and after[3] <= box[3]
    )


@pytest.mark.parametrize("name", [name for name in MODELS if not name.startswith("paper")])
def test_strength_0_changes_nothing(name):
    mask = np.zeros((30, 30), np.uint8)
    mask[3:12, 4:11] = mask[20:27, 8:22] = 1
    mask[10:20, 24:28] = 2
    np.testing.assert_array_equal(corrupted(name, mask, 0.0, 3, 3), mask)


@quick
@given(mask=masks, strength=st.floats(0, 3), seed=seeds, rate=st.sampled_from(sorted(noise_draws.PRESETS)))
def test_the_paper_s_noise_is_the_paper_s_noise(mask, strength, seed, rate):
    model = noise_model("paper", rate)
    level = noise_draws.NoiseLevel(**{**vars(noise_draws.PRESETS[rate]), "scale": strength})
    plain = apply(mask, draws_for(level, seed, "a", 3), level)
    np.testing.assert_array_equal(corrupt(mask, draw_mask(model, seed, "a", 3), model, strength), plain)


@every_model
@pytest.mark.parametrize("target", [0.2, 0.4])
def test_the_rate_is_reached_within_0_01_or_refused_with_the_rates_that_can(name, target):
    rows, columns = np.mgrid[:48, :48]
    rng = np.random.default_rng(0)
    discs = []
    for _ in range(120):
        row, column, radius = rng.uniform((18, 18, 5), (30, 30, 12))
        discs.append(((rows - row) ** 2 + (columns - column) ** 2 < radius**2).astype(np.uint8))
    ids = [f"case {number}" for number in range(120)]
    model = noise_model(name, target)
    if (name, target) == ("annotator", 0.4):
        with pytest.raises(InputError, match=r"rates from 0\.00 to 0\.2\d can"):
            calibrate(discs, ids, model, target, 0)
        return
    found = calibrate(discs, ids, model, target, 0)
    rates = [
        noise.corruption_rate(disc, corrupt(disc, draw_mask(model, 0, image, 2), model, found.strength))
        for disc, image in zip(discs, ids, strict=True)
    ]
    assert np.mean(rates) == pytest.approx(target, abs=0.01)
    assert np.mean(rates) == pytest.approx(found.rate, abs=1e-12)
