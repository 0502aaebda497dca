"""Predict with model.onnx as model.json says: images (PNG, JPEG, TIFF) by Pillow, volumes (NIfTI) by nibabel.

python run.py IMAGES OUT [--probabilities]     IMAGES is a file or a folder; masks go to the folder OUT
"""

import json
import os
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
MODEL = json.loads((HERE / "model.json").read_text())
SESSION = onnxruntime.InferenceSession(HERE / MODEL["file"], providers=["CPUExecutionProvider"])


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


def network(maps):
    """(C, *size) -> (L, *size) probabilities; the edge is repeated up to a size that the network takes."""
    multiple, sizes = MODEL["input"]["multiple"], maps.shape[1:]
    more = [
        max(-(-a // multiple) * multiple, b) - a
        for a, b in zip(sizes, MODEL["input"]["smallest"], strict=True)
    ]
    padded = np.pad(maps, [(0, 0), *((0, number) for number in more)], "edge")
    found = SESSION.run(None, {MODEL["input"]["name"]: np.ascontiguousarray(padded[None])})[0][0]
    return found[(slice(None), *map(slice, sizes))]


def probabilities(stack):
    """Normalized slices (D, H, W, C), one of an image -> (D, L, H, W)."""
    *depth, high, wide = MODEL["grid"]
    planes = resize(np.moveaxis(stack, 3, 0), (high, wide), 2, smooth=True)  # (C, D, S, S)
    if depth:
        from volumes import predict_in_windows

        whole = predict_in_windows(resize(planes, depth, 1, smooth=True), network, MODEL["window"])
        found = resize(whole, stack.shape[:1], 1)
    else:
        found = np.stack([network(planes[:, number]) for number in range(len(stack))], axis=1)
    return resize(np.moveaxis(found, 1, 0), stack.shape[1:3], 2)


def replace(file, save):
    """Have a file written beside, then named: a link of that name is replaced, what it leads to stays."""
    with tempfile.TemporaryDirectory(prefix=".", dir=file.parent) as place:
        save(Path(place) / file.name)
        os.replace(Path(place) / file.name, file)


def names_of(files):
    """Return names of masks: stems, and whole names where a stem is there twice."""
    stems = Counter(path.stem.casefold() for path in files)
    names = [f"{path.stem if stems[path.stem.casefold()] == 1 else path.name}.png" for path in files]
    held = {}
    for path, name in zip(files, names, strict=True):
        if (other := held.setdefault(name.casefold(), path)) != path:
            sys.exit(
                f"{other.name} and {path.name} would get masks of one name: rename one, or predict with metadcseg"
            )
    return names


def predict_image(path, file):
    """Write a mask; return (1, L, H, W)."""
    from PIL import Image, ImageOps

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
    if array.shape[2] == 3 and MODEL["channels"] == 1:
        array = (array.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))[:, :, None]
    array = np.repeat(array, MODEL["channels"] // array.shape[2], axis=2).astype(np.float64)
    spread = np.where(np.ptp(array, axis=(0, 1)) == 0, np.inf, array.std(axis=(0, 1)))
    maps = probabilities(((array - array.mean(axis=(0, 1))) / spread).astype(np.float32)[None])
    values = np.array(list(MODEL["values"].values()), np.uint8)
    replace(file, Image.fromarray(values[maps[0].argmax(axis=0)]).save)
    return maps


def predict_volume(path, file):
    """Write labels on the volume's grid; return (D, L, H, W) of its slices."""
    from volumes import read_volume, write_labels

    stack, view, mask, image = read_volume(path, MODEL["preprocessing"], resize)
    maps = probabilities(stack)
    view[:] = [resize(planes, view.shape[1:], 1).argmax(axis=0) for planes in maps]
    replace(file, lambda draft: write_labels(draft, mask, image))
    return maps


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    among = sorted(source.iterdir()) if source.is_dir() else [source]
    shown = [path for path in among if path == source or not path.name.startswith(".")]
    files = [path for path in shown if path.name.lower().endswith(tuple(MODEL["suffixes"]))]
    if not files:
        sys.exit(f"{source}: none of {', '.join(MODEL['suffixes'])} is there")
    if out.resolve() in {place for path in files for place in (path.parent.resolve(), path.resolve().parent)}:
        sys.exit(f"{out}: masks would lie among the images, so name another folder")
    names = names_of(files) if MODEL["takes"] == "images" else [path.name for path in files]
    out.mkdir(parents=True, exist_ok=True)
    predict = predict_image if MODEL["takes"] == "images" else predict_volume
    for path, name in zip(files, names, strict=True):
        maps = predict(path, out / name)
        if "--probabilities" in sys.argv:
            replace(out / f"{path.name}.npy", partial(np.save, arr=maps))
