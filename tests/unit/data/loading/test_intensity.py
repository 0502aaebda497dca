"""Intensities of training images are changed where asked for, and nothing else is."""

import numpy as np
import pytest
import torch

from metadcseg.data import PreparedSet, SetWriter
from metadcseg.data.loading.augmentation import AugmentOptions
from metadcseg.data.loading.dataset import SegmentationDataset
from metadcseg.data.loading.intensity import change_intensity
from metadcseg.errors import InputError


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("intensity") / "set"
    rng = np.random.default_rng(0)
    with SetWriter(folder, name="tiny", classes=("background", "organ"), channels=1) as writer:
        image, label = rng.integers(0, 255, (20, 20, 1)).astype(np.uint8), np.zeros((20, 20), np.uint8)
        label[5:12, 5:12] = 1
        writer.add(id="a", role="train", group="", image=image, label=label)
    return PreparedSet.open(folder)


def test_only_the_image_changes_and_the_same_arguments_give_the_same_bits(prepared):
    plain, changed = (
        SegmentationDataset(prepared, "train", 16, augment=AugmentOptions(intensity=asked), seed=3)
        for asked in (False, True)
    )
    differ = 0
    for epoch in range(12):
        before, after = plain.sample(0, epoch), changed.sample(0, epoch)
        assert torch.equal(before.label, after.label)
        assert torch.equal(before.warp, after.warp)
        assert torch.equal(after.image, changed.sample(0, epoch).image)
        differ += not torch.equal(before.image, after.image)
    assert 4 <= differ < 12  # 64 % are expected to


def test_how_often_and_how_far():
    torch.manual_seed(0)
    image = torch.randn(2, 32, 32)
    found = [change_intensity(image, seed) for seed in range(150)]
    share = np.mean([not torch.equal(one, image) for one in found])
    assert share == pytest.approx(1 - 0.9 * 0.8 * 0.85 * 0.85 * 0.7, abs=0.1)
    assert all(one.isfinite().all() and type(one) is torch.Tensor for one in found)
    assert max(float((one.mean() - image.mean()).abs()) for one in found) < 0.05
    spread = [float(one.std()) for one in found]
    assert 0.2 < min(spread) < 1 < max(spread) < 1.35  # noise blurred by a sigma of 1 keeps 0.28


def test_volumes_and_other_shapes():
    volume = torch.randn(1, 4, 8, 8)
    found = [change_intensity(volume, seed) for seed in range(9)]
    assert {tuple(one.shape) for one in found} == {(1, 4, 8, 8)}
    with pytest.raises(InputError, match="image"):
        change_intensity(torch.zeros(8, 8), 0)
    with pytest.raises(InputError, match="image"):
        change_intensity(torch.zeros(1, 8, 8, dtype=torch.int64), 0)
