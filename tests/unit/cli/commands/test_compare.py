"""``metadcseg compare`` on evaluated runs, from their folders to the page."""

import json

import pytest
from tests.end_to_end.tools import cli, done, refused
from tests.unit.evaluation.fakes import write_fake_run, write_fake_set


@pytest.fixture
def runs(tmp_path):
    """Two labels, two seeds, one network: no difference."""
    prepared, folders = write_fake_set(tmp_path / "set"), []
    for label in ("plain", "ours"):
        for seed in (0, 1):
            folder = write_fake_run(tmp_path / f"{label}-{seed}", prepared)
            told = json.loads((folder / "run.json").read_text()) | {"label": label, "seed": seed}
            (folder / "run.json").write_text(json.dumps(told))
            folders.append(folder)
    return folders


def test_a_table_and_a_page(runs, tmp_path):
    for folder in runs:
        done("evaluate", folder)
    page = tmp_path / "page.html"
    result = cli("compare", *runs, "--out", page, "--baseline", "plain")
    assert result.status == 0, result.err
    assert "baseline" in result.out
    assert "too few cases" in result.out  # three cases, five at least
    assert str(page) in result.out.replace("\n", "")
    assert "ours, seed 1" in page.read_text()
    told = cli("compare", *runs, "--out", page, "--json").json
    assert [row["label"] for row in told["rows"]] == ["plain", "ours"]
    assert told["rows"][1]["difference"]["mean"] == 0
    assert told["rows"][0]["difference"] is None
    assert told["rows"][0]["dsc"]["sd"] == 0
    assert told["unfair"] == []


def test_what_is_no_evaluated_run(runs, tmp_path):
    refused("compare", *runs, says=("has no scores of test cases: metadcseg evaluate",))
    refused("compare", tmp_path, says=("is not the folder of a run",))
    refused("compare", runs[0], runs[0], says=("is named twice",))
