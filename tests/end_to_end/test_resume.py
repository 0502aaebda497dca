"""A run that is killed with SIGKILL in the middle of an epoch ends as if nothing had happened."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.training.helpers import make_set

from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.methods import METHODS, create_method
from metadcseg.networks import NetworkOptions
from metadcseg.training import TrainingOptions, load_run, read_run, train
from metadcseg.training.pixel_store.npy_file import NpyFile
from metadcseg.training.run.checkpoints import load_checkpoint

STEPS, EPOCHS = 3, 4
pytestmark = pytest.mark.filterwarnings("ignore:calibrated.meta. 2 gold images are too few")
CHOSEN = {  # method -> its options
    "metadcseg": {"warmup": 1},
    "calibrated": {"warmup": 1, "meta": True},
    "binned": {"warmup": 1},
}

SERVER = multiprocessing.get_context("forkserver")  # loads torch once for all children
SERVER.set_forkserver_preload(
    ["metadcseg.training.setup", "metadcseg.networks.unetplusplus", "tests.end_to_end.test_resume"]
)


def child_main(method, set_path, out, minutes, pause_at):
    """Train, and wait in a certain step."""
    step, taken = METHODS[method].step, []

    def watched(self, state, noisy, gold):
        taken.append(1)
        if len(taken) == pause_at:
            Path(f"{out}.paused").touch()
            for _ in range(600):  # short sleeps, so that SIGTERM is seen
                if Path(f"{out}.go").exists():
                    break
                time.sleep(0.1)
        return step(self, state, noisy, gold)

    METHODS[method].step = watched
    begin(method, set_path, Path(out), minutes, resume=False)


def begin(method, set_path, out, minutes, resume, epochs=EPOCHS, seed=7):
    chosen = create_method(method, **CHOSEN[method])
    options = TrainingOptions(
        epochs=epochs,
        batch=2,
        gold_batch=2,
        size=32,
        warmup=2,
        figure_every=0,
        checkpoint_minutes=minutes,
        accelerator="cpu",
        threads=1,
    )
    network = NetworkOptions(width=2)
    return train(PreparedSet.open(set_path), chosen, network, options, out, seed=seed, resume=resume)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return make_set(
        tmp_path_factory.mktemp("sets") / "disks", train=6, gold=2, val=2, edges=True, pairs=2
    ).path


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory):
    """Uninterrupted runs, by method."""
    made = {}

    def run(method):
        if method not in made:
            made[method] = tmp_path_factory.mktemp("whole") / "run"
            begin(method, prepared, made[method], 10.0, resume=False)
        return made[method]

    return run


def paused_child(method, prepared, out, minutes, pause_at):
    """Start a run in its own process and wait until it is within a certain step."""
    child = SERVER.Process(target=child_main, args=(method, prepared, str(out), minutes, pause_at))
    child.start()
    deadline = time.monotonic() + 120
    while not Path(f"{out}.paused").exists():
        assert child.is_alive(), "the run ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return child


def ending(out):
    """Return all that must be equal: final state, kept weights, log."""
    checkpoint = load_checkpoint(out / "checkpoints")
    position, kept = checkpoint.pop("position"), checkpoint.pop("storage")
    for (
        maps
    ) in kept.values():  # where a map lies depends on when checkpoints were written; what it holds does not
        del maps["slots"], maps["before"]
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for record in [*records, *position["records"], position]:
        record.pop("seconds")
    tensors = {**load_run(out).network.state_dict(), **flat(checkpoint), **flat(position), **flat(kept)}
    return tensors, records


def flat(tree, name=""):
    if isinstance(tree, dict):
        return {
            key: leaf for part, value in tree.items() for key, leaf in flat(value, f"{name}/{part}").items()
        }
    if isinstance(tree, list | tuple):
        return flat(dict(enumerate(tree)), name)
    return {name: tree}


def bits(leaf):
    """Return what can be compared: of a tensor its bytes, since a center that was never seen is NaN."""
    if not isinstance(leaf, torch.Tensor):
        return leaf
    return leaf.dtype, leaf.shape, leaf.detach().contiguous().numpy().tobytes()


def assert_same_ending(one, two):
    tensors, records = ending(one)
    others, other_records = ending(two)
    assert [record["epoch"] for record in records] == list(range(EPOCHS))
    assert records == other_records
    assert tensors.keys() == others.keys()
    for name, value in tensors.items():
        assert bits(value) == bits(others[name]), name


@pytest.mark.parametrize(
    ("method", "minutes", "pause_at", "goes_on_at"),
    [
        ("metadcseg", 10.0, 2 * STEPS + 2, (2, 0)),  # two epochs done, the third begun
        ("calibrated", 0.0, 2 * STEPS + 3, (2, 2)),  # a checkpoint after every step
        ("binned", 0.0, 2 * STEPS + 3, (2, 2)),
    ],
)
def test_kill_in_the_middle_of_an_epoch(whole, prepared, tmp_path, method, minutes, pause_at, goes_on_at):
    out = tmp_path / "run"
    child = paused_child(method, prepared, out, minutes, pause_at)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert read_run(out)["status"] == "running"
    position = load_checkpoint(out / "checkpoints")["position"]
    assert (position["epoch"], position["step"]) == goes_on_at
    assert begin(method, prepared, out, 10.0, resume=True).epochs_done == EPOCHS
    assert_same_ending(whole(method), out)


def test_sigterm_from_outside_saves_and_leaves_cleanly(whole, prepared, tmp_path):
    out = tmp_path / "run"
    child = paused_child("metadcseg", prepared, out, 10.0, STEPS + 2)
    child.terminate()
    Path(f"{out}.go").touch()
    child.join(timeout=60)
    assert child.exitcode == 0
    assert read_run(out)["status"] == "interrupted"
    position = load_checkpoint(out / "checkpoints")["position"]
    assert (position["epoch"], position["step"]) == (1, 2)
    begin("metadcseg", prepared, out, 10.0, resume=True)
    assert_same_ending(whole("metadcseg"), out)


def damage_a_weight(path):
    """Flip one bit of the map that the newest checkpoint has of the first image."""
    slot = int(load_checkpoint(path.parents[1] / "checkpoints")["storage"]["alpha"]["slots"][0])
    assert slot
    content = bytearray(path.read_bytes())
    _, images, *grid = np.load(path, mmap_mode="r")["map"].shape
    content[NpyFile(path, images, tuple(grid), new=False).place(0, slot)] ^= 1
    path.write_bytes(content)
    return "the map of training image 0 is damaged"


def cut_short(path):
    os.truncate(path, 5000)
    return "is damaged, or not of 6 training images of 32 x 32"


def test_damaged_weights_are_found_and_the_way_out_leads_to_the_same_end(whole, prepared, tmp_path):
    out = tmp_path / "run"
    begin("metadcseg", prepared, out, 10.0, resume=False, epochs=3)
    alpha, last = out / "weights/alpha.npy", out / "checkpoints/last.pt"
    kept, checkpoint = alpha.read_bytes(), last.read_bytes()
    for damage in (cut_short, Path.unlink, damage_a_weight):
        says = damage(alpha) or "is missing"
        with pytest.raises(InputError, match=says) as caught:
            begin("metadcseg", prepared, out, 10.0, resume=True)
        assert str(alpha) in str(caught.value)
        assert last.read_bytes() == checkpoint  # nothing was changed
        if damage is not damage_a_weight:
            alpha.write_bytes(kept)
    last.unlink()  # one of the ways out that the sentence names
    begin("metadcseg", prepared, out, 10.0, resume=True)
    assert_same_ending(whole("metadcseg"), out)


def test_weights_of_a_run_with_another_seed_are_refused(prepared, tmp_path):
    runs = [tmp_path / "a", tmp_path / "b"]
    begin("metadcseg", prepared, runs[0], 10.0, resume=False, epochs=2)
    begin("metadcseg", prepared, runs[1], 10.0, resume=False, epochs=2, seed=8)
    shutil.copy(runs[1] / "weights/beta.npy", runs[0] / "weights/beta.npy")
    with pytest.raises(
        InputError, match=r"beta\.npy: the map of training image \d is damaged, or another than"
    ):
        begin("metadcseg", prepared, runs[0], 10.0, resume=True)


def test_a_finished_run_does_not_need_its_weights(whole, prepared, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole("metadcseg"), out, ignore=shutil.ignore_patterns("weights"))
    assert begin("metadcseg", prepared, out, 10.0, resume=True).epochs_done == EPOCHS
    with pytest.raises(InputError, match=r"alpha\.npy is missing"):
        begin("metadcseg", prepared, out, 10.0, resume=True, epochs=EPOCHS + 1)
