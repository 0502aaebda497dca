"""Scripts of studies/ are run by hand: what they take from the package must not have moved away under them."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import metadcseg

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "studies").rglob("*.py"))


def is_there(module, name):
    found = importlib.import_module(module)
    return hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}") is not None


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_script_imports_what_is_there(script):
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("metadcseg"):
            assert [name.name for name in node.names if not is_there(node.module, name.name)] == []


def test_the_parts_of_an_epoch_are_functions_of_the_package():
    """They are found in the profile by file and name; two are torch's and Python's own."""
    text = (ROOT / "studies/cost/epoch.py").read_text()
    named = set(re.findall(r'\("(\w+\.py)", "(\w+)"\)', text))
    assert len(named) > 10
    defined = {
        (path.name, name)
        for path in Path(metadcseg.__file__).parent.rglob("*.py")
        for name in re.findall(r"^ *def (\w+)", path.read_text(), re.MULTILINE)
    }
    assert named - defined == {("graph.py", "_engine_run_backward"), ("_base.py", "result")}
