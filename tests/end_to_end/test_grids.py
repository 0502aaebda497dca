"""What a grid does where a run or a set fails, gold is drawn anew or another benchmark is at work."""

import json

import pytest
import yaml
from tests.end_to_end.grids import ROWS, TRAINING, run_in_this_process, told, write_grid
from tests.end_to_end.tools import cli, done


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    run_in_this_process(monkeypatch)


def test_one_run_fails_and_the_others_go_on(sets, tmp_path):
    rows = {
        "right": {"method": "supervised"},
        "wrong": {"method": "binned"},  # wants the average network, of which there is none
        "right, too": ROWS["noisy + gold"],
    }
    options = {"network": {"width": 4}, "training": {**TRAINING, "ema_decay": 0}}
    file = write_grid(
        tmp_path, sets.clean, rows=rows, seeds=[0], options=options, partial="failures are asked about"
    )
    result = cli("benchmark", file, "--out", tmp_path / "out")
    assert result.status == 2
    tasks = told(tmp_path / "out")
    failed = [task for task in tasks.values() if task["status"] == "failed"]
    assert [task["row"] for task in failed] == ["wrong"]
    assert "training.ema_decay" in failed[0]["error"]
    assert "wrong/seed-0 failed: " in result.err
    (at_once,) = [line for line in result.err.splitlines() if "wrong/seed-0 failed (" in line]
    assert at_once.endswith(failed[0]["error"])  # not at the end of a long grid alone
    assert [task["status"] for task in tasks.values()].count("done") == 2


def test_a_set_that_cannot_be_made_fails_its_runs_alone_and_is_forgotten_when_corrected(sets, tmp_path):
    alike = {
        "rows": {name: ROWS[name] for name in ("noisy only", "clean labels")},
        "seeds": [0],
        "partial": "failures are asked about",
    }
    good, never = {"model": "over", "rate": 0.3}, {"model": "paper", "rate": 0.001}
    sources = {"good": str(sets.clean), "bad": {"prepare": "nothing-there"}}
    file = write_grid(tmp_path, sets.clean, sets=sources, noise=[good, never], **alike)
    result = cli("benchmark", file, "--out", tmp_path / "out")
    assert result.status == 2
    shown = {name: task["status"] for name, task in told(tmp_path / "out").items()}
    assert shown == {
        "good/over-0.3/noisy-only/seed-0": "done",
        "good/over-0.3/clean-labels/seed-0": "done",
        "good/paper-0.001/noisy-only/seed-0": "failed",
        "good/paper-0.001/clean-labels/seed-0": "done",  # the one beside the first noise
        **{
            f"bad/{noise}/{row}/seed-0": "failed"
            for noise in ("over-0.3", "paper-0.001")
            for row in ("noisy-only", "clean-labels")
        },
    }
    assert result.err.count("nothing-there") == 2  # at once and at the end, once for all its runs
    assert "good/paper-0.001/noisy-only/seed-0 failed: " in result.err
    write_grid(tmp_path, sets.clean, sets={"good": str(sets.clean)}, noise=[good], **alike)
    assert cli("benchmark", file, "--out", tmp_path / "out").status == 0
    left = told(tmp_path / "out")
    assert {task["noise"]["rate"] for task in left.values()} == {0.3}
    assert len(left) == 2


def test_gold_is_drawn_anew_for_a_grid_of_shares(sets, tmp_path):
    file = write_grid(tmp_path, sets.clean, seeds=[0], gold=[1, 4], partial="only gold is asked about")
    held = yaml.safe_load(file.read_text())
    held["rows"] = {"noisy + gold": ROWS["noisy + gold"]}
    file.write_text(yaml.safe_dump(held))
    done("benchmark", file, "--out", tmp_path / "out")
    runs = [
        json.loads((tmp_path / "out" / task["folder"] / "run.json").read_text())
        for task in told(tmp_path / "out").values()
    ]
    assert [run["set"]["cases"]["gold"] for run in runs] == [1, 4]
    assert len({run["set"]["cases"]["test"] for run in runs}) == 1


def test_another_benchmark_in_the_same_folder_is_refused(sets, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = cli("benchmark", write_grid(tmp_path, sets.clean), "--out", tmp_path / "out")
    assert result.status == 2
    assert "another benchmark is running there" in result.err
