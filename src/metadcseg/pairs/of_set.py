"""Pairs of a prepared set: of images as they are, of volumes the slices put together again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.findings import plural
from metadcseg.data.formats.geometry import Grid, as_affine
from metadcseg.data.store.reader import Case, PreparedSet, StoredVolume
from metadcseg.metrics import Spacing
from metadcseg.pairs.found import FoundPairs, said_of_fused, with_known_pixels
from metadcseg.pairs.statistics import Pair

Slices = Mapping[int, NDArray[Any]]


def pairs_of_set(path: Path) -> tuple[FoundPairs, set[str]]:
    """Return the pairs of a prepared set, and the ids of all its images (of its volumes, where it has some).

    A volume is one pair, as in the folder that it came from: its slices stacked along the axis that was cut, in the
    size in which they are stored, with the volume's spacing between them. Slices without a pair (left out when the set
    was made) are ``IGNORE`` in both masks. Of a corrupted set only gold counts: its pairs alone have the noise.

    Args:
        path: the set.

    Raises:
        InputError: where it is no set, or stored bytes are damaged.
    """
    prepared = PreparedSet.open(path)
    units = {unit.id: unit for unit in _units(prepared) if unit.paired or unit.verified}
    notes = []
    if prepared.noise is not None and prepared.noise.get("target"):
        gold = {id: unit for id, unit in units.items() if unit.role == "gold"}
        if left := sum(unit.paired for unit in units.values()) - sum(unit.paired for unit in gold.values()):
            sentence = f"{plural(left, 'pair')} of other roles left out: noise went into pairs of gold only"
            notes.append(sentence)
        units = gold
    paired = {id: unit for id, unit in units.items() if unit.paired}
    if lacking := [lacks for unit in paired.values() if (lacks := unit.lacks)]:
        of = plural(len(lacking), "volume")
        notes.append(
            f"{plural(sum(lacking), 'slice')} of {of} not in the set: unknown, so objects that end there count neither "
            "as missing nor as invented"
        )
    pairs = tuple(unit.pair(prepared) for unit in paired.values())
    outlines = tuple(each for pair in pairs for each in paired[pair.id].outlines(prepared, pair))
    pairs, hidden = with_known_pixels(pairs, outlines)
    found = FoundPairs(
        pairs,
        prepared.classes,
        len(units),
        (*notes, *hidden, *said_of_fused(outlines, str(prepared.source.get("fuse")))),
        lambda id: paired[id].image(prepared),
        outlines,
    )
    return found, {unit.id for unit in prepared.volumes or prepared.cases}


@dataclass(frozen=True)
class _Unit:
    """An image, or a volume with the slices that a set has of it.

    Args:
        cases: the image, or the slices in their order.
        volume: None of an image.
    """

    cases: Sequence[Case]
    volume: StoredVolume | None = None

    @property
    def id(self) -> str:
        return (self.volume or self.cases[0]).id

    @property
    def role(self) -> str:
        return self.cases[0].role

    @property
    def paired(self) -> bool:
        return any(case.has_given for case in self.cases)

    @property
    def verified(self) -> bool:
        """Whether somebody vouches for its mask; the truth of a training case is for simulation only."""
        truth = self.cases[0].has_truth if self.volume is None else self.volume.verified
        return self.role == "gold" or (self.role != "train" and truth)

    @property
    def lacks(self) -> int:
        """How many slices without a pair there are."""
        whole = 1 if self.volume is None else self.volume.placement.slices
        return whole - sum(case.has_given for case in self.cases)

    def pair(self, prepared: PreparedSet) -> Pair:
        known = [case for case in self.cases if case.has_given]
        given = self._stacked({case.slice or 0: prepared.given(case) for case in known}, IGNORE)
        masks = {c.slice or 0: (prepared.truth if c.has_truth else prepared.label)(c) for c in known}
        verified = self._stacked(masks, IGNORE)
        group, who = known[0].group or self.id, known[0].annotator
        return Pair(self.id, group, given, verified, self._spacing(), who)

    def outlines(self, prepared: PreparedSet, pair: Pair) -> list[Pair]:
        """Return what annotators drew whose mask is not the given one."""
        held = {c.slice or 0: prepared.outlines(c) for c in self.cases if c.has_given and c.annotators}
        names = [name for name in next(iter(held.values()), {}) if name != pair.annotator]
        return [
            replace(pair, given=self._stacked(drawn, IGNORE), annotator=name)
            for name in names
            if len(drawn := {number: each[name] for number, each in held.items() if name in each})
            == len(held)
        ]

    def image(self, prepared: PreparedSet) -> NDArray[Any]:
        return self._stacked({case.slice or 0: prepared.image(case) for case in self.cases}, 0)

    def _stacked(self, slices: Slices, fill: int) -> NDArray[Any]:
        """Return an image as it is; slices in the order of the volume's axes, ``fill`` where there is none."""
        first = next(iter(slices.values()))
        if self.volume is None:
            return first
        stack = np.full((self.volume.placement.slices, *first.shape), fill, first.dtype)
        for number, plane in slices.items():
            stack[number] = plane
        unstack = self.volume.placement.unstack
        if stack.ndim == 3:
            return unstack(stack)
        return np.stack([unstack(stack[..., channel]) for channel in range(stack.shape[3])], axis=3)

    def _spacing(self) -> Spacing | None:
        if self.volume is None:
            return self.cases[0].spacing
        placement = self.volume.placement
        if not placement.grid.known:
            return None
        zoom = np.ones(3)
        stored = (placement.height, placement.width)
        for axis, native, side in zip(placement.plane, placement.native, stored, strict=True):
            zoom[axis] = native / side
        affine = np.array(placement.grid.affine) @ np.diag([*zoom, 1.0])
        return Grid(placement.grid.shape, as_affine(affine)).steps()


def _units(prepared: PreparedSet) -> list[_Unit]:
    if not prepared.volumes:
        return [_Unit([case]) for case in prepared.cases]
    stacks = [(volume, prepared.slices_of(volume)) for volume in prepared.volumes]
    return [_Unit(cases, volume) for volume, cases in stacks if cases]
