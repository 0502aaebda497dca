"""Kvasir-SEG: 1000 colonoscopy images with one polyp mask each, drawn and verified by experts.

Two layouts are known: the official one (``images/`` and ``masks/``, 1000 JPEG each; ``kavsir_bboxes.json``
is not needed), split 800 / 100 / 100 by seed; and one that is split already (``train``, ``validation`` and
``test``, each with ``images/`` and ``masks/``). Nothing says which images are of one patient, so every image
is its own group. Masks are JPEG and are thresholded. As all masks are by experts, each is the reference, too;
label noise is injected afterwards, and gold cases are drawn by seed from the training cases.
"""

from pathlib import Path
from typing import Any

from metadcseg.data.findings import Finding
from metadcseg.data.sources.case import RawCase, Scan
from metadcseg.data.sources.pairing import by_stem, unmatched
from metadcseg.data.splits.roles import assign_roles, draw_gold, limit_training
from metadcseg.errors import InputError

KVASIR_SEG: dict[str, Any] = {
    "source": "kvasir-seg",
    "title": "Kvasir-SEG",
    "url": "https://datasets.simula.no/kvasir-seg/",
    "licence": "free for research and education; other use needs the permission of the authors",
    "citation": "D. Jha et al., Kvasir-SEG: A Segmented Polyp Dataset, MultiMedia Modeling (MMM) 2020",
}

CLASSES = ("background", "polyp")

_SPLIT_FOLDERS = {"train": "train", "validation": "val", "test": "test"}


def scan_kvasir(
    folder: Path,
    *,
    gold: float | int = 0.02,
    seed: int = 0,
    val: float = 0.1,
    test: float = 0.1,
    limit: int | None = None,
) -> Scan:
    """Find the cases of Kvasir-SEG, without decoding an image.

    Args:
        folder: in one of the two layouts; a folder ``Kvasir-SEG`` in it is found, too.
        gold: share (float below 1) or number (int) of the training cases that count as verified.
        seed: of the split (official layout), of the limit and of gold.
        val: share held out for validation (official layout only).
        test: share held out for the test (official layout only).
        limit: use only so many training cases; the gold ones are drawn from these.

    Returns:
        The cases and everything that is wrong so far.

    Raises:
        InputError: where the folder has neither layout, or ``gold``, ``limit`` or the shares are impossible.
    """
    inner = folder / "Kvasir-SEG"
    if inner.is_dir() and not (folder / "images").is_dir():
        folder = inner
    if _is_split_layout(folder):
        cases, roles, findings = _split_layout(folder)
    else:
        cases, findings = _pairs(folder, "")
        roles = assign_roles({case: case for case in cases}, seed=seed, val=val, test=test)
    roles = limit_training(roles, limit, seed=seed)
    training = [case for case, role in roles.items() if role == "train"]
    verified = draw_gold(training, gold, seed=seed) if training else set()
    found = [
        RawCase(case, "gold" if case in verified else role, case, (image,), mask, verified=True)
        for case, role in roles.items()
        for image, mask in [cases[case]]
    ]
    return Scan(tuple(found), tuple(findings), KVASIR_SEG | {"seed": seed, "limit": limit}, CLASSES)


def _is_split_layout(folder: Path) -> bool:
    return (folder / "train" / "images").is_dir()


def _split_layout(
    folder: Path,
) -> tuple[dict[str, tuple[Path, Path]], dict[str, str], list[Finding]]:
    cases: dict[str, tuple[Path, Path]] = {}
    roles: dict[str, str] = {}
    findings: list[Finding] = []
    for name, role in _SPLIT_FOLDERS.items():
        pairs, found = _pairs(folder / name, f"{name}-")  # numbers restart in every split
        cases |= pairs
        roles |= dict.fromkeys(pairs, role)
        findings += found
    return cases, roles, findings


def _pairs(folder: Path, prefix: str) -> tuple[dict[str, tuple[Path, Path]], list[Finding]]:
    """Return id -> (image, mask) of a folder with ``images/`` and ``masks/``."""
    if not (folder / "images").is_dir():
        raise InputError(
            f"{folder} holds no folder images/: --source is a folder of Kvasir-SEG with images/ and masks/, "
            "or with train/, validation/ and test/"
        )
    images, findings = by_stem(folder / "images")
    masks, found = by_stem(folder / "masks")
    findings += found + unmatched(images, masks, folder / "masks")
    return {prefix + stem: (path, masks[stem]) for stem, path in images.items() if stem in masks}, findings
