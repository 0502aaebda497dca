"""Sets of volumes: put together again they say what the folder says that they were made from."""

import h5py
import nibabel
import numpy as np
import pytest
from scipy import ndimage

from metadcseg.constants import IGNORE
from metadcseg.data.prepare.pipeline import prepare_scan
from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.data.sources import scan_folder
from metadcseg.data.splits.resplit import resplit_set
from metadcseg.data.store.reader import PreparedSet
from metadcseg.pairs.advice import advise
from metadcseg.pairs.found import view
from metadcseg.pairs.read import read_pairs
from metadcseg.pairs.sentences import sentences

SHAPE, AFFINE = (30, 34, 9), np.diag([0.5, 0.8, 3.0, 1.0])


def volume_folder(root, suffix=".nii.gz", affine=AFFINE):
    """Write six volumes, four of them verified: too large within slices and across them, one object gone."""
    rng = np.random.default_rng(0)
    for number, name in enumerate("abcdef"):
        true = np.zeros(SHAPE, np.uint8)
        true[9:20, 10 : 22 + number, 3:6] = 1
        given = ndimage.binary_dilation(true, np.ones((3, 3, 1))).astype(np.uint8)
        given[..., 6] = given[..., 5]  # a slice farther than the verified one: no object of its own
        if name == "a":
            true[2:5, 2:5, 1:3] = 1
        arrays = {"images": rng.normal(0, 1, SHAPE).astype(np.float32), "masks": given}
        if number < 4:
            arrays["gold"] = true
        for place, array in arrays.items():
            (root / place).mkdir(parents=True, exist_ok=True)
            path = root / place / f"{name}{suffix}"
            if suffix == ".h5":
                with h5py.File(path, "w") as file:
                    file["image" if place == "images" else "label"] = array
            else:
                nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return root


def set_of(folder, out, **slices):
    scan = scan_folder(folder, val=0.0, test=0.0)
    prepare_scan(scan, out, name="volumes", slices=SliceOptions(**slices), edges="none")
    return out


def told(found):
    diagnosis = found.diagnose()
    return [*sentences(diagnosis), advise(diagnosis).sentence], diagnosis.total.to_dict()


@pytest.mark.parametrize("slices", [{}, {"axis": "x"}, {"axis": "y"}])
def test_a_set_of_volumes_says_what_their_folder_says(tmp_path, slices):
    folder = volume_folder(tmp_path / "folder")
    first, second = read_pairs(folder), read_pairs(set_of(folder, tmp_path / "set", **slices))
    for one, other in zip(first.pairs, second.pairs, strict=True):
        assert (one.id, one.group, one.given.shape) == (other.id, other.group, other.given.shape)
        assert np.array_equal(one.given, other.given)
        assert np.array_equal(one.verified, other.verified)
        assert one.spacing == pytest.approx(other.spacing)
    assert told(first)[0] == told(second)[0]
    assert told(first)[1] == told(second)[1]
    assert told(second)[1]["invented"] == 0
    assert told(second)[1]["missing"] == 1
    assert (first.verified, second.verified, second.notes) == (4, 4, ())
    assert view(second, second.pairs[0]).image.shape == (SHAPE[1], SHAPE[0], 1)


def test_without_a_known_spacing_neither_speaks_of_mm(tmp_path):
    folder = volume_folder(tmp_path / "folder", suffix=".h5")
    first, second = read_pairs(folder), read_pairs(set_of(folder, tmp_path / "set"))
    assert told(first) == told(second)
    assert told(second)[1]["offset_mm"] is None


def test_resampled_slices_keep_their_mm(tmp_path):
    folder = volume_folder(tmp_path / "folder")
    found = read_pairs(set_of(folder, tmp_path / "set", pixel=0.4))
    assert found.pairs[0].given.shape == (38, 68, 9)
    assert found.pairs[0].spacing == pytest.approx((15 / 38, 0.4, 3.0))
    as_files = told(read_pairs(folder))[1]["offset_mm"]["mean"]
    assert told(found)[1]["offset_mm"]["mean"] == pytest.approx(as_files, abs=0.15)


def test_dropped_slices_are_unknown_and_said(tmp_path):
    folder = volume_folder(tmp_path / "folder")
    found = read_pairs(set_of(folder, tmp_path / "set", empty="drop"))
    pair = found.pairs[1]
    assert (pair.given[..., [0, 1, 2, 7, 8]] == IGNORE).all()
    assert np.array_equal(pair.given == IGNORE, pair.verified == IGNORE)
    assert pair.given[..., 6].max() == 1  # which only the given mask draws
    assert found.notes[0].startswith("18 slices of 4 volumes not in the set: unknown")
    total = told(found)[1]
    assert (total["invented"], total["too_large"]) == (0, 4)


def test_volumes_of_gold_slices(tmp_path):
    folder = volume_folder(tmp_path / "folder")
    source = PreparedSet.open(set_of(folder, tmp_path / "set"))
    roles = {name: "gold" if name in "abcd" else "train" for name in "abcdef"}
    resplit_set(source, tmp_path / "few", roles, note={}, kept={"a": [3, 4], "b": [5]})
    found = read_pairs(tmp_path / "few")
    assert [int((pair.given[0, 0] != IGNORE).sum()) for pair in found.pairs] == [2, 1, 9, 9]
    assert found.notes[0].startswith("15 slices of 2 volumes not in the set")
    assert told(found)[1]["too_large"] == 4


def test_annotators_are_of_volumes(tmp_path):
    folder = volume_folder(tmp_path / "folder")
    table = tmp_path / "who.csv"
    table.write_text("id,annotator\na,Ann\nb,Ann\nc,Bob\nd,Bob\n")
    prepared = set_of(folder, tmp_path / "set")
    found = read_pairs(prepared, annotators=table)
    assert [pair.annotator for pair in found.pairs] == ["Ann", "Ann", "Bob", "Bob"]


@pytest.mark.parametrize("slices", [{}, {"axis": "x"}])
def test_a_tilted_set_says_what_its_folder_says(tmp_path, slices):
    tilted = AFFINE.copy()
    tilted[1, 2] = 2.0  # every slice lies 2 mm farther along y
    folder = volume_folder(tmp_path / "folder", affine=tilted)
    first, second = read_pairs(folder), read_pairs(set_of(folder, tmp_path / "set", **slices))
    for found in (first, second):
        assert np.array(found.pairs[0].spacing) == pytest.approx(tilted[:3, :3].T)
    assert told(first) == told(second)
    upright = told(read_pairs(volume_folder(tmp_path / "upright")))[1]
    assert told(first)[1]["offset_mm"]["mean"] != pytest.approx(upright["offset_mm"]["mean"], rel=1e-3)
    small = read_pairs(set_of(folder, tmp_path / "small", pixel=0.4))
    scaled = np.diag([15 / 38, 0.4, 1]) / np.diag([0.5, 0.8, 1]).clip(1e-9)
    assert np.array(small.pairs[0].spacing) == pytest.approx(np.diag(np.diag(scaled)) @ tilted[:3, :3].T)
