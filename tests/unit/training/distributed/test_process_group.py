"""Averages, small talk and gathering between two devices: two processes that this one starts."""

import multiprocessing
import socket
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from tests.unit.training.helpers import Fake, TinyNetwork, options, run
from torch.distributed import PrefixStore, TCPStore

from metadcseg.algorithm.center_distance import DynamicCenterDistance
from metadcseg.algorithm.meta_weights import normalize_weights
from metadcseg.errors import InputError, ReportedByRankZero
from metadcseg.tensors import WeightMaps
from metadcseg.training.distributed.consistency import check_all_equal, check_shared
from metadcseg.training.distributed.launch import (
    RankEnvironment,
    Workers,
    environment_from_slurm,
    environment_from_torchrun,
)
from metadcseg.training.distributed.process_group import ProcessGroup
from metadcseg.training.logging.figures import SampleFigure
from metadcseg.training.randomness import processor_threads
from metadcseg.training.run.folder import RunFolder
from metadcseg.training.setup import open_process_group
from metadcseg.training.updater import SgdUpdater


def connected(rank, port, results):
    """What each of two processes does; what it finds goes into the queue."""
    torch.set_num_threads(1)
    store = TCPStore(
        "127.0.0.1", port, is_master=rank == 0, wait_for_workers=False, timeout=timedelta(seconds=60)
    )
    found = {}
    try:
        with ProcessGroup(RankEnvironment(rank, 2, rank), store) as process_group:
            process_group.join(torch.device("cpu"))
            found["mean"] = process_group.mean(
                {"a": torch.full((2, 2), float(rank)), "b": torch.tensor(4.0 * rank, dtype=torch.float64)}
            )
            found["mean"] = {
                name: (value.tolist(), str(value.dtype)) for name, value in found["mean"].items()
            }
            found["each"] = process_group.all_gather(rank, 7)
            found["any"] = [process_group.any(False), process_group.any(rank == 1), process_group.any(True)]
            found["alike"] = [process_group.all_equal("same"), process_group.all_equal(f"rank {rank}")]
            found["tell"] = process_group.broadcast("µ first" if rank == 0 else "")
            gathered = process_group.gather({"own": torch.arange(3) + rank, "plain": [rank, None]})
            found["gather"] = gathered and [(g["own"].tolist(), g["plain"]) for g in gathered]
            found["weights"] = trained(process_group)
            if rank == 1:
                raise InputError("file x is damaged")
            process_group.any(False)
    except InputError as error:
        found["error"] = (type(error).__name__, str(error))
    results.put((rank, found))


def trained(process_group):
    """Take steps with other gradients on either device, one parameter of which only one has."""
    torch.manual_seed(0)
    network = TinyNetwork().eval()
    updater = SgdUpdater(network, options(clip=0.5), Fabric(accelerator="cpu"), process_group)
    for step in range(3):
        images = torch.full((1, 1, 8, 8), 1.0 + step + process_group.rank)
        logits = network(images)
        part = network.layers[0].weight if process_group.is_rank_zero else network.layers[0].bias
        updater.backward(logits.square().sum() if step else part.sum())
        updater.step()
    return torch.cat([value.flatten().float() for value in network.state_dict().values()]).tolist()


def side_by_side(what, *arguments):
    """Run it in two processes and return what each put into the queue, by its number."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=what, args=(n, port, *arguments, results)) for n in range(2)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(30)
    return found


@pytest.fixture(scope="module")
def two():
    return side_by_side(connected)


def test_what_two_devices_tell_each_other(two):
    for rank in range(2):
        found = two[rank]
        assert found["mean"] == {"a": ([[0.5, 0.5]] * 2, "torch.float32"), "b": (2.0, "torch.float64")}
        assert found["each"] == [[0, 7], [1, 7]]
        assert found["any"] == [False, True, True]
        assert found["alike"] == [True, False]
        assert found["tell"] == "µ first"
    assert two[0]["gather"] == [([0, 1, 2], [0, None]), ([1, 2, 3], [1, None])]
    assert two[1]["gather"] is None


def test_networks_that_began_equal_stay_equal_bit_for_bit(two):
    assert two[0]["weights"] == two[1]["weights"]


def test_the_first_device_says_what_went_wrong_on_the_second(two):
    assert two[0]["error"] == ("InputError", "file x is damaged")
    assert two[1]["error"] == ("ReportedByRankZero", "file x is damaged")
    assert issubclass(ReportedByRankZero, InputError)


def test_pictures_of_all_devices_come_together():
    assert SampleFigure.merge([{"1": "a"}, {"0": "b"}]) == {"1": "a", "0": "b"}


def test_averages_over_devices_are_those_of_the_joint_batch():
    draw = torch.Generator().manual_seed(0)
    alpha, beta = (torch.rand(2, 4, 4, generator=draw) for _ in range(2))
    valid = torch.rand(2, 4, 4, generator=draw) < 0.7
    whole = normalize_weights(WeightMaps(alpha, beta), "batch", valid)
    sums = {
        "gamma": ((alpha + beta) * valid).sum().view(1, 1, 1) / 2,
        "pixels": valid.sum().view(1, 1, 1) / 2,
    }
    for n in range(2):
        part = WeightMaps(alpha[n : n + 1], beta[n : n + 1])
        got = normalize_weights(part, "batch", valid[n : n + 1], lambda own: sums)
        torch.testing.assert_close(got.alpha, whole.alpha[n : n + 1])
    logits, features = torch.randn(2, 3, 8, 8, generator=draw), torch.rand(2, 5, 8, 8, generator=draw)
    gamma, told = torch.rand(2, 8, 8, generator=draw), []

    def note(sums):
        told.append(sums)
        return sums

    whole, one, *parts = (DynamicCenterDistance("per_class") for _ in range(4))
    whole(logits, features, gamma)
    for n, part in enumerate(parts):
        part(logits[n : n + 1], features[n : n + 1], gamma[n : n + 1], all_reduce_mean=note)
    both = {name: (told[0][name] + told[1][name]) / 2 for name in told[0]}
    one(logits[:1], features[:1], gamma[:1], all_reduce_mean=lambda own: both)
    torch.testing.assert_close(one.centers, whole.centers, equal_nan=True)
    assert not torch.allclose(one.centers, parts[0].centers, equal_nan=True)


def test_processors_are_divided_among_processes(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    try:
        with processor_threads(None, 4):
            assert torch.get_num_threads() == 2
        with processor_threads(3, 4):
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_launchers_that_started_something_else_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match=r"torchrun started 3 processes, but .* is 2: give --devices"):
        environment_from_torchrun(2)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    with pytest.raises(InputError, match=r"srun started 3 tasks, but .* is 2: give --devices"):
        environment_from_slurm(2)
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    with pytest.raises(InputError, match="--ntasks-per-node"):
        environment_from_slurm(2)


def test_a_torchrun_that_starts_several_for_one_device_is_refused(monkeypatch, disks):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="torchrun started 2 processes"):
        open_process_group(disks, options(), dict)


def test_a_notebook_and_a_method_that_cannot_be_imported_are_refused_before_anything_starts(
    monkeypatch, disks, tmp_path
):
    class Local(Fake):
        pass

    with pytest.raises(InputError, match=r"method 'fake' is defined in .*Local, .* top of a module"):
        run(disks, tmp_path / "run", Local(), changed={"devices": 2})
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)
    with pytest.raises(InputError, match=r"training\.devices 2 cannot be started from a notebook"):
        run(disks, tmp_path / "run", changed={"devices": 2})
    assert not (tmp_path / "run").exists()


def other_folder(rank, port, path, results):
    """One of two devices of which the second sees another folder, or begins with another seed."""
    store = TCPStore("127.0.0.1", port, is_master=rank == 0, wait_for_workers=False)
    said = []
    for check in (shared, all_equal):
        try:
            with ProcessGroup(
                RankEnvironment(rank, 2, rank), PrefixStore(check.__name__, store)
            ) as process_group:
                process_group.join(torch.device("cpu"))
                check(process_group, Path(path) / str(rank))
        except InputError as error:
            said.append((type(error).__name__, str(error)))
    results.put((rank, said))


def shared(process_group, path):
    path.mkdir()
    check_shared(process_group, RunFolder(path))


def all_equal(process_group, path):
    info = {"seed": process_group.rank, "set": {"path": str(path)}}
    check_all_equal(process_group, info, {"position": {"epoch": 0, "step": 0}, "network": {}, "updater": {}})


def test_another_folder_and_another_start_are_said_by_the_first(tmp_path, monkeypatch):
    found = side_by_side(other_folder, str(tmp_path))
    assert [kind for kind, _ in found[0]] == ["InputError"] * 2
    assert "is another folder on" in found[0][0][1]
    assert "the 2 devices do not begin alike" in found[0][1][1]
    assert [kind for kind, _ in found[1]] == ["ReportedByRankZero"] * 2
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_one_device_needs_nobody(monkeypatch, disks):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")  # four trainings of one device each are fine
    with open_process_group(disks, options(), dict) as process_group:
        assert (process_group.world_size, process_group.is_rank_zero, process_group.shard.world_size) == (
            1,
            True,
            1,
        )
    assert Workers(()).dead() is None
