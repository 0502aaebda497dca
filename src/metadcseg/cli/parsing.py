"""Command lines and configuration files: what they say, and one sentence where they cannot be understood.

A file counts as if its lines stood in front of the command line, which therefore outweighs it.
"""

import json
import re
from argparse import ArgumentError
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from importlib import resources
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from jsonargparse import ArgumentParser, Namespace

from metadcseg.cli.first import SHORT
from metadcseg.errors import InputError, shortened, shown, unknown_name
from metadcseg.reading import is_what
from metadcseg.yaml_file import read_yaml

AUTO = "auto"
"""The ``--config`` that is no file: what is not said is chosen from the images and the machine."""


def make_parser(name: str, description: str, add_options: Callable[[ArgumentParser], None]) -> ArgumentParser:
    """Return the parser of a command, with the option that every command has.

    Args:
        name: the command.
        description: what it does.
        add_options: adds what it can be told.
    """
    parser = ArgumentParser(
        prog=f"metadcseg {name}", description=description, exit_on_error=False, allow_abbrev=False
    )
    add_options(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback where something fails")
    return parser


def parse(
    parser: ArgumentParser, words: Sequence[str], base: Mapping[str, Any] | None = None, source: str = ""
) -> Namespace:
    """Parse the words of a command.

    Args:
        parser: made with ``exit_on_error=False``; where it has ``--config``, files are read, too.
        words: of the command line.
        base: what holds where neither words nor files say otherwise, laid out as in a file.
        source: where ``base`` comes from, for sentences.

    Returns:
        The options, and with them ``words``, and ``given``: those that were typed, with their dashes. Where it has
        ``--config``, also ``configs``, the names given to it; ``said``, the options that words or files name, without
        dashes; ``source``; and ``again(base, source)``, which parses the same words anew over another base.

    Raises:
        InputError: naming the option or file, and what is allowed.
    """
    has_files = "--config" in _long_options(parser)
    configs, rest = _split(words) if has_files else ([], list(words))
    names = _names(parser)
    files = [path for name in configs if (path := config_path(name)) is not None]
    front = [
        word
        for path in files
        for word in _options(f"--config {path}", "", read_yaml(path, f"--config {path}"), names)
    ]
    below = list(_options(source, "", base, names)) if base else []
    _refuse_groups(rest, names)
    below, front, rest = ([_whole(word, names) for word in each] for each in (below, front, rest))
    try:
        parsed: Namespace = parser.parse_args([*below, *front, *rest])
    except ArgumentError as error:
        said = _sentence(str(error), parser)
        for name in SHORT:  # as it was typed
            if f"--{name}" in _named(words):
                said = said.replace(f"--training.{name} ", f"--{name} ")
        raise InputError(f"{said} (see: {parser.prog} --help)") from error
    parsed["words"], parsed["given"] = tuple(words), _named(words)
    if has_files:
        parsed["configs"] = tuple(configs)
        parsed["said"] = frozenset(name.removeprefix("--") for name in _named([*front, *rest]))
        parsed["source"], parsed["again"] = source, partial(parse, parser, words)
    return parsed


def read_preset(name: str) -> dict[str, Any]:
    """Return what a preset of the package says, as plain values.

    Example:
        >>> read_preset("small")["training"]["size"]
        96
    """
    tree: dict[str, Any] = read_yaml(_presets() / f"{name}.yaml", name)
    return tree


def preset_names() -> list[str]:
    """Return the names of the presets that come with the package.

    Example:
        >>> "paper-kvasir-seg" in preset_names()
        True
    """
    return sorted(path.stem for path in _presets().glob("*.yaml"))


def config_path(name: str) -> Path | None:
    """Return the file behind a ``--config``: a file of the user's, or a preset by its name; None for ``auto``.

    Raises:
        InputError: where it is none of these.
    """
    if Path(name).is_file():
        return Path(name)
    if name == AUTO:
        return None
    if name in preset_names():
        return _presets() / f"{name}.yaml"
    known = [AUTO, *preset_names()]
    if (path := Path(name)).suffix or "/" in name or path.exists():
        what = f"it {is_what(path)}" if path.exists() else "there is no such file"
        raise InputError(f"--config {name}: {what} (presets go by name: {', '.join(known)})")
    raise unknown_name("preset", name, known)


def _presets() -> Path:
    return Path(str(resources.files("metadcseg") / "configs"))


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names given to ``--config``, and the other words."""
    configs: list[str] = []
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        option, _, name = word.partition("=")
        found = next(waiting, None) if word == "--config" else name
        if option != "--config" or found is None:
            rest.append(word)
        else:
            configs.append(found)
    return configs, rest


def _refuse_groups(words: Sequence[str], names: Collection[str]) -> None:
    """Refuse a whole group of options as one: its file would be read by other rules than those of ``--config``."""
    groups = {name.partition(".")[0]: name for name in names if "." in name}
    for word in _named(words):
        if word[2:] in groups:
            raise InputError(
                f"{word} is a group of options: write one, such as --{groups[word[2:]]}, or name a file by --config"
            )


def _whole(word: str, names: Collection[str]) -> str:
    """Return a word with the whole name of an option that has a short one, too, so that the last of both counts."""
    option, is_given, value = word.partition("=")
    whole = f"training.{option[2:]}"
    if option.startswith("--") and option[2:] in SHORT and whole in names:
        return f"--{whole}{is_given}{value}"
    return word


def _named(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word.partition("=")[0] for word in words if word.startswith("--"))


def _names(parser: ArgumentParser) -> dict[str, Collection[type]]:
    """Return the options that a file can hold, those that take a value, and of those that take text all types.

    Types are left out where one is no plain type, and where argparse does not tell them.
    """
    known = _long_options(parser)
    names = [option for option, valued in known.items() if valued and option != "--config"]
    return {option.removeprefix("--"): _texts(parser, option) for option in names}


def _texts(parser: ArgumentParser, option: str) -> Collection[type]:
    own = getattr(parser, "_option_string_actions", None)
    action = own.get(option) if isinstance(own, dict) else None
    kind = getattr(action, "_typehint", None) or getattr(action, "type", None)
    kinds = set(get_args(kind) or (kind,))
    return kinds if str in kinds and kinds <= {str, bool, NoneType} else ()


def _options(source: str, group: str, tree: Any, names: Mapping[str, Collection[type]]) -> Iterator[str]:
    """Yield what a file says as words of a command line."""
    if not isinstance(tree, Mapping) or not tree:
        where = f"'{group}' of {source}" if group else source
        raise InputError(f"{where} must hold options, such as lr: 0.01 under training:, got {shown(tree)}")
    for key, value in tree.items():
        name = f"{group}.{key}" if group else str(key)
        if any(other.startswith(f"{name}.") for other in names):
            yield from _options(source, name, value, names)
        elif name in names:
            yield f"--{name}={_word(f'{source}: {name}', value, names[name])}"
        else:
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else "see metadcseg train --help-all for all of them"
            raise InputError(f"{source}: unknown option '{shortened(name)}': {hint}")


def _word(named: str, value: Any, texts: Collection[type]) -> str:
    """Return what a file says of an option as its word of a command line, by which nothing of it may change.

    Args:
        named: file and option, for sentences.
        value: what the file holds.
        texts: of :func:`_names`.
    """
    if isinstance(value, str):
        if "&" in value and "*" in value:  # the parser takes text for YAML again
            raise InputError(f"{named} holds aliases within a text: write it as YAML, without quotes")
        return value
    whole = type(value) is int  # other numbers can be written in several ways, and which it was is lost
    if texts and not whole and type(value) not in texts:
        said = json.dumps(value) if value is None or isinstance(value, bool) else shown(value)
        raise InputError(f"{named} must be text, got {said}: write one text, in quotes")
    try:
        return json.dumps(value)
    except TypeError as error:  # a tag such as !!set or !!binary
        raise InputError(f"{named} holds {shown(value)}: write text, numbers, lists or mappings") from error


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
        return f"--{found[1]} must be {_allowed(found[2])}, got {shortened(found[3])}"
    if found := re.search(r"argument (--[\w.]+): invalid _plain_mapping value: (.*)", line):
        return f"{found[1]} must be {_KINDS['dict']}, got {shortened(found[2])}"
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
    types = expected.partition("Errors:")[0]
    if found := re.search(r"tuple\[([\w, ]+)\]", types):  # library text names no class there
        inner = found[1].split(", ")
        or_null = " or null" if "NoneType" in types else ""
        return f"{len(inner)} values, {' and '.join(dict.fromkeys(_KINDS[kind] for kind in inner))} each{or_null}"
    kinds = dict.fromkeys(re.findall(r"<class '(\w+)'>", types))
    if kinds and kinds.keys() <= _KINDS.keys():
        return " or ".join(_KINDS[kind] for kind in kinds)
    return expected.removeprefix("Expected ").rstrip(".")


def _unknown_option(name: str, parser: ArgumentParser) -> str:
    options = [option.removeprefix("--") for option in _long_options(parser)]
    near = get_close_matches(name, options, n=1, cutoff=0.5)
    return f"unknown option --{shortened(name)}" + (f": did you mean --{near[0]}?" if near else "")


def _long_options(parser: ArgumentParser) -> dict[str, bool]:
    """Return the options of a parser that begin with two dashes, and whether each needs a value.

    argparse has no documented list of them; where its own has gone, they are read from the help.
    """
    own = getattr(parser, "_option_string_actions", None)
    if isinstance(own, dict):
        return {option: action.nargs not in (0, "?") for option, action in own.items() if option[:2] == "--"}
    listed = re.findall(r"^ +(?:-\w, )?(--[\w.\-]+)([ =]\S)?", parser.format_help(), re.M)
    return {option: bool(value) for option, value in listed}
