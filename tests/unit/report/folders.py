"""Folders of benchmarks as ``metadcseg benchmark`` leaves them, written from made-up scores without any training."""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.data.synthetic.phantom import PhantomOptions, phantom_cases
from metadcseg.results.grid import Noise, Task

SUPERVISED = {"gold": "none", "labels": "given"}
METADCSEG = {"meta": True, "dcd": True, "lambda_boundary": 0.33, "lambda_dice": 0.12}
ROWS = {
    "noisy only": ("supervised", SUPERVISED),
    "noisy + gold": ("supervised", {**SUPERVISED, "gold": "mixed"}),
    "clean labels": ("supervised", {**SUPERVISED, "labels": "clean"}),
    "metadcseg": ("metadcseg", METADCSEG),
}
METRICS = ("dsc", "iou", "hd", "hd95", "nsd")
EDGES = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32]


@dataclass
class Folder:
    """A benchmark's folder that is being written."""

    path: Path
    grid: dict = field(
        default_factory=lambda: {"rows": {name: {"method": row[0]} for name, row in ROWS.items()}}
    )
    tasks: list = field(default_factory=list)
    machine: dict = field(default_factory=lambda: {"system": "a machine", "processors": 2, "workers": 2})

    def add(self, task, *, status="done", error=None, peak=640e6, **run):
        """Add a task; where it is done, with the records of its run, see ``write_run``."""
        entry = {
            "id": task.id,
            "set": task.set,
            "noise": {"model": task.noise.model, "rate": task.noise.rate},
            "gold": task.gold,
            "fold": None,
            "folds": task.folds,
            "row": task.row,
            "seed": task.seed,
            "folder": f"runs/{task.id}",
            "status": status,
            "error": error,
            "attempts": 1,
            "seconds": 60.0,
            "peak_bytes": peak,
        }
        self.tasks.append(entry)
        home = self.path / "runs" / task.id
        if status == "done":
            folds = [home / f"fold-{n + 1}" / "run" for n in range(task.folds)] if task.folds else [home]
            for place, folder in enumerate(folds):
                shift = {"scores": run["fold_scores"][place]} if task.folds else {}
                held = {key: value for key, value in run.items() if key != "fold_scores"}
                write_run(folder, task, **{**held, **shift})
        return home

    def write(self, **changes):
        """Write ``benchmark.json`` and return the folder."""
        self.path.mkdir(parents=True, exist_ok=True)
        held = {
            "format": 1,
            "name": "a small one",
            "grid": self.grid,
            "machine": self.machine,
            "seconds": 5321.0,
            "tasks": self.tasks,
            **changes,
        }
        (self.path / "benchmark.json").write_text(json.dumps(held))
        return self.path


def write_run(
    folder,
    task,
    *,
    method=None,
    scores,
    metrics=None,
    weights=None,
    cost=True,
    gold_cases=3,
    epoch_seconds=2.0,
    log=None,
    masks=None,
    groups=None,
    info=None,
):
    """Write a run: ``scores`` is case -> DSC, ``metrics`` replaces the mean of other metrics."""
    name, options = method or ROWS.get(task.row, ROWS["metadcseg"])
    gold = name != "supervised" or options["gold"] != "none"
    declared = {
        "needs_gold": gold,
        "supervises_gold": gold,
        "labels": "truth" if options.get("labels") == "clean" else "given",
        "networks": 1,
        "uses_pairs": name in ("calibrated", "pairs", "glc"),
        "passes": {"metadcseg": 8.0, "l2b": 9.0}.get(name, 6.0 if gold else 3.0),
    }
    info = (info or {}) | {
        "method": name,
        "label": task.row,
        "options": options,
        "declaration": declared,
        "seed": task.seed,
        "set": {"name": task.set, "cases": {"train": 14, "gold": gold_cases, "val": 2, "test": len(scores)}},
        "noise": {"hash": f"{task.seed}" * 64},
        "versions": {"metadcseg": "0.1.0"},
        "parameters": 572218,
        "seconds": 3 * epoch_seconds + 1,
    }
    held = folder / "evaluation"
    (held / "test").mkdir(parents=True)
    write(folder / "run.json", info)
    trained = {"loss": 1.0, "alpha": 0.9, "boundary": 0.1} if name == "metadcseg" else {"loss": 1.0}
    trained |= log or {}
    lines = [
        {
            "kind": "epoch",
            "epoch": n,
            "seconds": epoch_seconds,
            "train": trained,
            "val": {"dsc": 0.2 + 0.1 * n},
        }
        for n in range(3)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows, predictions = [], {}
    for place, (case, dsc) in enumerate(scores.items()):
        row = {
            "row": place,
            "id": case,
            "dsc": dsc,
            "iou": dsc / (2 - dsc),
            "hd": 20.0,
            "hd95": 10.0,
            "nsd": dsc,
        } | ({} if groups is None else {"group": groups[case]})
        rows.append(row)
        if masks is not None:
            predictions[case] = f"test/{place:04d}.png"
            Image.fromarray(masks[case]).save(held / predictions[case])
    with (held / "test.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    summary = {}
    for metric in METRICS:
        values = [row[metric] for row in rows]
        mean = (metrics or {}).get(metric, float(np.mean(values)))
        summary[metric] = {"mean": mean, "sd": float(np.std(values)), "n": len(values)}
    for metric in (metrics or {}).keys() - summary.keys():  # in mm, which not every set has
        summary[metric] = {"mean": metrics[metric], "sd": 0.0, "n": len(rows)}
    write(held / "test.json", {"summary": summary, "predictions": predictions})
    if cost:
        write(
            held / "cost.json",
            {"parameters": 572218, "flops_per_image": 2e9, "inference_ms_per_image": 10.0, "frame": [32, 32]},
        )
    if weights is not None:
        write_weights(held, **weights)


def write_weights(held, *, gamma, alpha=None, auroc=0.9, case="a training case"):
    """Write ``weights.json`` with gamma given for every bin, alpha likewise or the same, and maps of one case."""
    shape = (24, 24)
    maps = {
        "image": np.arange(576).reshape(shape) % 256,
        "label": np.pad(np.full((10, 10), 255), 7),
        "truth": np.pad(np.full((12, 12), 255), 6),
        "gamma": np.full(shape, 127),
        "alpha": np.full(shape, 100),
        "beta": np.full(shape, 27),
    }
    (held / "weights").mkdir()
    entry = {"id": case}
    for name, values in maps.items():
        entry[name] = f"weights/0-{name}.png"
        Image.fromarray(values.astype(np.uint8)).save(held / entry[name])
    write(
        held / "weights.json",
        {
            "auroc": {"weight": auroc, "disagreement": auroc - 0.1},
            "wrong_pixels": 0.08,
            "pixels": 1000,
            "distance": {
                "unit": "px",
                "edges": EDGES,
                "pixels": [100.0] * len(gamma),
                "gamma": gamma,
                "alpha": alpha or gamma,
                "beta": [0.0 if value is not None else None for value in gamma],
            },
            "examples": [entry],
        },
    )


def write(file, content):
    """Write JSON."""
    file.write_text(json.dumps(content))


def write_set(folder, names=("phantom-0000", "phantom-0001", "phantom-0002"), size=24):
    """Write a set whose test cases have names of our choice, and return it."""
    cases = list(
        phantom_cases(PhantomOptions(count=len(names) + 8, size=size), gold=2, val=2, test=len(names))
    )
    given = iter(names)
    with SetWriter(folder, name="tiny", classes=("background", "organ"), channels=1) as writer:
        for case in cases:
            name = next(given) if case.role == "test" else case.id
            writer.add(
                id=name, role=case.role, group="", image=case.images, label=case.label, truth=case.label
            )
    return PreparedSet.open(folder)


def task(name="la", model="paper", rate=0.4, gold=None, row="metadcseg", seed=0, folds=None):
    """A task of a grid."""
    return Task(name, Noise(model, rate), gold, row, seed, folds)


def made_scores(mean, seed=0, count=12, spread=0.05):
    """Scores of so many cases around a mean, the same for the same arguments."""
    drawn = np.random.default_rng(seed).normal(mean, spread, count).clip(0.01, 0.99)
    return {f"case-{place:02d}": float(value) for place, value in enumerate(drawn)}


def write_full(path, hostile="", sets=("msd-heart", "phantom"), cases=12):
    """A benchmark that has something for every table and figure of a report.

    Two sets, three kinds of noise, eight rows, three seeds; gold of four sizes; five folds; failures of both kinds.
    """
    rows = {
        **ROWS,
        f"l2b{hostile}": ("l2b", {}),
        "without meta": ("metadcseg", {**METADCSEG, "meta": False}),
        "without DCD": ("metadcseg", {**METADCSEG, "dcd": False}),
        "without Dice": ("metadcseg", {**METADCSEG, "lambda_dice": 0.0}),
    }
    folder = Folder(path)
    folder.grid = {"rows": {name: {"method": row[0]} for name, row in rows.items()}, "partial": None}
    logs = {"without meta": {"alpha": 1.0}, "without DCD": {"boundary": 0.0}}
    for name in sets:
        for seed in (0, 1, 2):
            for model, rate in (("paper", 0.0), ("paper", 0.4), ("over", 0.4)):
                for place, (row, method) in enumerate(rows.items()):
                    made = task(name, model, rate, None, row, seed)
                    known = made_scores(0.9 - 0.4 * rate + 0.01 * place, seed, cases, 0.04)
                    masks = None
                    if seed == 0:
                        stored = path / "sets" / made.data
                        if not stored.exists():
                            write_set(stored, [f"{case}{hostile}" for case in known])
                        prepared = PreparedSet.open(stored)
                        masks = {
                            case.id: np.roll(prepared.truth(case) * 255, place, axis=0)
                            for case in prepared.select("test")
                        }
                        known = {f"{case}{hostile}": value for case, value in known.items()}
                    else:
                        known = {f"{case}{hostile}": value for case, value in known.items()}
                    gamma = [0.5 + 0.05 * step + 0.01 * seed for step in range(9)] + [None, None]
                    folder.add(
                        made,
                        method=method,
                        scores=known,
                        masks=masks,
                        weights={"gamma": gamma, "case": f"train{hostile}"} if row == "metadcseg" else None,
                        log=logs.get(row),
                        epoch_seconds=2.0 + place,
                    )
    for gold, cases_of_gold in ((0.01, 1), (0.02, 2), (0.05, 5), (0.1, 10)):
        for row in ("noisy + gold", "metadcseg"):
            folder.add(
                task("gold-set", "paper", 0.4, gold, row, 0),
                scores=made_scores(0.7 + gold, 0, cases),
                gold_cases=cases_of_gold,
                epoch_seconds=2.0 + 10 * gold,
                peak=600e6 * (1 + gold),
            )
    for row in ("noisy + gold", "metadcseg"):
        made = [made_scores(0.8 + 0.01 * fold, fold, 4) for fold in range(5)]
        scored = [{f"{fold}-{case}": value for case, value in held.items()} for fold, held in enumerate(made)]
        folder.add(task("folded", "paper", 0.4, None, row, 0, folds=5), scores={}, fold_scores=scored)
    folder.add(task(sets[0], "under", 0.4, None, "metadcseg", 0), status="failed", error="the disk is full")
    broken = "the benchmark contract is broken: its gold is another than that of 'noisy only'"
    folder.add(task(sets[0], "under", 0.4, None, "noisy + gold", 0), status="failed", error=broken)
    folder.add(task(sets[0], "under", 0.4, None, "noisy only", 0), status="waiting")
    return folder.write(name=f"a whole one{hostile}")
