"""Print constraints for pip: every library at the lowest version that pyproject.toml names, or none at all.

python studies/lowest_versions.py oldest > constraints.txt
python studies/lowest_versions.py newest > constraints.txt     empty: pip takes the newest
"""

import re
import sys
import tomllib
from pathlib import Path

TOOLS = ("pytest", "pytest-xdist", "hypothesis", "ruff", "mypy", "import-linter", "build", "twine")
TOOLS += (
    "mkdocs",
    "mkdocs-material",
    "mkdocstrings",
    "types-pyyaml",
    "types-requests",
    "playwright",
    "axe-playwright-python",
)
"""What only tests, checks types, or builds the site: its newest release serves with either."""


def lowest(project: dict) -> list[str]:
    """Return a line such as numpy==2.0 for every requirement with a lower bound."""
    wanted = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    found = (re.match(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)", line) for line in wanted)
    return sorted({f"{hit[1]}=={hit[2]}" for hit in found if hit and hit[1] not in TOOLS})


if __name__ == "__main__":
    file = Path(__file__).resolve().parents[1] / "pyproject.toml"
    if sys.argv[1:] == ["oldest"]:
        print("\n".join(lowest(tomllib.loads(file.read_text())["project"])))
