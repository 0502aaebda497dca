from collections import Counter
from unicodedata import normalize

import pytest

from metadcseg.data import case_names
from metadcseg.data.case_names import Meant, case_called
from metadcseg.data.sources.pairing import unmatched
from metadcseg.data.splits.roles import read_splits, with_gold
from metadcseg.errors import InputError


def test_names_of_gold_are_compared_as_those_of_other_lists():
    roles = dict.fromkeys(("Müller_0", "Müller_1", "c.9"), "train")
    names = [normalize("NFD", "Müller_0"), "c.9.nii.gz"]
    assert [name for name, role in with_gold(roles, names, 0).items() if role == "gold"] == [
        "Müller_0",
        "c.9",
    ]
    with pytest.raises(InputError, match=r"unknown gold case 'c\.1'"):
        with_gold(roles, ["c.1"], 0)


def test_comparing_names_takes_time_for_the_first_few_only(tmp_path, monkeypatch):
    asked = Counter()

    def compare(name, names, n, cutoff):
        asked[len(names)] += 1
        return []

    monkeypatch.setattr(case_names, "get_close_matches", compare)
    meant = Meant([str(number) for number in range(300)])
    assert {meant.hint(f"x{number}", "add it") for number in range(100)} == {"add it"}
    images = {f"img_{number}": tmp_path / f"img_{number}.png" for number in range(200)}
    masks = {f"seg_{number}": tmp_path / f"seg_{number}.png" for number in range(200)}
    assert len(unmatched(images, masks, tmp_path)) == 400
    table = tmp_path / "splits.csv"
    table.write_text("id,role\n" + "".join(f"x{number},train\n" for number in range(100)))
    assert len(read_splits(table, set(images))[1]) == 101
    assert asked == {300: 20, 200: 40}


def test_case_called_looks_at_the_name_as_it_stands_first():
    assert case_called("a.png", ["a.png", "a"]) == "a.png"
    assert case_called("a.seg.nrrd", ["a.seg", "a"]) == "a"
    assert case_called("a.txt", ["a"]) is None


def test_lists_may_name_the_folder_of_a_file():
    assert case_called("images/a.png", ["a"]) == case_called("images/a.nii.gz", ["a"]) == "a"
