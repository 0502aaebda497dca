"""Sets and runs that the code before the rename left behind open, score and go on as they would have then."""

import json
import tarfile

import pytest
from tests.golden import cases
from tests.golden.compare import GOLDEN, TOLERANCE, alike, assert_same_old_run, not_in_bits
from tests.golden.record import OLD, score

from metadcseg.results.records import read_runs
from metadcseg.training.run.folder import read_run

STOPPED = [name for name in cases.OLD_RUNS if name != "finished"]


@pytest.fixture
def before(tmp_path):
    """The folders of before, in a place that they have never been."""
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.mark.parametrize("name", cases.OLD_SETS)
def test_an_old_set_opens_and_is_sound(name, before):
    assert cases.look_at_set(before / name) == GOLDEN["old"]["sets"][name]
    findings = json.loads(cases.run(cases.check_words(before / name)))["findings"]
    assert [found["severity"] for found in findings if found["severity"] == "error"] == []


def test_an_old_run_has_its_score(before):
    assert (
        cases.digest(cases.load_file(before / "finished" / cases.MODEL))
        == (GOLDEN["old"]["runs"]["finished"]["model"])
    )
    found, wanted = score(before / "finished", before / "images"), GOLDEN["old"]["score"]
    assert found.pop("miou")["mean"] > 0  # scored since
    if found != wanted:
        assert not alike(GOLDEN["old"])
        assert found["dsc"] == pytest.approx(wanted["dsc"], **TOLERANCE)
        not_in_bits([GOLDEN["old"]["machine"]])


def test_an_old_run_that_no_method_can_go_on_with_is_scored_and_refused_in_a_sentence(before, capfd):
    run, data = before / "persistent", before / "images"
    assert 0 <= score(run, data)["dsc"]["mean"] <= 1
    info = read_run(run)
    assert (info["method"], info["label"]) == ("metadcseg", "metadcseg")
    words = cases.resume_words(data, run, {**cases.OLD_RUNS["paper"], "epochs": 6})
    assert cases.ENTRY(words) == 2
    said = capfd.readouterr().err.splitlines()[-1]
    assert (
        "pseudo_labels 'ema', virtual_step 'linearized', gold_momentum 0.9, dice 'weighted', cross_fit True"
        in said
    )
    assert "train anew with another --out" in said


def test_old_runs_are_called_what_their_method_is_called_now(before):
    assert [read_run(before / name)["method"] for name in ("finished", "shared", "paper")] == [
        "supervised",
        "binned",
        "metadcseg",
    ]
    runs = read_runs([before / name for name in ("shared", "paper")])
    assert [run.name for run in runs] == ["binned", "metadcseg"]


@pytest.mark.parametrize("name", ["shared", "paper", "persistent"])
def test_what_an_old_run_has_learned_of_its_pixels_is_read(name, before):
    run = before / name
    cases.run([*cases.evaluate_words(run, before / "images"), "--weights"])
    alphas = json.loads((run / "evaluation" / "weights.json").read_text())["distance"]["alpha"]
    assert any(alpha is not None and abs(alpha - 1) > 1e-3 for alpha in alphas)


@pytest.mark.parametrize("name", STOPPED)
def test_an_old_run_goes_on_to_the_end_it_would_have_had(name, before):
    wanted = GOLDEN["old"]["runs"][name]
    run, options = before / name, cases.OLD_RUNS[name]
    assert len(cases.epochs_of(run)) < len(wanted["epochs"])
    cases.run(cases.resume_words(before / "images", run, options))
    assert_same_old_run(cases.look_at_run(run), name)
