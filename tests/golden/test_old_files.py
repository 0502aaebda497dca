"""Sets and runs that the code before the rename left behind open, score and go on as they would have then."""

import json
import tarfile

import pytest
from tests.golden import cases
from tests.golden.compare import ALIKE, GOLDEN, TOLERANCE, assert_same_run, not_in_bits
from tests.golden.record import OLD, score

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
    if ALIKE:
        assert found == wanted
        return
    assert found["dsc"] == pytest.approx(wanted["dsc"], **TOLERANCE)
    not_in_bits()


@pytest.mark.parametrize("name", STOPPED)
def test_an_old_run_goes_on_to_the_end_it_would_have_had(name, before):
    wanted = GOLDEN["old"]["runs"][name]
    run, options = before / name, cases.OLD_RUNS[name]
    assert len(cases.epochs_of(run)) < len(wanted["epochs"])
    cases.run(cases.resume_words(before / "images", run, options))
    assert_same_run(cases.look_at_run(run), wanted)
