"""The command ``metadcseg``: reads the command line, runs one command, and turns failures into one sentence.

Results go to standard output, everything else (progress, notes, errors) to standard error. Exit status: 0 done,
1 a failure of ours, 2 something given was wrong, 130 stopped by Ctrl-C or SIGTERM after saving, 141 nobody reads
standard output any more.
"""

import errno
import gc
import io
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType, ModuleType
from typing import TYPE_CHECKING

import metadcseg
from metadcseg.cli.commands import COMMANDS
from metadcseg.cli.output import READER_GONE, OutputClosed, write_out
from metadcseg.constants import INTERRUPTED
from metadcseg.errors import InputError, ReportedByAnotherRank, brief, one_line, unknown_name
from metadcseg.imports import without_collector

if TYPE_CHECKING:  # what the first page of help can do without is imported by who needs it
    from rich.console import Console

_USAGE = f"""\
metadcseg {metadcseg.__version__}: train medical segmentation networks on imperfect masks and a few verified ones

usage: metadcseg COMMAND [OPTIONS]        (metadcseg help COMMAND explains each)

  demo       the whole story on built-in images, in a few minutes: ends with a page to look at

your data
  check      find what is wrong with a folder or a prepared set before training on it
  diagnose   how the masks are wrong, told by those that were verified
  prepare    read a folder of images and masks (or a known data set) into a prepared set
  split      give a prepared set other roles: which cases train, validate, test, and are verified
  corrupt    inject label noise of a chosen rate into a set's training masks (for experiments)
  export-nnunet    write a set with its noisy labels as a raw folder of nnU-Net, to compare with

train and use
  train      train a network
  evaluate   score a trained network against reference masks
  audit      which masks are wrong, where, and what they should be
  predict    segment new images
  export     write a trained network as ONNX, with a small script that predicts
  accept     turn the decisions on an audit into masks: a corrected folder, with pairs
  export-annotations   write the masks of an audit for CVAT, Label Studio, 3D Slicer and others

compare
  import-predictions   score masks that another tool predicted, as a row beside ours
  compare    means over seeds, paired differences and significance of several runs
  cross-validate   train and test on every fold of a set in turn
  benchmark  carry out a grid of data sets, noise, methods and seeds
  report     make tables and figures of a benchmark, beside the numbers of the paper

more
  completion   let your shell complete commands and options
  help, version

on your own folder (images/, masks/ and gold/, matched by file name):
  metadcseg check my_folder
  metadcseg prepare my_folder --out my_set
  metadcseg train --data my_set --out my_run
  metadcseg evaluate my_run
  metadcseg predict my_run new_images --out new_masks
"""


_HELP = ("-h", "--help", "--help-all")
_SAFE_PATH = "PYTHONSAFEPATH"
_NO_MEMORY = (
    "the memory does not suffice: lower training.batch, training.size or network.width, or end other programs"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after ``metadcseg``; those of this process by default.

    Returns:
        The exit status: 0, 1, 2, 130 or 141.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["help"] and len(words) > 1:
        words = [words[1], "--help", *words[2:]]
    if not words or words[0] in (*_HELP, "help"):
        return _said(_USAGE)
    if words[0] in ("-V", "--version", "version"):
        return _said(f"metadcseg {metadcseg.__version__}\n")
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be text that can be printed
        sys.stdout.reconfigure(errors="backslashreplace")
    from metadcseg.cli.streams import SafeConsole

    console = SafeConsole(stderr=True)
    try:
        with _signals_as_interrupt(), _safe_path():
            return _run(words[0], words[1:], console)
    except ReportedByAnotherRank:  # this process is one of several, and another speaks
        return 2
    except OutputClosed:
        return READER_GONE
    except InputError as error:
        return _complain(console, str(error), 2, words)
    except KeyboardInterrupt:
        _forget_unawaited()
        return _complain(console, "stopped", INTERRUPTED, words)
    except Exception as error:
        if isinstance(error, MemoryError) or re.search("out of memory|allocate memory", str(error)):
            return _complain(console, _NO_MEMORY, 2, words)
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            long = f"{error.filename} is too long a name for the file system: choose a shorter one"
            return _complain(console, long, 2, words)
        if isinstance(error, PermissionError) and error.filename is not None:
            refused = f"{error.filename}: permission denied; ask for the right to it, or give another path"
            return _complain(console, refused, 2, words)
        what = f"an unexpected failure, which is our fault: {type(error).__name__}: {error}"
        return _complain(console, f"{what} (--debug shows where)", 1, words)


def _run(name: str, words: list[str], console: "Console") -> int:
    from metadcseg.cli.loading import loading
    from metadcseg.cli.parsing import make_parser, parse
    from metadcseg.cli.streams import spoken

    if name not in COMMANDS:
        raise unknown_name("command", name, COMMANDS)
    asks_help = [word for word in words if word in _HELP]
    with loading(console, name, heavy=not asks_help or "--help-all" in asks_help):
        command = _load(COMMANDS[name])
        if asks_help:
            from metadcseg.cli.help import help_page

            write_out(help_page(name, command, whole="--help-all" in asks_help))
            return 0
        options = parse(make_parser(name, command.DESCRIPTION, command.add_options), words)
    with spoken(console):
        status: int = command.run(options, console)
    return status


def _load(module: str) -> ModuleType:
    """Import a command; what the libraries of a process's first one make stays: no garbage is looked for in it."""
    if module in sys.modules or gc.get_freeze_count():
        return import_module(module)
    try:
        with without_collector():
            return import_module(module)
    finally:
        gc.freeze()


@contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a lost terminal do the same, so that half-written files are cleared away."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        _forget_unawaited()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heard = [number for number in asked if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Let Python processes that a command starts look for no module in the current folder: it may come from elsewhere.

    Those of multiprocessing begin as ``python -c``, which looks there first.
    """
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


def _forget_unawaited() -> None:
    """Say nothing of reads of zarr that were asked for and never began: the command is stopped between the two."""
    warnings.filterwarnings("ignore", r"coroutine .* was never awaited", RuntimeWarning)


def _said(text: str) -> int:
    """Write a fixed text, which waits for no library."""
    try:
        write_out(text)
    except OutputClosed:
        return READER_GONE
    except InputError as error:
        sys.stderr.write(f"metadcseg: {error}\n")
        return 2
    return 0


def _complain(console: "Console", sentence: str, status: int, words: Sequence[str]) -> int:
    """Say what is wrong on one line, show where with ``--debug``, and return the status."""
    line = one_line(" ".join(brief(sentence).splitlines()))
    console.print(f"metadcseg: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
    if "--debug" in words:
        from metadcseg.cli.streams import clean

        sys.stderr.write(clean(traceback.format_exc()))
    return status
