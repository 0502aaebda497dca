"""A run whose network is known by heart: it takes bright pixels for the object."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.methods import create_method
from metadcseg.networks import NetworkOptions, create_network
from metadcseg.training.options import TrainingOptions
from metadcseg.training.run.folder import RunFolder, write_run
from metadcseg.training.run.identity import describe
from metadcseg.training.run.model_file import save_weights, weights_of

SIZE = 32


class Brightness(nn.Module):
    """Class 0 for dark, 1 for middling, 2 for bright normalized pixels, each nearest to its level."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        levels = torch.linspace(-0.7, 1.6, classes)
        self.head = nn.Conv2d(channels, classes, 1)
        with torch.no_grad():
            self.head.weight.copy_((40 * levels / channels)[:, None, None, None].expand_as(self.head.weight))
            self.head.bias.copy_(-20 * levels**2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images)


def write_fake_run(folder: Path, prepared: PreparedSet, *, broken: bool = False, gold: str = "none") -> Path:
    """Write the folder of a finished run with the network above; ``broken`` ones predict NaN."""
    classes = len(prepared.classes)
    arguments = {"channels": prepared.channels, "classes": classes}
    options = NetworkOptions(class_path=f"{__name__}.Brightness", init_args=arguments)
    training = TrainingOptions(size=SIZE, epochs=3)
    info = describe(prepared, create_method("supervised", gold=gold), options, training, seed=7, label="fake")
    folder.mkdir()
    write_run(RunFolder(folder), info | {"status": "finished", "epochs_done": 3})
    weights = weights_of(create_network(options, prepared.channels, classes))
    if broken:
        weights = {name: torch.full_like(tensor, torch.nan) for name, tensor in weights.items()}
    save_weights(folder / "model.safetensors", weights, {})
    return folder


def scene(height: int, width: int, top: int, left: int, side: int, channels: int = 1):
    """A bright square on a dark image, and its mask."""
    mask = np.zeros((height, width), np.uint8)
    mask[top : top + side, left : left + side] = 1
    image = np.repeat((30 + 180 * mask)[:, :, None], channels, axis=2).astype(np.uint8)
    return image, mask


def write_fake_set(out: Path, *, classes=("background", "organ"), channels=1, noise=None) -> PreparedSet:
    """Test cases: found, found with wrong label and right truth, missed (a dark object)."""
    with SetWriter(out, name="squares", classes=classes, channels=channels, noise=noise) as writer:
        image, mask = scene(48, 64, 10, 20, 16, channels)
        wrong = np.roll(mask, 5, axis=1)
        writer.add(
            id="found", role="test", group="a", image=image, label=mask, truth=mask, spacing=(0.5, 2.0)
        )
        writer.add(id='wrong/label, "x"\n', role="test", group="b", image=image, label=wrong, truth=mask)
        dark_object = 255 - image  # and nothing else is bright enough
        writer.add(id="../missed", role="test", group="c", image=dark_object, label=mask, truth=mask)
        writer.add(id="unknown", role="val", group="d", image=image, label=mask)
        writer.add(id="seen", role="train", group="e", image=image, label=wrong, truth=mask)
    return PreparedSet.open(out)
