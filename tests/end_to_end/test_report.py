"""``metadcseg report`` as a user calls it, and its page in a browser."""

import json
import shutil
import subprocess
import sys

import pytest
from tests.browser import barriers, fits
from tests.end_to_end.tools import cli
from tests.unit.report.folders import Folder, made_scores, task, write_full


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return write_full(tmp_path_factory.mktemp("report") / "bench", "<i>&$", sets=("msd-heart",), cases=6)


@pytest.fixture(scope="module")
def page(bench, tmp_path_factory):
    """The page, alone in a folder: nothing beside it can be loaded."""
    out = tmp_path_factory.mktemp("out")
    result = cli("report", bench, "--out", out / "report", "--cases", 2)
    assert result.status == 0, result.err
    alone = tmp_path_factory.mktemp("alone") / "index.html"
    shutil.copy(out / "report" / "index.html", alone)
    return alone


def test_it_writes_below_the_benchmark_and_says_where(tmp_path):
    folder = Folder(tmp_path)
    folder.add(task(row="noisy + gold"), scores=made_scores(0.5))
    folder.add(task(), status="failed", error="the disk is full")
    result = cli("report", folder.write())
    assert result.status == 0
    assert "1 of 2 runs are done, 1 failed" in result.out
    assert str(tmp_path / "report" / "index.html") in result.out
    assert "missing: Pictures of cases need the sets of the runs" in result.out
    for name in ("index.html", "report.md", "tables/values.csv", "tables/scores-la.tex"):
        assert (tmp_path / "report" / name).stat().st_size > 100


def test_json_says_what_there_is(bench, tmp_path):
    told = cli("report", bench, "--out", tmp_path / "out", "--json").json
    assert told["path"] == str(tmp_path / "out" / "index.html")
    assert told["tasks"] == {"done": 82, "failed": 1, "refused": 1, "running": 0, "waiting": 1}
    assert told["baseline"] == "noisy + gold"
    assert "scores-msd-heart" in told["tables"]
    assert {failure["error"] for failure in told["failures"]} >= {"the disk is full"}
    assert set(told["sections"]) >= {"scores", "parts", "gold", "cost", "weights", "cases", "folds", "curves"}


@pytest.mark.parametrize(
    ("words", "said"),
    [(["nowhere"], "holds no benchmark.json"), ([".", "--cases", "0"], "--cases must be from 1 to 20")],
)
def test_what_is_wrong_is_one_sentence(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("report", *words)
    assert (result.status, result.out) == (2, "")
    assert said in result.complaint


def test_torch_is_not_imported(tmp_path):
    folder = Folder(tmp_path)
    folder.add(task(), scores=made_scores(0.5), weights={"gamma": [1.0] * 11})
    script = (
        "import sys; from metadcseg.cli.main import main\n"
        f"status = main(['report', {str(folder.write())!r}, '--json'])\n"
        "found = [name for name in ('torch', 'monai', 'matplotlib.pyplot') if name in sys.modules]\n"
        "sys.exit(status or str(found) if found else status)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tasks"]["done"] == 1


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (360, False)])
def test_the_page_in_a_browser(visit, page, width, dark):
    seen = visit(page, width=width, dark=dark)
    assert visit.requests == [page.resolve().as_uri()]  # nothing is loaded, neither from disk nor network
    wide = seen.evaluate("Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))")
    assert len(wide) > 20
    assert min(wide) > 0
    assert fits(seen)
    assert seen.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == dark
    tables = seen.locator("table")
    assert 0 < tables.count() == seen.locator(".scroll table").count()
    if width == 360:  # tables wider than the screen scroll inside their box
        beyond = seen.locator(".scroll").evaluate_all(
            "boxes => boxes.map(b => b.scrollWidth - b.clientWidth)"
        )
        assert max(beyond) > 0
    else:
        assert barriers(seen) == []
