"""Maps that go with checkpoints: nothing that a checkpoint refers to is written over, whatever happens when."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from metadcseg.errors import InputError
from metadcseg.training.pixel_store.npy_file import SLOTS
from metadcseg.training.pixel_store.pixel_maps import RunStorage, merge_states
from metadcseg.training.run.checkpoints import load_checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parents[4]
IMAGES, FRAME = 6, (2, 3)


def storage(folder, images=IMAGES, grid=FRAME, **processes):
    return RunStorage(folder / "weights", images, grid, **processes)


def filled(value, count=1):
    return torch.full((count, *FRAME), float(value))


def save(folder, kept, epoch=0):
    save_checkpoint(folder / "checkpoints", {"epoch": epoch, "storage": kept.state_dict()})
    kept.saved()


def resumed(folder):
    """Return a new storage as the newest checkpoint has it, and what else that says."""
    checkpoint = load_checkpoint(folder / "checkpoints")
    again = storage(folder)
    again.load_state_dict(checkpoint["storage"])
    return again, checkpoint["epoch"]


def held(kept, name="alpha"):
    return kept.open(name).read(range(IMAGES)).mean(dim=(1, 2)).tolist()


def test_nothing_is_on_the_disk_before_the_first_map(tmp_path):
    kept = storage(tmp_path)
    assert held(kept) == [0] * IMAGES
    save(tmp_path, kept)
    assert not (tmp_path / "weights").exists()
    again, _ = resumed(tmp_path)
    assert held(again) == [0] * IMAGES


def test_state_is_small_and_maps_are_no_part_of_it(tmp_path):
    kept = storage(tmp_path, images=1000, grid=(64, 64))
    kept.open("alpha").write([999], torch.ones(1, 64, 64))
    state = kept.state_dict()["alpha"]
    assert {name: part.shape for name, part in state.items()} == {
        "slots": (1000,),
        "checksums": (1000,),
        "before": (1000,),
    }
    assert sum(part.nbytes for part in state.values()) == 10 * 1000


def test_the_last_two_checkpoints_stay_as_they_were(tmp_path):
    kept = storage(tmp_path)
    for epoch in range(5):
        kept.open("alpha").write([0, 1], filled(epoch, 2))
        kept.open("beta").write([epoch], filled(-epoch))
        save(tmp_path, kept, epoch)
    for _ in range(3):
        kept.open("alpha").write([0, 1, 2], filled(99, 3))
        kept.open("beta").write([0, 4], filled(99, 2))
    again, epoch = resumed(tmp_path)
    assert (epoch, held(again)) == (4, [4, 4, 0, 0, 0, 0])
    assert held(again, "beta") == [0, -1, -2, -3, -4, 0]
    (tmp_path / "checkpoints/last.pt").unlink()  # what the sentence for a damaged one says
    again, epoch = resumed(tmp_path)
    assert (epoch, held(again)) == (3, [3, 3, 0, 0, 0, 0])
    assert held(again, "beta") == [0, -1, -2, -3, 0, 0]


def test_three_places_are_used_while_all_saving_succeeds(tmp_path):
    kept, used = storage(tmp_path), set()
    for epoch in range(8):
        for _ in range(3):
            kept.open("alpha").write([0], filled(epoch))
        save(tmp_path, kept, epoch)
        used.add(int(kept.state_dict()["alpha"]["slots"][0]))
    assert used == {1, 2, 3}


def test_saving_that_fails_again_and_again_costs_nothing_that_was_saved(tmp_path):
    kept = storage(tmp_path)
    for epoch in range(2):
        kept.open("alpha").write([0], filled(epoch))
        save(tmp_path, kept, epoch)
    for attempt in range(6):
        kept.open("alpha").write([0], filled(50 + attempt))
        kept.state_dict()  # and then the disk is full
    assert held(resumed(tmp_path)[0])[0] == 1
    kept.open("alpha").write([0], filled(60))
    save(tmp_path, kept, 2)
    kept.open("alpha").write([0], filled(70))
    assert held(resumed(tmp_path)[0])[0] == 60
    (tmp_path / "checkpoints/last.pt").unlink()
    assert held(resumed(tmp_path)[0])[0] == 1


def test_saying_saved_twice_forgets_nothing(tmp_path):
    kept = storage(tmp_path)
    for epoch in range(2):
        kept.open("alpha").write([0], filled(epoch))
        save(tmp_path, kept, epoch)
        kept.saved()
    for value in (8, 9):
        kept.open("alpha").write([0], filled(value))
    (tmp_path / "checkpoints/last.pt").unlink()
    assert held(resumed(tmp_path)[0])[0] == 0
    assert held(kept)[0] == 9


def test_killed_between_any_two_operations_the_newest_checkpoint_goes_with_its_maps(tmp_path, monkeypatch):
    """The folder is copied at every call that touches the disk; each copy is what a kill there leaves."""
    live, copies = tmp_path / "live", []

    def watched(name):
        plain = getattr(os, name)

        def call(*arguments):
            copies.append(shutil.copytree(live, tmp_path / f"copy{len(copies)}"))
            plain(*arguments)
            copies.append(shutil.copytree(live, tmp_path / f"copy{len(copies)}"))

        monkeypatch.setattr(os, name, call)

    live.mkdir()
    kept = storage(live)
    written = {}
    watched("fsync")
    watched("replace")
    for epoch in range(4):
        for image in range(epoch, IMAGES):
            kept.open("alpha").write([image], filled(10 * epoch + image))
            copies.append(shutil.copytree(live, tmp_path / f"copy{len(copies)}"))
        written[epoch] = held(kept)
        save(live, kept, epoch)
    monkeypatch.undo()
    seen = []
    for copy in copies:
        if load_checkpoint(copy / "checkpoints") is None:
            continue
        again, epoch = resumed(copy)
        assert held(again) == written[epoch]
        seen.append(epoch)
        again.open("alpha").write(range(IMAGES), filled(77, IMAGES))  # going on leaves the way back open
        if (copy / "checkpoints/previous.pt").exists() and (copy / "checkpoints/last.pt").exists():
            (copy / "checkpoints/last.pt").unlink()
            again, epoch = resumed(copy)
            assert held(again) == written[epoch]
    assert len(seen) > 30
    assert set(seen) == {0, 1, 2, 3}


KILLED = """
import sys
from pathlib import Path
import torch
from tests.unit.training.pixel_store.test_pixel_maps import FRAME, IMAGES, filled, save, storage

folder, kept = Path(sys.argv[1]), storage(Path(sys.argv[1]))
for epoch in range(100_000):
    for image in range(IMAGES):
        if (epoch + image) % 3:
            kept.open("alpha").write([image], filled(epoch % 1000))
    save(folder, kept, epoch)
    if epoch == 3:
        (folder / "under-way").touch()
"""


@pytest.mark.parametrize("milliseconds", [7, 31])
def test_killed_by_the_system_the_newest_checkpoint_goes_with_its_maps(tmp_path, milliseconds):
    path = f"{ROOT}{os.pathsep}{ROOT / 'src'}"
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, env={**os.environ, "PYTHONPATH": path}
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "under-way").exists():
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(milliseconds / 1000)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    for last in (True, False):
        if not last:
            (tmp_path / "checkpoints/last.pt").unlink(missing_ok=True)
        again, epoch = resumed(tmp_path)
        assert epoch >= 2
        assert held(again) == [
            (epoch if (epoch + image) % 3 else epoch - 1) % 1000 for image in range(IMAGES)
        ]


def test_other_files_than_the_checkpoint_knows_are_refused(tmp_path):
    kept = storage(tmp_path)
    kept.open("alpha").write([2], filled(1))
    save(tmp_path, kept)
    file = tmp_path / "weights/alpha.npy"
    content = file.read_bytes()
    state = load_checkpoint(tmp_path / "checkpoints")["storage"]

    def refused(says, **changed):
        with pytest.raises(InputError, match=says) as caught:
            storage(tmp_path, **changed).load_state_dict(state)
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)

    kept.open("alpha").write([2], filled(1))
    save(tmp_path, kept)
    kept.open("alpha").write([2], filled(3))
    save(tmp_path, kept)
    kept.open("alpha").write([2], filled(4))  # by now in the place that the first checkpoint knew
    refused(
        "image 2 is damaged, or another than the one that the checkpoint goes with; .*delete checkpoints/last"
    )
    file.write_bytes(content)
    storage(tmp_path).load_state_dict(state)
    refused("is damaged, or not of 6 training images of 3 x 2; put the file back", grid=(3, 2))
    refused(r"must have the shape \(7\), got \(6,\)", images=7)
    file.write_bytes(content[:-1])
    refused("is damaged, or not of 6 training images of 2 x 3; put the file back")
    file.unlink()
    refused("is missing, and the checkpoint refers to it")
    assert not file.exists()


def test_a_run_of_an_earlier_version_goes_on_in_its_own_file(tmp_path):
    """There a map was followed by 12 bytes, and the header was another."""
    kept = RunStorage(
        tmp_path / "weights", IMAGES, (32, 64)
    )  # a map fills a page: with 12 bytes more it needs two
    values = torch.arange(2048.0).remainder(500).view(1, 32, 64)
    kept.open("alpha").write([4], values)
    state = kept.state_dict()
    slot, new = int(state["alpha"]["slots"][4]), tmp_path / "weights/alpha.npy"
    place = 4096 + 2 * 4096 * ((slot - 1) * IMAGES + 4)
    content = bytearray(4096 + 2 * 4096 * SLOTS * IMAGES)
    content[:8], content[place : place + 4096] = b"mdcsmap\n", values.half().numpy().tobytes()
    new.with_suffix(".map").write_bytes(content)
    new.unlink()
    again = RunStorage(tmp_path / "weights", IMAGES, (32, 64))
    again.load_state_dict(state)
    assert torch.equal(again.open("alpha").read([4]), values)
    again.open("alpha").write([4, 5], torch.cat([2 * values, 3 * values]))
    once_more = RunStorage(tmp_path / "weights", IMAGES, (32, 64))
    once_more.load_state_dict(again.state_dict())
    assert torch.equal(once_more.open("alpha").read([4, 5]), torch.cat([2 * values, 3 * values]))
    assert not new.exists()


def test_a_refused_state_leaves_the_storage_as_it_was(tmp_path):
    kept = storage(tmp_path)
    kept.open("alpha").write([2], filled(1))
    state = kept.state_dict()
    state["alpha"]["checksums"][2] += 1
    kept.open("alpha").write([2], filled(5))
    with pytest.raises(InputError, match="image 2"):
        kept.load_state_dict(state)
    assert held(kept) == [0, 0, 5, 0, 0, 0]


@pytest.mark.parametrize("image", [-1, IMAGES])
def test_images_that_there_are_not_are_refused(tmp_path, image):
    maps = storage(tmp_path).open("alpha")
    with pytest.raises(InputError, match=f"images 0 to 5, got image {image}"):
        maps.read([image])
    with pytest.raises(InputError, match="the maps to keep must have the shape"):
        maps.write([0], torch.zeros(1, 3, 2))


SHARED = """
import sys, time
from pathlib import Path
import torch
from tests.unit.training.pixel_store.test_pixel_maps import FRAME

from metadcseg.training.pixel_store.pixel_maps import RunStorage
folder, rank, world = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
kept = RunStorage(folder / "weights", 300, FRAME, rank=rank, world=world)
(folder / f"ready{rank}").touch()
while len(list(folder.glob("ready*"))) < world:  # all make the file at the same moment
    time.sleep(0.001)
for round in range(3):
    for image in range(rank, 300, world):
        value = torch.full((1, *FRAME), float(image + round))
        kept.open("alpha").write([image], value)
        assert torch.equal(kept.open("alpha").read([image]), value)
    torch.save(kept.state_dict(), folder / f"state{rank}.pt")
    kept.saved()
"""


def test_processes_that_share_the_file_need_no_lock(tmp_path):
    world, path = 3, f"{ROOT}{os.pathsep}{ROOT / 'src'}"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SHARED, tmp_path, str(rank), str(world)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
        )
        for rank in range(world)
    ]
    assert [child.wait(timeout=120) for child in children] == [0] * world
    states = [torch.load(tmp_path / f"state{rank}.pt", weights_only=True) for rank in range(world)]
    alone = RunStorage(tmp_path / "weights", 300, FRAME)  # going on with another number of processes
    alone.load_state_dict(merge_states(states))
    averages = alone.open("alpha").read(range(300)).mean(dim=(1, 2))
    assert torch.equal(averages, torch.arange(2, 302).float())


def test_a_process_keeps_to_its_own_images(tmp_path):
    maps = storage(tmp_path, rank=1, world=2).open("alpha")
    maps.write([3], filled(1))
    for use in (lambda: maps.read([2]), lambda: maps.write([2], filled(1))):
        with pytest.raises(InputError, match="image 2 belongs to process 0 of 2, but process 1 asked"):
            use()


def test_memory_does_not_hold_the_maps(tmp_path):
    maps = RunStorage(tmp_path, 2000, (64, 64)).open("alpha")
    before = mapped()
    for image in range(2000):
        maps.write([image], torch.ones(1, 64, 64))
        maps.read([image])
    assert 2000 * 64 * 64 * 2 > 16e6
    assert mapped() - before < 4e6


def mapped():
    """Resident bytes of this process, those of mapped files included."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_maps_are_rounded_to_half_precision_and_no_further(tmp_path):
    values = torch.from_numpy(np.random.default_rng(0).normal(0, 0.3, (1, *FRAME))).float()
    maps = storage(tmp_path).open("alpha")
    maps.write([0], values)
    assert torch.equal(maps.read([0]), values.half().float())
    maps.write([0], maps.read([0]))
    assert torch.equal(maps.read([0]), values.half().float())


def test_numbers_beyond_half_precision_are_cut_and_small_ones_kept(tmp_path):
    maps = storage(tmp_path).open("alpha")
    maps.write([0], torch.tensor([[[1e9, -float("inf"), 1e-6], [65504, -1, 0]]]))
    got = maps.read([0])[0]
    assert got[0, :2].tolist() == [65504, -65504]
    assert got[0, 2].item() == pytest.approx(1e-6, rel=0.05)
    assert got[1].tolist() == [65504, -1, 0]
