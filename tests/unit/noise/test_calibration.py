from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.unit.noise.tools import apply, draws_for

from metadcseg.errors import InputError
from metadcseg.noise import draws as noise_draws
from metadcseg.noise import paper as noise
from metadcseg.noise.base import PaperNoise
from metadcseg.noise.calibration import calibrate, compare, report
from metadcseg.noise.draws import PRESETS
from metadcseg.noise.registry import noise_model

KVASIR = Path(__file__).resolve().parents[3] / "../shared/data/kvasir-seg/train/masks"


def discs(count, classes=2, size=48, spread=5):
    """Masks with one disc per class, of changing place and radius; every mask holds every class."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    masks = []
    for _ in range(count):
        mask = np.zeros((size, size), np.uint8)
        for value in range(1, classes):
            radius = rng.uniform(5, 14 if classes == 2 else 9)
            row, column = rng.uniform(size / 2 - spread, size / 2 + spread, 2)
            mask[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = value
        masks.append(mask)
    assert all(np.isin(range(classes), mask).all() for mask in masks)
    return masks


def names(masks):
    return [f"case {number}" for number in range(len(masks))]


def paper(rate):
    return PaperNoise(noise_draws.nearest_preset(rate))


def records(masks, ids, level, seed, classes=2):
    return [
        compare(mask, apply(mask, draws_for(level, seed, name, classes), level), classes)
        for mask, name in zip(masks, ids, strict=True)
    ]


def summed(rows, found, seed=0):
    return report(rows, target=found.target, model=paper(found.target), strength=found.strength, seed=seed)


@pytest.mark.parametrize("target", [0.2, 0.4, 0.6, 0.5, 0.77])
def test_the_rate_reached_is_within_the_tolerance_and_is_what_applying_gives(target):
    masks = discs(60)
    found = calibrate(masks, names(masks), paper(target), target, seed=3)
    assert found.rate == pytest.approx(target, abs=0.01)
    level = replace(noise_draws.nearest_preset(target), scale=found.strength)
    measured = summed(records(masks, names(masks), level, 3), found, seed=3)
    assert measured.rate == pytest.approx(found.rate, abs=1e-12)
    assert measured.scale == found.strength > 0
    assert measured.sd > 0.01


@pytest.mark.parametrize("target", [0.2, 0.4, 0.6])
def test_kvasir_seg_is_corrupted_by_20_40_and_60_per_cent(target):
    if not KVASIR.is_dir():
        pytest.skip("no Kvasir-SEG beside the repository at ../shared/data/kvasir-seg")
    files = sorted(KVASIR.glob("*.jpg"))[:100]
    masks = [(np.asarray(Image.open(file)) > 127).astype(np.uint8) for file in files]
    ids = [file.stem for file in files]
    level = replace(PRESETS[target], scale=calibrate(masks, ids, paper(target), target, seed=0).strength)
    noisy = [apply(mask, draws_for(level, 0, name, 2), level) for mask, name in zip(masks, ids, strict=True)]
    rates = [noise.corruption_rate(mask, other) for mask, other in zip(masks, noisy, strict=True)]
    assert np.mean(rates) == pytest.approx(target, abs=0.01)


def test_calibration_is_deterministic_and_follows_the_seed():
    masks = discs(25)
    first, again, other = (calibrate(masks, names(masks), paper(0.4), 0.5, seed=s) for s in (0, 0, 1))
    assert first == again
    assert first.strength != other.strength


def test_the_scale_of_the_level_given_plays_no_part():
    masks = discs(25)
    other = PaperNoise(replace(PRESETS[0.4], scale=17.0))
    assert calibrate(masks, names(masks), other, 0.5, seed=0) == calibrate(
        masks, names(masks), paper(0.4), 0.5, seed=0
    )


def test_masks_may_come_one_by_one_and_empty_ones_do_not_count():
    masks = discs(25)
    empty = [np.zeros((48, 48), np.uint8), np.full((48, 48), 255, np.uint8)]
    ids = [*names(masks), "empty", "unknown"]
    found = calibrate((mask for mask in [*masks, *empty]), ids, paper(0.4), 0.5, seed=0)
    assert found == calibrate(masks, names(masks), paper(0.4), 0.5, seed=0)
    level = replace(PRESETS[0.4], scale=found.strength)
    counted = summed(records([*masks, *empty], ids, level, 0), found)
    assert (counted.cases, counted.empty) == (25, 2)
    assert counted.rate == pytest.approx(found.rate, abs=1e-12)


def test_three_classes_calibrate_together_and_report_apart():
    masks = discs(40, classes=4, spread=15)
    found = calibrate(masks, names(masks), paper(0.4), 0.6, seed=0, classes=4)
    level = replace(PRESETS[0.4], scale=found.strength)
    measured = summed(records(masks, names(masks), level, 0, 4), found)
    assert measured.rate == pytest.approx(0.6, abs=0.01)
    assert len(measured.per_class) == 3
    assert len(set(measured.per_class)) == 3


@pytest.mark.parametrize(("target", "sentence"), [(0.99, r"0\.99 cannot"), (0.02, r"0\.02 cannot")])
def test_a_rate_out_of_reach_is_an_error_that_says_which_rates_can_be_reached(target, sentence):
    masks = discs(30)
    with pytest.raises(InputError, match=sentence) as caught:
        calibrate(masks, names(masks), paper(target), target, seed=0)
    words = str(caught.value).split()
    low, high = float(words[words.index("from") + 1]), float(words[words.index("to") + 1])
    assert 0.02 < low < high < 0.99
    for reachable in (low + 0.02, high - 0.02):
        assert calibrate(masks, names(masks), paper(target), reachable, seed=0).rate == pytest.approx(
            reachable, abs=0.01
        )


def test_a_rate_that_rotation_alone_exceeds_is_pointed_to_the_reading_that_reaches_it():
    masks = [np.pad(disc, ((0, 32), (32, 0))) for disc in discs(30)]  # in a corner
    with pytest.raises(InputError, match=r"the noise model paper-centred, which .* often starts lower"):
        calibrate(masks, names(masks), paper(0.2), 0.2, seed=0)
    with pytest.raises(InputError, match=r"ask for one of those$"):
        calibrate(masks, names(masks), paper(0.2), 0.999, seed=0)
    centered = noise_model("paper-centred", 0.2)
    assert calibrate(masks, names(masks), centered, 0.2, seed=0).rate == pytest.approx(0.2, abs=0.01)


def test_a_rate_between_two_steps_is_an_error_that_names_both():
    masks = [np.pad(np.ones((4, 4), np.uint8), 6)]
    with pytest.raises(InputError, match=r"nearest rates that can are (0\.\d+) and (0\.\d+)"):
        calibrate(masks, ["one"], paper(0.6), 0.72, seed=0)


@pytest.mark.parametrize("target", [0.0, 1.0, -0.1, float("nan")])
def test_targets_outside_0_and_1_are_refused(target):
    with pytest.raises(InputError, match="between 0 and 1"):
        calibrate(discs(2), ["a", "b"], paper(0.4), target, seed=0)


def test_masks_without_any_foreground_are_refused():
    with pytest.raises(InputError, match="none of the 1 masks"):
        calibrate([np.zeros((8, 8), np.uint8)], ["a"], paper(0.4), 0.4, seed=0)


def test_progress_rises_to_its_total():
    seen = []
    calibrate(discs(10), names(discs(10)), paper(0.4), 0.5, seed=0, progress=lambda *at: seen.append(at))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (20, 20)
    assert {total for _, total in seen} == {20}


def test_a_report_by_hand():
    one, two = np.array([[1, 1, 0, 0]]), np.array([[1, 0, 2, 2]])
    rows = [
        compare(one, np.array([[1, 1, 0, 0]]), 3),  # untouched
        compare(one, np.array([[0, 0, 0, 0]]), 3),  # vanished
        compare(two, np.array([[1, 0, 2, 0]]), 3),  # class 2 loses half of itself
        compare(np.zeros((1, 4), int), np.zeros((1, 4), int), 3),
    ]
    told = report(rows, target=0.4, model=paper(0.4), strength=1.5, seed=7)
    rates = [0.0, 1.0, (0.0 + 1 / 3) / 2]
    assert told.rate == pytest.approx(np.mean(rates))
    assert told.sd == pytest.approx(np.std(rates, ddof=1))
    assert told.per_class == pytest.approx((1 / 3, 1 / 3))
    assert (told.cases, told.empty, told.vanished) == (3, 1, 1)
    assert (told.target, told.seed, told.preset) == (0.4, 7, "table-9-40")
    assert (told.scale, told.model) == (1.5, "paper")


def test_a_mask_with_pixels_left_to_ignore_only_has_vanished():
    clean, noisy = np.array([[1, 255, 0]]), np.array([[0, 255, 0]])
    assert compare(clean, noisy, 2).vanished
