"""Every real set through every command: check, prepare, corrupt, train, evaluate per volume, predict.

    .venv/bin/python studies/real_sets.py --data ../shared/data --work /tmp/real --only la2018

What it shows is that the commands do on real files what they say, not who wins: networks of width 8 on 64 pixels, a few
minutes, one seed. Each set is trained on by binned and by plain supervision with the same gold. Stopped, it goes on
where it was; without --only, all sets, one after the other. Writes results/volumes.json.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

RESULTS = Path(__file__).resolve().parents[1] / "results" / "volumes.json"
SMALL = "--config small --network.width 8 --training.size 64 --training.threads 1"
METHODS = {
    "supervised, gold mixed": "--method supervised --supervised.gold mixed",
    "binned": "--method binned --binned.warmup {warmup}",
}
BRATS = (
    "--image {role}/{case}/Flair*.nii.gz --image {role}/{case}/T1c*.nii.gz "
    "--label {role}/{case}/OTMultiClass.nii.gz"
)
TCGA = (
    "--image {group}/{group}_t1_bet.nii.gz --image {group}/{group}_t1c_bet.nii.gz "
    "--image {group}/{group}_t2_bet.nii.gz --image {group}/{group}_fla_bet.nii.gz "
    "--label {group}/segmentation/{case}.nii.gz --truth {group}/fusion/simple.nii.gz"
)


@dataclass(frozen=True)
class RealSet:
    """How one set is used.

    Args:
        source: words for check and prepare.
        cut: more words for prepare.
        epochs: of training.
        rate: of the injected noise; None where the labels are noisy as they are.
        new: what is predicted at the end, relative to the data: the images of one case.
        options: more words for train.
    """

    source: str
    epochs: int
    new: tuple[str, ...]
    cut: str = ""
    rate: float | None = 0.4
    options: str = ""


SETS = {
    "kvasir-seg": RealSet(
        "kvasir-seg --source {data}/kvasir-seg",
        20,
        ("kvasir-seg/test/images/0.jpg",),
        "--gold 16 --limit 316",
    ),
    "la2018": RealSet(
        "patterns --source {data}/la2018 --image {role}/{case}.h5 --label {role}/{case}.h5 --val 0.17 --gold 1",
        18,
        ("la2018/test/*.h5",),
    ),
    "msd-heart": RealSet(
        "msd-heart --source {data}/msd-heart/dataset.original.json --val 0 --test 0.34",
        50,
        ("msd-heart/imagesTr/la_016.nii.gz",),
    ),
    "brats2015-deepmedic": RealSet(
        f"patterns --source {{data}}/brats2015-deepmedic {BRATS} --gold 1",
        20,
        (
            "brats2015-deepmedic/test/brats_2013_pat0001_1/Flair*",
            "brats2015-deepmedic/test/brats_2013_pat0001_1/T1c*",
        ),
        "--normalize nonzero --crop content --empty drop",
        rate=0.75,  # objects of a few pixels: no smaller rate can be reached
        options="--training.validate_every 5",
    ),
    "brain-tcga-4mod": RealSet(
        f"patterns --source {{data}}/brain-tcga-4mod {TCGA} --remap 4:3 --gold 1 --val 0 --test 0.5",
        10,
        tuple(
            f"brain-tcga-4mod/TCGA-FG-6692/TCGA-FG-6692_{part}_bet.nii.gz"
            for part in ("t1", "t1c", "t2", "fla")
        ),
        "--normalize nonzero --crop content --pixel 2 --empty drop",
        rate=None,
    ),
    "acdc": RealSet("acdc --source {data}/acdc", 25, ("acdc/slices/patient081_frame01_slice_*.h5",)),
    "la2018, network of volumes": RealSet(
        "patterns --source {data}/la2018 --image {role}/{case}.h5 --label {role}/{case}.h5 --val 0.17 --gold 1",
        15,
        ("la2018/test/*.h5",),
        options="--network.spatial_dims 3 --training.depth 48 --training.patch [32,48,48] --training.batch 1 "
        "--training.gold_batch 1 --training.validate_every 5",
    ),
}


def run(words: str, log: Path) -> tuple[str, float]:
    """Run one command; return what it printed on standard output, and its seconds."""
    start = time.monotonic()
    command = [sys.executable, "-m", "metadcseg", *words.split()]
    with log.open("a") as errors:
        errors.write(f"$ metadcseg {words}\n")
        errors.flush()
        limits = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, check=True, env=limits)
    return done.stdout.decode(), time.monotonic() - start


def new_case(data: Path, entry: RealSet, folder: Path) -> None:
    """Lay the images of one case out as predict takes them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    files = [path for pattern in entry.new for path in sorted(data.glob(pattern))]
    if "slice" in files[0].name:  # slices in files of their own: one volume of them
        files.sort(key=lambda path: int(path.stem.rsplit("_", 1)[1]))
        planes = []
        for path in files:
            with h5py.File(path) as file:
                planes.append(file["image"][...])
        with h5py.File(folder / "case.h5", "w") as file:
            file["image"] = np.stack(planes, axis=2)
    elif len(entry.new) > 1:
        for number, path in enumerate(files):
            shutil.copy(path, folder / f"case_{number:04d}.nii.gz")
    else:
        shutil.copy(files[0], folder / files[0].name)


def do(name: str, entry: RealSet, data: Path, work: Path) -> dict[str, Any]:
    """Take one set through all commands; what is there already is not done again."""
    work.mkdir(parents=True, exist_ok=True)
    log, done = work / "log.txt", work / "done.json"
    if done.exists():
        return json.loads(done.read_text())
    seconds: dict[str, float] = {}
    source = entry.source.replace("{data}", str(data))
    checked, seconds["check"] = run(f"check {source} --json".replace(" --limit 316", ""), log)
    if not (work / "set").exists():
        text, seconds["prepare"] = run(f"prepare {source} {entry.cut} --out {work}/set --json", log)
        (work / "set.json").write_text(text)
    told = json.loads((work / "set.json").read_text())
    used, noise = "set", None
    if entry.rate is not None:
        used = "noisy"
        if not (work / "noisy").exists():
            text, seconds["corrupt"] = run(
                f"corrupt {work}/set --rate {entry.rate} --out {work}/noisy --json", log
            )
            (work / "noisy.json").write_text(text)
        noise = json.loads((work / "noisy.json").read_text())
    rows = {}
    for method, words in METHODS.items():
        out = work / method.split(",")[0]
        warmup = entry.epochs // 8
        options = f"{SMALL} --training.warmup {warmup // 2} {entry.options} {words}".format(warmup=warmup)
        run(f"train --data {work}/{used} --out {out} --epochs {entry.epochs} --resume {options}", log)
        spent = json.loads((out / "run.json").read_text())["seconds"]
        record, seconds["evaluate"] = run(f"evaluate {out} --json", log)
        rows[method] = {"train_seconds": round(spent), **scores(json.loads(record))}
    new_case(data, entry, work / "new")
    shutil.rmtree(work / "masks", ignore_errors=True)
    _, seconds["predict"] = run(f"predict {work}/binned {work}/new --out {work}/masks", log)
    found = {
        "set": name,
        "check": json.loads(checked)["counts"],
        "cases": told["cases"],
        "volumes": told.get("volumes"),
        "classes": told["classes"],
        "channels": told["channels"],
        "noise": None if noise is None else {"asked": entry.rate, "reached": noise["rate"]},
        "epochs": entry.epochs,
        "seconds": {step: round(spent, 1) for step, spent in seconds.items()},
        "scores": rows,
        "predicted": sorted(path.name for path in (work / "masks").iterdir()),
        "commands": log.read_text().count("$ metadcseg"),
    }
    done.write_text(json.dumps(found, indent=1))
    return found


def scores(record: dict[str, Any]) -> dict[str, Any]:
    """Return what a record says of the test cases, per class as well."""
    unit = "_mm" if "hd95_mm" in record["summary"] else ""
    return {
        "cases": record["summary"]["dsc"]["n"],
        "dsc": round(record["summary"]["dsc"]["mean"], 4),
        f"hd95{unit or '_px'}": round(record["summary"][f"hd95{unit}"]["mean"], 2),
        "empty_predictions": record["empty_predictions"],
        "per_class": {name: round(entry["dsc"]["mean"], 4) for name, entry in record["per_class"].items()},
    }


def main() -> None:
    """Run what was asked for and write the table's numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", choices=list(SETS), default=None)
    options = parser.parse_args()
    rows = json.loads(RESULTS.read_text())["sets"] if RESULTS.exists() else []
    for name in [options.only] if options.only else list(SETS):
        folder = options.work / name.replace(", ", "-").replace(" ", "-")
        found = do(name, SETS[name], options.data.resolve(), folder.resolve())
        print(json.dumps(found["scores"]), flush=True)
        rows = [row for row in rows if row["set"] != name] + [found]
        rows.sort(key=lambda row: list(SETS).index(row["set"]))
        facts = {"processors": os.cpu_count(), "python": platform.python_version(), "threads": 1}
        RESULTS.write_text(json.dumps({"machine": facts, "sets": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
