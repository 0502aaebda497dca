"""Label Studio: brush strokes in runs (tasks to be imported), and the labels that its project needs."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit.exchange.items import Item, Palette
from metadcseg.files import write_bytes

FILE, CONFIG = "tasks.json", "label_config.xml"

_SIZES = (4, 8, 12, 16)  # bits of a length less one


class LabelStudioWriter:
    """Writes ``tasks.json`` and ``label_config.xml``.

    Args:
        out: the folder.
        palette: names and colors of the classes.
    """

    def __init__(self, out: Path, palette: Palette) -> None:
        self._out, self._palette = out, palette
        self._tasks: list[dict[str, Any]] = []

    def add(self, item: Item) -> None:
        """Add a task: its image lies in ``images`` of the local files that Label Studio serves."""
        height, width = item.labels.shape
        results = []
        for label, name, _ in self._palette.entries:
            inside = item.labels == label
            if not inside.any():
                continue
            value = {"format": "rle", "rle": brush_runs(inside), "brushlabels": [name]}
            results.append(
                {
                    "id": f"{len(self._tasks) + 1}-{label}",
                    "from_name": "tag",
                    "to_name": "image",
                    "type": "brushlabels",
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "value": value,
                }
            )
        name = f"{item.name}.png" if item.image is None else item.image.name
        data = {"image": f"/data/local-files/?d={quote(f'images/{name}')}"}
        self._tasks.append({"data": data, "annotations": [{"result": results}]})

    def close(self) -> dict[str, Any]:
        """Write tasks and labels."""
        rows = [
            f'    <Label value={quoteattr(name)} background="#{red:02x}{green:02x}{blue:02x}"/>'
            for _, name, (red, green, blue) in self._palette.entries
        ]
        head = [
            "<View>",
            '  <Image name="image" value="$image" zoom="true"/>',
            '  <BrushLabels name="tag" toName="image">',
        ]
        config = "\n".join([*head, *rows, "  </BrushLabels>", "</View>", ""])
        write_bytes(self._out / CONFIG, config.encode())
        write_bytes(self._out / FILE, json.dumps(self._tasks).encode())
        return {"tasks": len(self._tasks)}


def brush_runs(inside: NDArray[np.bool_]) -> list[int]:
    """Return the runs of Label Studio for a mask, (H, W) bool: bytes red, green, blue and alpha of every pixel.

    Its reader (`metadcseg.data.annotations.label_studio.decode_runs`) describes the bits.

    Example:
        >>> from metadcseg.data.annotations.label_studio import decode_runs
        >>> held = brush_runs(np.eye(2, dtype=bool))
        >>> decode_runs(held, 16)[3::4].tolist()
        [255, 0, 0, 255]
    """
    flat = inside.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=~flat[:1]))
    lengths = 4 * np.diff(starts, append=flat.size)
    bits = [f"{4 * flat.size:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        word = f"{255 * bool(flat[start]):08b}"
        while length:
            part = min(length, 1 << _SIZES[-1])
            kind = next(kind for kind, size in enumerate(_SIZES) if part <= 1 << size)
            bits.append(f"1{kind:02b}{part - 1:0{_SIZES[kind]}b}{word}")
            length -= part
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]
