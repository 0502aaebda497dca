"""Grids: every run once, whatever happens in between; equal conditions; a failure stays alone."""

import importlib.util
import json
import os
import signal
import subprocess
import time

import pytest
import yaml
from tests.end_to_end.tools import COMMAND, cli, done

ROWS = {
    "noisy only": {"method": "supervised"},
    "noisy + gold": {"method": "supervised", "supervised": {"gold": "mixed"}},
    "clean labels": {"method": "supervised", "supervised": {"labels": "clean"}},
    "binned": {"method": "binned", "binned": {"dcd": False, "warmup": 0}},
}

# of set, noise, row and seed; "**" would stumble over folders that vanish
SCORES = "runs/*/*/*/*/evaluation/test.json"


def write_grid(folder, clean, **changes):
    grid = {
        "name": "a small one",
        "sets": {"phantom": str(clean)},
        "noise": [{"model": "over", "rate": 0.3}],
        "rows": ROWS,
        "seeds": [0, 1],
        "options": {
            "network": {"width": 4},
            "training": {"size": 32, "batch": 4, "gold_batch": 2, "epochs": 3, "figure_every": 0},
        },
        **changes,
    }
    file = folder / "grid.yaml"
    file.write_text(yaml.safe_dump(grid))
    return file


def told(out):
    return {task["id"]: task for task in json.loads((out / "benchmark.json").read_text())["tasks"]}


def scores(out):
    return {
        str(file.relative_to(out)): json.loads(file.read_text())["summary"]["dsc"]["mean"]
        for file in sorted(out.glob(SCORES))
    }


@pytest.fixture(scope="module")
def whole(sets, tmp_path_factory):
    """A grid of eight runs, carried out in one go."""
    folder = tmp_path_factory.mktemp("whole")
    done("benchmark", write_grid(folder, sets.clean), "--out", folder / "out", "--workers", 2)
    return folder / "out"


def test_every_run_has_its_records(whole):
    tasks = told(whole)
    assert len(tasks) == 8
    for task in tasks.values():
        assert (task["status"], task["error"], task["attempts"]) == ("done", None, 1)
        assert task["seconds"] > 0
        assert task["peak_bytes"] > 2**25
        folder = whole / task["folder"]
        cost = json.loads((folder / "evaluation/cost.json").read_text())
        assert cost["parameters"] == json.loads((folder / "run.json").read_text())["parameters"]
        assert cost["flops_per_image"] > 1e6
        weights = folder / "evaluation/weights.json"
        assert weights.exists() == (task["row"] == "binned")
    runs = [json.loads((whole / task["folder"] / "run.json").read_text()) for task in tasks.values()]
    for seed in (0, 1):  # equal noise in all rows of a seed, and another one for another
        assert len({run["noise"]["hash"] for run in runs if run["seed"] == seed}) == 1
    assert len({run["noise"]["hash"] for run in runs}) == 2
    assert {run["noise"]["model"] for run in runs} == {"over"}


def test_nothing_is_done_twice(whole, sets, tmp_path):
    before = {file: file.stat().st_mtime_ns for file in whole.glob("runs/**/model.safetensors")}
    done("benchmark", whole.parent / "grid.yaml", "--out", whole)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert {task["attempts"] for task in told(whole).values()} == {1}
    other = write_grid(tmp_path, sets.clean, rows={**ROWS, "binned": {"method": "binned"}})
    rejected = cli("benchmark", other, "--out", whole)
    assert rejected.status == 2
    assert "other options of row 'binned'" in rejected.err


def test_stopped_then_killed_half_way_and_started_again_each_time(whole, sets, tmp_path):
    out, file = tmp_path / "out", write_grid(tmp_path, sets.clean)
    process = _run_until(1, file, out)
    process.terminate()
    assert process.wait() == 130
    assert "running" not in {task["status"] for task in told(out).values()}
    first = _finished(out)
    process = _run_until(max(4, len(first) + 1), file, out)
    # the power fails: nobody gets to say anything, least of all to the trainings
    for child in _children(process.pid):
        os.kill(child, signal.SIGKILL)
    process.kill()
    process.wait()
    second = _finished(out)
    assert first.items() <= second.items()
    assert len(first) < len(second) < 8
    done("benchmark", file, "--out", out, "--workers", 2)
    assert second.items() <= _finished(out).items()
    assert scores(out) == scores(whole)
    assert {task["status"] for task in told(out).values()} == {"done"}


def _run_until(runs, file, out):
    """Start the grid, and return its process as soon as so many runs are finished."""
    words = [COMMAND, "benchmark", str(file), "--out", str(out), "--workers", "2"]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 240
    while len(list(out.glob(SCORES))) < runs:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def _finished(out):
    return {file: file.stat().st_mtime_ns for file in out.glob(SCORES)}


def _children(parent):
    found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def test_one_run_fails_and_the_others_go_on(sets, tmp_path):
    rows = {
        "right": {"method": "supervised"},
        "wrong": {"method": "binned"},  # wants the average network, of which there is none
        "right, too": ROWS["noisy + gold"],
    }
    training = {"size": 32, "batch": 4, "gold_batch": 2, "epochs": 3, "figure_every": 0, "ema_decay": 0}
    options = {"network": {"width": 4}, "training": training}
    file = write_grid(
        tmp_path, sets.clean, rows=rows, seeds=[0], options=options, partial="failures are asked about"
    )
    result = cli("benchmark", file, "--out", tmp_path / "out", "--workers", 2)
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
    result = cli("benchmark", file, "--out", tmp_path / "out", "--workers", 2)
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
    done("benchmark", file, "--out", tmp_path / "out", "--workers", 2)
    runs = [
        json.loads((tmp_path / "out" / task["folder"] / "run.json").read_text())
        for task in told(tmp_path / "out").values()
    ]
    assert [run["set"]["cases"]["gold"] for run in runs] == [1, 4]
    assert len({run["set"]["cases"]["test"] for run in runs}) == 1


def test_another_benchmark_in_the_same_folder_is_refused(sets, tmp_path):
    import fcntl

    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = cli("benchmark", write_grid(tmp_path, sets.clean), "--out", tmp_path / "out")
    assert result.status == 2
    assert "another benchmark is running there" in result.err


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra 'ray')")
def test_ray_gives_the_same_numbers(whole, sets, tmp_path):
    out, file = tmp_path / "out", write_grid(tmp_path, sets.clean, seeds=[0])
    done("benchmark", file, "--out", out, "--executor", "ray", "--workers", 2)
    assert len(scores(out)) == 4
    assert scores(out).items() <= scores(whole).items()
    assert {task["status"] for task in told(out).values()} == {"done"}
