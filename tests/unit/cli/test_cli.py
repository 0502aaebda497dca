import gc
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
import weakref
from types import SimpleNamespace

import pytest

import metadcseg
from metadcseg.cli import main as cli
from metadcseg.cli.commands import COMMANDS
from metadcseg.errors import InputError, Note


@pytest.fixture
def command(monkeypatch):
    """A command of the test's own: set ``act`` to what it does."""
    module = SimpleNamespace(DESCRIPTION="does as it is told", act=lambda options: 0)

    def add_options(parser):
        parser.add_argument("--number", type=int, default=1)

    module.add_options = add_options
    module.run = lambda options, console: module.act(options)
    monkeypatch.setattr(cli, "import_module", lambda name: module)
    monkeypatch.setattr(cli, "COMMANDS", {"act": "a module"})
    return module


@pytest.mark.parametrize("before", [None, "0"])
def test_processes_of_a_command_run_no_file_of_the_current_folder(command, tmp_path, monkeypatch, before):
    """Those of multiprocessing begin as ``python -c``."""
    (tmp_path / "pickle.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    if before is not None:
        monkeypatch.setenv("PYTHONSAFEPATH", before)
    begun = [sys.executable, "-c", "import pickle"]
    command.act = lambda options: subprocess.run(begun, check=False).returncode
    assert cli.main(["act"]) == 0
    assert os.environ.get("PYTHONSAFEPATH") == before


@pytest.mark.parametrize(("wanted", "status"), [(None, 0), ("on the path", 9), ("package", 9)])
def test_python_m_runs_a_file_of_the_current_folder_only_where_that_was_asked_for(tmp_path, wanted, status):
    """It is on PYTHONPATH, or the package itself lies there."""
    (tmp_path / "jsonargparse.py").write_text("raise SystemExit(9)")
    home = os.path.dirname(metadcseg.__path__[0])
    if wanted == "package":
        (tmp_path / "metadcseg").symlink_to(metadcseg.__path__[0])
    around = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    around["PYTHONPATH"] = os.pathsep.join([str(tmp_path), home] if wanted == "on the path" else [home])
    words = [sys.executable, "-m", "metadcseg", "check", "--help"]
    ended = subprocess.run(words, cwd=tmp_path, env=around, capture_output=True, text=True, check=False)
    assert ended.returncode == status, ended.stderr


def test_python_m_takes_nothing_else_off_the_path(tmp_path):
    """With -P the first is no folder that Python has put there."""
    (tmp_path / "jsonargparse.py").write_text("raise SystemExit(9)")
    home = os.path.dirname(metadcseg.__path__[0])
    around = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), home])}
    words = [sys.executable, "-P", "-m", "metadcseg", "check", "--help"]
    assert subprocess.run(words, cwd=tmp_path, env=around, capture_output=True, check=False).returncode == 9


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["help"]])
def test_usage_names_every_command(capsys, words):
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert all(f"\n  {name} " in out for name in COMMANDS)
    listed = set(re.findall(r"^  ([a-z-]+)  ", out, flags=re.M))
    assert listed == COMMANDS.keys()  # and none that does not exist


def test_garbage_is_collected_again_whether_or_not_a_command_could_be_loaded(monkeypatch):
    def broken(name):
        assert not gc.isenabled()
        raise ImportError(name)

    monkeypatch.setattr(cli, "import_module", broken)
    monkeypatch.setattr(cli, "COMMANDS", {"act": "a module"})
    gc.unfreeze()  # as in a process of its own
    assert cli.main(["act"]) == 1
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_no_garbage_is_kept_by_a_second_command(command):
    class Leaf:
        pass

    assert cli.main(["act"]) == 0
    circle = Leaf()
    circle.itself = circle
    known = weakref.ref(circle)
    del circle
    assert cli.main(["act"]) == 0
    gc.collect()
    assert known() is None


@pytest.mark.parametrize("word", ["--version", "-V", "version"])
def test_version(capsys, word):
    assert cli.main([word]) == 0
    assert capsys.readouterr().out == f"metadcseg {metadcseg.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_command_and_option(capsys, name):
    assert cli.main([name, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"usage: metadcseg {name}")
    assert cli.main([name, "--help-all"]) == 0
    whole, err = capsys.readouterr()
    assert err == ""
    assert set(shown(out)) <= set(shown(whole))
    assert "--debug" in whole
    assert cli.main(["help", name]) == 0
    assert capsys.readouterr().out == out


def shown(page):
    """The options that a page of help explains."""
    return re.findall(r"^  (--[\w.-]+|[A-Z]+)", page, flags=re.M)


def test_help_of_a_command_that_nobody_knows(capsys):
    assert cli.main(["help", "trian"]) == 2
    assert "unknown command 'trian': did you mean 'train'?" in capsys.readouterr().err


def test_status_of_the_command(command):
    command.act = lambda options: 3
    assert cli.main(["act"]) == 3


def test_input_errors_are_one_line_and_status_2(command, capsys):
    def act(options):
        raise InputError("the file :smile: [bold]a\nb[/] is wrong: mend it")

    command.act = act
    assert cli.main(["act"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert (
        err == "metadcseg: the file :smile: [bold]a b[/] is wrong: mend it\n"
    )  # as it is: no markup, no emoji


def test_a_right_that_is_missing_is_no_failure_of_ours(command, capsys):
    def act(options):
        raise PermissionError(13, "Permission denied", "/home/somebody/masks")

    command.act = act
    assert cli.main(["act"]) == 2
    assert capsys.readouterr().err.startswith(
        "metadcseg: /home/somebody/masks: permission denied; ask for the"
    )


def test_unexpected_failures_are_ours_and_status_1(command, capsys):
    command.act = lambda options: [][1]
    assert cli.main(["act"]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "our fault: IndexError: list index out of range (--debug shows where)" in err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 36000000000 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
def test_too_little_memory_is_told_with_what_to_lower(command, capsys, error):
    def act(options):
        raise error

    command.act = act
    assert cli.main(["act"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("metadcseg: the memory does not suffice: lower training.batch")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("error", [InputError("wrong"), IndexError("broken")])
def test_debug_shows_where(command, capsys, error):
    def act(options):
        raise error

    command.act = act
    assert cli.main(["act", "--debug"]) in (1, 2)
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "in act" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_a_command_with_status_130(command, capsys, number):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    cleaned = []

    def act(options):
        try:
            os.kill(os.getpid(), number)
            threading.Event().wait(5)
        finally:
            cleaned.append(True)

    command.act = act
    assert cli.main(["act"]) == 130
    assert capsys.readouterr().err == "metadcseg: stopped\n"
    assert cleaned == [True]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_a_command_in_another_thread(command):
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(cli.main(["act"])))
    thread.start()
    thread.join()
    assert statuses == [0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["acct"], "unknown command 'acct': did you mean 'act'? (known: act)"),
        (
            ["act", "--numbr", "1"],
            "unknown option --numbr: did you mean --number? (see: metadcseg act --help)",
        ),
        (["act", "--zzz", "1"], "unknown option --zzz (see: metadcseg act --help)"),
        (["act", "--number", "x"], "--number must be a whole number, got x (see: metadcseg act --help)"),
        (["act", "--number"], "argument --number: expected one argument (see: metadcseg act --help)"),
        (["act", "more"], "unrecognized arguments: more (see: metadcseg act --help)"),
    ],
)
def test_sentences_about_the_command_line(command, capsys, words, sentence):
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"metadcseg: {sentence}\n"


def test_a_file_without_a_name_is_refused(capsys):
    assert cli.main(["train", "--data", "x", "--out", "y", "--config"]) == 2
    assert "--config: expected one argument" in capsys.readouterr().err


def test_an_interrupt_while_libraries_load_needs_none_of_them(monkeypatch, capsys):
    """A library that Ctrl-C has left half loaded may fail in any way when it is imported again."""

    class Broken:
        @staticmethod
        def find_spec(name, *_):
            if name.partition(".")[0] in ("numpy", "torch", "metadcseg"):
                raise RecursionError(name)

    def interrupted(*_):
        for name in [name for name in sys.modules if name.startswith("metadcseg.")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [Broken, *sys.meta_path])
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert cli.main(["evaluate", "my_run"]) == 130
    assert capsys.readouterr().err == "metadcseg: stopped\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, None])
def test_a_stop_says_nothing_of_reads_that_never_began(monkeypatch, capfd, number):
    """zarr makes a coroutine and hands it to a thread: a signal may come between the two."""

    async def read():
        """Never begin."""

    def interrupted(*_):
        waiting = read()  # noqa: F841
        if number is None:
            raise KeyboardInterrupt
        signal.raise_signal(number)

    monkeypatch.setattr(cli, "_run", interrupted)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert cli.main(["evaluate", "my_run"]) == 130
        gc.collect()
    assert capfd.readouterr().err == "metadcseg: stopped\n"


def test_what_is_decided_by_itself_is_a_note_said_once_and_other_warnings_stay(capsys, command):
    def act(options):
        for _ in range(2):
            warnings.warn("finite differences are taken", Note, stacklevel=1)
        with pytest.warns(UserWarning, match="of a library"):
            warnings.warn("of a library", UserWarning, stacklevel=1)
        return 0

    command.act = act
    assert cli.main(["act"]) == 0
    assert capsys.readouterr().err == "note: finite differences are taken\n"
    with pytest.warns(Note):  # in Python it is a warning, as before
        warnings.warn("finite differences are taken", Note, stacklevel=1)
