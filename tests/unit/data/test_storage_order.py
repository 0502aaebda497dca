"""However a file stores a volume, its slices show the body in one order and direction, and predictions go back."""

import json
from itertools import permutations, product

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform

from metadcseg.data.formats.geometry import Grid, Volume, as_affine
from metadcseg.data.slicing.cut import SliceOptions, cut, cut_labels, place
from metadcseg.data.slicing.geometry import SliceGeometry

SHAPE = (6, 9, 12)
ARRAY = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
LABELS = (ARRAY > 0.5).astype(np.uint8)
CODES = ["".join(c) for order in permutations(("RL", "AP", "SI")) for c in product(*order)]


def stored(codes, spacing=(1.0, 1.0, 1.0), array=ARRAY):
    """Return (array, grid) of one volume in another storage order."""
    image = nibabel.Nifti1Image(array, np.diag([*spacing, 1.0]))
    turned = image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes)))
    held = np.asarray(turned.dataobj)
    return held, Grid(held.shape, as_affine(turned.affine))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (4.0, 0.9, 0.9)])
@pytest.mark.parametrize(
    "options", [SliceOptions(), SliceOptions(pixel=1.3, crop="content"), SliceOptions("coronal")]
)
def test_every_order_gives_the_same_slices_and_goes_back(spacing, options):
    assert len(CODES) == 48
    first, placed = cut(Volume(ARRAY[..., None], stored("RAS", spacing)[1]), options)
    for codes in CODES:
        array, grid = stored(codes, spacing)
        stack, placement = cut(Volume(array[..., None], grid), options)
        np.testing.assert_array_equal(stack, first, err_msg=codes)
        assert placement.slice_spacing == pytest.approx(placed.slice_spacing)
        labels = stored(codes, spacing, LABELS)[0]
        planes = cut_labels(Volume(labels, grid), placement)
        np.testing.assert_array_equal(planes, cut_labels(Volume(LABELS, placed.grid), placed))
        if options.pixel is None:
            back = placement.restore(
                np.stack([plane == 0, plane == 1]).astype(np.float32) for plane in planes
            )
            np.testing.assert_array_equal(back, labels)
        assert SliceGeometry.from_dict(placement.to_dict()) == placement


def test_sets_of_before_are_read_and_cut_as_they_were():
    before = SliceOptions().to_dict()
    del before["order"]
    options = SliceOptions.from_dict(before)
    assert options.order == "file"
    assert "order" not in options.to_dict()
    for codes in ("LPS", "PSR", "SAL"):
        array, grid = stored(codes)
        stack, placement = cut(Volume(array[..., None], grid), options)
        assert placement == SliceGeometry(grid, 2, tuple((0, side) for side in grid.shape), *grid.shape[:2])
        assert set(placement.to_dict()) == {"shape", "affine", "known", "axis", "box", "height", "width"}
        np.testing.assert_allclose(
            stack[1, :, :, 0], np.float16(array[:, :, 1] - array.mean()) / array.std(), atol=0.01
        )


@pytest.mark.parametrize("codes", ["LPS", "PSR", "SAL"])
def test_a_place_that_is_not_known_turns_nothing(codes):
    array, grid = stored(codes)
    for known, placed in ((False, True), (True, False), (False, False)):
        unknown = Grid(grid.shape, grid.affine, known, placed)
        placement = place(unknown, SliceOptions())
        assert (placement.axis, placement.swapped, placement.flipped) == (2, False, ())
        assert np.shares_memory(placement.stack(array), array)


def test_unstack_is_the_way_back():
    for codes in ("RAS", "LPI", "PSR"):
        array, grid = stored(codes)
        placement = place(grid, SliceOptions())
        np.testing.assert_array_equal(placement.unstack(placement.stack(array)), array)


def test_a_set_remembers_that_an_image_does_not_say_where_it_lies():
    _, grid = stored("LPS")
    for known, placed in ((True, False), (False, True), (False, False)):
        placement = place(Grid(grid.shape, grid.affine, known, placed), SliceOptions())
        assert SliceGeometry.from_dict(json.loads(json.dumps(placement.to_dict()))) == placement
