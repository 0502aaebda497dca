"""The command ``metadcseg``: reads the command line, runs one command, and turns failures into one sentence.

Results go to standard output, everything else (progress, notes, errors) to standard error. Exit status: 0 done,
1 a failure of ours, 2 something given was wrong, 130 stopped by Ctrl-C or SIGTERM after saving.
"""

import re
import sys
import traceback
from argparse import ArgumentError
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

import metadcseg
from metadcseg.commands import COMMANDS
from metadcseg.commands.console import INTERRUPTED
from metadcseg.errors import InputError, unknown_name

_USAGE = f"""\
metadcseg {metadcseg.__version__}: train medical segmentation networks on imperfect masks and a few verified ones

usage: metadcseg COMMAND [OPTIONS]        (metadcseg COMMAND --help explains each)

  demo       the whole story on built-in images, in a few minutes: ends with a page to look at
  prepare    read a folder of images and masks (or a known data set) into a prepared set
  check      find what is wrong with a folder or a prepared set before training on it
  corrupt    inject label noise of a chosen rate into a set's training masks (for experiments)
  train      train a network
  evaluate   score a trained network against reference masks
  predict    segment new images

on your own folder (images/, masks/ and gold/, matched by file name):
  metadcseg check my_folder
  metadcseg prepare my_folder --out my_set
  metadcseg train --data my_set --out my_run
  metadcseg evaluate my_run
  metadcseg predict my_run new_images --out new_masks
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after ``metadcseg``; those of this process by default.

    Returns:
        The exit status: 0, 1, 2 or 130.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(_USAGE)
        return 0
    if words[0] in ("-V", "--version"):
        sys.stdout.write(f"metadcseg {metadcseg.__version__}\n")
        return 0
    console = Console(stderr=True)
    try:
        return _run(words[0], words[1:], console)
    except InputError as error:
        status = _complain(console, str(error), 2)
    except KeyboardInterrupt:
        return _complain(console, "stopped", INTERRUPTED)
    except SystemExit as stop:  # --help of a command
        return stop.code if isinstance(stop.code, int) else 0
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        status = _complain(
            console, f"an unexpected failure, which is our fault: {what} (--debug shows where)", 1
        )
    if "--debug" in words:
        traceback.print_exc()
    return status


def _run(name: str, words: list[str], console: Console) -> int:
    if name not in COMMANDS:
        raise unknown_name("command", name, COMMANDS)
    command = import_module(COMMANDS[name])
    parser = ArgumentParser(prog=f"metadcseg {name}", description=command.DESCRIPTION, exit_on_error=False)
    command.add_options(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback where something fails")
    options = _parse(parser, words)
    status: int = command.run(options, console)
    return status


def _parse(parser: ArgumentParser, words: list[str]) -> Namespace:
    """Parse, and say in one sentence what is wrong where something is."""
    try:
        parsed: Namespace = parser.parse_args(words)
    except ArgumentError as error:
        raise InputError(_sentence(str(error), parser)) from error
    return parsed


def _sentence(message: str, parser: ArgumentParser) -> str:
    """Return the parser's complaint on one line, with the nearest name where an option is unknown."""
    line = re.sub(r"\s+", " ", message).strip()
    unknown = re.search(r"unrecognized arguments: (--[\w.\-]+)", line)
    key = re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", line)
    alone = re.search(r"Option '([\w.]+)' is not accepted", line)
    if unknown:
        name = unknown.group(1).removeprefix("--")
    elif key:
        name = f"{key.group(1)}.{key.group(2)}"
    elif alone:
        name = alone.group(1)
    else:
        return f"{line} (see: {parser.prog} --help)"
    options = [
        option.removeprefix("--") for option in parser._option_string_actions if option.startswith("--")
    ]
    near = get_close_matches(name, options, n=1, cutoff=0.5)
    hint = f": did you mean --{near[0]}?" if near else ""
    return f"unknown option --{name}{hint} (see: {parser.prog} --help)"


def _complain(console: Console, sentence: str, status: int) -> int:
    console.print(f"metadcseg: {sentence}", style="red", markup=False, highlight=False, soft_wrap=True)
    return status
