"""Help that is read: first the dozen options that people need, with ``--help-all`` every one, in plain words."""

import re
import shutil
import textwrap
from argparse import SUPPRESS, Action
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Literal, get_args, get_origin

from metadcseg.cli.first import COMMON, EXAMPLES, FIRST, USAGE
from metadcseg.cli.parsing import make_parser

_DOZEN = 12
_COLUMN = 26
_TITLES = {
    "network": "the network",
    "training": "the training",
    "training.augment": "how training images are moved",
}

_EQUATIONS = {
    "1": "pseudo-labels",
    "2": "the weights at the start",
    "5": "the features",
    "6-8": "the regions and boundary",
    "8": "the edges",
    "9": "the trust in either label",
    "11": "the center distance",
    "12": "the boundary weights",
    "13": "the training objective",
    "14": "the cost efficiency",
    "21": "the virtual step",
    "21-22": "the meta step",
    "22": "the weight update",
    "23": "the rectified weights",
    "24": "the normalization of weights",
    "44": "the gradient of the boundary weights",
    "46": "the largest center distance",
    "47": "the centers of small regions",
}
"""What the paper's equations are about, for whoever does not have it at hand."""


def help_page(name: str, command: ModuleType, *, whole: bool) -> str:
    """Return the help of a command.

    Args:
        name: the command.
        command: its module.
        whole: all options instead of those that people need first.
    """
    own = getattr(command, "add_own_options", None)
    if whole or own is None:
        parser = make_parser(name, command.DESCRIPTION, command.add_options)
    else:  # without the options of network, training and methods, which wait for torch
        parser = make_parser(name, command.DESCRIPTION, own)
        for option, (placeholder, text) in COMMON.items():
            parser.add_argument(option, metavar=placeholder, help=text)
    if not hasattr(
        parser, "_actions"
    ):  # argparse has no documented list of its options: then in its own words
        return str(parser.format_help())
    actions = [action for action in parser._actions if is_shown(action)]
    first = _first(name, actions)
    others = [action for action in actions if action not in first]
    usage = USAGE.get(name) or _usage(actions)
    lines = [f"usage: metadcseg {name} {usage}", "", *_wrapped(command.DESCRIPTION, "")]
    lines += _block("options people need" if others or own else "options", first)
    if whole:
        for title, members in _groups(others, getattr(command, "GROUPS", {})).items():
            lines += _block(title, members)
    elif others or own:
        lines += ["", f"every option: metadcseg {name} --help-all"]
    examples = EXAMPLES.get(name, ())
    lines += (
        ["", f"example{'s' if len(examples) > 1 else ''}:", *(f"  {line}" for line in examples)]
        if examples
        else []
    )
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Return a docstring's words without markup, equations named by what they are about.

    Example:
        >>> plain("``a`` of :class:`~metadcseg.x.Y`, see eq. 22")
        'a of Y, see the weight update (eq. 22)'
    """
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", " ".join(text.split()))
    text = re.sub(r"``(.*?)``", r"\1", text)
    return re.sub(r"(?<!\()\b[Ee]q\. (\d+(?:-\d+)?)", _named, text)


def placeholder(action: Action) -> str:
    """Return what stands for an option's value, empty for a switch."""
    if action.nargs == 0:
        return ""
    if isinstance(action.metavar, str) and not action.metavar.startswith(("{", "[ITEM")):
        return f"[{action.metavar}]" if action.nargs == "?" else action.metavar
    if choices := choices_of(action):
        return "|".join(choices)
    kind = _kind(action)
    return {int: "N", float: "X"}.get(kind, "[A,B]" if get_origin(kind) is tuple else "TEXT")


def choices_of(action: Action) -> list[str]:
    """Return the values that an option may have, none where they cannot be listed."""
    kind = _kind(action)
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    return ["true", "false"] if kind is bool and action.nargs != 0 else []


def is_shown(action: Action) -> bool:
    """Return whether an option is there for people: not help itself, nor what only the parser's library adds."""
    text = action.help or ""
    return text != SUPPRESS and "--help" not in action.option_strings and "Path to a conf" not in text


def name_of(action: Action) -> str:
    """Return the long name of an option, of a positional its own."""
    return next((name for name in action.option_strings if name.startswith("--")), action.dest)


def _kind(action: Action) -> Any:
    """Return the type of an option, of an optional one that which is not None."""
    hint = getattr(action, "_typehint", action.type)
    parts = [part for part in get_args(hint) if part is not type(None)]
    return parts[0] if type(None) in get_args(hint) and len(parts) == 1 else hint


def _first(name: str, actions: Sequence[Action]) -> list[Action]:
    known = {name_of(action): action for action in actions}
    named = [known[option] for option in FIRST.get(name, ()) if option in known]
    if named:
        return named
    own = [action for action in actions if name_of(action) != "--debug"]
    return own[:_DOZEN] if len(own) > _DOZEN + 2 else list(actions)


def _groups(actions: Sequence[Action], named: Mapping[str, Sequence[str]]) -> dict[str, list[Action]]:
    """Return title -> options, as the command groups them, or by what stands before the last dot."""
    titles = {name: title for title, names in named.items() for name in names}
    groups: dict[str, list[Action]] = {}
    for action in actions:
        group = name_of(action).removeprefix("--").rpartition(".")[0]
        title = _TITLES.get(group, f"method {group}") if group else titles.get(action.dest, "more")
        groups.setdefault(title, []).append(action)
    return groups


def _usage(actions: Sequence[Action]) -> str:
    needed = [action.metavar or action.dest.upper() for action in actions if not action.option_strings]
    needed += [
        f"{name_of(action)} {placeholder(action)}"
        for action in actions
        if action.option_strings and action.required
    ]
    return " ".join([*map(str, needed), "[OPTIONS]"])


def _block(title: str, actions: Sequence[Action]) -> list[str]:
    lines = ["", f"{title}:"]
    for action in actions:
        head = (
            f"{name_of(action)} {placeholder(action)}".strip()
            if action.option_strings
            else placeholder(action)
        )
        if not action.option_strings and action.metavar is None:
            head = action.dest.upper()
        text = plain(action.help or "").rstrip(".") + _default(action)
        body = _wrapped(text, " " * (_COLUMN + 2))
        if len(head) >= _COLUMN:
            lines += [f"  {head}", *body]
        else:
            lines += [f"  {head:<{_COLUMN}}{body[0].strip()}", *body[1:]]
    return lines


def _default(action: Action) -> str:
    value = action.default
    if (
        value in (None, False, "", SUPPRESS)
        or isinstance(value, dict | list)
        or "default" in (action.help or "")
    ):
        return ""
    shown = (
        str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value
    )
    return f" (default {list(shown) if isinstance(shown, tuple) else shown})"


def _wrapped(text: str, indent: str) -> list[str]:
    width = min(100, max(60, shutil.get_terminal_size((100, 24)).columns))
    return textwrap.wrap(
        " ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    ) or [""]


def _named(found: re.Match[str]) -> str:
    number = found[1]
    about = _EQUATIONS.get(number) or _EQUATIONS.get(number.partition("-")[0])
    return f"{about} (eq. {number})" if about else found[0]
