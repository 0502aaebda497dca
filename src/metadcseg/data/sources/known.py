"""The data sets whose layout the package knows, by name. Adding one: a module, a line here, a row on the page."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from metadcseg.data.sources.acdc import scan_acdc
from metadcseg.data.sources.case import Scan
from metadcseg.data.sources.decathlon import BRAIN, HEART, scan_decathlon
from metadcseg.data.sources.nnunet import scan_nnunet
from metadcseg.data.sources.promise12 import scan_promise12
from metadcseg.data.sources.roles import Draw


@dataclass(frozen=True)
class Known:
    """A data set of volumes.

    Args:
        scan: finds its cases in a folder.
        title: what people call it.
        url: its official page.
        licence: what its publishers allow.
        citation: what they ask to be cited.
    """

    scan: Callable[[Path, Draw], Scan]
    title: str
    url: str
    licence: str
    citation: str


_DECATHLON = {
    "url": "http://medicaldecathlon.com",
    "licence": "CC-BY-SA 4.0",
    "citation": "M. Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 13:4128, 2022; "
    "A. L. Simpson et al., arXiv:1902.09063, 2019",
}

KNOWN: dict[str, Known] = {
    "promise12": Known(
        scan_promise12,
        "PROMISE12",
        "https://promise12.grand-challenge.org",
        "as the challenge's page says (not stated in the files)",
        "G. Litjens et al., Evaluation of prostate segmentation algorithms for MRI: the PROMISE12 challenge, Medical "
        "Image Analysis 18(2), 2014",
    ),
    "msd-heart": Known(partial(scan_decathlon, task=HEART), "Decathlon, Task02 Heart", **_DECATHLON),
    "msd-brain": Known(partial(scan_decathlon, task=BRAIN), "Decathlon, Task01 BrainTumour", **_DECATHLON),
    "msd": Known(scan_decathlon, "a task of the Medical Segmentation Decathlon", **_DECATHLON),
    "acdc": Known(
        scan_acdc,
        "ACDC",
        "https://www.creatis.insa-lyon.fr/Challenge/acdc/databases.html",
        "for research; as the challenge's page says",
        "O. Bernard et al., Deep Learning Techniques for Automatic MRI Cardiac Multi-Structures Segmentation and "
        "Diagnosis, IEEE Transactions on Medical Imaging 37(11), 2018",
    ),
    "nnunet": Known(
        scan_nnunet,
        "a raw folder of nnU-Net",
        "https://github.com/MIC-DKFZ/nnUNet",
        "that of the data in it",
        "that of the data in it",
    ),
}


def scan_known(name: str, source: Path, draw: Draw, **options: str) -> Scan:
    """Find the cases of a known data set, without decoding a voxel.

    Args:
        name: one of ``KNOWN``.
        source: where it lies.
        draw: how roles are drawn.
        options: of this source alone, such as ``labels`` of ``acdc``.

    Returns:
        The volumes; ``source`` holds licence, citation and page as well.

    Raises:
        InputError: where the folder does not have the layout.
    """
    known = KNOWN[name]
    found = known.scan(source, draw, **options)
    facts = {"source": name, "title": known.title, "url": known.url}
    facts |= {"licence": known.licence, "citation": known.citation, "folder": source.resolve().name}
    return replace(found, source={**facts, **(found.source or {})})
