"""A case as classic scripts, the only files beside a page on disk that a browser lets the page read.

The first line carries what is known of the case; Python reads it back, too. Each further line carries slices.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

from msgspec import Meta, Struct

from metadcseg.audit.page.pictures import Bytes, in_base64, worst_slice
from metadcseg.audit.page.runs import encode_runs
from metadcseg.audit.records import LEVELS, Arrays, AuditedCase, Class
from metadcseg.data.store.layout import Side
from metadcseg.errors import InputError
from metadcseg.schemas import decoded, fitting

_BEGIN, _END = "metadcsegReview.case(", ");"
_PIXELS = 1 << 22  # of a slice and those that are loaded with it


class RegionSaid(Struct):
    """A region in the record of a case, as far as Python reads it back."""

    probability: float
    kind: str
    given: Class
    proposed: Class
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


class RecordSaid(Struct):
    """The record of a case, as far as Python reads it back."""

    identity: str
    content: str
    id: str
    name: str
    shape: tuple[Side, Side, Side]
    perPart: Annotated[int, Meta(ge=1)]
    regions: list[RegionSaid]
    dsc: float | None
    low: float | None
    high: float | None
    annotator: str | None
    group: str | None
    trueDsc: float | None


def as_json(value: Any) -> str:
    r"""Return JSON that is harmless within HTML and within a script, all of it ASCII.

    Example:
        >>> as_json({"id": "</script>"})
        '{"id":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def record_of(
    case: AuditedCase, arrays: Arrays, shown: list[Bytes], identity: str, content: str
) -> dict[str, Any]:
    """Return what the page is told of a case, beside its pixels.

    Args:
        case: the case.
        arrays: its pixels.
        shown: its images, see :func:`~metadcseg.audit.page.pictures.planes`.
        identity: of the audit.
        content: digest of the case and its pixels.
    """
    low, high = case.dsc_interval
    return {
        "identity": identity,
        "content": content,
        "id": case.id,
        "name": case.name,
        "split": case.split,
        "shape": list(case.shape),
        "spacing": None if case.spacing is None else list(case.spacing),
        "dsc": _finite(case.dsc),
        "low": _finite(low),
        "high": _finite(high),
        "annotator": case.annotator,
        "group": case.group,
        "trueDsc": _finite(case.true_dsc),
        "correctedDsc": {level: _finite(value) for level, value in case.corrected_dsc.items()},
        "planes": len(shown),
        "perPart": slices_per_part(arrays),
        "worst": worst_slice(arrays.wrong),
        "regions": [asdict(region) for region in case.regions],
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 4)


def index_entry(record: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a record that the gallery and its filters need."""
    regions = record["regions"]
    kept = ("id", "name", "shape", "dsc", "low", "high", "annotator", "group", "trueDsc")
    return {
        **{key: record[key] for key in kept},
        "regions": len(regions),
        "spans": [region["box"][0] for region in regions],
        "top": max((region["probability"] for region in regions), default=0.0),
        "kinds": sorted({region["kind"] for region in regions}),
        "classes": sorted({region[side] for region in regions for side in ("given", "proposed")}),
    }


def slices_per_part(arrays: Arrays) -> int:
    """Return how many slices travel in one script."""
    _, height, width = arrays.shape
    return max(1, _PIXELS // max(1, height * width))


def first_line(record: dict[str, Any]) -> str:
    """Return the line that tells the page, and :func:`read_record`, of a case."""
    return f"{_BEGIN}{as_json(record)}{_END}\n"


def read_record(line: str) -> dict[str, Any] | None:
    """Return what :func:`first_line` wrote; None for anything else.

    Example:
        >>> read_record("x = 1"), read_record(first_line({"id": "a<b"}))
        (None, None)
    """
    line = line.strip()
    if not (line.startswith(_BEGIN) and line.endswith(_END)):
        return None
    try:
        found: dict[str, Any] = decoded(line[len(_BEGIN) : -len(_END)].encode(), dict[str, Any], "", "")
        fitting(found, RecordSaid, "", "")
    except InputError:
        return None
    return found


def part_lines(name: str, part: int, arrays: Arrays, shown: list[Bytes]) -> Iterator[str]:
    """Yield the lines of one part of a case: for every slice its images, masks, regions and P(wrong).

    Args:
        name: of the case's files.
        part: number of the part, from 0.
        arrays: of the case.
        shown: its images, see :func:`~metadcseg.audit.page.pictures.planes`.
    """
    step = slices_per_part(arrays)
    for number in range(part * step, min((part + 1) * step, arrays.shape[0])):
        heat = (arrays.wrong[number].clip(0, 1) * 255).round().astype("uint8")
        content: dict[str, Any] = {
            "images": [in_base64(plane[number]) for plane in shown],
            "wrong": in_base64(heat),
            "given": encode_runs(arrays.given[number]),
            "regions": encode_runs(arrays.regions[number]),
            **{level: encode_runs(arrays.corrected[level][number]) for level in LEVELS},
        }
        yield f"metadcsegReview.slice({as_json(name)},{number},{as_json(content)});\n"
