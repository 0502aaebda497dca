"""The ResNet encoder: counted against torchvision's, by its names, with free strides and norms."""

import pytest
import torch
from torch import nn

from metadcseg.errors import InputError
from metadcseg.networks.resnet import ResNet, norm_layer

PARTS = [9_536, 215_808, 1_219_584, 7_098_368, 14_964_736]


def count(*parts: nn.Module) -> int:
    return sum(parameter.numel() for part in parts for parameter in part.parameters())


def meta(channels: int = 3, **options: object) -> ResNet:
    with torch.device("meta"):
        return ResNet(channels, **options)


def test_resnet_50_has_the_published_parameters() -> None:
    encoder = meta()
    stages = [encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4]
    assert [count(encoder.conv1, encoder.bn1), *map(count, stages)] == PARTS
    assert count(encoder) == 23_508_032
    assert encoder.widths == (64, 256, 512, 1024, 2048)


@pytest.mark.parametrize("norm", ["group", "instance"])
def test_other_norms_and_strides_cost_no_parameter(norm: str) -> None:
    assert count(meta(norm=norm, strides=(2, 2, 2, 1))) == 23_508_032


def test_the_names_are_torchvisions() -> None:
    names = meta().state_dict()
    assert len(names) == 318  # torchvision's 320 without fc.weight and fc.bias
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.downsample.0.weight"} <= set(names)
    assert tuple(names["layer4.2.conv3.weight"].shape) == (2048, 512, 1, 1)
    assert tuple(names["layer3.0.downsample.1.running_var"].shape) == (1024,)


def test_strides_of_deeplab_keep_the_last_stage_at_a_sixteenth() -> None:
    encoder = ResNet(1, (1, 1, 1, 1), (2, 2, 2, 2), (2, 2, 2, 1), stem=4, norm="group")
    sizes = [tuple(maps.shape[2:]) for maps in encoder(torch.zeros(1, 1, 64, 72))]
    assert sizes == [(32, 36), (16, 18), (8, 9), (4, 5), (4, 5)]


def test_a_block_whose_shape_stays_adds_its_input_as_it_is() -> None:
    encoder = ResNet(2, (2,), (4,), (2,), stem=16)
    first, second = encoder.layer1
    assert (first.downsample, second.downsample) == (None, None)
    nn.init.zeros_(first.bn3.weight)
    nn.init.zeros_(second.bn3.weight)
    stem, stage = encoder(torch.randn(2, 2, 16, 16))
    torch.testing.assert_close(stage, encoder.maxpool(stem))


def test_groups_are_the_most_that_divide_the_width() -> None:
    assert [norm_layer("group", width).num_groups for width in (64, 12, 7, 5)] == [8, 6, 7, 5]


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="as many depths as planes and strides, got 2, 1 and 4"):
        ResNet(1, (1, 1), (4,))
