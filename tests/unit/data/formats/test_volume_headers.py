"""What volumes say beside their voxels: units, codes, tilt, segments, and DICOM as archives leave it."""

import locale
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from metadcseg.data.formats import itk
from metadcseg.data.formats.geometry import Grid, as_affine
from metadcseg.data.formats.itk_header import check_header
from metadcseg.data.formats.volumes import (
    is_volume_file,
    read_grid,
    read_label_volume,
    read_volume,
    write_label_volume,
)
from metadcseg.errors import InputError

SHAPE = (6, 5, 4)
ARRAY = np.arange(120, dtype=np.int16).reshape(SHAPE)
AFFINE = np.array([[-0.7, 0, 0, 30.0], [0, 0.8, 0, -12.0], [0, 0, 2.5, 7.0], [0, 0, 0, 1]])


def nifti(path, affine=AFFINE, unit=None, codes=None, array=ARRAY):
    image = nibabel.Nifti1Image(array, affine)
    if unit is not None:
        image.header.set_xyzt_units(unit)
    if codes is not None:
        image = nibabel.Nifti1Image(array, None, image.header)
        image.header["sform_code"], image.header["qform_code"] = codes
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize(("unit", "scale"), [("micron", 1e-3), ("meter", 1e3), ("mm", 1), ("unknown", 1)])
def test_units_of_nifti_become_mm(tmp_path, unit, scale):
    path = nifti(tmp_path / "a.nii.gz", AFFINE / [[1], [1], [1], [1]], unit)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.grid.spacing(), np.array([0.7, 0.8, 2.5]) * scale, rtol=1e-6)
    assert bool(volume.notes) == (scale != 1)
    write_label_volume(tmp_path / "b.nii.gz", np.ones(SHAPE, np.uint8), volume.grid, like=path)
    write_label_volume(tmp_path / "c.nrrd", np.ones(SHAPE, np.uint8), volume.grid, like=path)
    for name in ("b.nii.gz", "c.nrrd"):
        assert read_grid(tmp_path / name)[0].same(volume.grid)


@pytest.mark.parametrize(
    ("line", "scale"),
    [
        ('space units: "um" "um" "um"', 1e-3),
        ('space units: "cm" "cm" "cm"', 10),
        ('space units: "mm" "mm" "mm"', 1),
    ],
)
def test_units_of_nrrd_become_mm(tmp_path, line, scale):
    path = tmp_path / "a.nrrd"
    sitk.WriteImage(sitk.ReadImage(str(nifti(tmp_path / "a.nii"))), str(path))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"encoding:", line.encode() + b"\nencoding:", 1))
    volume = read_volume(path)
    np.testing.assert_allclose(volume.grid.spacing(), np.array([0.7, 0.8, 2.5]) * scale, rtol=1e-6)
    np.testing.assert_allclose(np.array(volume.grid.affine)[:3, 3], AFFINE[:3, 3] * scale, rtol=1e-5)
    write_label_volume(tmp_path / "b.nrrd", np.ones(SHAPE, np.uint8), volume.grid, like=path)
    assert read_grid(tmp_path / "b.nrrd")[0].same(volume.grid)


def test_units_that_differ_are_refused(tmp_path):
    sitk.WriteImage(sitk.ReadImage(str(nifti(tmp_path / "a.nii"))), str(tmp_path / "a.nrrd"))
    data = (tmp_path / "a.nrrd").read_bytes()
    line = b'space units: "um" "um" "mm"\nencoding:'
    (tmp_path / "a.nrrd").write_bytes(data.replace(b"encoding:", line, 1))
    with pytest.raises(InputError, match="different units"):
        read_grid(tmp_path / "a.nrrd")


@pytest.mark.parametrize("elsewhere", [np.eye(4), np.diag([-0.7, -0.8, 2.5, 1]), AFFINE])
def test_a_header_without_codes_does_not_say_where_it_lies(tmp_path, elsewhere):
    path = nifti(tmp_path / "a.nii", codes=(0, 0))
    volume = read_volume(path)
    assert "does not say where it lies" in volume.notes[0]
    np.testing.assert_allclose(volume.grid.spacing(), (0.7, 0.8, 2.5), rtol=1e-6)
    other = read_grid(nifti(tmp_path / "b.nii", elsewhere))[0]
    assert volume.grid.same(other)
    assert other.same(volume.grid)
    assert not other.same(Grid(SHAPE, as_affine(AFFINE + np.eye(4)[:, [3, 0, 1, 2]] * 3)))


@pytest.mark.parametrize("degrees", [5.0, -12.0, 20.0])
def test_a_tilted_gantry_is_said_and_written_without_a_qform(tmp_path, degrees):
    tilted = AFFINE.copy()
    tilted[1, 2] = 2.5 * np.tan(np.radians(degrees))
    volume = read_volume(nifti(tmp_path / "a.nii", tilted))
    assert f"miss right angles by {abs(degrees):.2g} degrees" in volume.notes[0]
    write_label_volume(tmp_path / "b.nii", np.ones(SHAPE, np.uint8), volume.grid)
    header = nibabel.load(tmp_path / "b.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    assert read_grid(tmp_path / "b.nii")[0].same(volume.grid)
    assert not read_volume(nifti(tmp_path / "c.nii")).notes


@pytest.mark.parametrize(("shift", "same"), [(0.003, True), (0.06, True), (0.2, False), (0.7, False)])
def test_places_are_compared_in_fractions_of_a_voxel(tmp_path, shift, same):
    moved = AFFINE.copy()
    moved[0, 3] += shift
    one, other = read_grid(nifti(tmp_path / "a.nii"))[0], read_grid(nifti(tmp_path / "b.nii", moved))[0]
    assert one.same(other) is same
    if not same:
        with pytest.raises(InputError, match=rf"b\.nii and .*a\.nii lie .* {shift / 0.7:.2g} voxels"):
            read_volume([tmp_path / "a.nii", tmp_path / "b.nii"])


def test_sform_and_qform_that_differ_are_said(tmp_path):
    for shift, said in ((0.003, False), (1.5, True), (40.0, True)):
        image = nibabel.Nifti1Image(ARRAY, AFFINE)
        moved = AFFINE.copy()
        moved[1, 3] += shift
        image.set_sform(AFFINE, 1)
        image.set_qform(moved, 1)
        nibabel.save(image, tmp_path / "a.nii")
        notes = read_volume(tmp_path / "a.nii").notes
        assert any(f"sform and qform lie {shift:.3g} mm apart" in note for note in notes) is said


def slicer(path, array, segments, layers=False):
    """Write (X, Y, Z), or (layers, X, Y, Z), with the header fields of 3D Slicer; ``segments``: name, value, layer."""
    lines = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {array.ndim}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, array.shape))}",
        f"space directions: {'none ' if layers else ''}(1,0,0) (0,1,0) (0,0,2)",
        f"kinds: {'list ' if layers else ''}domain domain domain",
        "encoding: raw",
        "space origin: (0,0,0)",
    ]
    for number, (name, value, layer) in enumerate(segments):
        lines += [f"Segment{number}_Name:={name}", f"Segment{number}_LabelValue:={value}"]
        lines += [f"Segment{number}_Layer:={layer}"]
    path.write_bytes(("\n".join(lines) + "\n\n").encode() + array.tobytes(order="F"))
    return path


def test_segments_have_names(tmp_path):
    array = (ARRAY % 3).astype(np.uint8)
    for names in (("liver", "tumor"), ("Leber", "Gefäß"), ("a b", "c: d")):
        segments = [(name, value, 0) for value, name in enumerate(names, start=1)]
        volume = read_label_volume(slicer(tmp_path / "a.seg.nrrd", array, segments))
        assert volume.names == dict(enumerate(names, start=1))
        assert np.array_equal(volume.array, array)


def test_layers_become_class_numbers_and_overlap_is_counted(tmp_path):
    organ = np.zeros(SHAPE, np.uint8)
    organ[1:5] = 1
    lesion = np.zeros(SHAPE, np.uint8)
    for start, overlap in ((2, 40), (4, 20), (5, 0)):
        lesion[:] = 0
        lesion[start : start + 2] = 1
        path = tmp_path / "a.nrrd"
        slicer(path, np.stack([organ, lesion]), [("liver", 1, 0), ("tumor", 1, 1)], layers=True)
        volume = read_label_volume(path)
        assert np.array_equal(volume.array, np.where(lesion, 2, organ))
        assert f"{overlap} voxels lie in two of its segments (1 liver, 2 tumor)" in volume.notes[0]


def test_a_segment_inside_of_a_later_one_is_kept(tmp_path):
    organ, lesion = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    organ[1:5], lesion[2] = 1, 1
    slicer(tmp_path / "a.nrrd", np.stack([lesion, organ]), [("tumor", 1, 0), ("liver", 1, 1)], layers=True)
    assert np.array_equal(read_label_volume(tmp_path / "a.nrrd").array, np.where(lesion, 1, 2 * organ))


@pytest.mark.parametrize("layer", [b"7", b"", "²".encode(), b"9" * 5000])
def test_a_layer_that_is_not_there_is_one_sentence(tmp_path, layer):
    drawn = np.zeros((2, *SHAPE), np.uint8)
    drawn[:, 1:3] = 1
    path = tmp_path / "a.nrrd"
    slicer(path, drawn, [("liver", 1, 0), ("tumor", 1, 1)], layers=True)
    held = path.read_bytes()
    assert b"Segment1_Layer:=1" in held
    path.write_bytes(held.replace(b"Segment1_Layer:=1", b"Segment1_Layer:=" + layer))
    with pytest.raises(InputError):
        read_label_volume(path)


def series(folder: Path, array=ARRAY, z=None, change=None, **how):
    """Write one DICOM file a slice; ``change(dataset, number)`` may alter each."""
    folder.mkdir(parents=True)
    for number in range(array.shape[2]):
        data = pydicom.Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.3.{number + 1}"
        data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = "1.2.3", "1.2", "CT"
        data.InstanceNumber, data.Rows, data.Columns = number + 1, array.shape[1], array.shape[0]
        data.PixelSpacing, data.SliceThickness = [0.8, 0.7], 1.25
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [0, 0, 1.25 * number if z is None else z[number]]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.PixelData = np.ascontiguousarray(array[:, :, number].T.astype(np.uint16)).tobytes()
        if change:
            change(data, number)
        data.save_as(folder / f"IM{number:03d}.dcm", **({"enforce_file_format": True} | how))
    return folder


@pytest.mark.parametrize(("step", "digits"), [(1.25, 1), (0.625, 1), (3.3333, 1), (2.4, 0)])
def test_rounded_positions_are_even(tmp_path, step, digits):
    z = [round(-30 + step * number, digits) for number in range(12)]
    array = np.zeros((4, 4, 12), np.int16)
    if (step, digits) == (2.4, 0):  # 2, 3, 2: rounding and a missing slice cannot be told apart
        with pytest.raises(InputError, match=r"between IM\d+\.dcm and IM\d+\.dcm lie .* mm"):
            read_volume(series(tmp_path / "a", array, z))
        return
    volume = read_volume(series(tmp_path / "a", array, z))
    assert abs(volume.grid.spacing()[2] - step) < 0.01
    assert "off even spacing (rounded)" in volume.notes[0]


@pytest.mark.parametrize("missing", [1, 5, 10])
def test_a_missing_slice_names_its_neighbors(tmp_path, missing):
    z = [1.25 * number for number in range(12) if number != missing]
    with pytest.raises(
        InputError, match=rf"between IM{missing - 1:03d}\.dcm and IM{missing:03d}\.dcm lie 2\.5 mm"
    ):
        read_grid(series(tmp_path / "a", np.zeros((4, 4, 11), np.int16), z))


@pytest.mark.parametrize(
    "names", [("RescaleSlope", "RescaleIntercept"), ("NumberOfFrames",), ("SliceThickness",)]
)
def test_empty_tags_are_absent(tmp_path, names):
    def empty(data, number):
        for name in names:
            setattr(data, name, None)

    volume = read_volume(series(tmp_path / "a", change=empty))
    assert np.array_equal(volume.array[..., 0], ARRAY - (0 if "RescaleSlope" in names else 1024))


@pytest.mark.parametrize("name", ["PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"])
def test_an_empty_tag_that_is_needed_is_named(tmp_path, name):
    with pytest.raises(InputError, match=rf"IM000\.dcm does not say its {name}"):
        read_grid(series(tmp_path / "a", change=lambda data, number: setattr(data, name, None)))


def test_other_files_are_passed_over_and_said(tmp_path):
    folder = series(tmp_path / "a")
    for number, name in enumerate(("readme.txt", "Thumbs.db", "report.pdf"), start=1):
        (folder / name).write_bytes(b"no slice" * 40)
        volume = read_volume(folder)
        assert f"{number} file{'s' if number > 1 else ''} that are no DICOM slices" in volume.notes[0]
        assert volume.array.shape == (*SHAPE, 1)


def test_a_series_lies_where_people_leave_it(tmp_path):
    plain = read_volume(series(tmp_path / "plain")).array
    series(tmp_path / "nested/study/series")
    assert is_volume_file(tmp_path / "nested")
    assert np.array_equal(read_volume(tmp_path / "nested").array, plain)
    one = series(tmp_path / "one", ARRAY[:, :, :1]) / "IM000.dcm"
    assert is_volume_file(one)
    assert np.array_equal(read_volume(one).array, plain[:, :, :1])


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble(tmp_path, implicit):
    plain = read_volume(series(tmp_path / "plain")).array

    def bare(data, number):
        del data.file_meta

    how = {"enforce_file_format": False, "implicit_vr": implicit, "little_endian": True}
    folder = series(tmp_path / "bare", change=bare, **how)
    for number, file in enumerate(sorted(folder.iterdir())):
        assert file.read_bytes()[128:132] != b"DICM"
        file.rename(folder / f"slice{number}")
    assert is_volume_file(folder)
    assert np.array_equal(read_volume(folder).array, plain)


@pytest.mark.parametrize(("signed", "lowest"), [(0, 0), (1, -2048)])
def test_monochrome1_is_turned(tmp_path, signed, lowest):
    def inverted(data, number):
        data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME1", signed
        data.RescaleSlope, data.RescaleIntercept = 2, 10

    volume = read_volume(series(tmp_path / "a", change=inverted))
    top = lowest + 4095
    assert np.array_equal(volume.array[..., 0], (lowest + top - ARRAY) * 2.0 + 10)
    assert "MONOCHROME1" in volume.notes[0]


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000", "RLE"])
def test_compressed_slices(tmp_path, compressor):
    array = np.random.default_rng(3).integers(0, 4096, (48, 40, 3)).astype(np.int16)
    plain = read_volume(series(tmp_path / "plain", array)).array
    (tmp_path / "packed").mkdir()
    held = locale.setlocale(locale.LC_ALL)
    for file in sorted((tmp_path / "plain").iterdir()):
        packed = tmp_path / "packed" / file.name
        if compressor == "RLE":
            data = pydicom.dcmread(file)
            data.compress(RLELossless)
            data.save_as(packed)
            continue
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
        writer.SetFileName(str(packed))
        writer.Execute(sitk.ReadImage(str(file)))
        locale.setlocale(locale.LC_ALL, held)  # its codecs change it
    header = pydicom.dcmread(tmp_path / "packed/IM000.dcm")
    assert header.file_meta.TransferSyntaxUID.is_compressed
    assert np.array_equal(read_volume(tmp_path / "packed").array, plain)
    assert locale.setlocale(locale.LC_ALL) == held


def test_a_header_is_looked_at_once_in_a_load(tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(itk, "check_header", lambda path: looked.append(path.name) or check_header(path))
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY.transpose(2, 1, 0)), str(tmp_path / "a.mhd"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.mhd").array[..., 0], ARRAY)
    np.testing.assert_array_equal(read_label_volume(tmp_path / "a.mhd").array, ARRAY)
    assert looked == ["a.mhd", "a.mhd"]


@pytest.mark.parametrize("value", ["1e+308", "-1e308", "1e30", "inf"])
def test_a_number_over_which_simpleitk_never_ends_is_refused(tmp_path, value):
    lines = (
        "NDims = 3",
        "DimSize = 2 2 2",
        "ElementType = MET_UCHAR",
        f"TransformMatrix = 1 0 0 {value} 1 0 0 0 1",
    )
    path = tmp_path / "v.mha"
    path.write_bytes(
        "\n".join(("ObjectType = Image", *lines, "ElementDataFile = LOCAL\n")).encode() + bytes(8)
    )
    with pytest.raises(InputError, match="TransformMatrix, which must be a number below 1e30 for each axis"):
        check_header(path)


def test_control_characters_of_a_header_are_escaped(tmp_path):
    path = tmp_path / "v.mha"
    path.write_bytes(b"ObjectType = Image\nNDims = \x033\x85\x0c\nElementDataFile = LOCAL\n")
    with pytest.raises(InputError) as told:
        check_header(path)
    assert str(told.value).isprintable()
