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
    "audit": ("metadcseg.audit.run", "metadcseg.networks.unetplusplus"),
    "predict": ("metadcseg.evaluation.predict", "metadcseg.networks.unetplusplus"),
    "export": ("metadcseg.training.run.folder", "metadcseg.networks.unetplusplus"),
    "benchmark": ("torch",),
    "completion": ("torch",),
}
"""Libraries of seconds that a command needs, loaded before it begins, so that the terminal can say so."""


@contextmanager
def loading(console: Console, name: str, *, heavy: bool) -> Iterator[None]:
    """Say on a terminal that a command is being loaded, while the block runs; elsewhere say nothing.

    Args:
        console: the terminal.
        name: the command.
        heavy: load the libraries of seconds, too, which its help does without.
    """
    if not console.is_terminal:
        yield
        return
    modules = HEAVY.get(name, ()) if heavy else ()
    what = "loading torch and what else it needs" if modules else "starting"
    with console.status(f"{name}: {what} ..."):
        with without_collector():
            for module in modules:
                import_module(module)
        yield
