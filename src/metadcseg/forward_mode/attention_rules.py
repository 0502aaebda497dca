"""The rules (:mod:`.rule`) of what attention and gates are made of: products, softmax, smooth activations, dropout."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from metadcseg.forward_mode.kernels import kernel_of
from metadcseg.forward_mode.random_state import kept_random_state
from metadcseg.forward_mode.rule import Rule, split


def bilinear(operation: Callable[..., Tensor]) -> Rule:
    """Return the rule of a product, (x y)' = x' y + x y'; of real numbers of one kind."""

    def rule(input: Any, other: Any, **options: Any) -> Any:
        (x, dx), (y, dy) = split(input), split(other)
        if options or not _alike(x, y):
            return NotImplemented
        primal = operation(x, y)
        with torch.no_grad():
            tangent = None if dx is None else operation(dx, y)
            if dy is not None:
                second = operation(x, dy)
                tangent = second if tangent is None else tangent.add_(second)
        return primal, tangent

    return rule


def divide(input: Any, other: Any, **options: Any) -> Any:
    """Divide, (x / y)' = (x' - (x / y) y') / y."""
    (x, dx), (y, dy) = split(input), split(other)
    if options or not _alike(x, y):
        return NotImplemented
    primal = torch.div(x, y)
    with torch.no_grad():
        if dy is None:
            return primal, torch.div(dx, y)  # type: ignore[arg-type]  # one of them moves
        change = -primal * dy
        return primal, (change if dx is None else change.add_(dx)).div_(y)


def subtract(input: Any, other: Any, **options: Any) -> Any:
    """Subtract; the tangent is no view of an argument's."""
    (x, dx), (y, dy) = split(input), split(other)
    if options or not _alike(x, y):
        return NotImplemented
    primal = torch.sub(x, y)
    with torch.no_grad():
        if dx is not None and dy is not None:
            return primal, dx - dy
        return primal, (dx if dy is None else -dy).expand_as(primal).clone()  # type: ignore[union-attr]


def _alike(*values: Any) -> bool:
    """Return whether tensors are all real and of one dtype, and numbers real."""
    kinds = {value.dtype for value in values if isinstance(value, Tensor)}
    real = all(isinstance(value, Tensor | float | int) for value in values)
    return real and len(kinds) == 1 and not next(iter(kinds)).is_complex


def einsum(equation: Any, *operands: Any) -> Any:
    """Sum products as an equation says; each operand may move."""
    if len(operands) == 1 and isinstance(operands[0], tuple | list):
        operands = tuple(operands[0])
    if not isinstance(equation, str):
        return NotImplemented
    pairs = [split(operand) for operand in operands]
    values = [value for value, _ in pairs]
    primal = torch.einsum(equation, *values)
    tangent = None
    with torch.no_grad():
        for place, (_, moved) in enumerate(pairs):
            if moved is not None:
                part = torch.einsum(equation, *values[:place], moved, *values[place + 1 :])
                tangent = part if tangent is None else tangent + part
    return primal, tangent


def softmax(input: Any, dim: Any = None, *rest: Any, **options: Any) -> Any:
    """Normalize exp(x) along an axis to p; p' = p (x' - sum p x')."""
    x, dx = split(input)
    options.pop("_stacklevel", None)
    if dx is None or dim is None or any(value is not None for value in (*rest, *options.values())):
        return NotImplemented
    primal = torch.softmax(x, dim)
    with torch.no_grad():
        tangent = primal * dx
        return primal, tangent.addcmul_(primal, tangent.sum(dim, keepdim=True), value=-1)


def sigmoid(input: Any) -> Any:
    """Squash to s = 1 / (1 + exp(-x)); s' = s (1 - s) x'."""
    x, dx = split(input)
    if dx is None:
        return NotImplemented
    primal = torch.sigmoid(x)
    with torch.no_grad():
        return primal, (primal - primal.square()).mul_(dx)


def gelu(input: Any, approximate: str = "none") -> Any:
    """Return x times the normal distribution's share below x."""
    x, dx = split(input)
    if (kernel := kernel_of("gelu_backward")) is None:
        return NotImplemented
    with torch.no_grad():
        tangent = kernel(dx, x, approximate=approximate)
    return F.gelu(x, approximate=approximate), tangent


def silu(input: Any, inplace: bool = False) -> Any:
    """Return x sigmoid(x)."""
    x, dx = split(input)
    if (kernel := kernel_of("silu_backward")) is None:
        return NotImplemented
    with torch.no_grad():  # before an operation in place overwrites x
        tangent = kernel(dx, x)
    return F.silu(x, inplace), tangent


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Leave numbers out at random; those of the tangent are the same."""
    x, dx = split(input)
    if dx is None:
        return NotImplemented
    if not training or p == 0:
        return x, dx
    with torch.no_grad(), kept_random_state([x.device]):
        tangent = F.dropout(dx, p)
    return F.dropout(x, p, training, inplace), tangent


def extreme(operation: Callable[..., Any]) -> Rule:
    """Return the rule of the largest or smallest number along an axis."""

    def rule(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
        x, dx = split(input)
        if dx is None or not isinstance(dim, int) or isinstance(dim, bool) or not x.dim():
            return NotImplemented
        found = operation(x, dim, keepdim)
        with torch.no_grad():
            where = found.indices if keepdim else found.indices.unsqueeze(dim)
            moved = dx.gather(dim, where)
        return found, [moved if keepdim else moved.squeeze(dim), None]

    return rule
