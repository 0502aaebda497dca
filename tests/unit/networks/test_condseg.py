"""ConDSeg: counted part by part against the published network, its hand numbers, sizes, stages and gradients."""

import copy

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

from metadcseg.networks.condseg_parts import (
    ContrastAggregation,
    DilatedBranches,
    SizeDecoder,
    enlarged,
    neighborhood_attention,
)

HEADS = {"foreground", "background", "uncertainty"}


def test_the_published_size_has_the_published_parameters_part_by_part() -> None:
    network = on_meta("condseg", classes=1, size="published")
    encoder = network.encoder
    assert [
        count(encoder.conv1, encoder.bn1),
        *map(count, (encoder.layer1, encoder.layer2, encoder.layer3)),
    ] == [
        9_536,
        215_808,
        1_219_584,
        7_098_368,
    ]
    assert list(map(count, network.levels)) == [837_218, 1_549_922, 2_500_194, 4_400_738]
    assert count(network.decoupling) == 15_979_008
    for paths in (network.foreground_paths, network.background_paths):
        assert list(map(count, paths)) == [590_848, 443_136, 295_424, 147_712]
    assert count(network.auxiliary) == 3_875_523
    assert list(map(count, network.aggregation)) == [854_920] * 3 + [707_464]
    assert list(map(count, network.decoders)) == [347_234] * 3
    assert count(network.output) == 598_721
    assert count(network) - count(network.encoder_head) == 45_552_786
    assert count(encoder, network.encoder_head) == 8_662_848


def test_the_small_size_and_further_classes() -> None:
    network = on_meta("condseg", classes=1)
    assert count(network) - count(network.encoder_head) == 2_064_178
    assert count(network.encoder) == 133_760
    assert count(on_meta("condseg", classes=4, size="published").output) - 598_721 == 3 * 65
    assert count(on_meta("condseg", classes=1, norm="group")) == count(network)


def test_two_passes_of_aggregation_by_hand() -> None:
    """Without weights every neighborhood is averaged; nine such means are added, and nothing is divided by nine."""
    part = ContrastAggregation(8, 8, "batch")
    for layer in (part.foreground, part.background):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    for layer in (part.value, part.leave_pass):
        nn.init.zeros_(layer.bias)
        layer.weight.data = torch.eye(8)[:, :, None, None]
    ones = torch.ones(1, 8, 7, 7)
    once = neighborhood_attention(ones, torch.zeros(1, 4 * 81, 7, 7))[0, 0]
    assert [round(once[place].item(), 4) for place in ((0, 0), (0, 1), (0, 3), (1, 1), (3, 3))] == [
        2.7778,
        4.4444,
        5.0,
        7.1111,
        9.0,
    ]
    twice = part.aggregate(ones, ones, ones)[0, 5]
    assert (round(twice[0, 0].item(), 3), round(twice[3, 3].item(), 3)) == (15.123, 77.049)


def test_certain_scores_copy_a_neighbor() -> None:
    """A head whose every row looks right alone brings each of the nine results the value one to the right."""
    scores = torch.zeros(1, 81, 5, 5)
    scores.view(9, 9, 5, 5)[:, 5] = 100.0  # j = 5 of 0 .. 8: same row, next column
    values = torch.zeros(1, 1, 5, 5)
    values[0, 0, 2, 3] = 1.0
    found = neighborhood_attention(values, scores)[0, 0]
    expected = torch.zeros(5, 5)
    expected[1:4, 1:4] = 1.0  # the results around pixel (2, 2), whose right neighbor it is
    torch.testing.assert_close(found, expected)


def test_dilated_branches_and_decoders_keep_what_they_are_told() -> None:
    assert DilatedBranches(5, 8, "group")(images(1, 5, 4, 6)).shape == (1, 8, 4, 6)
    decoder = SizeDecoder(8, "group")
    for part in (decoder.first, decoder.second, decoder.third):
        nn.init.zeros_(part[1].weight)  # no residual step: what is joined, four times
    below, beside = images(1, 8, 2, 2), images(1, 8, 4, 4)
    attended = decoder.attend
    decoder.attend = nn.Identity()
    joined = decoder.join(torch.cat([enlarged(below), beside], dim=1))
    torch.testing.assert_close(decoder(below, beside), 4 * joined)
    assert attended(joined).shape == joined.shape


@pytest.mark.parametrize(("norm", "shape"), [("batch", (2, 1, 48, 32)), ("group", (1, 4, 37, 50))])
def test_any_size_and_channels_and_every_parameter_learns(norm: str, shape: tuple[int, ...]) -> None:
    network = small("condseg", channels=shape[1], norm=norm)
    output = network(images(*shape))
    count_, _, *size = shape
    assert output.logits.shape == (count_, 3, *size)
    assert output.features.shape == (count_, 16, *size)
    assert {name: tuple(maps.shape) for name, maps in output.auxiliary.items()} == dict.fromkeys(
        HEADS, (count_, 1, *size)
    )
    backward(output)
    assert without_gradient(network) == {
        name for name, _ in network.named_parameters() if name.startswith("module.encoder_head.")
    }


def test_features_enter_the_last_layer() -> None:
    network = small("condseg", norm="group").eval()
    output = network(images(1, 2, 32, 32))
    torch.testing.assert_close(network.module.output.head(output.features), output.logits)
    assert output.auxiliary == {}


def test_the_first_stage_is_the_encoder_and_its_head() -> None:
    network = small("condseg", norm="group")
    network.module.train_encoder(True)
    output = network(images(1, 2, 37, 50))
    assert output.logits.shape == (1, 3, 37, 50)
    assert output.auxiliary == {}
    backward(output)
    parts = {name.split(".")[1] for name, value in network.named_parameters() if value.grad is not None}
    assert parts == {"encoder", "encoder_head"}
    assert not {name for name in without_gradient(network) if "encoder" in name}
    network.module.train_encoder(False)
    assert set(network(images(1, 2, 32, 32)).auxiliary) == HEADS


def test_the_first_stage_upsamples_before_it_normalizes() -> None:
    """As published: a 1 x 1 convolution at full size, for which ours before upsampling is the same."""
    head = small("condseg").module.encoder_head
    level, maps = head.levels[2], images(2, 128, 4, 4)
    whole = [torch.zeros(2, width, side, side) for width, side in ((64, 16), (64, 8), (128, 4), (256, 2))]
    whole[2] = maps
    published = level(enlarged(maps, 8))
    torch.testing.assert_close(head(whole).features[:, 32:48], published, rtol=1e-4, atol=1e-5)


def test_the_stage_is_saved_with_the_weights() -> None:
    network, other, average = small("condseg"), small("condseg"), small("condseg").eval()
    network.module.train_encoder(True)
    other.load_state_dict(network.state_dict())
    assert other.module.encoder_only
    assert copy.deepcopy(other).module.encoder_only
    average.module.stage.copy_(network.module.stage)  # as a moving average takes its buffers
    assert average.eval().module.encoder_only
    assert not small("condseg").module.encoder_only
