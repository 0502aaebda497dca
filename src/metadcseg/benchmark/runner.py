"""Carry out the tasks of a grid: each is a few ``metadcseg`` commands in a process of their own.

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from metadcseg.constants import INTERRUPTED
from metadcseg.errors import InputError
from metadcseg.files import open_append, output_folder, write_bytes
from metadcseg.results.doubts import doubts
from metadcseg.results.grid import Grid, Task, folder_name
from metadcseg.results.records import read_json
from metadcseg.scratch import try_lock
from metadcseg.yaml_file import read_yaml


@dataclass
class Job:
    """What a worker gets: commands that are run one after the other.

    Args:
        id: of the task, or of a set.
        commands: words after ``metadcseg``.
        log: file for all that they say.
        results: files that are there, and not empty, when the job is done, the last of them written last; JSON files
            can be read.
    """

    id: str
    commands: list[list[str]]
    log: str
    results: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Args:
        status: ``"done"``, ``"failed"`` or ``"interrupted"``.
        error: the last line that the failing command said.
        seconds: wall clock.
        peak_bytes: the largest resident memory of its process; None where the system is silent.
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

    def start(self, job: Job, lock: int | None = None) -> "subprocess.Popen[bytes] | None":
        """Start a job, which inherits the lock, out of reach of the terminal's Ctrl-C; None where all stop."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with self._lock, open_append(Path(job.log)) as file:
            if self.stopping:
                return None
            process = subprocess.Popen(  # noqa: S603 (our own words)
                [sys.executable, "-P", "-m", "metadcseg.cli.chain", json.dumps(job.commands)],
                stdout=file,
                stderr=file,
                env=environment,
                start_new_session=True,
                pass_fds=() if lock is None else (lock,),
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
    children, log = children or Children(), Path(job.log)
    log.parent.mkdir(parents=True, exist_ok=True)
    with _alone(log.with_suffix(".lock"), children) as lock:
        return Outcome("done") if is_done(job) else _carry_out(job, children, lock)


def is_done(job: Job) -> bool:
    """Return whether all results of a job are there and can be read, and scores are those of its run as it is."""
    return bool(job.results) and all(_holds(Path(file)) for file in job.results)


def _holds(file: Path) -> bool:
    if file.suffix == ".json":
        held = read_json(file)
        return bool(held) and not (
            file.parent.name == "evaluation" and doubts(held, read_json(file.parents[1] / "run.json"))
        )
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


@contextmanager
def _alone(file: Path, children: Children) -> Iterator[int | None]:
    """Wait until no process has the job, also one that outlived a benchmark that was killed; yield what it inherits."""
    if sys.platform == "win32":
        yield None
        return
    with open_append(file) as lock:
        while not children.stopping and not try_lock(lock):
            time.sleep(0.5)
        yield lock.fileno()


def _carry_out(job: Job, children: Children, lock: int | None) -> Outcome:
    started = time.monotonic()
    process = children.start(job, lock)
    if process is None:
        return Outcome("interrupted")
    try:
        status, peak = _wait(process)
    except BaseException:  # Ray cancels a job in this way: let its run save first
        process.terminate()
        process.wait()
        raise
    finally:
        children.ended(process)
    seconds = time.monotonic() - started
    if status == INTERRUPTED or (status and children.stopping):
        return Outcome("interrupted", None, seconds, peak)
    if status:
        return Outcome("failed", _last_line(Path(job.log), status), seconds, peak)
    return Outcome("done", None, seconds, peak)


def set_jobs(grid: Grid, out: Path, data: str) -> list[list[Job]]:
    """Return the jobs that make the sets, in three lots of which each needs the one before: clean, other gold, noise.

    Args:
        grid: what is wanted.
        out: the benchmark's folder.
        data: stands for ``{data}`` in the words of ``prepare``.
    """
    clean = [
        _set_job(f"{name}/set", [word.replace("{data}", data) for word in shlex.split(words)], out)
        for name, words in grid.sets.items()
        if words.startswith("prepare ")
    ]
    dealt: dict[str, Job] = {}
    noisy: dict[str, Job] = {}
    for task in grid.tasks():
        if task.folds is not None:
            continue  # cross-validate makes its own
        source = clean_path(grid, task.set, out, data)
        if (name := task.dealt) is not None:
            words = ["split", source, "--keep", "--gold", str(task.gold), "--seed", str(task.seed)]
            dealt[name] = _set_job(name, words, out)
            source = str(out / "sets" / name)
        noise = ["--model", task.noise.model, "--rate", f"{task.noise.rate:g}", "--seed", str(task.seed)]
        noisy[task.data] = _set_job(task.data, ["corrupt", source, *noise], out)
    return [clean, list(dealt.values()), list(noisy.values())]


def clean_path(grid: Grid, name: str, out: Path, data: str) -> str:
    """Return where a clean set lies, as a worker with another working directory finds it."""
    words = grid.sets[name]
    made = words.startswith("prepare ")
    return str(out / "sets" / name / "set" if made else Path(words.replace("{data}", data)).absolute())


def task_job(grid: Grid, task: Task, out: Path, data: str, trust_code: bool = False) -> Job:
    """Return the job of a task.

    Args:
        grid: gives sets and options.
        task: which run.
        out: the benchmark's folder.
        data: stands for ``{data}`` in the paths of sets.
        trust_code: hand on the consent to classes of networks that the grid names.
    """
    consent = ["--trust-code"] if trust_code else []
    folder = out / "runs" / task.id
    config = Path(grid.config)
    start = str(config.absolute()) if config.is_file() else grid.config
    common = ["--config", start, "--config", str(_row_file(out, task.row))]
    training = [*common, "--seed", str(task.seed), "--training.threads", "1", *consent]
    if task.folds is not None:
        noise = ["--model", task.noise.model, "--rate", f"{task.noise.rate:g}"]
        gold = [] if task.gold is None else ["--gold", str(task.gold)]
        dealt = [*noise, *gold, "--folds", str(task.folds)]
        words = [
            "cross-validate",
            clean_path(grid, task.set, out, data),
            "--out",
            str(folder),
            *dealt,
            *training,
        ]
        homes = [folder / f"fold-{place}" / "run" for place in range(1, task.folds + 1)]
        scores = [str(home / "evaluation" / f"test.{kind}") for home in homes for kind in ("csv", "json")]
        return Job(task.id, [words], f"{folder}.txt", [*scores, str(folder / "summary.json")])
    data = str(out / "sets" / task.data)
    train = ["train", "--data", data, "--out", str(folder), "--label", task.row, *training, "--resume"]
    evaluate = ["evaluate", str(folder), "--cost", "--weights", *consent]
    scores = [str(folder / "evaluation" / f"test.{kind}") for kind in ("csv", "json")]
    return Job(task.id, [train, evaluate], f"{folder}.txt", scores)


def write_rows(grid: Grid, out: Path) -> None:
    """Write a ``--config`` file for every row, ``rows/NAME.yaml``, and what sets and config the runs have.

    Raises:
        InputError: where a file is there and says something else: its runs have been made with that.
    """
    files: dict[Path, tuple[str, Any]] = {
        _row_file(out, row): (f"other options of row '{row}'", grid.options_of(row)) for row in grid.rows
    }
    config = Path(grid.config)
    said = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else grid.config
    files[out / "rows" / "of-all.config"] = ("another config", said)
    for name, words in grid.sets.items():
        files[out / "sets" / f"{name}.yaml"] = (f"another set '{name}'", words)
    for file, (what, content) in files.items():
        if file.exists() and _read_yaml(file) != content:
            raise InputError(f"{file} was written for {what}: give another --out, or another name")
        output_folder(out, *file.parent.relative_to(out).parts)
        write_bytes(file, yaml.safe_dump(content, sort_keys=False).encode())


def _read_yaml(file: Path) -> Any:
    try:
        return read_yaml(file, str(file))
    except InputError:
        return None  # damaged: what was meant is not known, so it is another


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
