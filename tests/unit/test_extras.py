"""Libraries that only some need: without them all else works, and a sentence says how to have them."""

import subprocess
import sys
from itertools import product

import pytest
from tests.end_to_end.tools import cli
from tests.unit.data.folders import make_folder

from metadcseg.errors import InputError
from metadcseg.extras import Extra

VOLUMES = ("nibabel", "SimpleITK", "pydicom", "h5py")


def without(monkeypatch, *modules):
    """Let imports of these fail as if they were not installed."""
    for name in [*sys.modules]:
        if name.partition(".")[0] in modules:
            monkeypatch.delitem(sys.modules, name)
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)


def test_a_missing_library_is_named_with_the_install_line(monkeypatch):
    without(monkeypatch, "nibabel")
    says = r"NIfTI files need nibabel, which is not installed: pip install 'metadcseg\[volumes\]' "
    with pytest.raises(InputError, match=says):
        Extra("nibabel", "volumes", "NIfTI files").load("x.nii")


def test_a_library_that_is_there_but_broken_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "half_there.py").write_text("import not_to_be_found\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_to_be_found"):
        Extra("half_there", "volumes", "Things").anything  # noqa: B018


@pytest.mark.parametrize(
    ("name", "library"),
    [("v.nii.gz", "nibabel"), ("v.mha", "SimpleITK"), ("v.nrrd", "SimpleITK"), ("v.h5", "h5py")],
)
def test_volumes_without_their_library(name, library, monkeypatch, tmp_path):
    without(monkeypatch, *VOLUMES)
    for part, file in product(("images", "masks", "gold"), (name, f"w{name}")):
        (tmp_path / "folder" / part).mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / part / file).write_bytes(b"never looked at")
    for words in (
        ["check", tmp_path / "folder"],
        ["prepare", tmp_path / "folder", "--out", tmp_path / "set"],
    ):
        result = cli(*words)
        assert result.status == 2
        said = result.out + result.err
        assert f"need {library}, which is not installed: pip install 'metadcseg[volumes]'" in said
        assert said.count("not installed") == 1, "said once, not for each file"
    assert not (tmp_path / "set").exists()


def test_a_folder_of_pngs_needs_no_extra(tmp_path):
    """In a process of its own, in which none of them can be imported."""
    folder = make_folder(tmp_path / "folder", gold=4)
    block = f"import sys; sys.modules.update(dict.fromkeys({(*VOLUMES, 'tensorboard', 'ray')!r}));"
    code = block + "from metadcseg.cli.main import main; sys.exit(main(sys.argv[1:]))"
    train = "--epochs 1 --network.width 2 --training.size 32 --training.batch 2 --training.gold_batch 2"
    for words in (
        ["check", str(folder)],
        ["prepare", str(folder), "--out", str(tmp_path / "set"), "--edges", "none"],
        ["train", "--data", str(tmp_path / "set"), "--out", str(tmp_path / "run"), *train.split()],
    ):
        ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
    assert "pip install 'metadcseg[tensorboard]'" in ended.stderr
    assert (tmp_path / "run" / "metrics.jsonl").read_text()
    assert not (tmp_path / "run" / "tensorboard").exists()
