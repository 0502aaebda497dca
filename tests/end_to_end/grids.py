"""A small grid, a way to run one without new processes, and what its runs left behind."""

import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import yaml

from metadcseg.benchmark.runner import Outcome, is_done
from metadcseg.cli.chain import chain
from metadcseg.cli.commands import benchmark, demo

ROWS = {
    "noisy only": {"method": "supervised"},
    "noisy + gold": {"method": "supervised", "supervised": {"gold": "mixed"}},
    "clean labels": {"method": "supervised", "supervised": {"labels": "clean"}},
    "binned": {"method": "binned", "binned": {"dcd": False, "warmup": 0}},
}
TRAINING = {"size": 32, "batch": 4, "gold_batch": 2, "epochs": 3, "figure_every": 0}

# of set, noise, row and seed; "**" would stumble over folders that vanish
SCORES = "runs/*/*/*/*/evaluation/test.json"


def write_grid(folder, clean, **changes):
    grid = {
        "name": "a small one",
        "sets": {"phantom": str(clean)},
        "noise": [{"model": "over", "rate": 0.3}],
        "rows": ROWS,
        "seeds": [0, 1],
        "options": {"network": {"width": 4}, "training": TRAINING},
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


class InThisProcess:
    """Carries out jobs one after the other where it is called: no job loads torch anew."""

    workers = 1

    def run(self, jobs, started):
        for job in jobs:
            if is_done(job):
                yield job, Outcome("done")
                continue
            started(job)
            log = Path(job.log)
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file, redirect_stdout(file), redirect_stderr(file):
                status = chain(job.commands)
            error = log.read_text().strip().splitlines()[-1] if status else None
            yield job, Outcome("failed" if status else "done", error, 0.1)

    def close(self):
        """Nothing is held."""


def run_in_this_process(monkeypatch):
    for command in (benchmark, demo):
        monkeypatch.setattr(command, "LocalExecutor", lambda workers: InThisProcess())
