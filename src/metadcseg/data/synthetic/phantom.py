"""A built-in phantom set: pictures of soft tissue drawn by code, with masks that are exact.

The demo and the tests need images that nobody has to download, whose true outline is known without
min_runner_up_probability, and
that are neither trivially easy nor hopeless. Every picture is tissue with one or two textured organs whose
outline is blurred and in part missing, beside bright blobs, vessels and specular dots that are no organ,
under a bias field and speckle. Neighboring numbers share a look, as the slices of one patient do.

A scene lives in units of the image's shorter side, origin at the image center, so it does not depend on the
pixel count: an image of three times the size shows the same scene, and the masks agree at common pixel
centers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.sources.case import RawCase
from metadcseg.data.synthetic.phantom_paint import Contour, Map, Organ, Style, draw_contour, paint_scene
from metadcseg.errors import InputError

_STYLE, _SCENE, _PIXELS = 1, 2, 3  # separate random streams: the scene must not depend on the pixel count


@dataclass(frozen=True)
class PhantomOptions:
    """What a phantom set holds.

    Args:
        count: number of images in all roles together.
        size: height and width in pixels, at least 16, with more than two classes at least 32.
        mixed_sizes: let every image have its own height and width, between 0.75 and 1.5 times ``size``.
        classes: number of classes with the background, 2 to 4: class 1 is an organ, class 2 a core within it,
            class 3 another organ beside it.
        seed: everything random follows from it and from the number of the image.
        difficulty: 0 (clear outlines, little noise) to 1 (weak contrast, outlines missing to a half).
        group: so many neighboring numbers form one pretended patient, with one look.

    Raises:
        InputError: where a value is out of its range.
    """

    count: int = 300
    size: int = 96
    mixed_sizes: bool = False
    classes: int = 2
    seed: int = 0
    difficulty: float = 0.5
    group: int = 4

    def __post_init__(self) -> None:
        ranges = {"count": (1, 1_000_000), "classes": (2, 4), "seed": (0, 2**63 - 1), "difficulty": (0, 1)}
        ranges["group"] = (1, 1_000_000)
        ranges["size"] = (16 if self.classes == 2 else 32, 4096)
        for name, (least, most) in ranges.items():
            if not least <= getattr(self, name) <= most:
                got = getattr(self, name)
                raise InputError(f"phantom {name} must be between {least} and {most}, got {got}: change it")


def draw_case(options: PhantomOptions, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one image and its mask.

    Args:
        options: what to draw; ``count`` does not matter here.
        index: the number of the image, from 0; same number, seed and options: same image.

    Returns:
        The image, (H, W, 1) uint8, and its mask, (H, W) uint8 with the classes 0 .. ``classes`` - 1: the
        class of the shape that the pixel's center lies in. Every class is there in every mask.

    Example:
        >>> image, mask = draw_case(PhantomOptions(size=32, classes=3), 7)
        >>> image.shape, sorted(set(mask.flatten().tolist()))
        ((32, 32, 1), [0, 1, 2])
    """
    style = _style(np.random.default_rng([options.seed, index // options.group, _STYLE]), options.difficulty)
    scene = np.random.default_rng([options.seed, index, _SCENE])
    factors = scene.uniform(0.75, 1.5, 2) if options.mixed_sizes else np.ones(2)
    height, width = (round(options.size * factor) for factor in factors)
    organs = _organs(scene, style, options)
    y, x = _grid(height, width)
    mask = np.zeros((height, width), np.uint8)
    for organ in organs:
        mask[organ.contour.depth(y, x)[0] > 0] = organ.label
    pixels = np.random.default_rng([options.seed, index, _PIXELS])
    return paint_scene(organs, style, options.difficulty, (scene, pixels), y, x), mask


def phantom_cases(
    options: PhantomOptions, gold: int | None = None, val: int | None = None, test: int | None = None
) -> Iterator[RawCase]:
    """Draw a set, case by case.

    Roles come in the order test, val, gold, train, and each starts with a new patient, so that no patient is
    in two roles and a larger ``count`` with the same numbers only adds training cases.

    Args:
        options: what to draw.
        gold: number of verified cases; 4 % of ``count`` by default.
        val: number of cases to choose the model on; 10 % by default.
        test: number of test cases; 20 % by default.

    Yields:
        ``count`` cases, every mask beyond doubt: noise for the training cases is injected
        afterwards.

    Raises:
        InputError: where nothing is left to train on.

    Example:
        >>> [case.role for case in phantom_cases(PhantomOptions(count=5, size=16), gold=1, val=1, test=1)]
        ['test', 'val', 'gold', 'train', 'train']
    """
    shares = {"test": (test, 0.2), "val": (val, 0.1), "gold": (gold, 0.04)}
    counts = {
        role: max(1, round(share * options.count)) if number is None else number
        for role, (number, share) in shares.items()
    }
    counts["train"] = options.count - sum(counts.values())
    if counts["train"] < 1 or min(counts.values()) < 0:
        asked = " + ".join(str(counts[role]) for role in ("gold", "val", "test"))
        raise InputError(
            f"phantom count={options.count} must exceed gold + val + test, each at least 0, got {asked}: "
            "raise count or lower the others"
        )
    return _drawn(options, counts)


def _drawn(options: PhantomOptions, counts: dict[str, int]) -> Iterator[RawCase]:
    start = 0
    for role, number in counts.items():
        for index in range(start, start + number):
            image, mask = draw_case(options, index)
            group = f"patient-{index // options.group:04d}"
            yield RawCase(f"phantom-{index:04d}", role, group, image, mask, verified=True)
        start += -(-number // options.group) * options.group  # the next role starts with a new patient


def _grid(height: int, width: int) -> tuple[Map, Map]:
    """Return the pixel centers (y, x), each (H, W), in shorter sides from the image center."""
    side = min(height, width)
    rows, columns = (np.arange(height) + 0.5 - height / 2) / side, (np.arange(width) + 0.5 - width / 2) / side
    return tuple(np.meshgrid(rows, columns, indexing="ij"))  # type: ignore[return-value]


def _style(rng: np.random.Generator, difficulty: float) -> Style:
    return Style(
        speckle=rng.uniform(0.05, 0.25) + 0.25 * difficulty,
        grain=rng.uniform(0.035, 0.06),
        layers=rng.uniform(1.0, 4.0),
        fibres=rng.normal(0.0, 0.3),
        brightness=rng.uniform(0.32, 0.4),
        contrast=rng.uniform(0.2, 0.28) - 0.1 * difficulty,
    )


def _organs(rng: np.random.Generator, style: Style, options: PhantomOptions) -> list[Organ]:
    """Draw the objects of one scene in the order in which they are painted, the later over the earlier."""

    def organ(contour: Contour, label: int, contrast: float) -> Organ:
        return Organ(
            contour=contour,
            label=label,
            contrast=contrast * style.contrast * rng.uniform(0.8, 1.2),
            grain=rng.uniform(0.05, 0.08),
            gap=(rng.uniform(-np.pi, np.pi), np.pi * options.difficulty * rng.uniform(0.2, 0.8)),
            blur=rng.uniform(0.006, 0.012 + 0.012 * options.difficulty),
            rim=rng.uniform(0.0, 0.15),
        )

    center = (rng.uniform(-0.16, 0.16), rng.uniform(-0.16, 0.16))
    main = draw_contour(rng, rng.uniform(0.13, 0.29), center)
    beside = _beside(rng, main)
    organs = [organ(main, 1, 1.0)]
    if options.classes == 2 and rng.random() < 0.3:
        organs.append(organ(beside, 1, 1.0))
    if options.classes >= 3:
        organs.append(organ(_core(rng, main), 2, -0.4))
    if options.classes == 4:
        organs.append(organ(beside, 3, -1.2))
    return organs


def _beside(rng: np.random.Generator, main: Contour) -> Contour:
    """Draw a smaller outline on that side of another one where the image has more room."""
    radius = rng.uniform(0.07, 0.12)
    direction = np.arctan2(-main.center[0], -main.center[1]) + rng.normal(0.0, 0.5)
    distance = 1.2 * (main.radius + radius)
    far = 0.5 - 0.7 * radius  # no farther out: most of it stays in the picture
    y = np.clip(main.center[0] + distance * np.sin(direction), -far, far)
    x = np.clip(main.center[1] + distance * np.cos(direction), -far, far)
    return draw_contour(rng, radius, (y, x))


def _core(rng: np.random.Generator, main: Contour) -> Contour:
    """Draw a smaller, rounder copy of an outline, which never crosses it."""
    rounder = rng.uniform(0.3, 1.0) * main.amplitudes
    return replace(main, radius=0.45 * main.radius, amplitudes=rounder)
