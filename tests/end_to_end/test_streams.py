"""Pipes that are closed, an output that is full, and names that would change a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.end_to_end.tools import cli, gradient, save
from tests.unit.evaluation.fakes import write_fake_run, write_fake_set

FULL = Path("/dev/full")
ESCAPES = ("\x1b[31mred", "\u202egnp", "\x9b2J", "a\rb")


def started(stdout, *words):
    return subprocess.run(
        [sys.executable, "-m", "metadcseg", *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("folder")
    for name in "abc":
        save(place / "images" / f"{name}.png", gradient(16, 16))
        save(place / "masks" / f"{name}.png", gradient(16, 16) // 128)
    return place


@pytest.fixture(params=["--version", "check FOLDER", "check FOLDER --json"])
def words(request, folder):
    return request.param.replace("FOLDER", str(folder)).split()


def test_a_closed_pipe_ends_quietly(words):
    read, write = os.pipe()
    os.close(read)
    try:
        result = started(write, *words)
    finally:
        os.close(write)
    assert (result.returncode, result.stderr) == (141, "")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_output_is_one_sentence(words):
    with FULL.open("w") as full:
        result = started(full, *words)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("metadcseg: standard output cannot be written (No space left on device)")


@pytest.mark.parametrize("name", ESCAPES)
def test_names_of_files_change_no_terminal(name, tmp_path):
    run = write_fake_run(tmp_path / "run", write_fake_set(tmp_path / "set"))
    images = tmp_path / f"images {name}"
    save(images / f"{name}.png", gradient(16, 16))
    (images / f"broken {name}.png").write_bytes(b"nothing")
    (tmp_path / "own" / "images").mkdir(parents=True)
    (tmp_path / "own" / "masks").mkdir()
    (tmp_path / "own" / "images" / f"{name}.png").write_bytes(b"nothing")
    for words in (
        ("predict", run, images, "--out", tmp_path / f"out {name}", "--trust-code"),
        ("check", tmp_path / "own"),
        ("check", images),
        (f"comm{name}",),
        ("evaluate", tmp_path / f"no {name}"),
        ("evaluate", tmp_path / f"no {name}", "--debug"),
    ):
        result = cli(*words)
        said = result.out + result.err
        assert result.status
        assert all(letter.isprintable() or letter == "\n" for letter in said), ascii(said)
