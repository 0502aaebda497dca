"""How true the cheaper forms of the meta step are, on Kvasir-SEG with 40 % noise; writes results/meta-step.json.

    .venv/bin/python studies/meta_fidelity.py --source ../shared/data/kvasir-seg --work /tmp/fidelity

Two questions. (1) At several moments of one training: the cosine between each cheaper meta-gradient and the exact one
(virtual step taken exactly, this gold batch), over all pixels of a batch; and for the gold
gradient itself the cosine with that of all gold images. (2) Trainings that differ in nothing but how often the meta
step is taken: how alike their weights become, how well the weights find wrong pixels, and validation DSC. Nothing is
chosen on test images.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from metadcseg.algorithm.lookahead import gold_gradient, meta_gradients, pixel_gradients
from metadcseg.algorithm.meta_weights import initial_weights, pseudo_labels
from metadcseg.cli.config import read_config
from metadcseg.data.loading.augmentation import AugmentOptions
from metadcseg.data.loading.batches import epoch_batches
from metadcseg.data.loading.dataset import SegmentationDataset
from metadcseg.data.loading.input_grid import resize_label_to_input
from metadcseg.data.store.reader import PreparedSet
from metadcseg.forward_mode.call import Parameters, trainable
from metadcseg.forward_mode.jvp import LogitChange, jvp
from metadcseg.methods import create_method
from metadcseg.networks import NetworkOptions
from metadcseg.tensors import Batch
from metadcseg.training import load_run, train
from metadcseg.training.options import training_options
from metadcseg.training.restore import restore_state
from metadcseg.training.run.folder import read_run

RESULTS = Path(__file__).resolve().parents[1] / "results"
SIZE, MOMENTUM = 64, 0.9


def command(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "metadcseg", *words], check=True)


def prepared(source: Path, work: Path) -> PreparedSet:
    noisy = work / "noisy"
    if not noisy.exists():
        clean = work / "clean"
        if not clean.exists():
            options = ["--gold", "16", "--limit", "216", "--seed", "0", "--edges", "none"]
            command("prepare", "kvasir-seg", "--source", str(source), "--out", str(clean), *options)
        command("corrupt", str(clean), "--rate", "0.4", "--out", str(noisy), "--seed", "0")
    return PreparedSet.open(noisy)


def trained(noisy: PreparedSet, out: Path, epochs: int, seed: int, **options: object) -> Path:
    """Train with the small preset on a small input grid; finished runs are kept."""
    config = read_config("small")
    method = create_method("binned", **{"warmup": 2, "dcd": False, "gold_momentum": 0.0, **options})
    training = replace(
        config.training, size=SIZE, epochs=epochs, threads=1, figure_every=0, validate_every=epochs
    )
    train(
        noisy, method, replace(config.network, width=8), training, out, seed=seed, resume=True, label=out.name
    )
    return out


def flat(gradients: Parameters | Mapping[str, Tensor]) -> Tensor:
    return torch.cat([value.flatten() for value in gradients.values()])


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


def maps(network: nn.Module, noisy: Batch, direction: Parameters, pseudo: Tensor, lr: float) -> Tensor:
    found: LogitChange = jvp(network, noisy.images, direction)[1]
    gradients = pixel_gradients(found, noisy.labels, pseudo, lr)
    return torch.stack([gradients.alpha, gradients.beta])


def fidelity(noisy_set: PreparedSet, run: Path, batches: int) -> dict[str, float]:
    """Medians over batches of the cosines with the exact meta-gradient, with the network of a run."""
    network = load_run(run).network.train()
    lr = read_run(run)["training"]["lr"] / 2
    augment = read_config("small").training.augment
    views = {role: SegmentationDataset(noisy_set, role, SIZE, augment=augment) for role in ("train", "gold")}
    noisy_batches = epoch_batches(views["train"], epoch=90, batch=8)
    gold_batches = list(epoch_batches(views["gold"], epoch=90, batch=8, steps=batches + 20))
    all_gold = next(iter(epoch_batches(views["gold"], epoch=91, batch=16)))
    _, whole = gold_gradient(network, trainable(network), all_gold)
    running: Tensor | None = None
    names, seen = list(whole), []
    for number, gold in enumerate(gold_batches):
        _, v = gold_gradient(network, trainable(network), gold)
        running = flat(v) if running is None else MOMENTUM * running + (1 - MOMENTUM) * flat(v)
        if number < 20:
            continue
        noisy = next(noisy_batches)
        with torch.no_grad():
            pseudo = pseudo_labels(network(noisy.images).logits)
        shape = (len(noisy.labels), SIZE, SIZE)
        exact = meta_gradients(network, noisy, gold, pseudo, initial_weights(shape), lr=lr)
        wanted = torch.stack([exact.alpha, exact.beta])
        sizes = [whole[name].numel() for name in names]
        parts = running.split(sizes)
        mean = {name: part.view_as(whole[name]) for name, part in zip(names, parts, strict=True)}
        forms = {"linearized": v, "running mean 0.9": mean}
        for_all = maps(network, noisy, whole, pseudo, lr)
        found = {name: maps(network, noisy, form, pseudo, lr) for name, form in forms.items()}
        seen.append(
            {name: cosine(form, wanted) for name, form in found.items()}
            | {
                "one batch vs all gold": cosine(found["linearized"], for_all),
                "running mean vs all gold": cosine(found["running mean 0.9"], for_all),
            }
        )
    return {name: statistics.median(entry[name] for entry in seen) for name in seen[0]}


def weights_of(noisy_set: PreparedSet, run: Path) -> Tensor:
    """(images, 2, H, W): how far alpha and beta have moved at the end of a run."""
    info = read_run(run)
    method, network = create_method(info["method"], **info["options"]), NetworkOptions(**info["network"])
    still = AugmentOptions(flip=False, rotation=0.0, zoom=(0, 0))
    options = replace(training_options(info["training"]), augment=still)
    moved = torch.zeros(len(noisy_set.select("train")), 2, SIZE, SIZE)
    view = SegmentationDataset(noisy_set, "train", SIZE, augment=still)
    with restore_state(run, noisy_set, method, network, options) as state, torch.no_grad():
        for batch in epoch_batches(view, epoch=0, batch=8):
            weights = method.weights(state, batch)
            if weights is not None:
                moved[batch.indices] = torch.stack([weights.alpha - 1, weights.beta], dim=1)
    return moved


def wrong_pixels_found(noisy_set: PreparedSet, moved: Tensor) -> float:
    """Area under the ROC of 'beta - alpha is high' for 'the given label is wrong', over all training pixels."""
    cases = noisy_set.select("train")
    wrong = np.stack(
        [
            (
                resize_label_to_input(noisy_set.label(c), SIZE)
                != resize_label_to_input(noisy_set.truth(c), SIZE)
            ).numpy()
            for c in cases
        ]
    ).ravel()
    ranks = rankdata((moved[:, 1] - moved[:, 0]).numpy().ravel())
    positive = wrong.sum()
    return float((ranks[wrong].sum() - positive * (positive + 1) / 2) / (positive * (len(wrong) - positive)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    torch.set_num_threads(1)
    noisy = prepared(options.source, options.work)
    moments = {
        epochs: fidelity(noisy, trained(noisy, options.work / f"moment-{epochs}", epochs, 0), batches=10)
        for epochs in (2, options.epochs)
    }
    rows = {}
    forms = {f"every {k}": {"meta_every": k} for k in (1, 2, 4)}
    forms |= {"every 2, running mean 0.9": {"meta_every": 2, "gold_momentum": 0.9}}
    for seed in options.seeds:
        reference = None
        for name, form in forms.items():
            run = trained(
                noisy, options.work / f"{name}-{seed}".replace(" ", ""), options.epochs, seed, **form
            )
            moved = weights_of(noisy, run)
            reference = moved if reference is None else reference
            info = read_run(run)
            rows[f"{name}, seed {seed}"] = {
                "cosine of weights with every 1": cosine(moved, reference),
                "wrong pixels found (AUC)": wrong_pixels_found(noisy, moved),
                "validation DSC": info["best"]["dsc"],
                "seconds": info["seconds"],
            }
    result = {
        "command": "studies/meta_fidelity.py " + " ".join(sys.argv[1:]),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "threads": 1,
        },
        "epochs": options.epochs,
        "cosines": moments,
        "schedules": rows,
    }
    (RESULTS / "meta-step.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
