"""Small networks that answer like ours, for the checks of the meta-gradients."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


class Answer(NamedTuple):
    logits: torch.Tensor
    features: torch.Tensor


class Small(nn.Module):
    """Two convolutions with a normalization between them, and a head."""

    def __init__(self, norm="group", activation=F.leaky_relu, dropout=0.0, channels=2, classes=3):
        super().__init__()
        self.first = nn.Conv2d(channels, 4, 3, padding=1)
        self.norm = {
            "group": lambda: nn.GroupNorm(2, 4),
            "batch": lambda: nn.BatchNorm2d(4),
            "instance": lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        }[norm]()
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(4, classes, 1)
        self.activation = activation

    def forward(self, images):
        features = self.activation(self.norm(self.first(images)))
        features = self.dropout(self.activation(self.second(features)))
        return Answer(self.head(features), features)


class Solid(nn.Module):
    """The operations of a U-Net, of volumes: pooling, upsampling both ways, a skip connection."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv3d(2, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.below = nn.Conv3d(4, 4, 3, padding=1)
        self.up = nn.ConvTranspose3d(4, 4, 2, stride=2)
        self.head = nn.Conv3d(12, 3, 1)

    def forward(self, images):
        beside = F.leaky_relu(self.norm(self.first(images)))
        below = F.leaky_relu(self.below(F.max_pool3d(beside, 2)))
        smooth = F.interpolate(below, scale_factor=2, mode="trilinear", align_corners=False)
        features = torch.cat([beside, self.up(below), smooth], dim=1)
        return Answer(self.head(features), features)


class Tied(nn.Module):
    """One convolution that is used twice and carries two names, and one weight shared between two layers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 1)
        self.once = nn.Conv2d(4, 4, 3, padding=1)
        self.again = self.once
        self.other = nn.Conv2d(4, 4, 3, padding=1)
        self.other.weight = self.once.weight
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, images):
        features = F.relu(self.once(self.stem(images)))
        features = F.relu(self.other(F.relu(self.again(features))))
        return Answer(self.head(features), features)

    @staticmethod
    def written_out(parameters, images):
        """The same without modules, since functional_call does not restore a module that has two names."""
        kernel, bias = parameters["once.weight"], parameters["once.bias"]
        features = F.conv2d(images, parameters["stem.weight"], parameters["stem.bias"])
        features = F.relu(F.conv2d(features, kernel, bias, padding=1))
        features = F.relu(F.conv2d(features, kernel, bias, padding=1))
        features = F.relu(F.conv2d(features, kernel, parameters["other.bias"], padding=1))
        return F.conv2d(features, parameters["head.weight"], parameters["head.bias"])


class Attention(nn.Module):
    """Every pixel looks at every other."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 1)
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, images):
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        features = F.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2)
        features = features.reshape(len(images), 4, *images.shape[2:])
        return Answer(self.head(features), features)


class Linear(nn.Module):
    """One matrix for every pixel: z = W x."""

    def __init__(self, channels=2, classes=3):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(classes, channels))

    def forward(self, images):
        return Answer(torch.einsum("cd,ndhw->nchw", self.matrix, images), images)


def seeded(make, seed=0, dtype=torch.float64):
    """Return a network with weights of its own seed, and the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make().to(dtype)
