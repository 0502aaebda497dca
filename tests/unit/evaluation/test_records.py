"""Means, spreads and counts that can be checked by hand."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from metadcseg.errors import InputError
from metadcseg.evaluation.records import summarize, write_record
from metadcseg.metrics import METRICS, CaseScore, background_counts, score_labels

CLASSES = ("background", "organ", "core")


def case(row, prediction, reference, spacing=None, kind="truth", name=None):
    prediction, reference = (np.array(mask, np.uint8).reshape(1, -1) for mask in (prediction, reference))
    scores = score_labels(prediction, reference, CLASSES, spacing)
    background = background_counts(prediction, reference)
    return CaseScore(row, name or f"case {row}", f"group {row}", kind, scores, background)


def example():
    return [
        case(0, [1, 1, 0, 0, 2, 0], [1, 1, 0, 0, 2, 0], spacing=(1.0, 2.0)),
        case(1, [1, 0, 0, 0, 2, 0], [1, 1, 1, 0, 0, 0]),  # organ: 1 of 3; core: invented
        case(2, [0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]),  # organ: missed; core: in neither
    ]


def test_means_and_spreads_over_cases():
    result = summarize(example())
    dsc = result["summary"]["dsc"]
    organ = [1.0, 0.5, 0.0]
    core = [1.0, 0.0, 1.0]
    per_case = [(a + b) / 2 for a, b in zip(organ, core, strict=True)]
    assert dsc["mean"] == pytest.approx(np.mean(per_case))
    assert dsc["sd"] == pytest.approx(np.std(per_case, ddof=1))
    assert (dsc["n"], dsc["median"], dsc["min"], dsc["max"]) == (3, 0.5, 0.25, 1.0)
    assert result["per_class"]["organ"]["dsc"]["mean"] == 0.5
    assert result["per_class"]["core"]["dsc"]["mean"] == pytest.approx(2 / 3)


def test_pooled_is_another_number_than_the_mean():
    result = summarize(example())
    # organ: overlap 2 + 1 + 0, predicted 2 + 1 + 0, reference 2 + 3 + 2
    # core: overlap 1, predicted 1 + 1, reference 1
    assert result["per_class"]["organ"]["pooled"] == {
        "dsc": pytest.approx(6 / 10),
        "iou": pytest.approx(3 / 7),
    }
    assert result["per_class"]["core"]["pooled"] == {"dsc": pytest.approx(2 / 3), "iou": pytest.approx(1 / 2)}
    assert result["pooled"]["dsc"] == pytest.approx((6 / 10 + 2 / 3) / 2)
    assert result["pooled"]["dsc"] != pytest.approx(result["summary"]["dsc"]["mean"])


def test_miou_has_the_background_as_one_more_class():
    result = summarize(example())
    # background: 3 of 3; 2 of 5, as 4 are predicted and 3 in the reference; 4 of 6
    per_case = [(1 + 1 + 1) / 3, (2 / 5 + 1 / 3 + 0) / 3, (4 / 6 + 0 + 1) / 3]
    assert result["summary"]["miou"]["mean"] == pytest.approx(np.mean(per_case))
    assert result["pooled"]["miou"] == pytest.approx(((3 + 2 + 4) / (3 + 5 + 6) + 3 / 7 + 1 / 2) / 3)
    assert "miou" not in result["per_class"]["organ"]


def test_without_counts_of_the_background_there_is_no_miou():
    cases = [replace(example()[0], background=None), example()[1]]
    result = summarize(cases)
    assert result["summary"]["miou"]["n"] == 1
    assert "miou" not in result["pooled"]


def test_empty_masks_are_counted_per_class_and_together():
    result = summarize(example())
    counts = ("empty_predictions", "empty_references", "both_empty")
    assert [result["per_class"]["organ"][name] for name in counts] == [1, 0, 0]
    assert [result["per_class"]["core"][name] for name in counts] == [1, 2, 1]
    assert [result[name] for name in counts] == [2, 2, 1]


def test_mm_where_known_and_its_own_n():
    result = summarize(example())
    assert (result["summary"]["hd_mm"]["n"], result["summary"]["hd"]["n"]) == (1, 3)
    assert set(summarize(example()[1:])["summary"]) == {*METRICS, "miou"}


def test_a_single_case_has_no_spread():
    assert summarize(example()[:1])["summary"]["dsc"]["sd"] is None


def test_reference_is_named():
    truth, label = example()[0], case(1, [1], [1], kind="label")
    assert [summarize(cases)["reference"] for cases in ([truth], [label], [truth, label])] == [
        "truth",
        "label",
        "mixed",
    ]


def test_a_miss_never_helps_the_mean():
    """The mean HD95 with an object missed is worse than with it found badly (MONAI issue 9095)."""
    good = case(0, [1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0])
    badly = case(1, [0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0])
    missed = case(1, [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0])
    means = [summarize([good, other])["per_class"]["organ"]["hd95"]["mean"] for other in (badly, missed)]
    assert means[1] > means[0] > 0


def test_no_case_is_refused():
    with pytest.raises(InputError, match="at least one case"):
        summarize([])


def test_files_hold_every_case(tmp_path):
    hostile = 'a,"b"\n=1+1 \udcff'
    scores = [*example(), case(9, [1], [1], name=hostile)]
    record = {"split": "test", **summarize(scores)}
    write_record(tmp_path / "new", record, scores, {"case 0": "test/0000.png"})
    assert json.loads((tmp_path / "new" / "test.json").read_text()) == record
    with (tmp_path / "new" / "test.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == ["0", "1", "2", "9"]
    assert rows[3]["id"].startswith('a,"b"\n=1+1')
    assert rows[0]["prediction"] == "test/0000.png"
    assert rows[1]["prediction"] == rows[1]["hd_mm"] == ""
    assert float(rows[1]["dsc"]) == scores[1].mean("dsc")
    assert [int(rows[1][f"organ {name}"]) for name in ("overlap", "predicted", "reference")] == [1, 1, 3]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["test.csv", "test.json"]
