"""The bounds of A.4.2 (eq. 37-42), as they hold, and where eq. 41 and 42 as printed do not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metadcseg.algorithm.boundary import (
    Centers,
    Regions,
    boundary_weights,
    dynamic_center_distance,
    region_centers,
)
from metadcseg.algorithm.effective_pixels import effective_pixels

SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)
ROUNDING = 1 + 1e-9
VALUES = st.floats(-8, 8, width=32)  # single precision numbers: exact ties and coinciding pixels do occur
EPSILONS = st.sampled_from([1e-8, 1e-3, 0.1])


@st.composite
def scenes(draw):
    """Return features (1, D, H, W), their centers and the largest feature norm R; every region is filled."""
    shape = (1, draw(st.integers(1, 4)), draw(st.integers(2, 4)), draw(st.integers(2, 5)))
    features = torch.from_numpy(draw(arrays(np.float64, shape, elements=VALUES)))
    gamma = torch.from_numpy(
        draw(arrays(np.float64, (1, *shape[2:]), elements=st.floats(0.0625, 4, width=32)))
    )
    kinds = draw(arrays(np.int64, (1, *shape[2:]), elements=st.integers(0, 2)))
    kinds.reshape(-1)[:3] = [0, 1, 2]
    regions = Regions(*(torch.from_numpy(kinds == kind) for kind in range(3)))
    centers = region_centers(features, gamma, regions, None, min_pixels=1)
    assert centers.counted.all()
    return features, centers, features.norm(dim=1).max().item()


@SETTINGS
@given(scenes())
def test_centers_lie_within_the_largest_feature_norm(scene):
    _, centers, radius = scene
    assert (centers.values.norm(dim=2) <= radius * ROUNDING).all()  # eq. 38


@SETTINGS
@given(scenes())
def test_distances_to_centers_are_at_most_twice_that(scene):
    features, centers, radius = scene
    for k in range(3):
        distance = (features - centers.values[:, k, :, None, None]).norm(dim=1)
        assert (distance <= (features.norm(dim=1) + centers.values[:, k].norm()) * ROUNDING).all()  # eq. 37
        assert (distance <= 2 * radius * ROUNDING).all()  # eq. 39


@SETTINGS
@given(scenes(), EPSILONS)
def test_the_distance_is_bounded_before_the_clip(scene, epsilon):
    features, centers, radius = scene
    distance = dynamic_center_distance(features, centers, epsilon=epsilon, maximum=torch.inf)
    assert (distance >= 0).all()
    assert (distance <= 4 * radius**2 / epsilon * ROUNDING).all()  # eq. 40


@SETTINGS
@given(scenes(), EPSILONS, st.sampled_from([0.5, 100.0]))
def test_the_distance_is_bounded_by_the_clip(scene, epsilon, maximum):
    features, centers, _ = scene
    distance = dynamic_center_distance(features, centers, epsilon=epsilon, maximum=maximum)
    assert (distance <= maximum).all()  # eq. 46


def pixel_gradient(features, centers, epsilon, maximum):
    """The gradient of each pixel's distance with respect to its own feature, the centers held (eq. 41)."""
    features = features.clone().requires_grad_()
    dynamic_center_distance(features, centers, epsilon=epsilon, maximum=maximum).sum().backward()
    return features.grad


@SETTINGS
@given(scenes(), EPSILONS, st.sampled_from([0.5, 100.0]))
def test_the_gradient_of_the_clipped_distance_is_bounded(scene, epsilon, maximum):
    features, centers, radius = scene
    gradient = pixel_gradient(features, centers, epsilon, maximum)
    assert gradient.isfinite().all()
    assert (gradient.norm(dim=1) <= (4 * radius + maximum) / epsilon * ROUNDING).all()  # in place of eq. 42


@SETTINGS
@given(scenes(), EPSILONS)
def test_the_gradient_without_clip_has_a_bound_of_second_order(scene, epsilon):
    features, centers, radius = scene
    gradient = pixel_gradient(features, centers, epsilon, torch.inf)
    bound = 4 * radius / epsilon + 4 * radius**2 / epsilon**2
    assert (gradient.norm(dim=1) <= bound * ROUNDING).all()


def near_the_boundary_center():
    """One pixel of feature norm below 1 whose distance to the boundary's center is a tenth of epsilon."""
    centers = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]], dtype=torch.float64)
    feature = torch.tensor([0.001, 0.0], dtype=torch.float64)
    return feature, Centers(centers, torch.ones(1, 3, dtype=torch.bool)), 0.01


def test_eq_42_as_printed_does_not_hold_near_the_boundary_center():
    feature, centers, epsilon = near_the_boundary_center()
    gradient = pixel_gradient(feature.view(1, 2, 1, 1), centers, epsilon, torch.inf)
    radius = 1.0
    assert gradient.norm().item() > 10 * 6 * radius / epsilon


def test_eq_41_is_the_gradient_once_its_last_term_is_corrected():
    feature, centers, epsilon = near_the_boundary_center()
    fg, bg, bd = (feature - centers.values[0, k] for k in range(3))
    near = bd.norm() + epsilon
    first = (fg / fg.norm() * bg.norm() + bg / bg.norm() * fg.norm()) / near
    distance = fg.norm() * bg.norm() / near
    printed = first - distance * bd / near**2
    corrected = first - distance * bd / (bd.norm() * near)
    got = pixel_gradient(feature.view(1, 2, 1, 1), centers, epsilon, torch.inf).flatten()
    torch.testing.assert_close(got, corrected, rtol=1e-12, atol=0)
    assert (got - printed).norm() > 0.5 * got.norm()


@SETTINGS
@given(
    arrays(np.float64, (2, 3, 4), elements=st.floats(0, 100)),
    arrays(np.bool_, (2, 3, 4)),
    st.floats(0.05, 10),
)
def test_boundary_weights_share_one_among_the_boundary(distance, boundary, temperature):
    distance, boundary = torch.from_numpy(distance), torch.from_numpy(boundary)
    weights = boundary_weights(distance, boundary, temperature)
    assert (weights >= 0).all()
    assert (weights[~boundary] == 0).all()
    pixels = boundary.sum(dim=(1, 2)).double()
    assert weights.sum(dim=(1, 2)).tolist() == pytest.approx((pixels > 0).double().tolist())
    effective = effective_pixels(weights)
    assert (effective <= pixels * ROUNDING).all()
    assert (effective >= (pixels > 0).double() * (1 - 1e-9)).all()
    for i in range(2):
        inside, shares = distance[i][boundary[i]], weights[i][boundary[i]]
        assert (shares[inside.argsort()].diff() >= 0).all()  # further from the centers' balance: more weight
