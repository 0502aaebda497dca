"""The house: how long a file may be, what a package may load, and where a number may be written."""

import re
import subprocess
import sys
import tomllib
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
STEP = [  # what one reads to know one step of the paper's method, in this order (docs/explanation/design.md)
    "methods/metadcseg/method.py",
    "algorithm/meta_weights.py",
    "algorithm/lookahead.py",
    "algorithm/boundary.py",
    "algorithm/center_distance.py",
    "algorithm/objective.py",
    "methods/metadcseg/pixel_weights.py",
]


def lines(path):
    return path.read_text().splitlines()


def test_no_file_is_too_long_to_be_read():
    sizes = {path.relative_to(ROOT).as_posix(): len(lines(path)) for path in FILES}
    assert {name: size for name, size in sizes.items() if size > LONGEST} == {}


def test_one_step_of_the_paper_stays_short():
    assert sum(len(lines(ROOT / name)) for name in STEP) < 1000


def test_no_other_file_has_a_part_in_the_step():
    """What a file of the list imports is in it, or below the paper, or serves every method."""
    known = {name.removesuffix(".py").replace("/", ".") for name in STEP}
    known |= {"methods.metadcseg.scaling"}  # an option that the paper does not have
    rooms = re.compile(r"^from metadcseg\.((?:algorithm|methods\.metadcseg)\.\w+) import", re.MULTILINE)
    found = {hit for name in STEP for hit in rooms.findall((ROOT / name).read_text())}
    assert found <= known


def test_the_page_names_the_files_of_the_step():
    page = (ROOT.parents[1] / "docs/explanation/design.md").read_text()
    table = page[page.index("## To know one step") : page.index("## The meta step")]
    assert re.findall(r"^\| \d \| `([\w/.]+)`", table, re.MULTILINE) == STEP


def test_the_page_names_every_room_in_its_order():
    """A block of the page may give a layer several lines, but none stands above a room that it may import."""
    root = ROOT.parents[1]
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [set(layer.split(" | ")) for layer in contracts[0]["layers"]]
    block = (root / "docs/explanation/design.md").read_text().split("```")[1]
    rooms = [room for line in block.splitlines() for room in line[:32].split()]
    place = {room: number for number, layer in enumerate(layers) for room in layer}
    assert sorted(rooms) == sorted(place)
    assert [place[room] for room in rooms] == sorted(place.values())


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
