"""Augmentation: one warp that moves image and label together, within the ranges asked for."""

import math

import pytest
import torch

from metadcseg.data.loading.augmentation import AugmentOptions, draw_warp
from metadcseg.errors import InputError
from metadcseg.tensors import IGNORE
from metadcseg.warp import Warp

STILL = {"flip": False, "rotation": 0.0, "zoom": (0, 0)}


def _draws(options, size=64, number=200):
    generator = torch.Generator().manual_seed(3)
    return torch.stack([draw_warp(options, size, generator) for _ in range(number)]).double()


def _blob(size):
    """A smooth image whose value also says its label: 1 where it is above one half."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    distance = ((rows - size * 0.4) ** 2 + (columns - size * 0.6) ** 2).sqrt()
    return torch.sigmoid((size * 0.2 - distance) / 2)


def test_the_defaults_are_the_papers():
    assert AugmentOptions() == AugmentOptions(flip=True, rotation=10.0, zoom=(4, 30))


def test_nothing_asked_for_is_the_identity():
    assert torch.equal(_draws(AugmentOptions(**STILL)), torch.eye(2, 3).double().expand(200, 2, 3))


def test_the_same_generator_state_draws_the_same_warp():
    one, two = (draw_warp(AugmentOptions(), 64, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, two)


def test_flips_come_in_all_four_kinds_about_equally_often():
    linear = _draws(AugmentOptions(**(STILL | {"flip": True})), number=800)[:, :, :2]
    kinds, counts = linear.diagonal(dim1=1, dim2=2).unique(dim=0, return_counts=True)
    assert kinds.tolist() == [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    assert counts.min() > 150
    assert linear[:, 0, 1].abs().max() == linear[:, 1, 0].abs().max() == 0


def test_rotations_fill_the_range_and_are_pure():
    linear = _draws(AugmentOptions(**(STILL | {"rotation": 10.0})), number=800)[:, :, :2]
    angles = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert -10 <= angles.min() < -9.5
    assert 9.5 < angles.max() <= 10
    assert angles.mean().abs() < 0.7
    assert torch.allclose(linear @ linear.mT, torch.eye(2).double().expand(800, 2, 2), atol=1e-6)


def test_zooms_are_whole_pixels_in_and_out_over_the_whole_range():
    size = 64
    scale = _draws(AugmentOptions(**(STILL | {"zoom": (4, 30)})), size, 2000)[:, 0, 0]
    sides = size / scale
    assert (sides - sides.round()).abs().max() < 1e-3
    pixels = (sides.round() - size).int()
    assert set(pixels.tolist()) == set(range(4, 31)) | set(range(-30, -3))
    assert 0.45 < (pixels > 0).double().mean() < 0.55


@pytest.mark.parametrize("size", [2, 3, 8, 16])
def test_zooms_stay_below_half_of_a_small_frame(size):
    matrices = _draws(AugmentOptions(zoom=(4, 30)), size)
    scale = torch.linalg.det(matrices[:, :, :2]).abs().sqrt()
    assert (size / scale > size / 2).all()
    assert (size / scale < 1.5 * size).all()


def test_every_warp_is_about_the_center():
    assert (_draws(AugmentOptions())[:, :, 2] == 0).all()


def test_turning_one_option_off_leaves_the_others_as_they_were():
    everything = _draws(AugmentOptions(rotation=10.0))
    unturned = _draws(AugmentOptions(rotation=0.0))
    scales = [torch.linalg.det(matrix[:, :, :2]) for matrix in (everything, unturned)]
    assert torch.allclose(*scales, atol=1e-6)


def test_a_rotation_turns_the_picture_by_its_angle():
    """A point right of the center must end on the circle through it, turned by the drawn angle."""
    size = 65
    image = torch.zeros(1, 1, size, size)
    image[0, 0, 32, 52] = 1
    matrix = _draws(AugmentOptions(flip=False, rotation=45.0, zoom=(0, 0)), size, 1)
    moved = Warp(matrix.float()).apply(image, "bilinear")[0, 0]
    row, column = divmod(int(moved.argmax()), size)
    angle = math.atan2(float(matrix[0, 1, 0]), float(matrix[0, 0, 0]))
    # matrix takes output to input, so the content turns by the inverse
    assert abs(row - (32 - 20 * math.sin(angle))) <= 1
    assert abs(column - (32 + 20 * math.cos(angle))) <= 1


def test_zooming_in_enlarges_the_picture():
    size = 32
    blob = _blob(size)[None, None]
    areas = []
    for shift in (0, 8):
        matrices = _draws(AugmentOptions(flip=False, rotation=0.0, zoom=(shift, shift)), size, 20).float()
        matrix = min(matrices, key=lambda matrix: float(matrix[0, 0]))
        areas.append(float(Warp(matrix[None]).apply(blob, "bilinear").sum()))
    assert areas[1] / areas[0] == pytest.approx((40 / 32) ** 2, rel=0.05)


def test_image_and_label_move_together():
    size = 48
    image = _blob(size)[None, None]
    label = (image > 0.5).long()
    assert 0 < label.sum() < label.numel()
    for matrix in _draws(AugmentOptions(rotation=30.0), size, 30).float():
        warp = Warp(matrix[None])
        moved = warp.apply(image, "bilinear")
        moved_label = warp.apply(label, "nearest", fill=float(IGNORE))
        inside = warp.inside((size, size))[:, None]
        assert torch.equal(moved_label == IGNORE, ~inside)
        certain = inside & ((moved - 0.5).abs() > 0.2)
        assert certain.sum() > size
        assert torch.equal(moved_label[certain], (moved[certain] > 0.5).long())


def test_a_warp_is_undone_by_its_inverse():
    size = 48
    label = (_blob(size) > 0.5).long()[None, None]
    for matrix in _draws(AugmentOptions(), size, 30).float():
        warp = Warp(matrix[None])
        there = warp.apply(label, "nearest", fill=float(IGNORE))
        back = warp.inverse().apply(there, "nearest", fill=float(IGNORE))
        known = back != IGNORE
        assert known.sum() > 0.2 * known.numel()
        assert (back[known] == label[known]).double().mean() > 0.97  # nearest twice: only borders may differ


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rotation": -1}, "augment.rotation must be 0 to 180 degrees, got -1"),
        ({"rotation": 181}, "augment.rotation must be 0 to 180"),
        ({"rotation": float("nan")}, "augment.rotation must be 0 to 180"),
        ({"zoom": (5, 4)}, "augment.zoom must be two pixel counts"),
        ({"zoom": (-1, 4)}, "augment.zoom must be two pixel counts"),
        ({"zoom": (4,)}, "augment.zoom must be "),
        ({"flip": "false"}, "augment.flip must be true or false, got 'false'"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        AugmentOptions(**options)
