import pytest
import torch
from scipy import ndimage

from metadcseg.errors import InputError
from metadcseg.methods.class_distances import class_distances
from metadcseg.tensors import IGNORE


def drawn(*shape, classes=3, density=0.02, seed=0):
    generator = torch.Generator().manual_seed(seed)
    seeds = torch.rand(shape, generator=generator) < density
    return seeds * torch.randint(1, classes, shape, generator=generator)


@pytest.mark.parametrize("shape", [(2, 21, 34), (2, 7, 12, 15)])
def test_equals_the_exact_transform_up_to_its_reach(shape):
    labels, reach = drawn(*shape), 5
    found = class_distances(labels, 3, reach)
    for number, label in enumerate(labels):
        for k in range(3):
            exact = torch.from_numpy(ndimage.distance_transform_edt((label != k).numpy())).float()
            near = exact <= reach
            torch.testing.assert_close(found[number, k][near], exact[near])
            assert (found[number, k][~near] > reach).all()


def test_images_of_a_batch_do_not_see_each_other():
    labels = torch.zeros(2, 8, 8, dtype=torch.int64)
    labels[0, 4, 4] = 1
    found = class_distances(labels, 2, reach=3)
    assert (found[1, 1] == 4).all()
    assert torch.equal(found[:1], class_distances(labels[:1], 2, reach=3))


def test_an_ignored_pixel_is_of_no_class_but_has_distances():
    labels = torch.tensor([[[0, IGNORE, 1]]])
    assert class_distances(labels, 2, reach=2).tolist() == [[[[0, 1, 2]], [[2, 1, 0]]]]


def test_a_reach_beyond_the_image_is_no_fault():
    assert class_distances(torch.tensor([[[0, 1]]]), 2, reach=50)[0, 0].tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("labels", "classes", "reach"),
    [
        (torch.zeros(1, 4, 4), 2, 1),
        (torch.zeros(4, dtype=torch.int64), 1, 1),
        (torch.zeros(1, 4, 4).long(), 2, 0),
    ],
)
def test_what_makes_no_sense_is_refused(labels, classes, reach):
    with pytest.raises(InputError, match=r"labels|classes"):
        class_distances(labels, classes, reach)
