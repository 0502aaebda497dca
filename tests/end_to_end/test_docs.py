"""The commands and Python blocks of README, tutorial and how-to pages are run, page by page, as they stand.

In a fence marked ``sh`` every line is a command of ours and is run; what must not run stands in a plain fence.
A fence marked ``python`` is run as well, in one namespace per page; one that begins with a comment such as
``# my_code/my_networks.py`` is saved under that name instead, and so is one marked ``yaml``. To be quick,
trainings are made tiny and phantom sets small.
"""

import json
import re
import shlex
import sys
import types
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from tests.end_to_end.grids import run_in_this_process

from metadcseg.cli.main import main
from metadcseg.data.synthetic.phantom import PhantomOptions, draw_case
from metadcseg.methods import METHODS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "docs/tutorial.md",
    *(f"docs/how-to/{page.name}" for page in (ROOT / "docs/how-to").iterdir()),
]
PAGES = sorted(page for page in PAGES if page.endswith(".md"))
TINY = "--epochs 1 --training.size 32 --network.width 2 --training.threads 1 --training.batch 4"
TINY += " --training.gold_batch 2 --training.figure_every 0"
SMALL = "--count 40 --size 32"


class Fence(NamedTuple):
    line: int
    language: str
    text: str


def fences(page: str) -> list[Fence]:
    """The fenced blocks of a page, with the number of each one's first line."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```", text, flags=re.M | re.S)
    return [Fence(text.count("\n", 0, block.start()) + 2, block[1], block[2]) for block in found]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to stand in, with the reader's ``my_folder`` and ``new_images``; leaves nothing behind."""
    monkeypatch.chdir(tmp_path)
    run_in_this_process(monkeypatch)
    options = PhantomOptions(size=32, mixed_sizes=True)
    for name in ("my_folder/images", "my_folder/masks", "my_folder/gold", "new_images"):
        Path(name).mkdir(parents=True)
    for number in range(24):
        image, mask = draw_case(options, number)
        assert {0, 1} == set(mask.flatten().tolist())
        Image.fromarray(image[:, :, 0]).save(f"my_folder/images/case_{number:02d}.png")
        Image.fromarray(255 * mask).save(f"my_folder/masks/case_{number:02d}.png")
        if number < 5:
            Image.fromarray(255 * mask).save(f"my_folder/gold/case_{number:02d}.png")
    for number in (24, 25):
        Image.fromarray(draw_case(options, number)[0][:, :, 0]).save(f"new_images/new_{number}.png")
    modules, methods = set(sys.modules), dict(METHODS)
    yield tmp_path
    METHODS.clear()
    METHODS.update(methods)
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def run_command(line: str, where: str, monkeypatch, capsys) -> None:
    words = shlex.split(line)
    with monkeypatch.context() as patched:
        if words[0].startswith("PYTHONPATH="):
            patched.syspath_prepend(words.pop(0).partition("=")[2])
        assert words[0] == "metadcseg", (
            f"{where}: only commands of ours belong into a fence marked sh: {line}"
        )
        if words[1] in ("train", "cross-validate"):
            words += TINY.split()
        if words[1:3] == ["prepare", "phantom"]:
            words += SMALL.split()
        capsys.readouterr()
        status = main(words[1:])
    said = capsys.readouterr()
    assert status == 0, f"{where}: '{line}' ended with status {status}: {said.err}{said.out}"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_says_can_be_done(page, place, monkeypatch, capsys):
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    done = 0
    for fence in fences(page):
        if fence.language == "sh":
            for offset, line in enumerate(fence.text.splitlines()):
                run_command(line, f"{page}, line {fence.line + offset}", monkeypatch, capsys)
                done += 1
        elif fence.language in ("python", "yaml"):
            if saved := re.match(r"# ([\w/]+\.(?:py|yaml))\n", fence.text):
                Path(saved[1]).parent.mkdir(parents=True, exist_ok=True)
                Path(saved[1]).write_text(fence.text, encoding="utf-8")
                continue
            code = "\n" * (fence.line - 1) + fence.text
            exec(compile(code, ROOT / page, "exec"), module.__dict__)  # noqa: S102
            done += 1
    assert done, f"{page} holds nothing that can be run: is its fence marked sh?"


def test_the_page_of_files_names_what_a_run_leaves_behind(place, capsys):
    assert main(["prepare", "my_folder", "--out", "my_set"]) == 0
    assert main(["train", "--data", "my_set", "--out", "my_run", "--config", "demo", *TINY.split()]) == 0
    assert main(["evaluate", "my_run"]) == 0
    page = (ROOT / "docs/reference/files.md").read_text(encoding="utf-8")
    line = json.loads(Path("my_run/metrics.jsonl").read_text().splitlines()[0])
    record = json.loads(Path("my_run/evaluation/test.json").read_text())
    names = {*json.loads(Path("my_run/run.json").read_text()), *line, *line["train"], *record}
    names |= {*record["summary"], *record["summary"]["dsc"]}
    names |= set(Path("my_run/evaluation/test.csv").read_text().splitlines()[0].split(",")[:4])
    assert {"loss", "alpha", "status", "pooled", "sd", "group"} <= names
    missing = sorted(name for name in names if f"`{name}`" not in page)
    assert not missing, f"docs/reference/files.md does not name {', '.join(missing)}"
    left = {entry.name for entry in Path("my_run").iterdir()} | {
        entry.name for entry in Path("my_set").iterdir()
    }
    missing = sorted(name for name in left if name not in page)
    assert not missing, f"docs/reference/files.md does not name {', '.join(missing)}"
