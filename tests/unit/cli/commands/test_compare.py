"""Runs side by side: what is one row, what is tested, what is refused."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests.unit.evaluation.fakes import write_fake_run, write_fake_set

from metadcseg.cli.main import main
from metadcseg.data.store.reader import PreparedSet
from metadcseg.evaluation.evaluate import evaluate_run

CASES = [f"case {number}" for number in range(10)]


def write_run(
    folder,
    label,
    seed,
    scores,
    *,
    method="supervised",
    gold="none",
    name="mine",
    fingerprint="f" * 64,
    groups=None,
    inference=None,
    **info,
):
    """Write an evaluated run from made-up scores."""
    (folder / "evaluation").mkdir(parents=True)
    held = {"name": name, "fingerprint": fingerprint, "path": str(folder.parent / "set")}
    declared = {"labels": "given", "supervises_gold": gold == "mixed", "needs_gold": gold == "mixed"}
    record = {
        "method": method,
        "label": label,
        "seed": seed,
        "options": {"gold": gold},
        "declaration": declared,
        "set": held,
        "noise": {"rate": 0.4},
        "network": {"width": 8},
        "training": {"epochs": 3, "threads": 1},
    } | info
    (folder / "run.json").write_text(json.dumps(record))
    cases = list(zip(CASES, scores, strict=False))
    means = {"dsc": float(np.mean(scores)), "iou": 0.5, "hd": 9.0, "hd95": 8.0, "nsd": 0.7}
    summary = {metric: {"mean": value, "sd": 0.1, "n": len(scores)} for metric, value in means.items()}
    evaluation = {"split": "test", "set": held, "summary": summary, "notes": ["read me"], "predictions": {}}
    evaluation |= {"epochs_done": 3, "inference": inference or {}}
    (folder / "evaluation" / "test.json").write_text(json.dumps(evaluation))
    with (folder / "evaluation" / "test.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["row", "id", "group", "dsc"])
        for row, (case, score) in enumerate(cases):
            lines.writerow([row, case, (groups or {}).get(case, ""), score])
    return folder


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder to stand in: the page goes there unless it is told where."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def runs(tmp_path):
    """Two rows of two seeds each: the second better in every case."""
    base = np.linspace(0.5, 0.7, 10)
    folders = []
    for seed in (0, 1):
        folders.append(
            write_run(tmp_path / f"better-{seed}", "better", seed, base + 0.1 + 0.01 * seed, method="binned")
        )
        folders.append(write_run(tmp_path / f"plain-{seed}", "plain", seed, base + 0.02 * seed, gold="mixed"))
    return folders


def compared(capsys, *words):
    assert main(["compare", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_seeds_are_one_row_and_equal_gold_is_the_baseline(runs, capsys):
    found = compared(capsys, *runs)
    assert set(found) == {"split", "baseline", "rows", "notes", "page"}
    assert (found["split"], found["baseline"], found["page"]) == (
        "test",
        "plain",
        str(Path("comparison.html").resolve()),
    )
    assert [row["label"] for row in found["rows"]] == ["better", "plain"]
    better, plain = found["rows"]
    assert (better["seeds"], better["method"], better["options"]) == (
        [0, 1],
        "binned",
        {"gold": "none", "forward_mode": "auto"},
    )
    assert better["runs"] == [str(runs[0]), str(runs[2])]
    assert better["summary"]["dsc"]["mean"] == pytest.approx(0.705)
    assert better["summary"]["dsc"]["sd"] == pytest.approx(0.01 / 2**0.5)  # over seeds, not over cases
    assert better["summary"]["dsc"]["n"] == 2
    assert plain["difference"] is None
    difference = better["difference"]
    assert difference["mean"] == pytest.approx(0.095)
    assert (difference["cases"], difference["better"], difference["worse"], difference["seeds"]) == (
        10,
        10,
        0,
        2,
    )
    assert difference["p"] == difference["p_holm"] == pytest.approx(2 / 2**10)
    assert difference["says"] == "better"
    assert found["notes"] == ["read me"]


def test_the_table_says_the_same(runs, capsys):
    assert main(["compare", *map(str, runs), "--baseline", "better"]) == 0
    out, err = capsys.readouterr()
    told = " ".join(out.split())
    assert "0.705 ± 0.007" in told
    assert "-0.095" in told
    assert "worse" in told
    assert "against better" in told
    assert err.startswith("note: read me\n")


def test_holm_counts_all_rows(runs, tmp_path, capsys):
    third = write_run(tmp_path / "third", "third", 0, np.linspace(0.5, 0.7, 10) + 0.05)
    found = compared(capsys, *runs, third)
    assert [row["difference"]["p_holm"] for row in found["rows"] if row["difference"]] == [
        pytest.approx(2 * 2 / 2**10)
    ] * 2
    assert "some rows have one seed" in found["notes"][0]


def test_images_of_one_patient_are_one_case(tmp_path, capsys):
    groups = {name: f"patient {number // 2}" for number, name in enumerate(CASES)}
    one = write_run(tmp_path / "a", "a", 0, np.linspace(0.5, 0.7, 10), groups=groups)
    two = write_run(tmp_path / "b", "b", 0, np.linspace(0.6, 0.9, 10), groups=groups)
    difference = compared(capsys, one, two)["rows"][1]["difference"]
    assert difference["cases"] == 5
    assert difference["p"] is None
    assert "too few cases" in difference["says"]


def test_rows_of_one_label_are_told_by_what_differs(tmp_path, capsys):
    scores = np.linspace(0.5, 0.7, 10)
    one = write_run(tmp_path / "a", "net", 0, scores)
    two = write_run(tmp_path / "b", "net", 0, scores, training={"epochs": 9, "threads": 2})
    found = compared(capsys, one, two)
    assert [row["label"] for row in found["rows"]] == ["net (training.epochs 3)", "net (training.epochs 9)"]
    assert found["rows"][1]["difference"]["p"] == 1.0
    assert any("differ in training.epochs" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"fingerprint": "e" * 64},
            "trained on different sets .*noise 40%.*compare runs of the same set and noise",
        ),
        ({"scores": np.ones(9)}, r"scored on different cases \(1 are only in one"),
        (
            {"label": "plain", "gold": "mixed", "method": "supervised"},
            "are one run with seed 0: give each seed once",
        ),
        ({"seed": 7}, "no scored case in common: give runs of the same seeds"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(tmp_path, capsys, change, sentence):
    first = write_run(tmp_path / "a", "plain", 0, np.ones(10), gold="mixed")
    told = {"label": "other", "seed": 0, "scores": np.ones(10), "method": "binned"} | change
    second = write_run(tmp_path / "b", **told)
    assert main(["compare", str(first), str(second)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert re.search(sentence, err), err


def test_words_that_do_not_fit(runs, tmp_path, capsys):
    for words, sentence in (
        ([runs[0]], "needs at least two different runs"),
        ([runs[0], runs[0]], "needs at least two different runs"),
        ([*runs, "--baseline", "plian"], "unknown --baseline 'plian': did you mean 'plain'?"),
        ([*runs, "--split", "tset"], "did you mean 'test'?"),
        ([*runs, "--split", "val", "--out", "x.html"], "--out writes a page about the test cases"),
        ([runs[0], tmp_path / "nothing"], "is not the folder of a run"),
        ([*runs[:2], "--split", "val"], "type 'metadcseg evaluate"),
    ):
        assert main(["compare", *map(str, words)]) == 2
        assert sentence in capsys.readouterr().err


def test_real_runs_are_evaluated_on_request_and_get_a_page(tmp_path, capsys):
    prepared = write_fake_set(tmp_path / "set")
    runs = []
    for seed in (1, 2):
        run = write_fake_run(tmp_path / f"run-{seed}", prepared)
        info = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(info | {"label": f"net {seed}", "seed": 1}))
        runs.append(run)
    evaluate_run(runs[0], PreparedSet.open(prepared.path), "test", trust_code=True)
    page = tmp_path / "page.html"
    assert main(["compare", *map(str, runs), "--out", str(page)]) == 2
    assert f"'metadcseg evaluate {runs[1]}' first, or add --evaluate" in capsys.readouterr().err
    found = compared(capsys, *runs, "--evaluate", "--trust-code", "--out", page)
    assert found["page"] == str(page)
    text = page.read_text()
    assert "net 1" in text
    assert "metadcseg compare" in text


def test_a_run_that_was_trained_on_since_is_evaluated_again(tmp_path, capsys):
    prepared = write_fake_set(tmp_path / "set")
    runs = [write_fake_run(tmp_path / name, prepared) for name in ("one", "two")]
    for run, seed in zip(runs, (1, 2), strict=True):
        evaluate_run(run, PreparedSet.open(prepared.path), "test", trust_code=True)
        info = json.loads((run / "run.json").read_text()) | {"seed": seed}
        (run / "run.json").write_text(json.dumps(info | {"epochs_done": 2 + seed}))
    assert main(["compare", *map(str, runs), "--out", str(tmp_path / "page.html")]) == 2
    said = capsys.readouterr().err
    assert f"{runs[1]} was evaluated before it trained on (after 3 epochs, of 4 now)" in said
    assert f"'metadcseg evaluate {runs[1]}' again, or add --evaluate" in said
    kept = (runs[0] / "evaluation" / "test.json").stat().st_mtime_ns
    assert len(compared(capsys, *runs, "--evaluate", "--trust-code")["rows"][0]["seeds"]) == 2
    assert json.loads((runs[1] / "evaluation" / "test.json").read_text())["epochs_done"] == 4
    assert (runs[0] / "evaluation" / "test.json").stat().st_mtime_ns == kept


def test_test_time_options_set_rows_apart_and_are_said(tmp_path, capsys):
    scores = np.linspace(0.5, 0.7, 10)
    plain = write_run(tmp_path / "a", "net", 0, scores, inference={"batch_size": 8})
    flipped = write_run(tmp_path / "b", "net", 0, scores, inference={"flips": True})
    found = compared(capsys, plain, flipped)
    assert [row["label"] for row in found["rows"]] == ["net", "net (inference.flips True)"]
    assert any("differ in inference.flips, not only in their method" in note for note in found["notes"])


@pytest.mark.parametrize("label", ["net", "another"])
def test_two_data_sets_are_neither_seeds_of_a_row_nor_rows_of_a_table(tmp_path, capsys, monkeypatch, label):
    one = write_run(tmp_path / "a", "net", 0, np.linspace(0.5, 0.7, 10))
    monkeypatch.setattr(f"{__name__}.CASES", [f"image {number}" for number in range(10)])
    two = write_run(tmp_path / "b", label, 1, np.linspace(0.5, 0.7, 10), name="another", fingerprint="e" * 64)
    assert main(["compare", str(one), str(two)]) == 2
    assert "scored on different data (mine, another), without a case in common" in capsys.readouterr().err


def test_seeds_may_have_other_splits_and_a_note_says_so(tmp_path, capsys, monkeypatch):
    one = write_run(tmp_path / "a", "net", 0, np.linspace(0.5, 0.7, 10))
    monkeypatch.setattr(f"{__name__}.CASES", [f"case {number}" for number in range(20, 30)])
    two = write_run(tmp_path / "b", "net", 1, np.linspace(0.5, 0.7, 10), fingerprint="e" * 64)
    found = compared(capsys, one, two)
    assert found["rows"][0]["seeds"] == [0, 1]
    assert any("scored on different cases" in note for note in found["notes"])


def test_a_set_that_was_moved_is_said_with_a_way_out(tmp_path, capsys):
    prepared = write_fake_set(tmp_path / "set")
    runs = [write_fake_run(tmp_path / name, prepared) for name in ("one", "two")]
    (tmp_path / "set").rename(tmp_path / "moved")
    assert main(["compare", *map(str, runs), "--evaluate", "--trust-code"]) == 2
    said = capsys.readouterr().err
    assert f"trained on is not at {tmp_path / 'set'} any more" in said
    assert f"type 'metadcseg evaluate {runs[0]} --data SET' first" in said
