"""How a network's logits change when its parameters move in one direction: a Jacobian-vector product, three ways.

For logits z(theta) and a direction v the derivative is  d/de z(theta + e v)  at e = 0. It is computed in the
parameters' own precision with autocast off (tangents under autocast were measured to be off by 14-19 %).
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from metadcseg.errors import Note, unknown_name
from metadcseg.forward_mode.call import Inputs, Parameters, as_tuple, call_with, set_apart, trainable
from metadcseg.forward_mode.dual import load_rules_of_torch
from metadcseg.forward_mode.engine import CannotFollow, follow, missing_rule
from metadcseg.forward_mode.random_state import random_state
from metadcseg.tensors import check_shape

ForwardMode = Literal["auto", "engine", "torch", "differences"]

RELATIVE_STEP = 1e-3
"""Length of a step of finite differences, as a part of the length of the parameters that move."""

_without_rule: WeakSet[nn.Module] = WeakSet()
"""Networks in which the engine met an operation without forward-mode rule."""


class ForwardModeWarning(Note):
    """A network has an operation without forward-mode rule, so finite differences are taken."""


@dataclass(frozen=True)
class LogitChange:
    """How the logits of a batch change when the parameters move in one direction.

    Args:
        logits: (N, L, H, W) float, without graph, in the precision of the parameters.
        change: (N, L, H, W), their derivative in that direction.
    """

    logits: Tensor
    change: Tensor


def jvp(
    network: nn.Module,
    inputs: Inputs,
    direction: Parameters,
    *,
    mode: ForwardMode = "auto",
    training_pass: bool = False,
) -> tuple[Any, LogitChange]:
    """Call a network and return the derivative of its logits in one direction of its parameters.

    Args:
        network: returns a named tuple with ``.logits``. Frozen parameters are constants; shared ones count once.
        inputs: (N, C, H, W) images, or a tuple of all that the network takes.
        direction: by parameter name; parameters that are left out do not move, which saves their tangents.
        mode: ``"engine"``, our own, rides along on the pass and costs about two forward passes more.
            ``"torch"`` is ``torch.func.jvp``. ``"differences"`` are central finite differences,
            (z(theta + h v) - z(theta - h v)) / 2 h  with  h = 0.001 |theta| / |v|: two passes without graph, for any
            operation. ``"auto"`` is the engine, and finite differences where it meets an operation without rule.
        training_pass: the call is the training pass: its graph is recorded, its buffers move, its random numbers are
            drawn. Otherwise nothing of the network moves, nor the random state, also when this raises.

    Returns:
        What the network returned (without graph where it is no training pass), and the change of its logits.

    Raises:
        InputError: for an unknown mode, a direction that fits no parameter, or an operation without forward-mode
            rule, naming its layer (``"engine"`` and ``"torch"`` alone).

    Example:
        >>> from metadcseg.networks.contract import Output
        >>> class Line(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.slope = nn.Parameter(torch.tensor(2.0))
        ...     def forward(self, x):
        ...         return Output(self.slope * x, x)
        >>> _, found = jvp(Line(), torch.full((1, 1, 1, 1), 3.0), {"slope": torch.tensor(1.0)})
        >>> found.logits.item(), found.change.item()
        (6.0, 3.0)
    """
    if mode not in get_args(ForwardMode):
        raise unknown_name("forward_mode", mode, get_args(ForwardMode))
    device = as_tuple(inputs)[0].device
    if mode == "auto":
        if network not in _without_rule:
            try:
                with _undone_where_it_fails(network, device):
                    return jvp(network, inputs, direction, mode="engine", training_pass=training_pass)
            except CannotFollow as error:
                _without_rule.add(network)
                warnings.warn(f"{error.what}: finite differences are taken", ForwardModeWarning, stacklevel=2)
        mode = "differences"
    if training_pass and mode == "engine" and not torch.is_autocast_enabled(device.type):
        with torch.enable_grad():
            return _by_engine(network, trainable(network), inputs, direction, apart=False)
    put_back = random_state([device])
    output = network(*as_tuple(inputs)) if training_pass else None
    values = {name: value.detach() for name, value in trainable(network).items()}
    # grad mode is on so that a part which the network itself computes without gradients stays a constant
    with torch.enable_grad(), set_apart(inputs):
        if training_pass and mode != "engine":
            put_back()  # to draw the dropout masks of the pass once more
        seen, change = _WAYS[mode](network, values, inputs, direction)
    return (output if training_pass else seen), change


def _by_engine(
    network: nn.Module, values: Parameters, inputs: Inputs, direction: Parameters, apart: bool = True
) -> tuple[Any, LogitChange]:
    output, tangent = follow(network, values, _fitting(direction, values), inputs, apart=apart)
    logits = output.logits.detach()
    return output, LogitChange(logits, torch.zeros_like(logits) if tangent is None else tangent)


def _by_torch(
    network: nn.Module, values: Parameters, inputs: Inputs, direction: Parameters
) -> tuple[Any, LogitChange]:
    moving = {name: values[name] for name in _fitting(direction, values)}
    if not moving:
        with torch.no_grad():
            still = call_with(network, {}, inputs, apart=True)
        return still, LogitChange(still.logits, torch.zeros_like(still.logits))
    load_rules_of_torch()

    def call(parameters: Parameters) -> tuple[Tensor, Any]:
        output = call_with(network, parameters, inputs, apart=True)
        return output.logits, output

    try:
        # fused attention has no forward-mode rule, the MATH backend has
        with sdpa_kernel(SDPBackend.MATH):
            logits, change, output = torch.func.jvp(call, (moving,), (direction,), has_aux=True)  # type: ignore[misc]
    except RuntimeError as error:  # NotImplementedError is one
        if (lacking := missing_rule(network, error)) is None:
            raise
        raise lacking from error
    return output, LogitChange(logits.detach(), change.detach())


def _by_differences(
    network: nn.Module, values: Parameters, inputs: Inputs, direction: Parameters
) -> tuple[Any, LogitChange]:
    moving = {name: values[name] for name in _fitting(direction, values)}
    length, reach = _length(moving), _length(direction)
    # a direction of length 0 goes nowhere, however long the step: any finite one
    step = RELATIVE_STEP * length.clamp(min=1e-12) / torch.where(reach > 0, reach, 1.0)
    put_back, ends = random_state([as_tuple(inputs)[0].device]), []
    for sign in (1, -1):
        put_back()
        moved = {name: value + sign * step * direction[name] for name, value in moving.items()}
        with torch.no_grad():
            ends.append(call_with(network, moved, inputs, apart=True))
    ahead, behind = (end.logits for end in ends)
    # the logits in the middle are those at theta up to the square of the step
    return ends[0], LogitChange((ahead + behind) / 2, (ahead - behind) / (2 * step))


_WAYS: dict[str, Callable[..., tuple[Any, LogitChange]]] = {
    "engine": _by_engine,
    "torch": _by_torch,
    "differences": _by_differences,
}


def _fitting(direction: Parameters, values: Parameters) -> Parameters:
    """Return a direction whose every entry belongs to a parameter and has its shape."""
    for name, tangent in direction.items():
        if name not in values:
            raise unknown_name("parameter in a direction", name, values)
        check_shape(f"direction of {name}", tangent, tuple(values[name].shape))
    return direction


def _length(tensors: Parameters) -> Tensor:
    """Return the Euclidean length of tensors as one vector; 0 for none."""
    lengths = [torch.linalg.vector_norm(tensor) for tensor in tensors.values()]
    return torch.linalg.vector_norm(torch.stack(lengths)) if lengths else torch.zeros(())


@contextmanager
def _undone_where_it_fails(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Put buffers and random state back to what they were, where the block raises.

    The copies take 0.2 ms and, of 90 buffers of batch normalization, 0.4 ms: up to 0.8 % of the smallest step here.
    """
    put_back, buffers = random_state([device]), [buffer.clone() for buffer in network.buffers()]
    try:
        yield
    except BaseException:
        put_back()
        with torch.no_grad():
            for buffer, before in zip(network.buffers(), buffers, strict=True):
                buffer.copy_(before)
        raise
