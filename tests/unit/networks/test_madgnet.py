"""MADGNet and its ResNeSt: counted part by part, hand numbers, symmetries of its attention, sizes and gradients."""

import pytest
import torch
from tests.unit.networks.rivals import (
    backward,
    count,
    images,
    on_meta,
    small,
    without_gradient,
)
from torch import nn

from metadcseg.networks.madgnet_parts import (
    FrequencyAttention,
    MultiScaleAttention,
    ScaleBranch,
    TaskCascade,
    cosine_filters,
    frequency_moments,
)
from metadcseg.networks.resnest import ResNeSt, SplitAttention


def test_the_published_size_has_the_published_parameters_part_by_part() -> None:
    network = on_meta("madgnet", classes=1, size="published")
    encoder = network.encoder
    stages = [encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4]
    assert [count(encoder.conv1), count(encoder.bn1), *map(count, stages)] == [
        28_640,
        128,
        235_296,
        1_320_704,
        7_696_640,
        16_152_832,
    ]
    assert count(encoder) == 25_434_240
    assert [count(stage.skip) for stage in network.stages] == [65_728, 32_960, 16_576, 4_288]
    assert [count(stage.decode) for stage in network.stages] == [6_674_758, 822_310, 235_142, 78_918]
    attention = [part for part in network.modules() if isinstance(part, MultiScaleAttention)]
    assert list(map(count, attention)) == [1_217_350, 305_446, 87_302, 32_646]
    assert list(map(count, network.cascades)) == [771, 387, 195, 99]
    assert count(network) == 33_366_372


def test_further_classes_the_small_size_and_what_a_checkpoint_holds() -> None:
    assert count(on_meta("madgnet", size="published")) == 33_367_824
    network = on_meta("madgnet")
    assert count(network) == 1_055_488 == count(on_meta("madgnet", norm="group"))
    kept = {name.split(".")[-1] for name in network.state_dict()}
    assert kept == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked", "alpha", "beta"}


def test_resnest_has_the_names_of_its_authors_weights() -> None:
    with torch.device("meta"):
        names = set(ResNeSt(3).state_dict())
    assert {"conv1.0.weight", "conv1.6.weight", "bn1.running_var", "layer1.0.downsample.1.weight"} <= names
    assert {f"layer3.5.conv2.{part}.weight" for part in ("conv", "bn0", "fc1", "bn1", "fc2")} <= names


def test_split_attention_without_weights_takes_the_mean_of_both_halves() -> None:
    part = SplitAttention(4, "group")
    nn.init.zeros_(part.fc2.weight)
    nn.init.zeros_(part.fc2.bias)
    maps = images(2, 4, 5, 5)
    halves = torch.relu(part.bn0(part.conv(maps)))
    torch.testing.assert_close(part(maps), (halves[:, :4] + halves[:, 4:]) / 2)


def test_a_batch_of_one_is_normalized_by_running_statistics_where_it_has_none() -> None:
    part = SplitAttention(4, "batch")
    part.bn1.running_mean.fill_(0.5)
    one = part(images(1, 4, 3, 3))
    assert one.isfinite().all()
    assert part.bn1.running_mean.eq(0.5).all()
    part(images(2, 4, 3, 3))
    assert not part.bn1.running_mean.eq(0.5).any()


def test_the_filters_are_orthonormal_and_begin_with_the_mean() -> None:
    filters = cosine_filters(28, torch.zeros(())).flatten(1)
    torch.testing.assert_close(filters @ filters.T, torch.eye(16), rtol=0, atol=1e-5)
    torch.testing.assert_close(filters[0], torch.full((28 * 28,), 1 / 28))


def test_the_sign_of_a_map_swaps_maximum_and_minimum() -> None:
    maps = images(2, 3, 9, 12)
    mean, largest, smallest = frequency_moments(maps, 7)
    turned = frequency_moments(-maps, 7)
    for one, other in zip(turned, (-mean, -smallest, -largest), strict=True):
        torch.testing.assert_close(one, other)


def test_moments_are_averages_over_the_filters() -> None:
    maps = images(1, 2, 7, 7)
    products = maps.unsqueeze(2) * cosine_filters(7, maps)  # (1, 2, 16, 7, 7): at 7 pixels nothing is pooled
    expected = [products.mean((3, 4)), products.amax((3, 4)), products.amin((3, 4))]
    for found, each in zip(frequency_moments(maps, 7), expected, strict=True):
        torch.testing.assert_close(found, each.mean(dim=2))


def test_a_gate_between_equal_scalars_changes_nothing() -> None:
    branch = ScaleBranch(8, 8, scale=1, groups=4, grid=7, norm="group")
    maps = images(1, 8, 6, 6)
    torch.testing.assert_close(branch.gated(maps), maps)
    branch.alpha.data.fill_(0.0)
    torch.testing.assert_close(branch.gated(maps), maps * torch.sigmoid(branch.gate(maps)))


def test_attention_keeps_sides_that_no_pooling_divides() -> None:
    attention = MultiScaleAttention(8, 3, groups=4, least=4, grid=7, norm="group")
    assert attention(images(1, 8, 34, 33)).shape == (1, 8, 34, 33)  # 34 is pooled to 8, which was 32 times 4
    assert [branch.enter[1][0].out_channels for branch in attention.branches] == [8, 4, 4]
    with torch.no_grad():
        for branch in attention.branches:
            branch.leave[1].weight.zero_()
    maps = images(1, 8, 16, 16)
    torch.testing.assert_close(attention(maps), maps)  # branches that say nothing leave the input


def test_frequency_attention_without_weights_halves() -> None:
    attention = FrequencyAttention(4, 7)
    nn.init.zeros_(attention.weigh[2].weight)
    maps = images(1, 4, 5, 5)
    torch.testing.assert_close(attention(maps), maps / 2)


def test_the_cascade_by_hand() -> None:
    cascade = TaskCascade(1, 1, scale=2)
    for layer in (cascade.region, cascade.distance, cascade.boundary):
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    found = [maps[0, 0, 1, 1].item() for maps in cascade(torch.ones(1, 1, 4, 4))]
    assert [round(value, 5) for value in found] == [1.80118, 1.39369, 0.67504]


@pytest.mark.parametrize(("norm", "shape"), [("batch", (1, 1, 64, 96)), ("group", (2, 4, 37, 70))])
def test_any_size_and_channels_and_every_parameter_learns(norm: str, shape: tuple[int, ...]) -> None:
    network = small("madgnet", channels=shape[1], norm=norm)
    output = network(images(*shape))
    count_, _, *size = shape
    assert output.logits.shape == (count_, 3, *size)
    assert output.features.shape == (count_, 8, *size)
    names = {f"{task}_{depth}" for depth in range(1, 5) for task in ("region", "distance", "boundary")}
    assert set(output.auxiliary) == names - {"region_4"}
    assert {tuple(maps.shape) for maps in output.auxiliary.values()} == {(count_, 3, *size)}
    backward(output)
    assert without_gradient(network) == set()


def test_evaluation_says_the_same_and_nothing_beside() -> None:
    network = small("madgnet", norm="group")
    trained, evaluated = network(images(1, 2, 64, 64)), network.eval()(images(1, 2, 64, 64))
    assert evaluated.auxiliary == {}
    torch.testing.assert_close(evaluated.logits, trained.logits)
