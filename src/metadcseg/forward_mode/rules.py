"""The rules (:mod:`.rule`) of the usual operations: linear ones, convolutions, activations and poolings."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from metadcseg.forward_mode.attention_rules import (
    bilinear,
    divide,
    dropout,
    einsum,
    extreme,
    gelu,
    sigmoid,
    silu,
    softmax,
    subtract,
)
from metadcseg.forward_mode.kernels import kernel_of
from metadcseg.forward_mode.norm_rules import batch_norm, group_norm, layer_norm
from metadcseg.forward_mode.rule import Rule, Tangents, split


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first.add_(second)


def _product(operation: Callable[..., Tensor]) -> Rule:
    """Return the rule of an operation that is linear in its input, and in its weight and bias together."""

    def rule(
        input: Any, weight: Any, bias: Any = None, *rest: Any, **options: Any
    ) -> tuple[Tensor, Tangents]:
        (x, dx), (w, dw), (b, db) = split(input), split(weight), split(bias)
        primal = operation(x, w, b, *rest, **options)
        with torch.no_grad():
            tangent = None if dx is None else operation(dx, w, None, *rest, **options)
            if dw is not None:
                tangent = _sum(tangent, operation(x, dw, db, *rest, **options))
            elif db is not None:
                shape = [-1] + [1] * (primal.dim() - 2) if operation is not F.linear else [-1]
                tangent = _sum(tangent, db.view(shape).expand_as(primal).clone())
        return primal, tangent

    return rule


def _linear_in_first(operation: Callable[..., Any]) -> Rule:
    """Return the rule of an operation that is linear in its first argument; views stay views."""

    def rule(input: Any, *rest: Any, **options: Any) -> Any:
        x, dx = split(input)
        if dx is None or any(split(entry)[1] is not None for entry in (*rest, *options.values())):
            return NotImplemented
        primal = operation(x, *rest, **options)
        with torch.no_grad():
            return primal, operation(dx, *rest, **options)

    return rule


def _pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    x, dx = split(input)
    if dx is None:
        return NotImplemented
    with torch.no_grad():
        tangent = F.pad(dx, pad, mode, None if mode != "constant" else 0.0)
    return F.pad(x, pad, mode, value), tangent


def _cat(tensors: Any, dim: int = 0, **options: Any) -> Any:
    if options:
        return NotImplemented
    pairs = [split(tensor) for tensor in tensors]
    with torch.no_grad():
        tangent = torch.cat([torch.zeros_like(x) if dx is None else dx for x, dx in pairs], dim)
    return torch.cat([x for x, _ in pairs], dim), tangent


def _stack(tensors: Any, dim: int = 0, **options: Any) -> Any:
    if options:
        return NotImplemented
    pairs = [split(tensor) for tensor in tensors]
    with torch.no_grad():
        tangent = torch.stack([torch.zeros_like(x) if dx is None else dx for x, dx in pairs], dim)
    return torch.stack([x for x, _ in pairs], dim), tangent


def _add(input: Any, other: Any, **options: Any) -> Any:
    if options:
        return NotImplemented
    (x, dx), (y, dy) = split(input), split(other)
    primal = x + y
    with torch.no_grad():
        if dx is not None and dy is not None:
            return primal, dx + dy
        # a copy: an operation in place on the sum must not change the argument's own tangent
        return primal, (dy if dx is None else dx).expand_as(primal).clone()  # type: ignore[union-attr]


def _leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    x, dx = split(input)
    if (kernel := kernel_of("leaky_relu_backward")) is None:
        return NotImplemented
    with torch.no_grad():  # before an operation in place overwrites x
        tangent = kernel(dx, x, negative_slope, False)
    return F.leaky_relu(x, negative_slope, inplace), tangent


def _relu(input: Any, inplace: bool = False) -> Any:
    x, dx = split(input)
    if (kernel := kernel_of("threshold_backward")) is None:
        return NotImplemented
    with torch.no_grad():
        tangent = kernel(dx, x, 0)
    return F.relu(x, inplace), tangent


def _max_pool(operation: Callable[..., Any], axes: int) -> Rule:
    """Return the rule of pooling over so many axes."""

    def rule(
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        x, dx = split(input)
        if return_indices or x.dim() != 2 + axes or dx is None:
            return NotImplemented
        primal, chosen = operation(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True)
        with torch.no_grad():
            return primal, dx.flatten(2).gather(2, chosen.flatten(2)).view(primal.shape)

    return rule


_LINEAR: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (
        F,
        ("interpolate", "avg_pool2d", "adaptive_avg_pool2d", "pixel_shuffle", "avg_pool3d", "unfold", "fold"),
    ),
    (torch, ("mean", "sum")),
    (Tensor, ("mean", "sum")),
    (torch, ("flatten", "reshape", "transpose", "permute", "unsqueeze", "squeeze")),
    (torch, ("split", "chunk", "unbind", "flip")),
    (Tensor, ("flatten", "reshape", "transpose", "permute", "unsqueeze", "squeeze")),
    (Tensor, ("split", "chunk", "unbind", "flip")),
    (Tensor, ("view", "contiguous", "__getitem__", "movedim", "expand")),
)

_PRODUCTS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (F, ("linear",)),
    (torch, ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")),
)

_OTHERS: tuple[tuple[Any, dict[str, Rule]], ...] = (
    (F, {"pad": _pad, "relu": _relu, "leaky_relu": _leaky_relu, "dropout": dropout}),
    (F, {"group_norm": group_norm, "batch_norm": batch_norm, "layer_norm": layer_norm}),
    (F, {"softmax": softmax, "sigmoid": sigmoid, "gelu": gelu, "silu": silu}),
    (torch, {"cat": _cat, "stack": _stack, "add": _add, "relu": _relu, "einsum": einsum}),
    *((owner, {"softmax": softmax, "sigmoid": sigmoid}) for owner in (torch, Tensor)),
    *((owner, {"max": extreme(torch.max), "min": extreme(torch.min)}) for owner in (torch, Tensor)),
    *(
        (owner, dict.fromkeys(("mul", "__mul__", "__rmul__"), bilinear(torch.mul)))
        for owner in (torch, Tensor)
    ),
    *(
        (owner, dict.fromkeys(("matmul", "__matmul__", "bmm"), bilinear(torch.matmul)))
        for owner in (torch, Tensor)
    ),
    *((owner, dict.fromkeys(("div", "true_divide", "__truediv__"), divide)) for owner in (torch, Tensor)),
    *((owner, dict.fromkeys(("sub", "__sub__"), subtract)) for owner in (torch, Tensor)),
    (Tensor, {"add": _add, "__add__": _add, "__radd__": _add, "relu": _relu}),
    *((owner, {"max_pool2d": _max_pool(F.max_pool2d, 2)}) for owner in (F, torch)),
    *((owner, {"max_pool3d": _max_pool(F.max_pool3d, 3)}) for owner in (F, torch)),
)


def _table() -> Iterator[tuple[Any, Rule]]:
    """Yield operations and their rules; an operation that this release of torch lacks needs none."""
    for owner, names in _LINEAR:
        yield from ((found, _linear_in_first(found)) for found in _those_of(owner, names))
    for owner, names in _PRODUCTS:
        yield from ((found, _product(found)) for found in _those_of(owner, names))
    for owner, rules in _OTHERS:
        yield from ((getattr(owner, name), rule) for name, rule in rules.items() if hasattr(owner, name))


def _those_of(owner: Any, names: tuple[str, ...]) -> list[Callable[..., Any]]:
    return [getattr(owner, name) for name in names if hasattr(owner, name)]


RULES: dict[Any, Rule] = dict(_table())
