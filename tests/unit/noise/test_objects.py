import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import approximate_polygon
from tests.reference import noise_kinds as reference

from metadcseg.noise.base import corrupt, draw_mask
from metadcseg.noise.objects import Invented, Missing, Polygon
from metadcseg.noise.polygon import fill, outlines, significance

EIGHT = np.ones((3, 3), bool)


def scene(number, shape=(31, 37)):
    """Four smooth objects, of two classes; one has a hole."""
    rng = np.random.default_rng(number)
    field = ndimage.gaussian_filter(rng.normal(size=shape), 2.5)
    mask = (field > np.quantile(field, 0.7)).astype(np.uint8)
    mask[:, 20:] *= 2
    mask[3:9, 3:9] = 1
    mask[5:7, 5:7] = 0
    assert {0, 1, 2} == set(np.unique(mask))
    return mask


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_missing_is_the_loop_version(share):
    for number in range(4):
        mask = (scene(number) == 1).astype(np.uint8)
        draws = draw_mask(Missing(), 0, str(number), 2)
        noisy = corrupt(mask, draws, Missing(), share)
        assert noisy.tolist() == reference.missing(mask.tolist(), draws[0]["first"], share)


def test_missing_leaves_out_the_share_asked_for_in_one_mask_and_over_masks():
    many = np.zeros((60, 60), np.uint8)
    many[::3, ::3] = 1  # 400 objects
    assert corrupt(many, [{"first": 0.2}], Missing(), 0.3).sum() == pytest.approx(280, abs=2)
    one = np.zeros((5, 5), np.uint8)
    one[1:3, 1:3] = 1
    gone = [not corrupt(one, draw_mask(Missing(), 0, str(n), 2), Missing(), 0.3).any() for n in range(1000)]
    assert np.mean(gone) == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("strength", [0.0, 0.4, 2.0, 1e5])
def test_invented_is_the_loop_version(strength):
    for number in range(4):
        mask = scene(number)
        mask[:, 15:17] = 255
        draws = draw_mask(Invented(), 0, str(number), 3)
        noisy = corrupt(mask, draws, Invented(), strength)
        expected = np.zeros_like(mask)
        for value, one in enumerate(draws, start=1):
            expected[np.array(reference.invented(mask.tolist(), value, one, strength)) == 1] = value
        expected[mask == 255] = 255
        np.testing.assert_array_equal(noisy, expected)


def test_a_false_object_has_the_area_drawn_and_touches_nothing():
    mask = np.zeros((300, 300), np.uint8)
    mask[:20, :20] = 1
    one = {"place": 0.5, "stretch": 1.6, "angle": 30.0, "size": 0.8}
    noisy = corrupt(mask, [one], Invented(), 2.0)
    assert noisy.sum() - 400 == pytest.approx(2.0 * 0.8 * 400, rel=0.02)
    assert ndimage.label(noisy, EIGHT)[1] == 2


def test_nothing_is_invented_without_true_objects_or_without_room():
    empty, full = np.zeros((9, 9), np.uint8), np.ones((9, 9), np.uint8)
    crowded = np.zeros((9, 9), np.uint8)
    crowded[::2] = 1
    for mask in (empty, full, crowded):
        np.testing.assert_array_equal(corrupt(mask, draw_mask(Invented(), 0, "a", 2), Invented(), 3.0), mask)


@pytest.mark.parametrize("tolerance", [0.0, 0.4, 1.0, 2.5, 100.0])
def test_polygons_are_the_loop_version(tolerance):
    for number in range(3):
        mask = (scene(number) == 1).astype(np.uint8)
        one = {"start": 0.37, "carelessness": 1.0}
        points = outlines(mask == 1, one["start"])
        expected = np.zeros_like(mask)
        for outline in np.unique(points[:, 0]):
            corners = [tuple(point[1:3]) for point in points.tolist() if point[0] == outline]
            polygon = reference.simplified(corners, tolerance)
            for h, w in np.ndindex(mask.shape):
                expected[h, w] |= reference.inside(polygon, h, w)
        np.testing.assert_array_equal(corrupt(mask, [one], Polygon(), tolerance), expected)


def test_points_stay_as_in_scikit_image():
    mask = scene(7) == 1
    points = outlines(mask, 0.0)
    points = points[points[:, 0] == 0]
    corners = points[:, 1:3]
    far = int(np.argmax(np.hypot(*(corners - corners[0]).T)))
    closed = np.concatenate([corners, corners[:1]])
    for tolerance in (0.3, 0.6, 1.1):
        halves = [approximate_polygon(part, tolerance) for part in (closed[: far + 1], closed[far:])]
        kept = np.concatenate([halves[0][:-1], halves[1][:-1]])
        np.testing.assert_array_equal(corners[points[:, 3] > tolerance], kept)
        assert 3 < len(kept) < len(corners)


def test_all_points_give_the_mask_back_with_its_holes_filled():
    for number in range(5):
        mask = scene(number) > 0
        points = outlines(mask, 0.6)
        filled = np.zeros_like(mask)
        for outline in np.unique(points[:, 0]):
            fill(filled, points[points[:, 0] == outline, 1:3])
        np.testing.assert_array_equal(filled, ndimage.binary_fill_holes(mask, EIGHT))
        assert filled.sum() > mask.sum()


def test_three_points_always_stay():
    for mask in (np.ones((1, 1), bool), np.eye(3, dtype=bool), np.ones((2, 9), bool)):
        points = outlines(mask, 0.9)
        for outline in np.unique(points[:, 0]):
            assert np.isinf(points[points[:, 0] == outline, 3]).sum() == 3
    assert np.isinf(significance(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))).all()


def test_no_object_no_outline():
    assert outlines(np.zeros((4, 5), bool), 0.5).shape == (0, 4)
    empty = np.zeros((4, 5), np.uint8)
    np.testing.assert_array_equal(corrupt(empty, draw_mask(Polygon(), 0, "a", 2), Polygon(), 2.0), empty)
