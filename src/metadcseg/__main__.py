"""``python -m metadcseg``: the same command, by the interpreter that has the package.

Python puts the current folder first on the path, where a file from elsewhere would run in the place of a library, in
this process and in those that it starts. The command ``metadcseg`` does not look there, and neither does this.
"""

import os
import sys


def _leave_the_current_folder() -> None:
    """Take off the path what ``-m`` has put there, unless the package itself lies there; PYTHONPATH stays."""
    try:
        here = os.getcwd()
    except OSError:  # removed, so it is not on the path either
        return
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not sys.flags.safe_path and sys.path[0] == here != home:
        del sys.path[0]


if __name__ == "__main__":
    _leave_the_current_folder()
    from metadcseg.cli.main import main

    sys.exit(main())
