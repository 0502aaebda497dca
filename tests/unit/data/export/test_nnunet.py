"""What is written for nnU-Net is what the set has, where the set has it."""

import json

import nibabel
import numpy as np
import pytest
from tests.end_to_end.test_volumes import SHAPE, affine, ball
from tests.unit.data.folders import make_folder

from metadcseg.data.export.nnunet import export_nnunet, stored_affine
from metadcseg.data.prepare.pipeline import prepare_folder, prepare_scan
from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.data.sources.case import RawCase, Scan
from metadcseg.data.sources.known import scan_known
from metadcseg.data.sources.roles import Draw
from metadcseg.data.store.reader import PreparedSet
from metadcseg.data.synthetic.corruption import corrupt_set
from metadcseg.errors import InputError
from metadcseg.scratch import sweep

ROLES = ("train", "train", "gold", "val", "test")


def volumes(folder, placed=True, **options):
    made = []
    for number, role in enumerate(ROLES):
        image = np.random.default_rng(number).normal(size=(*SHAPE, 2)).astype(np.float32)
        label = ball(number)
        label[0, 0] = 255
        if "empty" in options:
            label[..., 0] = 0
        files = [folder / f"{kind}{number}.nii.gz" for kind in ("image", "label")]
        for file, array in zip(files, (image, label), strict=True):
            volume = nibabel.Nifti1Image(array, affine(number))
            if not placed and file == files[0]:
                volume.header["sform_code"] = volume.header["qform_code"] = 0
                volume = nibabel.Nifti1Image(array, None, volume.header)
            nibabel.save(volume, file)
        made.append(RawCase(f"a/{number}", role, str(number), (files[0],), files[1], verified=True))
    cut = SliceOptions(**options)
    scan = Scan(tuple(made), source={"source": "test"}, slices=cut, remap={255: 255})
    prepare_scan(scan, folder / "set", name="my set", edges="none")
    return PreparedSet.open(folder / "set")


@pytest.mark.parametrize("options", [{}, {"axis": "x", "pixel": 2.0}])
def test_volumes_lie_where_the_set_has_them(options, tmp_path):
    clean = volumes(tmp_path, **options)
    noisy = corrupt_set(clean, tmp_path / "noisy", rate=0.3, seed=0)
    noisy = PreparedSet.open(tmp_path / "noisy")
    seen = []
    folder = export_nnunet(noisy, tmp_path / "raw", number=7, progress=lambda *done: seen.append(done))
    assert folder.name == "Dataset007_my-set"
    assert seen[-1] == (5, 5)
    said = json.loads((folder / "dataset.json").read_text())
    assert said["labels"] == {"background": 0, "foreground": 1, "ignore": 2}
    assert (said["numTraining"], said["file_ending"], len(said["channel_names"])) == (4, ".nii.gz", 2)
    (split,) = json.loads((folder / "splits_final.json").read_text())
    assert split == {"train": ["a-0", "a-1", "a-2"], "val": ["a-3"]}
    for number, volume in enumerate(noisy.volumes):
        part = "Ts" if volume.role == "test" else "Tr"
        cases, laid = noisy.slices_of(volume), volume.placement.unstack
        for channel in (0, 1):
            image = nibabel.load(folder / f"images{part}/a-{number}_{channel:04d}.nii.gz")
            stack = laid(np.stack([noisy.image(case)[..., channel] for case in cases]))
            assert np.array_equal(np.asarray(image.dataobj), stack)
        label = nibabel.load(folder / f"labels{part}/a-{number}.nii.gz")
        np.testing.assert_allclose(label.affine, image.affine)
        wanted = np.stack([(noisy.truth if part == "Ts" else noisy.label)(case) for case in cases])
        wanted[wanted == 255] = 2
        assert np.array_equal(np.asarray(label.dataobj), laid(wanted))
        corners = np.array([[-0.5, -0.5, -0.5, 1], [side - 0.5 for side in image.shape] + [1]]).T
        whole = np.array([[-0.5, -0.5, -0.5, 1], [side - 0.5 for side in SHAPE] + [1]]).T
        np.testing.assert_allclose(image.affine @ corners, affine(number) @ whole, atol=1e-4)
    text = (folder / "README.txt").read_text()
    assert "nnUNetv2_train 7 3d_fullres 0" in text
    assert "3 training cases with the labels given, 1 of them gold" in text
    assert "\n1 mask that a verified one replaced did not come along.\nImages are" in text
    bare = export_nnunet(clean, tmp_path / "bare").joinpath("README.txt").read_text()
    assert "did not come along" not in bare
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [folder.name]
    left = (
        tmp_path / "raw/.metadcseg-0123456789abcdef.tmp"
    )  # of a process that was killed when its folder was there
    left.mkdir()
    sweep.cache_clear()
    with pytest.raises(InputError, match="has the number 7 already"):
        export_nnunet(noisy, tmp_path / "raw", number=7)
    assert not left.exists()


def test_what_is_exported_can_be_imported(tmp_path):
    folder = export_nnunet(volumes(tmp_path), tmp_path / "raw")
    scan = scan_known("nnunet", folder, Draw(val=0.25, test=0.25))
    prepare_scan(scan, tmp_path / "again", name="again", edges="none")
    again = PreparedSet.open(tmp_path / "again")
    assert len(again.volumes) == 4
    assert np.array_equal(again.reference(again.volumes[0]) == 1, ball(0) == 1 & (ball(0) != 255))


def test_a_crop_moves_the_origin(tmp_path):
    image = np.zeros((20, 20, 6), np.float32)
    image[8:14, 9:15, 2:5] = np.random.default_rng(0).normal(size=(6, 6, 3)) + 9
    nibabel.save(nibabel.Nifti1Image(image, affine(1)), tmp_path / "i.nii.gz")
    nibabel.save(nibabel.Nifti1Image((image > 0).astype(np.uint8), affine(1)), tmp_path / "l.nii.gz")
    raw = RawCase("c", "train", "c", (tmp_path / "i.nii.gz",), tmp_path / "l.nii.gz")
    scan = Scan((raw,), source={}, slices=SliceOptions(crop="content", normalize="none"))
    prepare_scan(scan, tmp_path / "set", name="c", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    placement = prepared.volumes[0].placement
    low = [edge[0] for edge in placement.box]
    assert max(low) > 0
    np.testing.assert_allclose(stored_affine(placement)[:, 3], affine(1) @ [*low, 1])
    folder = export_nnunet(prepared, tmp_path / "raw")
    found = nibabel.load(folder / "imagesTr/c_0000.nii.gz")
    inner = tuple(slice(*edge) for edge in placement.box)
    np.testing.assert_allclose(np.asarray(found.dataobj), image[inner], atol=0.01)


def test_images_are_volumes_of_one_slice(tmp_path):
    prepare_folder(make_folder(tmp_path / "mine", gold=2), tmp_path / "set", edges="none", spacing=(0.5, 0.7))
    prepared = PreparedSet.open(tmp_path / "set")
    folder = export_nnunet(prepared, tmp_path / "raw")
    case = prepared.select("gold")[0]
    image = nibabel.load(folder / f"imagesTr/{case.id}_0002.nii.gz")
    assert image.shape == (20, 24, 1)
    assert image.header.get_zooms() == pytest.approx((0.5, 0.7, 1.0))
    assert np.array_equal(np.asarray(image.dataobj)[..., 0], prepared.image(case)[..., 2])
    assert "nnUNetv2_train 500 2d 0" in (folder / "README.txt").read_text()


def test_what_cannot_be_exported(tmp_path):
    dropped = volumes(tmp_path, empty="drop")
    with pytest.raises(InputError, match="--id must be a number from 1 to 999, got 1000"):
        export_nnunet(dropped, tmp_path / "raw", number=1000)


def test_volumes_that_lack_slices_are_stacked_for_two_dimensions(tmp_path):
    dropped = volumes(tmp_path, empty="drop")
    folder = export_nnunet(dropped, tmp_path / "raw")
    for volume in dropped.volumes:
        part, name = "Ts" if volume.role == "test" else "Tr", volume.id.replace("/", "-")
        held = [
            nibabel.load(folder / f"{kind}{part}" / f"{name}{end}.nii.gz").shape
            for kind, end in (("images", "_0000"), ("labels", ""))
        ]
        slices = len(dropped.slices_of(volume))
        assert held[0] == held[1]
        assert slices in held[0]
        assert (slices < volume.placement.slices) == (volume.role in ("train", "gold"))
    text = (folder / "README.txt").read_text()
    assert "3 volumes of training and gold lack slices" in text
    assert "nnUNetv2_train 500 2d 0" in text


def test_gold_is_left_out_or_copied_until_it_counts_as_much(tmp_path):
    prepare_folder(make_folder(tmp_path / "folder", gold=3), tmp_path / "set", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    counts = {}
    for number, policy in enumerate(("none", "once", "balanced"), start=1):
        folder = export_nnunet(prepared, tmp_path / "raw", number=number, gold=policy)
        (split,) = json.loads((folder / "splits_final.json").read_text())
        names = {path.name.removesuffix(".nii.gz") for path in (folder / "labelsTr").iterdir()}
        assert set(split["train"]) | set(split["val"]) == names
        counts[policy] = len(split["train"])
        copies = [name for name in names if "-copy-" in name]
        for copy in copies:
            first = copy.partition("-copy-")[0]
            for part, end in (("labelsTr", ""), ("imagesTr", "_0000")):
                held = [(folder / part / f"{name}{end}.nii.gz").read_bytes() for name in (first, copy)]
                assert held[0] == held[1]
    train, gold = len(prepared.select("train")), len(prepared.select("gold"))
    assert counts == {"none": train, "once": train + gold, "balanced": train + -(-train // gold) * gold}
    assert f"{gold} verified cases" in (folder / "README.txt").read_text()
    with pytest.raises(InputError, match="--gold must be one of none, once, balanced"):
        export_nnunet(prepared, tmp_path / "raw", number=9, gold="twice")
