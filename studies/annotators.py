"""One label of several outlines: each annotator, majority, STAPLE, and tables of pairs with and without a network.

    .venv/bin/python studies/annotators.py left-atrium --data ../shared/data --work /tmp/annotators --network 0
    .venv/bin/python studies/annotators.py brain --data ../shared/data --work /tmp/annotators --network 0

Left atrium: annotators are simulated on the slices of `small_grids.py`. An outline is the true one moved by a habit, by
an offset of its image, and by a smooth field; in one condition all annotators share that offset. Six verified slices of
one volume; fused are those of four others. Brain: five programs drew the tumors of two subjects. Reference is SIMPLE's
fusion of these five, which is no human's, or each program in turn, which the other four do not know. Six verified
slices of one subject; fused are the others of the same, and those of the other subject.
--network trains one for each condition and seed named (two minutes of a core), on majority labels and the pairs. DSC is
the mean over slices that show something in the reference or in any outline. What is done stays. Writes
results/annotators.json.
"""

import argparse
import json
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import torch
from scipy import ndimage
from small_grids import lay_out_left_atrium

from metadcseg.audit.annotator_tables import AnnotatorPairs, AnnotatorTables, Drawn
from metadcseg.audit.fusion import fuse, log_loss, matched_odds, with_network
from metadcseg.audit.predictors import own_network
from metadcseg.audit.probability import PairCounts, Witnesses
from metadcseg.audit.scoring import true_dsc
from metadcseg.audit.units import units_of
from metadcseg.constants import IGNORE
from metadcseg.data.prepare.fusing import staple, vote
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.methods import create_method
from metadcseg.networks import NetworkOptions
from metadcseg.training import train
from metadcseg.training.options import TrainingOptions

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "annotators.json"

CONDITIONS = {
    "unlike habits": ((4, 1, 1), (3, 1.5, 1), (-3, 1, 1), (0.5, 1, 1), (2, 2.5, 2)),
    "seven alike, too large": ((3, 1, 1),) * 7,
    "one careful of five": ((0, 0.5, 0.3), (3, 3, 2), (4, 3, 2), (3, 3, 2), (5, 3, 2)),
    "two": ((3, 1.5, 1), (-2, 1.5, 1)),
    "no habit": ((0, 3, 1.5),) * 5,
    "no habit, one offset for all": ((0, 2, 1),) * 5,
}
"""Of each annotator the mean offset (positive: too large), sway and spread of the offset over images, in pixels."""

SHARED = {"no habit, one offset for all": 2.0}
"""Spread of an offset that all annotators of an image share, in pixels."""

RATERS = ("hnfnetv1-20", "isen-20", "sanet0-20", "scan-20", "yixinmpl-20")
TRAINED, OTHER = "TCGA-FG-6692", "TCGA-DU-7294"
GOLD, EVERY = 6, 2
"""Verified slices, and of those that train every so many-th is fused, since neighbors say nearly the same."""


@dataclass(frozen=True)
class Image:
    """One slice with its reference and what annotators drew."""

    id: str
    group: str
    role: str
    pixels: np.ndarray
    truth: np.ndarray
    outlines: Mapping[str, np.ndarray]


def left_atrium(folder: Path, condition: str, seed: int) -> Iterator[Image]:
    """Yield the slices that train, those that are verified, and every eighth of those that choose."""
    random = np.random.default_rng([seed, list(CONDITIONS).index(condition)])
    for role, stored in (("train", "train"), ("gold", "gold"), ("val", "validation")):
        for file in sorted((folder / stored).glob("*.h5")):
            with h5py.File(file) as held:
                image, label = held["image"][...], held["label"][...] > 0
            for number in range(0, label.shape[2], 8 if role == "val" else 1):
                truth = label[:, :, number].astype(np.uint8)
                if truth.any():
                    shared = SHARED.get(condition, 0.0) * random.standard_normal()
                    outlines = {
                        f"annotator {place}": drawn(truth, *habit, shared, random)
                        for place, habit in enumerate(CONDITIONS[condition], start=1)
                    }
                    pixels = image[:, :, number, None].astype(np.float32)
                    yield Image(f"{file.stem} {number}", file.stem, role, pixels, truth, outlines)


def drawn(
    truth: np.ndarray, lean: float, sway: float, spread: float, shared: float, random: np.random.Generator
) -> np.ndarray:
    """Return an outline: where the signed distance is below a habit, an offset of the image and a smooth field."""
    signed = np.where(
        truth > 0,
        0.5 - ndimage.distance_transform_edt(truth),
        ndimage.distance_transform_edt(1 - truth) - 0.5,
    )
    field = ndimage.gaussian_filter(random.standard_normal(truth.shape), 6)
    moved = lean + shared + spread * random.standard_normal() + sway * field / field.std()
    return (signed <= moved).astype(np.uint8)


def brain(folder: Path, reference: str) -> Iterator[Image]:
    """Yield the slices on which any program sees a tumor: of one subject verified ones and others, then the other's."""
    for subject, role in ((TRAINED, "train"), (OTHER, "val")):
        place = folder / "brain-tcga-4mod" / subject
        names = [f"{subject}_{part}_bet.nii.gz" for part in ("t1", "t1c", "t2", "fla")]
        image = np.stack([nibabel.load(place / name).get_fdata(dtype=np.float32) for name in names], axis=3)
        masks = {name: tumor(place / "segmentation" / f"{name}.nii.gz") for name in RATERS}
        truth = (
            masks.pop(reference) if reference in masks else tumor(place / "fusion" / f"{reference}.nii.gz")
        )
        shown = np.flatnonzero((np.stack([truth, *masks.values()]) > 0).any(axis=(0, 1, 2)))
        filled = np.flatnonzero(truth.any(axis=(0, 1)))
        gold = filled[np.linspace(0, len(filled) - 1, GOLD + 2).round().astype(int)[1:-1]]
        for number in shown:
            own = "gold" if role == "train" and number in gold else role
            outlines = {name: mask[:, :, number] for name, mask in masks.items()}
            pixels = np.ascontiguousarray(image[:, :, number])
            yield Image(f"{subject} {number}", subject, own, pixels, truth[:, :, number], outlines)


def tumor(file: Path) -> np.ndarray:
    """Return all classes as one."""
    return (np.asarray(nibabel.load(file).dataobj) > 0).astype(np.uint8)


def write(images: list[Image], out: Path) -> PreparedSet:
    """Write a set whose labels are majorities; of verified slices they are what was replaced."""
    if not out.exists():
        channels = images[0].pixels.shape[2]
        with SetWriter(out, name=out.name, classes=("background", "object"), channels=channels) as writer:
            for each in images:
                majority = vote(np.stack(list(each.outlines.values())))
                verified = {"label": each.truth, "given": majority}
                held = verified if each.role == "gold" else {"label": majority, "truth": each.truth}
                writer.add(
                    id=each.id,
                    role=each.role,
                    group=each.group,
                    image=each.pixels,
                    outlines=each.outlines,
                    **held,
                )
    return PreparedSet.open(out)


def network_of(prepared: PreparedSet, out: Path, seed: int) -> Any:
    """Train a small network on the set where that is not done, and return it."""
    options = TrainingOptions(
        epochs=8, size=64, lr=0.05, warmup=2, clip=2.0, validate_every=4, figure_every=0, threads=1
    )
    method = create_method("calibrated", dcd=False)
    train(prepared, method, NetworkOptions(width=8), options, out, seed=seed, resume=out.exists())
    return own_network(out, prepared, None)


def score(images: list[Image], prepared: PreparedSet, network: Any, tested: str = "train") -> dict[str, Any]:
    """Return the DSC and log loss of every way to make one label, on the slices of a role."""
    gold = [each for each in images if each.role == "gold"]
    asked = [each for each in images if each.role == tested][:: EVERY if tested == "train" else 1]
    seen = [Drawn(each.id, each.group, each.outlines, each.truth) for each in gold]
    pairs = AnnotatorPairs.count(seen, classes=2)
    tables = pairs.learn(seen)
    one = AnnotatorTables({}, tables.everybody, {}, tables.dependence)
    replaced = [(majority_of(each), each.truth) for each in gold]
    today = Witnesses(PairCounts.count(replaced, 2).table())
    priors: dict[str, list[np.ndarray]] = {}
    for each in asked:
        posteriors, decided = tables.posteriors(each.outlines)
        for name, found in (
            ("tables", fuse(posteriors, decided, tables.dependence)),
            ("tables, as if independent", fuse(posteriors, decided, 0.0)),
            ("one table for all annotators", one.prior(each.outlines)),
            ("table of the majority", today.posterior(majority_of(each), None)),
        ):
            priors.setdefault(name, []).append(found)
    labels = {
        "majority": [majority_of(each) for each in asked],
        "STAPLE": [staple(np.stack(list(each.outlines.values()))) for each in asked],
        **{name: [each.outlines[name] for each in asked] for name in asked[0].outlines},
    }
    if network is not None:
        said = {unit.id: next(network.of(unit)) for unit in units_of(prepared, tested)}
        q = [said[each.id] for each in asked]
        majority = labels["majority"]
        every = slice(None, None, 7)
        flat = [
            np.concatenate([m.reshape(2, -1)[:, every] for m in maps], axis=1)
            for maps in (priors["tables"], q)
        ]
        odds = matched_odds(flat[0], np.concatenate([m.ravel()[every] for m in majority]), flat[1])
        joined = zip(priors["tables"], majority, q, strict=True)
        priors["tables and network"] = [with_network(*three, odds) for three in joined]
        priors["network alone"] = q
    found: dict[str, Any] = {}
    for name, maps in priors.items():
        labels[name] = [each.argmax(axis=0).astype(np.uint8) for each in maps]
        losses = [log_loss(each, image.truth) for each, image in zip(maps, asked, strict=True)]
        found[name] = {"log_loss": float(np.mean(losses)), **expectation(maps, asked)}
    for name, masks in labels.items():
        dsc = [
            true_dsc(np.where(mask == IGNORE, 0, mask), image.truth, 2)
            for mask, image in zip(masks, asked, strict=True)
        ]
        found.setdefault(name, {})["dsc"] = float(np.mean(dsc))
    about = {"slices": len(asked), "verified": len(gold), "dependence": tables.dependence}
    return {**about, "effective": tables.effective(len(asked[0].outlines)), "ways": found}


def majority_of(image: Image) -> np.ndarray:
    """Return the majority; a tie is background."""
    label = vote(np.stack(list(image.outlines.values())))
    return np.where(label == IGNORE, 0, label).astype(np.uint8)


def expectation(maps: list[np.ndarray], asked: list[Image]) -> dict[str, float]:
    """Return how many of the most probable labels are wrong, as is expected and in truth, as shares of the objects."""
    objects = sum(int(image.truth.sum()) for image in asked)
    expected = sum(float((1 - each.max(axis=0)).sum()) for each in maps)
    wrong = sum(
        int((each.argmax(axis=0) != image.truth).sum()) for each, image in zip(maps, asked, strict=True)
    )
    return {"expected_wrong": expected / objects, "wrong": wrong / objects}


def main() -> None:
    """Score every condition and seed that is not done, and write after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", choices=("left-atrium", "brain"))
    parser.add_argument("--data", type=Path, required=True, help="holds la2018 and brain-tcga-4mod")
    parser.add_argument("--work", type=Path, required=True, help="takes sets and networks")
    parser.add_argument("--seeds", type=int, nargs="*", default=(0, 1, 2), help="of the left atrium")
    parser.add_argument("--network", type=int, nargs="*", default=(), help="seeds with which one is trained")
    parser.add_argument("--only", nargs="*", help="conditions, or references of the brain")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.work.mkdir(parents=True, exist_ok=True)
    names, seeds = (
        (tuple(CONDITIONS), asked.seeds) if asked.set == "left-atrium" else (("simple", *RATERS), (0,))
    )
    if asked.set == "left-atrium":
        lay_out_left_atrium(asked.data / "la2018", asked.work / "left-atrium")
    for name in asked.only or names:
        for seed in seeds:
            told = {"set": asked.set, "condition": name, "seed": seed}
            run = seed in asked.network
            held = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else []
            before = [each for each in held if told.items() <= each.items()]
            if before and (before[0]["network"] or not run):
                continue
            if asked.set == "left-atrium":
                images = list(left_atrium(asked.work / "left-atrium", name, seed))
            else:
                images = list(brain(asked.data, name))
            place = asked.work / f"{asked.set}-{name}-{seed}".replace(" ", "-").replace(",", "")
            prepared = write(images, place / "set") if run else None
            network = network_of(prepared, place / "run", seed) if run else None
            result = {**told, "network": run, **score(images, prepared, network)}
            if asked.set == "brain":
                result["other subject"] = score(images, prepared, network, "val")
            kept = [each for each in held if each not in before]
            kept = sorted([*kept, result], key=lambda each: (each["set"], each["condition"], each["seed"]))
            about = {"command": Path(sys.argv[0]).name, "machine": platform.processor() or platform.machine()}
            RESULTS.write_text(json.dumps({**about, "runs": kept}, indent=1) + "\n")
            print(
                *told.values(),
                {way: round(each["dsc"], 3) for way, each in result["ways"].items()},
                flush=True,
            )


if __name__ == "__main__":
    main()
