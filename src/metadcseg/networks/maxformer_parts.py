"""The parts of MAXFormer (:mod:`.maxformer`): convolutions, and four kinds of attention.

Maps with channels last are (N, H, W, d), which linear layers and layer norms take; convolutions get them with channels
first. Nothing here depends on the size of the image but the masks of padded windows.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metadcseg.networks.contract import Norm
from metadcseg.networks.resnet import norm_layer

DROPOUT = 0.1
_MEMORY = 64  # units that stand for all tokens in external attention
_MEMORY_HEADS = 32
_CHANNEL_HEADS = 8


def channels_first(maps: Tensor) -> Tensor:
    """Return (N, d, H, W) for (N, H, W, d)."""
    return maps.permute(0, 3, 1, 2)


def channels_last(maps: Tensor) -> Tensor:
    """Return (N, H, W, d) for (N, d, H, W)."""
    return maps.permute(0, 2, 3, 1)


class DropPath(nn.Module):
    """Leaves a branch out for a tenth of the images, in training mode; the others' is scaled up in turn."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return what was given, scaled by 0 or 1 / 0.9 image by image."""
        if not self.training:
            return maps
        kept = torch.rand(len(maps), *(1 for _ in maps.shape[1:]), device=maps.device) >= DROPOUT
        return maps * (kept.to(maps.dtype) / (1 - DROPOUT))


class MBConv(nn.Module):
    """Inverted bottleneck with squeeze and excitation, added to its input; (N, d, H, W) to the same.

    Args:
        width: d, the channels.
        norm: ``batch`` is the published one.
    """

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        inner = 4 * width
        self.expand = nn.Sequential(nn.Conv2d(width, inner, 1), norm_layer(norm, inner), nn.GELU())
        self.depthwise = nn.Sequential(
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner), norm_layer(norm, inner), nn.GELU()
        )
        self.gate = nn.Sequential(
            nn.Linear(inner, width, bias=False), nn.SiLU(), nn.Linear(width, inner, bias=False), nn.Sigmoid()
        )
        self.project = nn.Sequential(nn.Conv2d(inner, width, 1), norm_layer(norm, width))

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, d, H, W)."""
        within = self.depthwise(self.expand(maps))
        gate = self.gate(within.mean(dim=(2, 3)))
        added: Tensor = self.project(within * gate[:, :, None, None]) + maps
        return added


def groups_of(maps: Tensor, window: int, *, grid: bool) -> Tensor:
    """Return the tokens that attend to each other, (N, G, w w, d), of (N, H, W, d) maps whose sides w divides.

    Args:
        maps: the tokens.
        window: w.
        grid: w x w tokens spaced H / w and W / w apart, in place of tiles.

    Example:
        >>> pixels = torch.arange(16.0).view(1, 4, 4, 1)
        >>> groups_of(pixels, 2, grid=False)[0, 0, :, 0].tolist(), groups_of(pixels, 2, grid=True)[0, 0, :, 0].tolist()
        ([0.0, 1.0, 4.0, 5.0], [0.0, 2.0, 8.0, 10.0])
    """
    count, height, width, channels = maps.shape
    rows, columns = height // window, width // window
    if grid:
        cut = maps.reshape(count, window, rows, window, columns, channels).permute(0, 2, 4, 1, 3, 5)
    else:
        cut = maps.reshape(count, rows, window, columns, window, channels).permute(0, 1, 3, 2, 4, 5)
    return cut.reshape(count, rows * columns, window * window, channels)


def maps_of(groups: Tensor, window: int, size: Sequence[int], *, grid: bool) -> Tensor:
    """Return the (N, H, W, d) maps that :func:`groups_of` cut."""
    count, channels = groups.shape[0], groups.shape[-1]
    rows, columns = size[0] // window, size[1] // window
    cut = groups.reshape(count, rows, columns, window, window, channels)
    order = (0, 3, 1, 4, 2, 5) if grid else (0, 1, 3, 2, 4, 5)
    return cut.permute(*order).reshape(count, *size, channels)


def relative_index(window: int) -> Tensor:
    """Return (w w, w w) int64, the place in the table of biases of every pair of tokens: (dy+w-1)(2w-1) + dx+w-1.

    Example:
        >>> relative_index(2).tolist()
        [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    """
    places = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    apart = places[:, None] - places[None] + window - 1
    return apart[..., 0] * (2 * window - 1) + apart[..., 1]


class GroupAttention(nn.Module):
    """Attention within windows or grids of w x w tokens, with a learned bias for each offset; (N, H, W, d) to the same.

    Where w does not divide a side, zeros are padded below and on the right, attended to by nobody, and cut off again.

    Args:
        width: d, a multiple of ``head_width``.
        head_width: channels of each head.
        window: w.
        grid: see :func:`groups_of`.
    """

    index: Tensor

    def __init__(self, width: int, head_width: int, window: int, *, grid: bool) -> None:
        super().__init__()
        self.heads, self.window, self.grid = width // head_width, window, grid
        self.scale = head_width**-0.5
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.bias = nn.Embedding((2 * window - 1) ** 2, self.heads)
        self.project = nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(DROPOUT)
        self.register_buffer("index", relative_index(window), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, H, W, d)."""
        height, width = maps.shape[1:3]
        missing = [-side % self.window for side in (height, width)]
        size = [height + missing[0], width + missing[1]]
        if any(missing):
            maps = F.pad(maps, (0, 0, 0, missing[1], 0, missing[0]))
        q, k, v = self._heads_of(groups_of(maps, self.window, grid=self.grid))
        scores = (q * self.scale) @ k.transpose(-2, -1) + self.bias(self.index).permute(2, 0, 1)
        if any(missing):
            scores = scores + self._nobody(height, width, size, scores)
        found = self.dropout(scores.softmax(dim=-1)) @ v  # (N, G, heads, w w, head width)
        found = self.dropout(self.project(found.transpose(2, 3).flatten(3)))
        return maps_of(found, self.window, size, grid=self.grid)[:, :height, :width]

    def _heads_of(self, groups: Tensor) -> Sequence[Tensor]:
        cut: Tensor = self.qkv(groups)
        cut = cut.reshape(*cut.shape[:3], 3, self.heads, -1)
        return cut.permute(3, 0, 1, 4, 2, 5).unbind(0)

    def _nobody(self, height: int, width: int, size: Sequence[int], like: Tensor) -> Tensor:
        """Return what to add to the scores, (G, 1, 1, w w): minus infinity for keys that are padding."""
        real = torch.zeros(1, height, width, 1, dtype=like.dtype, device=like.device)
        padded = F.pad(real, (0, 0, 0, size[1] - width, 0, size[0] - height), value=-torch.inf)
        return groups_of(padded, self.window, grid=self.grid)[0, :, None, None, :, 0]


class FeedForward(nn.Module):
    """1 x 1 to 4 d, GELU, depthwise 5 x 5, 1 x 1 back to d; (N, d, H, W) to the same.

    Args:
        width: d, the channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 4 * width
        self.expand = nn.Sequential(nn.Conv2d(width, inner, 1), nn.GELU())
        self.depthwise = nn.Conv2d(inner, inner, 5, padding=2, groups=inner)
        self.project = nn.Conv2d(inner, width, 1)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, d, H, W)."""
        found: Tensor = self.dropout(self.project(self.dropout(self.depthwise(self.expand(maps)))))
        return found


class ExternalAttention(nn.Module):
    """Attention of all tokens to 64 learned units, which are those of the whole data set; (N, H, W, d) to the same.

    Args:
        width: d, a multiple of 8.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        head = 4 * width // _MEMORY_HEADS
        self.spread = nn.Linear(width, 4 * width)
        self.key = nn.Linear(head, _MEMORY)
        self.value = nn.Linear(_MEMORY, head)
        self.project = nn.Linear(4 * width, width)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, H, W, d)."""
        count, height, width = maps.shape[:3]
        heads = self.spread(maps).reshape(count, height * width, _MEMORY_HEADS, -1).transpose(1, 2)
        found = self.value(doubly_normalized(self.key(heads)))
        joined: Tensor = self.project(found.transpose(1, 2).reshape(count, height, width, -1))
        return joined


def doubly_normalized(scores: Tensor) -> Tensor:
    """Return softmax over the tokens of (..., n, units) scores, divided by the sum over the units.

    Example:
        >>> doubly_normalized(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        tensor([[0.4062, 0.5938],
                [0.6502, 0.3498]])
    """
    weights = scores.softmax(dim=-2)
    return weights / (1e-9 + weights.sum(dim=-1, keepdim=True))


class ChannelAttention(nn.Module):
    """Attention between channels in 8 heads, queries and keys of unit length over the tokens; (N, H, W, c) to the same.

    Args:
        width: c, a multiple of 8.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(_CHANNEL_HEADS, 1, 1))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, H, W, c)."""
        count, height, width, channels = maps.shape
        cut = self.qkv(maps).reshape(count, height * width, 3, _CHANNEL_HEADS, -1)
        q, k, v = cut.permute(2, 0, 3, 4, 1).unbind(0)  # (N, heads, c / 8, n) each
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        found = (scores * self.temperature).softmax(dim=-1) @ v
        joined: Tensor = self.project(found.permute(0, 3, 1, 2).reshape(count, height, width, channels))
        return joined


class Block(nn.Module):
    """Convolution, window and grid attention side by side, then external attention; (N, d, H, W) to the same.

    With x = MBConv(input) and a = x + W [grid(x), window(x)]: y = x + FeedForward(a), then y + External(LN(y)). The
    second sum is with x, not with a, so that attention acts through the feed-forward layers alone.

    Args:
        width: d, the channels.
        head_width: channels of each head of window and grid attention.
        window: w.
        norm: of the convolutions.
    """

    def __init__(self, width: int, head_width: int, window: int, norm: Norm) -> None:
        super().__init__()
        self.convolution = MBConv(width, norm)
        self.grid = GroupAttention(width, head_width, window, grid=True)
        self.windows = GroupAttention(width, head_width, window, grid=False)
        self.join = nn.Conv2d(2 * width, width, 1)
        self.dropout = nn.Dropout(DROPOUT)
        self.feed_forward = FeedForward(width)
        self.drop_path = DropPath()
        self.norm = nn.LayerNorm(width)
        self.external = ExternalAttention(width)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, d, H, W)."""
        maps = self.convolution(maps)
        tokens = channels_last(maps)
        attended = channels_first(torch.cat([self.grid(tokens), self.windows(tokens)], dim=-1))
        within = maps + self.drop_path(self.dropout(self.join(attended)))
        maps = maps + self.drop_path(self.feed_forward(within))
        tokens = channels_last(maps)
        return channels_first(tokens + self.external(self.norm(tokens)))


class PatchExpand(nn.Module):
    """Turns every token into ``factor`` x ``factor`` tokens; (N, H, W, c) to (N, factor H, factor W, outputs).

    Args:
        width: c.
        outputs: channels of the new tokens.
        factor: how many times longer each side becomes.
    """

    def __init__(self, width: int, outputs: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.expand = nn.Linear(width, factor * factor * outputs, bias=False)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the finer maps, channels last."""
        count, height, width = maps.shape[:3]
        cut = self.expand(maps).reshape(count, height, width, self.factor, self.factor, -1)
        cut = cut.permute(0, 1, 3, 2, 4, 5)  # row, its part, column, its part
        found: Tensor = self.norm(cut.reshape(count, height * self.factor, width * self.factor, -1))
        return found
