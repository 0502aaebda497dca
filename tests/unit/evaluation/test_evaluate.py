"""A whole evaluation of a network whose answers are known."""

import csv
import json
from dataclasses import replace
from math import hypot

import numpy as np
import pytest
from PIL import Image
from tests.unit.evaluation.fakes import scene, write_fake_run, write_fake_set

from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.errors import InputError
from metadcseg.evaluation import scored_split
from metadcseg.evaluation.evaluate import evaluate_run


@pytest.fixture
def prepared(tmp_path) -> PreparedSet:
    return write_fake_set(tmp_path / "set")


@pytest.fixture
def run(tmp_path, prepared):
    return write_fake_run(tmp_path / "run", prepared)


def test_scores_and_files(run, prepared):
    calls = []
    record = evaluate_run(run, prepared, "test", progress=lambda *place: calls.append(place), trust_code=True)
    assert calls == [(1, 3), (2, 3), (3, 3)]
    folder = run / "evaluation"
    assert json.loads((folder / "test.json").read_text()) == record
    assert (record["method"], record["label"], record["seed"]) == ("supervised", "fake", 7)
    assert record["set"]["fingerprint"] == prepared.fingerprint
    assert (record["empty_predictions"], record["empty_references"]) == (1, 0)
    assert record["summary"]["dsc"]["n"] == 3
    assert record["reference"] == "truth"
    assert record["notes"] == []
    with (folder / "test.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert float(rows["found"]["dsc"]) > 0.9
    assert rows['wrong/label, "x"\n']["dsc"] == rows["found"]["dsc"]  # against the truth, not the label
    assert float(rows["../missed"]["dsc"]) == 0
    assert float(rows["../missed"]["hd95"]) == hypot(48, 64)
    assert [rows[name]["hd_mm"] == "" for name in rows] == [False, True, True]
    dsc = [float(row["dsc"]) for row in rows.values()]
    assert record["summary"]["dsc"]["mean"] == pytest.approx(np.mean(dsc))


def test_predictions_are_saved_under_names_of_cases_in_native_size(run, prepared):
    record = evaluate_run(run, prepared, "test", trust_code=True)
    folder = run / "evaluation"
    names = ["found", "wrong_label___x__", "_missed"]
    assert list(record["predictions"].values()) == [f"test/{name}.png" for name in names]
    assert sorted(path.name for path in folder.iterdir()) == ["test", "test.csv", "test.json"]
    assert sorted(path.name for path in (folder / "test").iterdir()) == sorted(f"{n}.png" for n in names)
    mask = np.array(Image.open(folder / record["predictions"]["found"]))
    assert mask.shape == (48, 64)
    assert set(np.unique(mask)) == {0, 255} == set(record["mask_values"].values())
    truth = prepared.truth(prepared.cases[0])
    assert ((mask > 0) == (truth > 0)).mean() > 0.98


def test_what_is_not_wanted_is_not_written_and_not_left(run, prepared):
    evaluate_run(run, prepared, "test", overlays=True, trust_code=True)
    assert len(list((run / "evaluation" / "test" / "overlays").iterdir())) == 3
    record = evaluate_run(run, prepared, "test", save_predictions=False, trust_code=True)
    assert record["predictions"] == {}
    assert not (run / "evaluation" / "test").exists()


def test_labels_stand_in_where_there_is_no_truth(run, prepared):
    record = evaluate_run(run, prepared, "val", trust_code=True)
    assert record["reference"] == "label"
    assert len(record["notes"]) == 2
    assert "chosen by these cases" in record["notes"][0]
    assert record["notes"][1].startswith("1 of 1 cases have no verified reference")
    assert "gold/" in record["notes"][1]
    assert record["summary"]["dsc"]["sd"] is None


def test_training_cases_are_scored_against_truth_and_said_to_be_seen(run, prepared):
    record = evaluate_run(run, prepared, "train", trust_code=True)
    assert record["reference"] == "truth"
    assert record["summary"]["dsc"]["mean"] > 0.9
    assert "has seen the train images" in record["notes"][0]


def test_another_set_is_noted_and_the_noise_is_that_of_training(tmp_path):
    noisy = write_fake_set(tmp_path / "noisy", noise={"rate": 0.4, "draws": ["long"] * 500})
    clean = write_fake_set(tmp_path / "clean")
    record = evaluate_run(write_fake_run(tmp_path / "run", noisy), clean, "test", trust_code=True)
    assert record["noise"] == {"rate": 0.4}
    assert "trained on another set" in record["notes"][0]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"classes": ("background", "lesion")},
            r"classes of the run \(background, organ\), got background, lesion",
        ),
        ({"channels": 3}, "must have images of 1 channels, as the run was trained on, got 3"),
    ],
)
def test_a_set_of_another_kind_is_refused(tmp_path, run, changed, sentence):
    other = write_fake_set(tmp_path / "other", **changed)
    with pytest.raises(InputError, match=sentence):
        evaluate_run(run, other, "test", trust_code=True)
    assert not (run / "evaluation").exists()


def test_unknown_and_empty_splits_are_refused(run, prepared):
    with pytest.raises(InputError, match="did you mean 'test'"):
        evaluate_run(run, prepared, "tset", trust_code=True)
    with pytest.raises(InputError, match="has no gold cases"):
        evaluate_run(run, prepared, "gold", trust_code=True)


def test_a_failure_leaves_the_earlier_evaluation_whole(run, prepared, monkeypatch):
    evaluate_run(run, prepared, "test", trust_code=True)
    before = {path: path.read_bytes() for path in (run / "evaluation").rglob("*") if path.is_file()}
    assert len(before) == 5
    damaged = iter([True, False])
    score = scored_split.score_unit

    def fails_at_the_second(*arguments):
        if not next(damaged):
            raise InputError("damaged")
        return score(*arguments)

    monkeypatch.setattr(scored_split, "score_unit", fails_at_the_second)
    with pytest.raises(InputError, match="damaged"):
        evaluate_run(run, prepared, "test", overlays=True, trust_code=True)
    after = {path: path.read_bytes() for path in (run / "evaluation").rglob("*") if path.is_file()}
    assert after == before


def test_a_diverged_network_is_named(tmp_path, prepared):
    run = write_fake_run(tmp_path / "broken", prepared, broken=True)
    with pytest.raises(InputError, match="finite probabilities"):
        evaluate_run(run, prepared, "test", trust_code=True)


def test_what_is_no_run_is_refused(tmp_path, prepared):
    with pytest.raises(InputError, match="not the folder of a run"):
        evaluate_run(tmp_path / "set", prepared, "test", trust_code=True)


def test_several_classes(tmp_path):
    image, mask = scene(40, 40, 8, 8, 16)
    mask[20:24, 8:24] = 2
    image[mask == 1], image[mask == 2] = 70, 250
    classes = ("background", "organ", "core")
    with SetWriter(tmp_path / "set", name="three", classes=classes, channels=1) as writer:
        writer.add(id="a", role="test", group="", image=image, label=mask)
    prepared = PreparedSet.open(tmp_path / "set")
    record = evaluate_run(write_fake_run(tmp_path / "run", prepared), prepared, "test", trust_code=True)
    assert list(record["per_class"]) == ["organ", "core"]
    assert record["per_class"]["core"]["dsc"]["mean"] > 0.8
    assert record["mask_values"] == {"background": 0, "organ": 1, "core": 2}
    assert set(np.unique(Image.open(tmp_path / "run/evaluation/test/a.png"))) == {0, 1, 2}


def test_fake_cases_hold_both_classes(prepared):
    for case in prepared.cases:
        assert set(np.unique(prepared.label(case))) == {0, 1}
        assert replace(case) == case


@pytest.mark.parametrize("failure", [OSError(36, "File name too long"), InputError("too large to draw")])
def test_a_picture_that_fails_costs_no_score(run, prepared, monkeypatch, failure):
    failing = iter([False, True, False])

    def draws(*arguments):
        if next(failing):
            raise failure
        return b"picture"

    monkeypatch.setattr(scored_split, "_drawn", draws)
    with pytest.raises(
        InputError, match=r"(?s)^the scores of all 3 cases .* pictures of 1 are not: .*(too long|draw)"
    ):
        evaluate_run(run, prepared, "test", overlays=True, trust_code=True)
    assert len(list((run / "evaluation/test/overlays").iterdir())) == 2
    assert json.loads((run / "evaluation/test.json").read_text())["summary"]["dsc"]["n"] == 3
