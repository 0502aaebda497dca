"""Analytic gradients of losses, distance and weights against finite differences, in float64."""

import pytest
import torch
from torch.autograd import gradcheck

from metadcseg.algorithm.boundary import (
    boundary_weights,
    decompose_regions,
    dynamic_center_distance,
    region_centers,
)
from metadcseg.algorithm.meta_weights import pseudo_labels, weighted_pixel_loss
from metadcseg.algorithm.objective import total_objective
from metadcseg.losses import mean_over_pixels, pixel_cross_entropy, soft_dice_loss
from metadcseg.tensors import IGNORE, WeightMaps

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(2, 3, 4, 4, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.randint(0, 3, (2, 4, 4), generator=GENERATOR)
LABELS[0, 0, :3] = torch.tensor([0, 1, IGNORE])
FEATURES = torch.randn(2, 3, 4, 4, generator=GENERATOR, dtype=torch.float64)
GAMMA = torch.rand(2, 4, 4, generator=GENERATOR, dtype=torch.float64) + 0.1
REGIONS = decompose_regions(torch.rand(2, 4, 4, generator=GENERATOR, dtype=torch.float64), tau=0.7)


def leaf(tensor):
    return tensor.clone().requires_grad_()


def weights(features, gamma=GAMMA):
    centers = region_centers(features, gamma, REGIONS, None, min_pixels=1)
    return boundary_weights(dynamic_center_distance(features, centers), REGIONS.boundary, 0.9)


def test_regions_of_the_example_are_all_there():
    assert (
        torch.stack([REGIONS.foreground, REGIONS.background, REGIONS.boundary], dim=1)
        .any(dim=3)
        .any(dim=2)
        .all()
    )


@pytest.mark.parametrize(
    "loss",
    [
        lambda z: pixel_cross_entropy(z, LABELS),
        lambda z: mean_over_pixels(pixel_cross_entropy(z, LABELS), LABELS),
        lambda z: soft_dice_loss(z.softmax(1), LABELS),
    ],
    ids=["cross-entropy", "mean", "dice"],
)
def test_losses(loss):
    assert gradcheck(loss, (leaf(LOGITS),))


def test_weighted_loss_towards_logits_and_weights():
    pseudo = pseudo_labels(LOGITS)
    assert gradcheck(
        lambda z, alpha, beta: weighted_pixel_loss(z, LABELS, pseudo, WeightMaps(alpha, beta)),
        (leaf(LOGITS), leaf(GAMMA), leaf(GAMMA * 0.5)),
    )


def test_distance_through_its_centers():
    assert gradcheck(
        lambda h: dynamic_center_distance(h, region_centers(h, GAMMA, REGIONS, None, min_pixels=1)),
        (leaf(FEATURES),),
    )


def test_boundary_weights_towards_features_and_gamma():
    assert gradcheck(weights, (leaf(FEATURES), leaf(GAMMA)))


def test_objective_lets_gradients_flow_through_the_weights():
    def total(z, features):
        pixels = pixel_cross_entropy(z, LABELS)
        dice = soft_dice_loss(z.softmax(1), LABELS)
        return total_objective(pixels, weights(features), dice, LABELS, 0.3, 0.7).total

    features = leaf(FEATURES)
    assert gradcheck(total, (leaf(LOGITS), features))
    total(LOGITS, features).backward()
    assert (features.grad != 0).any()
