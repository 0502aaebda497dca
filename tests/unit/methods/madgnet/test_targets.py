"""What MADGNet's tasks learn from a mask, also at the edge of an image and beside ignored pixels."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from metadcseg.methods.madgnet.targets import outline_weight, sobel_boundary, targets_of
from metadcseg.tensors import IGNORE


def blob(size=40):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return ((y - 15) ** 2 + (x - 22) ** 2 < 81).long().unsqueeze(0)


def test_pixels_near_the_outline_count_up_to_six_times():
    labels = blob()
    weight = targets_of(labels, 2).weight[0]
    mask = labels[0].float().numpy()
    mean = ndimage.uniform_filter(mask, 31, mode="constant")
    np.testing.assert_allclose(weight.numpy(), 1 + 5 * np.abs(mean - mask), atol=1e-5)
    assert weight.max() > 4


def test_of_several_classes_the_nearest_outline_counts():
    labels = blob()
    labels[:, 15:] *= 2
    found = targets_of(labels, 3)
    each = [outline_weight(found.masks[:, one : one + 1], labels < 0) for one in (0, 1)]
    torch.testing.assert_close(found.weight, torch.maximum(*each))


def test_distances_are_scipys_as_a_share_of_the_largest():
    found = targets_of(blob(), 2).distance[0, 0]
    expected = ndimage.distance_transform_edt(blob()[0].numpy())
    np.testing.assert_allclose(found.numpy(), expected / expected.max(), rtol=1e-6)


def test_boundaries_are_where_sobel_finds_a_step():
    found = sobel_boundary(blob().unsqueeze(1).float())[0, 0]
    mask = blob()[0].double().numpy()
    magnitude = np.hypot(*(ndimage.sobel(mask, axis, mode="nearest") for axis in (0, 1)))
    assert torch.equal(found, torch.from_numpy(magnitude >= 0.5).float())
    half = torch.zeros(1, 1, 6, 6)
    half[..., :3] = 1  # an object that the image cuts has no boundary at the cut
    assert sobel_boundary(half)[0, 0, 0].tolist() == [0, 0, 1, 1, 0, 0]


def test_volumes_have_the_same_targets():
    flat = targets_of(blob(), 2)
    deep = targets_of(blob().unsqueeze(1).repeat(1, 40, 1, 1), 2)
    for name in ("distance", "boundary"):
        torch.testing.assert_close(getattr(deep, name)[:, :, 20], getattr(flat, name))
    torch.testing.assert_close(deep.weight[:, 20], flat.weight)


@pytest.mark.parametrize("lies_under", [0, 1])
def test_what_lies_under_ignored_pixels_is_not_known(lies_under):
    labels = blob()
    labels[:, :, 24:27] = lies_under
    labels[:, :, 24:27] = IGNORE
    found = targets_of(labels, 2)
    assert found.weight[:, :, 24:27].eq(0).all()
    assert found.beside_ignored[0, 0].nonzero().flatten().tolist() == [23, 24, 25, 26, 27]
    whole = targets_of(blob(), 2)
    # the strip ends no object: distances are at most what they were, where it had not hidden background
    assert (found.distance[0, 0, 15, 16:23] - whole.distance[0, 0, 15, 16:23]).abs().max() < 0.2
    ignored = targets_of(torch.full((1, 5, 5), IGNORE), 2)
    assert not any(getattr(ignored, name).any() for name in ("weight", "distance", "masks", "boundary"))


def test_an_object_without_an_end_and_an_absent_class_have_no_distances():
    assert targets_of(torch.ones(1, 4, 4, dtype=torch.int64), 3).distance.eq(0).all()
