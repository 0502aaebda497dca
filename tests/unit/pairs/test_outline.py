"""How far an outline lies from another, and which objects are missing."""

import numpy as np
import pytest
from tests.unit.pairs.masks import disc

from metadcseg.constants import IGNORE
from metadcseg.errors import InputError
from metadcseg.pairs.outline import compare_pair


def only(given, verified, spacing=None):
    (found,) = compare_pair(given, verified, spacing).values()
    return found


@pytest.mark.parametrize("by", [-6, -3, -1, 1, 2, 5])
def test_a_disc_that_is_larger_lies_outside_by_the_difference_of_the_radii(by):
    found = only(disc(60, 60, 30.5 + by), disc(60, 60, 30.5))
    assert found.offset_px == pytest.approx(by, abs=0.25)
    assert found.distance_px == pytest.approx(abs(by), abs=0.25)


@pytest.mark.parametrize("by", [-2, 2])
def test_a_box_moved_out_on_two_sides_is_exact_in_mm(by):
    """Sides of unequal pixels: the outline along rows moves by twice 0.5 mm, that along columns not at all."""
    true, given = np.zeros((2, 60, 2), np.uint8)
    true[20:40] = 1
    given[20 - by : 40 + by] = 1
    found = only(given, true, spacing=(0.5, 3.0))
    assert found.offset_px == by
    assert found.offset_mm == pytest.approx(0.5 * by)


def test_equal_masks_lie_on_each_other_whatever_the_spacing():
    mask = disc(50, 60, 17.3)
    found = only(mask, mask, spacing=(0.7, 4.0))
    assert (found.dsc, found.offset_px, found.offset_mm, found.distance_px) == (1.0, 0.0, 0.0, 0.0)


def test_faces_of_voxels_count_by_their_area():
    """One voxel thicker at either end: two faces of 1 x 1 mm move by 5 mm."""
    true, given = np.zeros((2, 30, 30, 20), np.uint8)
    true[10:20, 10:20, 8:12] = 1
    given[10:20, 10:20, 7:13] = 1
    found = only(given, true, spacing=(1.0, 1.0, 5.0))
    ends, walls = 200 * 1.0, 4 * 10 * 6 * 5.0  # mm2
    new = (
        4 * 10 * 2 * 5.0 * 2.5
    )  # the new walls' middles lie 2.5 mm from the nearest face of the verified one
    assert found.offset_mm == pytest.approx((ends * 5 + new) / (ends + walls), rel=0.2)
    assert found.offset_mm > found.offset_px > 0


def test_a_moved_mask_is_off_but_not_too_large():
    found = only(disc(60, 60, 20), disc(60, 66, 20))
    assert abs(found.offset_px) < 0.5
    assert found.distance_px > 3


def test_missing_and_invented_objects_are_counted_and_move_no_outline():
    true, given = disc(30, 30, 12) | disc(90, 90, 6), disc(30, 30, 14) | disc(90, 20, 5) | disc(20, 100, 5)
    found = only(given, true)
    assert (found.missing, found.invented) == (1, 2)
    assert found.offset_px == pytest.approx(only(disc(30, 30, 14), disc(30, 30, 12)).offset_px)
    assert found.dsc < 0.9


def test_an_object_drawn_a_little_beside_its_place_is_touched():
    assert only(disc(60, 60, 10), disc(60, 79, 10)).missing == 0
    far = only(disc(60, 40, 10), disc(60, 79, 10))
    assert (far.missing, far.invented, far.offset_px) == (1, 1, None)


def test_pixels_that_touch_at_a_corner_are_one_object():
    true = np.eye(20, dtype=np.uint8)
    assert only(np.zeros_like(true), true).missing == 1


@pytest.mark.parametrize("by", [-3, 3])
def test_the_frame_is_no_outline(by):
    """Half a disc at the edge of the image is as much too large as a whole one."""
    whole = only(disc(60, 60, 30.5 + by), disc(60, 60, 30.5)).offset_px
    assert only(disc(0, 60, 30.5 + by), disc(0, 60, 30.5)).offset_px == pytest.approx(whole, abs=0.1)


def test_a_verified_mask_that_fills_the_image_has_no_outline():
    found = only(disc(60, 60, 30), np.ones((120, 130), np.uint8))
    assert found.offset_px is None
    assert 0 < found.dsc < 1


@pytest.mark.parametrize("ignores", ["given", "verified"])
def test_ignored_pixels_do_not_count(ignores):
    true, given = disc(60, 60, 20), disc(60, 60, 20)
    given[:60] = np.maximum(given[:60], disc(60, 60, 26)[:60])  # wrong above row 60 only
    ignoring = given if ignores == "given" else true
    ignoring[:60] = IGNORE
    found = only(given, true)
    assert (found.dsc, found.offset_px, found.missing, found.invented) == (1.0, 0.0, 0, 0)


def test_an_object_that_ends_in_unknown_pixels_is_neither_missing_nor_invented():
    true, given = np.zeros((2, 40, 40), np.uint8)
    true[10:20, 10:20] = 1
    given[10:20, 14:24] = IGNORE
    assert only(given, true).missing == 0


def test_every_class_that_either_mask_shows():
    true, given = np.zeros((2, 40, 40), np.uint8)
    true[5:15, 5:15], given[3:17, 3:17] = 1, 1
    true[25:35, 25:35] = 3
    given[25:30, 5:10] = 4
    found = compare_pair(given, true)
    assert list(found) == [1, 3, 4]
    assert found[1].offset_px > 1.5
    assert (found[3].missing, found[3].dsc, found[4].invented) == (1, 0.0, 1)


def test_masks_that_show_nothing_have_no_class():
    empty = np.zeros((9, 9), np.uint8)
    assert compare_pair(empty, empty) == {}
    assert compare_pair(np.full((9, 9), IGNORE, np.uint8), empty) == {}


@pytest.mark.parametrize("shapes", [((9, 9), (9, 8)), ((9,), (9,))])
def test_masks_of_two_shapes_are_refused(shapes):
    with pytest.raises(InputError, match="of one shape"):
        compare_pair(*(np.zeros(shape, np.uint8) for shape in shapes))


TILTED = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 2.0, 2.0))


def test_mm_of_axes_that_miss_right_angles_are_those_of_the_world():
    """A gantry tilted by 45 degrees: faces of a box, each at its place, weighed by its area."""
    true, given = np.zeros((2, 30, 30, 12), np.uint8)
    true[8:20, 8:20, 4:8] = given[8:20, 8:20, 2:10] = 1
    axes = np.array(TILTED)

    def faces(array, other):
        for axis in range(3):
            near, far = (np.moveaxis(array, axis, 0)[part] > 0 for part in (slice(-1), slice(1, None)))
            there = [np.moveaxis(other, axis, 0)[part] > 0 for part in (slice(-1), slice(1, None))]
            cut = near != far
            place = np.argwhere(cut).astype(float)
            place[:, 0] += 0.5
            place = np.insert(place[:, 1:], axis, place[:, 0], axis=1)
            area = np.linalg.norm(np.cross(*np.delete(axes, axis, axis=0)))
            for point, one, two in zip(place @ axes, there[0][cut], there[1][cut], strict=True):
                yield point, 1 - int(one) - int(two), area

    verified = np.array([point for point, _, _ in faces(true, true)])
    held = list(faces(given, true))
    away = [side * np.linalg.norm(verified - point, axis=1).min() * (side != 0) for point, side, _ in held]
    expected = np.average(away, weights=[area for _, _, area in held])
    assert only(given, true, TILTED).offset_mm == pytest.approx(expected)
    assert only(given, true, TILTED).offset_mm < 0.9 * only(given, true, (1.0, 1.0, 8**0.5)).offset_mm


def test_turned_axes_change_no_length():
    true, given = disc(40, 40, 10), disc(40, 40, 13)
    turned = ((0.3, 0.4), (-1.6, 1.2))  # at right angles, of 0.5 and 2 mm
    assert only(given, true, turned).offset_mm == pytest.approx(only(given, true, (0.5, 2.0)).offset_mm)
