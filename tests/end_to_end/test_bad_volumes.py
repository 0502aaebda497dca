"""Volumes that cannot be used: each is one sentence of `prepare`, and one error of `check`, that names the file."""

import json

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from tests.end_to_end.tools import cli, done, refused

from metadcseg.data.store.reader import PreparedSet

SHAPE = (10, 8, 5)


def array(number):
    return np.random.default_rng(number).normal(100, 20, SHAPE).astype(np.float32)


def mask():
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:7, 2:6, 1:4] = 1
    return labels


def nifti(path, voxels, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.0, 1, 2, 1]) if affine is None else affine), path)


def meta_image(path, voxels):
    """A header with its voxels, not compressed, in a file beside it."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    image.SetSpacing((1.0, 1.0, 2.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # as the NIfTI files lie
    sitk.WriteImage(image, str(path))


def dicom(folder, voxels):
    """A series whose slices lie as the NIfTI files do."""
    folder.mkdir(parents=True)
    series = generate_uid()
    for number in range(voxels.shape[2]):
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
            "1.2.840.10008.5.1.4.1.1.4",
            generate_uid(),
        )
        held = pydicom.dataset.FileDataset(str(folder), {}, file_meta=meta, preamble=b"\0" * 128)
        held.SOPClassUID, held.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        held.SeriesInstanceUID, held.Modality = series, "MR"
        held.Rows, held.Columns = voxels.shape[1], voxels.shape[0]
        held.PixelSpacing, held.SliceThickness = [1.0, 1.0], 2.0
        held.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
        held.ImagePositionPatient = [0, 0, 2.0 * number]
        held.SamplesPerPixel, held.PhotometricInterpretation = 1, "MONOCHROME2"
        held.BitsAllocated = held.BitsStored = 16
        held.HighBit, held.PixelRepresentation = 15, 0
        held.PixelData = np.ascontiguousarray(voxels[:, :, number].T.astype(np.uint16)).tobytes()
        held.save_as(folder / f"{number}.dcm", enforce_file_format=True)


@pytest.fixture
def folder(tmp_path):
    """Four volumes, of which c0 is a MetaImage and c1 a DICOM series, each with its mask."""
    root = tmp_path / "mine"
    for number in range(4):
        nifti(root / f"masks/c{number}.nii.gz", mask())
        if number > 1:
            nifti(root / f"images/c{number}.nii.gz", array(number))
    (root / "images").mkdir(exist_ok=True)
    meta_image(root / "images/c0.mhd", array(0))
    dicom(root / "images/c1", array(1))
    (root / "splits.csv").write_text("id,role\nc0,train\nc1,gold\nc2,val\nc3,test\n")
    return root


def test_without_a_fault_they_are_prepared(folder, tmp_path):
    assert done("check", folder, "--json").json["counts"]["error"] == 0
    told = done("prepare", folder, "--out", tmp_path / "set", "--edges", "none", "--json").json
    assert told["volumes"] == {"train": 1, "gold": 1, "val": 1, "test": 1}


def missing_raw(folder):
    (folder / "images/c0.raw").unlink()
    return ("c0.mhd", "needs c0.raw beside it")


def short_raw(folder):
    file = folder / "images/c0.raw"
    file.write_bytes(file.read_bytes()[:-4])
    return ("c0.raw", "must hold 1600 bytes", "got 1596")


def not_a_number(folder):
    voxels = array(2)
    voxels[1, 2, 3] = np.nan
    nifti(folder / "images/c2.nii.gz", voxels)
    return ("c2.nii.gz", "1 of 400 voxels are NaN")


def singular(folder):
    image = nibabel.Nifti1Image(array(2), np.eye(4))
    image.header.set_sform(np.diag([1.0, 0, 2, 1]), 1)
    image.header.set_qform(None, 0)
    nibabel.Nifti1Image(array(2), None, image.header).to_filename(folder / "images/c2.nii.gz")
    return ("c2.nii.gz", "affine")


def other_shape(folder):
    nifti(folder / "masks/c2.nii.gz", np.repeat(mask(), 2, axis=0), np.diag([0.5, 1, 2, 1]))
    return ("masks/c2.nii.gz", "20 x 8 x 5", "10 x 8 x 5", "--resample-labels")


def other_place(folder):
    moved = np.diag([1.0, 1, 2, 1])
    moved[0, 3] = 3
    nifti(folder / "masks/c2.nii.gz", mask(), moved)
    return ("masks/c2.nii.gz", "up to 3 mm apart", "--resample-labels")


def fractions(folder):
    nifti(folder / "masks/c2.nii.gz", mask() * np.float32(0.5))
    return ("masks/c2.nii.gz", "got fractions")


def flat_volume(folder):
    nifti(folder / "images/c2.nii.gz", array(2)[:, :, 0])
    return ("c2.nii.gz", "must hold a volume (X, Y, Z)")


def flat_picture(folder):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "images/c9.png")
    return ("c9.png", "two folders")


def broken_slice(folder):
    (folder / "images/c1/2.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 60)
    return ("2.dcm", "cannot be read")


def short_slice(folder):
    file = folder / "images/c1/2.dcm"
    file.write_bytes(file.read_bytes()[:-30])
    return ("2.dcm", "cannot be read")


def one_slice_less(folder):
    (folder / "images/c1/2.dcm").unlink()
    return ("images/c1", "not evenly spaced")


def stem_twice(folder):
    nifti(folder / "images/c2.nii", array(2))
    return ("c2.nii", "one stem stands for one case")


FAULTS = (
    missing_raw,
    short_raw,
    not_a_number,
    singular,
    other_shape,
    other_place,
    fractions,
    flat_volume,
    flat_picture,
    broken_slice,
    short_slice,
    one_slice_less,
    stem_twice,
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_bad_volume_is_one_sentence(fault, folder, tmp_path):
    says = fault(folder)
    looked = cli("check", folder, "--json")
    assert looked.status == 2
    if looked.out:
        errors = [found for found in looked.json["findings"] if found["severity"] == "error"]
        assert len(errors) == 1, errors
        sentence = errors[0]["sentence"]
    else:  # nothing can be looked at one by one
        sentence = looked.complaint
    for part in says:
        assert part in sentence, sentence
    assert "\n" not in sentence
    words = ("prepare", folder, "--out", tmp_path / "set", "--edges", "none")
    refused(*words, says=says, alone=False)
    assert not (tmp_path / "set").exists()


def test_labels_that_miss_whole_numbers_are_read_and_that_is_said(folder, tmp_path):
    nifti(folder / "masks/c2.nii.gz", mask() * np.float64(0.99999997))
    (note,) = [
        found for found in done("check", folder, "--json").json["findings"] if "converted" in found["code"]
    ]
    told = done("prepare", folder, "--out", tmp_path / "set", "--edges", "none")
    for said in (note["sentence"], told.err):
        assert "masks/c2.nii.gz" in said
        assert "rounded to whole numbers" in said
    prepared = PreparedSet.open(tmp_path / "set")
    assert np.array_equal(prepared.reference(prepared.volumes[2]), mask())


@pytest.mark.parametrize("fault", ["unknown label", "case twice"])
def test_what_contradicts_dataset_json_is_one_sentence(fault, tmp_path):
    for number in range(6):
        nifti(tmp_path / f"task/imagesTr/c{number}.nii.gz", array(number))
        nifti(tmp_path / f"task/labelsTr/c{number}.nii.gz", mask())
    cases = [{"image": f"./imagesTr/c{n}.nii.gz", "label": f"./labelsTr/c{n}.nii.gz"} for n in range(6)]
    if fault == "unknown label":
        nifti(tmp_path / "task/labelsTr/c4.nii.gz", mask() * np.uint8(7))
        says = ("c4.nii.gz", "7, unknown to", "dataset.json", "--remap 7:0")
    else:
        cases.append(cases[3])
        says = ("dataset.json", "two cases are called 'c3'")
    said = {"labels": {"0": "background", "1": "organ"}, "training": cases}
    (tmp_path / "task/dataset.json").write_text(json.dumps(said))
    source = ("msd", "--source", tmp_path / "task")
    looked = cli("check", *source, "--json")
    assert looked.status == 2
    errors = [found for found in looked.json["findings"] if found["severity"] == "error"]
    sentences = [found["sentence"] for found in errors]
    assert any(all(part in sentence for part in says) for sentence in sentences), sentences
    refused("prepare", *source, "--out", tmp_path / "set", "--edges", "none", says=says, alone=False)
    assert not (tmp_path / "set").exists()
