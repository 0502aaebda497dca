"""Text from elsewhere on a terminal: what is no printable character never reaches it."""

import io
import logging
import re
import sys
import warnings

import pytest
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from metadcseg.cli.main import main
from metadcseg.cli.output import OutputClosed, write_out
from metadcseg.cli.streams import SafeConsole, clean, spoken
from metadcseg.errors import InputError, Note

HOSTILE = [
    "\x1b[31mred\x1b[2J.png",  # colors and clears
    "\x1b]0;title\x07.png",  # names the window
    "invoice\u202egnp.exe",  # reads from right to left
    "\x9b31m.png",  # the same as the first in one byte
    "a\rb\u2028c\udcff.png",  # overwrites; a line separator; a byte that is no text
]
OWN = re.compile(r"\x1b\[[0-9;]*m")


def printed(*objects, **options):
    file = io.StringIO()
    SafeConsole(file=file, width=200, **options).print(*objects, markup=False)
    return file.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_console_shows_what_is_hidden(name):
    table = Table(title=name)
    table.add_column(name)
    table.add_row(Text(name, style="red"))
    for shown in (name, Text(name), Text(name, style="bold"), table, Panel(name, title=name)):
        for found in (printed(shown), OWN.sub("", printed(shown, force_terminal=True))):
            assert all(letter.isprintable() or letter == "\n" for letter in found), ascii(found)
            assert "png" in found or "gnp" in found


def test_own_colors_stay():
    assert OWN.findall(printed(Text("x", style="red"), force_terminal=True))


def test_plain_text_is_not_changed():
    for text in ("naïve ± 1 – a\n  b", "", "日本語 é", "[bold]a[/bold] :smile:"):
        assert clean(text) == text
        assert printed(text) == text + "\n"


@pytest.mark.parametrize("name", HOSTILE)
def test_warnings_and_logs_of_libraries_are_clean(name, capsys, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: sys.stderr.write(f"{message}\n"))
    with spoken(SafeConsole(stderr=True)):
        warnings.simplefilter("always")
        warnings.warn(f"{name} is odd", UserWarning, stacklevel=1)
        warnings.warn(f"{name} was left out", Note, stacklevel=1)
        logger = logging.Logger("a library")
        logger.warning("cannot read %s", name)
    said = capsys.readouterr().err
    assert all(letter.isprintable() or letter == "\n" for letter in said), ascii(said)
    assert said.count("\\") >= 3


class Closed(io.StringIO):
    """A stream that fails as the system does."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def flush(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "told"),
    [(BrokenPipeError(32, "Broken pipe"), OutputClosed), (OSError(28, "No space left"), InputError)],
)
def test_standard_output_that_fails(error, told, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Closed(error))
    with pytest.raises(told):
        write_out("x")
    with pytest.raises(told):
        SafeConsole().print("x")
    assert main(["--version"]) == (141 if told is OutputClosed else 2)


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left")])
def test_standard_error_that_fails_stops_nothing(error, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Closed(error))
    console = SafeConsole(stderr=True)
    console.print("x")
    console.print("y")


def test_no_standard_output_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    write_out("x")
    SafeConsole().print("x")
    assert [main(words) for words in ([], ["--version"], ["train", "--help"])] == [0, 0, 0]
