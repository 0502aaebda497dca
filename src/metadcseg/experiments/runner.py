"""Carry out the tasks of a grid: each is a few ``metadcseg`` commands in processes of their own.

A job is carried out by :func:`run_job` in whatever thread, process or machine calls it; all that it needs is in it, so
that every executor does the same. Nothing that is finished is done again, and a command that was stopped goes on where
it was.
"""

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from metadcseg.errors import InputError
from metadcseg.experiments.grid import Grid, Task, folder_name
from metadcseg.files import write_bytes

INTERRUPTED = 130
"""The exit status of a command that saved and stopped because it was asked to."""


@dataclass
class Job:
    """What a worker gets: commands that are run one after the other.

    Args:
        id: of the task, or of a set.
        commands: words after ``metadcseg``.
        log: file for all that they say.
        results: files that are there when the job is done, the last of them written last.
        threads: of each process.
    """

    id: str
    commands: list[list[str]]
    log: str
    results: list[str] = field(default_factory=list)
    threads: int = 1


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Args:
        status: ``"done"``, ``"failed"`` or ``"interrupted"``.
        error: the last line that the failing command said.
        seconds: wall clock.
        peak_bytes: the largest resident memory of any of its processes; None where the system does not tell.
    """

    status: str
    error: str | None = None
    seconds: float = 0.0
    peak_bytes: int | None = None


class Children:
    """The processes that run now, so that all can be asked to save and stop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self.stopping = False

    def start(self, words: Sequence[str], log: Path, threads: int) -> "subprocess.Popen[bytes] | None":
        """Start a command out of reach of the terminal's Ctrl-C; None where all are stopping."""
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        with self._lock, log.open("ab") as file:
            if self.stopping:
                return None
            process = subprocess.Popen(  # noqa: S603 (our own words)
                [sys.executable, "-m", "metadcseg", *words],
                stdout=file,
                stderr=file,
                env=environment,
                start_new_session=True,
            )
            self._running.add(process)
        return process

    def ended(self, process: "subprocess.Popen[bytes]") -> None:
        """Forget a process."""
        with self._lock:
            self._running.discard(process)

    def stop(self) -> None:
        """Ask all processes to save and stop, and let none begin."""
        with self._lock:
            self.stopping = True
            for process in self._running:
                process.terminate()


def run_job(job: Job, children: Children | None = None) -> Outcome:
    """Run the commands of a job; it is done where its results are there already.

    Args:
        job: what to run.
        children: knows the processes; by default nobody asks them to stop.
    """
    if job.results and all(Path(file).exists() for file in job.results):
        return Outcome("done")
    children = children or Children()
    log = Path(job.log)
    log.parent.mkdir(parents=True, exist_ok=True)
    started, peak = time.monotonic(), None
    for words in job.commands:
        process = children.start(words, log, job.threads)
        if process is None:
            return Outcome("interrupted", seconds=time.monotonic() - started)
        status, used = _wait(process)
        children.ended(process)
        peak = used if peak is None else max(peak, used or 0)
        seconds = time.monotonic() - started
        if status == INTERRUPTED or (status and children.stopping):
            return Outcome("interrupted", None, seconds, peak)
        if status:
            return Outcome("failed", _last_line(log, status), seconds, peak)
    return Outcome("done", None, time.monotonic() - started, peak)


def set_jobs(grid: Grid, out: Path, data: str) -> list[list[Job]]:
    """Return the jobs that make the sets, in three lots of which each needs the one before: clean, other gold, noise.

    Args:
        grid: what is wanted.
        out: the benchmark's folder.
        data: stands for ``{data}`` in the words of ``prepare``.
    """
    clean = [
        _set_job(f"{name}/set", shlex.split(words.replace("{data}", data)), out)
        for name, words in grid.sets.items()
        if words.startswith("prepare ")
    ]
    dealt: dict[str, Job] = {}
    noisy: dict[str, Job] = {}
    for task in grid.tasks():
        if task.folds is not None:
            continue  # cross-validate makes its own
        source = clean_path(grid, task.set, out)
        if task.gold is not None:
            name = f"{task.set}/gold-{task.gold:g}/set-{task.seed}"
            words = ["split", source, "--keep", "--gold", f"{task.gold:g}", "--seed", str(task.seed)]
            dealt[name] = _set_job(name, words, out)
            source = str(out / "sets" / name)
        noise = ["--model", task.noise.model, "--rate", f"{task.noise.rate:g}", "--seed", str(task.seed)]
        noisy[task.data] = _set_job(task.data, ["corrupt", source, *noise], out)
    return [clean, list(dealt.values()), list(noisy.values())]


def clean_path(grid: Grid, name: str, out: Path) -> str:
    """Return where a clean set lies."""
    words = grid.sets[name]
    return str(out / "sets" / name / "set") if words.startswith("prepare ") else words


def task_job(grid: Grid, task: Task, out: Path) -> Job:
    """Return the job of a task.

    Args:
        grid: gives sets and options.
        task: which run.
        out: the benchmark's folder.
    """
    folder = out / "runs" / task.id
    common = ["--config", grid.config, "--config", str(_row_file(out, task.row))]
    training = [*common, "--seed", str(task.seed), "--training.threads", "1"]
    if task.folds is not None:
        noise = ["--model", task.noise.model, "--rate", f"{task.noise.rate:g}"]
        gold = [] if task.gold is None else ["--gold", f"{task.gold:g}"]
        dealt = [*noise, *gold, "--folds", str(task.folds)]
        words = ["cross-validate", clean_path(grid, task.set, out), "--out", str(folder), *dealt, *training]
        return Job(task.id, [words], f"{folder}.txt", [str(folder / "summary.json")])
    data = str(out / "sets" / task.data)
    train = ["train", "--data", data, "--out", str(folder), "--label", task.row, *training, "--resume"]
    evaluate = ["evaluate", str(folder), "--cost", "--weights"]
    return Job(task.id, [train, evaluate], f"{folder}.txt", [str(folder / "evaluation" / "test.json")])


def write_rows(grid: Grid, out: Path) -> None:
    """Write a ``--config`` file for every row, ``rows/NAME.yaml``.

    Raises:
        InputError: where a file is there and says something else: its runs have been made with that.
    """
    for row in grid.rows:
        file, content = _row_file(out, row), grid.options_of(row)
        if file.exists() and yaml.safe_load(file.read_text()) != content:
            raise InputError(
                f"{file} was written for other options of row '{row}': give another --out, or the row another name"
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, yaml.safe_dump(content, sort_keys=False).encode())


def breach(
    run: Mapping[str, Any], record: Mapping[str, Any], on_set: Mapping[str, Any], of_row: Mapping[str, Any]
) -> str | None:
    """Return in which point a run broke the benchmark contract, None where it kept it.

    Args:
        run: its ``run.json``.
        record: its ``evaluation/test.json``.
        on_set: the ``run.json`` of the first run on the same set.
        of_row: that of the first run of the same row.
    """
    compared: tuple[tuple[str, Callable[[Mapping[str, Any]], Any]], ...] = (
        ("set", lambda held: held["set"]["fingerprint"]),
        ("noise", lambda held: (held.get("noise") or {}).get("hash")),
        ("gold", lambda held: held["set"]["cases"].get("gold")),
        ("network", lambda held: held["network"]),
        ("training", lambda held: held["training"]),
    )
    for what, of in compared:
        if of(run) != of(on_set):
            return f"its {what} is another than that of '{on_set['label']}'"
    if run["options"] != of_row["options"]:
        return "its method has other options than in the first run of its row (have defaults changed since?)"
    if not run["set"]["cases"].get("val") or not run.get("best"):
        return "no validation case chose its epoch"
    scored = record["set"]["fingerprint"] == run["set"]["fingerprint"]
    if not scored or not (record.get("summary") or {}).get("dsc"):
        return "it was not scored on the test cases of its own set"
    return None


def _set_job(name: str, words: list[str], out: Path) -> Job:
    folder = out / "sets" / name
    done = str(folder / "set.json")
    return Job(f"set {name}", [[*words, "--out", str(folder)]], f"{folder}.txt", [done])


def _row_file(out: Path, row: str) -> Path:
    return out / "rows" / f"{folder_name(row)}.yaml"


def _wait(process: "subprocess.Popen[bytes]") -> tuple[int, int | None]:
    """Wait for a process; return its status and its peak memory in bytes."""
    if not hasattr(os, "wait4"):
        return process.wait(), None
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    return process.returncode, used.ru_maxrss * unit


def _last_line(log: Path, status: int) -> str:
    lines = log.read_text("utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
    ended = f" (killed by signal {-status})" if status < 0 else ""
    return lines[-1][:500] + ended


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a file, empty where there is none."""
    try:
        held = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}
