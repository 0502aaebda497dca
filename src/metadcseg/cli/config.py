"""Options from the command line and from YAML: the option dataclasses of the rooms, composed under their names.

A file, a preset and the command line speak of the same keys: ``training.lr`` is ``--training.lr`` there and
``training: {lr: ...}`` here; a method's own options stand under the method's name. An unknown key is an error.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from metadcseg.cli.parsing import parse, preset_names
from metadcseg.errors import unknown_name
from metadcseg.methods import METHODS
from metadcseg.methods.base import Method
from metadcseg.networks import NetworkOptions
from metadcseg.training import TrainingOptions


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
        help=f"a YAML file of these options, or a preset: {', '.join(preset_names())}",
    )
    parser.add_argument("--method", type=str, default="binned", help=f"one of: {', '.join(sorted(METHODS))}")
    parser.add_class_arguments(NetworkOptions, "network")
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
    parser = ArgumentParser(exit_on_error=False)
    add_run_options(parser)
    groups = {name: values[name] for name in ("method", "network", "training", *METHODS)}
    made = parser.instantiate(Namespace(groups))  # type: ignore[no-untyped-call]
    methods = {name: made[name] for name in METHODS}
    return RunConfig(methods[values.method], made.network, made.training, methods)


def read_config(name: str) -> RunConfig:
    """Return the configuration in a file or preset.

    Raises:
        InputError: where there is no such file, or something in it is unknown or not allowed.
    """
    parser = ArgumentParser(prog="metadcseg train", exit_on_error=False)
    add_run_options(parser)
    return run_config(parse(parser, ["--config", name]))
