"""Grids: every run once, whatever happens in between; equal conditions; a failure stays alone."""

import importlib.util
import json
import os
import signal
import subprocess
import time

import pytest
from tests.end_to_end.grids import ROWS, SCORES, run_in_this_process, scores, told, write_grid
from tests.end_to_end.tools import COMMAND, cli, done

HELD = {
    "rows": {name: ROWS[name] for name in ("noisy + gold", "binned")},
    "partial": "what becomes of processes is asked about",
}


@pytest.fixture(scope="module")
def whole(sets, tmp_path_factory):
    """A grid of four runs, carried out in one go, in this process."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        run_in_this_process(patch)
        done("benchmark", write_grid(folder, sets.clean, **HELD), "--out", folder / "out")
    return folder / "out"


def test_every_run_has_its_records(whole):
    tasks = told(whole)
    assert len(tasks) == 4
    for task in tasks.values():
        assert (task["status"], task["error"], task["attempts"]) == ("done", None, 1)
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
    other = write_grid(
        tmp_path, sets.clean, **HELD | {"rows": {**HELD["rows"], "binned": {"method": "binned"}}}
    )
    rejected = cli("benchmark", other, "--out", whole)
    assert rejected.status == 2
    assert "other options of row 'binned'" in rejected.err


def test_stopped_then_killed_half_way_and_started_again_each_time(whole, sets, tmp_path):
    out, file = tmp_path / "out", write_grid(tmp_path, sets.clean, **HELD)
    process = _run_until(1, file, out, workers=2)
    process.terminate()
    assert process.wait() == 130
    assert "running" not in {task["status"] for task in told(out).values()}
    first = _finished(out)
    process = _run_until(len(first) + 1, file, out, workers=1)  # one at a time: the last is still to come
    # the power fails: nobody gets to say anything, least of all to the trainings
    for child in _children(process.pid):
        os.kill(child, signal.SIGKILL)
    process.kill()
    process.wait()
    second = _finished(out)
    assert first.items() <= second.items()
    assert len(first) < len(second) < 4
    done("benchmark", file, "--out", out, "--workers", 2)
    assert second.items() <= _finished(out).items()
    assert scores(out) == scores(whole)
    tasks = told(out).values()
    assert {task["status"] for task in tasks} == {"done"}
    last = [task for task in tasks if out / task["folder"] / "evaluation/test.json" not in second]
    assert len(last) == 4 - len(second)
    for task in last:  # of the others nobody got to say it
        assert task["seconds"] > 0
        assert task["peak_bytes"] > 2**25


def _run_until(runs, file, out, workers):
    """Start the grid, and return its process as soon as so many runs are finished."""
    words = [COMMAND, "benchmark", str(file), "--out", str(out), "--workers", str(workers)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 900  # a machine that many share
    try:
        while len(list(out.glob(SCORES))) < runs:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    except BaseException:
        process.terminate()  # it stops its trainings
        raise
    return process


def _finished(out):
    return {file: file.stat().st_mtime_ns for file in out.glob(SCORES)}


def _children(parent):
    found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra 'ray')")
def test_ray_gives_the_same_numbers(whole, sets, tmp_path, monkeypatch):
    """In a folder with a file of this package's name, which no worker runs."""
    (tmp_path / "metadcseg.py").write_text("raise SystemExit('it ran')")
    monkeypatch.chdir(tmp_path)
    one = {"rows": {"binned": ROWS["binned"]}, "seeds": [0], "partial": HELD["partial"]}
    out, file = tmp_path / "out", write_grid(tmp_path, sets.clean, **one)
    done("benchmark", file, "--out", out, "--executor", "ray", "--workers", 2)
    assert len(scores(out)) == 1
    assert scores(out).items() <= scores(whole).items()
    assert {task["status"] for task in told(out).values()} == {"done"}
