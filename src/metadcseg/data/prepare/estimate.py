"""How much room a set of volumes needs, from the headers alone, before the work starts."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from metadcseg.data.findings import Finding
from metadcseg.data.prepare.edges import seconds_for
from metadcseg.data.prepare.reading import head_of, require_libraries
from metadcseg.data.slicing.cut import SliceOptions, place
from metadcseg.data.sources.case import Scan
from metadcseg.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """Upper bounds in bytes.

    Args:
        disk: of the set, before compression and crops.
        memory: of preparing, where the largest case is in memory, once for every worker.
        slices: how many slices there are.
        edge_seconds: about how long one core needs for the edges; 0 where none are found.
    """

    disk: int
    memory: int
    slices: int
    edge_seconds: float = 0.0

    def finding(self, out: Path, workers: int = 1) -> Finding:
        """Return the line that says it."""
        sentence = (
            f"{self.slices} slices take at most {_size(self.disk)} on disk (before compression); preparing needs "
            f"about {_size(self.memory)} of memory{f' for each of {workers} workers' if workers > 1 else ''}"
        )
        if self.edge_seconds:
            sentence += (
                f"; edges take about {_duration(self.edge_seconds)} of one core, --edges none leaves them out"
            )
        return Finding("note", "estimate", str(out), sentence)


def estimate(scan: Scan, options: SliceOptions, *, edges: bool) -> Estimate:
    """Return what the volumes of a scan will take; files whose header cannot be read are left out.

    Args:
        scan: the volumes.
        options: how they are cut.
        edges: whether edges are stored, too.

    Raises:
        InputError: where a library that reads them is not installed.
    """
    require_libraries(scan.cases)
    disk = memory = slices = seen = 0
    for raw in scan.cases:
        try:
            grid, channels = head_of(raw)
            placement = place(grid, options)
        except InputError:
            continue  # said by the inspection, with its reason
        voxels = grid.shape[0] * grid.shape[1] * grid.shape[2]
        pixels = placement.slices * placement.height * placement.width
        reference = raw.verified or raw.truth is not None
        kinds = 1 + edges + reference + (raw.label_confidence is not None) + (raw.given is not None)
        kinds += len(raw.outlines.by) if raw.outlines else raw.annotator is not None
        disk += pixels * (2 * channels + kinds) + voxels
        memory = max(memory, voxels * (4 * channels + 16) + pixels * (2 * channels + kinds))
        slices += placement.slices
        seen += pixels
    return Estimate(disk, memory, slices, seconds_for(seen) if edges else 0.0)


def refuse_too_little_room(out: Path, needed: int) -> None:
    """Refuse a disk on which the set does not fit even if nothing can be compressed.

    Raises:
        InputError: saying how much is needed and how much is free.
    """
    folder = next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{out}: the set takes up to {_size(needed)}, {_size(free)} are free: free some space, choose another "
            "--out, or raise --pixel"
        )


def _duration(seconds: float) -> str:
    """Return a time in words.

    Example:
        >>> _duration(0.4), _duration(75), _duration(5400), _duration(86400)
        ('1 s', '75 s', '90 min', '24 h')
    """
    for unit, length, most in (("s", 1, 120), ("min", 60, 120 * 60)):
        if seconds < most:
            return f"{max(1, round(seconds / length))} {unit}"
    return f"{seconds / 3600:.0f} h"


def _size(number: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            return f"{number:.0f} {unit}" if unit in ("bytes", "KiB", "MiB") else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError
