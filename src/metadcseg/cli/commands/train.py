"""``metadcseg train``: one network, trained on a prepared set by a method."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import INTERRUPTED, check_seed
from metadcseg.cli.config import add_run_options, run_config
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.methods import METHODS
from metadcseg.training import train

DESCRIPTION = """Train a network. Every option of the network, of the training and of each method can be set on the
command line (--training.lr 0.01 --network.width 16 --metadcseg.eta 0.05) or in a YAML file of the same layout;
a preset goes by its name (--config small). Ctrl-C saves and stops; --resume goes on exactly where it was."""


_SHORT = (
    ("epochs", int, "passes over the training cases"),
    ("devices", int, "GPUs, or processes on a CPU, of each node"),
    ("nodes", int, "machines that train together"),
    ("precision", str, "32-true or bf16-mixed"),
    ("accelerator", str, "auto, cpu, cuda or mps"),
)
"""Training options so common that they go by their last name."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--data", type=str, required=True, help="a prepared set")
    parser.add_argument("--out", type=str, required=True, help="the folder of this run")
    for name, kind, what in _SHORT:
        parser.add_argument(f"--{name}", type=kind, default=None, help=f"short for --training.{name}: {what}")
    parser.add_argument(
        "--seed", type=int, default=0, help="the same seed gives the same network on the same CPU"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where an interrupted run of this folder stopped"
    )
    parser.add_argument(
        "--label", type=str, default=None, help="what tables call this run (default: the method)"
    )
    add_run_options(parser)


def run(options: Namespace, console: Console) -> int:
    """Train, and say what comes next."""
    config = run_config(options)
    _refuse_other_methods(options.given, config.method.name)
    short = {name: options[name] for name, _, _ in _SHORT if options[name] is not None}
    config = replace(config, training=replace(config.training, **short))
    out = Path(options.out)
    result = train(
        PreparedSet.open(Path(options.data)),
        config.method,
        config.network,
        config.training,
        out,
        seed=check_seed(options.seed),
        resume=options.resume,
        config=config.to_dict(),
        console=console,
        label=options.label,
    )
    if result.interrupted:
        return INTERRUPTED
    if result.is_rank_zero:
        console.print(f"done: metadcseg evaluate {out}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _refuse_other_methods(given: Sequence[str], method: str) -> None:
    """Raise where an option was typed that would do nothing; a file may hold options of several methods."""
    for option in given:
        group = option.removeprefix("--").partition(".")[0]
        if group in METHODS and group != method:
            raise InputError(
                f"{option} does nothing with --method {method}: give --method {group}, or leave it out"
            )
