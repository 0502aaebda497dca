"""The demo, whole, with everything made tiny: same code, same processes, smaller numbers."""

from pathlib import Path

import pytest

from metadcseg.cli.commands import demo
from metadcseg.cli.main import main
from metadcseg.data.synthetic.phantom import PhantomOptions

TINY = ["--epochs", "1", "--network.width", "2", "--training.size", "32", "--training.figure_every", "1"]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    command = demo._command
    monkeypatch.setattr(demo, "_command", lambda *given: [*command(*given), *TINY])
    monkeypatch.setattr(demo, "PhantomOptions", lambda seed: PhantomOptions(count=24, size=32, seed=seed))


def test_demo_ends_with_a_page_of_all_methods_and_runs_again(
    tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    page = (out / "index.html").read_text("utf-8")
    for label in ("noisy only", "noisy + gold", "binned"):
        assert label in printed
        assert label in page
    assert str(out / "index.html") in printed
    assert "data:image/" in page
    assert 'src="http' not in page
    weights = {path: path.read_bytes() for path in out.rglob("model.safetensors")}
    assert len(weights) == 3
    assert main(["demo", "--out", str(out)]) == 0
    assert {path: path.read_bytes() for path in weights} == weights


def test_a_training_that_fails_is_named_with_what_it_said(
    tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = demo._command
    monkeypatch.setattr(demo, "_command", lambda *given: [*command(*given), "--training.lr", "-1"])
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 2
    said = capsys.readouterr().err
    assert "training.lr" in said
    assert "logs" in said
