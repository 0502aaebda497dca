"""How a phantom scene becomes a picture: outlines, textures, tissue, distractors and the scanner's faults.

Lengths are in units of the image's shorter side, brightness is from 0 (black) to 1 (white).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Map = NDArray[np.float64]
Spectrum = Callable[[Map, Map], Map]
"""Maps the frequencies (fy, fx), in cycles per shorter side, to the amplitudes of a texture."""


@dataclass(frozen=True)
class Contour:
    """A closed smooth outline: an ellipse whose radius is a random Fourier series of the angle.

    Args:
        center: (y, x), in shorter sides of the image from its center.
        radius: the mean radius before stretching.
        stretch: the long axis is so many times longer, the short one shorter.
        angle: of the long axis, in radians.
        amplitudes: (K,) of the harmonics 2 .. K+1, relative to the radius; absolute sum below 1.
        phases: (K,) in radians.
    """

    center: tuple[float, float]
    radius: float
    stretch: float
    angle: float
    amplitudes: Map
    phases: Map

    def depth(self, y: Map, x: Map) -> tuple[Map, Map]:
        """Return how deep points lie inside, measured along the ray from the center, and that ray's angle.

        The shape is where the depth is positive; negative depths are outside.
        """
        dy, dx = y - self.center[0], x - self.center[1]
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        along, across = (dx * cos + dy * sin) / self.stretch, (dy * cos - dx * sin) * self.stretch
        theta = np.arctan2(across, along)
        series = np.concatenate([[1.0, 0.0], self.amplitudes * np.exp(1j * self.phases)])
        outline = np.polynomial.polynomial.polyval(np.exp(1j * theta), series).real
        return self.radius * outline - np.hypot(along, across), theta


@dataclass(frozen=True)
class Organ:
    """One object of a class, and how it shows.

    Args:
        contour: its outline.
        label: its class.
        contrast: brightness above the tissue's mean.
        grain: strength of its own texture.
        gap: (angle, half width) in radians of the part of the outline where it fades into the tissue.
        blur: softness of the outline where it is visible, in shorter sides.
        rim: brightness of the capsule along the visible outline.
    """

    contour: Contour
    label: int
    contrast: float
    grain: float
    gap: tuple[float, float]
    blur: float
    rim: float


@dataclass(frozen=True)
class Style:
    """The look that the images of one group share."""

    speckle: float  # 0.1 magnetic resonance .. 0.5 ultrasound
    grain: float  # wavelength of the organ texture, in shorter sides
    layers: float  # how much longer the tissue is along its fibres
    fibres: float  # direction of the fibres, radians
    brightness: float
    contrast: float


def paint_scene(
    organs: list[Organ],
    style: Style,
    difficulty: float,
    rngs: tuple[np.random.Generator, np.random.Generator],
    y: Map,
    x: Map,
) -> NDArray[np.uint8]:
    """Paint tissue, organs and distractors, then let the pretended scanner spoil them.

    Args:
        organs: in the order of painting, the later over the earlier.
        style: the look.
        difficulty: from 0 to 1.
        rngs: for the things in the scene, and for the textures and noise, which depend on the pixel count.
        y: (H, W) of the pixel centers, from the image center.
        x: (H, W), likewise.

    Returns:
        The picture, (H, W, 1).
    """
    scene, pixels = rngs
    tissue = style.brightness + (0.04 + 0.04 * difficulty) * _field(
        pixels, y, _cloud(1.6, style.layers, style.fibres)
    )
    for organ in organs:
        tissue = _paint(tissue, organ, style, _field(pixels, y, _grain(style.grain)), y, x)
    tissue = _distract(tissue, style, difficulty, scene, y, x)
    bias = np.exp(0.18 * _field(pixels, y, _cloud(4.0)) - scene.uniform(0.0, 0.3) * y)
    picture = tissue * bias * _speckle(pixels, style.speckle, y)
    noisy = picture + 0.015 * pixels.standard_normal(y.shape)
    return np.asarray(np.clip(np.rint(noisy * 255.0), 0, 255), np.uint8)[:, :, None]


def draw_contour(rng: np.random.Generator, radius: float, center: tuple[float, float]) -> Contour:
    """Draw a random outline of a mean radius around a center (y, x)."""
    harmonics = np.arange(2, 7)
    amplitudes = rng.uniform(-0.3, 0.3, len(harmonics)) / (harmonics - 0.8)  # their sum stays below 0.61
    phases = rng.uniform(0, 2 * np.pi, len(harmonics))
    return Contour(center, radius, rng.uniform(1.0, 1.3), rng.uniform(0, np.pi), amplitudes, phases)


def _field(rng: np.random.Generator, y: Map, spectrum: Spectrum) -> Map:
    """Draw a random texture of mean 0 and standard deviation 1 with a given amplitude spectrum."""
    height, width = y.shape
    side = min(height, width)
    fy, fx = np.meshgrid(np.fft.fftfreq(height) * side, np.fft.rfftfreq(width) * side, indexing="ij")
    amplitude = spectrum(fy, fx)
    amplitude[0, 0] = 0.0
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(y.shape)) * amplitude, s=y.shape)
    return np.asarray(field / field.std())


def _cloud(slope: float, layers: float = 1.0, fibres: float = 0.0) -> Spectrum:
    """Return the spectrum of a multi-scale texture, drawn out along the fibres."""

    def response(fy: Map, fx: Map) -> Map:
        along = fx * np.cos(fibres) + fy * np.sin(fibres)
        across = fy * np.cos(fibres) - fx * np.sin(fibres)
        return np.asarray((0.5 + np.hypot(along * layers, across)) ** -slope)

    return response


def _grain(wavelength: float) -> Spectrum:
    """Return the spectrum of a texture of one scale, the wavelength in shorter sides."""
    return lambda fy, fx: np.asarray(np.exp(-(((np.hypot(fy, fx) * wavelength - 1.0) / 0.4) ** 2)))


def _paint(tissue: Map, organ: Organ, style: Style, texture: Map, y: Map, x: Map) -> Map:
    """Return the tissue with an organ in it that fades away towards the missing part of its outline."""
    depth, theta = organ.contour.depth(y, x)
    middle, width = organ.gap
    missing = expit((np.cos(theta - middle) - np.cos(width)) / 0.1)
    reach = 0.3 * organ.contour.radius
    shown = expit(depth / organ.blur) * (1.0 - missing * np.exp(-np.maximum(depth, 0.0) / reach))
    flesh = 0.5 * (tissue + style.brightness) + organ.contrast + organ.grain * texture
    rim = organ.rim * (1.0 - missing) * np.exp(-((depth / 0.012) ** 2))
    return np.asarray(tissue + shown * (flesh - tissue) + rim)


def _distract(tissue: Map, style: Style, difficulty: float, rng: np.random.Generator, y: Map, x: Map) -> Map:
    """Return the tissue with things in it that are as bright as an organ and are none."""
    for _ in range(rng.integers(2, 4 + round(3 * difficulty))):  # smooth blobs, as bright as an organ
        radius, center = rng.uniform(0.03, 0.08), (rng.uniform(-0.45, 0.45), rng.uniform(-0.45, 0.45))
        depth, _ = draw_contour(rng, radius, center).depth(y, x)
        tissue = tissue + style.contrast * rng.uniform(0.6, 1.3) * expit(depth / rng.uniform(0.008, 0.03))
    for _ in range(rng.integers(1, 4)):  # vessels: dark or bright, thin and curved
        angle, offset, phase = rng.uniform(0, np.pi), rng.uniform(-0.45, 0.45), rng.uniform(0, 2 * np.pi)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        bend = across - offset - 0.06 * np.sin(rng.uniform(3, 9) * along + phase)
        thickness = rng.uniform(0.006, 0.014)
        tissue = tissue + rng.choice([-0.12, 0.16]) * np.exp(-((bend / thickness) ** 2))
    for _ in range(rng.integers(0, 7)):  # specular reflections
        py, px, spread = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), rng.uniform(0.006, 0.014)
        tissue = tissue + rng.uniform(0.3, 0.7) * np.exp(-((y - py) ** 2 + (x - px) ** 2) / spread**2)
    return tissue


def _speckle(rng: np.random.Generator, strength: float, y: Map) -> Map:
    """Return multiplicative speckle of mean about one: the envelope of a complex random field."""

    def beam(fy: Map, fx: Map) -> Map:  # coarser across the beam than along it, as an ultrasound probe sees
        return np.asarray(np.exp(-((fx / 18.0) ** 2) - (fy / 34.0) ** 2))

    envelope = np.hypot(_field(rng, y, beam), _field(rng, y, beam))
    return np.asarray(1.0 - strength + strength * envelope / np.sqrt(np.pi / 2.0))
