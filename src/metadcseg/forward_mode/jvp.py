"""A network called with other parameters, and how its logits change when the parameters move in one direction.

Where the direction is known before the training pass, that pass itself carries it: :func:`forward_with_change`.
All else here leaves the network as it was: its parameters, buffers, training mode, the grad mode and the random
state, also when it raises. The derivative is computed in the parameters' own precision with autocast off
(tangents under autocast were measured to be off by 14-19 %).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metadcseg.errors import InputError, unknown_name
from metadcseg.forward_mode.dual import Dual, NoForwardRule
from metadcseg.forward_mode.random_state import kept_random_state
from metadcseg.tensors import check_shape

Parameters = dict[str, Tensor]
"""One tensor for every trainable parameter, by its name in the network (values, gradients or a direction)."""

Inputs = Tensor | tuple[Tensor, ...]
"""What a network is called with: (N, C, H, W) images, or images and whatever else it takes."""

_SIGNS_OF_A_MISSING_RULE = ("forward AD", "forward mode AD", "forward-mode", "functorch", "TorchScript")
"""What torch's messages hold where an operation has no forward-mode rule."""


@dataclass(frozen=True)
class LogitChange:
    """How the logits of a batch change when the parameters move in one direction.

    Args:
        logits: (N, L, H, W) float, without graph, in the precision of the parameters.
        change: (N, L, H, W), their derivative in that direction.
    """

    logits: Tensor
    change: Tensor


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


def forward_with_change(network: nn.Module, inputs: Inputs, direction: Parameters) -> tuple[Any, LogitChange]:
    """Run a training pass and return what the network says, with the derivative of its logits beside it.

    The pass is the training pass: its graph is recorded, its buffers move, its dropout masks are the ones drawn.
    The tangents cost about two forward passes by their operations, and no graph is kept of them. Under autocast
    the derivative takes a pass of its own in full precision, see :func:`logit_change`.

    Args:
        network: returns a named tuple with ``.logits``.
        inputs: the images.
        direction: by parameter name; parameters that are left out do not move, which saves their tangents.

    Returns:
        What the network returned, and the change of the logits.

    Raises:
        InputError: where the network uses an operation without a forward-mode rule, naming its layer.
    """
    if torch.is_autocast_enabled(_tuple(inputs)[0].device.type):
        return network(*_tuple(inputs)), logit_change(network, inputs, direction)
    duals = _duals(trainable(network), direction)
    with torch.enable_grad():
        output = _follow(network, duals, inputs, apart=False)
    plain = type(output)(*(getattr(value, "primal", value) for value in output))
    return plain, _change(output.logits)


def logit_change(network: nn.Module, inputs: Inputs, direction: Parameters) -> LogitChange:
    """Return the derivative of the logits in one direction, without touching the network.

    Cost: one forward pass that carries a tangent, by its operations three forward passes.

    Dropout: masks are drawn from the random state as it is, and that state is put back. They are not those of
    a training pass that came before.

    Args:
        network: returns a named tuple with ``.logits``. Frozen parameters are constants; shared parameters
            count once; the mode (training or evaluation) is taken as it is.
        inputs: the images.
        direction: by parameter name; parameters that are left out do not move.

    Raises:
        InputError: where the network uses an operation without a forward-mode rule, naming its layer.
    """
    values = {name: value.detach() for name, value in trainable(network).items()}
    # grad mode is on so that a part which the network itself computes without gradients stays a constant
    with torch.enable_grad(), set_apart(inputs):
        return _change(_follow(network, _duals(values, direction), inputs, apart=True).logits)


def _duals(values: Parameters, direction: Parameters) -> Parameters:
    for name, tangent in direction.items():
        if name not in values:
            raise unknown_name("parameter in a direction", name, values)
        check_shape(f"direction of {name}", tangent, tuple(values[name].shape))
    return {
        name: Dual(value, direction[name].detach()) if name in direction else value
        for name, value in values.items()
    }


def _change(logits: Tensor) -> LogitChange:
    if isinstance(logits, Dual):
        return LogitChange(logits.primal.detach(), logits.tangent)
    # no parameter that moves has a part in them
    return LogitChange(logits.detach(), torch.zeros_like(logits))


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
    return functional_call(network, replaced, _tuple(inputs), tie_weights=False)


def _follow(network: nn.Module, parameters: Parameters, inputs: Inputs, *, apart: bool) -> Any:
    """Call the network with duals among its parameters; say which layer cannot take them."""
    try:
        return call_with(network, parameters, inputs, apart=apart)
    except NoForwardRule as error:
        raise _no_forward_rule(network, str(error), error) from error
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _SIGNS_OF_A_MISSING_RULE):
            raise
        raise _no_forward_rule(network, str(error).split("\n")[0].split(". ")[0], error) from error


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
    device = _tuple(inputs)[0].device
    with kept_random_state([device]), torch.autocast(device.type, enabled=False):
        yield


def _no_forward_rule(network: nn.Module, operation: str, error: Exception) -> InputError:
    network = getattr(network, "module", network)  # as its author knows it
    layer = _layer_in(error.__traceback__, network)
    where = f" in its layer '{layer}'" if layer else ""
    return InputError(
        f"network {type(network).__name__} cannot take a meta step, which needs a forward-mode rule of "
        f"every operation, and {operation}{where} has none: write it out in plain operations, or choose a "
        f"method without meta step"
    )


def _layer_in(trace: TracebackType | None, network: nn.Module) -> str:
    """Return the name of the innermost layer that an error came through, empty for the network itself."""
    names = {id(module): name for name, module in network.named_modules()}
    found = ""
    while trace is not None:
        found = names.get(id(trace.tb_frame.f_locals.get("self")), found)
        trace = trace.tb_next
    return found


def _tuple(inputs: Inputs) -> tuple[Tensor, ...]:
    return inputs if isinstance(inputs, tuple) else (inputs,)
