"""Pairs of a folder: from masks that are class numbers already, or from what a check has looked at."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.findings import plural
from metadcseg.data.prepare.fusing import Fusion
from metadcseg.data.prepare.inspection import Inspection
from metadcseg.data.prepare.labels import class_names
from metadcseg.data.prepare.look import is_given
from metadcseg.data.prepare.reading import load_image
from metadcseg.data.sources import RawCase, Scan
from metadcseg.data.sources.annotators import TABLE
from metadcseg.metrics import Spacing
from metadcseg.pairs.found import FoundPairs, said_of_fused, with_known_pixels
from metadcseg.pairs.statistics import Pair


def pairs_of_look(path: Path, scan: Scan, seen: Inspection) -> FoundPairs:
    """Return the pairs of a folder that was looked at, none of its files is decoded again.

    Args:
        path: the folder.
        scan: what is in it.
        seen: what was found, with the masks of pairs kept; its values have a meaning.
    """
    scheme = seen.scheme
    assert scheme is not None, "it was looked for errors"  # noqa: S101

    def units() -> Iterator[Unit]:
        for case, facts, decoded in zip(scan.cases, seen.cases, seen.decoded, strict=True):
            if case.given is None or decoded.masks is None:
                continue
            labels = {}
            for what in (*(what for what in case.masks if is_given(what)), best_of(case)):
                entry = facts.masks[what]
                table = scheme.apply(np.array(entry.in_file, np.int64), entry)
                mask = np.take(table, decoded.masks[what].read())
                labels[what] = mask[:, :, None] if case.flat else mask
            grid = None if decoded.placement is None else decoded.placement.grid
            yield Unit(case, labels, grid.steps() if grid is not None and grid.known else case.spacing)

    names = scan.classes or seen.names or class_names(scheme.classes)
    return whose_is_open(paired(scan, units(), names), path)


@dataclass(frozen=True)
class Unit:
    """The masks of one image or volume.

    Args:
        case: whose.
        labels: class numbers by the names of masks (:attr:`.RawCase.masks`), (X, Y, Z) uint8; of images Z is 1.
        spacing: in mm, as :meth:`.Grid.steps` returns it; None where it is not known.
    """

    case: RawCase
    labels: Mapping[str, NDArray[Any]]
    spacing: Spacing | None


def paired(
    scan: Scan, units: Iterable[Unit], names: Sequence[str], notes: tuple[str, ...] = ()
) -> FoundPairs:
    """Return the pairs of a folder whose masks are class numbers already.

    Args:
        scan: of the folder.
        units: of every case with a mask that the verified one replaced, those two; taken one at a time.
        names: of the classes, background first.
        notes: what was guessed or passed over.
    """
    pairs: list[Pair] = []
    outlines: list[Pair] = []
    fuse = Fusion()
    cases = {}
    for unit in units:
        case = cases[unit.case.id] = unit.case
        labels = {what: mask[:, :, 0] if case.flat else mask for what, mask in unit.labels.items()}
        verified = labels.pop(best_of(case))
        drawn = {what.partition("/")[2]: mask for what, mask in labels.items() if is_given(what)}
        given = fuse(case.id, drawn).label if case.outlines else labels["given"]
        pair = Pair(case.id, case.group or case.id, given, verified, unit.spacing, case.annotator)
        pairs.append(pair)
        if case.outlines:
            outlines += [replace(pair, given=mask, annotator=name) for name, mask in drawn.items()]

    def image(id: str) -> NDArray[Any]:
        array = load_image(cases[id]).array
        return array[:, :, 0] if cases[id].flat else array

    count = sum(case.role != "train" and (case.verified or case.truth is not None) for case in scan.cases)
    notes = (*notes, *said_of_fused(outlines, fuse.how))
    shown, hidden = with_known_pixels(pairs, outlines)
    return FoundPairs(shown, tuple(names), count, (*notes, *hidden), image, tuple(outlines))


def best_of(case: RawCase) -> str:
    """Return which of its masks is the verified one."""
    return "label" if case.truth is None else "truth"


def whose_is_open(found: FoundPairs, path: Path, annotators: Path | None = None) -> FoundPairs:
    """Return pairs with a note on those of which nobody knows who drew them, where of others that is known.

    Args:
        found: in a folder or a set.
        path: of it.
        annotators: the table that names them; by default that of the folder.
    """
    outlined = {pair.id for pair in found.outlines}
    unknown = sum(pair.annotator is None and pair.id not in outlined for pair in found.pairs)
    table = annotators or path / TABLE
    if not unknown or (unknown == len(found.pairs) and not table.exists()):
        return found
    who = table if table.exists() else path
    note = f"{who} names nobody for {plural(unknown, 'pair')}: they count in the whole only"
    return replace(found, notes=(*found.notes, note))
