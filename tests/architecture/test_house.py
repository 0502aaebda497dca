"""The house: how long a file may be, what a package may load, and where a number may be written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import metadcseg

ROOT = Path(metadcseg.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
PACKAGES = sorted(path.parent.relative_to(ROOT).as_posix() for path in FILES if path.name == "__init__.py")
TORCH_FREE = [
    ".",
    "data",
    "cli",
    "report",
    "pairs",
    "results",
    "noise",
    "cli/commands",
    "algorithm",
    "forward_mode",
    "evaluation",
]
LONGEST = 350
LONGER = {"forward_mode/rules.py": 360}  # a list: one rule for each operation
PAPER = {  # what one reads to know the paper
    "algorithm/meta_weights.py": 190,
    "algorithm/boundary.py": 290,
    "algorithm/running_centers.py": 105,
    "algorithm/objective.py": 70,
    "losses.py": 110,
}


def lines(path):
    return path.read_text().splitlines()


def test_no_file_is_too_long_to_be_read():
    sizes = {path.relative_to(ROOT).as_posix(): len(lines(path)) for path in FILES}
    assert {name: size for name, size in sizes.items() if size > LONGER.get(name, LONGEST)} == {}


@pytest.mark.parametrize(("name", "most"), PAPER.items())
def test_the_paper_stays_short(name, most):
    assert len(lines(ROOT / name)) <= most


def test_every_folder_with_code_is_a_package():
    """A folder without __init__.py is left out of the wheel, and import contracts do not see it."""
    assert {path.parent.relative_to(ROOT).as_posix() for path in FILES} == set(PACKAGES)


@pytest.mark.parametrize("package", TORCH_FREE)
def test_importing_a_package_does_not_load_torch(package):
    name = "metadcseg" if package == "." else f"metadcseg.{package.replace('/', '.')}"
    code = f"import sys, {name}; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )


def test_there_is_one_constant_for_unknown_pixels():
    found = {
        f"{path.relative_to(ROOT).as_posix()}: {line.strip()}"
        for path in FILES
        for line in lines(path)
        if re.search(r"^\w+ = 255\b|[!=]= 255\b", line)
    }
    assert found == {"constants.py: IGNORE = 255"}
