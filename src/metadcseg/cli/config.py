"""Options from the command line and from YAML: the option dataclasses of the rooms, composed under their names.

A file, a preset and the command line speak of the same keys: ``training.lr`` is ``--training.lr`` there and
``training: {lr: ...}`` here; a method's own options stand under the method's name. An unknown key is an error.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from warnings import warn

from jsonargparse import ArgumentParser, Namespace

from metadcseg.cli.first import COMMON, DEFAULT_METHOD
from metadcseg.cli.parsing import AUTO, parse, preset_names
from metadcseg.errors import Note, unknown_name
from metadcseg.methods import METHODS
from metadcseg.methods.base import Method
from metadcseg.networks import Consent, NetworkOptions
from metadcseg.networks.registry import KINDS, OPTIONS
from metadcseg.training import TrainingOptions
from metadcseg.training.distributed.launch import as_started
from metadcseg.yaml_file import plain_yaml


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides how a run goes, beside its data and its seed.

    Args:
        method: the method with its options.
        network: which network.
        training: how it is trained.
        methods: every method with the options that the same file or command line gives it.
    """

    method: Method
    network: NetworkOptions
    training: TrainingOptions
    methods: Mapping[str, Method]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values in the layout of a ``--config`` file."""
        return {
            "method": self.method.name,
            self.method.name: asdict(self.method),  # type: ignore[call-overload]
            "network": asdict(self.network),
            "training": asdict(self.training),
        }


def add_run_options(parser: ArgumentParser) -> None:
    """Add ``--config``, ``--method``, ``--network.*``, ``--training.*`` and every method's own options."""
    parser.add_argument(
        "--config",
        type=str,
        metavar="NAME",
        help=f"{COMMON['--config'][1]}; all presets: {', '.join(preset_names())}",
    )
    parser.add_argument(
        "--method",
        type=str,
        default=DEFAULT_METHOD,
        metavar="NAME",
        help=f"one of: {', '.join(sorted(METHODS))}",
    )
    parser.add_class_arguments(NetworkOptions, "network", skip={"init_args"})
    # never by its type: jsonargparse imports and calls whatever class a mapping of Any names
    parser.add_argument(
        "--network.init_args", type=_plain_mapping, default={}, help="what your own class is created with"
    )
    parser.add_class_arguments(TrainingOptions, "training")
    for name, method in METHODS.items():
        parser.add_class_arguments(method, name)


def run_config(values: Namespace) -> RunConfig:
    """Return the configuration that a parsed command line describes.

    Args:
        values: parsed by a parser with :func:`add_run_options`.

    Raises:
        InputError: where the method is unknown or an option has a value that it must not have.
    """
    if values.method not in METHODS:
        raise unknown_name("method", values.method, METHODS)
    groups = {name: values[name] for name in ("method", "network", "training", *METHODS)}
    groups["network"] = _of_this_network(groups["network"], values.given, values.said)
    made = _run_parser().instantiate(Namespace(groups))  # type: ignore[no-untyped-call]
    methods = {name: made[name] for name in METHODS}
    return RunConfig(methods[values.method], made.network, as_started(made.training), methods)


@cache
def _run_parser() -> ArgumentParser:
    """Return a parser of the options of a run alone; a grid asks it once for every row."""
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    add_run_options(parser)
    return parser


def _of_this_network(network: Namespace, typed: Sequence[str], said: Collection[str]) -> Namespace:
    """Return the options of a network without those that a ``--config`` sets for another; typed ones stay."""
    kind = KINDS.get(network.name)
    if kind is None:
        return network  # refused when it is made
    spare = [
        option
        for option in OPTIONS
        if option not in kind.options and network[option] is not None and f"--network.{option}" not in typed
    ]
    if not spare:
        return network
    told = [f"network.{option} {network[option]}" for option in spare if f"network.{option}" in said]
    if told:  # what auto would choose for another network is nobody's word
        sentence = f"{', '.join(told)} of a preset or file is left out: {network.name} has no such option"
        warn(sentence, Note, stacklevel=2)
    return Namespace({**vars(network), **dict.fromkeys(spare)})  # type: ignore[no-untyped-call]


def _plain_mapping(text: str | dict[str, Any]) -> dict[str, Any]:
    """Return a mapping of plain values, as it is or from YAML, of which JSON is a part."""
    held = plain_yaml(text, "--network.init_args") if isinstance(text, str) else text
    if not isinstance(held, dict):
        raise ValueError("not a mapping")
    return held


def check_trust(values: Namespace) -> None:
    """Refuse a network's class that a file names, a run or a ``--config``, without ``--trust-code``.

    Args:
        values: parsed by a parser with :func:`add_run_options` and ``--trust-code``; a class that was typed on the
            command line needs no other consent.

    Raises:
        InputError: naming the class, and where it comes from.
    """
    path, option = values.network.class_path, "--network.class_path"
    if f"{option}={path}" in values.words or (option, path) in pairwise(values.words):
        return
    source: str = values.source  # of what neither words nor files say
    if option.removeprefix("--") in values.said:
        files = [f"--config {name}" for name in values.configs if Path(name).is_file()]
        source = " or ".join(files)
    Consent(source or "the command line", values.trust_code).check(path)


def uses_auto(values: Namespace) -> bool:
    """Return whether what is not said is to be chosen: by default, and where ``--config auto`` is given."""
    return not values.configs or AUTO in values.configs


def other_options(given: Sequence[str], method: str) -> str | None:
    """Return the sentence that names options that were typed and have no effect, None where there are none.

    A script may give all its rows the same options: those of other methods are ignored.

    Args:
        given: the options that were typed, with their dashes.
        method: the method of this run.
    """
    others = [
        option
        for option in dict.fromkeys(given)
        if (group := option.removeprefix("--").partition(".")[0]) in METHODS and group != method
    ]
    if not others:
        return None
    what = (
        "1 option of another method has"
        if len(others) == 1
        else f"{len(others)} options of other methods have"
    )
    return f"{what} no effect with --method {method}: {', '.join(others)}"


def read_config(name: str) -> RunConfig:
    """Return the configuration in a file or preset.

    Raises:
        InputError: where there is no such file, or something in it is unknown or not allowed.
    """
    parser = ArgumentParser(prog="metadcseg train", exit_on_error=False, allow_abbrev=False)
    add_run_options(parser)
    return run_config(parse(parser, ["--config", name]))
