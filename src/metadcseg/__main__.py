"""``python -m metadcseg``: the same command, by the interpreter that has the package."""

import sys

from metadcseg.cli.main import main

sys.exit(main())
