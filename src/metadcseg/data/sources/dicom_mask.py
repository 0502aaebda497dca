"""Masks in DICOM files: segments (SEG), contours (RTSTRUCT), or a series of label slices; which, the files tell."""

from dataclasses import dataclass, replace
from pathlib import Path

from metadcseg.data.findings import listed, plural
from metadcseg.data.formats import dicom, dicom_seg, rtstruct
from metadcseg.data.formats.geometry import Grid, Volume
from metadcseg.data.formats.volumes import read_label_volume, said
from metadcseg.errors import InputError


@dataclass(frozen=True)
class DicomMask:
    """The mask of one volume.

    Args:
        path: a file, or a folder of them.
    """

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """Where it is read from."""
        return (self.path,)

    def read(self, image: Grid) -> Volume:
        """Return the mask: segments and contours on the grid of the image, slices on their own.

        Raises:
            InputError: naming the file that cannot be read, or where the image does not say where it lies.
        """
        kinds = said(self.path, lambda: dicom.kinds(self.path))
        segments = [file for file, kind in kinds.items() if kind in dicom_seg.CLASSES]
        structures = [file for file, kind in kinds.items() if kind == rtstruct.CLASS]
        chosen = segments + structures
        if not chosen:
            return read_label_volume(self.path)
        if not image.is_placed:
            raise InputError(
                f"{self.path} lies in the world of its image, whose header does not say where that is: use the DICOM "
                "series or a NIfTI file with its place"
            )
        if structures and len(chosen) > 1:
            raise InputError(
                f"{self.path} holds {listed((file.name for file in chosen), 4)}, and which of them is the mask is "
                "open: keep one structure set, or segments alone"
            )
        if structures:
            mask = said(structures[0], lambda: rtstruct.read_structures(structures[0], image))
        else:
            mask = said(self.path, lambda: dicom_seg.read_segments(self.path, segments, image))
        others = len(kinds) - len(chosen)
        if others:
            note = f"{self.path}: {plural(others, 'file')} beside its segments or contours are passed over"
            mask = replace(mask, notes=(*mask.notes, note))
        return mask


def composed(mask: Path) -> Path | DicomMask:
    """Return a mask of a volume as what reads it: a folder, or a file that is called so, may be of any kind of DICOM.

    Example:
        >>> composed(Path("a.nii.gz")).name, composed(Path("a.dcm")).path.name
        ('a.nii.gz', 'a.dcm')
    """
    return DicomMask(mask) if mask.is_dir() or mask.name.lower().endswith(dicom.SUFFIX) else mask
