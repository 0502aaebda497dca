"""Kill every command at random moments: given again it ends as if nothing had happened, and nothing is lost.

PYTHONPATH=src python studies/kills.py --count 200 --seed 0 --out results/kills.json
PYTHONPATH=src python studies/kills.py --minutes 20

What the commands need is made once (studies/kills_commands.py). Each command then runs undisturbed, for its
duration and for the tree that it leaves. For each kill the inputs are copied afresh to one and the same place, the
command is started in a process group of its own and killed, and the same command (``train`` with ``--resume``) is
given until it ends with 0. It is killed at a moment of its duration, or right before one of the files or folders that
it makes, renames or removes; a coin decides. The libraries are loaded before: each command is a fork of one process.

A kill that comes too late is drawn anew. A fault is:

- right after the kill, a file that lay there before has a content that is neither the old one nor the final one
- Ctrl-C or SIGTERM ends with another status than 130 (or 0), or with a traceback
- the same command fails, unless all is there already and it says in a sentence that its place is taken
- at the end, a file or folder is missing, is left over, or has other rights or another content than undisturbed

Files are compared byte for byte, except for what tells times and memory (``_plain``) and TensorBoard's files of events,
of which every go adds one; locks may stay.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import multiprocessing.util
import os
import pkgutil
import platform
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "studies")]

import kills_commands  # noqa: E402

SIGNALS = {signal.SIGKILL: 0.7, signal.SIGTERM: 0.15, signal.SIGINT: 0.15}
TIMES = {
    "attempts",
    "seconds",
    "peak_bytes",
    "peak_memory_bytes",
    "seconds_per_image",
    "inference_ms_per_image",
}
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
MOST_TRIES, LONGEST = 3, 1800.0

Tree = dict[str, tuple[int, str]]


@dataclass
class Ended:
    """How a process ended: exit status (or minus the signal), seconds, changes of files, standard error."""

    status: int
    seconds: float
    changes: int
    said: str


def start(words: list[str], work: Path, logs: Path, stop: tuple[int, int] | None) -> int:
    """Fork a command in a process group of its own; ``stop`` is the change before which it kills its group, and how."""
    process = os.fork()
    if process:
        with contextlib.suppress(OSError):
            os.setpgid(process, process)
        return process
    try:
        os.setpgid(0, 0)
        os.chdir(work)
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(logs / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        (work / "tmp").mkdir(exist_ok=True)
        os.environ.update(TMPDIR=str(work / "tmp"), COLUMNS="200")
        tempfile.tempdir = None
        counted = _count_changes(str(work), stop)
        from metadcseg.cli.main import main

        status = main(words)
        sys.stdout.flush()
        (logs / "changes").write_text(str(counted[0]))
        threading._shutdown()
        multiprocessing.util._exit_function()
        os._exit(status)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _count_changes(work: str, stop: tuple[int, int] | None) -> list[int]:
    """Count what this process changes below a folder, and kill the group before the change of that number."""
    counted, writes = [0], os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def heard(event: str, told: tuple) -> None:
        if event not in CHANGES and not (event == "open" and isinstance(told[2], int) and told[2] & writes):
            return
        if isinstance(told[0], int) or os.fsdecode(told[0]).startswith("/dev/"):
            return
        counted[0] += 1
        if stop is not None and counted[0] == stop[0]:
            os.killpg(0, stop[1])

    sys.addaudithook(heard)
    return counted


def wait(process: int, logs: Path, kill: tuple[float, int] | None = None) -> Ended:
    """Wait for a process, kill its group after some seconds, and see that nothing of it lives on."""
    began = time.monotonic()
    sent = False
    while True:
        found, code = os.waitpid(process, os.WNOHANG)
        spent = time.monotonic() - began
        if found:
            break
        if kill is not None and not sent and spent >= kill[0]:
            os.killpg(process, kill[1])
            sent = True
        if spent > LONGEST:
            os.killpg(process, signal.SIGKILL)
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
        time.sleep(0.2)
    changes = logs / "changes"
    counted = int(changes.read_text()) if changes.exists() else 0
    changes.unlink(missing_ok=True)
    said = (logs / "err").read_text(errors="replace") if (logs / "err").exists() else ""
    return Ended(os.waitstatus_to_exitcode(code), spent, counted, said)


def tree(folder: Path) -> Tree:
    """Return rights and digest of all that lies in a folder; locks aside, and what vanishes while it is looked at.

    A training that a benchmark began outlives it, and goes on to write.
    """
    found: Tree = {}
    held = os.walk(folder)  # which, unlike rglob, stands a folder that vanishes
    for path in sorted(Path(place, name) for place, folders, files in held for name in (*folders, *files)):
        name = path.relative_to(folder).as_posix()
        if path.name == "lock" or f"{name}/".startswith("tmp/"):
            continue
        with contextlib.suppress(FileNotFoundError):
            rights = path.lstat().st_mode & 0o777
            if path.name.startswith("events.out.tfevents."):  # named after time and process: one for every go
                found[f"{path.parent.relative_to(folder)}/events"] = (rights, "TensorBoard's")
            elif path.is_symlink():
                found[name] = (0, f"link to {os.readlink(path)}")
            else:
                found[name] = (rights, _digest(path) if path.is_file() else "folder")
    return found


def _digest(path: Path) -> str:
    data = path.read_bytes()
    try:
        if path.suffix == ".json":
            data = json.dumps(_plain(json.loads(data))).encode()
        elif path.suffix == ".jsonl":
            data = json.dumps([_plain(json.loads(line)) for line in data.splitlines()]).encode()
        elif path.suffix == ".txt" and "runs" in path.parts:  # with its times, and how often it was begun
            return "what a training said"
        elif path.suffix == ".pt":
            import torch

            held = torch.load(path, weights_only=True)
            if path.name == "previous.pt":  # of the last moment that was saved before: a stop is one
                return "a checkpoint"
            data = repr(_plain(held)).encode()
    except (ValueError, RuntimeError, EOFError, OSError) as error:
        return f"cannot be read: {type(error).__name__}"
    return hashlib.sha256(data).hexdigest()


def _plain(value: Any) -> Any:
    """Return a record without what tells times, memory and how often it was begun; tensors as their bytes."""
    if isinstance(value, dict):
        return {str(key): _plain(held) for key, held in value.items() if key not in TIMES}
    if isinstance(value, list | tuple):
        return [_plain(held) for held in value]
    if hasattr(value, "numpy"):
        held = value.contiguous().numpy()
        return [str(held.dtype), list(held.shape), hashlib.sha256(held.tobytes()).hexdigest()]
    return value


class Study:
    """The originals, the references, and the one place where commands run."""

    def __init__(self, home: Path) -> None:
        self.work, self.originals, self.logs = home / "work", home / "originals", home / "logs"
        for folder in (self.work, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.references: dict[str, tuple[Tree, Tree, Ended]] = {}

    def run(
        self, words: list[str], stop: tuple[int, int] | None = None, kill: tuple[float, int] | None = None
    ):
        return wait(start(words, self.work, self.logs, stop), self.logs, kill)

    def make_originals(self) -> None:
        """Let the product make what its commands need, at the very place where they will find it."""
        if self.originals.exists():
            return
        kills_commands.draw(self.work)
        for words in kills_commands.ORIGINALS:
            if (ended := self.run(words)).status:
                raise SystemExit(f"{' '.join(words)} ended with {ended.status}: {ended.said[-2000:]}")
            kills_commands.after(self.work, words)
        shutil.rmtree(self.work / "tmp")
        shutil.copytree(self.work, self.originals)

    def fresh(self, command: kills_commands.Command) -> Tree:
        shutil.rmtree(self.work)
        self.work.mkdir()
        for name in command.needs:
            source = self.originals / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, self.work / name)
        return tree(self.work)

    def undisturbed(self, name: str) -> tuple[Tree, Tree, Ended]:
        """Return what is there before and after an undisturbed run, and how it ended."""
        command = kills_commands.COMMANDS[name]
        before = self.fresh(command)
        if (ended := self.run(command.words)).status:
            raise SystemExit(f"{name} ended with {ended.status}: {ended.said[-2000:]}")
        return before, tree(self.work), ended

    def kill(self, name: str, rng: random.Random) -> dict | None:
        """Kill a command once and give it again; None where it had ended before."""
        command = kills_commands.COMMANDS[name]
        if name not in self.references:
            self.references[name] = self.undisturbed(name)
        before, after, undisturbed = self.references[name]
        number = rng.choices(list(SIGNALS), list(SIGNALS.values()))[0]
        by_change, share = rng.random() < 0.5, rng.random()
        at = 1 + int(share * undisturbed.changes) if by_change else share * undisturbed.seconds
        self.fresh(command)
        first = self.run(command.words, **{"stop" if by_change else "kill": (at, number)})
        if first.status == 0:
            return None
        faults = []
        found = tree(self.work)
        for path, was in before.items():
            now = found.get(path)
            if now not in (was, after.get(path)):
                faults.append(f"after the kill {path} is {'gone' if now is None else 'neither old nor new'}")
        unheard = first.status == -number and found == before  # as any program, before it has begun
        if first.status not in (-number, 130) or (
            number != signal.SIGKILL and first.status != 130 and not unheard
        ):
            faults.append(f"it ended with {first.status}: {first.said[-300:]}")
        if "Traceback" in first.said or "Exception ignored" in first.said:
            faults.append(f"traceback: {first.said[-1500:]}")
        tries, was_done = [], False
        while not tries or (tries[-1] and len(tries) < MOST_TRIES):
            again = self.run(command.again or command.words)
            tries.append(again.status)
        differ = compare(after, tree(self.work))
        if tries[-1]:
            was_done = (
                not differ and tries[-1] == 2 and re.search(kills_commands.TAKEN, again.said) is not None
            )
            if not was_done:
                faults.append(f"given again it ends with {tries}: {again.said[-400:]}")
        faults += differ
        if any(fault.startswith("differs") for fault in differ) and (
            own := compare(after, self.undisturbed(name)[1])
        ):
            raise SystemExit(f"{name}: two undisturbed runs differ: {own}")
        moment = (
            f"change {at} of {undisturbed.changes}"
            if by_change
            else f"{at:.3f} of {undisturbed.seconds:.3f} s"
        )
        left = sum(path not in after for path in found)
        result = {
            "command": name,
            "signal": signal.Signals(number).name,
            "moment": moment,
            "status": first.status,
        }
        return result | {"unfinished files": left, "tries": tries, "was done": was_done, "faults": faults}


def compare(wanted: Tree, found: Tree) -> list[str]:
    """Say how a tree differs from the one that it should be."""
    said = [f"missing: {name}" for name in wanted if name not in found]
    said += [f"left over: {name}" for name in found if name not in wanted]
    return said + [
        f"differs: {name}" for name, held in wanted.items() if name in found and found[name] != held
    ]


def kills(study: Study, names: list[str], count: int, seed: int, minutes: float) -> list[dict]:
    """Kill commands, each as often as its weight says, until so many are done or the time is up."""
    deadline = time.monotonic() + 60 * minutes
    results: list[dict] = []
    weights = [kills_commands.COMMANDS[name].weight for name in names]
    number = 0
    while len(results) < count and time.monotonic() < deadline:
        rng = random.Random(f"{seed}-{number}")  # noqa: S311
        number += 1
        name = names[number - 1] if number <= len(names) else rng.choices(names, weights)[0]
        try:
            found = study.kill(name, rng)
        except KeyboardInterrupt:  # enough: what was found is told
            break
        if found is None:
            continue
        results.append(found)
        for fault in found["faults"]:
            print(f"{len(results)} {name} {found['signal']} {found['moment']}: {fault}", flush=True)
    return results


def _load() -> None:
    """Import all of the package and what it imports late, so that forks need not."""
    import metadcseg

    for module in pkgutil.walk_packages(metadcseg.__path__, "metadcseg."):
        copied = module.name.startswith("metadcseg.export.runner.")
        if not copied and not module.name.endswith(("__main__", "ray_executor", "slurm_executor")):
            importlib.import_module(module.name)
    for name in (
        "matplotlib.pyplot",
        "onnxscript",
        "torch.onnx",
        "zarr",
        "nibabel",
        "SimpleITK",
        "monai.networks.nets",
    ):
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)


def main() -> None:
    """Kill, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--commands", nargs="+", default=list(kills_commands.COMMANDS), choices=list(kills_commands.COMMANDS)
    )
    parser.add_argument("--home", type=Path, help="keep the inputs here, or take those of an earlier call")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    _load()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as home:
        study = Study(options.home or Path(home))
        study.make_originals()
        print(f"originals after {time.monotonic() - began:.0f} s", flush=True)
        found = kills(study, options.commands, options.count, options.seed, options.minutes)
        durations = {name: asdict(ended) for name, (_, _, ended) in study.references.items()}
    faulty = [each for each in found if each["faults"]]
    by_command = {
        name: {
            "kills": sum(each["command"] == name for each in found),
            "by signal": dict(Counter(each["signal"] for each in found if each["command"] == name)),
            "faults": sum(each["command"] == name for each in faulty),
            "was done, and says so": sum(each["was done"] for each in found if each["command"] == name),
            "seconds undisturbed": round(held["seconds"], 2),
            "changes of files": held["changes"],
        }
        for name, held in durations.items()
    }
    record = {
        "command": " ".join(["python", "studies/kills.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        "seed": options.seed,
        "machine": {
            "processors": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "minutes": round((time.monotonic() - began) / 60, 1),
        "kills": len(found),
        "before a change of files": sum(each["moment"].startswith("change") for each in found),
        "with unfinished files": sum(each["unfinished files"] > 0 for each in found),
        "faults": len(faulty),
        "by signal": dict(Counter(each["signal"] for each in found)),
        "by command": by_command,
        "each fault": faulty,
    }
    text = json.dumps(record, indent=1)
    if options.out:
        options.out.write_text(text + "\n")
    print(text if not options.out else f"{len(found)} kills, {len(faulty)} with faults")


if __name__ == "__main__":
    main()
