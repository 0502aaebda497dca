"""Any flip, rotation and zoom can be undone, and what is written back lands where it was read."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metadcseg.warp import Warp

SETTINGS = settings(max_examples=25, deadline=None, derandomize=True)
SIZE = 24


@st.composite
def warps(draw):
    angle = math.radians(draw(st.floats(-15, 15)))
    zoom = draw(st.floats(0.7, 1.4))
    across, down = draw(st.sampled_from([-1.0, 1.0])), draw(st.sampled_from([-1.0, 1.0]))
    turn = [
        [across * zoom * math.cos(angle), -down * zoom * math.sin(angle), draw(st.floats(-0.1, 0.1))],
        [across * zoom * math.sin(angle), down * zoom * math.cos(angle), draw(st.floats(-0.1, 0.1))],
    ]
    return Warp(torch.tensor([turn]))


def full(warp):
    bottom = torch.tensor([[[0.0, 0.0, 1.0]]], dtype=torch.float64)
    return torch.cat([warp.matrix.double(), bottom], dim=1)


@SETTINGS
@given(warps())
def test_the_inverse_undoes_the_warp_in_both_orders(warp):
    back, unit = warp.inverse(), torch.eye(3, dtype=torch.float64).unsqueeze(0)
    torch.testing.assert_close(full(back) @ full(warp), unit, rtol=0, atol=1e-6)
    torch.testing.assert_close(full(warp) @ full(back), unit, rtol=0, atol=1e-6)
    torch.testing.assert_close(back.inverse().matrix, warp.matrix, rtol=0, atol=1e-6)


@SETTINGS
@given(warps())
def test_what_is_written_back_was_read_within_a_pixel_or_two_of_there(warp):
    row, column = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    own = torch.stack([row, column]).float().unsqueeze(0)  # each pixel holds where it is
    back = warp.inverse()
    returned = back.apply(warp.apply(own, "nearest", fill=-1000.0), "nearest", fill=-1000.0)
    seen = (returned[:, :1] >= 0).expand_as(own)
    assert seen[:, 0].float().mean() > 0.3
    zoom = warp.matrix[0, :, :2].det().abs().sqrt().item()
    away = (returned - own)[seen].view(2, -1).norm(dim=0)
    assert away.max() <= math.sqrt(0.5) * (1 + zoom) + 1e-3  # half a pixel's diagonal on either grid


@SETTINGS
@given(warps())
def test_inside_says_which_pixels_are_not_filled(warp):
    ones = torch.ones(1, 1, SIZE, SIZE)
    for mode in ("nearest", "bilinear"):
        filled = warp.apply(ones, mode, fill=-1.0)
        assert torch.equal(filled[:, 0] > 0, warp.inside((SIZE, SIZE)))


@SETTINGS
@given(warps())
def test_labels_stay_labels(warp):
    labels = torch.arange(SIZE * SIZE).view(1, 1, SIZE, SIZE) % 5
    got = warp.apply(labels, "nearest", fill=255)
    assert got.dtype == torch.int64
    assert set(got.unique().tolist()) <= {0, 1, 2, 3, 4, 255}
