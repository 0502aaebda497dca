"""COCO instances: a file of runs, by pycocotools, for every tool that reads COCO."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metadcseg.audit.exchange.items import Item, Palette
from metadcseg.data.annotations.coco import masks
from metadcseg.files import write_bytes

FILE = "annotations.json"

_TOUCH = np.ones((3, 3), bool)  # pixels of one object touch, corners included


class CocoWriter:
    """Writes ``annotations.json``: an annotation for each connected part of a class.

    Args:
        out: the folder.
        palette: names of the classes.
    """

    def __init__(self, out: Path, palette: Palette) -> None:
        masks.require()
        self._out = out
        self._numbers = {label: n for n, (label, _, _) in enumerate(palette.entries, start=1)}
        self._categories = [
            {"id": self._numbers[label], "name": name, "supercategory": ""}
            for label, name, _ in palette.entries
        ]
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, item: Item) -> None:
        """Add an image and its annotations."""
        height, width = item.labels.shape
        name = f"{item.name}.png" if item.image is None else item.image.name
        image = {"id": len(self._images) + 1, "file_name": name, "height": height, "width": width}
        self._images.append(image)
        wrong = item.wrong.ravel("F")
        for label, number in self._numbers.items():
            for places in _parts(item.labels == label):
                runs = masks.frPyObjects(_runs(places, height, width), height, width)
                told = {
                    "id": len(self._annotations) + 1,
                    "image_id": image["id"],
                    "category_id": number,
                    "segmentation": {"size": [height, width], "counts": runs["counts"].decode("ascii")},
                    "area": len(places),
                    "bbox": [float(side) for side in masks.toBbox(runs)],
                    "iscrowd": 0,
                    "score": round(1 - float(wrong[places].mean()) / 255, 3),
                }
                self._annotations.append(told)

    def close(self) -> dict[str, Any]:
        """Write the file."""
        told = {"images": self._images, "annotations": self._annotations, "categories": self._categories}
        write_bytes(self._out / FILE, json.dumps(told).encode())
        return {"annotations": len(self._annotations)}


def _parts(shown: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Return where each connected part lies, counted column by column as COCO does, in one pass over all."""
    numbers, count = ndimage.label(shown, _TOUCH)
    flat = numbers.ravel("F")
    places = np.flatnonzero(flat)
    order = np.argsort(flat[places], kind="stable")
    ends = np.cumsum(np.bincount(flat[places], minlength=count + 1)[1:])
    return np.split(places[order], ends[:-1]) if count else []


def _runs(places: NDArray[np.int64], height: int, width: int) -> dict[str, list[int]]:
    """Return the lengths of runs, outside and inside in turn, of rising places."""
    first = np.flatnonzero(np.diff(places, prepend=-2) > 1)
    starts, ends = places[first], places[np.append(first[1:], len(places)) - 1] + 1
    edges = np.stack([starts, ends], axis=1).ravel()
    counts = np.diff(edges, prepend=0, append=height * width).tolist()
    return {"size": [height, width], "counts": counts if counts[-1] else counts[:-1]}
