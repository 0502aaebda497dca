"""SLURM is not at hand: submitit's own local cluster takes its place, and the rest is what every executor does."""

import sys
from types import SimpleNamespace

import pytest

from metadcseg.benchmark.runner import Job
from metadcseg.benchmark.slurm_executor import SlurmExecutor, sbatch_options
from metadcseg.cli.commands.benchmark import _executor
from metadcseg.errors import InputError


def test_jobs_are_carried_out_and_failures_are_told(tmp_path, monkeypatch):
    """In a folder with a file of this package's name, which no job runs."""
    pytest.importorskip("submitit")
    (tmp_path / "metadcseg.py").write_text("raise SystemExit('it ran')")
    monkeypatch.chdir(tmp_path)
    jobs = [
        Job("fine", [["version"]], str(tmp_path / "fine.txt")),
        Job("wrong", [["no-such-command"]], str(tmp_path / "wrong.txt")),
    ]
    executor = SlurmExecutor(tmp_path / "slurm", 2, 1.0, 0.0, 1.0, {}, cluster="local")
    started = []
    ended = {job.id: outcome for job, outcome in executor.run(jobs, lambda job: started.append(job.id))}
    assert sorted(started) == ["fine", "wrong"]
    assert ended["fine"].status == "done"
    assert ended["wrong"].status == "failed"
    assert "unknown command" in ended["wrong"].error
    assert "metadcseg 0" in (tmp_path / "fine.txt").read_text()
    assert list(executor.run([], started.append)) == []


def test_a_machine_without_slurm_or_submitit(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="there is no srun here"):
        SlurmExecutor(tmp_path, 1, 1.0, 0.0, 1.0, {})
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r"pip install 'metadcseg\[slurm\]'"):
        SlurmExecutor(tmp_path, 1, 1.0, 0.0, 1.0, {})


@pytest.mark.parametrize("text", ["partition", "=gpu", "--partition=gpu", "partition="])
def test_options_of_sbatch_that_are_none(text):
    with pytest.raises(InputError, match="such as partition=gpu,account=lab"):
        sbatch_options(text)


def test_what_submitit_unpickles_lies_in_a_new_folder_and_behind_no_link(tmp_path, monkeypatch):
    monkeypatch.setattr("metadcseg.benchmark.slurm_executor.SlurmExecutor", lambda folder, *_: folder)
    asked = {"workers": 1, "executor": "slurm", "hours": 1.0, "slurm": "", "cpus": 1.0, "gpus": 0.0}
    options = SimpleNamespace(**asked, out=str(tmp_path / "out"))
    first, second = _executor(options), _executor(options)
    assert first != second
    assert first.parent == second.parent == tmp_path / "out" / "slurm"
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "slurm").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="slurm is a link"):
        _executor(options)
