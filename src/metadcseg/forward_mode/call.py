"""A network called with other parameters than its own, which it keeps, and the gradient of a loss at them."""

from collections.abc import Callable, Iterator
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
    """Return the network's own trainable tensors by parameter name; one that is shared appears once.

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


def gradient_of(loss: Tensor, parameters: Parameters, retain_graph: bool = False) -> Parameters:
    """Return the gradient of a loss with respect to some parameters, without touching ``.grad``.

    Args:
        loss: a scalar that was computed with these parameters.
        parameters: by name, such as :func:`trainable` returns.
        retain_graph: keep the graph of ``loss`` for another backward pass.

    Returns:
        Detached gradients by name; zeros for a parameter that the loss does not depend on.

    Raises:
        InputError: where the network uses the reentrant form of torch.utils.checkpoint.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> gradient_of(layer(torch.ones(1, 2)).sum(), trainable(layer))["bias"].tolist()
        [1.0]
    """
    wanted = list(parameters.values())
    try:
        gradients = torch.autograd.grad(
            loss, wanted, retain_graph=retain_graph, allow_unused=True, materialize_grads=True
        )
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        raise InputError(
            "the network uses torch.utils.checkpoint in its reentrant form, which can take no meta step: call it "
            "with use_reentrant=False"
        ) from error
    return {name: gradient.detach() for name, gradient in zip(parameters, gradients, strict=True)}


def gradient_at(
    network: nn.Module, parameters: Parameters, inputs: Inputs, loss_of: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Parameters]:
    """Return a loss of the logits and its gradient, in a pass of its own at given values of the parameters.

    Running statistics are read but not updated: the pass works on copies of the buffers.

    Args:
        network: returns an object with ``.logits``.
        parameters: the values by name.
        inputs: the images.
        loss_of: takes the logits to a scalar.

    Returns:
        The detached loss, and its gradient by parameter name.

    Example:
        >>> from metadcseg.networks.contract import Output
        >>> class Line(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.slope = nn.Parameter(torch.tensor(2.0))
        ...     def forward(self, x):
        ...         return Output(self.slope * x, x)
        >>> at_five = {"slope": torch.tensor(5.0)}
        >>> loss, gradient = gradient_at(Line(), at_five, torch.full((1, 1, 1, 1), 3.0), torch.sum)
        >>> loss.item(), gradient["slope"].item()
        (15.0, 3.0)
    """
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    with torch.enable_grad(), set_apart(inputs):
        loss = loss_of(call_with(network, leaves, inputs, apart=True).logits)
        return loss.detach(), gradient_of(loss, leaves)


def gradient_of_pass(
    network: nn.Module, logits: Tensor | None, inputs: Inputs, loss_of: Callable[[Tensor], Tensor]
) -> Parameters:
    """Return the gradient of a loss of the logits on the graph of a pass that was made, which is kept.

    Args:
        network: returns an object with ``.logits``.
        logits: what it returned, with the graph; where it is None, or torch.compile has made the pass one whose graph
            cannot be kept, there is a pass of its own.
        inputs: the images.
        loss_of: takes the logits to a scalar.
    """
    if logits is not None:
        try:
            return gradient_of(loss_of(logits), trainable(network), retain_graph=True)
        except RuntimeError as error:
            if "donated buffers" not in str(error):
                raise
    return gradient_at(network, trainable(network), inputs, loss_of)[1]


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
