"""ES modules, kept as files each of which does one thing, joined into the one script of a page.

A page opened from disk may not load modules, so they travel inside. Each becomes a function of its own that returns
what it exports: no names collide, and nothing is rewritten but the lines of ``import`` and ``export``.
"""

import re
from collections.abc import Mapping

from metadcseg.errors import InputError

_IMPORT = re.compile(r'^import \{([\w\s,$]*)\} from "\./([\w-]+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function\*?|const|class) (\w+)", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)


def join_modules(sources: Mapping[str, str], entry: str = "main") -> str:
    r"""Return one script that does what a module and all those that it imports do.

    Args:
        sources: text of every module by its name, without ``.js``.
        entry: the module that is run.

    Returns:
        The script; modules stand in the order in which they need each other.

    Raises:
        InputError: for a module that is missing, imported in a circle, or written in a way that is not understood.

    Example:
        >>> modules = {"main": 'import { two } from "./numbers.js";\nshow(two);\n',
        ...            "numbers": "export const two = 2;\n"}
        >>> print(join_modules(modules))
        "use strict";
        const module_numbers = (() => {
        const two = 2;
        return { two };
        })();
        const module_main = (() => {
        const { two } = module_numbers;
        show(two);
        return {  };
        })();
        <BLANKLINE>
    """
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise InputError(
                f"modules of the page import each other in a circle: {', '.join([*above, name])}"
            )
        if name in order:
            return
        if name not in sources:
            raise InputError(f"the page needs a module {name}.js, which is not there")
        for _, other in _IMPORT.findall(sources[name]):
            visit(other, (*above, name))
        order.append(name)

    visit(entry, ())
    return '"use strict";\n' + "".join(_wrapped(name, sources[name]) for name in order)


def _wrapped(name: str, text: str) -> str:
    exported = [found for _, found in _EXPORT.findall(text)]
    text = _IMPORT.sub(lambda hit: f"const {{{_renamed(hit[1])}}} = {_variable(hit[2])};", text)
    text = _EXPORT.sub(lambda hit: f"{hit[1]} {hit[2]}", text)
    if strange := _OTHER.search(text):
        raise InputError(f"{name}.js: write names in braces and declarations only, got {strange[0]!r}")
    if "</script" in text.lower() or "<!--" in text:
        raise InputError(f"{name}.js holds what would end its script within a page")
    return f"const {_variable(name)} = (() => {{\n{text}return {{ {', '.join(exported)} }};\n}})();\n"


def _variable(name: str) -> str:
    return f"module_{name.replace('-', '_')}"


def _renamed(names: str) -> str:
    return re.sub(r"(\w+) as (\w+)", r"\1: \2", names)
