"""Patches of volumes: parts of the grid, the same at every call, and weights that find back."""

import numpy as np
import pytest
import torch
from nibabel import Nifti1Image, save

from metadcseg.data.loading.augmentation import AugmentOptions
from metadcseg.data.loading.batches import epoch_batches
from metadcseg.data.loading.dataset import SegmentationDataset
from metadcseg.data.loading.input_grid import (
    input_to_stack,
    labels_to_input,
    stack_to_input,
)
from metadcseg.data.prepare.pipeline import prepare_scan
from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.data.sources.case import RawCase, Scan
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.warp import Warp

FRAME, PATCH = (8, 12, 12), (4, 8, 6)


def prepare(folder, empty="keep"):
    volumes = []
    for number in range(3):
        draw = np.random.default_rng(number)
        label = np.zeros((12, 12, 8), np.uint8)
        label[5 + number, 6, 3] = 1  # a single voxel of foreground
        files = [folder / f"{kind}{number}.nii.gz" for kind in ("image", "label")]
        for file, array in zip(files, (draw.normal(size=label.shape).astype(np.float32), label), strict=True):
            save(Nifti1Image(array, np.diag([1.0, 1, 2, 1])), file)
        role = "gold" if number == 2 else "train"
        volumes.append(RawCase(str(number), role, str(number), (files[0],), files[1], verified=number == 2))
    scan = Scan(tuple(volumes), source={"source": "test"}, slices=SliceOptions(empty=empty))
    prepare_scan(scan, folder / "set", name="test", edges="none")
    return PreparedSet.open(folder / "set")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("volumes"))


def whole(prepared, row):
    """Image and label of a volume in the grid, as it is."""
    cases = prepared.slices_of(prepared.volumes[row])
    image = stack_to_input([prepared.image(case) for case in cases], FRAME)
    return image, labels_to_input([prepared.label(case) for case in cases], FRAME)


def test_a_frame_of_the_volumes_own_size_changes_nothing(prepared):
    image, label = whole(prepared, 0)
    cases = prepared.slices_of(prepared.volumes[0])
    stored = np.stack([prepared.image(case) for case in cases]).astype(np.float32)
    np.testing.assert_array_equal(image.numpy()[0], stored[..., 0])
    np.testing.assert_array_equal(label.numpy(), np.stack([prepared.label(case) for case in cases]))
    sample = SegmentationDataset(prepared, "train", FRAME).sample(0, epoch=0)
    assert torch.equal(sample.image, image)
    assert torch.equal(sample.label, label.long())
    assert torch.equal(sample.warp, torch.eye(3, 4))


def test_frames_and_stacks_of_other_sizes():
    ramp = np.linspace(0, 1, 16, dtype=np.float32)[:, None, None, None] * np.ones((16, 8, 8, 2), np.float32)
    grid = stack_to_input(ramp, (8, 4, 4))
    assert grid.shape == (2, 8, 4, 4)
    assert (grid[:, 1:] > grid[:, :-1]).all()
    back = input_to_stack(grid, 16)
    assert back.shape == (16, 2, 4, 4)
    torch.testing.assert_close(back[2:-2, 0, 0, 0], torch.from_numpy(ramp[2:-2, 0, 0, 0]), atol=0.01, rtol=0)


def test_a_patch_is_a_part_of_the_frame_and_its_warp_says_which(prepared):
    view = SegmentationDataset(prepared, "train", FRAME, PATCH)
    corners = set()
    for epoch in range(30):
        sample = view.sample(1, epoch)
        image, label = whole(prepared, 1)
        assert sample.image.shape == (1, *PATCH)
        warp = Warp(sample.warp[None])
        assert torch.equal(warp.apply(image[None], "nearest", size=PATCH)[0], sample.image)
        voxels = torch.arange(8 * 12 * 12.0).view(1, 1, *FRAME)
        places = warp.apply(voxels, "nearest", size=PATCH)[0, 0].long()
        assert torch.equal(label.flatten()[places].long(), sample.label)
        corners.add(int(places[0, 0, 0]))
        # and back: every voxel of the patch lies where it came from, nothing lies elsewhere
        back = warp.inverse().apply(torch.ones(1, 1, *PATCH), "nearest", size=FRAME)
        assert torch.equal(back.flatten().nonzero().flatten(), places.flatten().sort().values)
    assert len(corners) > 10


def test_half_of_the_patches_hold_the_foreground(prepared):
    view = SegmentationDataset(
        prepared, "train", FRAME, (2, 2, 2), augment=AugmentOptions(rotation=0, zoom=(0, 0))
    )
    shown = [bool((view.sample(0, epoch).label == 1).any()) for epoch in range(200)]
    assert 0.4 < np.mean(shown) < 0.6  # one voxel of 1152: by chance next to never


def test_the_same_arguments_give_the_same_bits(prepared):
    made = [
        SegmentationDataset(prepared, "train", FRAME, PATCH, augment=AugmentOptions(zoom=(1, 2)), seed=3)
        for _ in "ab"
    ]
    for epoch in range(3):
        one, other = (view.sample(0, epoch) for view in made)
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.label, other.label)
    assert not torch.equal(made[0].sample(0, 0).image, made[0].sample(0, 1).image)
    (batch,) = epoch_batches(made[0], epoch=0, batch=2)
    assert batch.images.shape == (2, 1, *PATCH)
    assert batch.warp.matrix.shape == (2, 3, 4)


def test_what_does_not_fit_is_refused(prepared, tmp_path):
    with pytest.raises(InputError, match=r"training\.patch 4 x 8 x 6 must lie in the grid of 2 x 12 x 12"):
        SegmentationDataset(prepared, "train", (2, 12, 12), PATCH)
    with pytest.raises(InputError, match="no val volumes"):
        SegmentationDataset(prepared, "val", FRAME)
    with pytest.raises(InputError, match="needs a reference mask"):
        SegmentationDataset(prepared, "train", FRAME, labels="truth")
    with pytest.raises(InputError, match=r"lacks slices of volume '0'.*--empty keep"):
        SegmentationDataset(prepare(tmp_path, empty="drop"), "train", FRAME)
