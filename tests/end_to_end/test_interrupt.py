"""Ctrl-C and SIGTERM, which one handler hears, sent to the command itself, one to each; kill -9: test_resume.py."""

import json
import signal
import subprocess
import time

import pytest
from tests.end_to_end.tools import COMMAND, contents, done, gradient, pixels, save, train

from metadcseg.training import load_run, read_run
from metadcseg.training.run.checkpoints import load_checkpoint

EPOCHS = 7  # seconds: enough for a signal to arrive before the end
METHOD = ("--method", "calibrated", "--calibrated.warmup", "0", "--calibrated.meta", "true")
"""Other methods are killed in test_resume.py."""


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


def begin(sets, out):
    return train(sets.noisy, out, *METHOD, "--seed", 4, epochs=EPOCHS)


@pytest.fixture(scope="module")
def whole(sets, tmp_path_factory):
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done(*begin(sets, out))
    return out


def epochs_written(out):
    log = out / "metrics.jsonl"
    return len(log.read_bytes().splitlines()) if log.exists() else 0


def assert_same_end(one, two):
    """Both runs end with the same weights: those that were kept and those that were trained last."""
    kept = [load_run(folder).network.state_dict() for folder in (one, two)]
    last = [load_checkpoint(folder / "checkpoints")["network"] for folder in (one, two)]
    for first, second in (kept, last):
        assert first.keys() == second.keys()
        assert all(first[name].equal(second[name]) for name in first)
    logs = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (one, two)
    ]
    for log in logs:
        assert len(log) == EPOCHS
        for record in log:
            del record["seconds"]
    assert logs[0] == logs[1]


def test_a_training_that_is_stopped_goes_on_to_the_same_end(sets, whole, tmp_path):
    out = tmp_path / "run"
    process = start(*begin(sets, out))
    wait_until(lambda: epochs_written(out) >= 1, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert 1 <= load_checkpoint(out / "checkpoints")["position"]["epoch"] < EPOCHS
    assert process.returncode == 130
    assert read_run(out)["status"] == "interrupted"
    assert err.splitlines()[-1].startswith("stopped and saved in epoch")
    assert "--resume" in err.splitlines()[-1]
    assert not [name for name in contents(out) if name.endswith(".tmp")]
    assert "Traceback" not in err
    done(*begin(sets, out), "--resume")
    assert read_run(out)["status"] == "finished"
    assert_same_end(whole, out)


def test_a_set_that_is_being_written_vanishes(tmp_path):
    process = start("prepare", "phantom", "--count", 2000, "--size", 32, "--out", tmp_path / "set")
    wait_until(lambda: len(list(tmp_path.glob(".metadcseg-*.tmp/set/arrays/*/c.1.*"))) >= 1, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "metadcseg: stopped\n"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on images that take seconds to evaluate, and its set."""
    folder = tmp_path_factory.mktemp("trained")
    done("prepare", "phantom", "--count", 300, "--size", 128, "--edges", "none", "--out", folder / "set")
    done(*train(folder / "set", folder / "run", "--method", "supervised"))
    return folder


def test_an_evaluation_that_is_stopped_leaves_the_last_one_as_it_was(trained):
    done("evaluate", trained / "run", "--split", "val", "--overlays")
    before = contents(trained / "run")
    assert [name for name in before if name.startswith("evaluation/")]
    process = start("evaluate", trained / "run", "--split", "train", "--overlays", stdout=subprocess.PIPE)
    wait_until(lambda: list((trained / "run").glob("evaluation/.metadcseg-*.tmp/train/*.png")), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "metadcseg: stopped\n")
    assert contents(trained / "run") == before


def test_a_prediction_that_is_stopped_keeps_whole_masks_and_goes_on(trained, tmp_path):
    for image in range(120):
        save(tmp_path / "new" / f"{image}.png", gradient(256, 256 + image % 7))
    words = ("predict", trained / "run", tmp_path / "new", "--out", tmp_path / "masks", "--overlays")
    process = start(*words, stdout=subprocess.PIPE)
    wait_until(lambda: len(list(tmp_path.glob("masks/.metadcseg-*/*.png"))) >= 10, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "metadcseg: stopped\n")
    there = contents(tmp_path / "masks")
    assert 3 <= len(list(tmp_path.glob("masks/*.png"))) < 120
    assert all(name.endswith(".png") for name in there), "no half-written file"
    assert all(pixels(tmp_path / "masks" / name).size for name in there)
    done(*words)
    assert len(list(tmp_path.glob("masks/*.png"))) == 120
    assert contents(tmp_path / "masks").items() >= there.items()
