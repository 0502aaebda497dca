"""Label Studio: brush strokes, polygons, rectangles and ellipses of its JSON export, and the names of its PNG export.

Strokes are alpha in runs: bits that say how many bits a number has, then runs and literals of bytes, four for each
pixel. As in its PNG export, alpha above 127 belongs to the shape. Places are percent of the stated size.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import numpy as np
from msgspec import UNSET, Meta, Struct
from numpy.typing import NDArray

from metadcseg.data.annotations.shapes import Drawn, Entry, Export, Patch, Shape, Size, box, ellipse, polygon
from metadcseg.data.annotations.values import (
    class_name,
    image_size,
    number,
    numbers,
    person,
    points,
    stem_candidates,
)
from metadcseg.data.findings import plural
from metadcseg.data.formats.images import read_mask
from metadcseg.errors import InputError, shown
from metadcseg.schemas import fitting, part

PNG_NAME = re.compile(r"task-(\d+)-annotation-(\d+)-by-(.*?)-tag-(.+)-(\d+)\.png", re.IGNORECASE)
"""Task, annotation, annotator, class and number of a file of its PNG export."""

_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
_LABELS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels", "labels")
_SHAPES = ("rle", "points", "height", "radiusX")
_Byte = Annotated[int, Meta(ge=0, le=255)]
_CHANNELS = 4
_HALF = 127


class ResultSaid(Struct):
    """A shape, choice or text of an annotation; what is wrong with it is the fault of its image alone."""

    id: Any = None
    value: Any = None
    image_rotation: Any = None
    original_height: Any = None
    original_width: Any = None


class AnnotationSaid(Struct):
    """What one person has drawn on an image; its results are read where nobody else has."""

    result: Any = None
    was_cancelled: Any = False
    completed_by: Any = None


class TaskSaid(Struct):
    """A task: an image, and its annotations, which were once called completions; only what is used is looked at."""

    data: Any = UNSET
    id: Any = None
    annotations: Any = UNSET
    completions: Any = UNSET


def is_label_studio(content: object) -> bool:
    """Return whether a JSON file is an export of Label Studio: tasks with data, or its short form (JSON-MIN)."""
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return False
    first = content[0]
    return ("data" in first and bool({"annotations", "completions"} & set(first))) or "annotation_id" in first


def read(path: Path, content: list[Any]) -> Export:
    """Return what the file says about the image of each task that somebody has annotated.

    Raises:
        InputError: where it is the short form, or its tasks are not understood.
    """
    entries = []
    waiting, again = 0, "export it again"
    tasks: list[TaskSaid] = fitting(content, list[TaskSaid], str(path), again)
    for task in tasks:
        if task.data is UNSET:
            raise InputError(f"{path} is the short form of Label Studio (JSON-MIN): export JSON instead")
        said = f"{path}: task {shown(task.id)}"
        held = task.completions if task.annotations is UNSET else task.annotations
        if held is UNSET:
            raise InputError(f"{said} lacks 'annotations': {again}")
        drawn: list[AnnotationSaid] = fitting(held, list[AnnotationSaid], f"{said}: 'annotations'", again)
        done = [each for each in drawn if not each.was_cancelled]
        waiting += not done
        if done:
            data = fitting(task.data, dict[str, Any], f"{said}: 'data'", again)
            entries.append(_entry(path, task, data, done, said))
    notes = (f"{plural(waiting, 'task')} without annotation, passed over",) if waiting else ()
    return Export(tuple(entries), (), notes)


def read_pngs(paths: Sequence[Path]) -> Export:
    """Return what the files of a PNG export say; they name tasks, so images are called ``N`` or ``task-N``.

    Args:
        paths: whose names are those of the export.
    """
    tasks: dict[str, dict[str, list[tuple[Path, str]]]] = {}
    for path in sorted(paths):
        found = PNG_NAME.fullmatch(path.name)
        assert found is not None, "it was asked for"  # noqa: S101
        task, annotation, _, name, _ = found.groups()
        tasks.setdefault(task, {}).setdefault(annotation, []).append((path, name))
    entries = []
    for task, drawn in tasks.items():
        files = next(iter(drawn.values()))
        shapes = tuple(Shape(class_name(name), path.name, path) for path, name in files)
        mask = Drawn(files[0][0], tuple(path for path, _ in files), None, shapes, paint_png)
        many = f"annotations {', '.join(drawn)} of task {task}" if len(drawn) > 1 else ""
        entries.append(Entry(files[0][0], (f"task-{task}", task), mask, many))
    return Export(tuple(entries))


def paint(held: dict[str, Any], size: Size) -> Patch:
    """Return the pixels of a result.

    Raises:
        InputError: where it has no shape that is known, or its numbers make no sense.
    """
    height, width = size
    if "rle" in held:
        rgba = decode_runs(held["rle"], height * width * _CHANNELS).reshape(*size, _CHANNELS)
        return Patch(0, 0, rgba[..., 3] > _HALF)
    if "points" in held:
        return polygon([[(x * width / 100, y * height / 100) for x, y in points(held["points"])]], size)
    angle = math.radians(math.fmod(number(held.get("rotation") or 0, "'rotation'"), 360))
    if "radiusX" in held:
        x, y, first, second = numbers(held, "x", "y", "radiusX", "radiusY")
        radii = (first * width / 100, second * height / 100)
        return ellipse((x * width / 100, y * height / 100), radii, size, angle)
    x, y, wide, high = numbers(held, "x", "y", "width", "height")
    left, top = x * width / 100, y * height / 100
    corners = box(0, 0, wide * width / 100, high * height / 100)
    cosine, sine = math.cos(angle), math.sin(angle)  # about its first corner
    return polygon([[(left + a * cosine - b * sine, top + a * sine + b * cosine) for a, b in corners]], size)


def paint_png(held: Path, size: Size) -> Patch:
    """Return the pixels of a file of the PNG export.

    Raises:
        InputError: where it cannot be read or has another size than the image.
    """
    array = read_mask(held).array
    if array.shape != size:
        sides = " x ".join(map(str, array.shape))
        raise InputError(f"has {sides} pixels (rows x columns), its image {size[0]} x {size[1]}")
    return Patch(0, 0, array > (_HALF if array.max() > 1 else 0))


def decode_runs(held: object, length: int) -> NDArray[np.uint8]:
    """Return the bytes that runs of Label Studio stand for.

    Args:
        held: list of bytes: 32 bits for the number of words, 5 for the bits of a word less one, 4 times 4 for the
            bits of lengths less one; then for each piece a bit (one word repeated, or words as they are), 2 bits for
            the kind of length, the length less one, and the words.
        length: how many words it must hold.

    Raises:
        InputError: where it is no such list, ends early, or holds another number of words.
    """
    runs = part(held, list[_Byte], "has an 'rle' that", "a list of bytes")
    bits = np.unpackbits(np.array(runs, np.uint8))
    text = (bits + ord("0")).astype(np.uint8).tobytes().decode("ascii")
    place = 0

    def take(count: int) -> int:
        nonlocal place
        if place + count > len(text):
            raise InputError("has an 'rle' that ends early")
        place += count
        return int(text[place - count : place], 2)

    total, word = take(32), take(5) + 1
    if total != length or word != 8:
        raise InputError(f"has an 'rle' of {total:,} numbers of {word} bits, its image takes {length:,} of 8")
    lengths = [take(4) + 1 for _ in range(4)]
    out = np.zeros(total, np.uint8)
    at = 0
    while at < total:
        repeated = take(1)
        stop = at + take(lengths[take(2)]) + 1
        if stop > total:
            raise InputError("has an 'rle' longer than its image")
        if repeated:
            out[at:stop] = take(word)
        else:
            size = (stop - at) * word
            if place + size > len(text):
                raise InputError("has an 'rle' that ends early")
            out[at:stop] = np.packbits(bits[place : place + size])
            place += size
        at = stop
    return out


def _entry(path: Path, task: TaskSaid, data: dict[str, Any], done: list[AnnotationSaid], said: str) -> Entry:
    results: list[ResultSaid] = part(done[0].result, list[ResultSaid], f"{said}: 'result'")
    source = _image_of(data)
    try:
        stems = _stems(source)
    except InputError as error:
        raise InputError(f"{said} {error}: export it again") from error
    shapes, sizes, fault, other = [], set(), "", 0
    named = {each.id for each in results if isinstance(each.id, str) and _labels(each) is not None}
    for place, each in enumerate(results, start=1):
        value = each.value
        labels = _labels(each)
        if not isinstance(value, dict) or not any(key in value for key in _SHAPES):
            other += 1  # choices, texts, key points, relations
            continue
        if labels is None and isinstance(each.id, str) and each.id in named:
            continue  # the same region once more, with its label
        try:
            if each.image_rotation:
                raise InputError("is drawn on a rotated image: turn the image itself")
            if isinstance(labels, list) and len(labels) > 1:
                raise InputError(f"has {len(labels)} classes at once, keep one")
            name = class_name(labels[0] if labels else None)
            sizes.add(image_size(each.original_height, each.original_width))
            shapes.append(Shape(name, f"result {place} ('{name}')", value))
        except InputError as error:
            fault = fault or f"holds result {place}, which {error}: correct it"
    sizes.discard(None)
    if len(sizes) > 1:
        fault = fault or "states several sizes of its image: export it again"
    notes = (f"{plural(other, 'result')} without area (choices, key points), passed over",) if other else ()
    called = Path(f"{path} ({stems[-1]})")
    mask = Drawn(called, (path,), next(iter(sizes), None), tuple(shapes), paint, notes, fault)
    people = ", ".join((person(each.completed_by) or "nobody named")[:40] for each in done[:5])
    many = f"{len(done)} annotations of task {shown(task.id)} (by {people})" if len(done) > 1 else ""
    return Entry(path, tuple(stems), mask, many, person(done[0].completed_by) if len(done) == 1 else None)


def _labels(result: ResultSaid) -> list[Any] | None:
    value = result.value
    held = [value[key] for key in _LABELS if key in value] if isinstance(value, dict) else []
    return held[0] if held and isinstance(held[0], list) else None


def _image_of(data: dict[str, Any]) -> object:
    """Return the image of a task: ``image``, or its only text."""
    texts = [each for each in data.values() if isinstance(each, str)]
    return data.get("image", texts[0] if len(texts) == 1 else None)


def _stems(source: object) -> list[str]:
    """Return what the stem of the image may be, from an address or the name of an upload."""
    if not isinstance(source, str) or not source:
        raise InputError(f"names an image {shown(source)}, which is no name of a file")
    try:
        parts = urlsplit(source)
    except ValueError as error:
        raise InputError(f"names an image {shown(source)}, which is no address") from error
    local = parts.query.removeprefix("d=") if parts.query.startswith("d=") else ""
    stems = stem_candidates(unquote(local or parts.path))
    return list(dict.fromkeys([*stems, *(_UPLOADED.sub("", stem, count=1) for stem in stems)]))
