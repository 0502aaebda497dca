"""The rules of group, batch and layer normalization (:mod:`.rule`)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from metadcseg.forward_mode.kernels import kernel_of
from metadcseg.forward_mode.rule import split


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Normalize as ``torch.nn.functional.group_norm`` does, in the order of memory that the input has."""
    (x, dx), (w, dw), (b, db) = split(input), split(weight), split(bias)
    forward, backward = kernel_of("native_group_norm"), kernel_of("native_group_norm_backward")
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


def batch_norm(
    input: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalize as ``torch.nn.functional.batch_norm`` does, running statistics included."""
    (x, dx), (w, dw), (b, db) = split(input), split(weight), split(bias)
    kernel = kernel_of("native_batch_norm_backward")
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


def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalize as ``torch.nn.functional.layer_norm`` does."""
    (x, dx), (w, dw), (b, db) = split(input), split(weight), split(bias)
    forward, backward = kernel_of("native_layer_norm"), kernel_of("native_layer_norm_backward")
    if forward is None or backward is None:
        return NotImplemented
    shape = list(normalized_shape)
    primal, mean, deviation = forward(x, shape, w, b, eps)
    with torch.no_grad():
        if dx is None:
            tangent = torch.zeros_like(primal)
        else:
            wanted = [True, False, False]
            tangent = backward(dx.contiguous(), x.contiguous(), shape, mean, deviation, None, None, wanted)[0]
            if w is not None:
                tangent.mul_(w)
        if dw is not None:
            tangent.addcmul_((x - mean) * deviation, dw)
        return primal, tangent if db is None else tangent.add_(db)


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
