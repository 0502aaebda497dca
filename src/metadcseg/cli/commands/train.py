"""``metadcseg train``: one network, trained on a prepared set by a method."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import add_trust_option, check_seed
from metadcseg.cli.first import SHORT
from metadcseg.constants import INTERRUPTED
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError

DESCRIPTION = """Train a network on a prepared set. Input size, width, batch and epochs are chosen from your images and
this machine unless you say them. Ctrl-C saves and stops; --resume RUN goes on exactly where it was. Every option can
also stand in a YAML file (--config FILE)."""


def add_own_options(parser: ArgumentParser) -> None:
    """Add the options that are neither the network's nor the training's nor a method's."""
    parser.add_argument("--data", type=str, metavar="SET", help="a prepared set (required for a new run)")
    parser.add_argument(
        "--out", type=str, metavar="RUN", help="the folder of this run (required for a new run)"
    )
    for name, (kind, placeholder, what) in SHORT.items():
        parser.add_argument(f"--{name}", type=kind, default=None, metavar=placeholder, help=what)
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="the same seed gives the same network on the same CPU",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        type=str | bool,
        const=True,
        default=False,
        metavar="RUN",
        help="go on with an interrupted run, which knows its set and all its options; without a value: the run in "
        "--out, if there is one",
    )
    parser.add_argument(
        "--label",
        type=str,
        default=None,
        metavar="TEXT",
        help="what tables call this run (default: the method)",
    )
    add_trust_option(parser)


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    from metadcseg.cli.config import add_run_options  # torch comes with it

    add_own_options(parser)
    add_run_options(parser)


def run(options: Namespace, console: Console) -> int:
    """Train, and say what comes next."""
    from metadcseg.cli.auto import FITTED, fitted_to_pairs, with_auto
    from metadcseg.cli.config import check_trust, other_options, run_config
    from metadcseg.cli.resume import from_run
    from metadcseg.training import train
    from metadcseg.training.distributed.launch import check_devices, find_place, run_on_devices

    options = from_run(options)
    if missing := [f"--{name}" for name in ("data", "out") if options[name] is None]:
        raise InputError(f"{' and '.join(missing)} must be given (see: metadcseg train --help)")
    config, seed = run_config(options), check_seed(options.seed)
    check_trust(options)
    prepared, chosen, alone = PreparedSet.open(Path(options.data)), None, None
    place, devices = find_place(), config.training.devices
    if place is None and devices > 1 and config.training.nodes == 1:
        check_devices(prepared, config.training)
        return run_on_devices(devices, ["train", *options.words])
    if place is not None and place.rank and devices * config.training.nodes > 1:
        console = Console(quiet=True)  # rank 0 tells how it goes
    if not options.get("goes_on"):
        with console.status("looking at images and masks ..."):
            options, chosen = with_auto(options, prepared)
        options, alone = fitted_to_pairs(options, prepared)
        config = run_config(options)
        if alone:
            console.print(alone, highlight=False, markup=False, soft_wrap=True)
    if said := other_options(options.given, config.method.name):
        console.print(said, highlight=False, markup=False, soft_wrap=True)
    out = Path(options.out)
    result = train(
        prepared,
        config.method,
        config.network,
        config.training,
        out,
        seed=seed,
        resume=bool(options.resume),
        config=config.to_dict(),
        console=console,
        label=options.label,
        chosen=chosen,
        fitted=FITTED if alone else (),
    )
    if result.interrupted:
        return INTERRUPTED
    if result.is_rank_zero:
        code = "" if config.network.class_path is None else " --trust-code"
        console.print(f"done: metadcseg evaluate {out}{code}", highlight=False, markup=False, soft_wrap=True)
    return 0
