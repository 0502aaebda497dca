"""Masks as run lengths: class, length, class, length, ... in C order, as scripts and decisions hold them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.errors import InputError


def encode_runs(mask: NDArray[Any]) -> list[int]:
    """Return the run lengths of an array of whole numbers, in C order.

    Args:
        mask: of any shape, such as (H, W).

    Returns:
        Value and length of every run in turn; the lengths add up to the size of ``mask``.

    Example:
        >>> encode_runs(np.array([[0, 0, 1], [1, 1, 0]]))
        [0, 2, 1, 3, 0, 1]
    """
    flat = mask.ravel()
    if not flat.size:
        return []
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    lengths = np.diff(starts, append=flat.size)
    runs: list[int] = np.stack([flat[starts].astype(np.int64), lengths], axis=1).ravel().tolist()
    return runs


def decode_runs(runs: Sequence[int], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Return the mask that run lengths stand for.

    Args:
        runs: value and length of every run in turn.
        shape: (H, W) of the mask.

    Returns:
        (H, W) int32.

    Raises:
        InputError: where the lengths do not add up to H * W, or one is not positive.

    Example:
        >>> decode_runs([0, 2, 1, 3, 0, 1], (2, 3)).tolist()
        [[0, 0, 1], [1, 1, 0]]
    """
    values, lengths = np.asarray(runs[0::2], np.int64), np.asarray(runs[1::2], np.int64)
    whole = shape[0] * shape[1]
    if len(values) != len(lengths) or (lengths <= 0).any() or lengths.sum() != whole:
        raise InputError(f"run lengths must be positive and add up to {whole}, got {int(lengths.sum())}")
    return np.repeat(values, lengths).astype(np.int32).reshape(shape)
