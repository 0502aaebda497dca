"""Files as drawing tools write them, made by the tests, and the folders around them."""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from tests.unit.data.folders import picture, save

from metadcseg.data.prepare.checks import check_folder
from metadcseg.data.prepare.pipeline import prepare_folder
from metadcseg.data.store.reader import PreparedSet

HEIGHT, WIDTH = 20, 24
NAMES = ("a", "b", "c", "d")


def images(folder: Path, names=NAMES, **options) -> Path:
    """Write images/NAME.png, all train but c (val) and d (test)."""
    roles = {"c": "val", "d": "test"}
    for number, name in enumerate(names):
        save(folder / "images" / f"{name}.png", picture(number, HEIGHT, WIDTH), **options)
    rows = [f"{name},{roles.get(name, 'train')}" for name in names]
    (folder / "splits.csv").write_text("\n".join(["id,role", *rows]))
    return folder


def put(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def block(top, left, bottom, right, value=1, under=None):
    """Return a mask with a block of one value."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8) if under is None else under.copy()
    mask[top:bottom, left:right] = value
    return mask


def corners(top, left, bottom, right):
    """Return the corners of a block, (x, y)."""
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def stored(folder: Path, tmp_path: Path, **options):
    """Prepare a folder and return its labels by case and the names of its classes."""
    prepare_folder(folder, tmp_path / "set", edges="none", **options)
    held = PreparedSet.open(tmp_path / "set")
    return {case.id: held.label(case) for case in held.cases}, held.classes


def said(folder: Path, severity=None):
    """Return what check says, one string."""
    found = check_folder(folder).findings
    return "\n".join(each.sentence for each in found if severity in (None, each.severity))


def png(array) -> str:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def coco(entries, categories=((1, "polyp"),), size=(HEIGHT, WIDTH)):
    """Return a COCO file: entries are (file name, [(category, segmentation), ...])."""
    annotations = [
        {
            "id": 100 * number + place,
            "image_id": number,
            "category_id": category,
            "segmentation": segmentation,
            "iscrowd": int(isinstance(segmentation, dict)),
            "area": 1.0,
            "bbox": [0, 0, 1, 1],
        }
        for number, (_, drawn) in enumerate(entries)
        for place, (category, segmentation) in enumerate(drawn)
    ]
    return {
        "info": {"description": "drawn"},
        "licenses": [],
        "images": [
            {"id": number, "file_name": name, "height": size[0], "width": size[1]}
            for number, (name, _) in enumerate(entries)
        ],
        "annotations": annotations,
        "categories": [{"id": id, "name": name, "supercategory": ""} for id, name in categories],
    }


def ring(top, left, bottom, right):
    """Return a block as COCO has it."""
    return [[float(each) for corner in corners(top, left, bottom, right) for each in corner]]


def labelme(shapes, name="a", size=(HEIGHT, WIDTH)):
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": [
            {"label": label, "points": places, "group_id": None, "shape_type": kind, "flags": {}, **more}
            for label, kind, places, *rest in shapes
            for more in [rest[0] if rest else {}]
        ],
        "imagePath": f"../images/{name}.png",
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }


def via(entries, project=False):
    """Return a file of VIA: entries are (file name, [(shape attributes, region attributes), ...])."""
    held = {
        f"{name}{number}": {
            "filename": name,
            "size": 1000 + number,
            "regions": [{"shape_attributes": shape, "region_attributes": region} for shape, region in drawn],
            "file_attributes": {},
        }
        for number, (name, drawn) in enumerate(entries)
    }
    if not project:
        return held
    return {
        "_via_settings": {"ui": {}, "core": {}, "project": {"name": "x"}},
        "_via_img_metadata": held,
        "_via_attributes": {"region": {}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(held),
    }


def task(number, image, results, **more):
    """Return a task of Label Studio with one annotation."""
    annotation = {"id": 10 + number, "completed_by": 1, "was_cancelled": False, "result": results}
    return {"id": number, "annotations": [annotation | more], "data": {"image": image}, "predictions": []}


def result(value, kind, size=(HEIGHT, WIDTH)):
    return {
        "id": "r1",
        "type": kind,
        "from_name": "tag",
        "to_name": "image",
        "original_width": size[1],
        "original_height": size[0],
        "image_rotation": 0,
        "value": value,
    }


def packed(mask, pieces=None):
    """Return a mask in runs as the description of rle-pack has them, a row a piece: runs where a row is of one value.

    Args:
        mask: (H, W) bool.
        pieces: whether every piece is written as it is; None where only mixed rows are.
    """
    words = np.zeros((*mask.shape, 4), np.uint8)
    words[mask] = (64, 10, 20, 255)
    if pieces is None:
        words[mask] = 255
    sizes = (3, 7, 11, 15)  # bits of a length, less one
    bits = f"{words.size:032b}{7:05b}" + "".join(f"{size:04b}" for size in sizes)
    for row in words.reshape(mask.shape[0], -1):
        same = bool((row == row[0]).all())
        kind = next(place for place, size in enumerate(sizes) if len(row) - 1 < 2 ** (size + 1))
        bits += f"{int(same)}{kind:02b}{len(row) - 1:0{sizes[kind] + 1}b}"
        bits += "".join(f"{word:08b}" for word in (row[:1] if same else row))
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]
