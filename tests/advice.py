"""What a sentence of the command advises can be typed: its options are those of the command, or of one it names."""

import importlib
import re
from functools import cache

import pytest
from jsonargparse import ArgumentParser

from metadcseg.cli import main as cli
from metadcseg.cli.commands import COMMANDS

OPTION = re.compile(r"(?<![\w-])--[a-z][\w.-]*\w")
ALWAYS = {"--help", "--help-all", "--debug", "--version"}


@cache
def options_of(command):
    parser = ArgumentParser(exit_on_error=False)
    importlib.import_module(COMMANDS[command]).add_options(parser)
    return {name for name in parser._option_string_actions if name.startswith("--")} | ALWAYS


def strange_options(command, sentence, typed=()):
    """Return the options in a sentence that neither its command nor a command which the sentence names has.

    What the user typed may be told again, whatever it is.
    """
    named = set(OPTION.findall(sentence)) - {word.partition("=")[0] for word in typed}
    commands = [command, *re.findall(r"[a-z]+(?:-[a-z]+)*", sentence.replace("training", "train"))]
    known = set().union(ALWAYS, *(options_of(each) for each in dict.fromkeys(commands) if each in COMMANDS))
    return sorted(named - known) if named - ALWAYS else []


@pytest.fixture(autouse=True)
def advice_can_be_typed(monkeypatch):
    """Fail a test whose command complained in a sentence that names an option it does not have."""
    complain, found = cli._complain, []

    def watched(console, sentence, status, words):
        if strange := strange_options(words[0] if words else "", sentence, words):
            found.append(f"{words[0]}: {', '.join(strange)} in: {sentence}")
        return complain(console, sentence, status, words)

    monkeypatch.setattr(cli, "_complain", watched)
    yield
    assert found == []
