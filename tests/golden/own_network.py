"""A network of one's own, so small that a training takes no time and a whole run of it little room."""

import torch
from torch import nn


class OwnNetwork(nn.Module):
    """Two convolutions, of images or of volumes."""

    def __init__(self, channels: int = 1, classes: int = 2, axes: int = 2) -> None:
        super().__init__()
        convolution = nn.Conv2d if axes == 2 else nn.Conv3d
        self.body = convolution(channels, 4, 5, padding=2)
        self.head = convolution(4, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.body(images)))
