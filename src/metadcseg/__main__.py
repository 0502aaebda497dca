"""``python -m metadcseg``: the same command, by the interpreter that has the package."""

import sys

from metadcseg.cli import main

sys.exit(main())
