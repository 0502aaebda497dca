"""Processes that share every batch do what one does with the whole of it, and end together whatever happens."""

import json
import os
import re
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tests.end_to_end.tools import COMMAND, TINY, cli, refused
from tests.end_to_end.zygote import zygote
from tests.unit.training.helpers import make_set

from metadcseg.data.store.layout import chunk_file
from metadcseg.training import read_run
from metadcseg.training.pixel_store.pixel_maps import RunStorage
from metadcseg.training.run.checkpoints import load_checkpoint

SUPERVISED = ("--method", "supervised", "--supervised.gold", "mixed")
PAIRS = ("--method", "metadcseg", "--metadcseg.warmup", "0", "--metadcseg.meta_scaling", "rms")
METHODS = {
    "pairs": (*PAIRS, "--metadcseg.normalization", "batch"),
    "calibrated": ("--calibrated.warmup", "0", "--calibrated.meta", "true"),
    "binned": ("--method", "binned", "--binned.meta_every", "1"),
}
EPOCHS = 6  # enough for a signal to arrive before the end
DEVICES = {"pairs": 2, "calibrated": 4}


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    """Five training images: of the last batch, the second device has none."""
    return make_set(tmp_path_factory.mktemp("sets") / "disks", train=5, gold=3, val=3, pairs=3)


@pytest.fixture(scope="module")
def by_torchrun():
    """Processes in places of torchrun, which spare the seconds that torch takes to load in each."""
    with zygote() as ready:
        yield ready


@contextmanager
def started(words):
    """Yield a command in a process of its own, after which none of those that it starts may be left."""
    process = subprocess.Popen([COMMAND, *map(str, words)], stderr=subprocess.PIPE, text=True)
    try:
        yield process
        process.wait(120)
    finally:
        process.kill()  # nothing where it has ended
        process.wait()
    deadline = time.monotonic() + 10
    while found := ranks(words[4]):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def ranks(out):
    """Return the processes that train in a folder, by their rank."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            told = (place / "cmdline").read_bytes(), (place / "environ").read_bytes()
        except OSError:
            continue
        if str(out).encode() in told[0].split(b"\0") and (rank := re.search(rb"\0RANK=(\d+)", told[1])):
            found[int(rank[1])] = int(place.name)
    return found


def epochs_of(out):
    """Return how many epochs a run has done, as far as its log says."""
    log = out / "metrics.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


def wait_for_epoch(process, out, number):
    while epochs_of(out) < number:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


def command(data, out, *words, epochs=2):
    base = ("train", "--data", data.path, "--out", out, "--epochs", epochs, *TINY, "--seed", 3)
    return (*base, *words)


def ending(out):
    """Return the last checkpoint, flat, with the weights of all pixels, and the log, without the seconds."""
    saved = load_checkpoint(out / "checkpoints")
    saved["pixels"] = pixel_weights(out, saved.pop("storage"))
    position = saved.pop("position")
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for record in [*records, *position["records"], position]:
        record.pop("seconds")
    return flat(saved | {"position": position}), records


def pixel_weights(out, state):
    """Return alpha and beta of all training images as their files have them for one checkpoint."""
    info = read_run(out)
    frame, images = (info["training"]["size"],) * 2, info["set"]["cases"]["train"]
    storage = RunStorage(out / "weights", images, frame)
    storage.load_state_dict(state)
    return {name: storage.open(name).read(range(images)) for name in state}


def flat(tree, name=""):
    if isinstance(tree, dict):
        return {k: leaf for part, value in tree.items() for k, leaf in flat(value, f"{name}/{part}").items()}
    if isinstance(tree, list | tuple):
        return flat(dict(enumerate(tree)), name)
    return {name: tree}


def vector(state, part):
    found = [v.flatten().double() for k, v in state.items() if k.startswith(part) and v.is_floating_point()]
    return torch.cat(found)


def assert_close(one, two, part, bound):
    first, second = vector(one, part), vector(two, part)
    assert first.isnan().equal(second.isnan())  # a center of a region that was never seen
    first, second = first.nan_to_num(), second.nan_to_num()
    assert first.norm() > 0
    assert (first - second).norm() <= bound * first.norm(), (first - second).norm() / first.norm()


def assert_same_log(one, two, bound):
    for first, second in zip(one, two, strict=True):
        assert first["val"] == pytest.approx(second["val"], rel=1e-5, abs=1e-6)
        assert first["train"] == pytest.approx(second["train"], rel=bound, abs=1e-6)


@pytest.mark.parametrize("name", DEVICES)
def test_several_devices_do_what_one_does_with_the_joint_batch(disks, by_torchrun, tmp_path, name):
    words, devices = (*METHODS[name], "--training.figure_every", 2), DEVICES[name]
    assert cli(*command(disks, tmp_path / "one", *words)).status == 0
    ended, told = by_torchrun(command(disks, tmp_path / "all", *words), devices, tmp_path)
    assert ended == [0] * devices, told
    assert read_run(tmp_path / "all")["training"]["devices"] == devices
    for line in (f"{devices} x cpu", "epoch 2/2", "done: metadcseg evaluate"):
        assert told.count(line) == 1, told
    (one, log), (two, other) = (ending(tmp_path / name) for name in ("one", "all"))
    assert_close(one, two, "/network", 1e-5)  # four steps in float32; measured 1e-7
    assert_close(one, two, "/updater/ema_model", 1e-5)
    if name == "calibrated":
        assert_close(one, two, "/method/parts/pairs", 1e-5)
    else:
        assert one["/pixels/beta"].flatten(1).any(dim=1).all()  # of every image
        # of what was learnt, kept in half precision: measured 1e-4, and 1.5e-3 for the few and tiny beta
        assert_close(one, two, "/pixels/alpha", 1e-3)
        assert_close(one, two, "/pixels/beta", 1e-2)
        assert_close(one, two, "/method/parts/boundary", 1e-5)
    assert_same_log(log, other, 1e-4)
    assert (tmp_path / "all/figures/epoch_002.png").exists()
    assert not list((tmp_path / "all").rglob("*.tmp"))


def test_devices_that_were_stopped_go_on_to_the_same_bits(disks, by_torchrun, tmp_path):
    out, whole, words = tmp_path / "parts", tmp_path / "whole", (*METHODS["binned"], "--devices", 2)
    with started(command(disks, out, *words, epochs=EPOCHS)) as process:
        wait_for_epoch(process, out, 1)
        process.send_signal(signal.SIGTERM)
        told = process.communicate()[1]
    assert process.returncode == 130, told
    assert told.count("stopped and saved in epoch") == 1
    assert "Traceback" not in told
    assert read_run(out)["status"] == "interrupted"
    for folder in (out, whole):
        ended, told = by_torchrun(command(disks, folder, *words, "--resume", epochs=EPOCHS), 2, tmp_path)
        assert ended == [0, 0], told
    (one, log), (two, other) = ending(out), ending(whole)
    assert log == other
    assert one.keys() == two.keys()
    for name, value in one.items():
        same = torch.equal(value, two[name]) if isinstance(value, torch.Tensor) else value == two[name]
        assert same, name


def test_a_device_that_is_killed_ends_all_with_a_sentence_and_one_device_goes_on(disks, tmp_path):
    out, whole = tmp_path / "run", tmp_path / "whole"
    with started(command(disks, out, *SUPERVISED, "--devices", 2, epochs=EPOCHS)) as process:
        wait_for_epoch(process, out, 1)
        os.kill(ranks(out)[1], signal.SIGKILL)
        before = time.monotonic()
        told = process.communicate()[1]
        assert time.monotonic() - before < 60
    assert process.returncode == 2, told
    said = [line for line in told.splitlines() if line.startswith("metadcseg: ")]
    assert len(said) == 1, told
    assert "device 2 of 2 ended without a word" in said[0]
    assert "with --resume goes on" in said[0]
    assert "Traceback" not in told
    for folder in (out, whole):
        again = command(disks, folder, *SUPERVISED, "--devices", 1, "--resume", epochs=EPOCHS)
        assert cli(*again).status == 0
    (one, log), (two, other) = ending(out), ending(whole)
    assert_close(one, two, "/network", 1e-4)
    assert_same_log(log, other, 1e-3)


def test_what_the_second_device_cannot_read_is_said_once(by_torchrun, tmp_path):
    broken, out = make_set(tmp_path / "set", train=4), tmp_path / "run"
    case = broken.select("train")[1]
    place = broken._places[case.row]["image"]
    chunk_file(broken.path, place.array, place.index).write_bytes(b"broken")
    ended, told = by_torchrun(command(broken, out, *SUPERVISED, "--devices", 2), 2, tmp_path)
    assert ended == [2, 2], told
    said = [line for line in told.splitlines() if line.startswith("metadcseg: ")]
    assert len(said) == 1, told
    assert "train1" in said[0]
    assert "Traceback" not in told
    assert "train1" in read_run(out)["reason"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--devices", 3), ("training.batch must be a multiple of 3", "got 4")),
        (("--devices", 0), ("training.devices must be at least 1", "got 0")),
        (("--nodes", 2), ("training.nodes 2 need a process for every device", "torchrun or srun anywhere")),
        (
            ("--precision", "8-bit"),
            ("--precision must be one of auto, 32-true, bf16-mixed, got 8-bit",),
        ),
        (("--training.batch", 8, "--training.gold_batch", 8, "--devices", 8), ("has only 5 train cases",)),
    ],
)
def test_devices_that_cannot_be_are_refused_in_one_sentence(disks, tmp_path, words, says):
    out = tmp_path / "run"
    refused(*command(disks, out, *words), says=says)
    assert not out.exists()


def test_more_devices_than_the_machine_has(disks, tmp_path):
    count = torch.cuda.device_count() + 1 if torch.cuda.is_available() else 2
    batch = ("--training.batch", count, "--training.gold_batch", count)
    words = command(disks, tmp_path / "run", *batch, "--devices", count, "--accelerator", "cuda")
    refused(*words, says=(f"training.devices: {count} of accelerator cuda are not to be had here", "cpu"))
    assert not (tmp_path / "run").exists()


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_do_what_one_does(disks, tmp_path):
    for devices in (1, 2):
        out = tmp_path / str(devices)
        words = command(disks, out, *METHODS["binned"], "--devices", devices, "--accelerator", "cuda")
        assert cli(*words).status == 0
    (one, _), (two, _) = (ending(tmp_path / devices) for devices in ("1", "2"))
    assert_close(one, two, "/network", 1e-3)
