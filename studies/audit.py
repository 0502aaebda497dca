"""Audits of the finished runs of grids, scored with the truth of their simulated sets beside other rules.

    .venv/bin/python studies/audit.py /tmp/small/benchmarks/left-atrium-pairs --out /tmp/audits \
        --cleanlab /tmp/cleanlab/bin/python

Goes through GRID/runs/SET/NOISE/ROW/seed-N, audits the training masks of each finished run with its own network, and
gives cleanlab the same probabilities: `find_label_issues` (without downsampling) and `get_label_quality_scores`, in an
environment of its own (studies/cost/cleanlab_calls.py says how to make it). DSC by slice is of slices, not of volumes.
What is done already under --out is taken from there. Writes results/audit.json.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from metadcseg.audit.case_files import read_case, read_masks
from metadcseg.audit.predictors import own_network
from metadcseg.audit.ranking import expected_dsc
from metadcseg.audit.records import LEVELS
from metadcseg.audit.run import audit_run
from metadcseg.audit.scoring import average_precision, histogram, true_dsc
from metadcseg.audit.units import units_of
from metadcseg.constants import IGNORE
from metadcseg.data.store.reader import PreparedSet
from metadcseg.evaluation.noise_detection import auroc
from metadcseg.training.run.folder import read_run

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "audit.json"
PIXELS = 20_000_000
"""Of sets with more, cleanlab is given every n-th pixel."""


def cleanlab_of(python: str, label: NDArray[np.uint8], said: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Return what cleanlab says of masks, (N, H, W), with their probabilities, (N, L, H, W)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "labels.npy", label)
        np.save(folder / "probabilities.npy", said)
        script = ROOT / "studies" / "cost" / "cleanlab_calls.py"
        subprocess.run([python, str(script), name, "--two"], check=True, stdout=subprocess.DEVNULL)
        return {each: np.load(folder / f"{each}.npy") for each in ("issues", "quality", "images")}


def beside(scores: NDArray[np.float32], wrong: NDArray[np.bool_]) -> dict[str, float | None]:
    """Return how well a score of pixels tells wrong ones."""
    held = histogram(scores, wrong)
    return {"auroc": auroc(*held), "average_precision": average_precision(*held)}


def cleanlab_scores(
    python: str, slices: list[dict[str, Any]], ours: NDArray[np.int64], dsc: list[float]
) -> dict[str, Any]:
    """Return what cleanlab finds of wrong pixels and of bad slices.

    Masks of a set have sizes of their own and ignored pixels, so all that are known go in one long row: its thresholds
    are those of all pixels in any case. Its score of an image is asked image by image.

    Args:
        python: that has it.
        slices: ``given``, ``truth``, ``said`` of each.
        ours: (2, BINS) histogram of the audit's P(wrong), right and wrong.
        dsc: true DSC of each slice.
    """
    known = [(each["given"] != IGNORE) & (each["truth"] != IGNORE) for each in slices]
    step = -(-sum(int(each.sum()) for each in known) // PIXELS)
    label = np.concatenate([each["given"][mask] for each, mask in zip(slices, known, strict=True)])[::step]
    truth = np.concatenate([each["truth"][mask] for each, mask in zip(slices, known, strict=True)])[::step]
    said = np.concatenate([each["said"][:, mask] for each, mask in zip(slices, known, strict=True)], axis=1)
    said = np.ascontiguousarray(said[:, ::step])
    found = cleanlab_of(python, label[None, None], said[None, :, None])
    issues, doubt = found["issues"].ravel(), (1 - found["quality"].ravel()).astype(np.float32)
    wrong, taken = label != truth, int(issues.sum())
    descending = ours[:, ::-1].cumsum(axis=1)
    place = min(int(np.searchsorted(descending.sum(axis=0), taken * step)), ours.shape[1] - 1)
    images = [softmin(each["said"], each["given"]) for each in slices]
    return {
        "every": step,
        "pixels": beside(doubt, wrong),
        "issues first": beside((doubt + issues) / 2, wrong),
        "issues": taken * step,
        "precision": float(wrong[issues].mean()) if taken else None,
        "recall": float(issues[wrong].mean()) if wrong.any() else None,
        "ours, as many": {
            "precision": float(descending[1, place] / descending[:, place].sum()) if wrong.any() else None,
            "recall": float(descending[1, place] / ours[1].sum()) if wrong.any() else None,
        },
        "ranking": rank(images, dsc),
    }


def softmin(said: NDArray[np.float32], given: NDArray[np.uint8]) -> float:
    """Return the score of an image as `get_label_quality_scores` has it (temperature 0.1), of its known pixels."""
    known = given != IGNORE
    own = np.take_along_axis(said, np.where(known, given, 0)[None].astype(np.int64), axis=0)[0][known]
    weight = np.exp((1 - own.astype(np.float64)) / 0.1)
    return float((own * weight).sum() / weight.sum())


def rank(expected: list[float], true: list[float]) -> float | None:
    """Return Spearman's correlation; None without any spread."""
    if min(np.ptp(expected), np.ptp(true)) < 1e-9:
        return None
    return round(float(spearmanr(expected, true).statistic), 4)


def score(run: Path, out: Path, python: str) -> dict[str, Any]:
    """Audit a run where that is not done, and return its scores."""
    info = read_run(run)
    prepared = PreparedSet.open(info["set"]["path"])
    done = out / "audit.json"
    record = json.loads(done.read_text()) if done.is_file() else audit_run(run, out, prepared)
    predictor, classes = own_network(run, prepared, None), len(prepared.classes)
    slices, dsc, flagged, cases = [], {name: [] for name in ("given", *LEVELS)}, 0, []
    expected: list[float] = []
    ours = np.zeros((2, 1), np.int64)
    for unit in units_of(prepared, record["split"]):
        case, more = read_case(out, unit.name, ("detection",))
        masks, truth = read_masks(out, case), unit.truth(prepared)
        ours = ours + more["detection"][0]
        bad = [each.number for each in case.regions if each.probability >= record["threshold"]]
        cases.append({"given": case.true_dsc, **case.corrected_dsc})
        for number, said in enumerate(predictor.of(unit)):
            given = masks.given[number]
            slices.append({"given": given, "truth": truth[number], "said": said})
            for name in dsc:
                mask = given if name == "given" else masks.corrected[name][number]
                dsc[name].append(true_dsc(mask, truth[number], classes))
            flagged += bool(np.isin(masks.regions[number], bad).any())
            expected.append(expected_of(given, masks.wrong[number] / 255))
    wrong = int(ours[1].sum())
    found = record["detection"]
    caught = (found["precision"] or 0) * found["pixels_above"]
    return {
        "classes": classes - 1,
        "detection": {**found, "recall": caught / wrong if wrong else None},
        "cleanlab": cleanlab_scores(python, slices, ours, dsc["given"]),
        "slices": {
            "count": len(slices),
            "flagged": flagged,
            "dsc": {name: float(np.mean(values)) for name, values in dsc.items()},
            "worse": worse(dsc),
            "ranking": rank(expected, dsc["given"]),
        },
        "cases": {
            "count": record["cases"],
            "flagged": record["flagged"],
            "dsc": {name: float(np.mean([each[name] for each in cases])) for name in dsc},
            "worse": worse({name: [each[name] for each in cases] for name in dsc}),
            "expected_dsc": record["expected"]["dsc"]["mean"],
            "correlation": record["expected"].get("correlation"),
        },
        "calibration": record["calibration"],
    }


def expected_of(given: NDArray[np.uint8], wrong: NDArray[np.float64]) -> float:
    """Return the expected DSC of the foreground, all classes as one, from P(wrong) alone."""
    inside = (given != 0) & (given != IGNORE)
    stays, leaves, joins = ((1 - wrong)[inside].sum(), wrong[inside].sum(), wrong[~inside].sum())
    return expected_dsc(np.array([[0.0, joins], [leaves, stays]]))


def worse(dsc: dict[str, list[float]]) -> dict[str, int]:
    """Return how many lost DSC by each level."""
    before = np.array(dsc["given"])
    return {level: int((np.array(dsc[level]) < before - 1e-9).sum()) for level in LEVELS}


def main() -> None:
    """Score every run, and write after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grids", type=Path, nargs="+", help="folders that hold runs/")
    parser.add_argument("--out", type=Path, required=True, help="takes the audits")
    parser.add_argument("--cleanlab", required=True, help="a Python that has cleanlab")
    parser.add_argument("--row", default="calibrated", help="of the grids")
    parser.add_argument("--audited", action="store_true", help="only runs that have been audited")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    held = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else []
    for grid in asked.grids:
        for file in sorted(grid.glob(f"runs/*/*/{asked.row}/seed-*/run.json")):
            run = file.parent
            name, noise, row, seed = run.parts[-4:]
            told = {
                "grid": grid.name,
                "set": name,
                "noise": noise,
                "row": row,
                "seed": int(seed.removeprefix("seed-")),
            }
            out = asked.out / grid.name / run.relative_to(grid)
            known = any(told.items() <= each.items() for each in held)
            if (
                known
                or read_run(run)["status"] != "finished"
                or (asked.audited and not (out / "audit.json").is_file())
            ):
                continue
            print(*told.values(), flush=True)
            out.parent.mkdir(parents=True, exist_ok=True)
            held.append({**told, **score(run, out, asked.cleanlab)})
            held.sort(key=lambda each: (each["set"], each["noise"], each["row"], each["seed"], each["grid"]))
            RESULTS.write_text(json.dumps({"runs": held}, indent=1) + "\n")


if __name__ == "__main__":
    main()
