"""The paper knows no neighborhood: a volume gives what the image of all its voxels in one plane gives."""

import pytest
import torch

from metadcseg.algorithm.boundary import (
    boundary_weights,
    decompose_regions,
    dynamic_center_distance,
    region_centers,
)
from metadcseg.algorithm.effective_pixels import effective_pixels
from metadcseg.algorithm.meta_weights import (
    initial_weights,
    normalize_weights,
    update_weights,
    weighted_pixel_loss,
)
from metadcseg.algorithm.objective import total_objective
from metadcseg.losses import mean_over_pixels, soft_dice_loss
from metadcseg.methods.metadcseg.scaling import scale_gradients
from metadcseg.tensors import IGNORE, PixelGradients, WeightMaps

COUNT, CLASSES, DEPTH, SIDE = 2, 3, 4, 5
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(COUNT, CLASSES, DEPTH, SIDE, SIDE, generator=GENERATOR)
FEATURES = torch.randn(COUNT, 6, DEPTH, SIDE, SIDE, generator=GENERATOR)
LABELS = torch.randint(0, CLASSES, (COUNT, DEPTH, SIDE, SIDE), generator=GENERATOR)
LABELS[0, 1, :2] = IGNORE
ALPHA, BETA, STEP = torch.rand(3, COUNT, DEPTH, SIDE, SIDE, generator=GENERATOR)


def flat(maps):
    """Return (..., Z * H, W) for (..., Z, H, W)."""
    return maps.flatten(-3, -2)


def boundary(logits, features, labels, gamma):
    foreground, valid = 1 - logits.softmax(dim=1)[:, 0], labels != IGNORE
    regions = decompose_regions(foreground, ratio=0.3, edges=gamma > 0.9, valid=valid)
    centers = region_centers(features, gamma, regions, default=None, min_pixels=3)
    weights = boundary_weights(dynamic_center_distance(features, centers), regions.boundary, 2.0)
    assert (weights > 0).any()
    return weights


def test_boundary_weights():
    whole, plane = (
        boundary(*maps)
        for maps in (
            (LOGITS, FEATURES, LABELS, ALPHA),
            tuple(flat(maps) for maps in (LOGITS, FEATURES, LABELS, ALPHA)),
        )
    )
    torch.testing.assert_close(flat(whole), plane)
    torch.testing.assert_close(effective_pixels(whole), effective_pixels(plane))


@pytest.mark.parametrize("mode", ["image", "batch", "complementary"])
@pytest.mark.parametrize("scaling", ["rms", "none"])
def test_weights(mode, scaling):
    def moved(alpha, beta, step, labels):
        valid = labels != IGNORE
        gradients = scale_gradients(PixelGradients(step, step.flip(0)), scaling, valid)
        after = update_weights(WeightMaps(alpha, beta), gradients, eta=0.3, valid=valid)
        return normalize_weights(after, mode, valid)

    whole = moved(ALPHA, BETA, STEP, LABELS)
    plane = moved(*(flat(maps) for maps in (ALPHA, BETA, STEP, LABELS)))
    torch.testing.assert_close(flat(whole.alpha), plane.alpha)
    torch.testing.assert_close(flat(whole.beta), plane.beta)
    assert initial_weights(LABELS.shape).gamma.shape == LABELS.shape


def test_objective():
    def total(logits, labels, alpha, beta):
        pseudo = logits.argmax(dim=1)
        pixels = weighted_pixel_loss(logits, labels, pseudo, WeightMaps(alpha, beta))
        dice = soft_dice_loss(logits.softmax(dim=1), labels)
        found = total_objective(pixels, beta, dice, labels, 0.5, 0.3)
        return found.total, mean_over_pixels(pixels, labels), dice

    whole = total(LOGITS, LABELS, ALPHA, BETA)
    plane = total(*(flat(maps) for maps in (LOGITS, LABELS, ALPHA, BETA)))
    for one, other in zip(whole, plane, strict=True):
        torch.testing.assert_close(one, other)
