"""What a rule is: how the tangent of an operation's result follows from those of its arguments.

A rule is called as the operation is, with :class:`~metadcseg.forward_mode.dual.Dual` tensors among the arguments.
It returns the operation's result (with its autograd graph) and the tangent of it (without), or ``NotImplemented``
for arguments it does not know; torch's forward mode does those.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

Tangents = Any
"""A tensor, None for a result that does not change, or a list of those."""

Rule = Callable[..., Any]


def split(value: Any) -> tuple[Any, Tensor | None]:
    """Return primal and tangent of a value; the tangent of what is no dual is None."""
    return getattr(value, "primal", value), getattr(value, "tangent", None)
