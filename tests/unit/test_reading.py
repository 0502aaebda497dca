"""Files that nobody has vouched for: no pipe, device or folder is waited for, none is read beyond its bound."""

import os
import tracemalloc
from pathlib import Path

import pytest

from metadcseg.cli.main import main
from metadcseg.errors import InputError
from metadcseg.reading import check_regular, is_what, open_regular, read_regular, read_text
from metadcseg.training.run.model_file import load_weights


def a_pipe(folder):
    os.mkfifo(folder / "x")
    return folder / "x", "a pipe"


def a_linked_pipe(folder):
    os.mkfifo(folder / "pipe")
    (folder / "x").symlink_to("pipe")
    return folder / "x", "a pipe"


def a_device(folder):
    (folder / "x").symlink_to("/dev/zero")
    return folder / "x", "a device"


def a_folder(folder):
    return folder, "a folder"


@pytest.mark.parametrize("make", [a_pipe, a_linked_pipe, a_device, a_folder])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, make):
    path, what = make(tmp_path)
    for read in (open_regular, check_regular, read_regular):
        with pytest.raises(InputError, match=f"must be a regular file, it is {what}"):
            read(path)


def test_a_link_that_leads_nowhere_is_a_missing_file(tmp_path):
    (tmp_path / "x").symlink_to("gone")
    check_regular(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "x")
    with pytest.raises(InputError, match="no name of a file"):
        read_regular(Path("a\0b"))


def test_a_file_has_at_most_as_many_bytes_as_are_read(tmp_path):
    (tmp_path / "x").write_bytes("\ufeffäb".encode())
    assert read_text(tmp_path / "x", 6) == "äb"
    with pytest.raises(InputError, match="larger than 0 MiB"):
        read_text(tmp_path / "x", 5)


def test_the_memory_follows_the_file_and_not_what_it_may_have(tmp_path):
    (tmp_path / "x").write_bytes(b"a" * 1000)
    tracemalloc.start()
    try:
        assert read_regular(tmp_path / "x", 2**34) == b"a" * 1000
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_file_that_grows_while_it_is_read_is_read_to_its_end_within_the_bound(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"ab" * 500)
    told = os.stat_result((0o100644, 0, 0, 1, 0, 0, 3, 0, 0, 0))  # three bytes, as they were a moment ago
    monkeypatch.setattr("metadcseg.reading.os.fstat", lambda descriptor: told)
    assert read_regular(tmp_path / "x", 1000) == b"ab" * 500
    with pytest.raises(InputError, match="larger than 0 MiB"):
        read_regular(tmp_path / "x", 999)


def test_what_stands_in_the_place_of_a_folder_is_named(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    kinds = {"pipe": "is a pipe", "file": "is a file", "nothing": "does not exist"}
    for name, what in kinds.items():
        for words in (["check"], ["diagnose"], ["prepare", "--out", str(tmp_path / "set")]):
            assert main([words[0], str(tmp_path / name), *words[1:]]) == 2
            assert f"{name} {what}" in " ".join(capsys.readouterr().err.split())
    decisions = ["accept", str(tmp_path / "pipe"), "--out", str(tmp_path / "out")]
    assert main(decisions) == 2
    assert "pipe is a pipe: name decisions.json" in capsys.readouterr().err
    with pytest.raises(InputError, match="must be a regular file, it is a pipe"):
        load_weights(tmp_path / "pipe")


def test_what_may_not_be_looked_at_is_not_called_missing(monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    assert is_what(Path("/home/somebody/masks")) == "cannot be looked at (Permission denied)"
