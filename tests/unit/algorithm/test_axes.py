"""Every axis and dtype of every tensor that the paper's functions take: what is wrong is refused, never broadcast."""

import pytest
import torch

from metadcseg import functional as F
from metadcseg.algorithm.center_distance import DynamicCenterDistance
from metadcseg.errors import InputError
from metadcseg.forward_mode.jvp import LogitChange
from metadcseg.tensors import Batch, WeightMaps
from metadcseg.warp import Warp

N, L, D = 2, 3, 5
GRIDS = {"image": (6, 7), "volume": (4, 6, 7)}


def scene(size):
    """Return every kind of tensor that the functions take, all of one batch."""
    generator = torch.Generator().manual_seed(0)

    def maps(*more):
        return torch.rand(N, *more, *size, generator=generator)

    return {
        "classes": maps(L).softmax(dim=1),
        "features": maps(D),
        "map": maps(),
        "mask": maps() > 0.5,
        "labels": (maps() * L).long(),
        "default": torch.rand(3, D, generator=generator),
        "values": torch.rand(N, 3, D, generator=generator),
        "counted": torch.rand(N, 3, generator=generator) > 0.5,
        "per_image": torch.rand(N, generator=generator),
        "indices": torch.arange(N),
    }


def objective(pixel_loss, weights_boundary, dice, labels):
    return F.total_objective(pixel_loss, weights_boundary, dice, labels, 0.5, 0.5)


def dice(probabilities, labels, label_confidence, second, counts):
    return F.soft_dice_loss(probabilities, labels, label_confidence, (second, counts))


def pixel_loss(logits, labels, pseudo, alpha, beta):
    return F.weighted_pixel_loss(logits, labels, pseudo, WeightMaps(alpha, beta))


def update(alpha, beta, d_alpha, d_beta, valid):
    gradients = F.PixelGradients(d_alpha, d_beta)
    return F.update_weights(WeightMaps(alpha, beta), gradients, eta=0.1, valid=valid)


def normalize(alpha, beta, valid):
    return F.normalize_weights(WeightMaps(alpha, beta), "image", valid)


def decompose(foreground_probability, edges, valid):
    return F.decompose_regions(foreground_probability, ratio=0.3, edges=edges, valid=valid)


def centers(features, gamma, foreground, background, boundary, default):
    return F.region_centers(features, gamma, F.Regions(foreground, background, boundary), default)


def distance(features, values, counted):
    return F.dynamic_center_distance(features, F.Centers(values, counted))


def module(logits, features, gamma, valid, edges):
    known = DynamicCenterDistance()
    known.centers = torch.zeros(1, 3, D)
    return known(logits, features, gamma, valid, edges)


def weights(distance, boundary):
    return F.boundary_weights(distance, boundary, 0.5)


def batch(images, labels, indices, edges, label_confidence):
    return Batch(images, labels, indices, Warp.identity(N, labels.ndim - 1), edges, label_confidence)


def gradients(logits, change, labels, pseudo):
    return F.pixel_gradients(LogitChange(logits, change), labels, pseudo, 0.1)


TAKES = {
    F.pixel_cross_entropy: ("classes", "labels"),
    pixel_loss: ("classes", "labels", "labels", "map", "map"),
    update: ("map", "map", "map", "map", "mask"),
    normalize: ("map", "map", "mask"),
    F.mean_over_pixels: ("map", "labels"),
    decompose: ("map", "mask", "mask"),
    centers: ("features", "map", "mask", "mask", "mask", "default"),
    distance: ("features", "values", "counted"),
    module: ("classes", "features", "map", "mask", "mask"),
    weights: ("map", "mask"),
    dice: ("classes", "labels", "map", "labels", "map"),
    objective: ("map", "map", "per_image", "labels"),
    gradients: ("classes", "classes", "labels", "labels"),
    batch: ("features", "labels", "indices", "map", "map"),
}
ONE = {F.pseudo_labels: "classes", F.effective_pixels: "map"}
CHANGES = {
    "one": lambda tensor, axis: tensor.narrow(axis, 0, 1),
    "twice": lambda tensor, axis: torch.cat([tensor, tensor], dim=axis),
    "none": lambda tensor, axis: tensor.select(axis, 0),
    "extra": lambda tensor, axis: tensor.unsqueeze(axis),
}


def is_free(function, place, axis, change):
    """Whether nothing else that is given says how large this axis must be."""
    if place > 0:
        return False
    if function is distance:  # centers have no pixels
        return axis >= 2
    if function is batch:  # of any number of channels
        return axis == 1 and change in ("one", "twice")
    return TAKES[function][0] == "classes" and axis == 1 and change == "twice"


CASES = [
    pytest.param(
        function, place, axis, change, grid, id=f"{function.__name__}-{place}-{axis}-{change}-{grid}"
    )
    for grid, size in GRIDS.items()
    for function, kinds in TAKES.items()
    for place, kind in enumerate(kinds)
    for axis in range(scene(size)[kind].ndim)
    for change in CHANGES
    if not is_free(function, place, axis, change)
]


@pytest.mark.parametrize(("function", "place", "axis", "change", "grid"), CASES)
def test_an_axis_that_does_not_fit_is_refused(function, place, axis, change, grid):
    given = [scene(GRIDS[grid])[kind] for kind in TAKES[function]]
    given[place] = CHANGES[change](given[place], axis)
    with pytest.raises(InputError, match=r"must have (the shape|at least 2 classes)"):
        function(*given)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("function", TAKES)
@pytest.mark.parametrize("place", range(6))
def test_what_fits_is_taken_and_a_wrong_dtype_refused(function, place, grid):
    given = [scene(GRIDS[grid])[kind] for kind in TAKES[function]]
    if place >= len(given):
        function(*given)
        return
    given[place] = given[place].int()  # the dtype of nothing
    with pytest.raises(InputError, match=r"must be .*, got (torch\.)?int32"):
        function(*given)


@pytest.mark.parametrize("function", ONE)
def test_functions_of_one_tensor_know_images_and_volumes_alone(function):
    for size in GRIDS.values():
        function(scene(size)[ONE[function]])
        with pytest.raises(InputError, match="must be float, got"):
            function(scene(size)[ONE[function]].int())
    image, volume = (scene(size)[ONE[function]] for size in GRIDS.values())
    for wrong in (image[0], volume.unsqueeze(1)):
        with pytest.raises(InputError, match="must have the shape"):
            function(wrong)


def test_half_precision_is_a_float():
    assert (
        F.boundary_weights(torch.zeros(1, 2, 2).half(), torch.ones(1, 2, 2, dtype=torch.bool), 1.0).sum() == 1
    )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: F.boundary_weights(torch.ones(2, 4, 4), torch.ones(4, 4, dtype=torch.bool), 0.5),
            "boundary must have the shape (2, 4, 4), got (4, 4)",
        ),
        (
            lambda: F.dynamic_center_distance(
                torch.ones(2, 5, 4, 4), F.Centers(torch.ones(1, 3, 5), torch.ones(1, 3, dtype=torch.bool))
            ),
            "centers.values must have the shape (2, 3, 5), got (1, 3, 5)",
        ),
        (
            lambda: F.decompose_regions(torch.ones(4, 4), tau=0.9),
            "foreground_probability must have the shape (N, H, W) or (N, Z, H, W), got (4, 4)",
        ),
        (
            lambda: F.pixel_cross_entropy(torch.ones(2, 3, 4, 4), torch.ones(2, 4, 4)),
            "labels must be int64, got float32",
        ),
    ],
)
def test_the_sentence_names_the_argument_what_is_allowed_and_what_was_got(call, says):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == says
