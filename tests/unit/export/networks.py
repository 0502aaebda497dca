"""Small networks of random weights, and finished runs of them on images and on volumes."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.methods import create_method
from metadcseg.networks import NetworkOptions, create_networks
from metadcseg.training.options import TrainingOptions
from metadcseg.training.run.folder import RunFolder, write_run
from metadcseg.training.run.identity import describe
from metadcseg.training.run.model_file import save_weights, weights_of


class Convolutions(nn.Module):
    """Two convolutions with a norm between them, over two or three axes."""

    def __init__(self, channels: int, classes: int, axes: int = 2) -> None:
        super().__init__()
        layer = nn.Conv2d if axes == 2 else nn.Conv3d
        self.first = layer(channels, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.head = layer(4, classes, 1)
        with torch.no_grad():
            self.head.weight.mul_(6)  # far from even probabilities

    def forward(self, images: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.first(images))))


class Sorting(nn.Module):
    """Counts how often each value occurs, which ONNX has no operation for."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images) * torch.linalg.eigvals(images[0, 0, :2, :2]).real.sum()


def random_run(
    folder: Path,
    *,
    channels=1,
    classes=2,
    axes=2,
    how=None,
    method="supervised",
    network="Convolutions",
    **training,
):
    """Write a finished run with random weights; ``how`` is how its volumes were cut."""
    names = ("background", "organ", "core")[:classes]
    data, image = folder.with_name(f"{folder.name}-set"), np.zeros((8, 8, channels), np.uint8)
    with SetWriter(data, name="s", classes=names, channels=channels) as writer:
        writer.add(id="a", role="train", group="a", image=image, label=image[..., 0])
    prepared = PreparedSet.open(data)
    arguments = {"channels": channels, "classes": classes, "axes": axes} if network == "Convolutions" else {}
    options = NetworkOptions(class_path=f"{__name__}.{network}", init_args=arguments, spatial_dims=axes)
    made = create_method(method)
    info = describe(
        prepared, made, options, TrainingOptions(**{"size": 32} | training), seed=7, label="random"
    )
    if how is not None:
        info["set"]["preprocessing"] = how
    folder.mkdir()
    write_run(RunFolder(folder), info | {"status": "finished", "epochs_done": 3})
    several = create_networks(
        options, channels, classes, made.info.networks, torch.Generator().manual_seed(3)
    )
    save_weights(folder / "model.safetensors", weights_of(several), {})
    return folder
