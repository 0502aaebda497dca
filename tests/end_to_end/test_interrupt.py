"""Ctrl-C, SIGTERM and kill -9 sent to the command itself."""

import json
import signal
import subprocess
import time

import pytest
from tests.end_to_end.tools import COMMAND, contents, done, train

from metadcseg.training import load_run, read_run
from metadcseg.training.run.checkpoints import load_checkpoint

EPOCHS = 7  # seconds: enough for a signal to arrive before the end
METHODS = {
    "calibrated": ("--method", "calibrated", "--calibrated.warmup", "0", "--calibrated.meta", "always"),
    "binned": ("--method", "binned"),
    "supervised": ("--method", "supervised", "--supervised.gold", "mixed"),
}


def start(*words, **options):
    return subprocess.Popen(
        [COMMAND, *(str(word) for word in words)], stderr=subprocess.PIPE, text=True, **options
    )


def wait_until(holds, process):
    deadline = time.monotonic() + 120
    while not holds():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def begin(method, sets, out):
    return train(sets.noisy, out, *METHODS[method], "--seed", 4, epochs=EPOCHS)


@pytest.fixture(scope="module")
def whole(sets, tmp_path_factory):
    """Uninterrupted runs, by method."""
    made = {}

    def of(method):
        if method not in made:
            made[method] = tmp_path_factory.mktemp("whole") / "run"
            done(*begin(method, sets, made[method]))
        return made[method]

    return of


def epochs_written(out):
    journal = out / "metrics.jsonl"
    return len(journal.read_bytes().splitlines()) if journal.exists() else 0


def assert_same_end(one, two):
    """Both runs end with the same weights: those that were kept and those that were trained last."""
    kept = [load_run(folder).network.state_dict() for folder in (one, two)]
    last = [load_checkpoint(folder / "checkpoints")["network"] for folder in (one, two)]
    for first, second in (kept, last):
        assert first.keys() == second.keys()
        assert all(first[name].equal(second[name]) for name in first)
    journals = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (one, two)
    ]
    for journal in journals:
        assert len(journal) == EPOCHS
        for record in journal:
            del record["seconds"]
    assert journals[0] == journals[1]


@pytest.mark.parametrize(
    ("number", "method"),
    [
        (signal.SIGINT, "binned"),
        (signal.SIGTERM, "supervised"),
        (signal.SIGKILL, "supervised"),
        (signal.SIGKILL, "calibrated"),
    ],
    ids=["Ctrl-C", "SIGTERM", "kill -9", "kill -9 calibrated"],
)
def test_a_training_that_is_stopped_goes_on_to_the_same_end(sets, whole, tmp_path, number, method):
    out = tmp_path / "run"
    process = start(*begin(method, sets, out))
    wait_until(lambda: epochs_written(out) >= 1, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    info = read_run(out)
    # the checkpoint, not run.json: a kill may fall between the two, and the checkpoint comes first
    assert 1 <= load_checkpoint(out / "checkpoints")["position"]["epoch"] < EPOCHS
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
        assert info["status"] == "running"
    else:
        assert process.returncode == 130
        assert info["status"] == "interrupted"
        assert err.splitlines()[-1].startswith("stopped and saved in epoch")
        assert "--resume" in err.splitlines()[-1]
        assert not [name for name in contents(out) if name.endswith(".tmp")]
    assert "Traceback" not in err
    done(*begin(method, sets, out), "--resume")
    assert read_run(out)["status"] == "finished"
    assert_same_end(whole(method), out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_set_that_is_being_written_vanishes(tmp_path, number):
    process = start("prepare", "phantom", "--count", 2000, "--size", 32, "--out", tmp_path / "set")
    wait_until(lambda: len(list(tmp_path.glob(".set.partial-*/arrays/*/c.1.*"))) >= 1, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "metadcseg: stopped\n"
    assert list(tmp_path.iterdir()) == []
