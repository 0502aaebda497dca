"""Locks: one process at a time, and none where the file system has none."""

import errno
import fcntl

import pytest

from metadcseg.errors import InputError
from metadcseg.files import lock_folder, try_lock


def test_a_folder_is_held_until_its_block_ends(tmp_path):
    folder = tmp_path / "new"
    with (
        lock_folder(folder, "first"),
        pytest.raises(InputError, match="second"),
        lock_folder(folder, "second"),
    ):
        pass
    with lock_folder(folder, "third"):
        pass


def test_a_file_system_without_locks_stops_nobody(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (tmp_path / "lock").open("a") as file:
        assert try_lock(file)
