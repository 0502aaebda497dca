"""Records of folds, evaluations and tasks: which values they may hold, by field."""

from pathlib import Path

import pytest

from metadcseg.errors import InputError
from metadcseg.metrics import BACKGROUND_METRIC, METRICS, MM_METRICS
from metadcseg.results.records import read_object
from metadcseg.results.schema import Evaluation, Folds, Summary, Task
from metadcseg.schemas import fitting

SCORE = {"mean": 0.5, "sd": None, "n": 1}
ODD = {**SCORE, "mean": "x"}
FOLDS = {"set": "x", "folds": 2, "seed": 0, "val": 0.1, "gold": "1", "rate": 0.0, "model": "paper"}
FOLDS |= {"roles": [{"a": "train"}, {"a": "test"}]}
EVALUATION = {
    "method": "x",
    "label": "x",
    "set": {"fingerprint": "x"},
    "epochs_done": 1,
    "empty_predictions": 0,
}
EVALUATION |= {"summary": dict.fromkeys(METRICS, SCORE), "notes": ["as it was"]}
TASK = {"id": "a", "set": "a", "row": "a", "folder": "a"}
WRONG = [
    (Folds, FOLDS, {"roles": [{"a": "train"}]}, "'roles' must be a list of length >= 2"),
    (Folds, FOLDS, {"roles": [{"a": "tran"}, {}]}, "must be one of train, gold, val, test, got 'tran'"),
    (Folds, FOLDS, {"folds": 1}, "'folds' must be a whole number >= 2"),
    (Folds, FOLDS, {"rate": 1.0}, "'rate' must be a number < 1.0"),
    (Evaluation, EVALUATION, {"summary": {"dsc": SCORE}}, "'summary' lacks 'iou'"),
    (
        Evaluation,
        EVALUATION,
        {"summary": dict.fromkeys((*METRICS, "x"), SCORE)},
        "'summary' holds an unknown key 'x'",
    ),
    (
        Evaluation,
        EVALUATION,
        {"summary": dict.fromkeys(METRICS, ODD)},
        "mean' must be a number",
    ),
    (Evaluation, EVALUATION, {"set": []}, "'set' must be an object"),
    (Task, TASK, {"folds": 10**9}, "'folds' must be a whole number <= 20"),
    (Task, TASK, {"id": ""}, "'id' must be text of length >= 1"),
    (Task, TASK, {"noise": {"rate": 2}}, "'noise.rate' must be a number < 1.0"),
]


@pytest.mark.parametrize(("kind", "held", "change", "says"), WRONG)
def test_what_does_not_fit_is_named(kind, held, change, says):
    fitting(held, kind, "x.json", "again")
    with pytest.raises(InputError) as found:
        fitting(held | change, kind, "x.json", "again")
    assert says in str(found.value)


def test_a_summary_has_every_metric_that_is_scored():
    assert set(Summary.__struct_fields__) == {*METRICS, BACKGROUND_METRIC, *MM_METRICS}


def test_a_run_whose_name_no_disk_holds_is_missing():
    missing = []
    assert read_object(Path("x" * 300) / "run.json", missing) == {}
    assert len(missing) == 1
    assert missing[0].endswith("does not exist.")
