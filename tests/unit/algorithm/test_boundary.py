import math

import numpy as np
import pytest
import torch
from tests.reference import boundary as slow

from metadcseg.algorithm.boundary import (
    Centers,
    Regions,
    boundary_weights,
    decompose_regions,
    dynamic_center_distance,
    foreground_probability,
    region_centers,
)
from metadcseg.algorithm.effective_pixels import effective_pixels
from metadcseg.errors import InputError

NAMES = ("foreground", "background", "boundary")


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def as_set(mask):
    return {tuple(pixel) for pixel in mask.nonzero().tolist()}


@pytest.mark.parametrize("tau", [0.55, 0.7, 0.9])
def test_regions_equal_the_loop(tau):
    probability = rand(3, 6, 7)
    probability[0, 0, :3] = torch.tensor([tau, 1 - tau, 0.5])  # on the limits
    edges = rand(3, 6, 7, seed=1) > 0.9
    got = decompose_regions(probability, tau=tau, edges=edges)
    for i in range(3):
        expected = slow.regions(probability[i].numpy(), tau, as_set(edges[i]))
        assert all(expected)
        for name, region in zip(NAMES, expected, strict=True):
            assert as_set(getattr(got, name)[i]) == region


@pytest.mark.parametrize("ratio", [0.1, 0.14, 0.5])
def test_the_ratio_takes_the_most_uncertain_pixels(ratio):
    probability = rand(3, 10, 10)
    got = decompose_regions(probability, ratio=ratio)
    for i in range(3):
        band = slow.most_uncertain(probability[i].numpy(), round(100 * ratio))
        assert as_set(got.boundary[i]) == band
        tau = max(max(probability[i][p].item(), 1 - probability[i][p].item()) for p in band)
        literal = slow.regions(probability[i].numpy(), tau + 1e-12, set())
        assert as_set(got.foreground[i]) == literal[0]
        assert as_set(got.background[i]) == literal[1]


def test_the_ratio_counts_valid_pixels_of_each_image():
    probability, valid = rand(2, 10, 10), torch.ones(2, 10, 10, dtype=torch.bool)
    valid[0, :5] = False
    got = decompose_regions(probability, ratio=0.2, valid=valid, edges=torch.zeros_like(valid))
    assert got.boundary.sum(dim=(1, 2)).tolist() == [10, 20]
    assert not any((getattr(got, name) & ~valid).any() for name in NAMES)
    together = sum(getattr(got, name).int() for name in NAMES)
    assert torch.equal(together, valid.int())  # a partition


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_network_has_no_band_rather_than_a_band_of_everything(value):
    got = decompose_regions(torch.full((1, 4, 4), value), ratio=0.1)
    assert not got.boundary.any()
    assert (got.foreground | got.background).all()


def test_a_saturated_network_has_a_smaller_band():
    probability = torch.zeros(1, 10, 10)
    probability[0, 0, :4] = torch.tensor([0.4, 0.6, 0.9, 0.9])
    got = decompose_regions(probability, ratio=0.1)
    assert got.boundary.sum().item() == 4
    assert (
        decompose_regions(probability, ratio=0.03).boundary.sum().item() == 2
    )  # two pixels tie for the third place


@pytest.mark.parametrize(("ratio", "expected"), [(0.0, 0), (1.0, 100)])
def test_the_ends_of_the_ratio(ratio, expected):
    assert decompose_regions(rand(1, 10, 10), ratio=ratio).boundary.sum().item() == expected


def test_edges_join_the_boundary_and_stay_where_they_are():
    edges = torch.zeros(1, 1, 4, dtype=torch.bool)
    edges[0, 0, 0] = edges[0, 0, 3] = True
    valid = torch.tensor([[[True, True, True, False]]])
    got = decompose_regions(torch.tensor([[[0.99, 0.5, 0.01, 0.99]]]), tau=0.9, edges=edges, valid=valid)
    assert got.boundary.tolist() == [[[True, True, False, False]]]
    assert got.foreground.tolist() == [[[True, False, False, False]]]


@pytest.mark.parametrize(
    "options", [{}, {"tau": 0.9, "ratio": 0.1}, {"tau": 0.4}, {"tau": 1.0}, {"ratio": -0.1}, {"ratio": 1.5}]
)
def test_wrong_thresholds_are_refused(options):
    with pytest.raises(InputError):
        decompose_regions(rand(1, 4, 4), **options)


def test_foreground_probability_of_several_classes():
    probabilities = rand(2, 4, 3, 3).softmax(1)
    together = foreground_probability(probabilities, "foreground")
    assert together.shape == (2, 1, 3, 3)
    torch.testing.assert_close(together[:, 0], probabilities[:, 1:].sum(1))
    assert torch.equal(foreground_probability(probabilities, "per_class"), probabilities[:, 1:])
    with pytest.raises(InputError, match="per_class"):
        foreground_probability(probabilities, "perclass")


def scene(seed=0):
    features = rand(2, 5, 6, 6, seed=seed) * 4 - 2
    gamma = rand(2, 6, 6, seed=seed + 1)
    regions = decompose_regions(
        rand(2, 6, 6, seed=seed + 2), tau=0.75, edges=rand(2, 6, 6, seed=seed + 3) > 0.9
    )
    return features, gamma, regions


def loop_centers(features, gamma, regions, i, default, minimum):
    sets = [as_set(getattr(regions, name)[i]) for name in NAMES]
    return [
        slow.center(features[i].numpy(), gamma[i].numpy(), region, default[k].numpy(), minimum)
        for k, region in enumerate(sets)
    ]


@pytest.mark.parametrize("minimum", [1, 9, 10, 50])
def test_centers_equal_the_loop(minimum):
    features, gamma, regions = scene()
    default = rand(3, 5, seed=9)
    got = region_centers(features, gamma, regions, default, min_pixels=minimum)
    sizes = torch.stack([regions.foreground, regions.background, regions.boundary], dim=1).sum(dim=(2, 3))
    assert torch.equal(got.counted, sizes >= minimum)
    for i in range(2):
        expected = np.stack(loop_centers(features, gamma, regions, i, default, minimum))
        np.testing.assert_allclose(got.values[i].numpy(), expected, rtol=1e-12)


def test_the_threshold_of_pixels_is_met_from_both_sides():
    features, gamma, _ = scene()
    mask = torch.zeros(2, 6, 6, dtype=torch.bool)
    mask[0].view(-1)[:10] = True
    mask[1].view(-1)[:9] = True
    counted = region_centers(features, gamma, Regions(mask, mask, mask), None).counted
    assert counted.tolist() == [[True] * 3, [False] * 3]


def test_a_region_nobody_trusts_takes_the_default():
    features, gamma, regions = scene()
    default = rand(3, 5, seed=9)
    got = region_centers(features, gamma.masked_fill(regions.boundary, 0.0), regions, default, min_pixels=1)
    assert not got.counted[:, 2].any()
    assert got.counted[:, :2].all()
    assert torch.equal(got.values[:, 2], default[2].expand(2, 5))


def test_without_a_default_the_whole_image_stands_in():
    features, gamma, regions = scene()
    got = region_centers(features, gamma, regions, None, min_pixels=1000)
    torch.testing.assert_close(got.values, features.mean(dim=(2, 3)).unsqueeze(1).expand(2, 3, 5))
    default = torch.full((3, 5), torch.nan)
    default[1] = 7.0
    partly = region_centers(features, gamma, regions, default, min_pixels=1000)
    assert (partly.values[:, 1] == 7.0).all()
    torch.testing.assert_close(partly.values[:, 2], features.mean(dim=(2, 3)))


def test_centers_are_computed_in_float32_under_autocast():
    features, gamma, regions = (scene()[0].float(), scene()[1].float(), scene()[2])
    plain = region_centers(features, gamma, regions, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = region_centers(features, gamma, regions, None)
    assert torch.equal(plain.values, mixed.values)


def test_pixels_in_no_region_do_not_matter():
    features, gamma, _ = scene()
    valid = rand(2, 6, 6, seed=7) > 0.3
    regions = decompose_regions(rand(2, 6, 6, seed=2), tau=0.75, valid=valid)
    wild = features.masked_fill(~valid.unsqueeze(1), 1e9)
    for minimum in (1, 1000):
        got, expected = (region_centers(h, gamma, regions, None, minimum).values for h in (wild, features))
        assert torch.equal(got, expected)
    nothing = decompose_regions(rand(2, 6, 6), tau=0.75, valid=torch.zeros_like(valid))
    empty = region_centers(features, gamma, nothing, None)
    assert (empty.values == 0).all()
    assert not empty.counted.any()


@pytest.mark.parametrize("maximum", [math.inf, 3.0])
def test_distance_equals_the_loop(maximum):
    features, gamma, regions = scene()
    centers = region_centers(features, gamma, regions, None, min_pixels=1)
    got = dynamic_center_distance(features, centers, maximum=maximum)
    for i, h, w in np.ndindex(2, 6, 6):
        expected = slow.distance(
            features[i, :, h, w].numpy(), *centers.values[i].numpy(), epsilon=1e-8, maximum=maximum
        )
        assert got[i, h, w].item() == pytest.approx(expected, rel=1e-12)
    assert (got == maximum).any() == (maximum == 3.0)


@pytest.mark.parametrize("met", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distance_and_gradient_are_finite_where_a_feature_meets_centers(met, dtype):
    values = torch.randn(1, 3, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    meeting = torch.randn(4, dtype=dtype, generator=torch.Generator().manual_seed(1))
    for k in met:
        values[0, k] = meeting
    features = meeting.view(1, 4, 1, 1).clone().requires_grad_()
    values.requires_grad_()
    got = dynamic_center_distance(features, Centers(values, torch.ones(1, 3, dtype=torch.bool)))
    got.sum().backward()
    assert 0 <= got.item() <= 100.0
    assert features.grad.isfinite().all()
    assert values.grad.isfinite().all()


def test_distance_of_half_precision_features_is_computed_in_float32():
    features, gamma, regions = scene()
    centers = region_centers(features.half(), gamma.half(), regions, None)
    got = dynamic_center_distance(features.half(), centers)
    assert got.dtype == torch.float32
    assert got.isfinite().all()


@pytest.mark.parametrize("temperature", [0.5, 0.9, 5.0])
def test_weights_equal_the_loop(temperature):
    distance, on = rand(2, 6, 6) * 20, rand(2, 6, 6, seed=1) > 0.6
    got = boundary_weights(distance, on, temperature)
    for i in range(2):
        expected = slow.weights(distance[i].numpy(), as_set(on[i]), temperature)
        np.testing.assert_allclose(got[i].numpy(), expected, rtol=1e-10, atol=1e-300)


def test_weights_do_not_overflow_where_the_formula_would():
    distance = torch.full((1, 2, 2), 100.0)  # exp(100 / 0.5) is beyond float32
    distance[0, 0, 0] = 99.0
    on = torch.ones(1, 2, 2, dtype=torch.bool)
    got = boundary_weights(distance, on, 0.5)
    assert got.sum().item() == pytest.approx(1.0)
    assert got[0, 0, 0].item() == pytest.approx(math.exp(-2.0) / (3 + math.exp(-2.0)))


def test_weights_outside_the_boundary_are_zero_whatever_is_there():
    distance = torch.tensor([[[1.0, torch.nan, torch.inf]]], requires_grad=True)
    got = boundary_weights(distance, torch.tensor([[[True, False, False]]]), 0.5)
    got.sum().backward()
    assert got.tolist() == [[[1.0, 0.0, 0.0]]]
    assert distance.grad.isfinite().all()


def test_an_image_without_boundary_has_no_weights_and_a_finite_gradient():
    distance = rand(2, 3, 3).requires_grad_()
    on = torch.zeros(2, 3, 3, dtype=torch.bool)
    on[1, 0, :2] = True
    got = boundary_weights(distance, on, 0.5)
    (got**2).sum().backward()
    assert (got[0] == 0).all()
    assert got[1].sum().item() == pytest.approx(1.0)
    assert distance.grad.isfinite().all()
    assert (distance.grad[1] != 0).any()
    assert effective_pixels(got.detach())[0].item() == 0.0


def test_a_temperature_must_be_positive():
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(InputError, match="tau_dcd"):
            boundary_weights(rand(1, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool), wrong)


def test_effective_pixels_count_those_that_share():
    uniform = torch.zeros(1, 4, 4, dtype=torch.float64)
    uniform[0, 1] = 0.25
    single = torch.zeros(1, 4, 4, dtype=torch.float64)
    single[0, 2, 2] = 1.0
    torch.testing.assert_close(
        effective_pixels(torch.cat([uniform, single])), torch.tensor([4.0, 1.0], dtype=torch.float64)
    )
