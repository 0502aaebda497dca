"""Which classes shrink to a few pixels on the input grid of a network? Told from pixel counts of images alone."""

from collections.abc import Sequence
from math import ceil, sqrt

from metadcseg.data.findings import Finding, plural

FEW = 8
"""A class on fewer pixels of the input grid than this can hardly be learned."""

SIZE = 256
"""The input grid's side that is judged: the default of ``training.size``."""

SHARE = 0.1
"""So large a share of the masks that hold a class is worth a warning."""


def tiny_classes(
    masks: Sequence[tuple[str, tuple[int, ...], int]], names: Sequence[str], size: int = SIZE
) -> list[Finding]:
    """Warn of classes that have fewer than 8 pixels left at an input grid.

    Args:
        masks: of every image the file, how many pixels are of each class, and how many pixels it has.
        names: of the classes, the background first.
        size: side of the square input grid, in pixels.

    Example:
        >>> tiny_classes([("a.png", (409585, 15), 409600)], ("background", "lesion"))[0].code
        'class-tiny'
    """
    findings = []
    for label, name in enumerate(names[1:], 1):
        held = [(where, pixels[label], area) for where, pixels, area in masks if pixels[label]]
        needed = [(ceil(sqrt(FEW * area / count)), where) for where, count, area in held]
        lost = [(least, where) for least, where in needed if least > size]
        if lost and len(lost) >= SHARE * len(held):
            sentence = (
                f"{name} has fewer than {FEW} pixels at an input grid of {size} x {size} in {len(lost)} of "
                f"{plural(len(held), 'mask')}, such as {lost[0][1]}: pass --training.size {max(lost)[0]} to keep them"
            )
            findings.append(Finding("warning", "class-tiny", name, sentence))
    return findings
