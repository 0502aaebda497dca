"""The functions that the page about the paper names are those that a step of the method runs."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.contract.tools import batch
from tests.unit.methods.tools import start
from tests.unit.test_docs import resolve

from metadcseg.methods import MetaDCSeg

PAGE = Path(__file__).parents[4] / "docs" / "explanation" / "paper.md"
ELSEWHERE = (
    "metadcseg.networks.pidinet",
    "metadcseg.networks.pixel_difference",
    "metadcseg.data",
    "metadcseg.report",
)
"""Edges are found when a set is prepared, and eq. 14 is of tables."""


def named() -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    section = text[text.index("## The method") : text.index("## The noise")]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| ")]
    names = {name for row in rows for name in re.findall(r"`(metadcseg[\w.]+)`", row[3])}
    return sorted(name for name in names if not name.startswith(ELSEWHERE))


def codes(thing: Any) -> Iterator[CodeType]:
    """The code of a function or a property, or that of every method of a class."""
    if isinstance(thing, property):
        thing = thing.fget
    if isinstance(thing, type):
        for member in vars(thing).values():
            yield from codes(member) if callable(member) or isinstance(member, property) else ()
    elif hasattr(thing, "__code__"):
        yield thing.__code__


def test_a_step_runs_every_function_that_the_page_names() -> None:
    method = MetaDCSeg(warmup=1)
    state = start(method)
    ran: set[CodeType] = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        ran.add(frame.f_code)

    sys.setprofile(note)
    try:
        for state.updater.epoch in (0, 1):
            method.step(state, batch(0), batch(100))
    finally:
        sys.setprofile(None)
    assert len(named()) >= 18
    idle = [name for name in named() if not ran & set(codes(resolve(name)))]
    assert not idle, f"{PAGE.name} names what no step of the method runs: {', '.join(idle)}"
