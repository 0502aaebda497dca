"""Command lines and configuration files: what they say, and one sentence where they cannot be understood.

A file counts as if its lines stood in front of the command line, which therefore outweighs it.
"""

import json
import re
from argparse import ArgumentError
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from metadcseg.errors import InputError, unknown_name


def parse(parser: ArgumentParser, words: Sequence[str]) -> Namespace:
    """Parse the words of a command.

    Args:
        parser: made with ``exit_on_error=False``; where it has ``--config``, files are read, too.
        words: of the command line.

    Raises:
        InputError: naming the option or file, and what is allowed.
    """
    try:
        parsed: Namespace = parser.parse_args(_with_files(parser, words))
    except ArgumentError as error:
        raise InputError(f"{_sentence(str(error), parser)} (see: {parser.prog} --help)") from error
    return parsed


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


def _with_files(parser: ArgumentParser, words: Sequence[str]) -> list[str]:
    """Return the words with what stands in the files of ``--config`` in front of them."""
    known = _long_options(parser)
    if "--config" not in known:
        return list(words)
    names = [option.removeprefix("--") for option, valued in known.items() if valued and option != "--config"]
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        name = next(waiting, None) if word == "--config" else word.partition("=")[2]
        if word.partition("=")[0] != "--config" or name is None:
            rest.append(word)
        else:
            path = config_path(name)
            front += _options(path, "", _read(path), names)
    return front + rest


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path} cannot be read ({error}): give a YAML file in UTF-8") from error
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1
        what = getattr(error, "problem", None) or "unreadable"
        raise InputError(f"--config {path}, line {line}: {what}: write it as YAML") from error


def _options(path: Path, group: str, tree: Any, names: Collection[str]) -> Iterator[str]:
    """Yield what a file says as words of a command line."""
    if not isinstance(tree, dict) or not tree:
        where = f"'{group}' of --config {path}" if group else f"--config {path}"
        raise InputError(f"{where} must hold options, such as lr: 0.01 under training:, got {tree!r:.40}")
    for key, value in tree.items():
        name = f"{group}.{key}" if group else str(key)
        if any(other.startswith(f"{name}.") for other in names):
            yield from _options(path, name, value, names)
        elif name in names:
            yield f"--{name}={value if isinstance(value, str) else json.dumps(value, default=str)}"
        else:
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else "see metadcseg train --help for all of them"
            raise InputError(f"--config {path}: unknown option '{name}': {hint}")


def _sentence(message: str, parser: ArgumentParser) -> str:
    """Return the parser's complaint in our words and on one line, with the nearest name where one is unknown."""
    line = re.sub(r"\s+", " ", message).strip()
    for pattern, shape in (
        (r"unrecognized arguments: --([\w.\-]+)", "{0}"),
        (r"Group '([\w.]+)' does not accept option '([\w.]+)'", "{0}.{1}"),
        (r"Option '([\w.]+)' is not accepted", "{0}"),
    ):
        if found := re.search(pattern, line):
            return _unknown_option(shape.format(*found.groups()), parser)
    if found := re.search(r"arguments are required: (.*)", line):
        options = _long_options(parser)
        names = [f"--{name}" if f"--{name}" in options else name.upper() for name in found[1].split(", ")]
        return f"{' and '.join(names)} must be given"
    if found := re.search(r'^Parser key "([\w.]+)": (.*?) (?:Got|Given) value: (.*)$', line):
        return f"--{found[1]} must be {_allowed(found[2])}, got {found[3]}"
    return line


_KINDS = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "text"}
_KINDS |= {"tuple": "a list such as [4,30]", "NoneType": "null", "dict": 'a mapping such as {"name": 1}'}


def _allowed(expected: str) -> str:
    """Return in words what the parser expected.

    Example:
        >>> _allowed("Expected a <class 'float'>."), _allowed("Expected a typing.Literal['none', 'mixed'].")
        ('a number', 'one of none, mixed')
    """
    if choices := re.search(r"Literal\[(.*?)\]", expected):
        return f"one of {choices[1]}".replace("'", "")
    kinds = dict.fromkeys(re.findall(r"<class '(\w+)'>", expected.partition("Errors:")[0]))
    if kinds and kinds.keys() <= _KINDS.keys():
        return " or ".join(_KINDS[kind] for kind in kinds)
    return expected.removeprefix("Expected ").rstrip(".")


def _unknown_option(name: str, parser: ArgumentParser) -> str:
    options = [option.removeprefix("--") for option in _long_options(parser)]
    near = get_close_matches(name, options, n=1, cutoff=0.5)
    return f"unknown option --{name}" + (f": did you mean --{near[0]}?" if near else "")


def _long_options(parser: ArgumentParser) -> dict[str, bool]:
    """Return the options of a parser that begin with two dashes, and whether each takes a value.

    argparse has no documented list of them; where its own has gone, they are read from the help.
    """
    own = getattr(parser, "_option_string_actions", None)
    if isinstance(own, dict):
        return {option: action.nargs != 0 for option, action in own.items() if option[:2] == "--"}
    listed = re.findall(r"^ +(?:-\w, )?(--[\w.\-]+)([ =]\S)?", parser.format_help(), re.M)
    return {option: bool(value) for option, value in listed}
