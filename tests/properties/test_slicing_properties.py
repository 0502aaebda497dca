"""Slices of volumes: what is cut comes back in the same place, whatever the axis, the crop and the size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metadcseg.data.formats.geometry import Grid, Volume
from metadcseg.data.slicing.cut import SliceOptions, cut, cut_labels, place
from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.errors import InputError


def _grid(shape, spacing=(1.0, 1.0, 1.0), known=True):
    affine = tuple(
        (*tuple(spacing[row] if row == column else 0.0 for column in range(3)), 0.0) for row in range(3)
    )
    return Grid(shape, (*affine, (0.0, 0.0, 0.0, 1.0)), known)


def _one_hot(labels, classes=4):
    return (np.eye(classes, dtype=np.float32)[plane].transpose(2, 0, 1) for plane in labels)


@given(
    st.tuples(*[st.integers(1, 7)] * 3),
    st.sampled_from(["auto", "x", "y", "z", "axial", "coronal", "sagittal"]),
    st.integers(0, 2**31),
)
def test_labels_come_back_exactly(shape, axis, seed):
    rng = np.random.default_rng(seed)
    labels = Volume(rng.integers(0, 4, shape, dtype=np.uint8), _grid(shape))
    image = Volume(rng.normal(size=(*shape, 2)), labels.grid)
    stack, placement = cut(image, SliceOptions(axis=axis))
    slices = cut_labels(labels, placement)
    assert stack.shape == (*slices.shape, 2)
    assert stack.dtype == np.float16
    assert np.array_equal(placement.restore(_one_hot(slices)), labels.array)
    assert SliceGeometry.from_dict(placement.to_dict()) == placement


@given(st.sampled_from("xyz"), st.integers(0, 2**31))
def test_outside_a_crop_everything_is_background(axis, seed):
    rng = np.random.default_rng(seed)
    image = np.zeros((17, 18, 19, 1), np.float32)
    image[6:9, 7:10, 8:12] = rng.uniform(1, 2, (3, 3, 4, 1))
    labels = Volume(rng.integers(1, 4, image.shape[:3], dtype=np.uint8), _grid(image.shape[:3]))
    stack, placement = cut(Volume(image, labels.grid), SliceOptions(axis=axis, crop="content"))
    inside = tuple(slice(*edge) for edge in placement.box)
    expected = np.zeros_like(labels.array)
    expected[inside] = labels.array[inside]
    assert stack.shape[0] == (3, 3, 4)["xyz".index(axis)]
    assert expected.sum() < labels.array.sum()
    assert np.array_equal(placement.restore(_one_hot(cut_labels(labels, placement))), expected)


def test_resampled_slices_have_the_size_asked_for_and_come_back_close():
    grid = _grid((30, 40, 3), (1.0, 0.5, 4.0))
    labels = np.zeros(grid.shape, np.uint8)
    labels[8:20, 10:30] = 2
    stack, placement = cut(Volume(labels[..., None].astype(float), grid), SliceOptions(pixel=0.5))
    assert stack.shape == (3, 60, 40, 1)
    assert placement.slice_spacing == (0.5, 0.5)
    back = placement.restore(_one_hot(cut_labels(Volume(labels, grid), placement)))
    assert np.array_equal(back, labels)  # enlarged by whole numbers: nothing is lost


def test_the_thickest_axis_is_cut_and_the_last_of_equals():
    assert cut(Volume(np.ones((3, 4, 5, 1)), _grid((3, 4, 5), (1, 3, 1))), SliceOptions())[1].axis == 1
    assert cut(Volume(np.ones((3, 4, 5, 1)), _grid((3, 4, 5))), SliceOptions())[1].axis == 2


@pytest.mark.parametrize("options", [{"pixel": 1.0}, {"axis": "axial"}])
def test_millimeters_and_planes_need_a_known_grid(options):
    volume = Volume(np.ones((3, 4, 5, 1)), _grid((3, 4, 5), known=False))
    with pytest.raises(InputError, match="the file does not say"):
        cut(volume, SliceOptions(**options))


@pytest.mark.parametrize(
    "options",
    [{"axis": "w"}, {"pixel": 0.0}, {"pixel": float("nan")}, {"normalize": "window:3,1"}, {"crop": "yes"}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InputError, match="--"):
        SliceOptions(**options)


def test_values_are_brought_to_one_scale():
    image = np.zeros((6, 6, 6, 1), np.float32)
    image[2:4, 2:4, 2:4] = np.arange(8, dtype=np.float32).reshape(2, 2, 2, 1) + 100
    volume = Volume(image, _grid((6, 6, 6)))
    zscore = cut(volume, SliceOptions())[0].astype(np.float64)
    assert abs(zscore.mean()) < 1e-3
    assert abs(zscore.std() - 1) < 1e-3
    nonzero = cut(volume, SliceOptions(normalize="nonzero"))[0].astype(np.float64)
    content = nonzero[2:4, 2:4, 2:4]
    assert nonzero[0].max() == 0
    assert abs(content.mean()) < 1e-3
    assert abs(content.std() - 1) < 1e-3
    window = cut(volume, SliceOptions(normalize="window:50,103"))[0]
    assert window.min() == -1
    assert window.max() == 1
    assert np.array_equal(np.moveaxis(image, 2, 0), cut(volume, SliceOptions(normalize="none"))[0])


@pytest.mark.parametrize(("value", "sentence"), [(np.nan, "NaN"), (1e6, "16 bits")])
def test_values_that_cannot_be_stored_are_refused(value, sentence):
    with pytest.raises(InputError, match=sentence):
        cut(Volume(np.full((2, 2, 2, 1), value), _grid((2, 2, 2))), SliceOptions(normalize="none"))


@pytest.mark.parametrize("count", [2, 4])
def test_a_stack_that_is_not_complete_is_refused(count):
    placement = cut(Volume(np.ones((4, 5, 3, 1)), _grid((4, 5, 3))), SliceOptions())[1]
    with pytest.raises(InputError, match="every slice of the volume once"):
        placement.restore(np.zeros((count, 2, 4, 5), np.float32))


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 100.0])
@pytest.mark.parametrize("order", ["file", "world"])
def test_the_unit_of_lengths_does_not_decide_which_axis_is_cut(scale, order):
    thick = tuple(side * scale for side in (2.0, 0.5, 0.5))
    assert place(_grid((3, 4, 5), thick), SliceOptions(order=order)).axis == 0
    alike = tuple(side * scale for side in (0.5001, 0.5, 0.5))
    assert place(_grid((3, 4, 5), alike), SliceOptions(order=order)).axis == 2


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice_is_not_cut_into_lines(axis, known):
    shape, spacing = [12, 15, 9], [1.4, 1.4, 1.4]
    shape[axis], spacing[axis] = 1, 1.0  # DICOM without a thickness
    for options in (SliceOptions(), SliceOptions(order="file")):
        assert place(_grid(tuple(shape), spacing, known=known), options).axis == axis
    assert place(_grid((1, 1, 9), (1, 1, 3)), SliceOptions()).axis == 2
