"""How far every pixel is from the nearest pixel of every class, on any device and without waiting for it."""

import torch
from torch import Tensor

from metadcseg.errors import InputError
from metadcseg.methods.common import class_numbers
from metadcseg.tensors import check_tensor


def class_distances(labels: Tensor, classes: int, reach: int) -> Tensor:
    """Return the Euclidean distance from every pixel to the nearest pixel of every class, cut at ``reach``.

    d_r(p) = min(reach + 1, min_{q: y_q = r} |p - q|), exact up to ``reach``: the squared distance is a minimum over
    steps along one axis after the other.

    Args:
        labels: y, (N, H, W) or (N, D, H, W) int64, class 0 .. L-1; other values, such as ``IGNORE``, are no class.
        classes: L, at least 2.
        reach: in pixels of ``labels``, at least 1.

    Returns:
        (N, L, H, W) float32 from 0 to ``reach + 1``.

    Raises:
        InputError: for another dtype or number of axes, or ``classes`` or ``reach`` out of range.

    Example:
        >>> class_distances(torch.tensor([[[0, 0, 0, 1]]]), classes=2, reach=2)[0, 1].tolist()
        [[3.0, 2.0, 1.0, 0.0]]
    """
    check_tensor("labels", labels, "int64", ("N", ...))
    if classes < 2 or reach < 1:
        raise InputError(f"classes must be at least 2 and reach at least 1, got {classes} and {reach}")
    far = float((reach + 1) ** 2)
    squares = (labels.unsqueeze(1) != class_numbers(classes, labels)).float() * far
    for axis in range(2, squares.ndim):
        squares = _along(squares, axis, reach)
    return squares.clamp_(max=far).sqrt_()


def _along(squares: Tensor, axis: int, reach: int) -> Tensor:
    """Return min_s (squares shifted by s along the axis + s^2) for |s| up to ``reach``."""
    best, length = squares.clone(), squares.shape[axis]
    for step in range(1, min(reach, length - 1) + 1):
        left, right = (0, length - step), (step, length - step)
        for here, there in ((left, right), (right, left)):
            part = best.narrow(axis, *here)
            torch.minimum(part, squares.narrow(axis, *there) + step * step, out=part)
    return best
