"""COCO instances: a file of runs, by pycocotools, for every tool that reads COCO."""

import json
from pathlib import Path
from typing import Any

import numpy as np
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
        for label, number in self._numbers.items():
            parts, count = ndimage.label(item.labels == label, _TOUCH)
            for part in range(1, count + 1):
                inside = parts == part
                runs = masks.encode(np.asfortranarray(inside, np.uint8))
                told = {
                    "id": len(self._annotations) + 1,
                    "image_id": image["id"],
                    "category_id": number,
                    "segmentation": {"size": [height, width], "counts": runs["counts"].decode("ascii")},
                    "area": int(inside.sum()),
                    "bbox": [float(side) for side in masks.toBbox(runs)],
                    "iscrowd": 0,
                    "score": round(1 - float(item.wrong[inside].mean()) / 255, 3),
                }
                self._annotations.append(told)

    def close(self) -> dict[str, Any]:
        """Write the file."""
        told = {"images": self._images, "annotations": self._annotations, "categories": self._categories}
        write_bytes(self._out / FILE, json.dumps(told).encode())
        return {"annotations": len(self._annotations)}
