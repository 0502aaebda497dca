"""Procedurally drawn scenes whose edges are known exactly: what the edge detector is trained and measured on.

Medical in spirit, not in content: overlapping organs with wavy outlines, ellipses, vessels, folds and polygons, each
with its own brightness, hue and texture, under uneven light, with soft highlights, blur and noise; gray or colored;
some with little contrast. What is drawn later lies on top, and an edge is where the topmost region changes.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

VISIBLE = 0.04
"""Regions whose brightness and color differ by less (largest channel, of a range of 1) have no visible edge between
them: such pixels are neither right nor wrong."""


@dataclass(frozen=True)
class Scene:
    """One drawn picture.

    Args:
        image: (H, W, 3) uint8; gray scenes have three equal channels.
        edges: (H, W) bool, True on the pixels on both sides of a visible outline (two pixels wide).
        unclear: (H, W) bool, True where an outline is too faint to count either way.
    """

    image: np.ndarray
    edges: np.ndarray
    unclear: np.ndarray


def draw_scene(seed: tuple[int, ...], size: int = 128) -> Scene:
    """Draw one scene, ``size`` x ``size``; the same numbers draw the same scene."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    regions = np.zeros((size, size), np.int64)
    count = int(rng.integers(2, 9))
    for number in range(1, count + 1):
        shape = rng.choice(["blob", "ellipse", "vessel", "fold", "polygon"], p=[0.35, 0.2, 0.2, 0.15, 0.1])
        regions[SHAPES[shape](rng, y, x, size)] = number
    colors = _colors(rng, count + 1)  # (K, 3)
    clean = colors[regions]
    edges, unclear = _outlines(regions, colors)
    return Scene(_photograph(rng, clean, regions, count + 1, size), edges, unclear)


def _colors(rng: np.random.Generator, count: int) -> np.ndarray:
    """(K, 3) from 0 to 1: around one brightness and hue, with a spread that may be small."""
    spread = rng.choice([0.08, 0.15, 0.3])
    brightness = np.clip(rng.uniform(0.15, 0.8) + spread * rng.normal(size=(count, 1)), 0.02, 0.98)
    if rng.random() < 0.45:
        return np.repeat(brightness, 3, axis=1)
    hue = np.array([1.0, rng.uniform(0.4, 1.0), rng.uniform(0.3, 1.0)])  # reddish, as tissue is
    if rng.random() < 0.3:
        hue = rng.permutation(hue)
    return np.clip(brightness * hue + 0.4 * spread * rng.normal(size=(count, 3)), 0.0, 1.0)


def _outlines(regions: np.ndarray, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges, unclear = np.zeros(regions.shape, bool), np.zeros(regions.shape, bool)
    for axis in (0, 1):
        one, other = (np.delete(np.arange(regions.shape[axis]), end) for end in (-1, 0))
        here, there = np.take(regions, one, axis), np.take(regions, other, axis)
        visible = np.abs(colors[here] - colors[there]).max(axis=2) >= VISIBLE
        for found, mask in ((visible & (here != there), edges), (~visible & (here != there), unclear)):
            for side in (slice(None, -1), slice(1, None)):
                mask[(side, slice(None)) if axis == 0 else (slice(None), side)] |= found
    return edges, binary_dilation(unclear, iterations=2) & ~edges


def _photograph(
    rng: np.random.Generator, clean: np.ndarray, regions: np.ndarray, count: int, size: int
) -> np.ndarray:
    """Texture, light, highlights, blur and noise."""
    image = clean.copy()
    for region in range(count):
        if rng.random() < 0.6:
            grain = gaussian_filter(rng.normal(size=(size, size)), rng.uniform(0.7, 4.0))
            strength = rng.uniform(0.01, 0.07) / max(grain.std(), 1e-9)
            image[regions == region] += strength * grain[regions == region][:, None]
    light = gaussian_filter(rng.normal(size=(size, size)), size / rng.uniform(3.0, 6.0), mode="reflect")
    image *= 1 + rng.uniform(0.0, 0.35) * (light / max(np.abs(light).max(), 1e-9))[:, :, None]
    if rng.random() < 0.4:
        spots = np.zeros((size, size))
        for _ in range(int(rng.integers(1, 12))):
            spots[rng.integers(size), rng.integers(size)] = rng.uniform(10, 60)
        image += gaussian_filter(spots, rng.uniform(1.0, 3.0))[:, :, None].clip(0, 1)
    image = gaussian_filter(image, (*[rng.choice([0.5, 0.8, 1.2, 2.0])] * 2, 0))
    level = rng.uniform(0.0, 0.06) ** 1.2
    shared = rng.normal(size=(size, size, 1))
    own = rng.normal(size=(size, size, 3))
    gray = bool((clean.max(axis=2) == clean.min(axis=2)).all())
    image += level * (shared if gray else 0.6 * shared + 0.8 * own)
    return np.rint(255 * image.clip(0, 1)).astype(np.uint8)


def _radius(rng: np.random.Generator, angle: np.ndarray, waves: int) -> np.ndarray:
    total = np.ones_like(angle)
    for wave in range(2, waves + 2):
        total += rng.uniform(0, 0.35) / wave * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    return total


def _round(rng: np.random.Generator, y: np.ndarray, x: np.ndarray, size: int, waves: int) -> np.ndarray:
    center_y, center_x = rng.uniform(-0.1, 1.1, 2) * size
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 2.0)
    dy, dx = y - center_y, x - center_x
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    along, across = along / stretch**0.5, across * stretch**0.5
    mean = size * np.exp(rng.uniform(np.log(0.04), np.log(0.4)))
    return np.hypot(along, across) < mean * _radius(rng, np.arctan2(across, along), waves)


def _vessel(rng: np.random.Generator, y: np.ndarray, x: np.ndarray, size: int) -> np.ndarray:
    turn = rng.uniform(0, np.pi)
    along = (x - size / 2) * np.cos(turn) + (y - size / 2) * np.sin(turn)
    across = (y - size / 2) * np.cos(turn) - (x - size / 2) * np.sin(turn)
    middle = rng.uniform(-0.4, 0.4) * size
    for _ in range(2):
        length = rng.uniform(0.4, 1.5) * size
        middle = middle + rng.uniform(0, 0.1) * size * np.sin(2 * np.pi * along / length + rng.uniform(0, 7))
    return np.abs(across - middle) < rng.uniform(1.5, 0.07 * size)


def _fold(rng: np.random.Generator, y: np.ndarray, x: np.ndarray, size: int) -> np.ndarray:
    turn = rng.uniform(0, 2 * np.pi)
    along = (x - size / 2) * np.cos(turn) + (y - size / 2) * np.sin(turn)
    across = (y - size / 2) * np.cos(turn) - (x - size / 2) * np.sin(turn)
    wave = (
        rng.uniform(0, 0.12)
        * size
        * np.sin(2 * np.pi * along / (rng.uniform(0.3, 1.5) * size) + rng.uniform(0, 7))
    )
    return across > wave + rng.uniform(-0.1, 0.45) * size


def _polygon(rng: np.random.Generator, y: np.ndarray, x: np.ndarray, size: int) -> np.ndarray:
    center_y, center_x = rng.uniform(0, 1, 2) * size
    inside = np.ones(y.shape, bool)
    corners = int(rng.integers(3, 7))
    for number in range(corners):
        turn = 2 * np.pi * (number + rng.uniform(0, 0.6)) / corners
        distance = rng.uniform(0.08, 0.3) * size
        inside &= (x - center_x) * np.cos(turn) + (y - center_y) * np.sin(turn) < distance
    return inside


SHAPES = {
    "blob": lambda rng, y, x, size: _round(rng, y, x, size, waves=int(rng.integers(3, 9))),
    "ellipse": lambda rng, y, x, size: _round(rng, y, x, size, waves=0),
    "vessel": _vessel,
    "fold": _fold,
    "polygon": _polygon,
}
