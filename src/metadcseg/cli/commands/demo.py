"""``metadcseg demo``: the whole story in a few minutes, on images drawn by code.

The trainings are the very commands that a user would type, run side by side on one thread each: on small
images two processes finish sooner than two threads, by far where other programs want the processor as well.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from metadcseg.cli.commands.console import (
    plain_output,
    print_table,
    progress_bar,
    score_table,
)
from metadcseg.cli.config import read_config
from metadcseg.constants import INTERRUPTED
from metadcseg.data.prepare.images import prepare_cases
from metadcseg.data.store.reader import PreparedSet
from metadcseg.data.synthetic.corruption import corrupt_set
from metadcseg.data.synthetic.phantom import PhantomOptions, phantom_cases
from metadcseg.errors import InputError

DESCRIPTION = """Draw a phantom set, inject 40 % label noise, train three networks on it (noisy masks only; noisy
masks and gold, plainly supervised; binned weights), evaluate them on clean test cases, and write one page with the
table, learning curves, sample predictions and weight maps. Takes a few minutes on two cores. Stopped half-way, it goes
on where it was when it is run again."""

RATE = 0.4
SEED = 0
"""One seed: the demo shows how things are done, not which method is better."""

_RUNS = {  # label -> folder and options; the longest first, so that the shorter ones share the other core
    "binned": ("binned", ["--method", "binned"]),
    "noisy + gold": ("noisy-and-gold", ["--method", "supervised", "--supervised.gold", "mixed"]),
    "noisy only": ("noisy-only", ["--method", "supervised", "--supervised.gold", "none"]),
}
_SHOWN = ("noisy only", "noisy + gold", "binned")


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--out", type=str, default="demo", help="where everything goes")


def run(options: Namespace, console: Console) -> int:
    """Run the whole demo, print the table and where the page is."""
    from metadcseg.evaluation.evaluate import evaluate_run
    from metadcseg.report.page import build_page

    started = time.monotonic()
    out = Path(options.out)
    noisy = _noisy_set(out, console)
    commands = {label: _command(label, noisy.path, out) for label in _RUNS}
    if not _train_all(commands, out, console):
        return INTERRUPTED
    records = {}
    for label in _SHOWN:
        with progress_bar(console, f"evaluating {label}") as advance:
            records[label] = evaluate_run(_folder(out, label), noisy, "test", progress=advance)
    page = build_page(
        [_folder(out, label) for label in _SHOWN],
        noisy.path,
        out / "index.html",
        title="Binned weights on noisy masks: a demonstration",
        commands=_shown(commands, out),
    )
    best_first = sorted(records.items(), key=lambda entry: -entry[1]["summary"]["dsc"]["mean"])
    print_table(score_table(best_first, "clean test cases, best DSC first (one seed)"))
    plain_output().print(f"{time.monotonic() - started:.0f} s; the page: {page.resolve()}")
    return 0


def _noisy_set(out: Path, console: Console) -> PreparedSet:
    clean, noisy = out / "set", out / "noisy-set"
    if not clean.exists():
        with progress_bar(console, "drawing images", share=True) as advance:
            drawn = phantom_cases(PhantomOptions(seed=SEED))
            prepare_cases(drawn, clean, name="phantom", progress=advance)
    if not noisy.exists():
        with progress_bar(console, "injecting noise") as advance:
            corrupt_set(PreparedSet.open(clean), noisy, RATE, SEED, progress=advance)
    return PreparedSet.open(noisy)


def _folder(out: Path, label: str) -> Path:
    return out / "runs" / _RUNS[label][0]


def _command(label: str, noisy: Path, out: Path) -> list[str]:
    """Return what a user would type after ``metadcseg`` to get this run."""
    words = ["train", "--data", str(noisy), "--config", "demo", *_RUNS[label][1], "--seed", str(SEED)]
    return [*words, "--label", label, "--out", str(_folder(out, label)), "--resume"]


def _shown(commands: dict[str, list[str]], out: Path) -> list[str]:
    prepare = ["prepare", "phantom", "--seed", str(SEED), "--out", str(out / "set")]
    noise = [
        "corrupt",
        str(out / "set"),
        "--rate",
        str(RATE),
        "--seed",
        str(SEED),
        "--out",
        str(out / "noisy-set"),
    ]
    evaluate = [["evaluate", str(_folder(out, label))] for label in _SHOWN]
    words = [prepare, noise, *(commands[label] for label in _SHOWN), *evaluate]
    return [shlex.join(["metadcseg", *line]) for line in words]


def _train_all(commands: dict[str, list[str]], out: Path, console: Console) -> bool:
    """Train side by side, as many at once as there are cores; return False where they were interrupted."""
    waiting = list(commands)
    running: dict[str, subprocess.Popen[bytes]] = {}
    columns = (
        TextColumn("{task.description:>20}"),
        BarColumn(),
        TextColumn("{task.fields[said]}"),
        TimeRemainingColumn(),
    )
    epochs = read_config("demo").training.epochs
    console.print(f"training {len(commands)} networks, {min(len(commands), os.cpu_count() or 1)} at a time")
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks = {label: bars.add_task(label, total=epochs, said="waiting") for label in commands}
        try:
            while waiting or running:
                while waiting and len(running) < (os.cpu_count() or 1):
                    label = waiting.pop(0)
                    running[label] = _start(commands[label], out, label)
                time.sleep(0.5)
                for label, process in list(running.items()):
                    _show_epochs(bars, tasks[label], _folder(out, label))
                    if process.poll() is not None:
                        del running[label]
                        if process.returncode == INTERRUPTED:
                            return False
                        _check(process.returncode, out, label)
                        console.print(f"{label}: trained", highlight=False)
        finally:
            for process in running.values():  # saves and stops, as after Ctrl-C
                process.terminate()
            for process in running.values():
                process.wait()
    return True


def _start(words: Sequence[str], out: Path, label: str) -> "subprocess.Popen[bytes]":
    """Start a training out of reach of the terminal's Ctrl-C: we pass it on, and a second signal saves nothing."""
    log = _log(out, label)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "metadcseg", *words]
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)  # noqa: S603 (our own words)


def _log(out: Path, label: str) -> Path:
    return out / "logs" / f"{_RUNS[label][0]}.txt"


def _show_epochs(bars: Progress, task: TaskID, folder: Path) -> None:
    """Count the epochs that a run has written down."""
    log = folder / "metrics.jsonl"
    done = len(log.read_bytes().splitlines()) if log.exists() else 0
    bars.update(task, completed=done, said=f"{done} epochs")


def _check(status: int, out: Path, label: str) -> None:
    if status:
        log = _log(out, label)
        lines = log.read_text("utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
        raise InputError(f"training '{label}' failed: {lines[-1]} (all it said: {log})")
