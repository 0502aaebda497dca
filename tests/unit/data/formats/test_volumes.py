"""Volumes in every format: the same voxels at the same place in the world, and a sentence for every bad file."""

import gzip
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from metadcseg.data.formats import dicom
from metadcseg.data.formats.geometry import Grid, as_affine
from metadcseg.data.formats.volumes import (
    output_suffix,
    read_grid,
    read_label_volume,
    read_volume,
    stem_of,
    write_label_volume,
)
from metadcseg.errors import InputError

SHARED = Path(__file__).resolve().parents[4] / "../shared/data"
SHAPE = (6, 5, 4)
ARRAY = np.arange(120, dtype=np.int16).reshape(SHAPE)


def oblique(angles=(20.0, -10.0, 35.0), spacing=(0.7, 0.8, 2.5), origin=(-12.5, 40.0, 7.25), flips=(1, 1, 1)):
    affine = np.eye(4)
    turned = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine[:3, :3] = turned @ np.diag(np.array(spacing) * np.array(flips))
    affine[:3, 3] = origin
    return affine


def nifti(path: Path, array=ARRAY, affine=None, **header):
    image = nibabel.Nifti1Image(array, oblique() if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def itk(path: Path, array=ARRAY, affine=None, compressed=False):
    """The same image as :func:`nifti` makes, written by SimpleITK from SimpleITK's own reading of NIfTI."""
    source = nifti(path.with_name("source.nii"), array, affine)
    sitk.WriteImage(sitk.ReadImage(str(source)), str(path), useCompression=compressed)
    source.unlink()
    return path


def series(folder: Path, array=ARRAY):
    folder.mkdir()
    uid = generate_uid()
    for z in range(array.shape[2]):
        slice_ = pydicom.Dataset()
        slice_.file_meta = FileMetaDataset()
        slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_.file_meta.MediaStorageSOPClassUID = slice_.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID = generate_uid()
        slice_.SeriesInstanceUID, slice_.StudyInstanceUID = uid, uid
        slice_.Modality, slice_.InstanceNumber = "MR", array.shape[2] - z
        slice_.Rows, slice_.Columns = array.shape[1], array.shape[0]
        slice_.PixelSpacing, slice_.SliceThickness = [0.8, 0.7], 2.5
        slice_.ImageOrientationPatient = [0.8, 0.6, 0, -0.6, 0.8, 0]
        slice_.ImagePositionPatient = [3.0, -4.0, 10 + 2.5 * z]
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 16, 15, 1
        slice_.RescaleSlope, slice_.RescaleIntercept = 2, -5
        slice_.PixelData = np.ascontiguousarray(array[:, :, z].T).tobytes()
        slice_.save_as(folder / f"{array.shape[2] - z}.dcm", enforce_file_format=True)
    return folder


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.mhd", "a.nrrd", "a.nhdr"])
@pytest.mark.parametrize("compressed", [False, True])
def test_every_format_gives_the_same_voxels_in_the_same_place(name, compressed, tmp_path):
    path = tmp_path / name
    (nifti(path) if ".nii" in name else itk(path, compressed=compressed))
    volume = read_volume(path)
    assert np.array_equal(volume.array[..., 0], ARRAY)
    assert volume.array.dtype == np.int16
    np.testing.assert_allclose(volume.grid.affine, oblique(), atol=2e-6)
    assert read_grid(path) == (volume.grid, 1)


def test_a_dicom_series_lies_where_simpleitk_says(tmp_path):
    folder = series(tmp_path / "series")
    volume = read_volume(folder)
    assert np.array_equal(volume.array[..., 0], ARRAY * 2.0 - 5)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    assert np.array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), volume.array[..., 0])
    for index in ((0, 0, 0), (5, 0, 0), (0, 4, 0), (2, 3, 3)):
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose((np.array(volume.grid.affine) @ (*index, 1))[:3], (-x, -y, z), atol=1e-5)


def test_hdf5_has_keys_and_no_place(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"], file["label"] = ARRAY.astype(np.float64), (ARRAY > 50).astype(np.uint8)
    volume = read_volume(tmp_path / "a.h5")
    assert volume.array.dtype == np.float32
    assert not volume.grid.known
    assert np.array_equal(read_label_volume(tmp_path / "a.h5").array, ARRAY > 50)
    with pytest.raises(InputError, match="did you mean 'image'"):
        read_volume(tmp_path / "a.h5", key="imge")


def test_channels_come_from_a_fourth_axis_or_from_files(tmp_path):
    four = nifti(tmp_path / "four.nii.gz", np.stack([ARRAY, ARRAY + 1], axis=3))
    files = [nifti(tmp_path / f"{n}.nii", ARRAY + n) for n in range(2)]
    assert read_grid(four)[1] == 2
    assert np.array_equal(read_volume(four).array, read_volume(files).array)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 6)] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    flips=st.tuples(*[st.sampled_from([1, -1])] * 3),
    end=st.sampled_from([".nii.gz", ".mha", ".nrrd"]),
)
def test_labels_lie_over_their_image(angles, spacing, origin, flips, end, tmp_path):
    affine = oblique(angles, spacing, origin, flips)
    image = nifti(tmp_path / "image.nii.gz", affine=affine) if end == ".nii.gz" else None
    if image is None:
        image = tmp_path / f"image{end}"
        itk(image, affine=affine)
    grid = read_grid(image)[0]
    written = tmp_path / f"mask{end}"
    labels = (ARRAY % 3).astype(np.uint8)
    write_label_volume(written, labels, grid, like=image)
    again = read_label_volume(written)
    assert np.array_equal(again.array, labels)
    np.testing.assert_allclose(again.grid.affine, grid.affine, rtol=0, atol=1e-6)
    ours, theirs = sitk.ReadImage(str(written)), sitk.ReadImage(str(image))
    for index in ((0, 0, 0), (5, 4, 3)):
        point = theirs.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(ours.TransformIndexToPhysicalPoint(index), point, rtol=0, atol=1e-6)


def test_codes_and_units_of_the_image_are_kept(tmp_path):
    image = nibabel.Nifti1Image(ARRAY, oblique())
    image.set_sform(image.affine, 2)
    image.set_qform(image.affine, 1)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / "a.nii.gz")
    grid = read_grid(tmp_path / "a.nii.gz")[0]
    write_label_volume(tmp_path / "b.nii.gz", np.zeros(SHAPE, np.uint8), grid, like=tmp_path / "a.nii.gz")
    header = nibabel.load(tmp_path / "b.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (2, 1)
    assert header.get_xyzt_units() == ("mm", "sec")
    assert header.get_data_dtype() == np.uint8


def test_labels_without_a_model_are_where_the_grid_says(tmp_path):
    grid = Grid(SHAPE, as_affine(oblique()))
    for end in (".nii.gz", ".mha", ".nrrd"):
        write_label_volume(tmp_path / f"a{end}", np.ones(SHAPE, np.uint8), grid)
        np.testing.assert_allclose(read_grid(tmp_path / f"a{end}")[0].affine, grid.affine, atol=2e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mha", "a.nii.gz", "a.nrrd"]


def test_labels_near_whole_numbers_are_rounded_and_that_is_said(tmp_path):
    stored = (ARRAY > 50) * np.float64(0.99999997)
    volume = read_label_volume(nifti(tmp_path / "a.nii", stored))
    assert np.array_equal(volume.array, ARRAY > 50)
    assert "rounded to whole numbers" in volume.notes[0]
    assert read_label_volume(nifti(tmp_path / "b.nii", (ARRAY > 50).astype(np.float32))).notes == ()


def bad(path, how):
    """Write one bad file and return what is read."""
    if how == "missing raw":
        itk(path / "a.mhd")
        (path / "a.raw").unlink()
        return path / "a.mhd"
    if how == "short raw":
        itk(path / "a.mhd")
        (path / "a.raw").write_bytes((path / "a.raw").read_bytes()[:-7])
        return path / "a.mhd"
    if how == "short zraw":
        itk(path / "a.mhd", compressed=True)
        (path / "a.zraw").write_bytes((path / "a.zraw").read_bytes()[:-40])
        return path / "a.mhd"
    if how == "leaves the folder":
        itk(path / "a.mhd")
        text = (
            (path / "a.mhd")
            .read_text()
            .replace("ElementDataFile = a.raw", "ElementDataFile = ../../etc/a.raw")
        )
        (path / "a.mhd").write_text(text)
        return path / "a.mhd"
    if how == "leaves the folder by a colon":
        itk(path / "a.mhd")
        text = (path / "a.mhd").read_text()
        (path / "a.mhd").write_text(text.replace("ElementDataFile = a.raw", "ElementDataFile : ../a.raw"))
        return path / "a.mhd"
    if how.startswith("names two"):
        itk(path / f"a.{how[-4:]}".replace(" ", ""))
        (header,) = [*path.glob("*.mhd"), *path.glob("*.nhdr")]
        more = {"mhd": "elementdatafile = a.raw\n", "nhdr": "ElementDataFile:=x\n"}[header.suffix[1:]]
        first, _, rest = header.read_text("latin-1").partition("\n")
        header.write_text(f"{first}\n{more}{rest}", "latin-1")
        return header
    if how == "long header":
        lines = [
            "NRRD0004",
            f"# {'x' * 70_000}",
            "type: uchar",
            "dimension: 3",
            "sizes: 4 5 6",
            "encoding: raw",
        ]
        (path / "a.nhdr").write_text("\n".join([*lines, "data file: ../secret.raw", ""]))
        return path / "a.nhdr"
    if how == "nan":
        return nifti(path / "a.nii", np.where(ARRAY == 7, np.nan, ARRAY))
    if how == "singular":
        nifti(path / "a.nii")
        data = bytearray((path / "a.nii").read_bytes())
        data[280:296] = bytes(16)  # the first row of the sform
        (path / "a.nii").write_bytes(bytes(data))
        return path / "a.nii"
    if how == "two dimensions":
        return nifti(path / "a.nii", ARRAY[:, :, 0])
    if how == "cut gzip":
        nifti(path / "a.nii.gz", np.random.default_rng(0).integers(0, 9999, (40, 40, 40)).astype(np.int16))
        (path / "a.nii.gz").write_bytes((path / "a.nii.gz").read_bytes()[:-3000])
        return path / "a.nii.gz"
    if how == "not nifti":
        (path / "a.nii.gz").write_bytes(gzip.compress(b"no header" * 99))
        return path / "a.nii.gz"
    if how == "huge":
        nifti(path / "a.nii")
        data = bytearray((path / "a.nii").read_bytes())
        data[42:48] = np.array([30000, 30000, 30000], np.int16).tobytes()
        (path / "a.nii").write_bytes(bytes(data))
        return path / "a.nii"
    if how == "link out of hdf5":
        with h5py.File(path / "a.h5", "w") as file:
            file["image"] = h5py.ExternalLink("/etc/other.h5", "image")
        return path / "a.h5"
    assert how == "png"
    (path / "a.png").write_bytes(b"")
    return path / "a.png"


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("missing raw", r"a\.mhd needs a\.raw beside it"),
        ("short raw", r"a\.raw must hold 240 bytes of voxels for a\.mhd, got 233"),
        ("short zraw", r"a\.zraw must hold 240 bytes"),
        ("leaves the folder", r"a\.mhd names '\.\./\.\./etc/a\.raw' .* one file beside it"),
        ("leaves the folder by a colon", r"a\.mhd names '\.\./a\.raw' .* one file beside it"),
        ("long header", r"a\.nhdr must name one file for its voxels in its first 64 KiB, got 0"),
        ("names two, mhd", r"a\.mhd must name one file for its voxels .*, got 2"),
        ("names two, nhdr", r"a\.nhdr must name one file for its voxels .*, got 2"),
        ("nan", r"a\.nii: 1 of 120 voxels are NaN"),
        ("singular", r"a\.nii: the affine of a volume must be"),
        ("two dimensions", r"a\.nii must hold a volume \(X, Y, Z\)"),
        ("cut gzip", r"a\.nii\.gz is damaged"),
        ("not nifti", r"a\.nii\.gz is damaged or of another format"),
        ("huge", r"a\.nii: a volume holds .* its header says"),
        ("link out of hdf5", r"a\.h5: 'image' must be an array inside this file"),
        ("png", r"a\.png is no volume"),
    ],
)
def test_a_bad_file_is_named_in_one_sentence(how, sentence, tmp_path):
    path = bad(tmp_path, how)
    with pytest.raises(InputError, match=sentence) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


def test_bad_series_name_the_slice(tmp_path):
    folder = series(tmp_path / "series")
    (folder / "2.dcm").write_bytes((folder / "2.dcm").read_bytes()[:-40])
    with pytest.raises(InputError, match=r"2\.dcm: this slice cannot be read"):
        read_volume(folder)
    (folder / "2.dcm").write_bytes(b"no slice")
    with pytest.raises(InputError, match=r"2\.dcm: this slice cannot be read"):
        read_grid(folder)
    (folder / "2.dcm").unlink()
    with pytest.raises(InputError, match="not evenly spaced"):
        read_grid(folder)


def test_channels_and_labels_on_other_grids_name_both(tmp_path):
    one, other = nifti(tmp_path / "one.nii"), nifti(tmp_path / "other.nii", ARRAY[:4])
    with pytest.raises(InputError, match=r"other\.nii is 4 x 5 x 4 and .*one\.nii is 6 x 5 x 4"):
        read_volume([one, other])
    moved = nifti(tmp_path / "moved.nii", affine=oblique(origin=(0, 0, 0)))
    with pytest.raises(InputError, match=r"moved\.nii and .*one\.nii lie at different places"):
        read_volume([one, moved])


def test_labels_that_are_none(tmp_path):
    with pytest.raises(InputError, match="got fractions"):
        read_label_volume(nifti(tmp_path / "a.nii", ARRAY * 0.3))
    with pytest.raises(InputError, match="holds 2 channels"):
        read_label_volume(nifti(tmp_path / "b.nii", np.stack([ARRAY, ARRAY], axis=3)))


def test_names(tmp_path):
    assert stem_of(Path("x/b.c.NII.GZ")) == "b.c"
    assert output_suffix(Path("a.mhd")) == ".mha"
    with pytest.raises(InputError, match="choose another name"):
        write_label_volume(tmp_path / "a.png", np.zeros(SHAPE, np.uint8), Grid(SHAPE, as_affine(np.eye(4))))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_real_volumes():
    grid, channels = read_grid(SHARED / "msd-heart/imagesTr/la_005.nii.gz")
    assert (grid.shape, channels) == ((256, 256, 120), 1)
    label = read_label_volume(SHARED / "msd-heart/labelsTr/la_005.nii.gz")
    assert label.grid.same(grid)
    assert set(np.unique(label.array)) == {0, 1}
    tumour = read_label_volume(SHARED / "brats2015-deepmedic/train/brats_2013_pat0005_1/OTMultiClass.nii.gz")
    assert set(np.unique(tumour.array)) <= {0, 1, 2, 3, 4}
    mask = read_label_volume(SHARED / "brats2015-deepmedic/train/brats_2013_pat0005_1/brainmask.nii.gz")
    assert set(np.unique(mask.array)) == {0, 1}
    assert mask.notes


@pytest.mark.parametrize("read", [read_volume, read_label_volume])
def test_the_headers_of_a_series_are_read_once(tmp_path, monkeypatch, read):
    folder = series(tmp_path / "series")
    (folder / "notes.txt").write_text("x")
    seen = []
    whole = dicom._read_header
    monkeypatch.setattr(dicom, "_read_header", lambda file: (seen.append(file), whole(file))[1])
    held = read(folder)
    assert sorted(seen) == sorted(folder.glob("*.dcm"))
    assert "no DICOM slices" in held.notes[0]


@pytest.mark.parametrize("end", [".nii", ".nii.gz", ".mha", ".nrrd"])
def test_a_place_that_is_not_known_is_not_written(end, tmp_path):
    image = nibabel.Nifti1Image(ARRAY, None)
    image.header.set_zooms((0.7, 0.8, 2.5))
    nibabel.save(nibabel.Nifti1Image(ARRAY, None, image.header), tmp_path / "image.nii")
    grid = read_grid(tmp_path / "image.nii")[0]
    assert not grid.placed
    path = tmp_path / f"a{end}"
    write_label_volume(path, (ARRAY > 50).astype(np.uint8), grid)
    found = read_label_volume(path).grid
    assert found.spacing() == pytest.approx(grid.spacing())
    assert found.bare if end in (".mha", ".nrrd") else not found.placed
    assert found.same(grid)


@pytest.mark.parametrize("end", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint16, np.int32, np.int64])
def test_labels_keep_their_integers(end, kind, tmp_path):
    limits = np.iinfo(kind)
    labels = np.zeros(SHAPE, kind)
    labels[0], labels[1] = max(limits.min, -1024), min(limits.max, 70_000)
    for like in (None, nifti(tmp_path / "image.nii.gz")):
        write_label_volume(tmp_path / f"a{end}", labels, Grid(SHAPE, as_affine(oblique())), like)
        found = read_label_volume(tmp_path / f"a{end}").array
        assert found.dtype == kind
        assert np.array_equal(found, labels)


def test_capitals_in_the_name_of_the_image_change_nothing_of_what_is_taken_from_it(tmp_path):
    codes = []
    for name in ("a.nii.gz", "B.NII.GZ"):
        image = nifti(tmp_path / name, qform_code=0, sform_code=4)
        out = tmp_path / f"labels-{name.lower()}"
        write_label_volume(out, (ARRAY > 50).astype(np.uint8), read_grid(image)[0], image)
        header = nibabel.load(out).header
        codes.append((int(header["qform_code"]), int(header["sform_code"])))
    assert codes == [(0, 4), (0, 4)]


def test_a_volume_may_be_as_small_as_it_is_but_not_flat():
    for side in (1e-8, 4e-6, 1.0, 1e5):
        axes = np.diag([side, side, 10 * side, 1.0])
        assert Grid(SHAPE, as_affine(axes)).spacing() == pytest.approx((side, side, 10 * side))
        axes[:3, 2] = axes[:3, 0] + axes[:3, 1]
        with pytest.raises(InputError, match="invertible"):
            Grid(SHAPE, as_affine(axes))
