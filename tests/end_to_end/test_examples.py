"""The examples do what they say: every method learns in a plain loop, and each script and notebook runs whole."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from tests.end_to_end.notebooks import execute

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

EPOCHS = {"calibrated": 8, "metadcseg": 8}
"""Enough for the bars below; others get two."""

BARS = {"calibrated": 0.85, "pairs": 0.85, "metadcseg": 0.85}
"""DSC that a network trained on the given masks alone does not reach; 0.5 for others, from below 0.3."""


def run(monkeypatch, name, *words):
    """Run a script as a user would, without loading the libraries again."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def scores(said):
    return [float(score) for score in re.findall(r"DSC (\d\.\d\d)", said)]


@pytest.mark.parametrize("method", [*BARS, "supervised"])  # all: tests/unit/test_own_loop.py
def test_every_method_learns_in_a_plain_loop(method, monkeypatch, capsys):
    run(monkeypatch, "own_loop.py", "--method", method, "--epochs", EPOCHS.get(method, 2))
    before, *_, after = scores(capsys.readouterr().out)
    assert before < 0.3
    assert after > BARS.get(method, 0.5)


def test_methods_of_several_networks_get_as_many(monkeypatch, capsys):
    run(monkeypatch, "own_loop.py", "--method", "coteaching", "--epochs", 1)
    assert len(scores(capsys.readouterr().out)) == 2


@pytest.mark.parametrize("method", ["calibrated", "supervised"])
def test_the_network_of_monai_learns_as_well(method, monkeypatch, capsys):
    run(monkeypatch, "own_loop.py", "--method", method, "--network", "monai", "--epochs", 2)
    before, *_, after = scores(capsys.readouterr().out)
    assert before < 0.3
    assert after > 0.5


def test_the_loop_needs_nothing_but_torch_numpy_and_scipy():
    blocked = (
        "lightning_fabric monai zarr jsonargparse rich safetensors yaml PIL matplotlib nibabel SimpleITK h5py"
    )
    code = f"""
import runpy, sys
for name in {blocked.split()!r}:
    sys.modules[name] = None
sys.argv = ["own_loop.py", "--method", "supervised", "--epochs", "1"]
runpy.run_path({str(EXAMPLES / "own_loop.py")!r}, run_name="__main__")
"""
    words = [sys.executable, "-W", "error", "-c", code]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert len(scores(ended.stdout)) == 2


def test_a_network_of_ones_own_is_trained(monkeypatch, tmp_path, capsys):
    run(monkeypatch, "own_network.py", "--out", tmp_path / "out", "--count", 40, "--epochs", 2)
    sys.modules.pop("own_network", None)
    [dsc] = scores(capsys.readouterr().out)
    assert 0 < dsc <= 1
    assert json.loads((tmp_path / "out" / "run" / "run.json").read_text())["status"] == "finished"


def test_the_notebook_runs_and_shows_what_is_written_in_it(monkeypatch):
    path = EXAMPLES / "weights.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    shown = [kinds(cell) for cell in notebook["cells"]]
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    found = execute(notebook)
    sys.modules.pop("own_loop", None)
    assert sum(kinds.count("display_data") for kinds in shown) == 3, "run tests/end_to_end/notebooks.py on it"
    assert [kinds(cell) for cell in notebook["cells"]] == shown
    assert found["scores"]["binned"] > found["scores"]["supervised"] + 0.1
    assert found["distrust"]["wrong"] > 0.5 > 0.1 > found["distrust"]["right"]


def kinds(cell):
    """What a cell shows, in order."""
    return [output["output_type"] for output in cell.get("outputs", [])]


def test_the_script_fits_on_a_screen_and_the_page_has_it_as_it_is():
    script = (EXAMPLES / "own_loop.py").read_text(encoding="utf-8")
    assert script.count("\n") < 70
    page = (ROOT / "docs" / "how-to" / "own-loop.md").read_text(encoding="utf-8")
    assert f"```python\n{script}```\n" in page
