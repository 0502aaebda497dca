"""How the tangents of the usual operations follow from those of their arguments.

A rule is called as the operation is, with :class:`~metadcseg.forward_mode.dual.Dual` tensors among the arguments.
It returns the operation's result (with its autograd graph) and the tangent of it (without), or ``NotImplemented``
for arguments it does not know; torch's forward mode does those.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Tangents = Any
"""A tensor, None for a result that does not change, or a list of those."""

Rule = Callable[..., Any]


def split(value: Any) -> tuple[Any, Tensor | None]:
    """Return primal and tangent of a value; the tangent of what is no dual is None."""
    return getattr(value, "primal", value), getattr(value, "tangent", None)


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
    backward = _kernel("leaky_relu_backward")
    if backward is None:
        return NotImplemented
    with torch.no_grad():  # before an operation in place overwrites x
        tangent = backward(dx, x, negative_slope, False)
    return F.leaky_relu(x, negative_slope, inplace), tangent


def _relu(input: Any, inplace: bool = False) -> Any:
    x, dx = split(input)
    backward = _kernel("threshold_backward")
    if backward is None:
        return NotImplemented
    with torch.no_grad():
        tangent = backward(dx, x, 0)
    return F.relu(x, inplace), tangent


def _dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    x, dx = split(input)
    return NotImplemented if training and p > 0 else (x, dx)  # nothing happens, as in most networks


def _kernel(name: str) -> Any:
    """Return one of torch's own kernels, None in a release that has no such one: torch's forward mode serves then."""
    return getattr(torch.ops.aten, name, None)


def _max_pool(operation: Callable[..., Any], axes: int) -> Rule:
    """Return the rule of pooling over so many axes; ``operation`` can tell which values it chose."""

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


def _group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    (x, dx), (w, dw), (b, db) = split(input), split(weight), split(bias)
    forward, backward = _kernel("native_group_norm"), _kernel("native_group_norm_backward")
    if forward is None or backward is None:
        return NotImplemented
    layout = _layout(x)
    x = x.contiguous(memory_format=layout)
    w, b = (None if value is None else value.contiguous() for value in (w, b))  # as its kernel wants them
    count, channels = x.shape[:2]
    sizes = (count, channels, x[0, 0].numel(), num_groups)
    primal, mean, deviation = forward(x, w, b, *sizes, eps)
    with torch.no_grad():
        core = None
        if dx is not None:
            # the derivative of a normalization is symmetric: its backward kernel carries tangents forward, too
            core = backward(
                dx.contiguous(memory_format=layout), x, mean, deviation, None, *sizes, [True, False, False]
            )[0]
        each = channels // num_groups
        mean, deviation = (s.repeat_interleave(each, dim=1) for s in (mean, deviation))  # (N, C)
        return primal, _affine_tangent(x, core, mean, deviation, w, dw, db)


def _layout(x: Tensor) -> torch.memory_format:
    """Return the order in memory that group normalization keeps: channels last only on a CPU."""
    last = x.dim() == 4 and x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _batch_norm(
    input: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    (x, dx), (w, dw), (b, db) = split(input), split(weight), split(bias)
    backward = _kernel("native_batch_norm_backward")
    if backward is None or (not training and running_mean is None):
        return NotImplemented
    primal = F.batch_norm(x, running_mean, running_var, w, b, training, momentum, eps)
    with torch.no_grad():
        if training:
            over = [0, *range(2, x.dim())]
            mean, variance = x.mean(over), x.var(over, correction=0)
        else:
            mean, variance = running_mean, running_var
        deviation = (variance + eps).rsqrt()
        core = None
        if dx is not None:
            core = backward(
                dx.contiguous(),
                x.contiguous(),
                None,
                running_mean,
                running_var,
                mean,
                deviation,
                training,
                eps,
                [True, False, False],
            )[0]
        return primal, _affine_tangent(x, core, mean[None], deviation[None], w, dw, db)


def _affine_tangent(
    x: Tensor,
    core: Tensor | None,
    mean: Tensor,
    deviation: Tensor,
    weight: Tensor | None,
    weight_tangent: Tensor | None,
    bias_tangent: Tensor | None,
) -> Tensor | None:
    """Return the tangent of w * z + b, with z = (x - mean) * deviation and ``core`` the tangent of z.

    Args:
        x: (N, C, ...).
        core: like x, overwritten.
        mean: (N or 1, C).
        deviation: (N or 1, C), one over the standard deviation.
        weight: (C,).
        weight_tangent: (C,).
        bias_tangent: (C,).
    """

    def spread(values: Tensor) -> Tensor:
        return values[(...,) + (None,) * (x.dim() - 2)]

    if core is not None and weight is not None:
        core.mul_(spread(weight[None]))
    slope = None if weight_tangent is None else deviation * weight_tangent
    shift = bias_tangent if bias_tangent is None else bias_tangent[None]
    if slope is not None:
        shift = -mean * slope if shift is None else shift - mean * slope
    if core is None:
        if shift is None:
            return None
        core = torch.zeros_like(x)
    if slope is not None:
        core.addcmul_(x, spread(slope))
    return core if shift is None else core.add_(spread(shift))


_LINEAR: tuple[Any, ...] = (
    *(F.interpolate, F.avg_pool2d, F.adaptive_avg_pool2d, F.pixel_shuffle, F.avg_pool3d),
    *(torch.flatten, torch.reshape, torch.transpose, torch.permute, torch.unsqueeze, torch.squeeze),
    *(torch.split, torch.chunk, torch.unbind, torch.flip),
    *(Tensor.flatten, Tensor.reshape, Tensor.transpose, Tensor.permute, Tensor.unsqueeze, Tensor.squeeze),
    *(Tensor.split, Tensor.chunk, Tensor.unbind, Tensor.flip),
    *(Tensor.view, Tensor.contiguous, Tensor.__getitem__, Tensor.movedim, Tensor.expand),
)

RULES: dict[Any, Rule] = {
    **{operation: _linear_in_first(operation) for operation in _LINEAR},
    **{
        operation: _product(operation)
        for operation in (
            *(F.linear, torch.conv1d, torch.conv2d, torch.conv3d),
            *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
        )
    },
    F.pad: _pad,
    torch.cat: _cat,
    torch.add: _add,
    Tensor.add: _add,
    Tensor.__add__: _add,
    Tensor.__radd__: _add,
    F.relu: _relu,
    torch.relu: _relu,
    Tensor.relu: _relu,
    F.leaky_relu: _leaky_relu,
    F.dropout: _dropout,
    **{pool: _max_pool(F.max_pool2d, 2) for pool in (F.max_pool2d, torch.max_pool2d)},
    **{pool: _max_pool(F.max_pool3d, 3) for pool in (F.max_pool3d, torch.max_pool3d)},
    F.group_norm: _group_norm,
    F.batch_norm: _batch_norm,
}
