"""Our own engine: the training pass itself carries the tangents, operation by operation (:mod:`.dual`)."""

import re
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from metadcseg.errors import InputError
from metadcseg.forward_mode.call import Inputs, Parameters, call_with
from metadcseg.forward_mode.dual import Dual, NoForwardRule, primals

_SIGNS_OF_A_MISSING_RULE = ("forward AD", "forward mode AD", "forward-mode", "functorch", "TorchScript")
"""What torch's messages hold where an operation has no forward-mode rule."""


class CannotFollow(InputError):
    """A network has an operation without forward-mode rule.

    Args:
        what: names the network, the operation and its layer.
    """

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}: take finite differences (forward_mode auto or differences), or write it in plain operations"
        )
        self.what = what


def follow(
    network: nn.Module, values: Parameters, direction: Parameters, inputs: Inputs, *, apart: bool
) -> tuple[Any, Tensor | None]:
    """Call a network, and carry along how its logits change in one direction of its parameters.

    Args:
        network: returns a named tuple with ``.logits``.
        values: the parameters to compute at.
        direction: by parameter name; parameters that are left out do not move.
        inputs: the images.
        apart: give the network copies of its buffers.

    Returns:
        What the network returned, and the tangent of the logits; None where no moving parameter has a part in them.

    Raises:
        CannotFollow: where the network has an operation without forward-mode rule.
    """
    duals = {
        name: Dual(value, direction[name].detach()) if name in direction else value
        for name, value in values.items()
    }
    try:
        output = call_with(network, duals, inputs, apart=apart)
    except (NoForwardRule, RuntimeError) as error:
        if (lacking := missing_rule(network, error)) is None:
            raise
        raise lacking from error
    return primals(output), output.logits.tangent if isinstance(output.logits, Dual) else None


def missing_rule(network: nn.Module, error: Exception) -> CannotFollow | None:
    """Return what an error says about a missing forward-mode rule, None where it is about something else."""
    if isinstance(error, NoForwardRule):
        operation = str(error)
    elif any(sign in str(error) for sign in _SIGNS_OF_A_MISSING_RULE):
        named = re.search(r"forward AD with (\w+)", str(error))
        operation = named[1] if named else str(error).split("\n")[0].split(". ")[0]
    else:
        return None
    network = getattr(network, "module", network)  # as its author knows it
    layer = _layer_in(error.__traceback__, network)
    where = f" in its layer '{layer}'" if layer else ""
    return CannotFollow(f"network {type(network).__name__} has no forward-mode rule for {operation}{where}")


def _layer_in(trace: TracebackType | None, network: nn.Module) -> str:
    """Return the name of the innermost layer that an error came through, empty for the network itself."""
    names = {id(module): name for name, module in network.named_modules()}
    found = ""
    while trace is not None:
        found = names.get(id(trace.tb_frame.f_locals.get("self")), found)
        trace = trace.tb_next
    return found
