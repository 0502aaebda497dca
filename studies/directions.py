"""How near the direction of errors that a few pairs show comes to that of all masks, shrunk and in full.

    .venv/bin/python studies/directions.py /tmp/small/benchmarks/*-pairs/sets/*/set

Each is a clean prepared set, called as the folder in which it lies. Its training masks are corrupted by several kinds
of noise. Some of them, drawn at random, serve as pairs; the direction that these show, D(c, r) = M(c, r) - M(r, c), is
compared with that of all, as it is and as `calibrated` counts it (metadcseg.methods.calibrated.directions). No network,
no test image. Writes results/directions.json: root mean square of the difference over draws and classes, as a share of
all that is wrong in both directions together.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metadcseg.data.store.reader import PreparedSet
from metadcseg.methods.calibrated.directions import scale_of_directions
from metadcseg.methods.calibrated.stand_ins import confused
from metadcseg.noise.base import corrupt, draw_mask
from metadcseg.noise.calibration import calibrate
from metadcseg.noise.registry import noise_model

RESULTS = Path(__file__).resolve().parents[1] / "results" / "directions.json"
NOISES = (
    *(("paper", 0.4), ("paper", 0.6), ("shift", 0.4), ("polygon", 0.2)),
    *(("careless", 0.4), ("over", 0.4), ("under", 0.4)),
)
PAIRS = (2, 4, 6, 12, 20)


def corrupted(prepared: PreparedSet, kind: str, rate: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return ``pixels`` and ``truly`` of every training mask, (K, L, L, 1), as :class:`.PairTable` counts them."""
    cases, classes = prepared.select("train"), len(prepared.classes)
    masks, ids = [prepared.label(case) for case in cases], [case.id for case in cases]
    model = noise_model(kind, rate)
    strength = calibrate(masks, ids, model, rate, seed, classes=classes, tolerance=0.05).strength
    counts = np.zeros((len(masks), classes, classes))
    for place, (mask, id) in enumerate(zip(masks, ids, strict=True)):
        given = corrupt(mask, draw_mask(model, seed, id, classes), model, strength)
        known = mask < classes
        codes = given[known].astype(np.int64) * classes + mask[known]
        counts[place] = np.bincount(codes, minlength=classes**2).reshape(classes, classes) / known.sum()
    truly = torch.from_numpy(counts).float().unsqueeze(3)
    return truly.sum(dim=2, keepdim=True).expand_as(truly), truly


def distance(pixels: Tensor, truly: Tensor, pairs: int, draws: int, seed: int) -> tuple[float, float]:
    """Return the root mean square difference of directions in full, and shrunk, as a share of all that is wrong."""
    whole = confused(pixels, truly).mean(dim=0)
    whole.fill_diagonal_(0)
    rng, squares = np.random.default_rng(seed), np.zeros(2)
    for _ in range(draws):
        chosen = torch.from_numpy(rng.choice(len(pixels), pairs, replace=False))
        shown = confused(pixels[chosen], truly[chosen]).mean(dim=0)
        shown.fill_diagonal_(0)
        scale = scale_of_directions(pixels[chosen], truly[chosen])
        for place, counted in enumerate((shown, shown * scale)):
            squares[place] += float(((counted - counted.T) - (whole - whole.T)).square().sum() / 2)
    wrong = (whole + whole.T).square().sum() / 2
    full, shrunk = np.sqrt(squares / draws / float(wrong)).round(3).tolist()
    return full, shrunk


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for path in options.sets:
        prepared, of_set = PreparedSet.open(path), found.setdefault(path.resolve().parent.name, {})
        for kind, rate in NOISES:
            held = corrupted(prepared, kind, rate, options.seed)
            row = of_set[f"{kind} {rate}"] = {}
            for pairs in PAIRS:
                full, shrunk = distance(*held, pairs, options.draws, options.seed)
                row[str(pairs)] = {"in full": full, "shrunk": shrunk}
            print(path, kind, rate, row, flush=True)
    told = {"draws": options.draws, "seed": options.seed, "sets": found}
    options.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
