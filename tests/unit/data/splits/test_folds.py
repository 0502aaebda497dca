from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metadcseg.data.splits.folds import (
    VERIFIED,
    Unit,
    blocks_of,
    check_roles,
    fold_roles,
    hold_out_roles,
    never_verified,
    verified_among,
)
from metadcseg.data.splits.gold_slices import GoldSlices
from metadcseg.errors import InputError


def unit(number: int, group: str | None = None, image: str | None = None, foreground: float = 0.1) -> Unit:
    name = f"case {number}"
    return Unit(name, group or name, frozenset([image or name]), foreground)


@st.composite
def some_units(draw: st.DrawFn) -> list[Unit]:
    count = draw(st.integers(6, 30))
    groups = draw(st.lists(st.integers(0, 12), min_size=count, max_size=count))
    images = draw(st.lists(st.integers(0, 200), min_size=count, max_size=count))
    shares = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    return [
        unit(number, f"patient {group}", f"picture {image}", share)
        for number, (group, image, share) in enumerate(zip(groups, images, shares, strict=True))
    ]


@given(some_units(), st.integers(2, 5), st.integers(0, 3))
def test_every_unit_is_tested_once_and_nothing_crosses(units: list[Unit], folds: int, seed: int) -> None:
    blocks = blocks_of(units)
    if len(blocks) < max(folds, 4) + 2 or max(map(len, blocks.values())) > len(units) // 3:
        return
    dealt = fold_roles(units, folds, seed=seed, val=0.1, gold=1)
    tested = [name for roles in dealt for name, role in roles.items() if role == "test"]
    assert sorted(tested) == sorted(one.id for one in units)
    for roles in dealt:
        check_roles(units, roles)
        assert {"train", "val", "test", "gold"} == set(roles.values())
    assert dealt == fold_roles(units[::1], folds, seed=seed, val=0.1, gold=1)


def test_equal_pictures_and_patients_are_one_block_also_at_one_remove() -> None:
    units = [unit(0, "A", "x"), unit(1, "B", "x"), unit(2, "B", "y"), unit(3)]
    assert [[one.id for one in block] for block in blocks_of(units).values()] == [
        ["case 0", "case 1", "case 2"],
        ["case 3"],
    ]


def test_folds_share_little_and_much_foreground() -> None:
    units = [unit(number, foreground=number / 40) for number in range(40)]
    for roles in fold_roles(units, 4, gold=1):
        tested = [one.foreground for one in units if roles[one.id] == "test"]
        assert len(tested) == 10
        assert sum(tested) / 10 == pytest.approx(19.5 / 40, abs=0.05)


def test_another_seed_deals_otherwise() -> None:
    units = [unit(number, foreground=number / 40) for number in range(40)]
    assert fold_roles(units, 4, seed=0) != fold_roles(units, 4, seed=1)
    assert hold_out_roles(units, seed=0) != hold_out_roles(units, seed=1)


def test_gold_by_share_is_at_least_one_and_by_list_is_those() -> None:
    units = [unit(number) for number in range(10)]
    assert list(hold_out_roles(units).values()).count("gold") == 1
    named = ["case 1", "case 2", "case 3", "case 4"]
    for roles in fold_roles(units, 5, gold=named):
        assert {name for name, role in roles.items() if role == "gold"} == {
            name for name in named if roles[name] not in ("val", "test")
        }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"folds": 1}, "folds must be from 2 to 10"),
        ({"folds": 11}, "got 11"),
        ({"folds": 5, "gold": ["case 77"]}, "gold case"),
        ({"folds": 5, "gold": 9}, "gold is a share below 1 or a number below"),
        ({"folds": 2, "gold": [f"case {n}" for n in range(10)]}, "leave some to learn from"),
    ],
)
def test_what_cannot_be_dealt_is_one_sentence(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        fold_roles([unit(number) for number in range(10)], **arguments)  # type: ignore[arg-type]


def test_shares_that_leave_nothing() -> None:
    with pytest.raises(InputError, match="leave training cases"):
        hold_out_roles([unit(number) for number in range(10)], val=0.5, test=0.5)


def partly_verified(count: int = 30) -> list[Unit]:
    return [Unit(f"c{n}", f"c{n}", frozenset([str(n)]), n / 60, verified=n % 3 == 0) for n in range(count)]


def test_gold_is_drawn_from_what_is_verified_where_some_masks_are_and_some_are_not() -> None:
    units = partly_verified()
    for seed in range(5):
        roles = hold_out_roles(units, seed=seed, val=0.2, test=0.2, gold=2)
        gold = {name for name, role in roles.items() if role == "gold"}
        assert len(gold) == 2
        assert gold <= set(verified_among(units))
    for roles in fold_roles(units, 3, gold=0.1):
        assert {name for name, role in roles.items() if role == "gold"} <= set(verified_among(units))
    with pytest.raises(
        InputError, match=r"of \d+ training cases of this split are verified, fewer than the 12"
    ):
        hold_out_roles(units, gold=12)
    volumes = [replace(unit, slices=10) for unit in units]
    drawn = hold_out_roles(volumes, seed=3, gold=GoldSlices(0.2))  # of all volumes, and said
    assert never_verified(volumes, drawn)
    named = hold_out_roles(units, seed=1, gold=["c1", "c2", "c4"])  # somebody says so
    assert "gold" in {named[name] for name in ("c1", "c2", "c4")}


def test_gold_of_a_set_of_experts_is_drawn_as_before() -> None:
    units = [replace(unit, verified=False) for unit in partly_verified()]
    experts = [replace(unit, verified=True) for unit in units]
    assert hold_out_roles(units, gold=5) == hold_out_roles(experts, gold=5)


def test_a_split_without_a_verified_training_case_has_no_gold() -> None:
    units = [replace(unit, verified=unit.id == "c3") for unit in partly_verified()]
    folds = fold_roles(units, 3, gold=VERIFIED)
    assert [list(roles.values()).count("gold") for roles in folds].count(0) >= 1
