"""Small folders of real image files, made by the tests."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

KVASIR = Path(__file__).resolve().parents[3] / "../shared/data/kvasir-seg"


def picture(number, height=20, width=24, channels=3):
    """Return noise that differs from picture to picture, (H, W) or (H, W, 3) uint8."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def disc(height=20, width=24, value=255, dtype=np.uint8):
    """Return a mask with a disc of one value on zeros."""
    y, x = np.mgrid[:height, :width]
    return (value * ((y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) / 3) ** 2)).astype(
        dtype
    )


def save(path: Path, array, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make_folder(root: Path, count=12, gold=0) -> Path:
    """Write ``count`` clean cases case00 .. as PNG, and verified masks for the first ``gold`` of them.

    What was careless about these lies two pixels lower.
    """
    for number in range(count):
        save(root / "images" / f"case{number:02d}.png", picture(number))
        save(root / "masks" / f"case{number:02d}.png", np.roll(disc(), 2 if number < gold else 0, axis=0))
        if number < gold:
            save(root / "gold" / f"case{number:02d}.png", disc(value=1))
    return root


def codes(report):
    """Return the codes of a report's findings by severity."""
    held = {"error": set(), "warning": set(), "note": set()}
    for finding in report.findings:
        held[finding.severity].add(finding.code)
    return held


def mixed_folder(root):
    """Save a dozen real pairs as a reader would have them: sizes, formats and kinds of masks all mixed.

    Skips the test where there are no real images.
    """
    if not KVASIR.is_dir():
        pytest.skip(f"{KVASIR} is absent: real images are needed")
    for number in range(12):
        name, suffix = f"polyp-{number}", (".png", ".jpg", ".tif")[number % 3]
        size = (90 + 7 * number, 120 - 3 * number)
        with Image.open(KVASIR / "train" / "images" / f"{number}.jpg") as image:
            resized = image.resize(size)
            gray = number % 4 == 0
            save(root / "images" / f"{name}{suffix}", np.array(resized.convert("L") if gray else resized))
        with Image.open(KVASIR / "train" / "masks" / f"{number}.jpg") as mask:
            white = np.array(mask.resize(size, Image.Resampling.NEAREST)) > 127
        kinds = [
            white * np.uint8(255),
            white * np.uint8(1),
            np.repeat(white[:, :, None] * np.uint8(255), 3, axis=2),
        ]
        careless = np.roll(kinds[number % 3], 3 if number < 5 else 0, axis=1)
        save(root / "masks" / f"{name}{('.jpg', '.png', '.tif')[number % 3]}", careless)
        if number < 5:
            save(root / "gold" / f"{name}.png", kinds[0])
