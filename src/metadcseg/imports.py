"""Large libraries load a third faster while nobody looks for garbage, of which loading makes little.

Stands below everything else and imports nothing of ours.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """Switch the garbage collector off while something is imported, and on again if it was on.

    Example:
        >>> with without_collector():
        ...     gc.isenabled()
        False
        >>> gc.isenabled()
        True
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
