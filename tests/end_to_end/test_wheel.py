"""The wheel holds all that the package needs and nothing else, and works outside the source tree."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.end_to_end.tools import TINY

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build from a copy, so that nothing is left in the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("installed")
    pip("install", wheel, "--no-deps", "--target", target)
    return target


def pip(*words):
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "-q",
        *(str(word) for word in words),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_in_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    modules = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src" / "metadcseg").rglob("*.py")}
    presets = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("configs/*.yaml")}
    weights = "metadcseg/networks/weights/pidinet-tiny.safetensors"
    needed = {"metadcseg/py.typed", "metadcseg/benchmark/demo.yaml", weights}
    needed |= {"metadcseg/report/report.html.jinja", "metadcseg/results/paper_numbers.yaml"}
    page = "metadcseg/audit/page"
    needed |= {f"{page}/index.html.jinja", f"{page}/page.css", f"{page}/modules/main.js"}
    assert (ROOT / "src" / weights).stat().st_size < 1_000_000
    assert len(presets) >= 5
    assert modules | presets | needed <= set(names)
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"metadcseg"}  # no tests, no data
    assert any(name.endswith("licenses/LICENSE") for name in names)


STORY = """
import sys
from pathlib import Path

import metadcseg
from metadcseg.cli.main import main

assert Path(metadcseg.__file__).is_relative_to(sys.argv[1]), metadcseg.__file__
drawn = ["--count", "16", "--size", "32", "--gold", "3", "--out", "set"]
assert main(["prepare", "phantom", *drawn]) == 0
assert main(["train", "--data", "set", "--out", "run", "--config", "demo", "--epochs", "1", *sys.argv[2:]]) == 0
assert main(["evaluate", "run", "--json"]) == 0
again = ["train", "--data", "set", "--out", "other", "--config", "demo", "--epochs", "1", "--method", "supervised"]
assert main([*again, *sys.argv[2:]]) == 0
assert main(["compare", "run", "other", "--evaluate", "--out", "page.html"]) == 0
"""


def test_it_works_outside_the_tree(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", STORY, str(installed), *TINY]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("{") :])  # a table follows
    assert (record["method"], record["split"]) == ("calibrated", "test")
    page = (tmp_path / "page.html").read_text()
    assert "calibrated" in page
    assert "supervised" in page
    version = [sys.executable, "-m", "metadcseg", "--version"]
    told = subprocess.run(version, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert told.stdout.startswith("metadcseg 0.")
