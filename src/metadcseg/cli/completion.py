"""Scripts by which a shell completes commands, options and their values, written by shtab."""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from importlib import import_module

import shtab

from metadcseg.cli.first import COMMON
from metadcseg.cli.help import choices_of, is_shown, name_of, plain
from metadcseg.cli.parsing import AUTO, make_parser, preset_names

SHELLS: tuple[str, ...] = tuple(shtab.SUPPORTED_SHELLS)
"""The shells that can be served."""


def script(shell: str, commands: Mapping[str, str]) -> str:
    """Return the script for one shell.

    Args:
        shell: one of ``SHELLS``.
        commands: name -> module of every command.
    """
    from metadcseg.methods import METHODS  # torch comes with it
    from metadcseg.networks import NETWORKS

    known = {"--method": sorted(METHODS), "--config": [AUTO, *preset_names()], "--network.name": [*NETWORKS]}
    top = ArgumentParser(prog="metadcseg", description="train on imperfect masks and a few verified ones")
    below = top.add_subparsers()
    for name, module in commands.items():
        command = import_module(module)
        about = " ".join(command.DESCRIPTION.split()).partition(". ")[0]
        _copy(
            make_parser(name, command.DESCRIPTION, command.add_options),
            below.add_parser(name, help=_safe(about)),
            known,
        )
    for name, about in (("help", "explain a command"), ("version", "say which version this is")):
        more = below.add_parser(name, help=about)
        if name == "help":
            more.add_argument("command", choices=list(commands))
    return str(shtab.complete(top, shell=shell))


def _copy(parser: ArgumentParser, into: ArgumentParser, known: Mapping[str, Sequence[str]]) -> None:
    """Add the options of a parser to a plain one, which is what shtab reads."""
    into.add_argument("--help-all", action="store_true", help="explain every option")
    for action in parser._actions:
        name = name_of(action)
        if not is_shown(action):
            continue
        about = _safe(plain(COMMON[name][1] if name in COMMON else action.help or ""))
        if action.option_strings and action.nargs == 0:
            into.add_argument(name, action="store_true", help=about)
            continue
        choices = known.get(name) or choices_of(action) or None
        made = into.add_argument(name, choices=choices, help=about)
        if (choices is None and action.type is None) or not action.option_strings:
            made.complete = shtab.FILE  # type: ignore[attr-defined]


def _safe(text: str) -> str:
    """Return a help text without what argparse or a shell would take for its own."""
    return " ".join(text.replace("%", " percent").translate(str.maketrans("", "", "'\"`$\\{}[]")).split())
