"""Files that are whole or not there, links that lead nowhere, and folders that one process holds."""

import os
import stat
import time

import numpy as np
import pytest

from metadcseg.errors import InputError
from metadcseg.files import (
    atomic_file,
    lock_folder,
    numbered,
    open_append,
    output_folder,
    safe_names,
    write_bytes,
)
from metadcseg.scratch import scratch_folder


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


@pytest.fixture
def mine(tmp_path):
    """A file and a folder of the user's, to which a link in an output leads."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    return tmp_path / "mine"


@pytest.mark.parametrize("target", ["thesis.tex", "absent", "."])
def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(target, mine, tmp_path):
    before = sorted(mine.iterdir())
    (tmp_path / "out").symlink_to(mine / target)
    write_bytes(tmp_path / "out", b"new")
    assert not (tmp_path / "out").is_symlink()
    assert (tmp_path / "out").read_bytes() == b"new"
    assert (mine / "thesis.tex").read_text() == "years of work"
    assert sorted(mine.iterdir()) == before


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_umask_decides_on_rights(mask, tmp_path):
    before = os.umask(mask)
    try:
        write_bytes(tmp_path / "file", b"")
        open_append(tmp_path / "log").close()
        output_folder(tmp_path, "folder")
    finally:
        os.umask(before)
    rights = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "log", "folder")]
    assert rights == [0o666 & ~mask, 0o666 & ~mask, 0o777 & ~mask]


@pytest.mark.parametrize("path", ["x" * 300, "no/such/folder/x", "file/x", "folder"])
def test_what_cannot_be_written_is_one_sentence_and_leaves_nothing(path, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        write_bytes(tmp_path / path, b"x")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_the_first_error_is_the_one_that_is_told(tmp_path):
    """The clean-up fails as well, since the folder has gone."""

    def in_a_file():
        with atomic_file(tmp_path / "folder" / "a"):
            for left in (tmp_path / "folder").iterdir():
                left.unlink()
            (tmp_path / "folder").rmdir()
            raise KeyError("first")

    def in_a_folder():
        with scratch_folder(tmp_path) as scratch:
            scratch.rmdir()
            scratch.symlink_to(tmp_path)
            raise KeyError("first")

    (tmp_path / "folder").mkdir()
    for failing in (in_a_file, in_a_folder):
        with pytest.raises(KeyError, match="first"):
            failing()
    assert tmp_path.exists()


@pytest.mark.parametrize("place", [("a",), ("a", "b"), ("a", "b", "c")])
def test_a_linked_folder_in_an_output_is_refused(place, mine, tmp_path):
    root = tmp_path / "root"
    link = output_folder(root, *place[:-1]) / place[-1]
    link.symlink_to(mine)
    with pytest.raises(InputError, match=f"{place[-1]} is a link.*remove the link"):
        output_folder(root, "a", "b", "c")
    assert [entry.name for entry in mine.iterdir()] == ["thesis.tex"]


def test_the_output_itself_may_be_a_link(mine, tmp_path):
    (tmp_path / "out").symlink_to(mine)
    assert output_folder(tmp_path / "out", "inner").is_dir()
    assert (mine / "inner").is_dir()


@pytest.mark.parametrize("target", ["thesis.tex", "absent", "/dev/full"])
def test_nothing_is_added_behind_a_link(target, mine, tmp_path):
    (tmp_path / "log").symlink_to(mine / target)
    with pytest.raises(InputError, match="is a link"):
        open_append(tmp_path / "log")
    assert (mine / "thesis.tex").read_text() == "years of work"
    assert not (mine / "absent").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_added_to_nor_waited_for(make, tmp_path):
    make(tmp_path / "lock")
    with pytest.raises(InputError, match="is no regular file"):
        open_append(tmp_path / "lock")
    with pytest.raises(InputError, match="is no regular file"), lock_folder(tmp_path, "busy"):
        pass


def test_names_are_told_apart_as_when_every_number_is_tried():
    words = np.random.default_rng(0).choice(["a", "A", "a-2", "a-2-2", "A-3", "b", "ß", "ss", "SS-2"], 300)
    taken, wanted = set(), []
    for word in words:
        tries = [str(word), *(f"{word}-{number}" for number in range(2, 302))]
        wanted.append(next(name for name in tries if name.casefold() not in taken))
        taken.add(wanted[-1].casefold())
    assert numbered(map(str, words)) == safe_names(map(str, words)) == wanted
    assert numbered(map(str, words), [".png"] * 300) == [f"{name}.png" for name in wanted]


def test_many_equal_names_take_no_square_of_their_number():
    """By trying every number from 2 on it takes a minute."""
    started = time.monotonic()
    assert safe_names(["case"] * 20_000)[-1] == "case-20000"
    assert time.monotonic() - started < 10
