"""Spoil files of every kind and read them: each must be read, or refused by one sentence.

PYTHONPATH=src python studies/fuzz.py --count 10000 --seed 0 --out results/fuzz.json
PYTHONPATH=src python studies/fuzz.py --minutes 20

Every input is a fresh copy of a small original (studies/fuzz_inputs.py), of which one file was spoilt: bytes and cuts;
places of its tree (JSON, YAML, checkpoints); numbers of its header; or a pipe, folder, device or dangling link in its
place. It is then given to a reader of the package, or to a whole command (``metadcseg.cli.main.main``). Inputs run one
after another in processes of up to 500, which would otherwise spend two seconds on torch for each. A fault is:

- any exception of a reader but InputError; of a command a status other than 0 and 2, a traceback, or no sentence
- an interpreter that ends; more than 20 s of processor time (or a minute of waiting without any)
- more than 2 GB beyond what the process had (RLIMIT_DATA), or a peak above it
- a file outside of input and output that was made, changed or removed; links in the input lead there
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import platform
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import fuzz_inputs as inputs  # noqa: E402

MOST_SECONDS, MOST_WAITING, MOST_BYTES = 20.0, 60.0, 2 * 10**9
CLEAR = "5"  # to /proc/self/clear_refs: the peak of memory begins anew
SHOWN = 60


def _readers() -> dict[str, tuple[str, str, Callable[[Path], object]]]:
    """Name -> base, pattern of the files that are spoilt, and what reads the copy of the base."""
    from metadcseg.audit.about import read_about
    from metadcseg.audit.case_files import read_cases, read_masks
    from metadcseg.audit.decisions import read_decisions
    from metadcseg.benchmark.read_grid import read_grid
    from metadcseg.data.formats import volumes
    from metadcseg.data.formats.images import read_image, read_mask
    from metadcseg.data.sources.annotators import read_annotators
    from metadcseg.data.sources.dataset_json import read_dataset_json
    from metadcseg.data.splits.roles import read_splits
    from metadcseg.data.store.origin import read_origin
    from metadcseg.data.store.reader import PreparedSet
    from metadcseg.networks.pretrained import tensors_in
    from metadcseg.networks.weights_file import read_bytes
    from metadcseg.results.read_benchmark import read_benchmark
    from metadcseg.results.records import read_runs
    from metadcseg.training.run.checkpoints import fits_run, load_checkpoint
    from metadcseg.training.run.folder import load_run, options_of_run, read_run
    from metadcseg.training.run.model_file import load_weights
    from metadcseg.training.run.state import TrainerState
    from metadcseg.yaml_file import read_yaml

    def volume(path: Path, key: str | None = None) -> None:
        volumes.read_grid(path, key=key)
        volumes.read_volume(path, key=key)

    def a_set(place: Path) -> None:
        PreparedSet.open(place).verify()

    def sealed(place: Path) -> None:
        inputs.seal(place)
        prepared = PreparedSet.open(place)
        prepared.verify()
        json.dumps(prepared.noise)

    def checkpoint(place: Path) -> None:
        state = load_checkpoint(place / "checkpoints")
        if state is not None and isinstance(state.get("position"), dict):
            with fits_run(place / "checkpoints"):
                TrainerState.read(state["position"])

    def audit(place: Path) -> None:
        about = read_about(place)
        cases = read_cases(place)
        for case in cases:
            read_masks(place, case)
        said = {"identity": about["identity"], "fingerprint": about["set"]["fingerprint"]}
        read_decisions(place / "decisions.json", **said, cases=cases, classes=len(about["classes"]))

    def weights(place: Path) -> None:
        for name in ("model.safetensors", "checkpoints/last.pt"):
            tensors_in(place / name, read_bytes(place / name, "x"), "weights")

    def drawn(place: Path) -> None:
        from metadcseg.data.prepare.checks import check_folder

        for name in ("labelme.json", "studio.json", "via.json", "cvat.xml"):
            if (place / name).exists():
                (place / name).replace(place / "masks" / name)
                check_folder(place)
                if (place / "masks" / name).is_file():
                    (place / "masks" / name).unlink()
                for other in place.glob("masks/coco.json"):
                    if not other.is_dir():
                        other.unlink()

    return {
        "set": ("set", "*", a_set),
        "sealed set": ("set", "*", sealed),
        "origin": ("set", "origin.json", read_origin),
        "run": ("run", "run.json", lambda place: options_of_run(read_run(place))),
        "network of a run": ("run", "[rm]*.[js]*", load_run),
        "model": ("run", "model.safetensors", lambda place: load_weights(place / "model.safetensors")),
        "checkpoint": ("run", "checkpoints/last.pt", checkpoint),
        "foreign weights": ("run", "[mc]*/*[.]*", weights),
        "records": ("run", "*", lambda place: read_runs([place])),
        "benchmark": ("bench", "benchmark.json", read_benchmark),
        "audit": ("audit", "[acd]*", audit),
        "config": ("texts", "config.yaml", lambda place: read_yaml(place / "config.yaml", "x")),
        "grid": ("texts", "grid.yaml", lambda place: read_grid(place / "grid.yaml")),
        "dataset.json": ("texts", "dataset.json", lambda place: read_dataset_json(place / "dataset.json")),
        "annotators": (
            "texts",
            "annotators.csv",
            lambda place: read_annotators(place / "annotators.csv", ["a", "b"]),
        ),
        "splits": (
            "folder",
            "splits.csv",
            lambda place: read_splits(place / "splits.csv", [f"c{n}" for n in range(8)]),
        ),
        "annotations": ("drawn", "*.[jx]*", drawn),
        **{
            f"image {end}": (
                "folder",
                f"images/*.{end}",
                lambda place, end=end: [read_image(p) for p in place.glob(f"images/*.{end}")],
            )
            for end in ("png", "jpg", "tif", "bmp")
        },
        "mask": ("folder", "masks/*", lambda place: [read_mask(path) for path in place.glob("masks/*")]),
        **{
            name: (
                "volumes",
                name if name != "a.mhd" else "a.m?[dw]",
                lambda place, name=name: volume(place / name),
            )
            for name in ("a.nii", "a.nii.gz", "a.mha", "z.mha", "a.mhd", "a.nrrd", "b.nrrd", "a.h5")
        },
        "dicom": ("volumes", "dicom/*", lambda place: volume(place / "dicom")),
    }


FOLDS = [
    *("cross-validate", "{home}/set", "--out", "{at}", "--folds", "2", "--gold", "1"),
    *("--method", "supervised", *inputs.TINY),
]
COMMANDS: dict[str, tuple[str, str, list[str]]] = {
    "check folder": ("folder", "*", ["check", "{at}", "--json"]),
    "prepare": ("folder", "*", ["prepare", "{at}", "--out", "{out}", "--edges", "none"]),
    "check set": ("set", "*", ["check", "{at}"]),
    "diagnose": ("set", "*", ["diagnose", "{at}"]),
    "split": ("set", "*", ["split", "{at}", "--out", "{out}"]),
    "corrupt": ("set", "*", ["corrupt", "{at}", "--out", "{out}", "--rate", "0.3"]),
    "evaluate": ("run", "[rme]*", ["evaluate", "{at}", "--data", "{home}/set"]),
    "predict": ("run", "[rm]*", ["predict", "{at}", "{home}/folder/images", "--out", "{out}"]),
    "predict an image": ("folder", "images/*", ["predict", "{home}/run", "{at}/images", "--out", "{out}"]),
    "resume": ("run", "[rcm]*", ["train", "--resume", "{at}", "--data", "{home}/set"]),
    "resume further": (
        "run",
        "checkpoints/last.pt",
        ["train", "--resume", "{at}", "--data", "{home}/set", "--epochs", "2"],
    ),
    "train with config": (
        "texts",
        "config.yaml",
        ["train", "--data", "{home}/none", "--out", "{out}", "--config", "{at}/config.yaml"],
    ),
    "benchmark": ("texts", "grid.yaml", ["benchmark", "{at}/grid.yaml", "--out", "{out}", "--dry-run"]),
    "report": ("bench", "*", ["report", "{at}", "--out", "{out}"]),
    "compare": ("bench", "*", ["compare", "{at}/runs/a", "{home}/run", "--json"]),
    "next": ("audit", "*", ["audit", "{at}", "--next", "2"]),
    "accept": ("audit", "*", ["accept", "{at}/decisions.json", "--out", "{out}"]),
    "export": ("audit", "*", ["export-annotations", "{at}", "--to", "coco", "--out", "{out}"]),
    "audit again": ("audit", "*", ["audit", "{home}/run", "--out", "{at}"]),
    "folds": ("folds", "folds.json", FOLDS),
    "folds' scores": ("folds", "fold-*/run/evaluation/test.json", FOLDS),
}
SHARE_OF_COMMANDS = 0.15


def _tree(folder: Path) -> dict[str, str]:
    """Return what lies in a folder: links and digests of files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        is_file = path.is_file() and not path.is_symlink()
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else str(path.is_dir())
    return found


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])
    return 0


def _one(number: int, seed: int, home: Path, work: Path, readers: dict) -> dict:
    """Make one input, read it, and say how that ended."""
    from metadcseg.cli.main import main
    from metadcseg.errors import InputError

    rng = random.Random(f"{seed}-{number}")  # noqa: S311
    commands = rng.random() < SHARE_OF_COMMANDS
    target = rng.choice(list(COMMANDS if commands else readers))
    base, pattern, how = (COMMANDS if commands else readers)[target]
    place, out = work / "input", work / "out"
    shutil.copytree(home / base, place, symlinks=True)
    files = [
        path
        for path in sorted(place.rglob(pattern) if "/" not in pattern else place.glob(pattern))
        if path.is_file()
    ]
    if "/" not in pattern:
        files += [
            file
            for path in sorted(place.glob(pattern))
            if path.is_dir()
            for file in sorted(path.rglob("*"))
            if file.is_file()
        ]
    file = rng.choice(files)
    (place / "trap").symlink_to(work / "outside")
    kind = inputs.spoil_file(rng, file)
    if commands and base == "set" and rng.random() < 0.6:
        inputs.seal(place)
    before = _tree(work / "outside")
    Path("/proc/self/clear_refs").write_text(CLEAR)
    began, held, fault, said = time.process_time(), _peak(), "", ""
    console = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(console),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            if commands:
                status = main([word.format(at=place, out=out, home=home) for word in how])
                said = console.getvalue()
                sentences = [line for line in said.splitlines() if line.startswith("metadcseg: ")]
                if status not in (0, 2) or "Traceback" in said:
                    fault = f"status {status}: {said[-300:]}"
                elif (
                    status == 2 and how[0] != "check" and len(sentences) != 1
                ):  # whose findings are its answer
                    fault = f"{len(sentences)} sentences: {said[-300:]}"
            else:
                status = 0
                try:
                    how(place)
                except InputError as error:
                    status, said = 2, str(error)
                    if len(said.splitlines()) > 1:
                        fault = f"no sentence: {said[:300]!r}"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        status, fault = (
            1,
            f"{type(error).__name__}: {str(error)[:200]} ({Path(where.filename).name}:{where.lineno})",
        )
    peak = _peak() - held
    if peak > MOST_BYTES and not fault:
        fault = f"{peak / 1e9:.1f} GB"
    if _tree(work / "outside") != before or {path.name for path in work.iterdir()} - {
        "input",
        "out",
        "outside",
        "here",
    }:
        fault = fault or "wrote outside"
    short = "memory" if "memory" in said and status == 2 else ""
    result = {
        "target": target,
        "kind": kind,
        "file": file.relative_to(place).as_posix(),
        "status": status,
        "fault": fault,
    }
    return result | {"memory": short, "seconds": round(time.process_time() - began, 3), "peak": peak}


def _child(seed: int, first: int, last: int, home: Path) -> None:
    """Carry out inputs one after another, and tell of each on the standard output that was."""
    os.environ["COLUMNS"] = "200"
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    readers = _readers()
    import torch

    torch.set_num_threads(1)
    from metadcseg.cli.main import main

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(
            ["predict", str(home / "run"), str(home / "folder/images"), "--out", tempfile.mkdtemp() + "/x"]
        )  # imports
    data = next(
        int(line.split()[1])
        for line in Path("/proc/self/status").read_text().splitlines()
        if "VmData" in line
    )
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * data + MOST_BYTES, 1024 * data + MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**28, 2**28))
    for number in range(first, last):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            work = Path(name)
            (work / "outside").mkdir()
            (work / "here").mkdir()
            (work / "outside/victim.txt").write_text("mine")
            os.chdir(work / "here")
            told.write(json.dumps({"begin": number}) + "\n")
            told.write(json.dumps({"end": number} | _one(number, seed, home, work, readers)) + "\n")
            os.chdir("/")


def _seconds_of(process: int) -> float:
    parts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def _watch(process: subprocess.Popen, deadline: float) -> tuple[list[dict], int | None, str]:
    """Return the results of a child, the input in which it ended or was ended, and why."""
    results, number, since, used = [], None, time.monotonic(), 0.0
    pending = b""
    while True:
        ready, _, _ = select.select([process.stdout], [], [], 0.5)
        if ready:
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                process.wait()
                return (
                    results,
                    number,
                    f"the interpreter ended with {process.returncode}" if number is not None else "",
                )
            *lines, pending = (pending + piece).split(b"\n")
            for line in map(json.loads, lines):
                if "begin" in line:
                    number, since, used = line["begin"], time.monotonic(), _seconds_of(process.pid)
                else:
                    results.append(line)
                    number = None
        if number is not None:
            spent = _seconds_of(process.pid) - used
            if spent > MOST_SECONDS or (time.monotonic() - since > MOST_WAITING and spent < 1):
                process.kill()
                process.wait()
                return results, number, f"a hang ({spent:.0f} s of processor time)"
        elif time.monotonic() > deadline:
            process.kill()
            process.wait()
            return results, None, "time is up"


def fuzz(count: int, seed: int, minutes: float, home: Path, first: int) -> dict:
    """Run inputs until so many are done, or the time is up."""
    deadline = time.monotonic() + 60 * minutes
    results: list[dict] = []
    ended: list[dict] = []
    next_one = first
    while next_one < first + count and time.monotonic() < deadline:
        last = min(first + count, next_one + 500)  # a fresh process now and then
        words = [sys.executable, __file__, "--child", str(home), "--seed", str(seed)]
        words += ["--first", str(next_one), "--count", str(last - next_one)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
        found, broke, why = _watch(process, deadline)
        results += found
        next_one = max([next_one, *(line["end"] + 1 for line in found)])
        if broke is not None:
            ended.append({"input": broke, "fault": why})
            next_one = broke + 1
            print(f"input {broke}: {why}", flush=True)
        elif not found:
            break
        print(f"{len(results)} inputs, {sum(bool(line['fault']) for line in results)} faults", flush=True)
    return _summary(results, ended, seed, first)


def _summary(results: list[dict], ended: list[dict], seed: int, first: int) -> dict:
    def counted(key: str) -> dict:
        return dict(sorted(Counter(line[key] for line in results).items()))

    faults = [line for line in results if line["fault"]]
    return {
        "command": " ".join(["python", "studies/fuzz.py", *sys.argv[1:]]),
        "seed": seed,
        "first": first,
        "inputs": len(results) + len(ended),
        "read": sum(line["status"] == 0 for line in results),
        "refused in a sentence": sum(line["status"] == 2 and not line["fault"] for line in results),
        "faults": len(faults) + len(ended),
        "crashes and hangs": ended,
        "refused for want of memory": sum(bool(line["memory"]) for line in results),
        "longest, in s of processor time": max((line["seconds"] for line in results), default=0),
        "largest growth in GB": round(max((line["peak"] for line in results), default=0) / 1e9, 3),
        "by target": counted("target"),
        "by kind": counted("kind"),
        "each fault": [
            {key: line[key] for key in ("end", "target", "file", "kind", "fault")} for line in faults
        ][:200],
        "limits": {"seconds": MOST_SECONDS, "bytes": MOST_BYTES},
        "how": "inputs one after another in processes of up to 500, commands through metadcseg.cli.main.main",
        "machine": {
            "processor": platform.machine(),
            "processors": os.cpu_count(),
            "python": platform.python_version(),
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument(
        "--originals", type=Path, default=None, help="kept there, and taken from there where it exists"
    )
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--child", type=Path, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _child(given.seed, given.first, given.first + given.count, given.child)
        sys.exit()
    with tempfile.TemporaryDirectory() as temporary:
        originals = given.originals or Path(temporary) / "originals"
        if not originals.exists():
            from metadcseg.cli.main import main

            originals.mkdir(parents=True)
            inputs.make_originals(originals, main)
        told = fuzz(given.count, given.seed, given.minutes, originals.resolve(), given.first)
    text = json.dumps(told, indent=1)
    if given.out is not None:
        given.out.write_text(text + "\n")
    print(text)
