"""How the tangents of the usual operations follow from those of their arguments.

A rule is called as the operation is, with :class:`~metadcseg.forward_mode.dual.Dual` tensors among the arguments.
It returns the operation's result (with its autograd graph) and the tangent of it (without), or ``NotImplemented``
for arguments it does not know; torch's forward mode does those.

Some rules use kernels that torch has for itself (``torch.ops.aten``). Those are looked up when first needed and tried
on a few numbers; where one is missing or has become another, its rule leaves the operation to torch's forward mode.
"""

from collections.abc import Callable, Iterator
from functools import cache
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
    if (kernel := _kernel("leaky_relu_backward")) is None:
        return NotImplemented
    with torch.no_grad():  # before an operation in place overwrites x
        tangent = kernel(dx, x, negative_slope, False)
    return F.leaky_relu(x, negative_slope, inplace), tangent


def _relu(input: Any, inplace: bool = False) -> Any:
    x, dx = split(input)
    if (kernel := _kernel("threshold_backward")) is None:
        return NotImplemented
    with torch.no_grad():
        tangent = kernel(dx, x, 0)
    return F.relu(x, inplace), tangent


def _dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    x, dx = split(input)
    return NotImplemented if training and p > 0 else (x, dx)  # nothing happens, as in most networks


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
            # the derivative of a normalisation is symmetric: its backward kernel carries tangents forward, too
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
    kernel = _kernel("native_batch_norm_backward")
    if kernel is None or (not training and running_mean is None):
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
            core = kernel(
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


@cache
def _kernel(name: str) -> Callable[..., Any] | None:
    """Return one of torch's own kernels, None where this release has it no more or in another form."""
    try:
        kernel: Callable[..., Any] = getattr(torch.ops.aten, name)
        with torch.no_grad():
            got, expected = _TRIALS[name](kernel)
        return kernel if torch.allclose(got, expected, atol=1e-5) else None
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return None


def _try_leaky_relu(kernel: Callable[..., Any]) -> tuple[Tensor, Tensor]:
    x, dx = torch.tensor([-2.0, 3.0]), torch.tensor([5.0, 7.0])
    return kernel(dx, x, 0.1, False), torch.tensor([0.5, 7.0])


def _try_relu(kernel: Callable[..., Any]) -> tuple[Tensor, Tensor]:
    x, dx = torch.tensor([-2.0, 3.0]), torch.tensor([5.0, 7.0])
    return kernel(dx, x, 0), torch.tensor([0.0, 7.0])


_ROW = [1.0, 2.0, 4.0, 9.0]
_DIRECTION = [1.0, 0.0, 0.0, 0.0]


def _normalised() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return four numbers normalised, their derivative along the first, their mean and one over their deviation."""
    x, dx = torch.tensor(_ROW), torch.tensor(_DIRECTION)
    mean, deviation = x.mean(), (x.var(correction=0) + 1e-5).rsqrt()
    z = (x - mean) * deviation
    return z, (dx - dx.mean() - z * (dx * z).mean()) * deviation, mean, deviation


def _try_group_norm(kernel: Callable[..., Any]) -> tuple[Tensor, Tensor]:
    z, _, mean, deviation = _normalised()
    found = kernel(torch.tensor(_ROW).view(1, 1, 2, 2), None, None, 1, 1, 4, 1, 1e-5)
    return torch.cat([part.flatten() for part in found]), torch.cat([z, mean[None], deviation[None]])


def _try_group_norm_backward(kernel: Callable[..., Any]) -> tuple[Tensor, Tensor]:
    _, dz, mean, deviation = _normalised()
    x, dx = (torch.tensor(values).view(1, 1, 2, 2) for values in (_ROW, _DIRECTION))
    wanted = [True, False, False]
    found = kernel(dx, x, mean.view(1, 1), deviation.view(1, 1), None, 1, 1, 4, 1, wanted)[0]
    return found.flatten(), dz


def _try_batch_norm_backward(kernel: Callable[..., Any]) -> tuple[Tensor, Tensor]:
    _, dz, mean, deviation = _normalised()
    x, dx = (torch.tensor(values).view(1, 1, 2, 2) for values in (_ROW, _DIRECTION))
    wanted = [True, False, False]
    found = kernel(dx, x, None, None, None, mean.view(1), deviation.view(1), True, 1e-5, wanted)[0]
    return found.flatten(), dz


_TRIALS: dict[str, Callable[[Callable[..., Any]], tuple[Tensor, Tensor]]] = {
    "leaky_relu_backward": _try_leaky_relu,
    "threshold_backward": _try_relu,
    "native_group_norm": _try_group_norm,
    "native_group_norm_backward": _try_group_norm_backward,
    "native_batch_norm_backward": _try_batch_norm_backward,
}

_LINEAR: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (F, ("interpolate", "avg_pool2d", "adaptive_avg_pool2d", "pixel_shuffle", "avg_pool3d")),
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
    (F, {"pad": _pad, "relu": _relu, "leaky_relu": _leaky_relu, "dropout": _dropout}),
    (F, {"group_norm": _group_norm, "batch_norm": _batch_norm}),
    (torch, {"cat": _cat, "add": _add, "relu": _relu}),
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
