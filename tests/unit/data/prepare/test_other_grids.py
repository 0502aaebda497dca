"""Masks that lie on another grid than their image, or do not say where they lie."""

import numpy as np
import pytest

from metadcseg.data.formats.geometry import Grid, Volume
from metadcseg.data.prepare.placing import OtherGrid, on_grid

SHAPE = (8, 10, 6)
NAMES = ("masks/a.nii.gz", "images/a.nii.gz")


def grid(scale=(1, 1, 1), origin=(0, 0, 0), shape=SHAPE, turn=False):
    affine = np.diag([*scale, 1.0])
    affine[:3, 3] = origin
    if turn:
        affine = affine[[1, 0, 2, 3]]
    return Grid(shape, tuple(map(tuple, affine.tolist())))


def mask(where, box=((2, 6), (2, 7), (1, 4))):
    array = np.zeros(where.shape, np.uint8)
    array[tuple(slice(*edge) for edge in box)] = 1
    return Volume(array, where)


@pytest.mark.parametrize("bare", [grid(), grid((2, 2, 3)), grid((-1, -1, 1))])
@pytest.mark.parametrize(
    "image", [grid((2, 2, 3), (-40, 12, 7)), grid((1, 1, 1), (5, 0, 0)), grid(turn=True)]
)
def test_a_mask_that_does_not_say_where_it_lies_takes_the_place_of_its_image_or_is_refused(bare, image):
    for resample in (False, True):  # resampling is no cure: it would move or empty the mask
        with pytest.raises(
            OtherGrid, match=r"masks/a\.nii\.gz has the shape .* pass --adopt-grid"
        ) as refused:
            on_grid(mask(bare), image, NAMES, resample=resample)
        assert "--resample-labels" not in str(refused.value)
    adopted = on_grid(mask(bare), image, NAMES, resample=False, adopt=True)
    assert np.array_equal(adopted.array, mask(bare).array)
    assert adopted.grid == image
    assert "took the place of its image" in adopted.notes[0]


def test_a_mask_that_says_where_it_lies_keeps_its_place():
    image = grid((2, 2, 3), (-40, 12, 7))
    elsewhere = grid((2, 2, 3), (-38, 12, 7))
    with pytest.raises(OtherGrid, match=r"by 1 voxels.*--resample-labels"):
        on_grid(mask(elsewhere), image, NAMES, resample=False, adopt=True)
    moved = on_grid(mask(elsewhere), image, NAMES, resample=True, adopt=True)
    assert np.array_equal(moved.array, mask(image, ((3, 7), (2, 7), (1, 4))).array)


@pytest.mark.parametrize(
    ("origin", "kept"), [((3, 1, 0), True), ((5, 1, 0), False), ((40, 0, 0), False), ((1, 1, -9), False)]
)
def test_foreground_that_resampling_loses_is_refused(origin, kept):
    image, where = grid(origin=(1, 1, 0)), grid(origin=origin)
    if kept:
        assert on_grid(mask(where), image, NAMES, resample=True).array.sum() == mask(where).array.sum()
        return
    with pytest.raises(OtherGrid, match=r"masks/a\.nii\.gz shows 60 mm3 of foreground and would keep"):
        on_grid(mask(where), image, NAMES, resample=True)


@pytest.mark.parametrize(
    ("values", "remap"),
    [
        ((-1024, 1), {-1024: 0}),
        ((-1, 3), {}),
        ((0, 255, 1), {}),
        ((255, 1), {255: 255}),
        ((9, 7), {9: 0, 7: 1}),
    ],
)
def test_fill_and_what_is_ignored_are_no_foreground(values, remap):
    """Of a mask that reaches far beyond its image only what is a class must lie in it."""
    image, where = grid(origin=(5, 4, 2)), grid(origin=(1, 0, 0), shape=(20, 20, 12))
    array = np.full(where.shape, values[0], np.int16)
    array[:, :, 0] = values[-2]
    array[6:9, 6:9, 4:6] = values[-1]
    found = on_grid(Volume(array, where), image, NAMES, resample=True, remap=remap)
    assert np.count_nonzero(found.array == values[-1]) == 3 * 3 * 2


@pytest.mark.parametrize(
    "box", [((0, 20), (4, 14), (2, 8)), ((2, 14), (4, 14), (0, 8)), ((4, 6), (4, 20), (2, 12))]
)
def test_a_mask_of_a_whole_body_is_cut_off_at_its_image_where_that_is_said(box):
    image, body = grid(origin=(5, 4, 2)), mask(grid(origin=(1, 0, 0), shape=(20, 20, 12)), box)
    with pytest.raises(
        OtherGrid, match=r"lies outside of it; pass --crop-labels if the image shows only a part"
    ):
        on_grid(body, image, NAMES, resample=True)
    found = on_grid(body, image, NAMES, resample=True, crop=True)
    assert np.array_equal(found.array, body.array[4:12, 4:14, 2:8])
    lost = 1 - found.array.sum() / body.array.sum()
    assert found.notes[0].endswith(f"; {lost:.0%} of its foreground lies outside and was cut off")


@pytest.mark.parametrize("image", [grid(origin=(40, 0, 0)), grid((1, 1, 5), (1, 0, -2), (20, 20, 3))])
def test_what_would_be_emptied_or_lost_between_voxels_is_refused_whatever_is_said(image):
    thin = mask(grid(origin=(1, 0, 0), shape=(20, 20, 12)), ((0, 20), (0, 20), (5, 7)))
    with pytest.raises(OtherGrid, match=r"or between its voxels"):
        on_grid(thin, image, NAMES, resample=True, crop=True)


@pytest.mark.parametrize("shape", [(4, 5, 3), (16, 20, 12), (8, 10, 7)])
@pytest.mark.parametrize("where", ["bare", "unplaced"])
def test_a_mask_of_another_shape_without_a_place_is_not_resampled(shape, where):
    image = grid((2, 2, 3), (-40, 12, 7))
    found = grid(shape=shape) if where == "bare" else Grid(shape, image.affine, placed=False)
    for resample in (False, True):
        with pytest.raises(
            OtherGrid, match=r"its header does not say where it lies, so it cannot"
        ) as refused:
            on_grid(mask(found, ((1, 3),) * 3), image, NAMES, resample=resample)
        assert "--resample-labels" not in str(refused.value)


def test_a_finer_grid_keeps_the_volume():
    coarse = grid((2, 2, 2), (1, 1, 1), (4, 5, 3))
    found = on_grid(
        mask(coarse, ((1, 3), (1, 4), (0, 2))), grid(origin=(0.5, 0.5, 0.5)), NAMES, resample=True
    )
    assert found.array.sum() == 2 * 3 * 2 * 8


@pytest.mark.parametrize(("remap", "what"), [({}, "value 7"), ({1: 1, 7: 2, 9: 2}, "values 7 and 9")])
def test_a_class_that_is_lost_beside_a_larger_one_is_refused(remap, what):
    """Two voxels between the centers of thick slices, of a mask whose other class keeps what it has."""
    body = mask(grid(origin=(1, 1, 0), shape=(12, 12, 24)), ((1, 11), (1, 11), (3, 21)))
    image = grid((1, 1, 6), (1, 1, 0), (12, 12, 4))
    body.array[4, 4, 7:9] = (7, 9) if remap else 7
    for crop in (False, True):
        with pytest.raises(
            OtherGrid, match=rf"shows 2 mm3 of {what} and would keep 0 mm3 .* between its voxels"
        ):
            on_grid(body, image, NAMES, resample=True, crop=crop, remap=remap)
    body.array[4, 4, 6] = 7  # seen on a slice
    body.array[4, 4, 9:12] = 7
    assert np.count_nonzero(on_grid(body, image, NAMES, resample=True, remap=remap).array == 7) == 1


def test_classes_that_lie_outside_are_named_each():
    image, body = (
        grid(origin=(5, 4, 2)),
        mask(grid(origin=(1, 0, 0), shape=(20, 20, 12)), ((4, 12), (4, 14), (2, 8))),
    )
    body.array[0:2, 4:8, 2:4] = 5  # all of it outside
    body.array[2:6, 4:8, 4:6] = 6  # half of it
    with pytest.raises(OtherGrid, match=r"shows 16 mm3 of value 5 and would keep 0 mm3 .*pass --crop-labels"):
        on_grid(body, image, NAMES, resample=True)
    found = on_grid(body, image, NAMES, resample=True, crop=True)
    assert found.notes[0].endswith("; 100% of its value 5, 50% of its value 6 lies outside and was cut off")


@pytest.mark.parametrize("radius", [2.0, 2.5, 3.5, 6.0])
@pytest.mark.parametrize("sides", [(1.05, 1.05, 1.5), (1, 1, 3), (2, 2, 2), (1.05, 0.8, 1.3)])
def test_small_balls_at_any_place_are_kept_and_what_rounding_loses_is_said(sides, radius):
    """Wherever the grid lies: of 30 voxels a third may be lost, or won."""
    random, where = np.random.default_rng(5), grid(origin=(-9, -8, -7), shape=(22, 22, 22))
    places, shape = np.indices(where.shape), tuple(int(20 // side) for side in sides)
    for _ in range(25):
        image = grid(sides, np.array((-9, -8, -7)) + random.uniform(0, sides), shape)
        center = random.uniform(8, 11, (3, 1, 1, 1))
        body = Volume((((places - center) ** 2).sum(axis=0) <= radius**2).astype(np.uint8) * 2, where)
        had = np.count_nonzero(body.array)
        body.array[:, :, 18:] = 1
        found = on_grid(body, image, NAMES, resample=True, crop=True)
        kept = np.count_nonzero(found.array == 2) * np.prod(sides)
        said = f"{1 - kept / had:.0%} of its value 2"
        assert (said in found.notes[0] and "lost by rounding" in found.notes[0]) == (kept < 0.9 * had)


@pytest.mark.parametrize("crop", [False, True])
def test_a_loss_that_rounding_does_not_explain_is_refused(crop):
    """Twenty sheets of 1 mm, of which slices of 6 mm show two: ten more lie between slices than chance explains."""
    body = mask(grid(origin=(1, 1, 0), shape=(12, 12, 108)), ((0, 0),) * 3)
    image = grid((1, 1, 6), (1, 1, 0), (12, 12, 18))
    body.array[:, :, 2::6] = 1
    body.array[:, :, [0, 6]] = 1
    with pytest.raises(
        OtherGrid, match=r"shows 2880 mm3 of foreground and would keep 1728 mm3 .* between its"
    ):
        on_grid(body, image, NAMES, resample=True, crop=crop)


def test_what_lies_outside_of_a_small_class_is_no_rounding():
    image, body = grid(origin=(3, 0, 0)), mask(grid(origin=(1, 0, 0)), ((0, 5), (1, 4), (2, 4)))
    with pytest.raises(OtherGrid, match=r"shows 30 mm3 of foreground .*pass --crop-labels"):
        on_grid(body, image, NAMES, resample=True)
    found = on_grid(body, image, NAMES, resample=True, crop=True)
    assert found.notes[0].endswith("; 40% of its foreground lies outside and was cut off")


def test_a_class_that_an_image_only_touches_is_cut_off():
    """One of its voxels lies in the image, nearest to none of the image's."""
    image = grid((2, 2, 2), (3.1, 0.1, 0.1), (9, 9, 9))
    body = mask(grid(origin=(1, 0, 0), shape=(20, 20, 20)), ((8, 14),) * 3)
    body.array[0:2, 14:18, 14:18] = body.array[2, 17, 17] = 4
    found = on_grid(body, image, NAMES, resample=True, crop=True)
    assert np.unique(found.array).tolist() == [0, 1]
    assert found.notes[0].endswith("; 97% of its value 4 lies outside and was cut off")
