"""Where data sets are to be had, and how they get here.

Addresses and checksums were looked up in other people's code, as there was no network where this was written: those of
the Decathlon in MONAI 1.6 (``monai.apps.DecathlonDataset``), those of PROMISE12 and Kvasir-SEG in torch-em
(``torch_em.data.datasets.medical``). ACDC can be had with a login only.
"""

from pathlib import Path

from metadcseg.data.download.transfer import Archive, Patience, Progress, download
from metadcseg.data.download.unpack import unpack
from metadcseg.errors import InputError, unknown_name
from metadcseg.files import write_bytes

_DECATHLON = "https://msd-for-monai.s3-us-west-2.amazonaws.com"

ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "kvasir-seg": (
        Archive(
            "https://datasets.simula.no/downloads/kvasir-seg.zip",
            "kvasir-seg.zip",
            "sha256:03b30e21d584e04facf49397a2576738fd626815771afbbf788f74a7153478f7",
            "about 46 MB",
        ),
    ),
    "promise12": (
        Archive(
            "https://zenodo.org/records/8026660/files/training_data.zip?download=1",
            "training_data.zip",
            "sha256:150287d0c74cd0105d8b70b43af4a7bf4f1fd3e1748829779177a0ccaf948f45",
            "about 324 MB",
        ),
    ),
    "msd-heart": (
        Archive(
            f"{_DECATHLON}/Task02_Heart.tar",
            "Task02_Heart.tar",
            "md5:06ee59366e1e5124267b774dbd654057",
        ),
    ),
    "msd-brain": (
        Archive(
            f"{_DECATHLON}/Task01_BrainTumour.tar",
            "Task01_BrainTumour.tar",
            "md5:240a19d752f0d9e9101544901065d872",
        ),
    ),
}
"""Name of a source -> its files."""

_BY_HAND = {
    "acdc": "needs a login: download it from https://www.creatis.insa-lyon.fr/Challenge/acdc/databases.html",
    "msd": "has ten tasks: download one from http://medicaldecathlon.com",
}


def archives_of(name: str) -> tuple[Archive, ...]:
    """Return the files of a source.

    Raises:
        InputError: where it cannot be downloaded, saying where it is to be had.
    """
    if name in _BY_HAND:
        raise InputError(f"{name} {_BY_HAND[name]}, unpack it and give --source")
    if name not in ARCHIVES:
        raise unknown_name("data set for --download", name, ARCHIVES)
    return ARCHIVES[name]


def fetch(
    name: str, folder: Path, *, patience: Patience | None = None, progress: Progress | None = None
) -> None:
    """Download and unpack a data set, or what is still missing of it.

    Args:
        name: of the source.
        folder: where its archives and what is in them go; each archive is unpacked once.
        patience: with the server.
        progress: called with bytes done and bytes in all.

    Raises:
        InputError: where it cannot be had, see :func:`~metadcseg.data.download.transfer.download` and
            :func:`~metadcseg.data.download.unpack.unpack`.
    """
    for archive in archives_of(name):
        unpacked = folder / f"{archive.name}.unpacked"
        if unpacked.exists():
            continue
        unpack(download(archive, folder, patience=patience, progress=progress), folder)
        write_bytes(unpacked, b"delete this file to have the archive unpacked again\n")
