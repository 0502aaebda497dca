"""Roles for sources that come without: groups held out by seed, and gold among what is left to train on."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from metadcseg.data.sources.case import RawCase
from metadcseg.data.splits.roles import assign_roles, with_gold

Gold = float | int | Collection[str]


@dataclass(frozen=True)
class Draw:
    """How roles are drawn.

    Args:
        seed: of the split and of gold.
        gold: share (float below 1, at least one case), number (int) or ids of the training cases whose labels count
            as verified; None leaves it to the source.
        val: share held out for validation; None: as the source says.
        test: share held out for the test; likewise.
    """

    seed: int = 0
    gold: Gold | None = None
    val: float | None = None
    test: float | None = None

    def facts(self) -> dict[str, Any]:
        """Return what a set keeps of it."""
        return {"split_seed": self.seed}


def draw_roles(
    groups: Mapping[str, str], draw: Draw, *, val: float, test: float, gold: Gold | None = 0.02
) -> dict[str, str]:
    """Return id -> role, whole groups at a time.

    Args:
        groups: id -> what must stay together.
        draw: what was asked for.
        val: share for validation where nothing else was asked for.
        test: share for the test likewise.
        gold: likewise; None for none.

    Raises:
        InputError: where the shares leave nothing to train on, there are too few groups, or gold is impossible.

    Example:
        >>> roles = draw_roles({str(case): str(case) for case in range(50)}, Draw(seed=1), val=0.1, test=0.2)
        >>> [list(roles.values()).count(role) for role in ("train", "gold", "val", "test")]
        [34, 1, 5, 10]
    """
    shares = {
        "val": val if draw.val is None else draw.val,
        "test": test if draw.test is None else draw.test,
    }
    roles = assign_roles(groups, seed=draw.seed, **shares)
    wanted = gold if draw.gold is None else draw.gold
    return roles if wanted is None else with_gold(roles, wanted, draw.seed)


def with_role(raw: RawCase, role: str) -> RawCase:
    """Return a volume in its role; a gold one is verified, and so shows its reference where it has one.

    Where a volume that nobody trains on has a reference beside its label, the label is what it replaced.
    """
    if raw.truth is None:
        return replace(raw, role=role, verified=raw.verified or role == "gold")
    if role == "train":
        return replace(raw, role=role)
    raw = replace(raw, role=role, given=raw.label, given_key=raw.label_key)
    if role != "gold":
        return raw
    return replace(
        raw,
        verified=True,
        label=raw.truth,
        label_key=raw.truth_key,
        truth=None,
        truth_key=None,
        label_confidence=None,  # it was of the label before
    )
