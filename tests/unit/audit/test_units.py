"""The size of a voxel, also where slices are stacked aslant."""

import nibabel
import numpy as np
import pytest

from metadcseg.audit.units import units_of
from metadcseg.data.prepare.pipeline import prepare_cases
from metadcseg.data.sources import RawCase
from metadcseg.data.store.reader import PreparedSet


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_sizes_of_sheared_volumes_are_those_of_their_voxels(tmp_path, shift):
    affine = np.array([[0.5, 0, 0, 0], [0, 0.8, shift, 0], [0, 0, 4, 0], [0, 0, 0, 1.0]])
    label = np.zeros((12, 10, 5), np.uint8)
    label[3:8, 3:8, 1:4] = 1
    files = [tmp_path / f"{name}.nii.gz" for name in ("image", "label")]
    for file, array in zip(files, (label * 90.0 + np.arange(5), label), strict=True):
        nibabel.save(nibabel.Nifti1Image(array.astype(np.float32), affine), file)
    prepare_cases(
        [RawCase("a", "train", "a", (files[0],), files[1])], tmp_path / "set", name="one", edges="none"
    )
    (unit,) = units_of(PreparedSet.open(tmp_path / "set"), "train")
    assert unit.spacing == pytest.approx((4.0, 0.5, 0.8))
