"""The page of ``compare``: a report about runs that no benchmark made."""

import json

import numpy as np
import pytest
from PIL import Image
from tests.unit.report.folders import ROWS, write_run, write_set
from tests.unit.report.folders import task as made_task
from tests.unit.report.html_page import Page

from metadcseg.errors import InputError
from metadcseg.report.build import write_page
from metadcseg.report.run_comparison import compare_runs, record_of
from metadcseg.report.sections import build_report
from metadcseg.results.records import read_runs

HOSTILE = "<script>alert('x')</script>\"onload=\"x & $\\frac$"
CASES = tuple(f"case-{number}" for number in range(8))


@pytest.fixture
def runs(tmp_path):
    """Two rows of two seeds on one set; predictions are the reference moved."""
    prepared = write_set(tmp_path / "set", CASES)
    folders = []
    for place, row in enumerate(("noisy + gold", f"mine{HOSTILE}")):
        for seed in (0, 1):
            folder = tmp_path / f"{place}-{seed}"
            scores = {name: 0.6 + 0.1 * place + 0.01 * n + 0.02 * seed for n, name in enumerate(CASES)}
            masks = {
                case.id: np.roll(prepared.truth(case) * 255, place, axis=0)
                for case in prepared.select("test")
            }
            method = ROWS["noisy + gold"] if place == 0 else ROWS["metadcseg"]
            info = {"noise": {"target": 0.3, "model": "over"}}
            weights = {"gamma": [1.0] * 11} if place else None
            write_run(
                folder,
                made_task(row=row, seed=seed),
                method=method,
                scores=scores,
                masks=masks,
                info=info,
                weights=weights,
            )
            held = json.loads((folder / "run.json").read_text())
            held["set"] |= {"path": str(prepared.path), "name": "tiny", "fingerprint": "f"}
            held["noise"] |= info["noise"]
            (folder / "run.json").write_text(json.dumps(held))
            folders.append(folder)
    return folders


def page_of(folders, tmp_path, baseline=None):
    found = compare_runs(read_runs(folders), "test", baseline)
    report = build_report(record_of(found, "metadcseg compare <a> b"))
    return report, Page(write_page(report, tmp_path / "page.html"))


def test_the_page_has_table_tests_pictures_curves_and_the_command(runs, tmp_path):
    report, page = page_of(runs, tmp_path)
    assert [section.key for section in report.sections] == [
        *("scores", "cases", "weights", "curves", "cost", "next")
    ]
    assert "tiny, over 30 %" in page.text
    assert "metadcseg compare <a> b" in page.text
    (test,) = report.tests
    assert test.baseline == "noisy + gold"
    assert test.test.mean == pytest.approx(0.1)
    assert test.by_seed == pytest.approx((0.1, 0.1))
    (gallery,) = next(section.galleries for section in report.sections if section.key == "cases")
    assert all(picture.link for example in gallery.examples for picture in example.pictures)


def test_a_name_is_text_and_nothing_is_loaded(runs, tmp_path):
    _, page = page_of(runs, tmp_path)
    assert "mine" + " ".join(HOSTILE.split()) in page.text
    assert "script" not in {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert all(link.startswith("data:image/") for name in ("src", "srcset") for link in page.attributes(name))


def test_the_page_compares_with_the_baseline_that_was_asked_for(runs, tmp_path):
    report, _ = page_of(runs, tmp_path, baseline=f"mine{HOSTILE}")
    (test,) = report.tests
    assert (test.row, test.test.mean) == ("noisy + gold", pytest.approx(-0.1))


def test_without_equal_gold_the_page_says_what_nobody_can_tell(runs, tmp_path):
    report, _ = page_of(runs[2:], tmp_path)
    assert any("nobody can tell what a method adds" in sentence for sentence in report.missing)


def test_what_is_missing_is_a_sentence(runs, tmp_path):
    held = json.loads((runs[0] / "run.json").read_text())
    for folder in runs:
        held = json.loads((folder / "run.json").read_text())
        held["set"]["path"] = str(tmp_path / "nowhere")
        (folder / "run.json").write_text(json.dumps(held))
    (runs[0] / "metrics.jsonl").unlink()
    report, page = page_of(runs, tmp_path)
    assert any("so no case is shown" in sentence for sentence in report.missing)
    assert "has no learning curve" in page.text


def test_a_mask_outside_the_run_is_not_read(runs, tmp_path):
    file = runs[0] / "evaluation" / "test.json"
    record = json.loads(file.read_text())
    record["predictions"] = dict.fromkeys(record["predictions"], "../../../secret.png")
    file.write_text(json.dumps(record))
    Image.new("L", (24, 24)).save(tmp_path / "secret.png")
    assert all(case.prediction is None for case in read_runs(runs[:1])[0].cases.values())


def test_a_page_that_cannot_be_written_is_an_error(runs, tmp_path):
    (tmp_path / "file").write_text("")
    report, _ = page_of(runs, tmp_path)
    with pytest.raises(InputError, match="cannot be written"):
        write_page(report, tmp_path / "file" / "page.html")


def test_each_row_is_compared_with_equal_gold_of_its_own_network(runs):
    """Rows of another width beside: with a baseline of their own, and alone."""

    def widened(folder, width):
        held = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(held | {"network": {"width": width}}))

    for folder, width in zip(runs, (8, 16, 8, 16), strict=True):
        held = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(held | {"seed": 0}))
        widened(folder, width)
    found = compare_runs(read_runs(runs), "test")
    against = {row.label: row.compared and row.compared.baseline for row in found.rows}
    plain, mine = ([name for name in against if name.startswith(start)] for start in ("noisy + gold", "mine"))
    assert [against[name] for name in plain] == [None, None]
    assert [against[name] for name in mine] == plain
    assert found.baseline is None
    for folder, threads in zip(runs, (1, 1, 1, 7), strict=True):  # which changes no result
        held = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(held | {"training": {"threads": threads}}))
    page = record_of(compare_runs(read_runs(runs), "test"), "metadcseg compare")
    assert [page.baseline(name) for name in mine] == plain
    widened(runs[3], 32)
    found = compare_runs(read_runs(runs), "test")
    alone = next(row for row in found.rows if "network.width 32" in row.label)
    assert alone.compared is None
    (note,) = [note for note in found.notes if note.startswith("not compared, since no run here")]
    assert note.endswith(alone.label)
