"""DICOM Segmentation objects (SEG) of volumes that are DICOM series, by highdicom."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from metadcseg.audit.exchange.items import Item, Palette
from metadcseg.data.formats.dicom import Series, pydicom
from metadcseg.errors import InputError
from metadcseg.extras import Extra

highdicom: Any = Extra("highdicom", "dicom-seg", "DICOM SEG files")

_TISSUE = ("85756007", "SCT", "Tissue")


class DicomSegWriter:
    """Writes ``NAME.dcm``: a binary segment for each class, on the slices of its series.

    Args:
        out: the folder.
        palette: names and colors of the classes.
    """

    def __init__(self, out: Path, palette: Palette) -> None:
        highdicom.require()
        self._out, self._palette = out, palette
        self._empty: list[str] = []

    def add(self, item: Item) -> None:
        """Write the segments of a volume; none where no class is in it.

        Raises:
            InputError: where its image is no DICOM series.
        """
        if item.image is None or not item.image.is_dir():
            raise InputError(
                f"--to dicom-seg: {item.image or item.name} is no DICOM series: choose --to nifti or slicer"
            )
        frames = np.zeros(item.labels.shape[::-1], np.uint8)
        held = [entry for entry in self._palette.entries if (item.labels == entry[0]).any()]
        if not held:
            self._empty.append(item.name)
            return
        for number, (label, _, _) in enumerate(held, start=1):
            frames[item.labels.transpose(2, 1, 0) == label] = number
        coded = highdicom.sr.CodedConcept(*_TISSUE)
        kind = highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC
        algorithm = highdicom.AlgorithmIdentificationSequence(
            name="metadcseg audit",
            family=highdicom.sr.CodedConcept("123109", "DCM", "Manual Processing"),
            version=version("metadcseg"),
        )
        described = [
            highdicom.seg.SegmentDescription(number, name, coded, coded, kind, algorithm)
            for number, (_, name, _) in enumerate(held, start=1)
        ]
        made = highdicom.seg.Segmentation(
            [pydicom.dcmread(file) for file in Series(item.image).files],
            frames,
            highdicom.seg.SegmentationTypeValues.BINARY,
            described,
            series_instance_uid=highdicom.UID(),
            series_number=300,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="metadcseg",
            manufacturer_model_name="metadcseg",
            software_versions=version("metadcseg"),
            device_serial_number="0",
            series_description="metadcseg audit",
        )
        made.save_as(self._out / f"{item.name}.dcm")

    def close(self) -> dict[str, Any]:
        """Return which volumes have no file, as no class is in them."""
        return {"without a segment": self._empty}
