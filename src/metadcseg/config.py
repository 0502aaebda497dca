"""Options from the command line and from YAML: the option dataclasses of the rooms, composed under their names.

A file, a preset and the command line speak of the same keys: ``training.lr`` is ``--training.lr`` there and
``training: {lr: ...}`` here; a method's own options stand under the method's name. An unknown key is an error.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace  # type: ignore[attr-defined]

from metadcseg.errors import InputError, unknown_name
from metadcseg.methods import METHODS
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


def preset_names() -> list[str]:
    """Return the names of the presets that come with the package.

    Example:
        >>> "paper-kvasir-seg" in preset_names()
        True
    """
    folder = resources.files("metadcseg") / "configs"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def config_path(name: str) -> Path:
    """Return the file behind a ``--config``: a file of the user's, or a preset by its name.

    Raises:
        InputError: where it is neither.
    """
    if Path(name).is_file():
        return Path(name)
    if name in preset_names():
        return Path(str(resources.files("metadcseg") / "configs" / f"{name}.yaml"))
    if Path(name).suffix or "/" in name or Path(name).is_dir():
        raise InputError(
            f"--config {name}: there is no such file (presets go by name: {', '.join(preset_names())})"
        )
    raise unknown_name("preset", name, preset_names())


class _FileOrPreset(ActionConfigFile):
    """``--config`` takes a file or the name of a preset."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        path = config_path(values)
        names = [option.removeprefix("--") for option in parser._option_string_actions]
        _check_file(path, names)
        super().__call__(parser, cfg, str(path), option_string)  # type: ignore[no-untyped-call]


def _check_file(path: Path, names: Collection[str]) -> None:
    """Refuse a file whose layout is wrong: the parser would skip some of it in silence.

    Args:
        path: the file.
        names: every option, with dots.

    Raises:
        InputError: naming the file, and what in it is not as it must be.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path} cannot be read ({error}): give a YAML file in UTF-8") from error
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1
        what = getattr(error, "problem", None) or "unreadable"
        raise InputError(f"--config {path}, line {line}: {what}: write it as YAML") from error
    _check_group(path, "", tree, names)


def _check_group(path: Path, group: str, tree: Any, names: Collection[str]) -> None:
    if not isinstance(tree, dict) or not tree:
        where = f"'{group}' of --config {path}" if group else f"--config {path}"
        raise InputError(f"{where} must hold options, such as lr: 0.01 under training:, got {tree!r:.40}")
    for key, value in tree.items():
        name = f"{group}.{key}" if group else str(key)
        if any(other.startswith(f"{name}.") for other in names):
            _check_group(path, name, value, names)
        elif name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else "see metadcseg train --help for all of them"
            raise InputError(f"--config {path}: unknown option '{name}': {hint}")


def add_run_options(parser: ArgumentParser) -> None:
    """Add ``--config``, ``--method``, ``--network.*``, ``--training.*`` and every method's own options."""
    parser.add_argument(
        "--config",
        action=_FileOrPreset,
        help=f"a YAML file of these options, or a preset: {', '.join(preset_names())}",
    )
    parser.add_argument(
        "--method", type=str, default="metadcseg", help=f"one of: {', '.join(sorted(METHODS))}"
    )
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
    parser = ArgumentParser(exit_on_error=False)
    add_run_options(parser)
    return run_config(parser.parse_args(["--config", name]))
