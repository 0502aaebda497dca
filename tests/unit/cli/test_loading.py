import io
import sys

import pytest
from rich.console import Console

from metadcseg.cli.commands import COMMANDS
from metadcseg.cli.loading import HEAVY, loading


@pytest.mark.parametrize(
    ("name", "light", "terminal", "says"),
    [
        ("train", False, True, True),
        ("train", True, True, False),  # help
        ("check", False, True, False),
        ("train", False, False, False),  # a log: nothing may come before the one line that a failure is
    ],
)
def test_a_terminal_is_told_that_libraries_are_loaded(name, light, terminal, says):
    out = io.StringIO()
    with loading(Console(file=out, force_terminal=terminal), name, light):
        pass
    assert ("loading torch" in out.getvalue()) == says


def test_heavy_commands_exist_and_can_be_loaded():
    assert HEAVY.keys() <= COMMANDS.keys()
    with loading(Console(file=io.StringIO(), force_terminal=True), "evaluate"):
        assert "metadcseg.evaluation.evaluate" in sys.modules
