"""Train the edge detector that comes with the package: PiDiNet-tiny on procedurally drawn scenes with exact edges.

    .venv/bin/python studies/train_edges.py --out src/metadcseg/networks/weights/pidinet-tiny.safetensors

Minutes on two cores. Nothing but drawn scenes is seen, so that the weights are free of anybody else's data and of the
licence of the published ones. The loss is the mean cross-entropy of each of the five maps, without class balance: then
the numbers that come out can be read as probabilities. Measured by studies/edges_report.py.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from edge_scenes import Scene, draw_scene
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from metadcseg.networks.pidinet import DEVIATION, MEAN, PiDiNet

TRAIN, HELD_OUT = 1, 2  # first number of a scene's seed: no scene is in both


def as_input(images: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 to what the network wants."""
    return (images.permute(0, 3, 1, 2).float() / 255 - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(
        DEVIATION
    ).view(1, 3, 1, 1)


def stacked(scenes: list[Scene]) -> tuple[Tensor, Tensor, Tensor]:
    """Images (N, H, W, 3) uint8, edges and what counts (N, H, W) bool."""
    parts = [np.stack([getattr(scene, name) for scene in scenes]) for name in ("image", "edges", "unclear")]
    return torch.from_numpy(parts[0]), torch.from_numpy(parts[1]), ~torch.from_numpy(parts[2])


def loss_of(network: PiDiNet, images: Tensor, edges: Tensor, counts: Tensor) -> Tensor:
    """The mean cross-entropy over the pixels that count, summed over the five maps."""
    logits = network(as_input(images))  # (N, 5, H, W)
    each = F.binary_cross_entropy_with_logits(
        logits, edges[:, None].float().expand_as(logits), reduction="none"
    )
    return (each * counts[:, None]).sum(dim=(0, 2, 3)).div(counts.sum()).sum()


def crop(parts: tuple[Tensor, ...], rows: Tensor, side: int, generator: torch.Generator) -> list[Tensor]:
    """Cut the same square out of images, edges and counts, mirrored and turned by chance."""
    top, left, mirror, turns = (
        int(torch.randint(high, (), generator=generator))
        for high in (parts[0].shape[1] - side + 1, parts[0].shape[2] - side + 1, 2, 4)
    )
    cut = [part[rows][:, top : top + side, left : left + side] for part in parts]
    if mirror:
        cut = [part.flip(2) for part in cut]
    return [part.rot90(turns, (1, 2)) for part in cut]


def new_network(seed: int) -> PiDiNet:
    """A fresh PiDiNet-tiny; no global random state moves."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return PiDiNet("tiny")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=96, help="of the squares cut from scenes of 128")
    parser.add_argument("--lr", type=float, default=0.004)
    options = parser.parse_args()
    started = time.monotonic()
    with ProcessPoolExecutor(2) as pool:
        seeds = [(TRAIN, options.seed, number) for number in range(options.scenes)]
        parts = stacked(list(pool.map(draw_scene, seeds, chunksize=50)))
        held_out = stacked(
            list(pool.map(draw_scene, [(HELD_OUT, options.seed, number) for number in range(32)]))
        )
    generator = torch.Generator().manual_seed(options.seed)
    network = new_network(options.seed).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.lr, total_steps=options.steps, pct_start=0.1, cycle_momentum=False
    )
    for step in range(options.steps):
        rows = torch.randint(options.scenes, (options.batch,), generator=generator)
        loss = loss_of(network, *crop(parts, rows, options.side, generator))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            with torch.no_grad():
                held = float(loss_of(network, *held_out)) / 5
            said = {"step": step + 1, "loss": round(loss.item() / 5, 4), "held_out": round(held, 4)}
            print(json.dumps(said | {"seconds": round(time.monotonic() - started)}), flush=True)
    facts = {
        "name": "pidinet-tiny",
        "licence": "Apache-2.0",
        "made_by": "studies/train_edges.py",
        "seed": options.seed,
        "scenes": options.scenes,
        "steps": options.steps,
        "batch": options.batch,
        "held_out_cross_entropy": f"{held:.4f}",
    }
    weights = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(save(weights, metadata={name: str(value) for name, value in facts.items()}))


if __name__ == "__main__":
    main()
