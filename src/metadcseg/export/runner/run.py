"""Predict with model.onnx as model.json says; images.py or volumes.py beside it knows the files.

python run.py IMAGES OUT [--probabilities]     IMAGES is a file or a folder; masks go to the folder OUT
"""

import importlib
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
MODEL = json.loads((HERE / "model.json").read_text())
SESSION = onnxruntime.InferenceSession(HERE / MODEL["file"], providers=["CPUExecutionProvider"])
sys.path.insert(0, str(HERE))
KIND, resize = importlib.import_module(MODEL["takes"]), importlib.import_module("shared").resize


def network(maps):
    """(C, *size) -> (L, *size) probabilities; the edge is repeated up to a size that the network takes."""
    sides = maps.shape[1:]
    fitting = [-(-a // MODEL["input"]["multiple"]) * MODEL["input"]["multiple"] for a in sides]
    more = [max(pair) - a for *pair, a in zip(fitting, MODEL["input"]["smallest"], sides, strict=True)]
    padded = np.pad(maps, [(0, 0), *((0, number) for number in more)], "edge")
    found = SESSION.run(None, {MODEL["input"]["name"]: np.ascontiguousarray(padded[None])})[0][0]
    return found[(slice(None), *map(slice, sides))]


def probabilities(stack):
    """Normalized slices (D, H, W, C), one of an image -> (D, L, H, W)."""
    planes = resize(np.moveaxis(stack, 3, 0), MODEL["grid"][-2:], 2, smooth=True)  # (C, D, S, S)
    if len(MODEL["grid"]) == 3:  # a network of volumes
        planes = resize(planes, MODEL["grid"][:1], 1, smooth=True)
        found = resize(KIND.predict_in_windows(planes, network, MODEL["window"]), stack.shape[:1], 1)
    else:
        found = np.stack([network(planes[:, number]) for number in range(len(stack))], axis=1)
    return resize(np.moveaxis(found, 1, 0), stack.shape[1:3], 2)


def replace(file, save, maps):
    """Have a file written beside, then named: a link of that name is replaced, what it leads to stays."""
    with tempfile.TemporaryDirectory(prefix=".", dir=file.parent) as place:
        save(Path(place) / file.name, maps)
        os.replace(Path(place) / file.name, file)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    for path, file in KIND.files_of(Path(sys.argv[1]), Path(sys.argv[2]), MODEL["suffixes"]):
        stack, save = KIND.read(path, MODEL)
        maps = probabilities(stack)
        replace(file, save, maps)
        if "--probabilities" in sys.argv:
            replace(file.with_name(f"{path.name}.npy"), np.save, maps)
