"""Something to read within a second: the libraries that a command needs take seconds to load."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from rich.console import Console

from metadcseg.imports import without_collector

HEAVY = {
    "demo": ("torch",),
    "corrupt": ("torch",),
    "train": ("metadcseg.training.session", "metadcseg.networks.unetplusplus"),
    "cross-validate": ("metadcseg.training.session", "metadcseg.networks.unetplusplus"),
    "evaluate": ("metadcseg.evaluation.evaluate", "metadcseg.networks.unetplusplus"),
    "predict": ("metadcseg.evaluation.predict", "metadcseg.networks.unetplusplus"),
    "benchmark": ("torch",),
    "completion": ("torch",),
}
"""What is loaded before a command begins, so that the terminal can say so; commands that are not here begin at once."""


@contextmanager
def loading(console: Console, name: str, light: bool = False) -> Iterator[None]:
    """Say on a terminal that a command's libraries are loaded, while the block runs; elsewhere say nothing.

    Args:
        console: the terminal.
        name: the command.
        light: the block needs none of the heavy ones.
    """
    if not console.is_terminal or light or name not in HEAVY:
        yield
        return
    with console.status(f"{name}: loading torch and the rest ...", spinner="dots"):
        with without_collector():
            for module in HEAVY[name]:
                import_module(module)
        yield
