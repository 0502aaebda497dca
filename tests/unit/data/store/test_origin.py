"""A set says which files it was made from: beside its tables, without a part in its fingerprint."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.unit.data.folders import disc, make_folder, save

from metadcseg.data.prepare.pipeline import prepare_cases, prepare_folder
from metadcseg.data.sources.case import RawCase
from metadcseg.data.splits.resplit import resplit_set
from metadcseg.data.store.origin import ORIGIN, CaseOrigin, Origin, read_origin
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError


@pytest.fixture
def place(tmp_path):
    prepare_folder(make_folder(tmp_path / "mine", gold=2), tmp_path / "set", edges="none")
    return tmp_path


def test_files_and_values_of_every_case(place):
    found = read_origin(place / "set")
    assert found.folder == place / "mine"
    assert set(found.cases) == {f"case{number:02d}" for number in range(12)}
    one = found.cases["case01"]
    assert one.images == (place / "mine/images/case01.png",)
    assert one.mask == place / "mine/masks/case01.png"  # which the one in gold/ has replaced
    assert one.values == {0: 0, 255: 1}
    assert found.moved(place / "there").cases["case01"].mask == place / "there/masks/case01.png"


def test_it_has_no_part_in_the_set(place):
    before = PreparedSet.open(place / "set")
    (place / "set" / ORIGIN).unlink()
    assert read_origin(place / "set") is None
    assert PreparedSet.open(place / "set").fingerprint == before.fingerprint
    (place / "mine").rename(place / "elsewhere")
    prepare_folder(place / "elsewhere", place / "other", edges="none", name="mine")
    (place / "elsewhere").rename(place / "mine")
    prepare_folder(place / "mine", place / "third", edges="none")
    assert (place / "third" / ORIGIN).read_bytes() != (place / "other" / ORIGIN).read_bytes()


def test_other_roles_keep_it_and_arrays_have_none(place):
    prepared = PreparedSet.open(place / "set")
    roles = {case.id: case.role for case in prepared.cases}
    resplit_set(prepared, place / "split", roles, note={})
    assert read_origin(place / "split") == read_origin(place / "set")
    images = [
        RawCase(f"a{n}", "train", f"a{n}", np.zeros((9, 9, 1), np.uint8) + n, disc(9, 9)) for n in range(3)
    ]
    prepare_cases(images, place / "arrays", name="arrays", edges="none")
    assert read_origin(place / "arrays") is None


def test_values_of_classes_that_a_mask_lacks(tmp_path):
    for number in range(6):
        save(tmp_path / f"mine/images/c{number}.png", np.full((20, 24), number, np.uint8))
        mask = disc(value=7)
        if number == 5:
            mask[0, 0] = 9
        save(tmp_path / f"mine/masks/c{number}.png", mask)
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none", remap={7: 1, 9: 2}, val=0.2, test=0.2)
    found = read_origin(tmp_path / "set")
    own = found.cases["c0"].values
    assert [found.value_of(label, own) for label in (0, 1, 2, 3, 255)] == [0, 7, 9, None, None]


def test_a_value_that_is_another_class_in_this_file_is_not_borrowed():
    """Files may number their classes each otherwise, by names: painted pixels would become the other class."""
    files = {"a": CaseOrigin((), None, {0: 0, 1: 2, 2: 1}), "b": CaseOrigin((), None, {0: 0, 1: 1})}
    origin = Origin(Path("x"), files)
    assert origin.value_of(2, files["b"].values) is None
    assert origin.value_of(1, files["b"].values) == 1
    assert origin.value_of(2, {0: 0}) == 1
    assert origin.value_of(3, {0: 0, 3: 1}) is None


WRONG = {
    "path outside": lambda held: held["cases"]["case00"].update(mask="../../etc/passwd"),
    "absolute": lambda held: held["cases"]["case00"].update(images=["/etc/passwd"]),
    "format": lambda held: held.update(format="x"),
    "no cases": lambda held: held.pop("cases"),
    "class": lambda held: held["cases"]["case00"].update(values={"0": 900}),
    "values": lambda held: held["cases"]["case00"].update(values=[1]),
    "kind": lambda held: held["cases"]["case00"].update(mask=3),
}


@pytest.mark.parametrize("what", WRONG)
def test_one_that_was_edited_is_one_sentence(place, what):
    path = place / "set" / ORIGIN
    held = json.loads(path.read_bytes())
    WRONG[what](held)
    path.write_text(json.dumps(held))
    with pytest.raises(InputError, match=r"origin.json.*; prepare the set again, or remove this file"):
        read_origin(place / "set")
