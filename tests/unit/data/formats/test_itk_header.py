"""Headers that SimpleITK would crash on, wait for, or make room for, are refused before it sees them."""

import numpy as np
import pytest

from metadcseg.data.formats.itk_header import check_header
from metadcseg.data.formats.volumes import read_grid, read_volume
from metadcseg.errors import InputError

META = b"""ObjectType = Image
NDims = 3
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 0 0 0
ElementSpacing = 1 1.5 2
DimSize = 2 2 2
ElementType = MET_UCHAR
ElementDataFile = LOCAL
"""
NRRD = b"""NRRD0004
type: unsigned char
dimension: 3
space: left-posterior-superior
sizes: 2 2 2
space directions: (1,0,0) (0,1,0) (0,0,1)
encoding: raw
space origin: (0,0,0)

"""
HOSTILE = [
    ("a.mha", b"NDims = 3", b"NDims = 1e+308", "NDims"),
    ("a.mha", b"NDims = 3", b"NDims = 99999999999999", "NDims"),
    ("a.mha", b"NDims = 3\n", b"", "NDims"),
    ("a.mha", b"DimSize = 2 2 2", b"DimSize = 2 2 -2", "DimSize"),
    ("a.mha", b"DimSize = 2 2 2", b"DimSize = 2 2", "DimSize"),
    ("a.mha", b"1 1.5 2", b"1 nan 2", "ElementSpacing"),
    ("a.mha", b"1 1.5 2", b"1 1.5 2 " + b"7 " * 9999, "ElementSpacing"),
    ("a.mha", b"Offset = 0 0 0", b"Offset = 0 x 0", "Offset"),
    ("a.mha", b"1 0 0 0 1 0 0 0 1", b"1 0 0 0 1 0 0 0 inf", "TransformMatrix"),
    ("a.mha", b"ElementDataFile = LOCAL", b"", "nowhere which file"),
    ("a.mha", b"Offset", b"ElementNumberOfChannels = 1e9\nOffset", "ElementNumberOfChannels"),
    ("a.nrrd", b"dimension: 3", b"dimension: 1e308", "dimension"),
    ("a.nrrd", b"sizes: 2 2 2", b"sizes: 2 2 99999999999999999999", "sizes"),
    ("a.nrrd", b"(1,0,0) (0,1,0) (0,0,1)", b"(1,0,0) (0,1,0) (0,0,1", "space directions"),
    ("a.nrrd", b"(1,0,0) (0,1,0) (0,0,1)", b"(1,0,0) (0,1,0)", "space directions"),
    ("a.nrrd", b"(1,0,0) (0,1,0) (0,0,1)", b"(1,0,0) (0,1) (0,0,1)", "space directions"),
    ("a.nrrd", b"(1,0,0) (0,1,0) (0,0,1)", b"(1,0,0) (0,1,0) (0,0,nan)", "space directions"),
    ("a.nrrd", b"origin: (0,0,0)", b"origin: 0,0,0", "space origin"),
    ("a.nrrd", b"encoding", b"byte skip: (((\nencoding", "byte skip"),
    ("a.nrrd", b"encoding: raw", b"encoding: " + b"9" * 5000, "encoding, which cannot be"),
    ("a.nrrd", b"encoding", b"9" * 5000 + b"\nencoding", "no field of NRRD"),
    ("a.nrrd", b"encoding", b"kinds: domain " + b"9" * 5000 + b" domain\nencoding", "kinds, which cannot be"),
    ("a.nrrd", b"encoding", b"kinds: " + b"domain " * 700 + b"\nencoding", "kinds, which cannot be"),
    ("a.nrrd", b"encoding", b"centers: cell " + b"c" * 33 + b" cell\nencoding", "centers, which cannot be"),
    ("a.mha", b"MET_UCHAR", b"MET_" + b"x" * 5000, "ElementType|too long"),
    ("a.mha", b"Offset", b"Comment = " + b"x" * 5000 + b"\nOffset", "too long"),
]


@pytest.mark.parametrize(("name", "old", "new", "says"), HOSTILE)
def test_a_hostile_header_is_refused_by_its_field(tmp_path, name, old, new, says):
    held = META if name.endswith(".mha") else NRRD
    assert old in held
    (tmp_path / name).write_bytes(held.replace(old, new) + bytes(range(8)))
    with pytest.raises(InputError, match=f"{name}: its header says .*{says}"):
        read_grid(tmp_path / name)


@pytest.mark.parametrize(("name", "held"), [("a.mha", META), ("a.nrrd", NRRD)])
def test_a_header_is_passed_on_and_its_claim_compared_with_the_file(tmp_path, name, held):
    (tmp_path / name).write_bytes(held + bytes(range(8)))
    assert not check_header(tmp_path / name)
    assert read_volume(tmp_path / name).array.sum() == 28
    (tmp_path / name).write_bytes(held.replace(b" 2 2 2", b" 1000 1000 1000") + bytes(range(8)))
    with pytest.raises(InputError, match=r"bytes cannot hold the 1000000000 that its header claims"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.h5"])
def test_other_formats_claim_no_more_than_they_hold_either(tmp_path, name):
    import h5py
    import nibabel

    if name.endswith(".h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("image", (1000, 1000, 1000), "u1", chunks=(10, 10, 10))
    else:
        image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
        image.header["dim"][1:4] = 1000
        import gzip

        (tmp_path / name).write_bytes(gzip.compress(image.header.binaryblock + bytes(12)))
    with pytest.raises(InputError, match="1000000000"):
        read_volume(tmp_path / name)
