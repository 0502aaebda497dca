"""YAML of a user's, read so that no file costs more than it is long: aliases, numbers and depth are looked at first."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from metadcseg.errors import InputError, shortened
from metadcseg.reading import read_text

MOST_VALUES = 100_000
"""So many values a file may stand for, aliases counted where they are used."""

_MOST_BYTES = 2**20
_MOST_DIGITS = 40
_DEEPEST = 50
_MERGE = "tag:yaml.org,2002:merge"
_DATE = "tag:yaml.org,2002:timestamp"
_WHOLE = "tag:yaml.org,2002:int"
_NUMBERS = (_WHOLE, "tag:yaml.org,2002:float")


class _Loader(yaml.SafeLoader):
    """Leaves dates, and whole numbers that YAML would write otherwise, the text that they are.

    No option holds a date, and names of sets and runs look like it. So do ``001``, ``1_000`` and ``1:30``, of which
    YAML makes 1, 1000 and 90.
    """

    def whole(self, node: yaml.ScalarNode) -> int | str:
        number: int = self.construct_yaml_int(node)
        return number if str(number) == node.value else node.value


_Loader.yaml_implicit_resolvers = {
    first: [(tag, shape) for tag, shape in known if tag != _DATE]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor(_WHOLE, _Loader.whole)


def read_yaml(path: Path, named: str) -> Any:
    """Return what a YAML file holds, as plain values.

    Args:
        path: the file.
        named: how a sentence names it, such as ``--config mine.yaml``.

    Raises:
        InputError: where it cannot be read, is no YAML, or stands for what no file of options does: more than 100 000
            values, a circle, a name twice, depth above 50, numbers of more than 40 digits, NaN or infinity.
    """
    try:
        text = read_text(path, _MOST_BYTES)
    except OSError as error:
        raise InputError(f"{named} cannot be read ({error.strerror}): give a YAML file in UTF-8") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{named} is not UTF-8 at byte {error.start}: give a YAML file in UTF-8") from error
    return plain_yaml(text, named)


def plain_yaml(text: str, named: str) -> Any:
    """Return what YAML stands for, as plain values.

    Args:
        text: the YAML.
        named: where it comes from, the beginning of a sentence.

    Raises:
        InputError: see :func:`read_yaml`.

    Example:
        >>> plain_yaml("a: [1, 2.5, no, 007, 2026-01-31]", "x.yaml")
        {'a': [1, 2.5, False, '007', '2026-01-31']}
        >>> plain_yaml("a: &a [*a]", "x.yaml")
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: x.yaml, line 1: an alias (*name) lies within what it stands for: write it out
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, named)
        value = loader.construct_document(node)
    except InputError:
        raise
    except RecursionError as error:
        raise InputError(f"{named} is nested too deeply: write it flat") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        what = getattr(error, "problem", None) or "unreadable"
        raise InputError(f"{named}{line}: {what}: write it as YAML") from error
    except Exception as error:  # a tag whose text is none raises anything
        raise InputError(f"{named} holds a value that is none ({error}): put text into quotes") from error
    for number in _numbers(value):
        if isinstance(number, float) and not math.isfinite(number):
            raise InputError(f"{named} holds {number}, a number must be finite: write another one")
    return value


def _check(root: yaml.Node, named: str) -> None:
    """Refuse a tree of nodes that would take more memory than its text, before a value is made of it."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        line = f"{named}, line {node.start_mark.line + 1}"
        if (known := sizes.get(id(node))) is not None:
            if known == 0:
                raise InputError(f"{line}: an alias (*name) lies within what it stands for: write it out")
            return known
        if depth > _DEEPEST:
            raise InputError(f"{line}: nested more than {_DEEPEST} levels deep: write it flat")
        sizes[id(node)] = 0
        total = 1 + sum(size(child, depth + 1) for child in _children(node, named))
        if total > MOST_VALUES:
            raise InputError(
                f"{named} stands for more than {MOST_VALUES} values: write fewer, or fewer aliases (*name)"
            )
        sizes[id(node)] = total
        return total

    size(root, 0)


def _children(node: yaml.Node, named: str) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        names, reader = set[Any](), _Loader("")
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                merges = key.tag == _MERGE
                own = key.value if merges else reader.construct_object(key)  # 1 and 1.0 are one name
                if own in names:
                    name = shortened(key.value)
                    line = f"{named}, line {key.start_mark.line + 1}"
                    raise InputError(f"{line}: '{name}' stands there for the second time: keep one of them")
                names.add(own)
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif node.tag in _NUMBERS and len(node.value) > _MOST_DIGITS:
        line = f"{named}, line {node.start_mark.line + 1}"
        raise InputError(f"{line}: a number of {len(node.value)} digits: write at most {_MOST_DIGITS}")


def _numbers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, held in value.items():
            yield from (*_numbers(key), *_numbers(held))
    elif isinstance(value, (list, tuple, set)):
        for held in value:
            yield from _numbers(held)
    else:
        yield value
