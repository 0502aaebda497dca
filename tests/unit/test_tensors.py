import dataclasses

import pytest
import torch

from metadcseg.errors import InputError
from metadcseg.losses import mean_over_pixels
from metadcseg.tensors import IGNORE, Batch, GlobalBatchSize, WeightMaps, check_shape
from metadcseg.warp import Warp


def parts(**changed):
    given = {
        "images": torch.zeros(2, 3, 4, 5),
        "labels": torch.zeros(2, 4, 5, dtype=torch.int64),
        "indices": torch.arange(2),
        "warp": Warp.identity(2),
    }
    return {**given, **changed}


def test_a_batch_whose_parts_fit_is_taken():
    batch = Batch(**parts(edges=torch.zeros(2, 4, 5)))
    assert batch.edges is not None


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {"images": torch.zeros(3, 4, 5)},
            "images must have the shape (N, C, H, W) or (N, C, Z, H, W), got (3, 4, 5)",
        ),
        (
            {"labels": torch.zeros(2, 5, 4, dtype=torch.int64)},
            "labels must have the shape (2, 4, 5), got (2, 5, 4)",
        ),
        ({"labels": torch.zeros(2, 1, 4, 5, dtype=torch.int64)}, "labels must have the shape"),
        ({"indices": torch.arange(3)}, "indices must have the shape (2), got (3,)"),
        ({"warp": Warp.identity(1)}, "warp.matrix must have the shape (2, 2, 3), got (1, 2, 3)"),
        ({"edges": torch.zeros(2, 4, 4)}, "edges must have the shape (2, 4, 5)"),
        ({"edges": torch.zeros(2, 4, 5, dtype=torch.bool)}, "edges must be float32 from 0 to 1"),
        ({"labels": torch.zeros(2, 4, 5, dtype=torch.uint8)}, "labels must be int64 class numbers"),
        (
            {"given": torch.zeros(2, 5, 4, dtype=torch.int64)},
            "given must have the shape (2, 4, 5), got (2, 5, 4)",
        ),
        ({"given": torch.zeros(2, 4, 5)}, "given must be int64, got float32"),
    ],
)
def test_what_does_not_fit_is_named(changed, says):
    with pytest.raises(InputError) as caught:
        Batch(**parts(**changed))
    assert says in str(caught.value)


def test_moving_a_batch_moves_its_tensors():
    meta = torch.device("meta")
    batch = Batch(**parts(edges=torch.zeros(2, 4, 5), given=torch.ones(2, 4, 5, dtype=torch.int64)))
    moved = batch.to(meta)
    for name in ("images", "labels", "edges", "given"):
        assert getattr(moved, name).device == meta
    assert moved.warp is batch.warp
    assert moved.indices is batch.indices  # reading them from a device would wait for it
    assert Batch(**parts()).to(meta).edges is None
    assert Batch(**parts()).to(meta).given is None


def test_a_batch_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Batch(**parts()).labels = torch.zeros(1)


def test_gamma_is_the_sum_of_both_weights():
    weights = WeightMaps(torch.tensor([[[1.0, 0.5]]]), torch.tensor([[[0.0, 0.25]]]))
    assert weights.gamma.tolist() == [[[1.0, 0.75]]]


def test_weight_maps_must_have_one_shape():
    with pytest.raises(InputError, match="beta must have the shape"):
        WeightMaps(torch.ones(1, 2, 2), torch.ones(1, 2, 3))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 5), (2, 9, 4)])
def test_check_shape_knows_any_and_exact_sizes(shape):
    check_shape("x", torch.zeros(2, 3, 4), (None, 3, 4))
    with pytest.raises(InputError, match=r"x must have the shape \(any, 3, 4\)"):
        check_shape("x", torch.zeros(shape), (None, 3, 4))


def test_parts_of_a_batch_average_to_its_mean():
    labels = torch.tensor([[[0, 1, IGNORE]], [[1, IGNORE, IGNORE]]])
    maps = torch.tensor([[[1.0, 3.0, 9.0]], [[8.0, 9.0, 9.0]]])
    shard_of = GlobalBatchSize(torch.tensor(3 / 2), 2 / 2)
    means = []
    for row in range(2):
        own = Batch(
            torch.zeros(1, 1, 1, 3),
            labels[row : row + 1],
            torch.tensor([row]),
            Warp.identity(1),
            shard_of=shard_of,
        )
        means.append(mean_over_pixels(maps[row : row + 1], own.labels, own.global_batch_size.pixels))
    whole = Batch(torch.zeros(2, 1, 1, 3), labels, torch.arange(2), Warp.identity(2)).global_batch_size
    assert (whole.pixels, whole.images) == (3, 2)
    assert torch.stack(means).mean() == 4.0 == mean_over_pixels(maps, labels, whole.pixels)


def test_a_batch_without_valid_pixels_has_means_of_zero():
    nothing = torch.full((1, 1, 2), IGNORE)
    batch = Batch(torch.zeros(1, 1, 1, 2), nothing, torch.arange(1), Warp.identity(1))
    assert mean_over_pixels(torch.ones(1, 1, 2), nothing, batch.global_batch_size.pixels) == 0
