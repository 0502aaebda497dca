"""Every volume has a mask, and a picture, of its own name."""

import numpy as np
import SimpleITK
from tests.unit.export.networks import random_run

from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.evaluation.inputs import find_volumes, volume_names
from metadcseg.evaluation.predict_files import predict_images


def write_volume(path, channels=1):
    array = np.random.default_rng(len(path.name)).integers(0, 200, (3, 12, 10, channels), dtype=np.uint8)
    array = (
        array[..., 0] if channels == 1 else np.moveaxis(array, 3, 0)
    )  # NIfTI has channels as a fourth axis
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=False), str(path))


def test_volumes_that_would_share_a_mask_have_two(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.mha", "a.mhd", "b.nii", "b.nii.gz"):
        write_volume(folder / name)
    run = random_run(tmp_path / "run", channels=1, how=SliceOptions().to_dict())
    masks = predict_images(run, folder, tmp_path / "masks", overlays=True, device="cpu", trust_code=True)
    assert [path.name for path in masks] == ["a.mha.mha", "a.mhd.mha", "b.nii", "b.nii.gz"]
    assert all(path.is_file() for path in masks)
    drawn = sorted(path.name for path in (tmp_path / "masks" / "overlays").iterdir())
    assert drawn == ["a.mha.png", "a.mhd.png", "b.nii.gz.png", "b.nii.png"]


def test_a_whole_volume_beside_the_channels_of_another(tmp_path):
    write_volume(tmp_path / "a.nii.gz", channels=2)
    for channel in ("0000", "0001"):
        write_volume(tmp_path / f"a_{channel}.nii.gz")
    found = find_volumes(tmp_path, 2, None)
    assert [name for name, _ in found] == ["a", "a"]
    masks = [mask for mask, _ in volume_names(found)]
    assert masks == ["a.nii.gz.nii.gz", "a_0000.nii.gz.nii.gz"]


def test_names_that_none_shares_stay_short(tmp_path):
    for name in ("a.nii", "B.nii.gz"):
        write_volume(tmp_path / name)
    assert volume_names(find_volumes(tmp_path, 1, None)) == [("B.nii.gz", "B.png"), ("a.nii", "a.png")]
