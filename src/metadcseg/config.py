"""Options from the command line and from YAML: the option dataclasses of the rooms, composed under their names.

A file, a preset and the command line speak of the same keys: ``training.lr`` is ``--training.lr`` there and
``training: {lr: ...}`` here. A key that nobody knows is an error.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from metadcseg.errors import InputError, unknown_name
from metadcseg.methods import METHODS, create_method
from metadcseg.methods.contract import Method
from metadcseg.networks import NetworkOptions
from metadcseg.training import TrainingOptions


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides how a run goes, beside its data and its seed.

    Args:
        method: the method with its options.
        network: which network.
        training: how it is trained.
    """

    method: Method
    network: NetworkOptions
    training: TrainingOptions

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, in the layout that a ``--config`` file has."""
        return {
            "method": self.method.name,
            self.method.name: asdict(self.method),  # type: ignore[call-overload]
            "network": asdict(self.network),
            "training": asdict(self.training),
        }


def preset_names() -> list[str]:
    """Return the names of the presets that come with the package."""
    folder = resources.files("metadcseg") / "configs"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def config_path(name: str) -> Path:
    """Return the file behind a ``--config``: a file of the user's, or a preset by its name.

    Raises:
        InputError: where it is neither.
    """
    if Path(name).is_file():
        return Path(name)
    if name in preset_names():
        return Path(str(resources.files("metadcseg") / "configs" / f"{name}.yaml"))
    if Path(name).suffix in (".yaml", ".yml") or "/" in name:
        raise InputError(f"--config {name}: there is no such file; presets go by name: {', '.join(preset_names())}")
    raise unknown_name("preset", name, preset_names())


def add_run_options(parser: ArgumentParser) -> None:
    """Add ``--method``, ``--network.*``, ``--training.*`` and every method's own options to a parser."""
    parser.add_argument("--method", type=str, default="metadcseg", help=f"one of: {', '.join(sorted(METHODS))}")
    parser.add_class_arguments(NetworkOptions, "network")
    parser.add_class_arguments(TrainingOptions, "training")
    for name, method in METHODS.items():
        parser.add_class_arguments(method, name)


def run_config(namespace: Namespace, parser: ArgumentParser) -> RunConfig:
    """Return the configuration that a parsed command line describes.

    Raises:
        InputError: where the method is unknown or an option has a value that it must not have.
    """
    if namespace.method not in METHODS:
        raise unknown_name("method", namespace.method, METHODS)
    values = namespace.clone()
    for other in set(METHODS) - {namespace.method}:
        del values[other]
    return config_from(values.as_dict() | {"method": namespace.method})


def config_from(values: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of a nested mapping, such as a run's own ``config.yaml`` holds.

    Raises:
        InputError: for an unknown method or option, or a value that is not allowed.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(NetworkOptions, "network")
    parser.add_class_arguments(TrainingOptions, "training")
    tree = parser.instantiate_classes(parser.parse_object({k: dict(values[k]) for k in ("network", "training")}))
    name = str(values["method"])
    return RunConfig(create_method(name, **dict(values.get(name, {}))), tree.network, tree.training)
