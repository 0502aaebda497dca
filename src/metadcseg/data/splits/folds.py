"""Roles for the cases of a prepared set: k folds or a hold-out, by group, even in how much foreground they hold.

What must stay together is one *block*: the cases of a group (a patient), the slices of a volume, and images that
are equal to the last value, whatever they are called. Blocks of much and of little foreground are dealt out in
turn, so that no fold gets all the large organs; which of two neighbors goes where, the seed decides.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from metadcseg.constants import IGNORE
from metadcseg.data.findings import plural
from metadcseg.data.splits.gold_slices import GoldSlices
from metadcseg.data.splits.roles import draw_gold, seeded_order, with_gold
from metadcseg.data.store.reader import Case, PreparedSet
from metadcseg.errors import InputError

Roles = dict[str, str]
"""Id of every unit (an image, or a volume with all its slices) -> its role."""

VERIFIED = "verified"

Gold = float | int | GoldSlices | Collection[str]
"""How much gold is drawn: a share or a number of units, a share of the slices, the ids of units, or ``VERIFIED``: all
of training that are verified, of a set in which others are not."""


@dataclass(frozen=True)
class Unit:
    """What gets a role as a whole: a 2D image, or a volume.

    Args:
        id: of the case, or of the volume.
        group: what must stay together with it, such as the patient.
        images: sha256 of its images; units that share one hold the same picture.
        foreground: the share of its known pixels that are not background, 0 to 1.
        slices: how many slices of the volume the set holds, None for a 2D image.
        verified: whether its verified mask is known.
    """

    id: str
    group: str
    images: frozenset[str]
    foreground: float
    slices: int | None = None
    verified: bool = False


def units_of(prepared: PreparedSet) -> list[Unit]:
    """Return the units of a set in the order of its table; every mask is read.

    Raises:
        InputError: naming case and file where stored bytes are damaged.
    """
    members: dict[str, list[Case]] = defaultdict(list)
    for case in prepared.cases:
        members[unit_id(case)].append(case)
    return [_unit(prepared, name, cases) for name, cases in members.items()]


def verified_among(units: Sequence[Unit]) -> list[str]:
    """Return the ids of verified units where these are known from others; none where all or no masks are verified.

    Args:
        units: see :func:`units_of`.

    Example:
        >>> known, other = (Unit(name, name, frozenset(name), 0.1, verified=name == "a") for name in "ab")
        >>> verified_among([known, other]), verified_among([known]), verified_among([other])
        (['a'], [], [])
    """
    known = [unit.id for unit in units if unit.verified]
    return known if len(known) < len(units) else []


def never_verified(units: Sequence[Unit], roles: Roles) -> list[str]:
    """Return the gold units that are verified from now on only, in a set that knows which ones are.

    Args:
        units: see :func:`units_of`.
        roles: of each.

    Example:
        >>> units = [Unit(name, name, frozenset(name), 0.1, verified=name == "a") for name in "abc"]
        >>> never_verified(units, {"a": "gold", "b": "gold", "c": "train"})
        ['b']
    """
    known = set(verified_among(units))
    return [name for name, role in roles.items() if known and role == "gold" and name not in known]


def unit_id(case: Case) -> str:
    """Return the id of the unit that a case belongs to: its volume's, or its own."""
    return case.id if case.volume is None else case.volume


def fold_roles(
    units: Sequence[Unit],
    folds: int,
    *,
    seed: int = 0,
    val: float = 0.1,
    gold: Gold = 0.02,
) -> list[Roles]:
    """Return the roles of every fold: each unit is in the test role of exactly one.

    Args:
        units: see :func:`units_of`.
        folds: k, from 2 to the number of blocks.
        seed: another seed, another deal.
        val: share of the units that are not tested on which validate; at least one block where it is above 0.
        gold: share (float below 1, at least one unit), number (int) or ids of the training units whose labels count
            as verified. Units named that a fold tests or validates on are not gold there. Of a share of the slices
            these are the volumes, and :func:`~metadcseg.data.splits.gold_slices.kept_slices` says which of
            their slices. Where only some units are verified, a share or number of units is drawn from these.

    Raises:
        InputError: where there are too few blocks, or the gold cannot be drawn.

    Example:
        >>> units = [Unit(str(n), str(n // 2), frozenset([str(n)]), n / 20) for n in range(20)]
        >>> roles = fold_roles(units, 5, val=0.2)
        >>> [sum(role == "test" for role in fold.values()) for fold in roles]
        [4, 4, 4, 4, 4]
        >>> all(fold["6"] == fold["7"] or {fold["6"], fold["7"]} == {"train", "gold"} for fold in roles)
        True
    """
    blocks = blocks_of(units)
    if not 2 <= folds <= len(blocks):
        raise InputError(
            f"folds must be from 2 to {len(blocks)}, the number of blocks (patients, volumes, equal images) that "
            f"must stay whole, got {folds}"
        )
    tested = deal(blocks, folds, seed)
    return [
        _with_gold(_held_out(blocks, {"test": names}, val, seed + fold), gold, seed, units)
        for fold, names in enumerate(tested)
    ]


def hold_out_roles(
    units: Sequence[Unit],
    *,
    seed: int = 0,
    val: float = 0.1,
    test: float = 0.1,
    gold: Gold = 0.02,
) -> Roles:
    """Return the roles of a plain hold-out; shares count units, and no role with a share above 0 is empty.

    Args:
        units: see :func:`units_of`.
        seed: another seed, another draw.
        val: share for validation, 0 to below 1.
        test: share for the test, 0 to below 1; together they leave something.
        gold: as for :func:`fold_roles`.

    Raises:
        InputError: where the shares leave nothing to train on, or the gold cannot be drawn.

    Example:
        >>> units = [Unit(str(n), str(n), frozenset([str(n)]), n / 20) for n in range(20)]
        >>> roles = list(hold_out_roles(units, val=0.1, test=0.2, gold=1).values())
        >>> [roles.count(role) for role in ("train", "gold", "val", "test")]
        [13, 1, 2, 4]
    """
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise InputError(
            f"val and test are shares that leave training cases, got {val:g} and {test:g}: lower them"
        )
    blocks = blocks_of(units)
    tested = _spread(blocks, test * len(units), seed, "test")
    beside = val / (1 - test) if test else val
    return _with_gold(_held_out(blocks, {"test": tested}, beside, seed), gold, seed, units)


def gold_roles(prepared: PreparedSet, units: Sequence[Unit], *, seed: int = 0, gold: Gold = 0.02) -> Roles:
    """Return the roles that a set has, but with gold drawn anew from its training and gold cases.

    Args:
        prepared: the set.
        units: of it, see :func:`units_of`.
        seed: another seed, another draw; of one seed a larger gold set contains the smaller one.
        gold: as for :func:`fold_roles`.

    Raises:
        InputError: where the gold cannot be drawn.
    """
    held = {unit_id(case): "train" if case.role == "gold" else case.role for case in prepared.cases}
    return _with_gold(held, gold, seed, units)


def check_roles(units: Sequence[Unit], roles: Mapping[str, str]) -> None:
    """Refuse roles that put one patient, or one picture, on both sides of training and evaluation.

    Raises:
        InputError: naming the two units.

    Example:
        >>> twins = [Unit(name, name, frozenset(["sha256 of both"]), 0.1) for name in "ab"]
        >>> check_roles(twins, {"a": "train", "b": "test"})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: 'a' (train) and 'b' (test) hold the same image, which leaks ...
    """
    for block in blocks_of(units).values():
        side = {unit.id: "train" if roles[unit.id] == "gold" else roles[unit.id] for unit in block}
        first = block[0]
        for other in block[1:]:
            if side[other.id] != side[first.id]:
                why = "are of one group" if other.group == first.group else "hold the same image"
                raise InputError(
                    f"'{first.id}' ({roles[first.id]}) and '{other.id}' ({roles[other.id]}) {why}, which leaks from "
                    "training into evaluation: give them one role"
                )


def blocks_of(units: Sequence[Unit]) -> dict[str, list[Unit]]:
    """Return what must stay together, by the id of each block's first unit."""
    leader: dict[str, str] = {}  # of a group or an image -> a unit's id
    parent = {unit.id: unit.id for unit in units}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for unit in units:
        for key in (f"group {unit.group}", *(f"image {one}" for one in unit.images)):
            parent[root(unit.id)] = root(leader.setdefault(key, unit.id))
    blocks: dict[str, list[Unit]] = defaultdict(list)
    for unit in units:
        blocks[root(unit.id)].append(unit)
    return {block[0].id: block for block in blocks.values()}


def _with_gold(roles: Roles, gold: Gold, seed: int, units: Sequence[Unit]) -> Roles:
    verified = set(verified_among(units))
    if isinstance(gold, GoldSlices):
        slices = {unit.id: unit.slices for unit in units if unit.slices is not None}
        training = {name: count for name, count in slices.items() if roles.get(name) == "train"}
        gold = list(gold.draw(training, seed=seed))
    elif verified and isinstance(gold, (int, float)):
        gold = _drawn_of(verified, [name for name, role in roles.items() if role == "train"], gold, seed)
    elif gold == VERIFIED:
        gold = [name for name in verified_among(units) if roles.get(name) == "train"] or 0
    return with_gold(roles, gold, seed)


def _drawn_of(
    verified: Collection[str], training: Sequence[str], gold: float | int, seed: int
) -> list[str] | int:
    """Return gold units among those of training that are verified, as many as of all of training."""
    count = len(draw_gold(training, gold, seed=seed))
    known = [name for name in training if name in verified]
    if count > len(known):
        raise InputError(
            f"{len(known)} of {plural(len(training), 'training case')} of this split are verified, fewer than the "
            f"{count} that gold {gold:g} asks for: pass --gold verified, or a file of the ids that count as verified"
        )
    return seeded_order(known, seed, "gold")[:count] or 0


def _unit(prepared: PreparedSet, name: str, cases: Sequence[Case]) -> Unit:
    known = foreground = 0
    for case in cases:
        label = prepared.label(case)
        known += int(np.count_nonzero(label != IGNORE))
        foreground += int(np.count_nonzero((label != IGNORE) & (label != 0)))
    # blank slices are equal in every volume and say nothing about whether two volumes are
    images = frozenset(
        prepared.checksums(case)["image"] for case in cases if len(cases) == 1 or _varies(prepared, case)
    )
    slices = None if cases[0].volume is None else len(cases)
    verified = all(case.has_truth for case in cases)
    return Unit(name, cases[0].group, images, foreground / max(known, 1), slices, verified)


def _varies(prepared: PreparedSet, case: Case) -> bool:
    image = prepared.image(case)
    return bool((image != image[:1, :1]).any())


def deal(blocks: Mapping[str, list[Unit]], folds: int, seed: int) -> list[list[str]]:
    """Deal blocks to folds: from most to least foreground, one to each fold in turn, the fullest fold last."""
    rank = {name: place for place, name in enumerate(seeded_order(blocks, seed, "folds"))}
    ordered = sorted(blocks, key=lambda name: (-_foreground(blocks[name]), rank[name]))
    dealt: list[list[str]] = [[] for _ in range(folds)]
    sizes = [0] * folds
    for start in range(0, len(ordered), folds):
        hand = sorted(ordered[start : start + folds], key=lambda name: (-len(blocks[name]), rank[name]))
        by_size = sorted(range(folds), key=lambda fold: (sizes[fold], rank[ordered[fold]]))
        for fold, name in zip(by_size, hand, strict=False):
            dealt[fold].append(name)
            sizes[fold] += len(blocks[name])
    return dealt


def _held_out(blocks: Mapping[str, list[Unit]], chosen: dict[str, list[str]], val: float, seed: int) -> Roles:
    tested = set(chosen["test"])
    left = {name: block for name, block in blocks.items() if name not in tested}
    validated = set(_spread(left, val * sum(map(len, left.values())), seed, "val"))
    roles: Roles = {}
    for name, block in blocks.items():
        role = "test" if name in tested else "val" if name in validated else "train"
        roles |= {unit.id: role for unit in block}
    if "train" not in roles.values():
        raise InputError(
            f"{plural(len(blocks), 'block')} (patients, volumes, equal images) leave none to train on: lower the "
            "shares of validation and test"
        )
    return roles


def _spread(blocks: Mapping[str, list[Unit]], wanted: float, seed: int, purpose: str) -> list[str]:
    """Choose blocks of about so many units, evenly along the order of their foreground."""
    if wanted <= 0 or not blocks:
        return []
    rank = {name: place for place, name in enumerate(seeded_order(blocks, seed, purpose))}
    ordered = sorted(blocks, key=lambda name: (_foreground(blocks[name]), rank[name]))
    number = max(1, round(wanted * len(blocks) / sum(map(len, blocks.values()))))
    edges = np.linspace(0, len(ordered), number + 1).round().astype(int)
    strata = [ordered[low:high] for low, high in pairwise(edges)]
    return [min(stratum, key=rank.__getitem__) for stratum in strata if stratum]


def _foreground(block: Sequence[Unit]) -> float:
    return float(np.mean([unit.foreground for unit in block]))
