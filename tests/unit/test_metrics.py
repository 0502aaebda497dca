"""Metrics on masks that can be checked by hand, against the slow reference, and at every edge."""

from itertools import product
from math import hypot

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.reference import metrics as slow

from metadcseg.errors import InputError
from metadcseg.metrics import (
    METRICS,
    MM_METRICS,
    boundary,
    dice,
    hausdorff,
    score_labels,
    score_masks,
    surface_distances,
)
from metadcseg.noise.paper import corruption_rate
from metadcseg.tensors import IGNORE

many = settings(deadline=None, max_examples=40, derandomize=True)
masks = arrays(bool, (9, 7), elements=st.booleans())
spacings = st.tuples(st.sampled_from([0.5, 1.0, 2.5]), st.sampled_from([0.75, 1.0, 3.0]))


def rectangle(shape, top, left, bottom, right):
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_two_squares_by_hand():
    """A 4 x 4 square against itself moved by 2 to the right: 8 of 16 pixels overlap."""
    one, two = rectangle((10, 12), 3, 2, 7, 6), rectangle((10, 12), 3, 4, 7, 8)
    score = score_masks(one, two, spacing=(2.0, 0.5))
    assert (score.overlap, score.predicted, score.reference) == (8, 16, 16)
    assert score.dsc == 0.5
    assert score.iou == pytest.approx(1 / 3)
    assert score.hd == 2.0
    assert score.hd_mm == 1.0  # two columns of 0.5 mm
    # 12 boundary pixels each. Of the left square's, only the 4 of its left side are 2 from the other's;
    # of the right square's, the 4 of its right side: 16 of 24 lie within one pixel.
    assert score.nsd == pytest.approx(16 / 24)
    assert score.nsd_mm == 1.0  # all within 2 mm


def test_boundary_is_four_connected_and_ends_at_the_image():
    full = np.ones((4, 5), bool)
    assert boundary(full).sum() == 14
    corner_missing = full.copy()
    corner_missing[0, 0] = False
    assert not boundary(corner_missing)[1, 1]  # touches the hole with its corner only


def test_percentile_is_taken_per_direction():
    """A small object that was missed: pooling both directions would hide it."""
    prediction = rectangle((40, 60), 10, 10, 30, 40)  # 96 boundary pixels, all right
    reference = prediction | rectangle((40, 60), 16, 46, 24, 47)  # 8 more, 7 columns off
    sides = surface_distances(prediction, reference)
    assert [len(side) for side in sides] == [96, 104]
    assert hausdorff(sides, 95.0) == 7.0
    assert np.percentile(np.concatenate(sides), 95) == 0.0


def test_mm_are_known_only_with_a_spacing():
    mask = rectangle((8, 8), 2, 2, 5, 5)
    assert [getattr(score_masks(mask, mask), name) for name in MM_METRICS] == [None, None, None]
    assert [getattr(score_masks(mask, mask, (1.0, 1.0)), name) for name in MM_METRICS] == [0.0, 0.0, 1.0]


def test_tolerances_are_arguments_and_include_their_end():
    one, two = rectangle((60, 60), 5, 5, 6, 6), rectangle((60, 60), 25, 5, 26, 6)
    assert score_masks(one, two, tolerance_px=20.0).nsd == 1.0
    assert score_masks(one, two, tolerance_px=19.9).nsd == 0.0
    assert score_masks(one, two, (0.1, 0.1)).nsd_mm == 1.0  # 20 * 0.1 is a little more than 2 in binary
    assert score_masks(one, two, (0.1, 0.1), tolerance_mm=1.9).nsd_mm == 0.0
    for rounded in (0.1 * (1 + 3e-7), float(np.float32(0.1))):  # as the header of a NIfTI file says it
        assert score_masks(one, two, (rounded, rounded)).nsd_mm == 1.0
    assert score_masks(one, two, (0.10001, 0.10001)).nsd_mm == 0.0


def test_empty_masks_from_both_sides():
    mask = rectangle((30, 40), 10, 10, 20, 20)
    none = np.zeros_like(mask)
    both = score_masks(none, none, (2.0, 1.0))
    assert [getattr(both, name) for name in METRICS + MM_METRICS] == [1, 1, 0, 0, 1, 0, 0, 1]
    for prediction, reference in ((none, mask), (mask, none)):
        score = score_masks(prediction, reference, (2.0, 1.0))
        assert (score.dsc, score.iou, score.nsd, score.nsd_mm) == (0, 0, 0, 0)
        assert score.hd == score.hd95 == 50.0
        assert score.hd_mm == score.hd95_mm == hypot(60, 40)


def test_missing_everything_is_worse_than_any_outline():
    """MONAI issue 9095: a miss that is NaN, and then dropped, makes the mean HD95 better."""
    reference = rectangle((20, 20), 0, 0, 1, 1)
    farthest = rectangle((20, 20), 19, 19, 20, 20)
    missed, found_badly = score_masks(np.zeros_like(reference), reference), score_masks(farthest, reference)
    assert missed.hd95 > found_badly.hd95
    assert missed.hd > found_badly.hd


def test_a_second_object_that_is_missed_costs():
    reference = rectangle((40, 40), 2, 2, 12, 12) | rectangle((40, 40), 25, 25, 35, 35)
    one_found = rectangle((40, 40), 2, 2, 12, 12)
    assert score_masks(one_found, reference).hd95 > 15 > score_masks(reference, reference).hd95 == 0


def test_ignored_pixels_count_nowhere():
    reference = np.zeros((12, 12), np.uint8)
    reference[2:6, 2:6] = 1
    prediction = reference.copy()
    reference[:, 8:] = IGNORE
    prediction[:, 8:] = 1  # a gross error, where nobody knows
    score = score_labels(prediction, reference, ["background", "organ"])["organ"]
    assert (score.dsc, score.hd, score.predicted) == (1.0, 0.0, 16)
    reference[:, 8:] = 0
    assert score_labels(prediction, reference, ["background", "organ"])["organ"].dsc < 0.6


def test_classes_are_scored_by_themselves():
    reference = np.zeros((12, 12), np.uint8)
    reference[2:10, 2:10], reference[4:6, 4:6] = 1, 2
    prediction = np.where(reference == 2, 1, reference)  # the core was taken for organ
    scores = score_labels(prediction, reference, ["background", "organ", "core", "other"])
    assert list(scores) == ["organ", "core", "other"]
    assert scores["organ"].dsc == pytest.approx(2 * 60 / (64 + 60))
    assert scores["core"].dsc == 0.0
    assert scores["other"].dsc == 1.0  # in neither


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"one shape, .* got \(3, 3\) and \(3, 4\)"):
        score_masks(np.ones((3, 3), bool), np.ones((3, 4), bool))
    with pytest.raises(InputError, match="classes 0 to 1 or 255, got 7"):
        score_labels(np.zeros((2, 2), int), np.full((2, 2), 7), ["background", "organ"])


@many
@given(masks, masks, spacings)
def test_equals_the_slow_reference(prediction, reference, spacing):
    score = score_masks(prediction, reference, spacing)
    a, b = prediction.tolist(), reference.tolist()
    assert score.dsc == pytest.approx(slow.dsc(a, b))
    assert score.iou == pytest.approx(slow.iou(a, b))
    for unit, hd, hd95, nsd, tolerance in (
        ((1, 1), score.hd, score.hd95, score.nsd, 1.0),
        (spacing, score.hd_mm, score.hd95_mm, score.nsd_mm, 2.0),
    ):
        assert hd == pytest.approx(slow.hausdorff(a, b, unit, 1.0))
        assert hd95 == pytest.approx(slow.hausdorff(a, b, unit, 0.95))
        assert nsd == pytest.approx(slow.nsd(a, b, unit, tolerance + 1e-9))


@many
@given(masks, masks, spacings)
def test_symmetric_finite_and_in_range(prediction, reference, spacing):
    score, swapped = score_masks(prediction, reference, spacing), score_masks(reference, prediction, spacing)
    for name in METRICS + MM_METRICS:
        assert np.isfinite(getattr(score, name))
        assert getattr(score, name) == getattr(swapped, name)
    for name in ("dsc", "iou", "nsd", "nsd_mm"):
        assert 0 <= getattr(score, name) <= 1
    assert 0 <= score.hd95 <= score.hd <= hypot(9, 7)
    assert score.iou == pytest.approx(score.dsc / (2 - score.dsc))
    assert dice(prediction, reference) == score.dsc


@many
@given(masks, masks, st.integers(0, 5), st.integers(0, 5))
def test_shifting_both_changes_nothing(prediction, reference, down, right):
    assume(prediction.any() and reference.any())  # a miss costs the diagonal of the image, which grows here
    pads = [((down, 5 - down), (right, 5 - right)), ((0, 5), (0, 5))]
    moved, still = (score_masks(np.pad(prediction, pad), np.pad(reference, pad), (0.3, 0.7)) for pad in pads)
    assert moved == still


@many
@given(masks, spacings, st.integers(1, 3))
def test_a_perfect_mask_has_the_perfect_score(mask, spacing, factor):
    score = score_masks(mask, mask, (spacing[0] * factor, spacing[1]))
    assert [getattr(score, name) for name in METRICS + MM_METRICS] == [1, 1, 0, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_volumes_equal_a_slow_loop(seed):
    draw = np.random.default_rng(seed)
    spacing = (0.7, 1.3, 4.0)
    masks = [draw.random((6, 5, 4)) < 0.4 for _ in range(2)]

    def edge(mask):
        padded = np.pad(mask, 1)
        return [
            index
            for index in np.argwhere(mask)
            if not all(
                padded[tuple(index + 1 + step)] for step in [*np.eye(3, dtype=int), *-np.eye(3, dtype=int)]
            )
        ]

    points = [np.array(edge(mask)) * spacing for mask in masks]
    apart = np.linalg.norm(points[0][:, None] - points[1][None], axis=2)
    sides = [apart.min(axis=1), apart.min(axis=0)]
    score = score_masks(*masks, spacing)
    assert score.hd_mm == pytest.approx(max(side.max() for side in sides))
    assert score.hd95_mm == pytest.approx(max(np.percentile(side, 95) for side in sides))
    assert score.nsd_mm == pytest.approx(np.mean(np.concatenate(sides) <= 2.0))
    missed = score_masks(np.zeros_like(masks[0]), masks[1], spacing)
    assert missed.hd_mm == pytest.approx(np.linalg.norm(np.array([6, 5, 4]) * spacing))


@pytest.mark.parametrize("tilt", [0.3, -1.2, 4.0])
def test_in_a_tilted_volume_distances_are_those_of_the_world(tilt):
    """Each slice lies ``tilt`` mm farther along the second axis: a column of the file is not upright."""
    steps = ((0.5, 0.0, 0.0), (0.0, 0.7, 0.0), (0.0, tilt, 2.0))
    prediction, reference = np.zeros((2, 6, 7, 4), bool)
    prediction[2, 3, 0], reference[2, 3, 3] = True, True
    found = score_masks(prediction, reference, steps)
    assert found.hd_mm == pytest.approx(hypot(3 * tilt, 6.0))
    assert found.hd == 3.0
    moved = np.zeros_like(reference)
    moved[4, 5, 3] = True
    expected = np.linalg.norm(np.array([2, 2, 3]) @ np.array(steps))
    assert score_masks(prediction, moved, steps).hd95_mm == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(6, 7, 4), (1, 9, 2), (3, 3, 3)])
def test_a_mask_missed_in_a_tilted_volume_costs_more_than_any_two_voxels_are_apart(shape):
    steps = np.array([[0.5, 0.0, 0.0], [0.0, 0.7, 0.0], [0.0, -1.5, 2.0]])
    corners = np.array(list(product(*((0, side - 1) for side in shape)))) @ steps
    apart = max(np.linalg.norm(one - other) for one in corners for other in corners)
    mask = np.ones(shape, bool)
    found = score_masks(~mask, mask, tuple(map(tuple, steps.tolist())))
    assert found.hd_mm > apart


def test_steps_at_right_angles_are_a_spacing():
    upright, turned = (0.5, 0.7, 2.0), ((0.0, 0.5, 0.0), (-0.7, 0.0, 0.0), (0.0, 0.0, 2.0))
    rng = np.random.default_rng(0)
    masks = rng.random((2, 6, 7, 4)) < 0.3
    one, other = (score_masks(*masks, spacing) for spacing in (upright, turned))
    assert other.hd_mm == pytest.approx(one.hd_mm)
    assert other.nsd_mm == pytest.approx(one.nsd_mm)


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        (np.zeros((1, 6), int), "must be masks of one shape"),
        (np.zeros((1, 1), int), "must be masks of one shape"),
        (np.full((6, 6), 7), "prediction must hold the classes 0 to 1, got 7 to 7"),
    ],
)
def test_masks_of_unlike_shapes_are_not_broadcast(prediction, said):
    with pytest.raises(InputError, match=said):
        score_labels(prediction, np.zeros((6, 6), int), ["background", "organ"])


def test_a_rate_of_unlike_shapes_is_refused():
    with pytest.raises(InputError, match="both masks must be of one shape"):
        corruption_rate(np.ones((1, 6)), np.ones((6, 6)))
