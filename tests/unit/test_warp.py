import math

import pytest
import torch

from metadcseg.warp import Warp

SIZES = [(4, 4), (7, 5), (16, 24), (33, 31)]
ACROSS = [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
DOWN = [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]
QUARTER = [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]


def warp(*rows):
    return Warp(torch.tensor(rows))


def numbered(height, width, dtype=torch.float32):
    return torch.arange(2 * height * width).view(1, 2, height, width).to(dtype)


@pytest.mark.parametrize("size", SIZES)
def test_identity_is_exact(size):
    maps = numbered(*size)
    got = Warp.identity(1).apply(maps, "nearest", fill=-1.0)
    assert torch.equal(got, maps)
    assert Warp.identity(1).inside(size).all()


@pytest.mark.parametrize("size", SIZES)
def test_identity_is_exact_to_rounding_when_bilinear(size):
    maps = numbered(*size)
    got = Warp.identity(1).apply(maps, "bilinear", fill=-1.0)
    torch.testing.assert_close(got, maps, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("rows", "dimension"), [(ACROSS, 3), (DOWN, 2)])
def test_flips_are_exact_and_their_own_inverse(size, rows, dimension):
    maps, flip = numbered(*size), warp(rows)
    moved = flip.apply(maps, "nearest", fill=-1.0)
    assert torch.equal(moved, maps.flip(dimension))
    assert torch.equal(flip.inverse().apply(moved, "nearest", fill=-1.0), maps)
    assert moved.is_contiguous()


@pytest.mark.parametrize("size", [4, 7, 16])
def test_a_quarter_turn_is_exact_and_undone(size):
    maps, turn = numbered(size, size), warp(QUARTER)
    moved = turn.apply(maps, "nearest", fill=-1.0)
    assert torch.equal(moved, maps.rot90(-1, (2, 3))) or torch.equal(moved, maps.rot90(1, (2, 3)))
    assert torch.equal(turn.inverse().apply(moved, "nearest", fill=-1.0), maps)


def test_every_image_has_its_own_map():
    maps = numbered(6, 6).expand(3, 2, 6, 6)
    got = warp(ACROSS, DOWN, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).apply(maps, "nearest")
    assert torch.equal(got[0], maps[0].flip(2))
    assert torch.equal(got[1], maps[1].flip(1))
    assert torch.equal(got[2], maps[2])


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float64])
def test_the_dtype_stays(dtype):
    maps = (numbered(4, 4) % 2).to(dtype)
    got = warp(ACROSS).apply(maps, "nearest")
    assert got.dtype == dtype
    assert torch.equal(got, maps.flip(3))


def test_outside_is_filled():
    half_left = warp([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])  # output x reads input x + half the width
    got = half_left.apply(numbered(2, 4), "nearest", fill=255.0)
    assert got[0, 0].tolist() == [[2.0, 3.0, 255.0, 255.0], [6.0, 7.0, 255.0, 255.0]]
    assert half_left.inside((2, 4)).tolist() == [[[True, True, False, False]] * 2]


def test_autocast_leaves_coordinates_as_they_are():
    maps, zoom = torch.arange(64.0 * 64.0).view(1, 1, 64, 64), warp([[0.9, 0.0, 0.0], [0.0, 0.9, 0.0]])
    plain, inside = zoom.apply(maps, "bilinear"), zoom.inverse().inside((64, 64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(zoom.apply(maps, "bilinear"), plain)
        assert torch.equal(zoom.inverse().inside((64, 64)), inside)
    assert 0 < inside.sum() < 64 * 64


def test_a_shift_by_whole_pixels_round_trips_where_it_is_seen():
    maps, shift = numbered(8, 8), warp([[1.0, 0.0, 0.5], [0.0, 1.0, -0.25]])
    seen = shift.apply(maps, "nearest", fill=-1.0)
    back = shift.inverse().apply(seen, "nearest", fill=-1.0)
    known = back >= 0
    assert torch.equal(back[known], maps[known])
    assert known[0, 0].sum().item() == 6 * 7


def test_per_pixel_maps_round_trip_through_a_rotation():
    angle = math.radians(10.0)
    turn = warp([[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]])
    label_confidence = torch.linspace(0, 1, 32).view(1, 1, 1, 32).expand(1, 1, 32, 32).contiguous()
    back = turn.inverse().apply(turn.apply(label_confidence, "nearest", fill=-1.0), "nearest", fill=-1.0)
    known = back >= 0
    assert known.float().mean() > 0.85
    assert (back - label_confidence)[known].abs().max() <= math.sqrt(2) / 31 + 1e-6  # one pixel's diagonal


def test_a_map_that_loses_a_dimension_has_no_inverse():
    with pytest.raises(RuntimeError, match="singular"):
        warp([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]).inverse()
