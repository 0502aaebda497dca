"""A plain PyTorch loop on imperfect masks: ``python examples/own_loop.py --method calibrated --network own``."""

import argparse

import numpy as np
import torch
from scipy.ndimage import binary_dilation, gaussian_filter
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from metadcseg.methods import create_method
from metadcseg.own_loop import attach
from metadcseg.warp import Warp


def draw(count: int, seed: int) -> tuple[torch.Tensor, ...]:
    """Draw images (N, 1, 48, 48), masks as a generous hand gives them (six of ten too large), and exact masks."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:48, :48]
    images, given, exact = np.zeros((count, 1, 48, 48), np.float32), *np.zeros((2, count, 48, 48), np.int64)
    for i in range(count):
        (y, x), (height, width) = rng.uniform(16, 32, 2), rng.uniform(5, 11, 2)
        exact[i] = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1
        given[i] = binary_dilation(exact[i], iterations=4) if rng.random() < 0.6 else exact[i]
        images[i, 0] = gaussian_filter(exact[i].astype(float), 1) + rng.normal(0, 0.4, (48, 48))
    return torch.from_numpy(images), torch.from_numpy(given), torch.from_numpy(exact)


def create(network: str) -> nn.Module:
    """Create MONAI's U-Net, or a network of one's own: anything from images to logits will do."""
    if network == "monai":
        from monai.networks.nets.basic_unet import BasicUNet

        return BasicUNet(spatial_dims=2, in_channels=1, out_channels=2, features=(8, 8, 16, 16, 32, 8))
    layers: list[nn.Module] = []
    for channels, reach in ((1, 1), (16, 2), (16, 4), (16, 2)):
        layers += [nn.Conv2d(channels, 16, 3, padding=reach, dilation=reach), nn.GroupNorm(4, 16), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(16, 2, 1))


def learn(method: str, network: str, epochs: int) -> None:
    """Train on 64 masks of the generous hand and 12 that were corrected; print the DSC on new images."""
    torch.manual_seed(0)
    (images, given, _), (gold_images, old, exact), (new, _, truth) = draw(64, 1), draw(12, 2), draw(40, 3)
    gold_set = TensorDataset(gold_images, exact, torch.arange(12), old)  # masks, numbers, old masks
    train_loader = DataLoader(TensorDataset(images, given, torch.arange(64)), batch_size=8, shuffle=True)
    gold_loader = DataLoader(gold_set, batch_size=6, sampler=RandomSampler(gold_set, num_samples=6 * 8))
    options = {"metadcseg": {"warmup": 1, "meta_scaling": "rms", "eta": 0.3}}.get(method, {})
    chosen = create_method(method, **options)  # as printed, metadcseg learns no weights in so few epochs
    models = [create(network) for _ in range(chosen.info.networks)]
    optimizer = torch.optim.Adam([each for model in models for each in model.parameters()], lr=0.005)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    loop = attach(chosen, models, optimizer, classes=2, images=64, gold_images=12, gold_batch=6)
    for epoch in range(epochs + 1):
        found = loop.predict(new).argmax(dim=1)
        dsc = 2 * (found * truth).sum(dim=(1, 2)) / (found + truth).sum(dim=(1, 2))
        print(f"{method} with network {network}, epoch {epoch}: DSC {dsc.mean():.2f} on new images")
        if epoch < epochs:
            for (x, y, numbers), gold in zip(train_loader, gold_loader, strict=True):
                loop.step(x, y, numbers, gold=gold, warp=Warp.identity(len(x)))  # nothing was moved
            schedule.step()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="calibrated")
    parser.add_argument("--network", choices=("monai", "own"), default="own")
    parser.add_argument("--epochs", type=int, default=10)
    learn(**vars(parser.parse_args()))
