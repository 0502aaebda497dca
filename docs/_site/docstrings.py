"""Docstrings on the site: a section ``Example:`` becomes ``Examples:``, and Sphinx roles become code.

The docstrings stay as they are. mkdocs.yml names this file as an extension of griffe, which reads them.
"""

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Rewrite every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = rewritten(obj.docstring.value)


def rewritten(text: str) -> str:
    """Return a docstring as Markdown has it.

    Example:
        >>> rewritten("See :func:`~metadcseg.files.write_bytes`, ``x``.")
        'See `write_bytes`, `x`.'
    """
    text = re.sub(r"^(\s*)Example:", r"\1Examples:", text, flags=re.MULTILINE)
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")
