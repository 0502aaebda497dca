"""A link in an output never leads what is written, or removed, out of it."""

import json
import os

import numpy as np
import pytest
from tests.end_to_end.tools import cli, contents, done, gradient, refused, save, train
from tests.unit.evaluation.fakes import write_fake_run, write_fake_set
from tests.unit.report.folders import Folder, made_scores, task
from tests.unit.training.helpers import make_set


@pytest.fixture
def mine(tmp_path):
    """A folder of the user's with files of every name that an output has."""
    folder = tmp_path / "mine"
    for name in (
        "test.csv",
        "index.html",
        "epoch_001.png",
        "last.pt",
        "a.png",
        "metrics.jsonl",
        "test/a.png",
    ):
        save_text(folder / name)
    return folder


def save_text(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("years of work")


@pytest.fixture
def run(tmp_path):
    return write_fake_run(tmp_path / "run", write_fake_set(tmp_path / "set"))


@pytest.mark.parametrize("link", ["evaluation", "evaluation/test"])
def test_evaluate_refuses_a_linked_folder(link, run, mine):
    (run / link).parent.mkdir(exist_ok=True)
    (run / link).symlink_to(mine)
    before = contents(mine)
    refused("evaluate", run, "--trust-code", says=[run / link, "is a link", "remove the link"])
    assert contents(mine) == before


@pytest.mark.parametrize("name", [".test.csv.tmp", "test.csv", "test.json"])
def test_evaluate_replaces_a_linked_file(name, run, mine):
    (run / "evaluation").mkdir()
    (run / "evaluation" / name).symlink_to(mine / "test.csv")
    before = contents(mine)
    done("evaluate", run, "--trust-code")
    assert contents(mine) == before
    assert not (run / "evaluation" / "test.csv").is_symlink()
    assert json.loads((run / "evaluation" / "test.json").read_text())["split"] == "test"


def test_train_writes_nothing_behind_a_link(mine, tmp_path):
    out, before = tmp_path / "out", contents(mine)
    data = make_set(tmp_path / "disks", train=4, gold=2, val=1).path
    done(*train(data, out, "--method", "metadcseg"))
    for link in ("figures", "checkpoints", "weights", "tensorboard"):
        kept = tmp_path / "kept"
        kept.mkdir()
        if (out / link).exists():
            (out / link).rename(kept / link)
        (out / link).symlink_to(mine)
        refused("train", "--resume", out, "--epochs", 2, says=[out / link, "is a link", "remove the link"])
        (out / link).unlink()
        if (kept / link).exists():
            (kept / link).rename(out / link)
        kept.rmdir()
    for name in ("metrics.jsonl", "model.safetensors", "config.yaml"):
        (out / name).unlink()
        (out / name).symlink_to(mine / "a.png")
    done("train", "--resume", out, "--epochs", 2)
    assert contents(mine) == before
    assert not any(path.is_symlink() for path in out.rglob("*"))


def test_audit_writes_nothing_behind_a_link(mine, tmp_path, run):
    out, before = tmp_path / "audit", contents(mine)
    words = ("audit", run, "--out", out, "--split", "test", "--trust-code")
    done(*words)
    pages = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_dir()]
    assert len(pages) > 5
    for name in pages:
        if (out / name).is_symlink() or not (out / name).exists():
            continue
        kept = tmp_path / "kept"
        (out / name).rename(kept)
        (out / name).symlink_to(mine)
        result = cli(*words)
        assert contents(mine) == before, name
        assert "Traceback" not in result.err
        os.unlink(out / name)
        kept.rename(out / name)


@pytest.mark.parametrize("link", ["figures", "tables", "index.html", ".index.html.tmp"])
def test_report_writes_nothing_behind_a_link(link, mine, tmp_path):
    benchmark = Folder(tmp_path / "benchmark")
    benchmark.add(task(), scores=made_scores(0.5))
    folder = benchmark.write()
    done("report", folder)
    place = folder / "report" / link
    if place.is_dir():
        place.rename(tmp_path / "kept")
    place.unlink(missing_ok=True)
    place.symlink_to(mine / link if "index" in link else mine)
    before = contents(mine)
    if "index" in link:
        done("report", folder)
        assert not (folder / "report" / "index.html").is_symlink()
    else:
        refused("report", folder, says=[place, "is a link"])
    assert contents(mine) == before


def test_a_prepared_set_has_the_rights_that_the_umask_leaves(tmp_path):
    for number in range(8):
        name = f"{number}.png"
        save(tmp_path / "folder/images" / name, gradient(32, 32, scale=1 + number / 20))
        save(tmp_path / "folder/masks" / name, np.uint8(255) * (gradient(32, 32) > 100))
    before = os.umask(0o027)
    try:
        done("prepare", tmp_path / "folder", "--out", tmp_path / "set")
        found = {path.stat().st_mode & 0o777 for path in (tmp_path / "set").rglob("*") if path.is_file()}
        (tmp_path / "set/arrays").chmod(0o755)
        done("split", tmp_path / "set", "--out", tmp_path / "split")
    finally:
        os.umask(before)
    assert found == {0o640}
    assert (tmp_path / "set").stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "split").rglob("*")} == {0o640, 0o750}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "set", "split"]


@pytest.mark.parametrize("words", [("corrupt", "SET", "--rate", 0.2), ("prepare", "FOLDER")])
def test_an_output_that_is_a_link_is_refused(words, mine, tmp_path):
    named = {"SET": tmp_path / "set", "FOLDER": tmp_path / "folder"}
    write_fake_set(named["SET"])
    for name in "abcdefgh":
        save(named["FOLDER"] / "images" / f"{name}.png", gradient(16, 16, scale=1 + ord(name) / 99))
        save(named["FOLDER"] / "masks" / f"{name}.png", gradient(16, 16) // 128)
    link, before = tmp_path / "link", contents(mine)
    link.symlink_to(mine)
    refused(*(named.get(word, word) for word in words), "--out", link, says=[link, "is a link"])
    assert contents(mine) == before


@pytest.mark.parametrize("inner", ["sets", "rows"])
def test_demo_writes_nothing_behind_a_link(inner, mine, tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / inner).symlink_to(mine)
    before = contents(mine)
    result = cli("demo", "--out", tmp_path / "demo")
    assert result.status == 2
    assert f"{tmp_path / 'demo' / inner} is a link" in result.complaint
    assert contents(mine) == before
