"""Decisions on volumes: the file's grid, header and values, whatever the slices of the set were."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.unit.audit.simulated import decide, judge, runs, simulate

from metadcseg.audit.accept import accept
from metadcseg.audit.again import prepare_again
from metadcseg.audit.native import Change, labels_on, write_volume_mask
from metadcseg.audit.twins import TWINS
from metadcseg.cli.main import main
from metadcseg.data.formats.geometry import Grid, Volume, as_affine
from metadcseg.data.formats.volumes import read_label_volume
from metadcseg.data.prepare.pipeline import prepare_folder
from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.data.store.origin import CaseOrigin, Origin
from metadcseg.data.store.reader import PreparedSet
from metadcseg.data.synthetic.corruption import corrupt_set

nibabel = pytest.importorskip("nibabel")
sitk = pytest.importorskip("SimpleITK")

AFFINE = np.array([[0, -1.5, 0, 7], [2.0, 0, 0, -3], [0, 0, 4, 1], [0, 0, 0, 1.0]])


def nifti(path, array, dtype):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array.astype(dtype), AFFINE)
    image.header["descrip"] = b"drawn by anna"
    image.set_qform(AFFINE, 1)
    nibabel.save(image, path)


def nrrd(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
    image.SetSpacing((1.5, 2.0, 4.0))
    image.SetOrigin((3, 5, -2))
    for key, value in (("Segment0_Name", "liver"), ("Segment0_LabelValue", "5")):
        if array.dtype == np.uint8:
            image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path), useCompression=True)


def volumes(folder, kind):
    """Write six volumes whose only class is 5; return their masks by id."""
    masks = {}
    for number in range(6):
        noise = np.random.default_rng(number).normal(100, 20, (16, 14, 5)).astype(np.int16)
        mask = np.zeros(noise.shape, np.uint8)
        mask[4 : 9 + number % 3, 4:10, 1:4] = 5
        masks[f"v{number}"] = mask
        if kind == "nifti":
            nifti(folder / f"images/v{number}.nii.gz", noise, np.int16)
            nifti(folder / f"masks/v{number}.nii.gz", mask, np.int16)
        else:
            nrrd(folder / f"images/v{number}.nrrd", noise)
            nrrd(folder / f"masks/v{number}.seg.nrrd", mask)
    return masks


@pytest.mark.parametrize(
    ("kind", "slices"),
    [
        ("nifti", SliceOptions()),
        ("nifti", SliceOptions(pixel=3.0, crop="content", empty="drop")),
        ("nrrd", SliceOptions()),
    ],
)
def test_masks_of_volumes_come_back_to_their_files(tmp_path, kind, slices):
    given = volumes(tmp_path / "mine", kind)
    options = {"edges": "none", "slices": slices, "remap": {5: 1}, "val": 0.2, "test": 0.2}
    prepare_folder(tmp_path / "mine", tmp_path / "set", **options)
    prepared = PreparedSet.open(tmp_path / "set")
    arrays = simulate(tmp_path / "audit", prepared)
    first, second, third = list(arrays)[:3]
    painted = np.zeros(arrays[second].shape[1:], np.uint8)
    painted[2:4, 1:3] = 1
    decisions = decide(
        tmp_path / "audit",
        prepared,
        {"case": first, "verdict": "accept"},
        {"case": second, "verdict": "reject", "painted": {"1": runs(painted)}},
        {"case": third, "verdict": "reject"},
    )
    accept(decisions, tmp_path / "better")
    end = ".nii.gz" if kind == "nifti" else ".seg.nrrd"
    file = tmp_path / f"better/gold/{first}{end}"
    found, old = read_label_volume(file), read_label_volume(tmp_path / f"mine/masks/{first}{end}")
    assert found.grid == old.grid
    assert old.names == ({} if kind == "nifti" else {5: "liver"})
    assert (found.array.dtype, found.names) == (old.array.dtype, old.names)
    assert set(np.unique(found.array)) == {0, 5}
    changed = found.array != given[first]
    assert changed.any()
    volume = next(volume for volume in prepared.volumes if volume.id == first)
    seen = volume.placement.stack(changed)
    assert seen.sum() == changed.sum()  # nothing outside of what the slices cover
    if slices.pixel is None:
        assert np.array_equal(
            volume.placement.stack(found.array) == 5, arrays[first].corrected["balanced"] == 1
        )
    same = tmp_path / f"better/gold/{third}{end}"
    assert np.array_equal(read_label_volume(same).array, given[third])
    if kind == "nifti":
        header = nibabel.load(file).header
        assert header["descrip"].tobytes().rstrip(b"\0") == b"drawn by anna"
        assert (header["qform_code"], header["sform_code"]) == (1, 2)
    prepare_folder(tmp_path / "better", tmp_path / "set-2", **options)
    again = PreparedSet.open(tmp_path / "set-2")
    assert {volume.id for volume in again.volumes if volume.role == "gold"} == {first, second, third}
    if slices == SliceOptions():
        for id in (first, second, third):
            volume = next(volume for volume in again.volumes if volume.id == id)
            cases = again.slices_of(volume)
            mask = arrays[id].corrected["balanced"] if id == first else arrays[id].given.copy()
            if id == second:
                mask[1] = painted
            assert np.array_equal(np.stack([again.label(case) for case in cases]), mask)
            assert np.array_equal(np.stack([again.given(case) for case in cases]), arrays[id].given)


@pytest.mark.parametrize("end", [".mha", ".nrrd", ".nii.gz"])
def test_a_class_whose_value_needs_a_wider_type_than_the_file_has(tmp_path, end):
    shown = np.zeros((6, 5, 2), np.uint8)
    shown[1:3, 1:3] = 1
    mask = tmp_path / f"mask{end}"
    if end == ".nii.gz":
        nifti(mask, shown, np.uint8)
    else:
        nrrd(mask, shown)
    values = Origin(
        Path(), {"a": CaseOrigin((), mask, {0: 0, 1: 1}), "b": CaseOrigin((), None, {0: 0, 300: 2})}
    )
    wanted = shown.copy()
    wanted[4] = 2
    out = tmp_path / f"out{end}"
    grid = read_label_volume(mask).grid
    write_volume_mask(out, Change(shown, wanted), grid, values, values.cases["a"])
    assert np.unique(read_label_volume(out).array).tolist() == [0, 1, 300]
    write_volume_mask(out, Change(shown, shown), grid, values, values.cases["a"])
    assert read_label_volume(out).array.dtype == np.uint8


@pytest.mark.parametrize(
    ("slices", "rate"),
    [(SliceOptions(), 0.3), (SliceOptions(pixel=3.0, crop="content", empty="drop"), 0.29)],
)
def test_volumes_with_noise_become_stacks(tmp_path, slices, rate):
    volumes(tmp_path / "mine", "nifti")
    shutil.copytree(tmp_path / "mine/masks", tmp_path / "mine/gold")
    roles = ("train", "train", "train", "gold", "val", "test")
    rows = [f"v{number},{role}\n" for number, role in enumerate(roles)]
    (tmp_path / "mine/splits.csv").write_text("id,role\n" + "".join(rows))
    for number in range(3):
        (tmp_path / f"mine/gold/v{number}.nii.gz").unlink()
    prepare_folder(tmp_path / "mine", tmp_path / "clean", edges="none", slices=slices, remap={5: 1})
    corrupt_set(PreparedSet.open(tmp_path / "clean"), tmp_path / "set", rate, 0, model="over")
    prepared = PreparedSet.open(tmp_path / "set")
    arrays = simulate(tmp_path / "audit", prepared)
    twins = judge(tmp_path / "audit" / TWINS, prepared, "gold")
    first, second = list(arrays)[:2]
    unseen = {"case": second, "verdict": "accept", "level": "network", "verified": False}
    accepted = [{"case": first, "verdict": "accept"}, unseen]
    accept(decide(tmp_path / "audit", prepared, *accepted), tmp_path / "better")
    words = prepare_again(prepared, tmp_path / "better")
    assert main(words[1:]) == 0
    again = PreparedSet.open(tmp_path / "better-set")
    old = {volume.id: volume for volume in prepared.volumes}
    assert {volume.id: volume.role for volume in again.volumes} == {
        volume.id: "gold" if volume.id == first else volume.role for volume in prepared.volumes
    }
    for volume in again.volumes:
        pairs = list(zip(again.slices_of(volume), prepared.slices_of(old[volume.id]), strict=True))
        assert all(np.array_equal(again.image(new), prepared.image(was)) for new, was in pairs)
        labels = np.stack([again.label(new) for new, _ in pairs])
        if volume.id == first:
            assert np.array_equal(labels, arrays[first].corrected["balanced"])
        if volume.role == "gold":  # pairs are at the level of the second
            held = (arrays | twins)[volume.id].corrected["network"]
            assert np.array_equal(np.stack([again.given(new) for new, _ in pairs]), held)
        if volume.id not in (first, second):
            assert np.array_equal(labels, np.stack([prepared.label(was) for _, was in pairs]))
    assert again.slices_of(again.volumes[-1])[0].spacing == pytest.approx(prepared.cases[-1].spacing)


def accepted(folder, **options):
    """Prepare, audit and accept all but one of the training volumes of a folder; return these and what was written."""
    prepare_folder(folder, folder.with_name("set"), edges="none", val=0.2, test=0.2, **options)
    prepared, audit = PreparedSet.open(folder.with_name("set")), folder.with_name("audit")
    arrays = simulate(audit, prepared)
    arrays.popitem()
    every = ({"case": id, "verdict": "accept"} for id in arrays)
    accept(decide(audit, prepared, *every), folder.with_name("better"))
    return arrays, folder.with_name("better") / "gold"


def test_masks_of_images_that_do_not_say_where_they_lie_keep_their_place(tmp_path):
    """Tools that fill in a mask write a place for it, that of their reader, where the image has none."""
    folder = tmp_path / "mine"
    given = volumes(folder, "nifti")
    for id in given:
        file = folder / f"images/{id}.nii.gz"
        image = nibabel.load(file)
        image.header["sform_code"] = image.header["qform_code"] = 0
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header), file)
    arrays, gold = accepted(folder, remap={5: 1})
    for id in arrays:
        found = nibabel.load(gold / f"{id}.nii.gz")
        assert np.array_equal(found.affine, AFFINE)
        assert (np.asarray(found.dataobj) != given[id]).any()


@pytest.mark.parametrize("values", [(-1024, 7), (0, 70_000)])
def test_masks_that_were_resampled_keep_their_values(tmp_path, values):
    folder = tmp_path / "mine"
    for id, mask in volumes(folder, "nifti").items():
        fine = np.full((16, 14, 10), values[0], np.int32)
        fine[np.repeat(mask, 2, axis=2) > 0] = values[1]
        half = AFFINE @ np.diag([1, 1, 0.5, 1])
        half[:3, 3] -= half[:3, 2] / 2
        nibabel.save(nibabel.Nifti1Image(fine, half), folder / f"masks/{id}.nii.gz")
    arrays, gold = accepted(folder, remap={values[0]: 0, values[1]: 1}, resample_labels=True)
    for id, held in arrays.items():
        found = read_label_volume(gold / f"{id}.nii.gz")
        assert np.unique(found.array).tolist() == list(values)
        assert np.array_equal(found.grid.affine, AFFINE)
        assert (found.array == values[1]).sum() == (held.corrected["balanced"] == 1).sum()


def test_masks_of_which_resampling_loses_a_class_can_be_reviewed():
    """Whether too much is lost is asked when a set is prepared: those of before have been."""
    fine = np.zeros((16, 14, 10), np.int16)
    fine[4:9, 4:10] = 7
    fine[10, 10, 4] = 9  # between two slices
    half = AFFINE @ np.diag([1, 1, 0.5, 1])
    half[:3, 3] -= half[:3, 2] * 0.6
    case = CaseOrigin((), Path("masks/v0.nii.gz"), {0: 0, 7: 2, 9: 1})
    found = labels_on(
        Volume(fine, Grid(fine.shape, as_affine(half))), Grid((16, 14, 5), as_affine(AFFINE)), case
    )
    assert np.array_equal(found, 2 * (fine[:, :, ::2] == 7))
