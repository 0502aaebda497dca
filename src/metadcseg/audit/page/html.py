"""The page itself: one file with its style, script, summary and list of cases inside, and a policy that holds it in."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from metadcseg.audit.page.join import join_modules
from metadcseg.audit.page.pictures import WRONG
from metadcseg.audit.page.script import as_json
from metadcseg.audit.page.summary import CalibrationPoint, PageSummary
from metadcseg.audit.records import KINDS, LEVELS
from metadcseg.colors import GIVEN, PREDICTED, class_color

LEFT, RIGHT, TOP, BOTTOM = 44.0, 312.0, 12.0, 252.0
"""Edges of the axes within the figure of 324 x 300 units that shows the reliability."""

_HERE = "metadcseg.audit.page"
_LEAST, _MOST = 3.0, 7.0  # radius of a point of few and of most pixels


def render(
    title: str,
    classes: Sequence[str],
    summary: PageSummary,
    identity: str,
    fingerprint: str,
    cases: Iterator[dict[str, Any]],
) -> Iterator[bytes]:
    """Yield ``index.html`` piece by piece.

    Args:
        title: heading.
        classes: names, the background first.
        summary: what the head says.
        identity: of the audit.
        fingerprint: of the set.
        cases: entries of the list, worst first, see :func:`~metadcseg.audit.page.script.index_entry`.
    """
    style = _text("page.css")
    script = join_modules(_modules())
    foreground = len(classes) - 1
    facts = {
        "identity": identity,
        "set": fingerprint,
        "title": title,
        "classes": list(classes),
        "threshold": summary.threshold,
        "kinds": list(KINDS),
        "levels": list(LEVELS),
        "colors": {"given": GIVEN, "proposed": PREDICTED, "wrong": WRONG},
        "tints": [class_color(number, foreground) for number in range(1, foreground + 1)],
    }
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    known = {
        "title": title,
        "summary": summary,
        "figure": reliability(summary.calibration),
        "frame": {"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
        "policy": _policy(style, script),
        "classes": list(classes),
        "style": style,
        "script": script,
        "facts": as_json(facts),
    }
    before, _, after = _text("index.html.jinja").partition("@cases@")
    yield _bytes(environment.from_string(before).render(known))
    yield b"[\n"
    for number, case in enumerate(cases):
        yield _bytes((",\n" if number else "") + as_json(case))
    yield b"\n]"
    yield _bytes(environment.from_string(after).render(known))


def _policy(style: str, script: str) -> str:
    """Return what the page may load: its own style and script, and files that lie beside it. Nothing else."""
    return (
        f"default-src 'none'; script-src {_digest(script)} 'self' file:; style-src {_digest(style)}; "
        "img-src 'self' file: data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(_bytes(text)).digest()).decode('ascii')}'"


def _modules() -> dict[str, str]:
    folder = resources.files(_HERE).joinpath("modules")
    return {
        file.name.removesuffix(".js"): file.read_text("utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".js")
    }


def _text(name: str) -> str:
    return resources.files(_HERE).joinpath(name).read_text("utf-8")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="backslashreplace")


def reliability(points: Sequence[CalibrationPoint]) -> list[dict[str, Any]]:
    """Return the points of the reliability figure in its units, from the least predicted to the most.

    Args:
        points: in any order.

    Returns:
        Place, radius, ends of the interval and a description of each.

    Example:
        >>> [(point["x"], point["y"]) for point in reliability([CalibrationPoint(0.5, 1.0)])]
        [(178.0, 12.0)]
    """
    most = max((point.pixels for point in points), default=0)
    shown = []
    for point in sorted(points, key=lambda each: each.predicted):
        share = (point.pixels / most) ** 0.5 if most else 0.0
        ends = None if point.low is None or point.high is None else (_up(point.low), _up(point.high))
        between = "" if ends is None else f" [{point.low:.2f}, {point.high:.2f}]"
        shown.append(
            {
                "x": round(LEFT + point.predicted * (RIGHT - LEFT), 2),
                "y": _up(point.observed),
                "r": round(_LEAST + share * (_MOST - _LEAST), 2),
                "ends": ends,
                "says": f"predicted {point.predicted:.2f}, really wrong {point.observed:.2f}{between}, "
                f"{point.pixels} pixels",
            }
        )
    return shown


def _up(share: float) -> float:
    return round(BOTTOM - share * (BOTTOM - TOP), 2)
