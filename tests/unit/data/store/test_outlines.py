"""Outlines of annotators: kept with names and checksums, under every split; names that do not fit are refused."""

import json

import numpy as np
import pytest
from tests.unit.data.store.test_pairs import mask, reseal

from metadcseg.data import PreparedSet, SetWriter
from metadcseg.data.splits.resplit import resplit_set
from metadcseg.errors import InputError

CASES = {
    "three": {"role": "train", "label": mask(0), "outlines": {"c": mask(1), "a": mask(2), "b": mask(3)}},
    "one": {"role": "train", "label": mask(4), "outlines": {"a": mask(4)}, "annotator": "a"},
    "nobody": {"role": "train", "label": mask(5)},
    "gold": {
        "role": "gold",
        "label": mask(6),
        "given": mask(7),
        "outlines": {"b": mask(7), "c": mask(8)},
        "annotator": "b",
    },
}


def write(out, cases=CASES):
    with SetWriter(out, name="outlines", classes=("background", "organ"), channels=1) as writer:
        for number, (name, case) in enumerate(cases.items()):
            image = np.random.default_rng(90 + number).integers(0, 200, (5, 7, 1)).astype(np.uint8)
            writer.add(id=name, group=name, image=image, **case)
    return PreparedSet.open(out)


def test_outlines_come_back_by_name(tmp_path):
    held = write(tmp_path / "set")
    assert held.annotators == ("a", "b", "c")
    for case in held.cases:
        drawn = CASES[case.id].get("outlines", {})
        assert case.annotators == tuple(drawn)
        assert case.annotator == CASES[case.id].get("annotator")
        if drawn:
            for (name, found), (expected, one) in zip(
                held.outlines(case).items(), drawn.items(), strict=True
            ):
                assert name == expected
                np.testing.assert_array_equal(found, one)
    assert held.verify() == []


def test_under_other_roles_they_stay(tmp_path):
    held = write(tmp_path / "set")
    roles = {"three": "gold", "one": "val", "nobody": "test", "gold": "train"}
    made = resplit_set(held, tmp_path / "made", roles, note={})
    assert made.annotators == held.annotators
    assert made.verify() == []
    for before, after in zip(held.cases, made.cases, strict=True):
        assert (after.annotators, after.annotator) == (before.annotators, before.annotator)
        if after.annotators:
            for name, drawn in held.outlines(before).items():
                np.testing.assert_array_equal(made.outlines(after)[name], drawn)
    trained = next(case for case in made.cases if case.id == "gold")
    np.testing.assert_array_equal(made.label(trained), CASES["gold"]["given"])  # b drew it


def test_a_case_without_names_says_so(tmp_path):
    held = write(tmp_path / "set")
    with pytest.raises(InputError, match="case 'nobody' has no outlines of annotators that are known"):
        held.outlines(held.cases[2])


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ({"outlines": {"": mask(1)}}, "different names"),
        ({"outlines": {"a": mask(1)}, "annotator": "b"}, "of one of them or of nobody, got 'b'"),
        ({"annotator": "a"}, "of one of them or of nobody, got 'a'"),
        ({"outlines": {"a": mask(1)[:, :-1]}}, "outline of a must be"),
        ({"outlines": {"a": mask(1, (0, 3))}}, "outline of a holds the value 3"),
        ({"outlines": {"a": mask(1).astype(np.int64)}}, "outline of a must be"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, case, says):
    with pytest.raises(InputError, match=says):
        write(tmp_path / "set", {"x": {"role": "train", "label": mask(0), **case}})
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b", "b"],
        ["a", "b", "z"],
        ["a", "b", ""],
        "abc",
        [1, 2, 3],
        None,
        {"a": 1},
        [["a"], 2, 3],
    ],
)
def test_a_resealed_table_with_other_names_is_refused(tmp_path, names):
    write(tmp_path / "set")

    def edit(rows):
        rows["three"]["annotators"] = names

    reseal(tmp_path / "set", edit)
    with pytest.raises(InputError, match=r"line 1(: .*annotators| holds values that no set can have)"):
        PreparedSet.open(tmp_path / "set")


def test_fewer_names_than_outlines_are_found_at_reading(tmp_path):
    write(tmp_path / "set")
    reseal(tmp_path / "set", lambda rows: rows["three"].update(annotators=["a", "b"]))
    held = PreparedSet.open(tmp_path / "set")
    with pytest.raises(InputError, match=r"outlines-00000 holds uint8 of \(3, 5, 7\) where the table says"):
        held.outlines(held.cases[0])


def test_names_without_outlines_are_refused(tmp_path):
    write(tmp_path / "set")
    reseal(tmp_path / "set", lambda rows: rows["nobody"].update(annotator="a"))
    with pytest.raises(InputError, match="line 3 holds values"):
        PreparedSet.open(tmp_path / "set")


@pytest.mark.parametrize("names", ["abc", [1], {"a": 1}])
def test_a_manifest_with_names_that_are_none_is_refused(tmp_path, names):
    write(tmp_path / "set")
    manifest = json.loads((tmp_path / "set/set.json").read_text())
    (tmp_path / "set/set.json").write_text(json.dumps(manifest | {"annotators": names}))
    reseal(tmp_path / "set", lambda rows: None)
    with pytest.raises(InputError, match="'annotators"):
        PreparedSet.open(tmp_path / "set")


def test_damaged_outlines_are_named(tmp_path):
    held = write(tmp_path / "set")
    for file in (tmp_path / "set/arrays/outlines-00000").glob("c.*"):
        file.write_bytes(file.read_bytes()[:-2] + b"xx")
    with pytest.raises(InputError, match="the outlines of case 'three'"):
        held.outlines(held.cases[0])
    assert any("the outlines of case 'three'" in sentence for sentence in held.verify())
