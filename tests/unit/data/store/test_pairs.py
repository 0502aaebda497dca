"""The mask that a verified one replaced: kept beside it with a checksum of its own, and never without it."""

import hashlib
import json

import numpy as np
import pytest

from metadcseg.data import PreparedSet, SetWriter
from metadcseg.errors import InputError

SIDES = (5, 7)


def mask(number, values=(0, 1, 255)):
    return np.random.default_rng(number).choice(np.array(values, np.uint8), SIDES)


CASES = {
    "careless": {"role": "train", "label": mask(0)},
    "pair": {"role": "gold", "label": mask(1), "truth": mask(1), "given": mask(2)},
    "no twin": {"role": "gold", "label": mask(3), "truth": mask(3)},
    "gold without truth": {"role": "gold", "label": mask(4), "given": mask(5)},
    "verified test": {"role": "test", "label": mask(6), "truth": mask(6), "given": mask(7)},
}


def write(out, cases=CASES):
    image = np.random.default_rng(9).integers(0, 200, (*SIDES, 1)).astype(np.uint8)
    with SetWriter(out, name="pairs", classes=("background", "organ"), channels=1) as writer:
        for name, case in cases.items():
            writer.add(id=name, group="", image=image, **case)
    return PreparedSet.open(out)


def reseal(folder, edit):
    """Change the rows of the table and make all checksums fit again: what somebody hostile would do."""
    rows = [json.loads(line) for line in (folder / "cases.jsonl").read_text().splitlines()]
    edit({row["id"]: row for row in rows})
    files = {"cases.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()}
    manifest = json.loads((folder / "set.json").read_text())
    manifest["sha256"]["cases.jsonl"] = hashlib.sha256(files["cases.jsonl"]).hexdigest()
    files["set.json"] = json.dumps(manifest).encode()
    lines = [
        line for line in (folder / "SHA256SUMS").read_text().splitlines() if not line.endswith(tuple(files))
    ]
    for name, data in files.items():
        (folder / name).write_bytes(data)
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {name}")
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n")


def test_what_was_given_comes_back_beside_the_verified_mask(tmp_path):
    prepared = write(tmp_path / "set")
    assert [case.id for case in prepared.cases if case.has_given] == [
        name for name, case in CASES.items() if "given" in case
    ]
    for case in prepared.cases:
        np.testing.assert_array_equal(prepared.label(case), CASES[case.id]["label"])
        if case.has_given:
            np.testing.assert_array_equal(prepared.given(case), CASES[case.id]["given"])
    assert prepared.verify() == []


def test_a_case_without_twin_says_so(tmp_path):
    prepared = write(tmp_path / "set")
    with pytest.raises(
        InputError, match=r"case 'no twin' has no mask that a verified one replaced \(given\); prep"
    ):
        prepared.given(prepared.cases[2])


def test_the_fingerprint_covers_it_and_is_that_of_before_without_it(tmp_path):
    bare = {
        name: {kind: held for kind, held in case.items() if kind != "given"} for name, case in CASES.items()
    }
    other = CASES | {"pair": CASES["pair"] | {"given": mask(8)}}
    sets = [write(tmp_path / name, cases) for name, cases in (("a", CASES), ("b", bare), ("c", other))]
    assert len({prepared.fingerprint for prepared in sets}) == 3
    # written down with the writer of before there were pairs
    assert sets[1].fingerprint == "44cd6c048a26c74c7e4bb9d6b0f4d3e84ffc6a3aead9ef0d35ca64576bb82da7"


def test_damage_is_found_by_reading_and_by_verify(tmp_path):
    prepared = write(tmp_path / "set")
    file = tmp_path / "set/arrays/given-00000/c.0.0.0"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"given-00000/c\.0\.0\.0: the given of case 'pair'"):
        prepared.given(prepared.cases[1])
    assert [sentence.partition("case ")[2][:6] for sentence in prepared.verify()] == ["'pair'"]


def test_two_given_masks_exchanged_are_found(tmp_path):
    prepared = write(tmp_path / "set")
    first, second = (tmp_path / f"set/arrays/given-00000/c.{number}.0.0" for number in (0, 1))
    held = first.read_bytes(), second.read_bytes()
    first.write_bytes(held[1])
    second.write_bytes(held[0])
    assert len(prepared.verify()) == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"given": np.zeros((5, 8), np.uint8)},
            r"given must be \(5, 7\) of uint8 like its image, got \(5, 8\)",
        ),
        ({"given": np.zeros(SIDES, np.int64)}, "given must be .* of int64"),
        ({"given": np.full(SIDES, 2, np.uint8)}, "given holds the value 2, allowed are 0 to 1 and 255"),
        ({"role": "train", "truth": None}, r"case 'x' \(train\) has a given mask, but no verified one"),
        ({"role": "val", "truth": None}, r"case 'x' \(val\) has a given mask, but no verified one"),
    ],
)
def test_what_no_pair_can_be_is_refused(tmp_path, change, sentence):
    with pytest.raises(InputError, match=sentence):
        write(tmp_path / "set", {"x": CASES["pair"] | change})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "edit",
    [
        lambda rows: rows["careless"]["arrays"].update(given=rows["pair"]["arrays"]["given"]),
        lambda rows: rows["verified test"]["arrays"].pop("truth"),
        lambda rows: rows["pair"]["arrays"]["given"].update(array="../../etc"),
        lambda rows: rows["pair"]["arrays"]["given"].update(index=-1),
        lambda rows: rows["pair"]["arrays"].update(taken=rows["pair"]["arrays"]["given"]),
    ],
)
def test_a_hostile_table_is_refused(tmp_path, edit):
    write(tmp_path / "set")
    reseal(tmp_path / "set", edit)
    with pytest.raises(InputError, match=r"cases.jsonl: line \d.*; prepare the set again"):
        PreparedSet.open(tmp_path / "set")


def test_a_given_mask_that_is_another_array_is_named(tmp_path):
    write(tmp_path / "set")
    reseal(tmp_path / "set", lambda rows: rows["pair"]["arrays"]["given"].update(array="image-00000"))
    prepared = PreparedSet.open(tmp_path / "set")
    with pytest.raises(InputError, match=r"case 'pair': .*where the table says uint8"):
        prepared.given(prepared.cases[1])
