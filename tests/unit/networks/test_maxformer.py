"""MAXFormer's parts by hand, and what must not change what they say."""

import pytest
import torch
from torch import nn

from metadcseg.networks.maxformer_parts import (
    Block,
    ChannelAttention,
    DropPath,
    ExternalAttention,
    GroupAttention,
    PatchExpand,
    groups_of,
    maps_of,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def tokens(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def attention(*, grid: bool, window: int = 4) -> GroupAttention:
    return GroupAttention(8, 4, window, grid=grid).eval()


@pytest.mark.parametrize("grid", [False, True])
def test_groups_are_put_back_as_they_were_cut(grid):
    maps = tokens(2, 6, 9, 4)
    assert torch.equal(maps_of(groups_of(maps, 3, grid=grid), 3, (6, 9), grid=grid), maps)


def test_a_token_becomes_four_by_row_column_and_channel():
    expand = PatchExpand(4, 2, 2)
    expand.norm = nn.Identity()
    with torch.no_grad():
        expand.expand.weight.copy_(torch.cat([torch.eye(4), 2 * torch.eye(4)]))
    found = expand(torch.tensor([1.0, 2, 3, 4]).view(1, 1, 1, 4))
    assert found.tolist() == [[[[1, 2], [3, 4]], [[2, 4], [6, 8]]]]


def test_without_feed_forward_no_attention_reaches_the_output():
    block = Block(16, 8, 2, "group").eval()
    for layer in (block.feed_forward.project, block.external.project):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    maps = tokens(1, 16, 4, 6)
    assert torch.equal(block(maps), block.convolution(maps))


def test_window_attention_moves_with_the_image_by_whole_windows():
    layer, maps = attention(grid=False), tokens(1, 8, 12, 8)
    moved = layer(maps.roll((4, 4), (1, 2)))
    torch.testing.assert_close(moved, layer(maps).roll((4, 4), (1, 2)))


def test_grid_attention_without_bias_moves_with_the_image_by_any_pixel():
    layer, maps = attention(grid=True), tokens(1, 8, 12, 8)
    nn.init.zeros_(layer.bias.weight)
    moved = layer(maps.roll((1, 1), (1, 2)))
    torch.testing.assert_close(moved, layer(maps).roll((1, 1), (1, 2)))


def test_nobody_attends_to_padding():
    layer, maps = attention(grid=False), tokens(1, 5, 5, 8)
    found = layer(maps)
    torch.testing.assert_close(found[:, :4, :4], layer(maps[:, :4, :4]))
    alone = layer.project(layer.qkv(maps[:, 4, 4])[:, 16:])  # one real token in its window: its own value
    torch.testing.assert_close(found[:, 4, 4], alone)


def test_attention_within_a_window_by_the_book():
    layer, maps = attention(grid=False), tokens(1, 4, 4, 8)
    q, k, v = (part.view(16, 2, 4).transpose(0, 1) for part in layer.qkv(maps).reshape(16, 24).chunk(3, -1))
    bias = layer.bias.weight[layer.index].permute(2, 0, 1)
    expected = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    expected = layer.project(expected.transpose(0, 1).reshape(1, 4, 4, 8))
    torch.testing.assert_close(layer(maps), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("made", [ExternalAttention, ChannelAttention])
def test_attention_to_all_tokens_does_not_know_their_order(made):
    layer, maps = made(8).eval(), tokens(1, 4, 6, 8)
    torch.testing.assert_close(layer(maps.flip(1, 2)), layer(maps).flip(1, 2), rtol=1e-5, atol=1e-6)


def test_a_path_is_dropped_for_a_tenth_of_the_images_and_the_mean_stays():
    path, ones = DropPath(), torch.ones(4000, 1, 1, 1)
    found = path.train()(ones)
    assert {round(value, 4) for value in found.unique().tolist()} == {0.0, 1.1111}
    assert abs(found.mean().item() - 1) < 0.02
    assert path.eval()(ones) is ones
