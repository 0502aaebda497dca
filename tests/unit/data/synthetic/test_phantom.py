"""The phantom set: exact, repeatable, neither trivial nor empty."""

import time
from dataclasses import replace

import numpy as np
import pytest

from metadcseg.data.synthetic.phantom import PhantomOptions, draw_case, phantom_cases
from metadcseg.data.synthetic.phantom_paint import Contour
from metadcseg.errors import InputError

SMALL = PhantomOptions(size=48)


def best_threshold_dsc(image, mask):
    """DSC of the best global threshold, brighter or darker, chosen by looking at the mask."""
    values, truth = image[..., 0], mask > 0
    best = 0.0
    for threshold in np.unique(values):
        for predicted in (values >= threshold, values <= threshold):
            best = max(best, 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()))
    return best


def test_a_case_depends_on_seed_and_index_alone():
    image, mask = draw_case(SMALL, 5)
    draw_case(SMALL, 6)
    again, mask_again = draw_case(replace(SMALL, count=7), 5)
    assert np.array_equal(image, again)
    assert np.array_equal(mask, mask_again)
    other_index, _ = draw_case(SMALL, 6)
    other_seed, _ = draw_case(replace(SMALL, seed=1), 5)
    assert not np.array_equal(image, other_index)
    assert not np.array_equal(image, other_seed)


def test_shapes_and_types():
    image, mask = draw_case(SMALL, 0)
    assert image.shape == (48, 48, 1)
    assert mask.shape == (48, 48)
    assert image.dtype == mask.dtype == np.uint8
    assert image.std() > 10


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("mixed", [False, True])
def test_every_class_is_in_every_mask(classes, mixed):
    options = PhantomOptions(size=32, classes=classes, mixed_sizes=mixed, seed=2)
    for index in range(100):
        _, mask = draw_case(options, index)
        assert np.unique(mask).tolist() == list(range(classes))


def test_foreground_is_between_four_and_thirty_five_percent_in_most_images():
    shares = np.array([(draw_case(SMALL, index)[1] > 0).mean() for index in range(100)])
    assert ((shares > 0.04) & (shares < 0.35)).mean() > 0.9
    assert shares.std() > 0.03


def test_the_mask_is_exact_at_pixel_centers():
    """An image three times as fine has the coarse pixels' centers among its own."""
    for index in range(10):
        _, coarse = draw_case(SMALL, index)
        _, fine = draw_case(replace(SMALL, size=144), index)
        assert np.array_equal(coarse, fine[1::3, 1::3])


def test_a_contour_without_harmonics_is_an_ellipse():
    none = np.zeros(0)
    contour = Contour((0.0, 0.1), 0.2, 2.0, 0.0, none, none)
    y, x = np.array([0.0, 0.0, 0.0, 0.09, 0.11]), np.array([0.1, 0.49, 0.51, 0.1, 0.1])
    assert (contour.depth(y, x)[0] > 0).tolist() == [True, True, False, True, False]


def test_the_core_lies_within_its_organ():
    options = PhantomOptions(size=64, classes=3)
    for index in range(30):
        _, mask = draw_case(options, index)
        rows, columns = np.nonzero(mask == 2)
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            assert (mask[rows + dy, columns + dx] > 0).all()


def test_organs_differ_in_texture_from_tissue_and_from_each_other():
    options = PhantomOptions(size=64, classes=4, difficulty=0.2)
    means = []
    for index in range(20):
        image, mask = draw_case(options, index)
        means.append([image[..., 0][mask == label].mean() for label in range(4)])
    background, organ, core, beside = np.mean(means, axis=0)
    assert beside < background < organ
    assert core < organ


def test_a_global_threshold_does_not_solve_it():
    """The best threshold per image, chosen with the mask in hand, stays far below a small network (0.86)."""
    scores = [best_threshold_dsc(*draw_case(PhantomOptions(), index)) for index in range(60)]
    assert 0.35 < np.mean(scores) < 0.65


def test_difficulty_makes_it_harder():
    def mean_score(difficulty):
        options = replace(SMALL, difficulty=difficulty)
        return np.mean([best_threshold_dsc(*draw_case(options, index)) for index in range(24)])

    assert mean_score(0.0) > mean_score(0.5) + 0.1
    assert mean_score(0.5) > mean_score(1.0)


def test_part_of_the_outline_is_missing():
    """Across the outline the brightness steps up in most directions and by nothing in some."""
    clear = _steps(replace(SMALL, size=96, difficulty=0.0))
    hard = _steps(replace(SMALL, size=96, difficulty=1.0))
    assert np.mean(clear < 10) < 0.25
    assert np.mean(hard < 10) > np.mean(clear < 10) + 0.2


def _steps(options):
    """Mean brightness just inside minus just outside, in 12 sectors of each of 16 images."""
    steps = []
    for index in range(16):
        image, mask = draw_case(options, index)
        rows, columns = np.nonzero(mask)
        y, x = np.indices(mask.shape)
        sector = ((np.arctan2(y - rows.mean(), x - columns.mean()) + np.pi) / (2 * np.pi) * 12).astype(
            int
        ) % 12
        inner, outer = mask > 0, mask > 0
        for _ in range(4):
            inner = (
                inner
                & np.roll(inner, 1, 0)
                & np.roll(inner, -1, 0)
                & np.roll(inner, 1, 1)
                & np.roll(inner, -1, 1)
            )
            outer = (
                outer
                | np.roll(outer, 1, 0)
                | np.roll(outer, -1, 0)
                | np.roll(outer, 1, 1)
                | np.roll(outer, -1, 1)
            )
        inside, outside = (mask > 0) & ~inner, (mask == 0) & outer
        values = image[..., 0].astype(float)
        for number in range(12):
            here = sector == number
            if (inside & here).any() and (outside & here).any():
                steps.append(values[inside & here].mean() - values[outside & here].mean())
    return np.array(steps)


def test_mixed_sizes_differ_in_height_and_width():
    options = replace(SMALL, mixed_sizes=True)
    shapes = [draw_case(options, index)[1].shape for index in range(30)]
    assert len(set(shapes)) > 20
    assert any(height < width for height, width in shapes)
    assert any(height > width for height, width in shapes)
    assert all(36 <= side <= 72 for shape in shapes for side in shape)


def test_it_is_fast():
    options = PhantomOptions()
    draw_case(options, 0)
    seconds = []
    for index in range(20):
        started = time.process_time()
        draw_case(options, index)
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.03


def test_roles_are_counted_and_share_no_patient():
    cases = list(phantom_cases(replace(SMALL, count=30, size=16), gold=3, val=5, test=6))
    roles = [case.role for case in cases]
    assert {role: roles.count(role) for role in set(roles)} == {"train": 16, "gold": 3, "val": 5, "test": 6}
    assert len({case.id for case in cases}) == 30
    assert all(case.id.startswith("phantom-") for case in cases)
    by_group = {}
    for case in cases:
        by_group.setdefault(case.group, set()).add(case.role)
    assert all(len(found) == 1 for found in by_group.values())
    assert max([case.group for case in cases].count(group) for group in by_group) == 4


def test_cases_are_drawn_by_their_number():
    options = replace(SMALL, count=12, size=16)
    for case in phantom_cases(options, gold=1, val=1, test=1):
        image, mask = draw_case(options, int(case.id.removeprefix("phantom-")))
        assert np.array_equal(case.images, image)
        assert np.array_equal(case.label, mask)
        assert case.verified


def test_a_larger_set_only_adds_training_cases():
    def ids(count):
        cases = phantom_cases(PhantomOptions(count=count, size=16), gold=2, val=2, test=3)
        return [(case.id, case.role) for case in cases]

    assert ids(20)[:10] == ids(10)
    assert all(role == "train" for _, role in ids(20)[10:])


def test_default_shares():
    roles = [case.role for case in phantom_cases(PhantomOptions(count=50, size=16))]
    assert {role: roles.count(role) for role in set(roles)} == {"train": 33, "gold": 2, "val": 5, "test": 10}


@pytest.mark.parametrize(
    ("option", "value"),
    [("count", 0), ("size", 15), ("classes", 1), ("classes", 5), ("seed", -1), ("difficulty", 1.5)],
)
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(InputError, match=f"phantom {option} must be between .* got {value}"):
        PhantomOptions(**{option: value})


def test_several_classes_need_room():
    with pytest.raises(InputError, match="phantom size must be between 32 and"):
        PhantomOptions(classes=3, size=24)


def test_nothing_left_to_train_on():
    with pytest.raises(
        InputError, match=r"phantom count=10 must exceed gold \+ val \+ test.*got 5 \+ 3 \+ 2"
    ):
        phantom_cases(PhantomOptions(count=10, size=16), gold=5, val=3, test=2)
