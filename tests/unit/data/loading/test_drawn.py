"""Batches that are moved as a whole, on their device, are those whose cases were moved one by one."""

from contextlib import nullcontext
from dataclasses import fields

import numpy as np
import pytest
import torch

from metadcseg.data import PreparedSet, SetWriter
from metadcseg.data.loading.augmentation import AugmentOptions
from metadcseg.data.loading.batches import BatchLoader, Shard
from metadcseg.data.loading.dataset import SegmentationDataset
from metadcseg.errors import InputError
from metadcseg.training import TrainingOptions
from metadcseg.training.setup import Datasets

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Five training and three gold cases with edges, confidence and pairs."""
    folder = tmp_path_factory.mktemp("drawn") / "set"
    rng = np.random.default_rng(0)
    facts = {"detector": "by hand", "sha256": ""}
    with SetWriter(folder, name="tiny", classes=("no", "yes"), channels=2, edge_detector=facts) as writer:
        for number in range(8):
            image, noise = (rng.integers(0, 255, (30, 26, many)).astype(np.uint8) for many in (2, 3))
            label, other, shares = noise[..., 0] % 2, noise[..., 1] % 2, noise[..., 2]
            gold = number > 4
            writer.add(
                id=str(number),
                role="gold" if gold else "train",
                group="",
                image=image,
                label=label,
                edges=shares,
                label_confidence=None if gold else shares,
                given=other if number > 5 else None,
            )
    return PreparedSet.open(folder)


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return one == other if one is None else torch.equal(one.matrix, other.matrix)


@pytest.mark.parametrize("role", ["train", "gold"])
@pytest.mark.parametrize("augment", [None, AugmentOptions(), AugmentOptions(intensity=True)])
def test_moved_together_or_one_by_one_no_bit_differs(prepared, role, augment):
    view = SegmentationDataset(prepared, role, 16, augment=augment, seed=2, pairs=True)
    ways = [BatchLoader(view, batch=2, steps=4, move_on=device) for device in (None, CPU)]
    for epoch in range(2):
        for one, other in zip(*(way.epoch(epoch, start=1) for way in ways), strict=True):
            assert all(equal(getattr(one, each.name), getattr(other, each.name)) for each in fields(one))
            assert one.edges is not None
            assert (one.label_confidence is None, one.given is None) == (role == "gold", role == "train")


def test_moving_waits_for_no_device_and_mixes_none(prepared, monkeypatch):
    """Tensors of the device ``meta`` have no numbers: whoever asks for one, or brings another device's, fails."""
    view = SegmentationDataset(prepared, "train", 16, augment=AugmentOptions(zoom=(1, 3)))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no such device
    batch = next(BatchLoader(view, batch=2, move_on=torch.device("meta")).epoch(0))
    devices = {name: getattr(batch, name).device.type for name in ("images", "labels", "edges", "indices")}
    assert devices == {"images": "meta", "labels": "meta", "edges": "meta", "indices": "cpu"}
    assert batch.warp.matrix.device.type == "cpu"
    with pytest.raises(RuntimeError):
        int(batch.labels.sum())


def test_a_broken_case_is_named_before_anything_is_moved(prepared, monkeypatch):
    view = SegmentationDataset(prepared, "train", 16)

    def broken(*_):
        raise InputError("case 3 is damaged")

    monkeypatch.setattr(view, "draw", broken)
    with pytest.raises(InputError, match="case 3"):
        next(BatchLoader(view, batch=2, move_on=CPU).epoch(0))


def test_one_gpu_moves_what_several_leave_to_their_processors(prepared):
    views = [SegmentationDataset(prepared, role, 16) for role in ("train", "gold")]
    options, gpu = TrainingOptions(batch=2, gold_batch=2), torch.device("cuda")

    def moved_on(shard, device):
        return [loader._move_on for loader in Datasets(*views).loaders(options, shard, device)]

    assert moved_on(Shard(), gpu) == [gpu, gpu]
    assert moved_on(Shard(), CPU) == moved_on(Shard(0, 2), gpu) == [None, None]
    with pytest.raises(InputError, match="leave move_on out"):
        BatchLoader(views[0], batch=2, shard=Shard(0, 2), move_on=gpu)
