"""DICOM series, segmentations and structure sets, written by pydicom and highdicom for tests."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SPACING, GAP = (0.8, 0.7), 2.5
STRAIGHT, OBLIQUE = (1, 0, 0, 0, 1, 0), (0.8, 0.6, 0, -0.6, 0.8, 0)
ORIGIN = (3.0, -4.0, 10.0)


def affine_of(orientation=STRAIGHT, origin=ORIGIN, spacing=SPACING, gap=GAP):
    """Return (column, row, slice, 1) -> mm, in the patient's coordinates of DICOM."""
    right, down = np.array(orientation[:3], float), np.array(orientation[3:], float)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([right * spacing[1], down * spacing[0], np.cross(right, down) * gap], axis=1)
    affine[:3, 3] = origin
    return affine


def _file(kind: str, modality: str) -> Dataset:
    held = Dataset()
    held.file_meta = FileMetaDataset()
    held.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    held.file_meta.MediaStorageSOPClassUID = held.SOPClassUID = kind
    held.file_meta.MediaStorageSOPInstanceUID = held.SOPInstanceUID = generate_uid()
    held.SeriesInstanceUID, held.StudyInstanceUID, held.FrameOfReferenceUID = (
        generate_uid() for _ in range(3)
    )
    held.Modality, held.PatientID, held.PatientName, held.PatientBirthDate, held.PatientSex = (
        modality,
        "1",
        "a^",
        "",
        "",
    )
    held.StudyID, held.AccessionNumber, held.ReferringPhysicianName = "1", "", ""
    held.StudyDate, held.StudyTime, held.SeriesNumber, held.InstanceNumber = "20200101", "000000", 1, 1
    return held


def series(folder: Path, array, orientation=STRAIGHT, origin=ORIGIN):
    """Write (X, Y, Z) int16, one file for each slice; return the headers in the order of the slices."""
    folder.mkdir(parents=True, exist_ok=True)
    first = _file("1.2.840.10008.5.1.4.1.1.4", "MR")
    slices = []
    for z in range(array.shape[2]):
        held = _file("1.2.840.10008.5.1.4.1.1.4", "MR")
        for name in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(held, name, getattr(first, name))
        held.Rows, held.Columns, held.InstanceNumber = array.shape[1], array.shape[0], z + 1
        held.PixelSpacing, held.SliceThickness = list(SPACING), GAP
        held.ImageOrientationPatient = list(orientation)
        held.ImagePositionPatient = (affine_of(orientation, origin) @ (0, 0, z, 1))[:3].round(6).tolist()
        held.SamplesPerPixel, held.PhotometricInterpretation = 1, "MONOCHROME2"
        held.BitsAllocated, held.BitsStored, held.HighBit, held.PixelRepresentation = 16, 16, 15, 1
        held.PixelData = np.ascontiguousarray(array[:, :, z].T).tobytes()
        held.save_as(folder / f"{z:03d}.dcm", enforce_file_format=True)
        slices.append(pydicom.dcmread(folder / f"{z:03d}.dcm"))
    return slices


def segmentation(path: Path, slices, segments, kind="BINARY", top=100):
    """Write a SEG of (X, Y, Z) arrays by name, of the slices that show something."""
    import highdicom as hd

    coded = hd.sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
    described = [
        hd.seg.SegmentDescription(number, name.split("#")[0], coded, coded, "MANUAL")
        for number, name in enumerate(segments, start=1)
    ]
    stacked = np.stack([np.moveaxis(array, (2, 1, 0), (0, 1, 2)) for array in segments.values()], axis=-1)
    stacked = stacked.astype(np.float32 if kind == "FRACTIONAL" else np.uint8)
    if kind == "LABELMAP":
        stacked = (stacked * np.arange(1, len(segments) + 1)).max(axis=-1).astype(np.uint8)
    held = hd.seg.Segmentation(
        slices,
        stacked,
        kind,
        described,
        generate_uid(),
        2,
        generate_uid(),
        1,
        "x",
        "x",
        "1",
        "1",
        max_fractional_value=top,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    held.save_as(path)
    return path


def structures(path: Path, regions):
    """Write an RTSTRUCT: name -> contours, each (kind, points in mm)."""
    held = _file("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT")
    held.StructureSetROISequence, held.ROIContourSequence = Sequence(), Sequence()
    for number, (name, contours) in enumerate(regions.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name.split("#")[0]
        drawn.ReferencedROINumber, drawn.ContourSequence = number, Sequence()
        for kind, points in contours:
            one = Dataset()
            one.ContourGeometricType, one.NumberOfContourPoints = kind, len(points)
            one.ContourData = np.round(np.asarray(points, float), 4).ravel().tolist()
            drawn.ContourSequence.append(one)
        held.StructureSetROISequence.append(roi)
        held.ROIContourSequence.append(drawn)
    path.parent.mkdir(parents=True, exist_ok=True)
    held.save_as(path, enforce_file_format=True)
    return path


def outline(box, z, affine=None):
    """Return a rectangle (first column, first row, last column, last row) around pixels of a slice, in mm."""
    left, top, right, bottom = box[0] - 0.5, box[1] - 0.5, box[2] + 0.5, box[3] + 0.5
    corners = [(left, top, z, 1), (right, top, z, 1), (right, bottom, z, 1), (left, bottom, z, 1)]
    return (np.array(corners) @ (affine_of() if affine is None else affine).T)[:, :3]
