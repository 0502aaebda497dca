"""What is run for the golden values: sets, noise and trainings, each as words of the command line.

``golden.json`` holds what came out before the source tree was moved and renamed; ``test_golden.py`` runs the same
words again. All that a rename of the product may touch stands in the first part of this file: where the command is
imported from, how files of a run and of a set are read, and how options are spelt.
"""

import hashlib
import io
import json
import platform
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from metadcseg.cli.main import main as ENTRY
from metadcseg.data.store.reader import PreparedSet

# --- names of the product, each said once -----------------------------------------------------------------------

JOURNAL, MODEL, CHECKPOINT = "metrics.jsonl", "model.safetensors", "checkpoints/last.pt"

OPTIONS = {
    "method": "--method",
    "config": "--config",
    "epochs": "--training.epochs",
    "batch": "--training.batch",
    "gold_batch": "--training.gold_batch",
    "size": "--training.size",
    "depth": "--training.depth",
    "patch": "--training.patch",
    "lr": "--training.lr",
    "momentum": "--training.momentum",
    "clip": "--training.clip",
    "average": "--training.ema_decay",
    "lr_warmup": "--training.warmup",
    "zoom": "--training.augment.zoom",
    "threads": "--training.threads",
    "accelerator": "--training.accelerator",
    "precision": "--training.precision",
    "channels_last": "--training.channels_last",
    "figure_every": "--training.figure_every",
    "validate_every": "--training.validate_every",
    "width": "--network.width",
    "norm": "--network.norm",
    "spatial_dims": "--network.spatial_dims",
    "own_network": "--network.class_path",
    "own_arguments": "--network.init_args",
    "supervised_gold": "--supervised.gold",
    "supervised_labels": "--supervised.labels",
    "supervised_dice": "--supervised.dice",
    "l2b_views": "--l2b.views",
    "l2b_clean_supervision": "--l2b.clean_supervision",
    "eta": "--metadcseg.eta",
    "meta_scaling": "--metadcseg.meta_scaling",
    "normalisation": "--metadcseg.normalization",
    "doubt": "--binned.min_runner_up_probability",
    "pardon": "--binned.discount_symmetric_noise",
    "virtual_step": "--binned.virtual_step",
    "meta_every": "--binned.meta_every",
    "gold_momentum": "--binned.gold_momentum",
    "cross_fit": "--binned.cross_fit",
    "clean_supervision": "--{method}.clean_supervision",
    "warmup": "--{method}.warmup",
    "regions": "--{method}.regions",
    "meta": "--{method}.meta",
}
"""How the command spells the options of a training; until version 0.1 binned and metadcseg were one method."""


def prepare_words(source: str | Path, out: Path, words: str) -> list[str]:
    return ["prepare", str(source), "--out", str(out), *words.split()]


def corrupt_words(clean: Path, out: Path, model: str, rate: float, words: str = "") -> list[str]:
    return [
        *("corrupt", str(clean), "--out", str(out), "--model", model, "--rate", str(rate)),
        *words.split(),
    ]


def train_words(data: Path, out: Path, options: dict[str, object], seed: int = 3) -> list[str]:
    preset = str(options.get("config", ""))
    method = options.get("method", "metadcseg" if preset.startswith("paper-") else "binned")
    spelt = [
        word
        for name, value in ({"method": method} | options).items()
        for word in (OPTIONS[name].format(method=method), str(value))
    ]
    plain = [] if preset else ["--config", str(Path(__file__).with_name("plain.yaml"))]
    return ["train", "--data", str(data), "--out", str(out), "--seed", str(seed), *plain, *spelt]


def resume_words(data: Path, out: Path, options: dict[str, object], seed: int = 3) -> list[str]:
    return [*train_words(data, out, options, seed), "--resume"]


def check_words(path: Path) -> list[str]:
    return ["check", str(path), "--json"]


def evaluate_words(run: Path, data: Path) -> list[str]:
    return ["evaluate", str(run), "--data", str(data), "--json", "--trust-code"]


def network_of(run: Path) -> dict[str, torch.Tensor]:
    """Return the network as it was trained last, which is not the one that did best."""
    return torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True)["network"]


def epochs_of(run: Path) -> list[dict]:
    """Return the means of every epoch and its score, with all their digits."""
    records = [json.loads(line) for line in (run / JOURNAL).read_text().splitlines()]
    return [
        {"train": record["train"], "val": record["val"] and {"dsc": record["val"]["dsc"]}}
        for record in records
    ]


def look_at_set(path: Path) -> dict:
    """Return the fingerprint of a set, the hash of its noise, and the sha256 of what it holds."""
    prepared = PreparedSet.open(path)
    found = {"fingerprint": prepared.fingerprint, "noise": prepared.noise and prepared.noise["hash"]}
    kinds = {"images": prepared.image, "labels": prepared.label, "truths": prepared.truth}
    if prepared.edge_detector is not None:
        kinds["edges"] = prepared.edges
    if any(case.has_label_confidence for case in prepared.cases):
        kinds["trusts"] = prepared.label_confidence
    if any(case.has_given for case in prepared.cases):
        kinds["givens"] = prepared.given
    for kind, read in kinds.items():
        state = hashlib.sha256()
        for case in prepared.cases:
            has = {
                "truths": case.has_truth,
                "trusts": case.has_label_confidence,
                "givens": case.has_given,
            }
            if not has.get(kind, True):
                continue
            state.update(case.id.encode() + np.ascontiguousarray(read(case)).tobytes())
        found[kind] = state.hexdigest()
    return found


# --- the machine ------------------------------------------------------------------------------------------------


def machine() -> dict[str, str]:
    """Return all that decides how numbers are rounded; where it is equal, bits are compared."""
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "rounding": rounding(),
    }


@cache
def rounding() -> str:
    """Return the digest of a small training step of torch alone: with equal vectors, too, processors round otherwise.

    MKL and oneDNN choose their kernels by the model of a processor.
    """
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 37, 41, generator=draw)
    weights = [
        torch.randn(shape, generator=draw) for shape in ((8, 3, 3, 3), (16, 8, 3, 3), (16, 8, 2, 2), (64, 8))
    ]
    for weight in weights:
        weight.requires_grad_()
    first, second, up, last = weights
    maps = torch.nn.functional.leaky_relu(torch.nn.functional.conv2d(images, first, padding=1))
    maps = torch.nn.functional.conv2d(torch.nn.functional.instance_norm(maps), second, stride=2)
    maps = torch.nn.functional.conv_transpose2d(maps, up, stride=2).softmax(1)
    (maps.flatten(2).transpose(1, 2) @ last.T).logsumexp(2).mean().backward()
    return digest({str(place): weight.grad for place, weight in enumerate(weights)})[:16]


# --- running, and what comes out --------------------------------------------------------------------------------


def run(words: list[str], status: int = 0) -> str:
    """Run the command in this process and return what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        ended = ENTRY(words)
    assert ended == status, f"{' '.join(words)}: {err.getvalue()}"
    return out.getvalue()


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """Return the sha256 over names and bytes of tensors, in the order of the names."""
    state = hashlib.sha256()
    for name in sorted(tensors):
        state.update(name.encode() + tensors[name].detach().contiguous().numpy().tobytes())
    return state.hexdigest()


def look_at_run(run: Path) -> dict:
    """Return what a training left behind."""
    return {
        "model": digest(load_file(run / MODEL)),
        "network": digest(network_of(run)),
        "epochs": epochs_of(run),
    }


# --- sets -------------------------------------------------------------------------------------------------------

PHANTOM = "--size 32 --val 0.125 --test 0.125 --name golden --edges pidinet"
COLOURED = ("train",) * 12 + ("gold",) * 5 + ("val",) * 2 + ("test",) * 2
SOLID_ROLES = ("train", "train", "train", "gold", "gold", "val", "test")
SOLID_SHAPE = (22, 20, 10)


def coloured_folder(folder: Path) -> Path:
    """Draw RGB images of several sizes with three classes, of which some pixels are unknown and some doubted."""
    for part in ("images", "masks", "label_confidence"):
        (folder / part).mkdir(parents=True)
    for number in range(len(COLOURED)):
        draw = np.random.default_rng(number)
        y, x = np.mgrid[: 36 + number % 3, : 40 - number % 2]
        distance = (y - 16 - number % 5) ** 2 + (x - 18 - number % 4) ** 2
        mask = (distance < 120).astype(np.uint8) + (distance < 25)
        shade = np.array([[60, 90, 40], [130, 80, 90], [190, 60, 150]])[mask]
        image = (shade + draw.integers(-25, 26, shade.shape)).clip(0, 255).astype(np.uint8)
        trust = np.where(draw.integers(0, 4, mask.shape) > 0, 255, 100).astype(np.uint8)
        mask[:3, :5] = 9
        Image.fromarray(image).save(folder / f"images/c{number:02}.png")
        Image.fromarray(mask).save(folder / f"masks/c{number:02}.png")
        Image.fromarray(trust).save(folder / f"label_confidence/c{number:02}.png")
    rows = [f"c{number:02},{role}" for number, role in enumerate(COLOURED)]
    (folder / "splits.csv").write_text("\n".join(["id,role", *rows]))
    return folder


def solid_folder(folder: Path, roles: tuple[str, ...] = SOLID_ROLES) -> Path:
    """Draw volumes, every second one turned over, with slices thicker than pixels are wide."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    rows = ["id,role"]
    for number, role in enumerate(roles):
        x, y, z = np.mgrid[: SOLID_SHAPE[0], : SOLID_SHAPE[1], : SOLID_SHAPE[2]]
        mask = ((x - 10 - number % 3) ** 2 + (y - 9) ** 2 + 4 * (z - 4) ** 2 < 40).astype(np.uint8)
        noise = np.random.default_rng(number).integers(-60, 61, SOLID_SHAPE)
        affine = np.diag([1.5, -1.25 if number % 2 else 1.25, 4.0, 1.0])
        for part, array in (
            ("images", (500 + 300 * mask.astype(np.int64) + noise).astype(np.int16)),
            ("masks", mask),
        ):
            nibabel.save(nibabel.Nifti1Image(array, affine), folder / f"{part}/v{number}.nii.gz")
        rows.append(f"v{number},{role}")
    (folder / "splits.csv").write_text("\n".join(rows))
    return folder


@dataclass(frozen=True)
class Clean:
    """A set as prepared: of phantom, or of a folder that a function draws."""

    words: str
    draw: Callable[[Path], Path] | None = None


@dataclass(frozen=True)
class Noisy:
    """A set with noise in its labels."""

    of: str
    model: str
    rate: float
    words: str = ""


SETS: dict[str, Clean | Noisy] = {
    "two": Clean(f"phantom --count 24 --gold 6 --seed 0 {PHANTOM}"),
    "two-noisy": Noisy("two", "over", 0.4),
    "many-gold-noisy": Noisy("many-gold", "over", 0.4),
    "many-gold": Clean(f"phantom --count 40 --gold 16 --seed 1 {PHANTOM}"),
    "four": Clean(f"phantom --classes 4 --count 24 --gold 6 --seed 2 {PHANTOM}"),
    "four-noisy": Noisy("four", "paper", 0.3),
    "edgeless": Clean(f"phantom --count 20 --gold 5 --seed 3 {PHANTOM} --edges none"),
    "coloured": Clean("--name golden --ignore 9 --region organ:1,2", coloured_folder),
    "solid": Clean("--name golden --order file", solid_folder),
    "solid-noisy": Noisy("solid", "over", 0.2),
    "solid-shifted": Noisy("solid", "shift", 0.5),
    # every kind of noise, the paper's with each of its sets of constants
    "noise-paper-20": Noisy("two", "paper", 0.2, "--seed 1"),
    "noise-paper-40": Noisy("two", "paper", 0.4, "--seed 1"),
    "noise-paper-60": Noisy("two", "paper", 0.6, "--seed 1"),
    "noise-paper-val": Noisy("two", "paper", 0.3, "--seed 1 --roles train,val"),
    "noise-centred": Noisy("two", "paper-centred", 0.3, "--seed 1"),
    "noise-over": Noisy("two", "over", 0.3, "--seed 1"),
    "noise-under": Noisy("two", "under", 0.3, "--seed 1"),
    "noise-shift": Noisy("two", "shift", 0.3, "--seed 1"),
    "noise-missing": Noisy("two", "missing", 0.28, "--seed 1"),
    "noise-invented": Noisy("two", "invented", 0.3, "--seed 1"),
    "noise-polygon": Noisy("two", "polygon", 0.1, "--seed 1"),
    "noise-annotator": Noisy("two", "annotator", 0.1, "--seed 1"),
    "noise-annotator-four": Noisy("four", "annotator", 0.12, "--seed 1"),
    "noise-none": Noisy("two", "paper", 0.0, "--seed 1"),
}


@dataclass
class Workshop:
    """Makes each set once, when it is first asked for."""

    folder: Path
    made: dict[str, Path] = field(default_factory=dict)

    def set(self, name: str) -> Path:
        if name not in self.made:
            recipe, out = SETS[name], self.folder / name
            if isinstance(recipe, Noisy):
                run(corrupt_words(self.set(recipe.of), out, recipe.model, recipe.rate, recipe.words))
            elif recipe.draw is None:
                source, _, words = recipe.words.partition(" ")
                run(prepare_words(source, out, words))
            else:
                run(prepare_words(recipe.draw(self.folder / f"{name}-files"), out, recipe.words))
            self.made[name] = out
        return self.made[name]

    def train(self, name: str, out: Path) -> Path:
        case = RUNS[name]
        run(train_words(self.set(case.data), out, case.options))
        return out


# --- trainings --------------------------------------------------------------------------------------------------

TINY = {
    "width": 2,
    "size": 32,
    "batch": 4,
    "gold_batch": 4,
    "threads": 1,
    "accelerator": "cpu",
    "figure_every": 0,
    "lr_warmup": 0,
    "zoom": "[1,3]",
    "lr": 0.02,
    "momentum": 0.5,
    "clip": 1,
    "average": 0.8,
    "epochs": 2,
}
"""Small, and slow enough at learning that gold gradients stay alike: shared weights move after ten that are."""

OWN = {"own_network": "tests.golden.own_network.OwnNetwork", "lr": 0.1}
ASKED = {"meta_every": 1, "batch": 3, "epochs": 4}  # sixteen meta steps: enough for shared weights to move
PAIRS = {"method": "metadcseg", "warmup": 0, "meta_scaling": "rms", "eta": 0.5, "epochs": 3}
BOTH_WAYS = {"epochs": 4, "lr": 0.3, "doubt": 0.02}  # distrust gets a mirror image, which can be pardoned
OWN_SOLID = {"own_arguments": '{"axes":3}', "epochs": 5}
SOLID = {"spatial_dims": 3, "depth": 32, "patch": "[16,32,32]", "size": 32, "batch": 1, "gold_batch": 1}


@dataclass(frozen=True)
class Training:
    """A training on a set; ``weighs``: its weights must have left (1, 0), or it would guard nothing."""

    data: str
    options: dict[str, object]
    weighs: bool = True


def tiny(data: str, weighs: bool = True, **options: object) -> Training:
    return Training(data, {**TINY, **options}, weighs)


def shared(data: str = "two-noisy", **options: object) -> Training:
    return tiny(data, **{**ASKED, **options})


def quick(data: str = "two-noisy", **options: object) -> Training:
    """Shared weights with a network of two layers, which takes a tenth of the time: for the options of the method."""
    return shared(data, **{**OWN, "batch": 2, **options})


def pairs(data: str = "two-noisy", weighs: bool = True, **options: object) -> Training:
    """The paper's method, but that its weights move."""
    return tiny(data, weighs, **{**PAIRS, **options})


def preset(name: str, data: str = "two-noisy", **options: object) -> Training:
    """A preset by its name, with no more changed than time and the learning of weights ask for."""
    little = {"width": 2, "size": 32, "batch": 4, "gold_batch": 4, "threads": 1, "accelerator": "cpu"}
    short = {"figure_every": 0, "lr_warmup": 0, "warmup": 0}
    return Training(data, {"config": name, **little, **short, **options})


def supervised(data: str = "two-noisy", **options: object) -> Training:
    return tiny(data, False, method="supervised", **options)


RUNS: dict[str, Training] = {
    "supervised": supervised(supervised_gold="none"),
    "supervised-mixed": supervised(supervised_gold="mixed"),
    "supervised-clean": supervised(supervised_labels="clean", supervised_dice=0.5),
    "supervised-bf16": supervised(precision="bf16-mixed"),
    "supervised-channels-last": supervised(channels_last="true", average=0),
    "batch-norm": supervised(norm="batch"),
    "instance-norm": supervised(norm="instance"),
    "l2b": tiny("two-noisy", method="l2b"),
    "l2b-no-views": tiny("two-noisy", method="l2b", l2b_views="false"),
    "l2b-no-gold-step": tiny("four-noisy", method="l2b", l2b_views="false", l2b_clean_supervision="false"),
    "default": tiny("two-noisy", batch=2, epochs=5),  # a meta step at every second step
    "shared": shared(),
    "quick": quick(),
    "quick-both-ways": quick("solid-shifted", **BOTH_WAYS),
    "quick-exact": quick(virtual_step="exact"),
    "quick-no-cross-fit": quick(cross_fit="false"),
    "quick-this-gold-alone": quick(gold_momentum=0),
    "quick-warmup": quick(warmup=1, epochs=5),
    "no-meta": tiny("two-noisy", False, meta="false"),
    "pairs": pairs(epochs=4),
    "pairs-unscaled": pairs(**{**OWN, "meta_scaling": "none", "eta": 1e5}),
    "pairs-batch": pairs(**OWN, normalisation="batch"),
    "pairs-complementary": pairs(**OWN, normalisation="complementary"),
    "pairs-gold-loss": pairs(**OWN, clean_supervision="true"),
    "pairs-per-class": pairs("four-noisy", regions="per_class"),
    "pairs-no-meta": pairs("two-noisy", False, **OWN, meta="false"),
    "pairs-warmup": pairs(**{**OWN, "warmup": 1}),
    "pairs-coloured": pairs("coloured"),
    "own-network": pairs(**OWN),
    "solid": pairs("solid-noisy", **{**SOLID, "epochs": 2}),
    "solid-supervised": tiny("solid-noisy", False, method="supervised", **SOLID),
    "solid-shared": shared("solid-noisy", **{**SOLID, **OWN, **OWN_SOLID}),
    "preset-demo": preset("demo", epochs=5, batch=2, lr=0.02, momentum=0.5),
    # in means, as these presets had it, the weights hardly move: in four steps not at all, but for a far larger eta
    "preset-promise12": preset(
        "paper-promise12", "solid-noisy", epochs=2, batch=8, eta=1e5, meta_scaling="none"
    ),
}

# --- what the code of before left behind (old/before.tar.xz) ----------------------------------------------------

OLD_SETS = {
    "images": Clean("phantom --count 12 --gold 2 --seed 4 --size 32 --val 0.17 --test 0.17 --name old"),
    "volumes": Clean("--name old", lambda folder: solid_folder(folder, ("train", "gold", "val", "test"))),
}

OLD_RUNS: dict[str, dict[str, object]] = {
    "finished": {**TINY, "width": 1, "method": "supervised", "supervised_gold": "mixed"},
    "shared": {**TINY, "width": 1, "batch": 2, "gold_batch": 2, "meta_every": 1, "epochs": 6},
    "paper": {**TINY, **PAIRS, "batch": 2, "gold_batch": 2, "epochs": 6, **OWN},
}
"""Two were stopped in the middle, which ``--resume`` brings to the end that they had without a stop.

The archive holds another that was stopped, "persistent": a pair for every pixel with all else as in today's ``binned``,
which is no method any more.
"""
