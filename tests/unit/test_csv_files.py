"""Tables that a spreadsheet shows as they are, and that are read back as they were."""

import csv
import io
import json

import pytest
from tests.unit.evaluation.fakes import scene, write_fake_run

from metadcseg import PreparedSet, evaluate_run
from metadcseg.audit.plan import splits_text
from metadcseg.csv_files import csv_rows, csv_text, from_csv_text
from metadcseg.data.splits.roles import SplitRow, read_splits
from metadcseg.data.store.writer import SetWriter
from metadcseg.results.records import read_runs

FORMULAS = ["=1+1", "+a", "-b", "@c", "\tx", "\rx", "=cmd|'/c calc'!A0", "'=a", "''-a"]
PLAIN = ["", "a", "a=b", "'quoted'", "-0.5", "+1e-3", "3", "naïve", 'a,b\n"c']


@pytest.mark.parametrize("text", FORMULAS + PLAIN)
def test_text_comes_back(text):
    assert from_csv_text(csv_text(text)) == text
    (cells,) = csv.reader(io.StringIO(csv_rows([[text, 1]]), newline=""))
    assert cells == [csv_text(text), "1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_formula_begins_a_cell(text):
    assert csv_text(text)[0] == "'"


def test_numbers_stay_numbers():
    assert csv_rows([[-0.5, None, 3, "-0.5"]]) == "-0.5,,3,-0.5\n"


def test_roles_of_cases_whose_names_are_formulas(tmp_path):
    rows = {name: SplitRow("gold", f"{name} group") for name in ("=1+1", "+a", "-b", "@c", "'=a", "plain")}
    file = tmp_path / "splits.csv"
    file.write_bytes(splits_text(rows))
    assert all(line[0] not in "=+-@" for line in file.read_text().splitlines())
    found, findings = read_splits(file, list(rows))
    assert findings == []
    assert found == rows


def test_scores_of_cases_whose_names_are_formulas(tmp_path):
    names = ("=1+1", "-b", "@c")
    with SetWriter(tmp_path / "set", name="x", classes=("background", "organ"), channels=1) as writer:
        for number, name in enumerate(names):
            image, mask = scene(32, 32, 4 + number, 6, 12)
            writer.add(id=name, role="test", group=f"+{name}", image=image, label=mask)
    prepared = PreparedSet.open(tmp_path / "set")
    run = write_fake_run(tmp_path / "run", prepared)
    evaluate_run(run, prepared, "test", trust_code=True)
    lines = (run / "evaluation" / "test.csv").read_text().splitlines()
    rows = list(csv.DictReader(lines))
    assert {cell[:2] for row in rows for cell in (row["id"], row["group"])} == {"'=", "'-", "'@", "'+"}
    assert set(json.loads((run / "evaluation" / "test.json").read_text())["predictions"]) == set(names)
    (read,) = read_runs([run], "test")
    assert {(name, case.group) for name, case in read.cases.items()} == {(name, f"+{name}") for name in names}
    assert all(case.prediction is not None for case in read.cases.values())
