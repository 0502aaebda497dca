"""Train, audit, accept what is sure, train again: test DSC before and after, nobody having looked at a mask.

    .venv/bin/python studies/audit_loop.py /tmp/small/benchmarks/left-atrium-temper --noise over-0.4 --seed 0 \
        --out /tmp/loop

Takes the finished run GRID/runs/left-atrium/NOISE/calibrated/seed-N. All steps are the program's own commands: audit;
`decisions.json`, in which every case is accepted at the level `sure` and none is said to be verified; accept; prepare,
with the words that accept prints; train with the configuration of the first run, by `calibrated` and by `supervised`
with gold; evaluate. Pairs follow the training masks, so `calibrated` corrects what the audit left. `--method supervised
--given` trains the latter on the masks as given, too. What lies in --out is
taken from there, stopped trainings go on; `--method` alone trains nothing and notes where they stopped. The images and
references of the test split are compared with those of the first set. Writes results/audit-loop.json.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from metadcseg.audit.case_files import read_cases
from metadcseg.audit.twins import TWINS
from metadcseg.data.store.reader import PreparedSet
from metadcseg.training.run.folder import read_run, set_of_run

RESULTS = Path(__file__).resolve().parents[1] / "results" / "audit-loop.json"
METHODS = {"calibrated": None, "supervised": {"gold": "mixed"}}
PLACE = ("threads", "devices", "nodes", "accelerator")


def metadcseg(*words: object) -> str:
    """Carry out a command of the program on one thread, and return what it prints."""
    command = [sys.executable, "-m", "metadcseg", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    print("$", shlex.join(command[2:]), flush=True)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def of_a_run(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the words that name a finished run of `calibrated`, and what takes all that is made."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grid", type=Path, help="folder that holds runs/")
    parser.add_argument("--noise", required=True, help="as in runs/SET/NOISE")
    parser.add_argument("--set", default="left-atrium", help="as in runs/SET")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="takes audits, and what is trained")
    return parser


def run_of(asked: argparse.Namespace) -> Path:
    """Return the folder of the run that was named."""
    return Path(asked.grid, "runs", asked.set, asked.noise, "calibrated", f"seed-{asked.seed}")


def sure_ones(audit: Path) -> Path:
    """Write decisions that take the level `sure` of every case, without a look at any."""
    about = json.loads((audit / "audit.json").read_text())
    rows = [
        {"case": case.id, "verdict": "accept", "level": "sure", "verified": False}
        for case in read_cases(audit)
    ]
    told = {
        "format": "metadcseg-decisions/1",
        "identity": about["identity"],
        "set": about["set"]["fingerprint"],
        "decisions": rows,
    }
    (audit / "decisions.json").write_text(json.dumps(told, indent=1))
    return audit / "decisions.json"


def corrected(run: Path, out: Path) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """Audit a run, accept what is sure, prepare; return the new set, and the DSC of training masks and of twins."""
    if not (out / "audit" / "audit.json").is_file():
        metadcseg("audit", run, "--out", out / "audit")
    record = json.loads((out / "audit" / "audit.json").read_text())
    prepared = out / "folder-set"
    if not (prepared / "set.json").is_file():
        told = json.loads(metadcseg("accept", sure_ones(out / "audit"), "--out", out / "folder", "--json"))
        print(told["next"], flush=True)
        metadcseg(*shlex.split(told["next"])[1:])
    levels = record["corrected"]["dsc"]["levels"]
    pairs = [case for case in read_cases(out / "audit" / TWINS) if case.true_dsc is not None]
    twins = {"given": float(np.mean([case.true_dsc for case in pairs]))}
    twins |= {level: float(np.mean([case.corrected_dsc[level] for case in pairs])) for level in levels}
    return prepared, {"given": record["given"]["dsc"]["mean"], **levels}, twins


def compare(before: PreparedSet, after: PreparedSet) -> dict[str, Any]:
    """Refuse where the loop changed anything but training masks and those that gold replaced; return what it did.

    Raises:
        ValueError: where images, test masks or verified ones differ.
    """
    found = {"slices": 0, "changed": 0, "pairs": 0, "pairs_changed": 0}
    for role in ("gold", "test", "train"):
        order = [sorted((v.id, v) for v in each.volumes if v.role == role) for each in (before, after)]
        if [id for id, _ in order[0]] != [id for id, _ in order[1]]:
            raise ValueError(f"other volumes of role {role}")
        for (id, old), (_, new) in zip(*order, strict=True):
            slices = [each.slices_of(v) for each, v in ((before, old), (after, new))]
            for one, two in zip(*slices, strict=True):
                if not np.array_equal(before.image(one), after.image(two)):
                    raise ValueError(f"other images in {id}")
                same = np.array_equal(before.label(one), after.label(two))
                if role == "train":
                    found["slices"] += 1
                    found["changed"] += not same
                elif not same or one.has_given != two.has_given:
                    raise ValueError(f"other masks in {id}, which is {role}")
                elif one.has_given:
                    found["pairs"] += 1
                    found["pairs_changed"] += not np.array_equal(before.given(one), after.given(two))
    return found


def trained(info: dict[str, Any], prepared: Path, method: str, out: Path) -> dict[str, Any]:
    """Train as a run was, and return the DSC of test volumes."""
    run = out / "run"
    options = METHODS[method] or info["options"]
    network = {name: value for name, value in info["network"].items() if value is not None and value != {}}
    training = {name: value for name, value in info["training"].items() if name not in PLACE}
    training = {name: value for name, value in training.items() if value is not None}
    out.mkdir(parents=True, exist_ok=True)
    config = out / "config.yaml"
    config.write_text(
        yaml.safe_dump({"method": method, method: options, "network": network, "training": training})
    )
    scored = run / "evaluation" / "test.json"
    if not scored.is_file():
        if (run / "run.json").is_file():
            metadcseg("train", "--resume", run)
        else:
            metadcseg("train", "--data", prepared, "--out", run, "--config", config, "--seed", info["seed"])
        metadcseg("evaluate", run, "--split", "test")
    return scores(run)


def scores(run: Path) -> dict[str, Any]:
    """Return the test DSC of an evaluated run."""
    held = json.loads((run / "evaluation" / "test.json").read_text())["summary"]["dsc"]
    info = read_run(run)
    best = info["best"]
    return {
        "dsc": held["mean"],
        "volumes": held["n"],
        "val_dsc": best["dsc"],
        "epoch": best["epoch"],
        "seconds": info["seconds"],
    }


def curve(run: Path) -> list[float]:
    """Return the validation DSC of every epoch so far."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [round(each["val"]["dsc"], 4) for each in lines if each["kind"] == "epoch"]


def main() -> None:
    """Go round once, and write after each training."""
    parser = of_a_run(__doc__)
    parser.add_argument("--method", choices=list(METHODS), nargs="*", default=list(METHODS))
    parser.add_argument("--given", action="store_true", help="train on the masks as given, too")
    asked = parser.parse_args()
    run = run_of(asked)
    out, info = asked.out.resolve() / asked.noise / f"seed-{asked.seed}", read_run(run)
    given = set_of_run(info)
    prepared, masks, twins = corrected(run, out)
    told = {"set": asked.set, "noise": asked.noise, "seed": asked.seed}
    held = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"runs": []}
    row = next((each for each in held["runs"] if told.items() <= each.items()), None)
    if row is None:
        held["runs"].append(row := dict(told))
    row["command"] = shlex.join(["studies/audit_loop.py", *sys.argv[1:]])
    row["machine"] = {"system": platform.platform(), "processors": os.cpu_count(), "threads": 1}
    row["training_masks"], row["twins"] = masks, twins
    row["sets"] = compare(PreparedSet.open(given), PreparedSet.open(prepared))
    row.setdefault("before", {})["audited"] = scores(run) | {"val_dsc_by_epoch": curve(run)}
    places = (("before", given), ("after", prepared)) if asked.given else (("after", prepared),)
    for method in asked.method:
        for place, data in places:
            row.setdefault(place, {})[method] = trained(info, data, method, out / place / method)
            write(held)
    for file in sorted(out.glob("*/*/run/run.json")):  # what was stopped
        place, method = file.parts[-4:-2]
        if method not in row.get(place, {}):
            row.setdefault(place, {})[method] = {"stopped": True, "val_dsc_by_epoch": curve(file.parent)}
    write(held)


def write(held: dict[str, Any]) -> None:
    """Write all rows in their order."""
    held["runs"].sort(key=lambda each: (each["set"], each["noise"], each["seed"]))
    RESULTS.write_text(json.dumps(held, indent=1) + "\n")


if __name__ == "__main__":
    main()
