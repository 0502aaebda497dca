"""A network of your own in our training: ``python examples/own_network.py --out own_network``."""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metadcseg.data import PreparedSet
from metadcseg.data.prepare.pipeline import prepare_cases
from metadcseg.data.synthetic.corruption import corrupt_set
from metadcseg.data.synthetic.phantom import PhantomOptions, phantom_cases
from metadcseg.evaluation.evaluate import evaluate_run
from metadcseg.methods import create_method
from metadcseg.networks import NetworkOptions
from metadcseg.training import TrainingOptions, train


class TwoScales(nn.Module):
    """A fine and a coarse look at the image; the last layer gets both, and its input are the features of eq. 5."""

    def __init__(self, channels: int, classes: int, width: int = 8) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(4, width), nn.ReLU())
        self.coarse = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, padding=1, stride=4),
            nn.GroupNorm(4, 2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=2, dilation=2),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(3 * width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes, H, W) of images (N, channels, H, W)."""
        fine = self.fine(images)
        coarse = F.interpolate(self.coarse(fine), size=images.shape[2:], mode="bilinear", align_corners=False)
        logits: Tensor = self.head(torch.cat([fine, coarse], dim=1))
        return logits


def main(out: Path, method: str, count: int, epochs: int) -> None:
    """Draw a phantom set, make its training masks wrong, train, and score the test images."""
    prepare_cases(
        phantom_cases(PhantomOptions(count=count, size=48)), out / "clean", name="phantom", edges="none"
    )
    corrupt_set(PreparedSet.open(out / "clean"), out / "noisy", rate=0.4, seed=0)
    prepared = PreparedSet.open(out / "noisy")
    network = NetworkOptions(
        class_path="own_network.TwoScales",  # importable, since this file is: python puts its folder on the path
        init_args={"channels": prepared.channels, "classes": len(prepared.classes)},
    )
    options = TrainingOptions(
        epochs=epochs, size=48, batch=8, gold_batch=4, lr=0.1, warmup=1, clip=2, threads=1
    )
    train(prepared, create_method(method), network, options, out / "run")
    record = evaluate_run(out / "run", prepared, "test", trust_code=True)
    print(f"DSC {record['summary']['dsc']['mean']:.2f} on test images that were never seen; all is in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("own_network_run"))
    parser.add_argument("--method", default="binned")
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=15)
    main(**vars(parser.parse_args()))
