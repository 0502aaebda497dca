from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from tests.unit.noise.tools import apply, draws_for

from metadcseg.noise import paper as noise
from metadcseg.noise.draws import PRESETS, NoiseDraw

quick = settings(deadline=None, max_examples=40, derandomize=True)
shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
masks = arrays(np.uint8, shapes, elements=st.sampled_from([0, 0, 1, 2, 255]))
regions = arrays(np.bool_, shapes)
draws = st.builds(
    NoiseDraw,
    angle=st.floats(-20, 20),
    erode=st.booleans(),
    kernel=st.integers(1, 63),
    rounding=st.floats(0, 1, exclude_max=True),
    r=st.floats(0, 1, exclude_max=True),
)
levels = st.builds(
    lambda rate, scale, least: replace(PRESETS[rate], scale=scale, ellipse_min_pixels=least),
    st.sampled_from(sorted(PRESETS)),
    st.floats(0, 3),
    st.integers(0, 300),
)


@quick
@given(masks, draws, draws, levels)
def test_applying_is_pure_keeps_the_shape_and_moves_no_ignored_pixel(mask, first, second, level):
    before = mask.copy()
    noisy = apply(mask, [first, second], level)
    np.testing.assert_array_equal(mask, before)
    np.testing.assert_array_equal(noisy, apply(mask, [first, second], level))
    assert noisy.shape == mask.shape
    assert noisy.dtype == mask.dtype
    np.testing.assert_array_equal(noisy == 255, mask == 255)
    assert not np.shares_memory(noisy, mask)


@quick
@given(masks, st.booleans(), st.floats(0, 3))
def test_no_rotation_a_kernel_of_one_pixel_and_no_ellipse_change_nothing(mask, erode, rounding):
    still = NoiseDraw(angle=0.0, erode=erode, kernel=1, rounding=rounding % 1.0, r=0.9)
    np.testing.assert_array_equal(apply(mask, [still, still], PRESETS[0.4]), mask)


@quick
@given(regions, st.integers(1, 30))
def test_erosion_only_removes_and_dilation_only_adds_the_more_the_larger_the_square(region, size):
    eroded, dilated = (noise.morph(region, size, erode=erode) for erode in (True, False))
    assert not (eroded & ~region).any()
    assert not (region & ~dilated).any()
    assert noise.morph(region, size + 1, erode=True).sum() <= eroded.sum()
    assert noise.morph(region, size + 1, erode=False).sum() >= dilated.sum()


@quick
@given(regions, st.integers(0, 12))
def test_erosion_is_dilation_of_the_complement_for_odd_squares(region, half):
    size = 2 * half + 1
    np.testing.assert_array_equal(
        noise.morph(region, size, erode=True), ~noise.morph(~region, size, erode=False)
    )


@quick
@given(regions)
def test_an_ellipse_stays_in_the_bounding_box(region):
    box, after = noise.bounding_box(region), noise.bounding_box(noise.ellipse(region))
    if box is None:
        assert after is None
        return
    assert after is None or (
        after[0] >= box[0] and after[1] <= box[1] and after[2] >= box[2] and after[3] <= box[3]
    )


@quick
@given(
    st.lists(st.text(max_size=8), min_size=1, max_size=6, unique=True), st.integers(-5, 2**70), st.randoms()
)
def test_draws_do_not_depend_on_the_order_of_the_images(ids, seed, shuffler):
    ordered = {name: draws_for(PRESETS[0.6], seed, name, 3) for name in ids}
    shuffler.shuffle(ids)
    assert {name: draws_for(PRESETS[0.6], seed, name, 3) for name in ids} == ordered


@quick
@given(st.data(), shapes)
def test_the_corruption_rate_is_symmetric_and_between_0_and_1(data, shape):
    one, two = (data.draw(arrays(np.bool_, shape)) for _ in range(2))
    rate = noise.corruption_rate(one, two)
    assert 0.0 <= rate <= 1.0
    assert rate == noise.corruption_rate(two, one)
    assert (rate == 0.0) == np.array_equal(one, two)
