"""What the tests of ConDSeg and MADGNet share: counts without memory, images and gradients."""

import torch
from torch import Tensor, nn

from metadcseg.networks import NetworkOptions, Output, TappedNetwork, create_network


def count(*parts: nn.Module) -> int:
    return sum(parameter.numel() for part in parts for parameter in part.parameters())


def on_meta(name: str, channels: int = 3, classes: int = 2, **options: str) -> nn.Module:
    """The bare network, without any memory."""
    with torch.device("meta"):
        return create_network(NetworkOptions(name=name, **options), channels, classes).module


def small(name: str, channels: int = 2, classes: int = 3, **options: str) -> TappedNetwork:
    return create_network(NetworkOptions(name=name, **options), channels, classes)


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def backward(output: Output) -> None:
    """Add the gradient of everything that the network says."""
    said = [output.logits, *output.auxiliary.values()]
    torch.stack([maps.square().mean() for maps in said]).sum().backward()


def without_gradient(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.grad is None}
