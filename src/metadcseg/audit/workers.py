"""The processes among which the cases of an audit are dealt, each with networks of its own."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial

import torch

from metadcseg.audit.case_judge import CaseJudge
from metadcseg.audit.predictors import CasePredictor
from metadcseg.audit.units import Unit
from metadcseg.data.prepare.workers import Workers

Load = Callable[[], CasePredictor]
"""Loads the networks that are asked; can be sent to another process."""

MakeJudge = Callable[[CasePredictor], CaseJudge]
"""Likewise: returns who judges by them."""

_judges: list[Callable[[], CaseJudge]] = []
"""In a process of an audit: returns who judges there, made with the first case."""


def judged(
    judge: CaseJudge, make: MakeJudge, load: Load, units: Sequence[Unit], workers: int
) -> Iterator[None]:
    """Judge all cases, and yield after each, in their order.

    A case is judged and written by itself, so who does it changes no bit. Each process has one case in memory and
    computes on one thread, this one too: sums of more threads differ in the last bit.

    Args:
        judge: who does it in this process.
        make: makes another one.
        load: the networks that it asks.
        units: the cases.
        workers: how many processes; 0 is this one.

    Raises:
        InputError: naming the case that cannot be judged, or where a process was ended from outside.
    """
    if workers == 0:
        with _one_thread():
            yield from map(judge, units)
        return
    with Workers(workers, begin=partial(_begin, make, load)) as crew:
        yield from crew.each(_judge, units)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _begin(make: MakeJudge, load: Load) -> None:
    """Get ready; the judge is made with the first case, which tells what that raises."""
    torch.set_num_threads(1)
    _judges[:] = [cache(lambda: make(load()))]


def _judge(unit: Unit) -> None:
    (judge,) = _judges
    judge()(unit)
