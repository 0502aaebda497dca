"""In how many cases of each role a class appears, and when that is worth a table."""

import json

import numpy as np
import pytest
from tests.unit.data.folders import make_folder, picture, save, write

from metadcseg.cli.main import main
from metadcseg.data.prepare.by_role import MaskCounts, class_cases, class_table
from metadcseg.data.prepare.checks import check_folder, check_set
from metadcseg.data.prepare.pipeline import prepare_folder

ROLES = {"a": "train", "b": "train", "c": "gold", "d": "val", "e": "test"}
CLASSES = {"a": (1, 2), "b": (1,), "c": (1, 2), "d": (1,), "e": (2,)}
EXPECTED = {
    "class 1": {"train": 2, "gold": 1, "val": 1, "test": 0},
    "class 2": {"train": 1, "gold": 1, "val": 0, "test": 1},
}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "folder"
    for number, (name, values) in enumerate(CLASSES.items()):
        mask = np.zeros((20, 24), np.uint8)
        for value in values:
            mask[4 * value : 4 * value + 3, 5:15] = value
        save(root / "images" / f"{name}.png", picture(number))
        save(root / ("gold" if name == "c" else "masks") / f"{name}.png", mask)
    write(root / "splits.csv", "\n".join(["id,role", *(f"{name},{role}" for name, role in ROLES.items())]))
    return root


def test_folder_set_and_report_count_alike(folder, tmp_path):
    assert check_folder(folder).class_cases == EXPECTED
    report = prepare_folder(folder, tmp_path / "set", edges="none")
    assert report.class_cases == report.to_dict()["class_cases"] == EXPECTED
    assert check_set(tmp_path / "set").class_cases == EXPECTED


def test_both_commands_print_it(folder, tmp_path, capsys):
    lines = ["cases with  train  gold  val  test", "class 1         2     1    1     0"]
    lines += ["class 2         1     1    0     1", "in all          2     1    1     1"]
    assert main(["check", str(folder)]) == 0
    assert "\n".join(lines) in capsys.readouterr().out
    assert main(["prepare", str(folder), "--out", str(tmp_path / "set"), "--edges", "none"]) == 0
    assert "\n".join(lines) in capsys.readouterr().out
    assert main(["check", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["class_cases"] == EXPECTED


def test_one_class_that_every_case_shows_needs_no_table(tmp_path):
    report = check_folder(make_folder(tmp_path))
    assert class_table(report.class_cases, report.cases) == []
    save(tmp_path / "masks/case03.png", np.zeros((20, 24), np.uint8))
    report = check_folder(tmp_path)
    table = class_table(report.class_cases, report.cases)
    assert len(table) == 3
    assert sum(map(int, table[1].split()[1:])) == 11


def test_outlines_of_one_case_are_one_case(tmp_path):
    for number in range(12):
        save(tmp_path / f"images/c{number}.png", picture(number))
        for value, who in enumerate(("anna", "ben"), start=1):
            mask = np.zeros((20, 24), np.uint8)
            mask[5:12, 5 : 12 + value] = 1
            mask[13:17, 5:9] = 2 if number % 2 == value % 2 else 0
            save(tmp_path / f"masks/{who}/c{number}.png", mask)
    counted = check_folder(tmp_path, val=0, test=0).class_cases
    assert counted == {"class 1": {"train": 12}, "class 2": {"train": 12}}


def test_many_classes_are_cut_short():
    names = ["background", *(f"organ {number}" for number in range(30))]
    masks = [MaskCounts("a", "train", (5, *[1] * 30), (1, *[0] * 30))]
    table = class_table(class_cases(masks, names), {"train": 1})
    assert len(table) == 23
    assert "10 more classes" in table[-2]
