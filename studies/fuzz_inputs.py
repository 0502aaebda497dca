"""What studies/fuzz.py mutates: a small file, folder or record of every kind that is read, and the ways to spoil it."""

import hashlib
import json
import os
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

TINY = (
    *("--network.width", "1", "--training.size", "32", "--training.batch", "2", "--training.gold_batch", "2"),
    *(
        "--training.threads",
        "1",
        "--training.accelerator",
        "cpu",
        "--training.figure_every",
        "0",
        "--epochs",
        "1",
    ),
)
SIZE = 16
BASES = ("folder", "set", "run", "audit", "folds", "bench", "volumes", "drawn", "texts")


def make_originals(home: Path, main) -> None:
    """Write every base into a folder, by the product itself where it writes them; ``main`` is the command line."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    folder = home / "folder"
    for part in ("images", "masks", "gold"):
        (folder / part).mkdir(parents=True)
    rows = ["id,role,group"]
    for number in range(8):
        disc = ((y - 8) ** 2 + (x - 6 - number % 3) ** 2 < 20).astype(np.uint8)
        image = (disc[..., None] * 90 + rng.integers(0, 90, (SIZE, SIZE, 3))).astype(np.uint8)
        ends = (".png", ".jpg", ".tif", ".bmp")
        Image.fromarray(image).save(folder / "images" / f"c{number}{ends[number % 4]}")
        Image.fromarray(np.roll(disc, 1, 0) * 255).save(folder / "masks" / f"c{number}.png")
        role = ("train", "train", "train", "train", "gold", "gold", "val", "test")[number]
        if role == "gold":
            Image.fromarray(disc * 255).save(folder / "gold" / f"c{number}.png")
        rows.append(f"c{number},{role},p{number}")
    (folder / "splits.csv").write_text("\n".join(rows))

    def run(*words) -> None:
        status = main([str(word) for word in words])
        if status != 0:
            raise RuntimeError(f"{words} ended with {status}")

    run("prepare", folder, "--out", home / "set", "--edges", "none")
    run("train", "--data", home / "set", "--out", home / "run", "--method", "supervised", *TINY)
    run("evaluate", home / "run")
    run("audit", home / "run", "--out", home / "audit")
    about = json.loads((home / "audit/audit.json").read_text())
    decided = [{"case": "c0", "verdict": "accept"}, {"case": "c1", "verdict": None, "regions": {}}]
    held = {
        "format": "metadcseg-decisions/1",
        "identity": about["identity"],
        "set": about["set"]["fingerprint"],
    }
    (home / "audit/decisions.json").write_text(json.dumps({**held, "decisions": decided}))
    folds = ("cross-validate", home / "set", "--out", home / "folds", "--folds", "2")
    run(*folds, "--method", "supervised", *TINY)
    task = {
        "id": "la/clean/a/seed-0",
        "set": "la",
        "noise": {"model": "paper", "rate": 0},
        "gold": None,
        "row": "a",
    }
    task |= {
        "seed": 0,
        "folder": "runs/a",
        "status": "done",
        "seconds": 1.0,
        "peak_bytes": 10**8,
        "folds": None,
    }
    (home / "bench/runs").mkdir(parents=True)
    bench = {
        "format": 1,
        "name": "x",
        "grid": {"rows": {"a": {}}},
        "machine": {},
        "seconds": 1.0,
        "tasks": [task],
    }
    (home / "bench/benchmark.json").write_text(json.dumps(bench))
    shutil.copytree(home / "run", home / "bench/runs/a")
    _volumes(home / "volumes")
    _drawn(home / "drawn")
    _texts(home / "texts")


def _volumes(folder: Path) -> None:
    import h5py
    import nibabel
    import SimpleITK as sitk
    from tests.unit.data.dicom import series

    folder.mkdir()
    array = np.random.default_rng(1).integers(0, 200, (6, 5, 4)).astype(np.int16)
    for name in ("a.nii", "a.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1.5, 2, 1])), folder / name)
    image = sitk.GetImageFromArray(array)
    for name, packed in (
        ("a.mha", False),
        ("z.mha", True),
        ("a.mhd", False),
        ("a.nrrd", True),
        ("b.nrrd", False),
    ):
        sitk.WriteImage(image, str(folder / name), useCompression=packed)
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("image", data=array, compression="gzip")
        file.create_dataset("label", data=(array > 100).astype("u1"))
    series(folder / "dicom", array)


def _drawn(folder: Path) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for name in "abcd":
        Image.fromarray(np.full((SIZE, SIZE), ord(name), np.uint8)).save(folder / "images" / f"{name}.png")
    polygon = [2, 2, 9, 2, 9, 9, 2, 9]
    images = [
        {"id": n, "file_name": f"{name}.png", "height": SIZE, "width": SIZE} for n, name in enumerate("abcd")
    ]
    drawn = [
        {
            "id": n,
            "image_id": n,
            "category_id": 1,
            "segmentation": [polygon],
            "iscrowd": 0,
            "area": 49,
            "bbox": [2] * 4,
        }
        for n in range(4)
    ]
    drawn[3] |= {"segmentation": {"counts": [20, 4, 232], "size": [SIZE, SIZE]}, "iscrowd": 1}
    coco = {"images": images, "annotations": drawn, "categories": [{"id": 1, "name": "organ"}]}
    (folder / "masks/coco.json").write_text(json.dumps(coco))
    points = [[2.0, 2.0], [9.0, 2.0], [9.0, 9.0]]
    others = {
        "labelme.json": {
            "version": "5.0",
            "flags": {},
            "imagePath": "a.png",
            "imageHeight": SIZE,
            "imageWidth": SIZE,
            "shapes": [
                {"label": "organ", "points": points, "shape_type": "polygon", "group_id": None, "flags": {}}
            ],
        },
        "studio.json": [
            {
                "id": 1,
                "data": {"image": "a.png"},
                "annotations": [
                    {
                        "id": 1,
                        "result": [
                            {
                                "type": "polygonlabels",
                                "original_width": SIZE,
                                "original_height": SIZE,
                                "value": {
                                    "points": [[10, 10], [60, 10], [60, 60]],
                                    "polygonlabels": ["organ"],
                                },
                            }
                        ],
                    }
                ],
            }
        ],
        "via.json": {
            "a.png1": {
                "filename": "a.png",
                "size": 1,
                "file_attributes": {},
                "regions": [
                    {
                        "shape_attributes": {
                            "name": "polygon",
                            "all_points_x": [2, 9, 9],
                            "all_points_y": [2, 2, 9],
                        },
                        "region_attributes": {"class": "organ"},
                    }
                ],
            }
        },
    }
    for name, content in others.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "cvat.xml").write_text(
        f'<annotations><version>1.1</version><image id="0" name="a.png" width="{SIZE}" height="{SIZE}">'
        '<polygon label="organ" points="2,2;9,2;9,9" occluded="0"/></image></annotations>'
    )


def _texts(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.yaml").write_text(
        "method: supervised\nseed: 3\nnetwork: {width: 1}\n"
        "training:\n  size: 16\n  lr: 0.01\n  augment: {zoom: [1, 2]}\n"
    )
    (folder / "grid.yaml").write_text(
        "sets: {la: some-set}\nnoise: [0, {model: over, rate: 0.4}]\nseeds: [0, 1]\nrows:\n"
        "  noisy-only: {method: supervised, gold: none}\n  noisy-gold: {method: supervised, gold: mixed}\n"
        "  clean: {method: supervised, labels: clean}\n  ours: {method: metadcseg}\n"
    )
    (folder / "dataset.json").write_text(
        json.dumps(
            {"labels": {"0": "background", "1": "x"}, "training": [{"image": "a.nii", "label": "b.nii"}]}
        )
    )
    (folder / "annotators.csv").write_text("id,annotator\na,anna\nb,ben\n")


ODD = [
    *(
        None,
        True,
        -1,
        0,
        1e308,
        -1e308,
        10**15,
        10**30,
        1.5,
        "",
        "x" * 4000,
        "\u202e\x1b[2J",
        "=1+1",
        [],
        {},
        [[]],
    ),
    *(
        {"a": 1},
        "../outside/victim.txt",
        "trap/victim.txt",
        "/dev/zero",
        "a\0b",
        2**31,
        2**63,
        "nan",
        [1] * 300,
    ),
]
TOKENS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "9" * 5000,
    "1e999",
    "[" * 3000,
    '"\\ud800"',
    "2026-99-99",
    "\ufffe",
    "{}",
]
NUMBERS = [
    b"1e+308",
    b"nan",
    b"-1",
    b"0",
    b"99999999999999999999",
    b"inf",
    b"((",
    b"",
    b"x" * 300,
    b"2147483647",
    b"0x7f",
]


def spoil_bytes(rng: random.Random, data: bytes) -> bytes:
    """Flip, cut, insert, repeat or overwrite bytes."""
    held = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        at, kind = rng.randrange(len(held) + 1), rng.randrange(6)
        if kind == 0 and held:
            held[at % len(held)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del held[at:]
        elif kind == 2:
            held[at:at] = rng.randbytes(rng.choice([1, 4, 64]))
        elif kind == 3:
            held[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
        elif kind == 4:
            begin = rng.randrange(len(held) + 1)
            held[at:at] = held[begin : begin + rng.choice([8, 256])]
        elif held:
            del held[at % len(held) : at % len(held) + rng.choice([1, 8, 64])]
    return bytes(held)


def spoil_tree(rng: random.Random, tree):
    """Replace, remove or repeat one place of a nested value."""
    places = []

    def walk(value) -> None:
        keys = (
            value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        )
        for key in keys:
            places.append((value, key))
            walk(value[key])

    walk(tree)
    if not places or rng.random() < 0.02:
        return rng.choice(ODD)
    for _ in range(rng.choice([1, 1, 2])):
        value, key = rng.choice(places)
        try:
            kind = rng.randrange(8)
            if kind == 0:
                del value[key]
            elif kind == 1 and isinstance(value, list):
                value.insert(key, value[key])
            elif kind == 2 and isinstance(value, dict):
                value[rng.choice(["x", "", "__class__", str(key) + "s"])] = value.pop(key)
            elif kind == 3:
                value[key] = rng.choice(places)[0]
                json.dumps(value)  # a circle is no JSON
            elif kind == 4 and isinstance(value[key], int | float) and not isinstance(value[key], bool):
                value[key] = rng.choice(
                    [-value[key], value[key] + 1, value[key] * 10**6, float(value[key]), value[key] / 3]
                )
            else:
                value[key] = rng.choice(ODD)
        except (KeyError, IndexError, ValueError, RecursionError, OverflowError):
            if isinstance(value, list):
                value[key : key + 1] = []
            else:
                value[key] = None
    return tree


def spoil_json(rng: random.Random, data: bytes) -> bytes:
    """Spoil the tree of a JSON text, one line of it where there are many, or one of its tokens."""
    lines = data.split(b"\n")
    table = len(lines) > 1 and lines[0].startswith(b"{") and lines[0].endswith(b"}")
    at = rng.randrange(max(1, len([line for line in lines if line]))) if table else 0
    part = lines[at] if table else data
    try:
        text = json.dumps(spoil_tree(rng, json.loads(part)))
    except (ValueError, TypeError, RecursionError):
        return spoil_bytes(rng, data)
    if rng.random() < 0.15:
        values = [
            place for place in range(len(text)) if text[place] in "0123456789" and text[place - 1] in " [:"
        ]
        if values:
            place = rng.choice(values)
            text = text[:place] + rng.choice(TOKENS) + text[place + 1 :]
    return (
        b"\n".join([*lines[:at], text.encode("utf-8", "surrogatepass"), *lines[at + 1 :]])
        if table
        else text.encode()
    )


def spoil_text(rng: random.Random, data: bytes) -> bytes:
    """Spoil a text of lines: YAML, CSV, XML, or the header of a volume with what follows it."""
    head, binary = data[:4096], data[4096:]
    if (cut := max(head.find(b"LOCAL\n") + 6, head.find(b"\n\n") + 2)) > 6:
        head, binary = data[:cut], data[cut:]
    lines = head.split(b"\n")
    at = rng.randrange(len(lines))
    kind = rng.randrange(6)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, rng.choice(lines))
    elif kind == 2:
        extra = [
            b"a: &a [*a]",
            b"x: &x [1,1]\ny: &y [*x,*x]\nz: [*y,*y]",
            b"seed: .nan",
            b"- - - -",
            b"\xff\xfe",
            b"\t:",
        ]
        lines.insert(at, rng.choice(extra))
    else:
        words = lines[at].split(b" ")
        words[rng.randrange(len(words))] = rng.choice([*NUMBERS, *(token.encode() for token in TOKENS)])
        lines[at] = b" ".join(words)
    return b"\n".join(lines) + binary


def spoil_numbers(rng: random.Random, data: bytes, header: int = 352) -> bytes:
    """Overwrite numbers of a binary header: 2, 4 or 8 bytes at even places."""
    held = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        width = rng.choice([2, 4, 8])
        at = rng.randrange(0, max(2, min(header, len(held)) - width), 2)
        held[at : at + width] = rng.choice(
            [b"\xff" * width, b"\0" * width, b"\x7f" * width, rng.randbytes(width)]
        )
    return bytes(held)


def spoil_file(rng: random.Random, path: Path) -> str:
    """Spoil a file in the way of its kind; return how."""
    if rng.random() < 0.03:
        return _replace(rng, path)
    data, name = path.read_bytes(), path.name.lower()
    kind = "bytes"
    if rng.random() < 0.25:
        data = spoil_bytes(rng, data)
    elif name.endswith((".json", ".jsonl")):
        kind, data = "tree", spoil_json(rng, data)
    elif name.endswith((".yaml", ".csv", ".xml", ".txt", ".mha", ".mhd", ".nrrd")) or name == "sha256sums":
        kind, data = "lines", spoil_text(rng, data)
    elif name.endswith(".nii.gz"):
        import gzip

        kind, data = "header", gzip.compress(spoil_numbers(rng, gzip.decompress(data)))
    elif name.endswith(".pt"):
        kind, data = "state", _spoil_state(rng, path)
    elif name.endswith(".npz"):
        kind, data = "entry", _spoil_npz(rng, path)
    elif name.endswith(".safetensors"):
        length = int.from_bytes(data[:8], "little")
        head = spoil_json(rng, data[8 : 8 + length])
        kind, data = "header", len(head).to_bytes(8, "little") + head + data[8 + length :]
    elif name.startswith("c.") or name.endswith((".nii", ".h5", ".dcm", ".png", ".tif", ".jpg", ".bmp")):
        kind, data = "header", spoil_numbers(rng, data, 64 if name.startswith("c.") else 400)
    else:
        data = spoil_bytes(rng, data)
    path.write_bytes(data)
    return kind


def _replace(rng: random.Random, path: Path) -> str:
    """Put something else in the place of a file."""
    path.unlink()
    kind = rng.choice(["pipe", "folder", "dangling link", "device", "empty", "missing"])
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("dangling link", "device"):
        path.symlink_to("/dev/zero" if kind == "device" else "gone")
    elif kind == "empty":
        path.touch()
    return kind


def _spoil_state(rng: random.Random, path: Path) -> bytes:
    """Spoil the values in a checkpoint, tensors among them."""
    import io

    import torch

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(held) for key, held in value.items()}
        return [plain(held) for held in value] if isinstance(value, list | tuple) else value

    state = plain(torch.load(path, weights_only=True))
    odd = [
        torch.zeros(3),
        torch.zeros(0),
        torch.tensor(float("nan")),
        torch.zeros(1).expand(10**6),
        torch.ones(2, 2).int(),
    ]
    before, ODD[:] = list(ODD), [*ODD, *odd]
    try:
        state = spoil_tree(rng, state)
    except TypeError:
        pass
    finally:
        ODD[:] = before
    sink = io.BytesIO()
    torch.save(state, sink)
    return sink.getvalue()


def _spoil_npz(rng: random.Random, path: Path) -> bytes:
    import io

    sink = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            data = old.read(name)
            if name == chosen and name == "case.npy" and rng.random() < 0.8:
                text = json.dumps(spoil_tree(rng, json.loads(str(np.load(io.BytesIO(data))))))
                inner = io.BytesIO()
                np.save(inner, np.array(text))
                data = inner.getvalue()
            elif name == chosen:
                data = spoil_text(rng, data) if rng.random() < 0.3 else spoil_numbers(rng, data, 128)
            new.writestr(name, data)
    return sink.getvalue()


def seal(folder: Path) -> None:
    """Make the checksums of a set fit again, as somebody hostile would."""
    if not all(path.is_file() for path in folder.rglob("*") if not path.is_dir()):
        return  # a pipe, over which reading would wait
    try:
        manifest = json.loads((folder / "set.json").read_bytes())
        for name in manifest["sha256"]:
            manifest["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        (folder / "set.json").write_text(json.dumps(manifest))
        files = [
            folder / "set.json",
            *(folder / name for name in manifest["sha256"]),
            *folder.glob("arrays/*/zarr.json"),
        ]
        lines = [
            f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(folder).as_posix()}\n"
            for f in files
        ]
        (folder / "SHA256SUMS").write_text("".join(lines))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
