"""Colour-changed views: what they change, what they keep, and who has a part in them."""

import math

import pytest
import torch
from torch import Generator

from metadcseg.methods.condseg.views import STRENGTH, _colours, blurred, colour_view


def drawn(images, seeds=(0, 1), valid=None):
    valid = torch.ones(len(images), *images.shape[2:], dtype=torch.bool) if valid is None else valid
    return colour_view(images, valid, [Generator().manual_seed(seed) for seed in seeds])


def noise(*shape):
    return torch.randn(*shape, generator=Generator().manual_seed(7))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(6, 9), (4, 5, 6)])
def test_an_images_view_depends_on_its_generator_alone(channels, size):
    images = noise(2, channels, *size)
    whole = drawn(images)
    assert whole.shape == images.shape
    assert not torch.equal(whole[0], images[0])
    torch.testing.assert_close(drawn(images[1:], seeds=[1]), whole[1:])


def test_flat_images_stay_flat_and_within_the_strength():
    views = torch.cat([drawn(torch.ones(1, 1, 3, 3), seeds=[seed]) for seed in range(50)])
    means = views.mean(dim=(1, 2, 3))
    assert views.flatten(1).std(dim=1).max() < 1e-5
    assert (means - 1).abs().max() <= 2 * STRENGTH + 1e-5  # contrast and brightness together
    assert means.std() > 0.1


def test_half_of_the_views_in_colour_are_grey():
    images = noise(1, 3, 8, 8)
    grey = [bool((drawn(images, seeds=[seed]).std(dim=1) < 1e-5).all()) for seed in range(60)]
    assert 15 < sum(grey) < 45


def test_grey_pixels_stay_grey_whatever_the_colours_do():
    matrix = _colours(1.2, 0.4)
    torch.testing.assert_close(matrix @ torch.ones(3), torch.ones(3))
    torch.testing.assert_close(_colours(1.0, 0.0), torch.eye(3))
    third = _colours(1.0, 2 * math.pi / 3) @ torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(third, torch.tensor([0.0, 1.0, 0.0]))  # a third of a turn: red becomes green


def test_channels_that_are_no_colours_change_one_by_one():
    images = noise(1, 4, 1, 1).expand(1, 4, 4, 4).contiguous()
    other = images.clone()
    other[:, 2] += 1
    changed = drawn(other, seeds=[3]) - drawn(images, seeds=[3])
    assert changed[:, [0, 1, 3]].abs().max() < 1e-5
    assert changed[:, 2].abs().min() > 0.5


def test_a_blur_is_the_gaussian_and_keeps_what_does_not_count():
    line = torch.zeros(1, 1, 15, 15)
    line[..., 7, 7] = 1.0
    every = torch.ones(1, 15, 15, dtype=torch.bool)
    found = blurred(line, every, torch.tensor([1.0]))[0, 0]
    kernel = torch.exp(-0.5 * torch.arange(-3.0, 4) ** 2)
    kernel /= kernel.sum()
    torch.testing.assert_close(found[4:11, 4:11], kernel[:, None] * kernel[None])
    torch.testing.assert_close(
        blurred(torch.ones_like(line), every, torch.tensor([1.5])), torch.ones_like(line)
    )
    hidden = every.clone()
    hidden[:, 7, 7] = False
    found = blurred(line, hidden, torch.tensor([1.0]))[0, 0]
    assert found[7, 7] == 1.0
    assert found.sum() == 1.0  # nothing of it reached its neighbors
