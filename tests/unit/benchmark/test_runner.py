"""Jobs of a benchmark: what a broken contract is called, what a command that fails leaves behind."""

import copy
import json
import signal
import subprocess
import sys
import time
import types
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from metadcseg.benchmark import first_runs, runner
from metadcseg.benchmark.contract import breach, changed_sets, repeated_gold
from metadcseg.benchmark.ray_executor import RayExecutor, _leaving
from metadcseg.benchmark.read_grid import grid_of
from metadcseg.benchmark.run import Benchmark
from metadcseg.benchmark.runner import (
    Children,
    Job,
    Outcome,
    clean_path,
    is_done,
    run_job,
    set_jobs,
    task_job,
    write_rows,
)
from metadcseg.data.store.content import content_of
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.errors import InputError
from metadcseg.results.grid import HONEST
from metadcseg.results.records import CaseRecord, RunRecord

RUN = {
    "label": "noisy only",
    "status": "finished",
    "set": {"fingerprint": "abc", "cases": {"train": 8, "gold": 2, "val": 2, "test": 3}},
    "noise": {"hash": "n"},
    "network": {"width": 8},
    "training": {"epochs": 3},
    "options": {"gold": "none"},
    "best": {"epoch": 1, "dsc": 0.5, "iou": 0.4},
}
RECORD = {"set": {"fingerprint": "abc"}, "summary": {"dsc": {"mean": 0.5, "n": 3}}}
CASES = {name: CaseRecord(0.5, None) for name in "xyz"}


def written(run, record=RECORD, cases=CASES):
    return RunRecord(Path("run"), info=run, evaluation=record, cases=cases)


def changed(held, *path, value):
    held = copy.deepcopy(held)
    place = held
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return held


def write_records(home, run, record):
    (home / "evaluation").mkdir(parents=True)
    (home / "run.json").write_text(json.dumps(run))
    (home / "evaluation" / "test.json").write_text(json.dumps(record))
    lines = ["id,dsc", *(f"{name},{case.dsc}" for name, case in CASES.items())]
    (home / "evaluation" / "test.csv").write_text("\n".join(lines))


def write_gold_set(folder, count):
    """Write a set of three cases of which so many are gold."""
    with SetWriter(folder, name="a", classes=("background", "x"), channels=1) as writer:
        for number in range(3):
            role, blank = "gold" if number < count else "train", np.zeros((4, 4), np.uint8)
            writer.add(id=f"c{number}", role=role, group="g", image=blank[..., None], label=blank)


def test_a_job_runs_no_file_of_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "metadcseg.py").write_text("raise SystemExit('it ran')")
    monkeypatch.chdir(tmp_path)
    assert run_job(Job("one", [["version"]], str(tmp_path / "log.txt"))).status == "done"
    assert "it ran" not in (tmp_path / "log.txt").read_text()


def test_a_ray_worker_leaves_the_current_folder_before_it_imports_this_package(tmp_path):
    """Ray sends what it runs by this pickler, and puts the folder first on the path."""
    cloudpickle = pytest.importorskip("cloudpickle")
    (tmp_path / "metadcseg.py").write_text("raise SystemExit('it ran')")
    sent = tmp_path / "sent.pickle"
    job = asdict(Job("one", [["version"]], str(tmp_path / "log.txt")))
    sent.write_bytes(cloudpickle.dumps((_leaving(str(tmp_path)), job)))
    worker = f"""
import pickle, sys
sys.path.insert(0, {str(tmp_path)!r})
carry_out, job = pickle.loads(open({str(sent)!r}, "rb").read())
assert "metadcseg" not in sys.modules
assert carry_out(job).status == "done"
"""
    ended = subprocess.run([sys.executable, "-P", "-c", worker], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_equal_conditions_are_no_breach():
    assert breach(written(RUN), RUN, RUN) is None
    assert breach(written(changed(RUN, "noise", value=None)), changed(RUN, "noise", value=None), RUN) is None


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("set", "fingerprint"), "other", "its set is another"),
        (("noise", "hash"), "m", "its noise is another than that of 'noisy only'"),
        (("set", "cases", "gold"), 3, "its gold is another"),
        (("network", "width"), 16, "its network is another"),
        (("training", "epochs"), 4, "its training is another"),
        (("options", "gold"), "mixed", "other options than in the first run of its row"),
        (("best",), None, "no validation case chose its epoch"),
        (("set", "cases", "val"), 0, "no validation case chose its epoch"),
    ],
)
def test_what_differs_is_named(path, value, sentence):
    assert sentence in breach(written(changed(RUN, *path, value=value)), RUN, RUN)


def test_an_option_that_was_fitted_to_its_set_may_differ_and_no_other():
    own = changed(RUN, "options", "pairs", value=False)
    fitted, paired = {**own, "fitted": ["pairs"]}, changed(RUN, "options", "pairs", value=True)
    assert "other options" in breach(written(own), own, paired)  # it was asked for
    assert breach(written(fitted), fitted, paired) is None
    assert breach(written(paired), paired, fitted) is None
    other = changed(fitted, "options", "gold", value="mixed")
    assert "first run of its row: gold (" in breach(written(other), other, paired)


@pytest.mark.parametrize(("path", "value"), [(("network", "width"), 16), (("training", "epochs"), 4)])
def test_seeds_of_a_row_share_network_and_training(path, value):
    said = breach(written(RUN), RUN, changed(RUN, *path, value=value))
    assert f"its {path[0]} is another than in the first run of its row: {path[1]} (" in said


def test_seeds_share_the_clean_set_unless_each_draws_its_gold():
    one, other = (changed(RUN, "noise", "clean_set", value=name) for name in ("one", "other"))
    assert breach(written(one), one, one, one) is None
    assert "made of another clean set than that of 'noisy only'" in breach(written(one), one, one, other)
    assert breach(written(one), one, one) is None


def test_a_set_made_again_on_another_processor_is_the_same_set_and_another_content_is_not():
    here = changed(RUN, "set", "content", value="c")
    here = changed(here, "set", "clean_content", value="clean")
    there = changed(changed(here, "set", "fingerprint", value="other"), "noise", "clean_set", value="other")
    record = changed(RECORD, "set", "fingerprint", value="other")
    record = changed(record, "set", "content", value="c")
    assert breach(written(there, record), here, here, here) is None
    assert "its set is another" in breach(written(there, record), RUN, RUN)  # of before sets had a content
    for key, sentence in (("content", "its set is another"), ("clean_content", "made of another clean set")):
        assert sentence in breach(written(changed(there, "set", key, value="d"), record), here, here, here)


@pytest.mark.skipif(sys.platform == "win32", reason="no signals there")
def test_a_job_that_is_cancelled_lets_its_run_save_first(tmp_path, monkeypatch):
    """Ray raises KeyboardInterrupt in the job."""
    ended = []

    def interrupted(process):
        monkeypatch.setattr(process, "terminate", lambda: (ended.append("asked"), process.kill()))
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_wait", interrupted)
    children = Children()
    with pytest.raises(KeyboardInterrupt):
        run_job(Job("one", [["check", "nowhere"]], str(tmp_path / "log.txt")), children)
    assert ended == ["asked"]
    assert not children._running


@pytest.mark.parametrize("record", [{**RECORD, "summary": {}}, {**RECORD, "set": {"fingerprint": "another"}}])
def test_scores_are_those_of_its_own_test_cases(record):
    assert "not scored on the test cases of its own set" in breach(written(RUN, record), RUN, RUN)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"epochs_done": 2}, "scored after 2 epochs, of 3 now"),
        ({"inference": {"flips": True}}, "scored with flips True"),
        ({"set": {"fingerprint": "another"}}, "not scored on the test cases of its own set"),
    ],
)
def test_scores_that_are_not_current_and_plain_are_made_again(asked, said, tmp_path):
    run, record = RUN | {"epochs_done": 3}, RECORD | {"epochs_done": 3}
    assert said in breach(written(run, record | asked), run, run)
    rows = dict(HONEST)
    for more, home in (({}, "."), ({"folds": 2, "gold": [1]}, "fold-2/run")):
        grid = grid_of({"sets": {"la": "la-set"}, "rows": rows, "seeds": [0], **more}, "g.yaml")
        task, out = grid.tasks()[0], tmp_path / home.replace("/", "-")
        folder, job = out / "runs" / task.id, task_job(grid, grid.tasks()[0], out, "data")
        for place in ("fold-1/run", "fold-2/run") if more else (".",):
            write_records(folder / place, run, record | {"inference": {"batch_size": 8}})
        (folder / "summary.json").write_text('{"per_fold": []}')
        assert is_done(job)
        (folder / home / "evaluation" / "test.json").write_text(json.dumps(record | asked))
        assert not is_done(job)


@pytest.mark.parametrize("cases", [{}, dict(list(CASES.items())[:2])])
def test_scores_of_every_test_case_are_there(cases):
    assert "does not hold the scores of all" in breach(written(RUN, cases=cases), RUN, RUN)


@pytest.mark.parametrize("lost", ["test.csv", "test.json"])
def test_a_run_without_its_scores_is_scored_again(lost, tmp_path):
    grid = grid_of({"sets": {"la": "la-set"}, "rows": dict(HONEST), "seeds": [0]}, "g.yaml")
    job = task_job(grid, grid.tasks()[0], tmp_path, "data")
    write_records(tmp_path / "runs" / grid.tasks()[0].id, RUN, RECORD)
    assert is_done(job)
    (tmp_path / "runs" / grid.tasks()[0].id / "evaluation" / lost).unlink()
    assert not is_done(job)


def test_a_run_in_parts_counts_all_its_seconds_and_the_larger_memory(tmp_path):
    grid = grid_of({"sets": {"la": "la-set"}, "rows": dict(HONEST), "seeds": [0]}, "g.yaml")
    benchmark = Benchmark(grid, tmp_path, "data")
    name = grid.tasks()[0].id
    benchmark._close(name, Outcome("interrupted", None, 40.0, 900))
    assert benchmark.entries[name]["status"] == "waiting"
    benchmark._close(name, Outcome("failed", "scoring", 2.5, 300))
    assert (benchmark.entries[name]["seconds"], benchmark.entries[name]["peak_bytes"]) == (42.5, 900)


def test_the_time_of_runs_that_ctrl_c_stops_counts(tmp_path):
    class Stopped:
        workers = 1

        def run(self, jobs, started):
            for job in jobs:
                started(job)
                if not job.id.startswith("set "):
                    time.sleep(0.2)
                    raise KeyboardInterrupt
                yield job, Outcome("done")

    grid = grid_of({"sets": {"la": "la-set"}, "rows": dict(HONEST), "seeds": [0]}, "g.yaml")
    benchmark = Benchmark(grid, tmp_path, "data")
    with pytest.raises(KeyboardInterrupt):
        benchmark.run(Stopped(), lambda: None)
    first, *others = benchmark.entries.values()
    assert (first["status"], first["attempts"]) == ("waiting", 1)
    assert first["seconds"] >= 0.2
    assert {entry["seconds"] for entry in others} == {0.0}


def test_what_was_done_counts_where_the_next_call_is_stopped(tmp_path):
    grid = grid_of({"sets": {"la": "la-set"}, "rows": dict(HONEST), "seeds": [0]}, "g.yaml")
    *_, last = [task.id for task in grid.tasks()]
    write_records(tmp_path / "runs" / last, RUN, RECORD)
    before = Benchmark(grid, tmp_path, "data")
    before.entries[last]["status"] = "done"
    before.write()

    class Stopped:
        workers = 1

        def __init__(self, sets):
            self.sets = sets

        def run(self, jobs, started):
            for job in jobs:
                if not (job.id.startswith("set ") and self.sets):
                    raise KeyboardInterrupt
                yield job, Outcome("done")

    for sets in (False, True):  # in the middle of the sets, and before the first run
        with pytest.raises(KeyboardInterrupt):
            Benchmark(grid, tmp_path, "data").run(Stopped(sets), lambda: None)
        told = json.loads((tmp_path / "benchmark.json").read_text())["tasks"]
        assert [task["id"] for task in told if task["status"] == "done"] == [last]


class SetsFail:
    """An executor that can make no set, and knows which it was asked for; every run is done."""

    workers = 1

    def __init__(self):
        self.sets = []

    def run(self, jobs, started):
        for job in jobs:
            made = job.id.startswith("set ")
            self.sets += [job.id] if made else []
            yield job, Outcome("failed", "no such folder") if made else Outcome("done")


@pytest.mark.parametrize("earlier", ["done", "failed", None])
def test_finished_runs_stay_done_where_their_set_cannot_be_made_again(tmp_path, earlier):
    grid = grid_of({"sets": {"la": "la-set"}, "rows": dict(HONEST), "seeds": [0, 1]}, "g.yaml")
    finished = [task.id for task in grid.tasks() if task.seed == 0]
    before = Benchmark(grid, tmp_path, "data")
    for name in finished:
        write_records(tmp_path / "runs" / name, RUN | {"options": {"row": name}}, RECORD)
        before.entries[name].update(status=earlier, error="set la cannot be made")
    if earlier:
        before.write()
    executor, benchmark = SetsFail(), Benchmark(grid, tmp_path, "data")
    benchmark.run(executor, lambda: None)
    assert executor.sets == ["set la/clean/seed-1"]
    ended = {name: (entry["status"], entry["error"]) for name, entry in benchmark.entries.items()}
    assert {ended.pop(name) for name in finished} == {("done", None)}
    assert set(ended.values()) == {("failed", "set la/clean/seed-1 cannot be made: no such folder")}


def test_gold_that_a_finished_run_has_drawn_ends_the_other_amount_alone(tmp_path):
    said = {"sets": {"a": "set"}, "rows": dict(HONEST), "gold": [1, 0.02], "seeds": [0]}
    grid = grid_of(said, "g.yaml")
    for gold in ("1", "0.02"):
        write_gold_set(tmp_path / f"sets/a/gold-{gold}/set-0", 1)
    for one in grid.tasks():
        if one.gold == 0.02:
            write_records(tmp_path / "runs" / one.id, RUN | {"options": {"row": one.row}}, RECORD)
    benchmark = Benchmark(grid, tmp_path, "data")
    executor = SetsFail()
    executor.run = lambda jobs, started: ((job, Outcome("done")) for job in jobs)
    benchmark.run(executor, lambda: None)
    ended = {name: benchmark.entries[name]["status"] for name in benchmark.entries}
    assert {name: status for name, status in ended.items() if "gold-0.02" in name} == dict.fromkeys(
        [one.id for one in grid.tasks() if one.gold == 0.02], "done"
    )
    assert {status for name, status in ended.items() if "gold-1" in name} == {"failed"}


def test_going_on_with_a_finished_grid_takes_linear_time(tmp_path, monkeypatch):
    rows = {"one": {"method": "supervised"}}
    said = {"sets": {"la": "la-set"}, "rows": rows, "seeds": list(range(40)), "partial": "one row"}
    grid = grid_of(said, "g.yaml")
    for one in grid.tasks():
        write_records(tmp_path / "runs" / one.id, RUN, RECORD)
    read, written, told = [], [], []
    monkeypatch.setattr(first_runs, "read_object", lambda *said: read.append(said) or RUN)
    monkeypatch.setattr(Benchmark, "write", lambda self: written.append(self))
    for known in (False, True):
        for held in (read, written, told):
            held.clear()
        benchmark = Benchmark(grid, tmp_path, "data")
        for entry in benchmark.entries.values() if known else ():
            entry["status"] = "done"
        assert benchmark.run(SetsFail(), lambda: told.append(1))
        assert {entry["status"] for entry in benchmark.entries.values()} == {"done"}
        assert len(told) == (1 if known else 41)
        assert len(written) <= 3  # at the start, before the first run, at the end
        assert len(read) <= 42  # the first on each of 40 sets, of the row and of the source


def test_a_command_that_fails_is_told_by_its_last_line(tmp_path):
    job = Job("one", [["check", str(tmp_path / "nowhere")], ["check", "never"]], str(tmp_path / "log.txt"))
    outcome = run_job(job)
    assert outcome.status == "failed"
    assert "nowhere" in outcome.error
    assert "never" not in (tmp_path / "log.txt").read_text()
    assert outcome.seconds > 0
    if sys.platform != "win32":
        assert outcome.peak_bytes > 2**24


def test_what_is_there_is_not_made_again(tmp_path):
    done = tmp_path / "done.json"
    done.write_text('{"a": 1}')
    job = Job("one", [["no-such-command"]], str(tmp_path / "log.txt"), [str(done)])
    assert run_job(job).status == "done"
    assert not (tmp_path / "log.txt").exists()
    done.write_text('{"a": ')  # damaged: it is made again
    assert run_job(job).status == "failed"


@pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
def test_a_process_that_outlived_its_benchmark_is_waited_for(tmp_path):
    """Its lock is that of whoever inherited it: the job starts when that process ends."""
    hold = "import fcntl, time; f = open('log.lock', 'a'); fcntl.flock(f, fcntl.LOCK_EX); "
    hold += "print('held', flush=True); time.sleep(2)"
    orphan = subprocess.Popen([sys.executable, "-c", hold], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert orphan.stdout.readline() == "held\n"
    assert run_job(Job("one", [["check", "nowhere"]], str(tmp_path / "log.txt"))).status == "failed"
    assert orphan.poll() == 0
    orphan.stdout.close()


def test_data_may_have_spaces_and_stand_in_paths(tmp_path):
    held = {"sets": {"a": {"prepare": "phantom --source {data}/x"}, "b": "{data}/b"}, "rows": dict(HONEST)}
    grid = grid_of(held, "g.yaml")
    data = str(tmp_path / "my data")
    clean, _, noisy = set_jobs(grid, tmp_path, data)
    assert clean[0].commands[0][:4] == ["prepare", "phantom", "--source", f"{data}/x"]
    assert {job.commands[0][1] for job in noisy} == {
        str(tmp_path / "sets/a/set"),
        str(tmp_path / "my data/b"),
    }


def test_workers_elsewhere_get_whole_paths(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "mine.yaml").write_text("training: {epochs: 3}")
    (tmp_path / "link").symlink_to("real")  # such as an automount: what it points to may be here only
    monkeypatch.chdir(tmp_path)
    grid = grid_of({"sets": {"a": "link/set"}, "rows": dict(HONEST), "config": "link/mine.yaml"}, "g.yaml")
    benchmark = Benchmark(grid, Path("out"), "data")
    job = task_job(grid, next(iter(benchmark.tasks.values())), benchmark.out, "data")
    assert job.commands[0][job.commands[0].index("--config") + 1] == str(tmp_path / "link" / "mine.yaml")
    assert clean_path(grid, "a", benchmark.out, "data") == str(tmp_path / "link" / "set")
    assert all(Path(path).is_absolute() for path in (job.log, *job.results))


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ({}, {"config": "demo"}, "another config"),
        ({}, {"sets": {"a": "elsewhere"}}, "another set 'a'"),
    ],
)
def test_runs_of_another_grid_are_not_taken_for_these(first, second, sentence, tmp_path):
    held = {"sets": {"a": "here"}, "rows": dict(HONEST)}
    write_rows(grid_of({**held, **first}, "g.yaml"), tmp_path)
    write_rows(grid_of({**held, **first}, "g.yaml"), tmp_path)
    with pytest.raises(InputError, match=sentence):
        write_rows(grid_of({**held, **second}, "g.yaml"), tmp_path)


def test_ray_leaves_it_to_us_what_sigterm_does(monkeypatch):
    """Ray's init lets SIGTERM end the process at once; a stand-in does the same without starting a cluster."""
    before = signal.getsignal(signal.SIGTERM)

    class Remote:
        def options(self, **values):
            return self

    ray = types.ModuleType("ray")
    ray.init = lambda **values: signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ray.remote = lambda function: Remote()
    monkeypatch.setitem(sys.modules, "ray", ray)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        RayExecutor(1, None, 1.0, 0.0)
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_run_whose_folder_was_deleted_counts_anew(tmp_path):
    grid = grid_of({"sets": {"la": "la-set"}, "rows": dict(HONEST), "seeds": [0]}, "g.yaml")
    before = Benchmark(grid, tmp_path, "data")
    for entry in before.entries.values():
        entry.update(seconds=100.0, attempts=2)
    before.write()
    kept, deleted, *_ = before.entries
    (tmp_path / "runs" / kept).mkdir(parents=True)
    after = Benchmark(grid, tmp_path, "data").entries
    assert (after[kept]["seconds"], after[kept]["attempts"]) == (100.0, 2)
    assert (after[deleted]["seconds"], after[deleted]["attempts"]) == (0.0, 0)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"tasks": None},
        {"tasks": [{"id": []}, 3]},
        {"seconds": "long"},
        {"seconds": [1]},
        {"task": {"attempts": "two"}},
        {"task": {"seconds": []}},
    ],
)
def test_an_earlier_record_of_other_types_counts_as_none(spoilt, tmp_path):
    grid = grid_of({"sets": {"la": "la-set"}, "rows": dict(HONEST), "seeds": [0]}, "g.yaml")
    before = Benchmark(grid, tmp_path, "data")
    name = next(iter(before.entries))
    (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / name / "run.json").write_text('{"epochs_done": [], "training": 3}')
    before.write()
    held = json.loads((tmp_path / "benchmark.json").read_text())
    held["tasks"][0] |= spoilt.pop("task", {})
    (tmp_path / "benchmark.json").write_text(json.dumps(held | spoilt))
    after = Benchmark(grid, tmp_path, "data")
    assert (after.entries[name]["attempts"], after.entries[name]["seconds"]) == (0, 0.0)
    assert after.progress(name) == (0, 0)
    after.write()


def test_every_fold_is_held_to_the_contract(tmp_path):
    rows = {**HONEST, "ours": {"method": "metadcseg"}}
    grid = grid_of({"sets": {"a": "set"}, "rows": rows, "folds": 2, "gold": [1], "seeds": [0]}, "g.yaml")
    benchmark = Benchmark(grid, tmp_path, "data")
    ids = [task.id for task in grid.tasks() if task.row in ("noisy only", "noisy + gold", "ours")]
    for name, second in zip(ids, ("abc", "abc", "another"), strict=True):
        for fold, fingerprint in ((1, "abc"), (2, second)):
            run, record = (changed(held, "set", "fingerprint", value=fingerprint) for held in (RUN, RECORD))
            write_records(tmp_path / "runs" / name / f"fold-{fold}" / "run", run, record)
        benchmark._close(name, Outcome("done"))
    assert [benchmark.entries[name]["status"] for name in ids] == ["done", "done", "failed"]
    assert "its set is another than that of 'noisy only'" in benchmark.entries[ids[2]]["error"]


@pytest.mark.parametrize("gold", [[0.02, None], [None, 0.02]])
def test_gold_drawn_anew_is_of_another_clean_set_than_the_sets_own(tmp_path, gold):
    grid = grid_of({"sets": {"a": "set"}, "rows": dict(HONEST), "gold": gold, "seeds": [0]}, "g.yaml")
    benchmark = Benchmark(grid, tmp_path, "data")
    for name, one in benchmark.tasks.items():
        run = changed(RUN, "noise", "clean_set", value=str(one.gold))
        write_records(tmp_path / "runs" / name, run, RECORD)
        benchmark._close(name, Outcome("done"))
    assert {entry["status"] for entry in benchmark.entries.values()} == {"done"}


def test_gold_in_slices_is_handed_on_to_split_and_to_folds(tmp_path):
    said = {"sets": {"a": "set"}, "rows": dict(HONEST), "gold": ["slices:0.02"], "noise": [0.4], "seeds": [1]}
    plain = grid_of(said, "g.yaml")
    _, (split,), (noise,) = set_jobs(plain, tmp_path, "data")
    made = str(tmp_path / "sets/a/gold-slices-0.02/set-1")
    assert split.commands[0][2:] == ["--keep", "--gold", "slices:0.02", "--seed", "1", "--out", made]
    assert noise.commands[0][:2] == ["corrupt", made]
    folds = grid_of({**said, "folds": 2}, "g.yaml")
    words = task_job(folds, folds.tasks()[0], tmp_path, "data").commands[0]
    assert words[words.index("--gold") + 1] == "slices:0.02"


def test_two_amounts_of_gold_that_draw_the_same_cases_are_not_compared(tmp_path):
    said = {"sets": {"a": "set"}, "rows": dict(HONEST), "gold": [0.01, 0.02, 2], "seeds": [0, 1]}
    for seed in (0, 1):
        for gold, count in (("0.01", 1), ("0.02", 2 if seed else 1), ("2", 2)):
            write_gold_set(tmp_path / f"sets/a/gold-{gold}/set-{seed}", count)
    found = repeated_gold(grid_of(said, "g.yaml").tasks(), tmp_path / "sets")
    assert set(found) == {"a/gold-0.02/set-0", "a/gold-2/set-1"}
    assert "gold 0.02 draws the same cases of 'a' as gold 0.01" in found["a/gold-0.02/set-0"]
    next((tmp_path / "sets/a/gold-0.01/set-0").glob("*.jsonl")).write_text("damaged")
    assert (
        "gold-0.01" in repeated_gold(grid_of(said, "g.yaml").tasks(), tmp_path / "sets")["a/gold-0.01/set-0"]
    )


def test_a_set_that_was_made_again_with_other_content_is_refused_before_anything_trains(tmp_path):
    said = {"sets": {"a": "prepare a"}, "rows": dict(HONEST), "seeds": [0, 1], "noise": [0.4]}
    tasks = list(grid_of(said, "g.yaml").tasks())
    for seed in (0, 1):
        folder = tmp_path / f"sets/a/paper-0.4/seed-{seed}"
        with SetWriter(folder, name="a", classes=("b", "c"), channels=1) as writer:
            blank = np.zeros((4, 4), np.uint8)
            writer.add(id="c", role="train", group="g", image=blank[..., None], label=blank)
    done, *left = [task for task in tasks if task.seed == 0]
    (tmp_path / "runs" / done.id).mkdir(parents=True)
    record = tmp_path / "runs" / done.id / "run.json"
    prepared = PreparedSet.open(tmp_path / "sets" / done.data)
    here = {"fingerprint": prepared.fingerprint, "content": content_of(prepared)}
    other = "0" * 64
    all_left = {task.id for task in left}
    for changes, refused, why in (
        ({"content": other}, set(), None),  # as another version counts it
        ({"content": other, "fingerprint": other}, all_left, "the set has content"),
        ({"fingerprint": other}, set(), None),  # edges of another processor
        ({"content": None}, set(), None),
        ({"content": None, "fingerprint": other}, all_left, "edges included"),
    ):
        record.write_text(json.dumps({"status": "finished", "set": here | changes}))
        found = changed_sets(tasks, tmp_path)
        assert set(found) == refused
        assert all(why in said and "the finished runs on it had 00000000" in said for said in found.values())
    for damaged in ({"status": "finished"}, {"status": "finished", "set": None}):  # its own job says so
        record.write_text(json.dumps(damaged))
        assert changed_sets(tasks, tmp_path) == {}
