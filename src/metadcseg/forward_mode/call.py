"""A network called with other parameters than its own, which it keeps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metadcseg.errors import InputError
from metadcseg.forward_mode.random_state import kept_random_state

Parameters = dict[str, Tensor]
"""One tensor for every trainable parameter, by its name in the network (values, gradients or a direction)."""

Inputs = Tensor | tuple[Tensor, ...]
"""What a network is called with: (N, C, H, W) images, or images and whatever else it takes."""


def trainable(network: nn.Module) -> Parameters:
    """Return the network's own trainable parameters; one that is shared appears once.

    Raises:
        InputError: where every parameter is frozen.

    Example:
        >>> list(trainable(nn.Conv2d(1, 2, 1)))
        ['weight', 'bias']
    """
    found: Parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
    if not found:
        raise InputError(
            f"network {type(network).__name__} has no trainable parameter, so there is nothing to learn: "
            f"set requires_grad on those that shall be trained"
        )
    return found


def call_with(network: nn.Module, parameters: Parameters, inputs: Inputs, *, apart: bool) -> Any:
    """Call a network with other parameters.

    Args:
        network: the network; it keeps its own.
        parameters: the values to use by name; those left out stay the network's own.
        inputs: the images.
        apart: give it copies of its buffers, which it may write to.
    """
    named = dict(network.named_parameters())
    stand_ins = {id(named[name]): value for name, value in parameters.items()}
    if apart:
        stand_ins |= {id(own): own.clone() for own in network.buffers()}
    replaced = {place: stand_ins[id(own)] for place, own in _places(network) if id(own) in stand_ins}
    return functional_call(network, replaced, as_tuple(inputs), tie_weights=False)


def _places(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield every place that holds a parameter or buffer, once; a shared tensor has several places.

    functional_call can find shared tensors itself, but visits a module that has two names twice, and then
    leaves the stand-in behind in the network.
    """
    for prefix, module in network.named_modules():
        for name, own in _own(module):
            if own is not None:
                yield f"{prefix}.{name}" if prefix else name, own


def _own(module: nn.Module) -> Iterator[tuple[str, Tensor | None]]:
    """Yield the parameters and buffers of a module itself."""
    parameters, buffers = vars(module).get("_parameters"), vars(module).get("_buffers")
    if isinstance(parameters, dict) and isinstance(buffers, dict):
        yield from parameters.items()  # what torch documents takes ten times as long
        yield from buffers.items()
    else:
        yield from module.named_parameters(recurse=False, remove_duplicate=False)
        yield from module.named_buffers(recurse=False, remove_duplicate=False)


@contextmanager
def set_apart(inputs: Inputs) -> Iterator[None]:
    """Put the random state back afterwards, and compute without autocast."""
    device = as_tuple(inputs)[0].device
    with kept_random_state([device]), torch.autocast(device.type, enabled=False):
        yield


def as_tuple(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the arguments that a network is called with."""
    return inputs if isinstance(inputs, tuple) else (inputs,)
