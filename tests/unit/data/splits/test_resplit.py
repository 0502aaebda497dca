import os
from pathlib import Path

import numpy as np
import pytest

from metadcseg.data.splits.folds import hold_out_roles, units_of
from metadcseg.data.splits.resplit import resplit_set, without_twin
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.data.synthetic.corruption import corrupt_set
from metadcseg.errors import InputError


def plain_set(path: Path, count: int = 8, twins: bool = False) -> PreparedSet:
    with SetWriter(path, name="squares", classes=("background", "square"), channels=1) as writer:
        for number in range(count):
            label = np.zeros((12, 10), np.uint8)
            label[2 : 5 + number % 4, 2:8] = 1
            draw = np.random.default_rng(0 if twins and number < 2 else number)
            image = draw.integers(0, 255, (12, 10, 1)).astype(np.uint8)
            writer.add(id=f"c{number}", role="train", group=f"c{number}", image=image, label=label)
    return PreparedSet.open(path)


def test_the_same_arrays_under_other_roles(tmp_path: Path) -> None:
    source = plain_set(tmp_path / "plain")
    roles = hold_out_roles(units_of(source), seed=1, val=0.2, test=0.2, gold=2)
    made = resplit_set(source, tmp_path / "made", roles, note={"seed": 1})
    assert {case.id: case.role for case in made.cases} == roles
    assert made.verify() == []
    assert made.source["split"] == {"seed": 1}
    assert made.fingerprint != source.fingerprint
    for before, after in zip(source.cases, made.cases, strict=True):
        assert np.array_equal(source.image(before), made.image(after))
        assert after.has_truth == (after.role == "gold")
        if after.has_truth:
            assert np.array_equal(made.truth(after), made.label(after))
    chunk = next((made.path / "arrays").glob("image-*/c.0.*"))
    assert os.stat(chunk).st_nlink == 2  # linked, not copied


def test_relative_links_within_arrays_lead_nowhere_else(tmp_path: Path) -> None:
    source = plain_set(tmp_path / "plain")
    chunk = next((source.path / "arrays").glob("image-*/c.0.*"))
    chunk.rename(source.path / "elsewhere")
    chunk.symlink_to(Path("..") / ".." / "elsewhere")
    roles = hold_out_roles(units_of(source), seed=1, val=0.2, test=0.2, gold=2)
    made = resplit_set(source, tmp_path / "deeper" / "made", roles, note={})
    assert made.verify() == []
    assert not (made.path / chunk.relative_to(source.path)).is_symlink()
    for target in ("nowhere", chunk.name):  # the second leads to itself
        chunk.unlink()
        chunk.symlink_to(target)
        with pytest.raises(InputError, match="leads to no file: the set is damaged"):
            resplit_set(source, tmp_path / "again", roles, note={})
        assert not (tmp_path / "again").exists()


def test_an_origin_that_cannot_be_read_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    source = plain_set(tmp_path / "plain")
    (source.path / "origin.json").write_text("{")
    roles = hold_out_roles(units_of(source), seed=1, val=0.2, test=0.2, gold=2)
    with pytest.raises(InputError, match=r"origin\.json"):
        resplit_set(source, tmp_path / "made", roles, note={})
    assert not (tmp_path / "made").exists()
    (source.path / "origin.json").unlink()
    assert resplit_set(source, tmp_path / "made", roles, note={}).verify() == []


def test_a_new_split_can_be_corrupted_and_then_not_split_again(tmp_path: Path) -> None:
    source = plain_set(tmp_path / "plain")
    roles = hold_out_roles(units_of(source), val=0.2, test=0.2, gold=1)
    made = resplit_set(source, tmp_path / "made", roles, note={})
    corrupt_set(made, tmp_path / "noisy", 0.3, 0)
    with pytest.raises(InputError, match="corrupted already"):
        resplit_set(PreparedSet.open(tmp_path / "noisy"), tmp_path / "again", roles, note={})
    assert not (tmp_path / "again").exists()


def test_one_picture_on_both_sides_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    source = plain_set(tmp_path / "plain", twins=True)
    roles = {case.id: "train" for case in source.cases} | {"c1": "test"}
    with pytest.raises(InputError, match=r"'c0' \(train\) and 'c1' \(test\) hold the same image"):
        resplit_set(source, tmp_path / "made", roles, note={})
    drawn = hold_out_roles(units_of(source), val=0.2, test=0.2, gold=1)
    assert (drawn["c0"] in ("val", "test")) == (drawn["c1"] in ("val", "test"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"c3": "tset"}, "did you mean 'test'"), ({"c3": None}, "'c3' has no role in the new split")],
)
def test_roles_that_are_wrong_or_missing(
    change: dict[str, str | None], sentence: str, tmp_path: Path
) -> None:
    source = plain_set(tmp_path / "plain")
    wanted = {case.id: "train" for case in source.cases} | change
    roles = {name: role for name, role in wanted.items() if role is not None}
    with pytest.raises(InputError, match=sentence):
        resplit_set(source, tmp_path / "made", roles, note={})


def test_an_occupied_place_is_left_alone(tmp_path: Path) -> None:
    source = plain_set(tmp_path / "plain")
    with pytest.raises(InputError, match="already holds a prepared set"):
        resplit_set(source, source.path, {case.id: "train" for case in source.cases}, note={})
    assert source.verify() == []


def test_a_case_that_becomes_gold_shows_its_truth(tmp_path: Path) -> None:
    with SetWriter(
        tmp_path / "crowd", name="squares", classes=("background", "square"), channels=1
    ) as writer:
        for number in range(8):
            truth = np.zeros((12, 10), np.uint8)
            truth[2 : 5 + number % 4, 2:8] = 1
            image = np.random.default_rng(number).integers(0, 255, (12, 10, 1)).astype(np.uint8)
            crowd, label_confidence = np.zeros_like(truth), np.full_like(truth, 100)
            writer.add(
                id=f"c{number}",
                role="train",
                group=f"c{number}",
                image=image,
                label=crowd,
                truth=truth,
                label_confidence=label_confidence,
            )
    source = PreparedSet.open(tmp_path / "crowd")
    roles = hold_out_roles(units_of(source), val=0.2, test=0.2, gold=2)
    made = resplit_set(source, tmp_path / "made", roles, note={})
    assert made.verify() == []
    for before, after in zip(source.cases, made.cases, strict=True):
        assert np.array_equal(made.truth(after), source.truth(before))
        assert after.has_given == (after.role != "train")  # what the truth replaced
        if after.has_given:
            assert np.array_equal(made.given(after), source.label(before))
        gold = after.role == "gold"
        assert np.array_equal(made.label(after), source.truth(before) if gold else source.label(before))
        assert after.has_label_confidence == (not gold)
    # those that come back into training are trained on with their label, which nothing has replaced there
    back = resplit_set(made, tmp_path / "back", dict.fromkeys(roles, "train"), note={})
    for after in back.cases:
        assert not after.has_given
        assert np.array_equal(back.label(after), source.label(source.cases[after.row]))
        assert np.array_equal(back.truth(after), source.truth(source.cases[after.row]))


def set_of_pairs(path: Path) -> PreparedSet:
    """Eight cases: two of training, three gold with a twin, one gold without, and one each that is val and test."""
    roles = ["train", "train", "gold", "gold", "gold", "gold", "val", "test"]
    with SetWriter(path, name="squares", classes=("background", "square"), channels=1) as writer:
        for number, role in enumerate(roles):
            label = np.zeros((12, 10), np.uint8)
            label[2 : 5 + number % 4, 2:8] = 1
            image = np.random.default_rng(number).integers(0, 255, (12, 10, 1)).astype(np.uint8)
            given = np.roll(label, 1, axis=1) if role != "train" and number != 5 else None
            truth = label if role in ("val", "test") else None
            case = {"image": image, "label": label, "truth": truth, "given": given}
            writer.add(id=f"c{number}", role=role, group=f"c{number}", **case)
    return PreparedSet.open(path)


ROLES = {
    "stays gold": {"c2": "gold"},
    "gold becomes training": {"c2": "train", "c3": "gold"},
    "val becomes training": {"c6": "train"},
    "gold is evaluated": {"c2": "test", "c3": "val"},
    "val and test become gold": {"c6": "gold", "c7": "gold"},
    "training becomes gold": {"c0": "gold"},
}


@pytest.mark.parametrize("changed", ROLES.values(), ids=ROLES)
def test_a_case_that_changes_its_role_keeps_its_pair(changed: dict[str, str], tmp_path: Path) -> None:
    source = set_of_pairs(tmp_path / "pairs")
    roles = {case.id: case.role for case in source.cases} | changed
    made = resplit_set(source, tmp_path / "made", roles, note={})
    assert {case.id: case.role for case in made.cases} == roles
    assert made.verify() == []
    for before, after in zip(source.cases, made.cases, strict=True):
        assert before.has_given == (after.id not in ("c0", "c1", "c5"))
        assert after.has_given == (before.has_given and after.role != "train")
        demoted = (
            before.has_given and after.role == "train"
        )  # trains as any unverified case: with what was given
        assert np.array_equal(made.label(after), source.given(before) if demoted else source.label(before))
        if demoted:
            assert np.array_equal(made.truth(after), source.label(before))
        if after.has_given:
            assert np.array_equal(made.given(after), source.given(before))
            assert np.array_equal(made.truth(after), source.label(before))
    again = resplit_set(made, tmp_path / "again", {case.id: case.role for case in source.cases}, note={})
    for before, after in zip(source.cases, again.cases, strict=True):
        assert after.has_given == before.has_given
        if (
            before.role != "val"
        ):  # what comes from training chooses epochs by its label, its truth serves the report
            assert np.array_equal(again.label(after), source.label(before))
        if after.has_given:
            assert np.array_equal(again.given(after), source.given(before))


def test_gold_without_a_twin_that_comes_into_training_is_counted(tmp_path: Path) -> None:
    source = set_of_pairs(tmp_path / "pairs")
    roles = {case.id: case.role for case in source.cases} | {"c2": "train", "c5": "train"}
    assert without_twin(source, roles) == 1
    assert without_twin(source, roles | {"c5": "val"}) == 0
    made = resplit_set(source, tmp_path / "made", roles, note={})
    assert np.array_equal(made.label(made.cases[5]), source.label(source.cases[5]))


def test_pairs_of_a_new_split_survive_noise(tmp_path: Path) -> None:
    source = set_of_pairs(tmp_path / "pairs")
    roles = {case.id: case.role for case in source.cases} | {"c2": "train", "c3": "test"}
    made = resplit_set(source, tmp_path / "made", roles, note={})
    shown = corrupt_set(made, tmp_path / "noisy", 0.212, 0, model="over")
    noisy = PreparedSet.open(tmp_path / "noisy")
    held = {case.id for case in noisy.cases if case.has_given}
    assert held == {"c3", "c4", "c5", "c6", "c7"}  # gold by noise, the evaluated by what they had
    assert shown["pairs"] == 2
    assert np.array_equal(noisy.given(noisy.cases[3]), source.given(source.cases[3]))
