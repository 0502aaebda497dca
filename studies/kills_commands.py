"""The commands that studies/kills.py kills, and the tiny inputs that they need."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 24
NO_FIGURES = ("--training.figure_every", "0")
NETWORK = (
    "--network.width",
    "2",
    "--training.size",
    "32",
    "--training.batch",
    "2",
    "--training.gold_batch",
    "2",
)
TINY = (*NETWORK, "--training.threads", "1", "--training.accelerator", "cpu", "--epochs", "2")
RUNS = [f"bench/runs/phantom/over-0.3/{row}/seed-0" for row in ("noisy-only", "noisy-gold")]
TAKEN = r"already holds|is not empty|verified already|already"
"""What a command says of a place that holds its finished work."""


@dataclass(frozen=True)
class Command:
    """A command.

    Args:
        needs: files and folders that lie there before.
        words: after ``metadcseg``.
        again: the words after a kill, where they are others.
        weight: how often it is killed, beside the others.
    """

    needs: tuple[str, ...]
    words: list[str]
    again: list[str] | None = None
    weight: float = 1


ORIGINALS = [
    ["prepare", "folder", "--out", "set"],
    [
        "prepare",
        "phantom",
        "--count",
        "16",
        "--size",
        "24",
        "--gold",
        "2",
        "--edges",
        "none",
        "--out",
        "clean",
    ],
    ["train", "--data", "set", "--out", "run", "--method", "calibrated", *TINY],
    ["audit", "run", "--out", "audit"],
    ["prepare", "volumes", "--out", "vset", "--edges", "none"],
    ["train", "--data", "vset", "--out", "vrun", "--method", "supervised", *TINY],
    ["benchmark", "grid.yaml", "--out", "bench"],
]


def _train(method: str, *options: str) -> Command:
    words = ["train", "--data", "set", "--out", "new_run", "--method", method, *TINY, *options]
    return Command(("set",), words, [*words, "--resume"])


COMMANDS = {
    "check": Command(("folder",), ["check", "folder"]),
    "compare, with a page": Command(("clean", "bench"), ["compare", *RUNS]),
    "diagnose, with a page": Command(("folder",), ["diagnose", "folder", "--out", "page"]),
    "prepare": Command(("folder",), ["prepare", "folder", "--out", "new_set"], None, 2),
    "prepare volumes": Command(("volumes",), ["prepare", "volumes", "--out", "new_set", "--edges", "none"]),
    "corrupt": Command(("clean",), ["corrupt", "clean", "--rate", "0.3", "--out", "noisy"]),
    "split": Command(("clean",), ["split", "clean", "--out", "new_set", "--seed", "3"]),
    "train, calibrated": _train("calibrated", "--calibrated.warmup", "0"),
    "train, the paper's": _train("metadcseg", *NO_FIGURES),
    "evaluate": Command(("set", "run"), ["evaluate", "run", "--overlays", "--weights"], None, 2),
    "predict images": Command(
        ("run", "folder"), ["predict", "run", "folder/images", "--out", "masks", "--overlays"], None, 2
    ),
    "predict volumes": Command(
        ("vrun", "volumes"), ["predict", "vrun", "volumes/images", "--out", "masks"], None, 2
    ),
    "audit": Command(("set", "run", "folder"), ["audit", "run", "--out", "new_audit"], None, 2),
    "accept --out": Command(
        ("set", "folder", "audit"), ["accept", "audit/decisions.json", "--out", "better"], None, 2
    ),
    "accept --in-place": Command(
        ("set", "folder", "audit"), ["accept", "audit/decisions.json", "--in-place"], None, 3
    ),
    "export-annotations": Command(
        ("set", "folder", "audit"), ["export-annotations", "audit", "--to", "coco", "--out", "deep/coco"]
    ),
    "export": Command(("run",), ["export", "run", "--onnx", "model"]),
    "export-nnunet": Command(("set",), ["export-nnunet", "set", "--out", "raw/Dataset001_x"]),
    "cross-validate": Command(
        ("clean",),
        [
            "cross-validate",
            "clean",
            "--out",
            "folds",
            "--folds",
            "2",
            "--gold",
            "1",
            "--method",
            "supervised",
            *TINY,
            *NO_FIGURES,
        ],
        None,
        2,
    ),
    "report": Command(("bench",), ["report", "bench", "--out", "report"]),
    "benchmark": Command(("grid.yaml",), ["benchmark", "grid.yaml", "--out", "new_bench"], None, 0.5),
}

GRID = """\
name: tiny
sets: {phantom: {prepare: "phantom --count 16 --size 24 --gold 2 --seed 0 --edges none"}}
noise: [{model: over, rate: 0.3}]
rows:
  noisy only: {method: supervised}
  noisy + gold: {method: supervised, supervised: {gold: mixed}}
partial: killed again and again
seeds: [0]
config: small
options:
  network: {width: 2}
  training: {size: 32, epochs: 2, batch: 4, gold_batch: 2, figure_every: 0}
"""


def draw(place: Path) -> None:
    """Draw a folder of images and one of volumes, and write a grid."""
    import nibabel

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    roles = ["train"] * 6 + ["gold"] * 2 + ["val", "test"]
    for folder, parts in (("folder", ("images", "masks", "gold")), ("volumes", ("images", "masks"))):
        for part in parts:
            (place / folder / part).mkdir(parents=True)
        rows = [f"c{number},{role}" for number, role in enumerate(roles)]
        (place / folder / "splits.csv").write_text("\n".join(["id,role", *rows]) + "\n")
    for number, role in enumerate(roles):
        disc = ((y - 12) ** 2 + (x - 9 - number % 4) ** 2 < 40).astype(np.uint8)
        image = (disc[..., None] * 90 + rng.integers(0, 90, (SIZE, SIZE, 3))).astype(np.uint8)
        Image.fromarray(image).save(place / "folder/images" / f"c{number}.png")
        Image.fromarray(np.roll(disc, 2, 0) * 255).save(place / "folder/masks" / f"c{number}.png")
        if role == "gold":
            Image.fromarray(disc * 255).save(place / "folder/gold" / f"c{number}.png")
        stack = np.stack([np.roll(disc, shift, 1) for shift in range(4)], -1)
        scan = (300.0 * stack + rng.normal(500, 30, stack.shape)).astype(np.int16)
        for part, array in (("images", scan), ("masks", stack)):
            held = nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 3.0, 1.0]))
            nibabel.save(held, place / "volumes" / part / f"c{number}.nii.gz")
    (place / "grid.yaml").write_text(GRID)


def after(place: Path, words: list[str]) -> None:
    """Write what a person decided on an audit that was just made."""
    if words[0] != "audit":
        return
    about = json.loads((place / "audit/audit.json").read_text())
    decided = [
        {"case": "c0", "verdict": "accept"},
        {"case": "c1", "verdict": "reject"},
        {"case": "c2", "verdict": "accept"},
    ]
    decisions = {
        "format": "metadcseg-decisions/1",
        "identity": about["identity"],
        "set": about["set"]["fingerprint"],
    }
    (place / "audit/decisions.json").write_text(json.dumps({**decisions, "decisions": decided}))
