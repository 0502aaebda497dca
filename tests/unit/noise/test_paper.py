from dataclasses import asdict, replace

import numpy as np
import pytest
from tests.reference import noise as reference
from tests.unit.noise.tools import apply, draws_for

from metadcseg.errors import InputError
from metadcseg.noise import draws as noise_draws
from metadcseg.noise import paper as noise
from metadcseg.noise.base import corrupt
from metadcseg.noise.draws import PRESETS, NoiseDraw, NoiseLevel
from metadcseg.noise.registry import noise_model

STILL = NoiseDraw(angle=0.0, erode=True, kernel=1, rounding=0.0, r=0.9)


def blobs(rng, classes=2, shape=(36, 41)):
    """A mask of large blobs that holds every class, off center and touching the border now and then."""
    mask = np.zeros(shape, np.uint8)
    for value in range(1, classes):
        top, left = rng.integers(0, 12, 2)
        height, width = rng.integers(19, 26, 2)
        mask[top : top + height, left : left + width] = value
        mask[top : top + 3, left : left + 4] = 0
    mask[-3:, :3] = 1  # a second component, in a corner
    for value in range(1, classes):
        mask[-1, -value] = value
    return mask


class Fixed:
    """A generator that returns what it is told."""

    def __init__(self, *values):
        self.values = np.array(values)

    def random(self, count):
        assert count == len(self.values)
        return self.values


def test_the_presets_are_table_9_with_its_columns_put_right():
    assert PRESETS[0.2].kernels == (7, 11, 13, 17, 21)
    assert PRESETS[0.2].thresholds == (0.4, 0.6, 0.8, 0.9, 1.0)
    assert PRESETS[0.4].kernels == (7, 14, 21, 28, 35)
    assert PRESETS[0.4].thresholds == (0.1, 0.2, 0.5, 0.7, 1.0)
    assert PRESETS[0.6].kernels == (7, 14, 21, 49, 63)
    assert PRESETS[0.6].thresholds == (0.05, 0.1, 0.2, 0.6, 1.0)


@pytest.mark.parametrize("rate", PRESETS)
@pytest.mark.parametrize("scale", [0.0, 0.37, 1.0])
def test_apply_is_the_loop_version(rate, scale):
    level = replace(PRESETS[rate], scale=scale)
    rng = np.random.default_rng(int(100 * scale))
    seen = set()
    for number in range(4):  # both coins, both ways
        mask = blobs(rng)
        coins = {"erode": number % 2 == 0, "r": 0.3 if number < 2 else 0.7}
        draws = [replace(draws_for(level, 5, str(number), classes=2)[0], **coins)]
        noisy = apply(mask, draws, level)
        assert noisy.dtype == mask.dtype
        expected = reference.corrupted(mask.tolist(), [tuple(asdict(one).values()) for one in draws], scale)
        assert noisy.tolist() == expected
        assert noise.corruption_rate(mask, noisy) == reference.corruption_rate(mask.tolist(), expected)
        plain = apply(mask, draws, replace(level, p_ellipse=0.0))
        seen.add("plain" if np.array_equal(plain, noisy) else "ellipse")
    assert seen == {"ellipse", "plain"}


def test_apply_is_the_loop_version_with_three_classes_and_ignored_pixels():
    level = replace(PRESETS[0.2], scale=0.5)
    rng = np.random.default_rng(3)
    for number in range(6):
        mask = blobs(rng, classes=4)
        mask[:, 30:33] = 255
        draws = draws_for(level, 1, str(number), classes=4)
        noisy = apply(mask, draws, level)
        drawn = [tuple(asdict(one).values()) for one in draws]
        assert noisy.tolist() == reference.corrupted(mask.tolist(), drawn, level.scale)
        np.testing.assert_array_equal(noisy == 255, mask == 255)
        assert {1, 2, 3} <= set(np.unique(mask).tolist())


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 12, 90])
@pytest.mark.parametrize("erode", [True, False])
def test_morphology_is_the_loop_version_for_odd_even_and_oversized_squares(size, erode):
    mask = blobs(np.random.default_rng(8), shape=(30, 27))
    loops = reference.eroded if erode else reference.dilated
    changed = noise.morph(mask == 1, size, erode=erode)
    assert changed.astype(int).tolist() == loops((mask == 1).astype(int).tolist(), size)


def test_the_border_of_the_image_does_not_erode():
    full = np.ones((9, 9), bool)
    np.testing.assert_array_equal(noise.morph(full, 5, erode=True), full)


def test_rotation_is_anticlockwise_about_the_center_and_empty_beyond_the_edges():
    region = np.zeros((5, 5), bool)
    region[0, 4] = region[2, 2] = region[2, 3] = True
    turned = noise.rotate(region, 90.0)
    assert turned[0, 0]
    assert turned[2, 2]
    assert turned[1, 2]
    assert turned.sum() == 3
    assert not noise.rotate(np.ones((20, 20), bool), 20.0)[0, 0]


@pytest.mark.parametrize("angle", [-20.0, 0.0, 13.7, 90.0])
def test_a_class_that_turns_about_itself_is_the_loop_version(angle):
    draw = replace(STILL, angle=angle)
    rng = np.random.default_rng(2)
    for _ in range(3):
        region = blobs(rng)[:, :30] == 1
        turned = noise.rotate_class(region, draw, PRESETS[0.4], about_itself=True)
        assert turned.astype(int).tolist() == reference.rotated(region.astype(int).tolist(), angle, True)
    assert not noise.rotate_class(np.zeros((5, 7), bool), draw, PRESETS[0.4], about_itself=True).any()


def test_a_disc_off_the_center_stays_where_it_is_only_if_it_turns_about_itself():
    mask = np.zeros((64, 64), np.uint8)
    mask[np.add.outer((np.arange(64) - 12) ** 2, (np.arange(64) - 50) ** 2) < 9**2] = 1
    one = asdict(replace(STILL, angle=20.0))
    away, stays = (corrupt(mask, [one], noise_model(name, 0.2), 0.0) for name in ("paper", "paper-centred"))
    assert noise.corruption_rate(mask, away) > 0.5
    assert noise.corruption_rate(mask, stays) < 0.05


@pytest.mark.parametrize(("pixels", "replaced"), [(300, False), (301, True)])
def test_only_more_than_300_pixels_become_an_ellipse(pixels, replaced):
    mask = np.zeros((40, 40), np.uint8)
    mask[5:20, 5:25] = 1  # 15 x 20 = 300
    if pixels == 301:
        mask[20, 5] = 1
    noisy = apply(mask, [replace(STILL, r=0.49)], PRESETS[0.2])
    assert np.array_equal(noisy, mask) is not replaced
    assert np.array_equal(apply(mask, [replace(STILL, r=0.5)], PRESETS[0.2]), mask)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (1, 1), (2, 2), (7, 10)])
def test_ellipse_is_eq_19_down_to_a_line_and_a_point(shape):
    region = np.zeros((14, 15), bool)
    region[2 : 2 + shape[0], 3 : 3 + shape[1]] = True
    assert noise.ellipse(region).astype(int).tolist() == reference.ellipse(region.astype(int).tolist())


def test_omission_empties_small_classes_only_when_asked():
    mask = np.zeros((20, 20), np.uint8)
    mask[2:7, 2:7] = 1  # 25 pixels
    mask[10:16, 10:16] = 2  # 36 pixels
    assert set(np.unique(apply(mask, [STILL, STILL], PRESETS[0.4]))) == {0, 1, 2}
    level = replace(PRESETS[0.4], omit_below=25)
    assert set(np.unique(apply(mask, [STILL, STILL], level))) == {0, 2}


def test_later_classes_are_painted_over_earlier_ones():
    mask = np.zeros((20, 20), np.uint8)
    mask[2:8, 2:8] = 2
    mask[8:14, 2:8] = 1
    grow = NoiseDraw(angle=0.0, erode=False, kernel=3, rounding=0.0, r=0.9)
    noisy = apply(mask, [grow, grow], PRESETS[0.2])
    assert (noisy[8, 2:8] == 2).all()
    assert (noisy[14, 2:8] == 1).all()


def test_the_first_threshold_that_reaches_the_draw_picks_the_kernel():
    level = NoiseLevel("three", (3, 5, 9), (0.25, 0.5, 1.0))
    picked = [
        noise_draws.draw(level, Fixed(0.5, 0.0, u, 0.0, 0.0)).kernel
        for u in (0.0, 0.25, 0.2500001, 0.5, 0.999)
    ]
    assert picked == [3, 3, 5, 5, 9]


def test_a_draw_maps_uniform_numbers_as_the_paper_says():
    drawn = noise_draws.draw(PRESETS[0.4], Fixed(0.0, 0.49, 0.3, 0.7, 0.2))
    assert drawn == NoiseDraw(angle=-20.0, erode=True, kernel=21, rounding=0.7, r=0.2)
    assert not noise_draws.draw(PRESETS[0.4], Fixed(0.75, 0.5, 0.3, 0.7, 0.2)).erode


def test_draws_have_the_frequencies_of_table_9():
    level = PRESETS[0.4]
    drawn = [draws_for(level, 0, str(number), 2)[0] for number in range(3000)]
    shares = [np.mean([one.kernel == kernel for one in drawn]) for kernel in level.kernels]
    np.testing.assert_allclose(shares, [0.1, 0.1, 0.3, 0.2, 0.3], atol=0.03)
    assert np.mean([one.erode for one in drawn]) == pytest.approx(0.5, abs=0.03)
    angles = [one.angle for one in drawn]
    assert -20 <= min(angles) < -19.5
    assert 19.5 < max(angles) <= 20


def test_the_generator_is_the_same_on_every_machine():
    # written down once: a change here makes every stored seed mean other noise
    assert noise_draws.generator_for(0, "case-1").random() == pytest.approx(0.2761445510805952, abs=1e-15)


def test_draws_depend_on_seed_id_and_class_but_not_on_the_scale_or_the_number_of_classes():
    level = PRESETS[0.4]
    draws = draws_for(level, 0, "a", 3)
    assert len({*draws, *draws_for(level, 0, "b", 3), *draws_for(level, 1, "a", 3)}) == 6
    assert draws_for(replace(level, scale=3.0), 0, "a", 3) == draws
    assert draws_for(level, 0, "a", 2) == draws[:1]


def test_kernel_sizes_are_the_table_at_scale_1_and_right_on_average_at_others():
    drawn = [draws_for(PRESETS[0.4], 0, str(number), 2)[0] for number in range(2000)]
    assert all(one.kernel_size(1.0) == one.kernel for one in drawn)
    assert all(one.kernel_size(0.0) == 1 for one in drawn)
    excess = [one.kernel_size(1.37) - 1.37 * one.kernel for one in drawn]
    assert np.mean(excess) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"thresholds": (0.5, 0.2, 0.6, 0.9, 1.0)}, "thresholds"),
        ({"thresholds": (0.1, 0.2, 0.6, 0.9, 0.95)}, "thresholds"),
        ({"thresholds": ()}, "thresholds"),
        ({"kernels": (3, 5)}, "kernels"),
        ({"kernels": (0, 3, 5, 7, 9)}, "kernels"),
        ({"p_morph": 1.5}, "p_morph"),
        ({"p_ellipse": -0.1}, "p_ellipse"),
        ({"scale": -1.0}, "scale"),
        ({"scale": float("nan")}, "scale"),
    ],
)
def test_impossible_levels_are_refused(change, word):
    with pytest.raises(InputError, match=word):
        replace(PRESETS[0.4], **change)


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (np.full((4, 4), 2, np.uint8), "classes 0 to 1 and 255, got 2"),
        (np.full((4, 4), -1), "got -1"),
        (np.zeros((4, 4)), "integer array, got float64"),
        (np.zeros((1, 4, 4), np.uint8), r"shape \(1, 4, 4\)"),
    ],
)
def test_masks_that_cannot_be_corrupted_are_refused(mask, sentence):
    with pytest.raises(InputError, match=sentence):
        apply(mask, [STILL], PRESETS[0.4])


def test_corruption_rate_at_its_ends():
    empty, left, right = np.zeros((4, 4), int), np.eye(4, dtype=int), 1 - np.eye(4, dtype=int)
    assert noise.corruption_rate(empty, empty) == 0.0
    assert noise.corruption_rate(left, left) == 0.0
    assert noise.corruption_rate(left, right) == 1.0
    assert noise.corruption_rate(left, empty) == noise.corruption_rate(empty, left) == 1.0


def test_class_rates_are_per_class_and_none_for_an_absent_class():
    clean = np.array([[1, 1, 2, 2, 255]])
    noisy = np.array([[1, 0, 2, 3, 255]])
    assert noise.class_rates(clean, noisy, 4) == pytest.approx((1 / 3, 1 / 3, None))
