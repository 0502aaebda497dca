"""What is hidden until it has its name: held while its process lives, and removed after that."""

import errno
import fcntl
import signal
import subprocess
import sys
from pathlib import Path

from metadcseg.files import atomic_file, write_bytes
from metadcseg.scratch import sweep, try_lock


def test_a_file_system_without_locks_stops_nobody(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (tmp_path / "lock").open("a") as file:
        assert try_lock(file)


def test_temporary_names_are_random_and_of_one_length(tmp_path):
    seen = set()
    for name in ("a", "b" * 255, "a"):
        with atomic_file(tmp_path / name):
            seen.update(path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp"))
    assert len(seen) == 3
    assert {len(name) for name in seen} == {31}


def test_what_a_killed_process_left_is_removed_and_what_a_running_one_has_stays(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").touch()
    script = f"""
import sys, time
from pathlib import Path
from metadcseg.files import atomic_file
from metadcseg.scratch import scratch_folder
with atomic_file(Path({str(tmp_path)!r}) / "a") as file, scratch_folder(Path({str(tmp_path)!r})) as scratch:
    (scratch / "half").write_text("x")
    print("ready", flush=True)
    time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout.readline() == "ready\n"
        link = tmp_path / ".metadcseg-0123456789abcdef.tmp"
        link.symlink_to(mine)
        sweep.cache_clear()
        sweep(tmp_path)
        assert len([path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]) == 3
        child.send_signal(signal.SIGKILL)
    sweep.cache_clear()
    write_bytes(tmp_path / "b", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == [link.name, "b", "mine"]
    assert (mine / "thesis.tex").exists()


def test_a_file_that_is_being_written_survives_a_look_for_leftovers(tmp_path):
    with atomic_file(tmp_path / "a") as file:
        sweep.cache_clear()
        sweep(tmp_path)
        file.write(b"whole")
    assert Path(tmp_path / "a").read_bytes() == b"whole"
