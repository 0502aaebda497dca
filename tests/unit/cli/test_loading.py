import io
import sys

import pytest
from rich.console import Console

from metadcseg.cli.commands import COMMANDS
from metadcseg.cli.loading import HEAVY, loading


@pytest.mark.parametrize(
    ("name", "heavy", "terminal", "says"),
    [
        ("train", True, True, "train: loading torch"),
        ("train", False, True, "train: starting"),  # help
        ("check", True, True, "check: starting"),
        ("train", True, False, ""),  # a log: nothing may come before the one line that a failure is
    ],
)
def test_a_terminal_is_told_that_something_is_loaded(name, heavy, terminal, says):
    out = io.StringIO()
    with loading(Console(file=out, force_terminal=terminal), name, heavy=heavy):
        pass
    assert (says in out.getvalue()) if says else out.getvalue() == ""


def test_heavy_commands_exist_and_can_be_loaded():
    assert HEAVY.keys() <= COMMANDS.keys()
    with loading(Console(file=io.StringIO(), force_terminal=True), "evaluate", heavy=True):
        assert "metadcseg.evaluation.evaluate" in sys.modules
