"""Several commands in one process, which loads its libraries once.

Called as ``python -m metadcseg.cli.chain '[["check", "x"]]'``.

So does a benchmark start what a run consists of (:mod:`metadcseg.benchmark.runner`): training and scoring.
"""

import gc
import json
import sys
from collections.abc import Sequence

from metadcseg.cli.main import main


def chain(commands: Sequence[Sequence[str]]) -> int:
    """Run commands one after the other until one does not end well.

    Args:
        commands: of each the words after ``metadcseg``.

    Returns:
        The exit status of the last one that ran.

    Example:
        >>> chain([["--version"], ["no-such-command"], ["--version"]])  # doctest: +ELLIPSIS
        metadcseg ...
        2
    """
    for words in commands:
        status = main(words)
        if status:
            return status
        gc.collect()  # a network that was trained gives its memory back before it is loaded to be scored
    return 0


if __name__ == "__main__":
    sys.exit(chain(json.loads(sys.argv[1])))
