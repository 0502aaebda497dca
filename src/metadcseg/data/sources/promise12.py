"""PROMISE12: 50 transversal T2-weighted MR volumes of the prostate with expert outlines.

::

    .../CaseNN.mhd, CaseNN.raw (or .zraw)          anywhere below the folder: flat, or TrainingData_Part1 .. Part3
    .../CaseNN_segmentation.mhd, ...               beside it

Volumes without a segmentation (the challenge's own test data) are not used. The paper trains on 40 cases and tests on
10; which ones is not published, so the seed decides: 10 for the test, 5 of the 40 for validation.
"""

from collections.abc import Sequence
from pathlib import Path

from metadcseg.data.findings import Finding, plural
from metadcseg.data.sources.case import RawCase, Scan
from metadcseg.data.sources.roles import Draw, draw_roles, with_role
from metadcseg.errors import InputError

CLASSES = ("background", "prostate")

_MARK = "_segmentation"


def scan_promise12(source: Path, draw: Draw | None = None) -> Scan:
    """Find the cases, without decoding a voxel.

    Args:
        source: the folder that the archives were unpacked to.
        draw: how roles are drawn.

    Returns:
        The volumes and everything that is wrong so far.

    Raises:
        InputError: where there is no case with a segmentation.
    """
    draw = draw or Draw()
    headers = sorted(path for path in source.rglob("Case*.mhd") if path.is_file())
    pairs = [
        (path, path.with_name(f"{path.stem}{_MARK}.mhd")) for path in headers if not path.stem.endswith(_MARK)
    ]
    drawn = [(image, label) for image, label in pairs if label.is_file()]
    if not drawn:
        raise InputError(
            f"{source} holds no CaseNN.mhd with CaseNN{_MARK}.mhd beside it: --source is the unpacked PROMISE12"
        )
    findings = _twice(source, [image for image, _ in drawn])
    if without := len(pairs) - len(drawn):
        sentence = (
            f"{source}: {plural(without, 'volume')} without {_MARK}.mhd, such as test data, will not be used"
        )
        findings.append(Finding("note", "case-incomplete", str(source), sentence))
    roles = draw_roles({image.stem: image.stem for image, _ in drawn}, draw, val=0.1, test=0.2)
    volumes = (
        with_role(RawCase(image.stem, "train", image.stem, (image,), label, verified=True), roles[image.stem])
        for image, label in drawn
    )
    return Scan(
        tuple(sorted(volumes, key=lambda raw: raw.id)),
        tuple(findings),
        draw.facts(),
        CLASSES,
        values=frozenset((0, 1)),
        declared_by="PROMISE12",
    )


def _twice(source: Path, images: Sequence[Path]) -> list[Finding]:
    """Return one error where names come twice: training and test data are counted from Case00 both."""
    first: dict[str, Path] = {}
    doubled = [image for image in images if first.setdefault(image.stem, image) is not image]
    if not doubled:
        return []
    one, other = first[doubled[0].stem], doubled[0]
    sentence = (
        f"{source} holds {plural(len(doubled), 'case')} twice, such as {one.stem} in {one.parent} and in "
        f"{other.parent}: --source is the folder of the training data alone"
    )
    return [Finding("error", "case-twice", str(other), sentence)]
