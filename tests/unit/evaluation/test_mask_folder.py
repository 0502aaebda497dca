"""What is there already is compared by its header first: a large volume of another grid is not read."""

import numpy as np
import pytest

from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid
from metadcseg.errors import InputError
from metadcseg.evaluation import mask_folder
from metadcseg.evaluation.mask_folder import MaskFolder


def test_of_another_grid_no_voxel_is_read(tmp_path, monkeypatch):
    grid, other = (Grid(shape, UNKNOWN_AFFINE, known=False) for shape in ((4, 5, 6), (4, 5, 7)))
    with MaskFolder(tmp_path) as masks:
        masks.write_labels("a.nii.gz", np.zeros(grid.shape, np.uint8), grid, None)
        masks.write("b.png", b"mask")
    monkeypatch.setattr(mask_folder, "read_label_volume", lambda path: pytest.fail(f"{path} was read"))
    with MaskFolder(tmp_path) as masks:
        with pytest.raises(InputError, match="holds something else"):
            masks.write_labels("a.nii.gz", np.zeros(other.shape, np.uint8), other, None)
        with pytest.raises(InputError, match="holds something else"):
            masks.write("b.png", b"other")
    monkeypatch.undo()
    with MaskFolder(tmp_path) as masks:
        assert masks.write_labels("a.nii.gz", np.zeros(grid.shape, np.uint8), grid, None).exists()
        assert masks.write("b.png", b"mask").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "b.png"]


def test_no_name_stands_for_two_masks(tmp_path):
    """The first of them is not in place yet, so it is no file that could be compared."""
    with MaskFolder(tmp_path) as masks:
        masks.write("a.png", b"mask")
        with pytest.raises(InputError, match=r"a\.png is the name of two masks"):
            masks.write("a.png", b"other")
    assert (tmp_path / "a.png").read_bytes() == b"mask"
