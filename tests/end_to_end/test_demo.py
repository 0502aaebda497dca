"""The demo, whole, with everything made tiny: same code, smaller numbers, and no new process for each training."""

from importlib import resources
from pathlib import Path

import pytest
import yaml
from tests.end_to_end.grids import run_in_this_process

from metadcseg.cli.main import main


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder in which a tiny grid lies already."""
    held = yaml.safe_load(resources.files("metadcseg.benchmark").joinpath("demo.yaml").read_text("utf-8"))
    held["sets"] = {"phantom": {"prepare": "phantom --count 32 --size 32 --group 1 --gold 8 --test 0.2"}}
    held["options"] = {
        "network": {"width": 2},
        "training": {"size": 32, "batch": 8, "gold_batch": 4, "epochs": 1, "figure_every": 0},
    }
    held["seeds"] = [0]
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "grid.yaml").write_text(yaml.safe_dump(held, sort_keys=False))
    return folder


def test_demo_ends_with_diagnosis_table_and_page_and_runs_again(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in_this_process(monkeypatch)
    assert main(["demo", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    page = (out / "report" / "index.html").read_text("utf-8")
    for label in ("noisy only", "noisy + gold", "clean + gold", "calibrated"):
        assert label in printed
        assert label in page
    for said in (
        "8 verified masks: the masks they replaced reach DSC",
        "Wrong in one direction (too large, ",
    ):
        assert said in printed
        assert said in page
    assert "calibrated is 0." in printed
    assert "in one seed: another may turn that around" in printed
    assert page.index('id="pairs"') < page.index('id="scores"') < page.index('id="next"')
    assert '<pre tabindex="0">metadcseg diagnose my_folder</pre>' in page
    assert str(out / "report" / "index.html") in printed
    assert 'src="http' not in page
    weights = {path: path.read_bytes() for path in out.rglob("model.safetensors")}
    assert len(weights) == 4
    assert main(["demo", "--out", str(out)]) == 0
    assert {path: path.read_bytes() for path in weights} == weights


def test_a_training_that_fails_is_named_with_what_it_said(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in_this_process(monkeypatch)
    held = yaml.safe_load((out / "grid.yaml").read_text())
    held["options"]["training"]["lr"] = -1
    (out / "grid.yaml").write_text(yaml.safe_dump(held))
    assert main(["demo", "--out", str(out)]) == 2
    assert "training.lr" in capsys.readouterr().err
