"""What run.py does with images: PNG, JPEG, TIFF and BMP as Pillow reads them."""

import sys
from collections import Counter

import numpy as np
from PIL import Image, ImageOps
from shared import asked


def files_of(source, out, suffixes):
    """Return each image with its mask, called by the stem, or by the whole name where a stem is there twice."""
    files = asked(source, out, suffixes)
    stems = Counter(path.stem.casefold() for path in files)
    names = [f"{path.stem if stems[path.stem.casefold()] == 1 else path.name}.png" for path in files]
    held = {}
    for path, name in zip(files, names, strict=True):
        if (other := held.setdefault(name.casefold(), path)) != path:
            sys.exit(
                f"{other.name} and {path.name} would get masks of one name: rename one, or predict with metadcseg"
            )
    out.mkdir(parents=True, exist_ok=True)
    return [(path, out / name) for path, name in zip(files, names, strict=True)]


def read(path, model):
    """Return the image, normalized, as (1, H, W, C), and what writes its mask."""
    with Image.open(path) as opened:
        if getattr(opened, "n_frames", 1) > 1 and opened.format != "MPO":  # there the others are previews
            sys.exit(
                f"{path} holds {opened.n_frames} frames, a single one is allowed: save each as a file of its own"
            )
        tags = getattr(opened, "tag_v2", {})
        deep = ";16B" in str(opened.tile) or np.max(tags.get(258, 8)) > 8  # of PNG, of TIFF
        if deep and opened.mode in ("RGB", "RGBA", "LA"):
            sys.exit(
                f"{path} is 16-bit color, which Pillow cuts to 8: predict with metadcseg, or save it in gray"
            )
        image, white_zero = ImageOps.exif_transpose(opened), tags.get(262) == 0
    plain = image.mode in ("L", "RGB", "F") or image.mode.startswith("I")
    array = np.atleast_3d(image if plain else image.convert("L" if image.mode in ("1", "LA") else "RGB"))
    if white_zero and image.mode.startswith("I;16"):  # 8 bits Pillow has turned around
        array = 65535 - array
    if array.shape[2] == 3 and model["channels"] == 1:
        array = (array.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))[:, :, None]
    array = np.repeat(array, model["channels"] // array.shape[2], axis=2).astype(np.float64)
    spread = np.where(np.ptp(array, axis=(0, 1)) == 0, np.inf, array.std(axis=(0, 1)))
    values = np.array(list(model["values"].values()), np.uint8)

    def save(file, maps):
        Image.fromarray(values[maps[0].argmax(axis=0)]).save(file)

    return ((array - array.mean(axis=(0, 1))) / spread).astype(np.float32)[None], save
