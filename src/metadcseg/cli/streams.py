"""What reaches a terminal or a pipe: foreign text that changes no terminal, and streams that others close or fill."""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from metadcseg.cli.output import unwritable
from metadcseg.errors import Note, one_line


class SafeConsole(Console):
    """A console on which names of files may hold anything: what is no printable character is shown escaped.

    Standard output that cannot be written is an error, standard error is given up: there is nowhere to say so.

    Args:
        options: of rich.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield segments whose text is clean; those that move the cursor are rich's own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(clean(segment.text), segment.style)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, see :meth:`rich.console.Console.print`.

        Raises:
            OutputClosed: where nobody reads standard output any more.
            InputError: where it cannot be written.
        """
        try:
            super().print(*objects, **options)
        except OSError as error:
            if not self.stderr:
                raise unwritable(error) from error
            self.quiet = True

    def on_broken_pipe(self) -> None:
        """Raise again; called while the error is handled."""
        raise


def clean(text: str) -> str:
    r"""Return text that changes no terminal, in the lines that it has.

    Example:
        >>> clean("a\x1b[31m\u202eb\nc")
        'a\\x1b[31m\\u202eb\nc'
    """
    return text if text.isprintable() else "\n".join(one_line(line) for line in text.split("\n"))


@contextmanager
def spoken(console: Console) -> Iterator[None]:
    """Print what is decided by itself as a note, each sentence once; other warnings and logs stay Python's, but clean.

    Args:
        console: of standard error.
    """
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, Note):
            usual(clean(str(message)), category, *where, **more)
        elif str(message) not in said:
            said.add(str(message))
            console.print(f"note: {one_line(str(message))}", markup=False, highlight=False, soft_wrap=True)

    def cleaned(record: logging.LogRecord) -> bool:
        record.msg, record.args = clean(record.getMessage()), ()
        return True

    with warnings.catch_warnings():
        usual: Callable[..., Any] = warnings.showwarning
        warnings.showwarning = show
        warnings.simplefilter("always", Note)
        last = logging.lastResort
        if last is not None:
            last.addFilter(cleaned)
        try:
            yield
        finally:
            if last is not None:
                last.removeFilter(cleaned)
