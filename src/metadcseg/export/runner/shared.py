"""What images and volumes share: resampling, and which files are asked for."""

import sys

import numpy as np


def resize(array, sizes, first, smooth=False):
    """Resample axes from ``first`` on, linearly, and over all pixels that a new one covers where it shrinks."""
    for axis, new in enumerate(sizes, first):
        old = array.shape[axis]
        width = max(1, old / new) if smooth else 1
        centers = (np.arange(new) + 0.5) * old / new - 0.5
        centers = centers if smooth else centers.clip(0, old - 1)
        weights = np.maximum(0, 1 - abs(np.arange(old) - centers[:, None]) / width)
        weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        if old != new:
            array = np.moveaxis(np.tensordot(weights, array.astype(np.float32), (1, axis)), 0, axis)
    return array.astype(np.float32)


def asked(source, out, suffixes):
    """Return the files that are asked for; a folder for masks that holds images is refused."""
    among = sorted(source.iterdir()) if source.is_dir() else [source]
    shown = [path for path in among if path == source or not path.name.startswith(".")]
    files = [path for path in shown if path.name.lower().endswith(tuple(suffixes))]
    if not files:
        sys.exit(f"{source}: none of {', '.join(suffixes)} is there")
    if out.resolve() in {place for path in files for place in (path.parent.resolve(), path.resolve().parent)}:
        sys.exit(f"{out}: masks would lie among the images, so name another folder")
    return files
