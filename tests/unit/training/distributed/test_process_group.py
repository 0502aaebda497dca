"""Averages, small talk and gathering between two devices: two processes that this one starts, as srun would."""

import multiprocessing
import os
import signal
import socket

import pytest
import torch
from lightning_fabric import Fabric
from tests.unit.training.helpers import TinyNetwork, options, run
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from metadcseg.algorithm.center_distance import DynamicCenterDistance
from metadcseg.algorithm.meta_weights import normalize_weights
from metadcseg.errors import InputError, ReportedByAnotherRank
from metadcseg.tensors import WeightMaps
from metadcseg.training.distributed.consistency import check_all_equal, check_shared
from metadcseg.training.distributed.launch import as_started, find_place, open_process_group, run_on_devices
from metadcseg.training.logging.figures import SampleFigure
from metadcseg.training.randomness import processor_threads
from metadcseg.training.run.folder import RunFolder
from metadcseg.training.updater import SgdUpdater

SRUN = {
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NUM_NODES": "1",
    "SLURM_STEP_NODELIST": "localhost",
    "SLURM_JOB_ID": "7",
}


def connected(rank, port, path, results):
    """What each of two processes does; what it finds goes into the queue."""
    as_task(rank, port)
    found, errors = {}, []
    try:
        with open_process_group(options(devices=2)) as process_group:
            process_group.join(torch.device("cpu"))
            found["mean"] = process_group.mean(
                {"a": torch.full((2, 2), float(rank)), "b": torch.tensor(4.0 * rank, dtype=torch.float64)}
            )
            found["mean"] = {
                name: (value.tolist(), str(value.dtype)) for name, value in found["mean"].items()
            }
            found["each"] = process_group.all_gather(rank, 7)
            found["any"] = [process_group.any(False), process_group.any(rank == 1), process_group.any(True)]
            found["tell"] = process_group.broadcast({"first": "µ"} if rank == 0 else None)
            gathered = process_group.gather({"own": torch.arange(3) + rank, "plain": [rank, None]})
            found["gather"] = gathered and [(g["own"].tolist(), g["plain"]) for g in gathered]
            found["weights"] = trained(process_group)
            if rank == 1:
                raise InputError("file x is damaged")
            process_group.any(False)
    except InputError as error:
        errors.append((type(error).__name__, str(error)))
    try:  # another training in the same processes
        with open_process_group(options(devices=2)) as process_group:
            if rank == 1:
                raise ZeroDivisionError("a bug of ours")  # before it has come
            process_group.join(torch.device("cpu"))
    except (InputError, ZeroDivisionError) as error:
        errors.append((type(error).__name__, str(error)))
    results.put((rank, found | {"errors": errors, "apart": apart(path / str(rank))}))


def as_task(rank, port):
    torch.set_num_threads(1)
    os.environ |= {**SRUN, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "MASTER_PORT": str(port)}


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


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two processes put into the queue, by its number, and where they wrote."""
    path = tmp_path_factory.mktemp("two")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=connected, args=(n, port, path, results)) for n in range(2)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(30)
    return found | {"path": path}


def test_what_two_devices_tell_each_other(two):
    for rank in range(2):
        found = two[rank]
        assert found["mean"] == {"a": ([[0.5, 0.5]] * 2, "torch.float32"), "b": (2.0, "torch.float64")}
        assert found["each"] == [[0, 7], [1, 7]]
        assert found["any"] == [False, True, True]
        assert found["tell"] == {"first": "µ"}
    assert two[0]["gather"] == [([0, 1, 2], [0, None]), ([1, 2, 3], [1, None])]
    assert two[1]["gather"] is None


def test_networks_that_began_equal_stay_equal_bit_for_bit(two):
    assert two[0]["weights"] == two[1]["weights"]


def test_the_device_where_it_began_says_what_went_wrong(two):
    assert two[1]["errors"] == [
        ("InputError", "file x is damaged"),
        ("ZeroDivisionError", "a bug of ours"),
    ]
    assert two[0]["errors"] == [
        ("ReportedByAnotherRank", "device 2 of 2: file x is damaged"),
        ("ReportedByAnotherRank", "device 2 of 2: ZeroDivisionError: a bug of ours"),
    ]
    assert issubclass(ReportedByAnotherRank, InputError)


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


def test_what_launchers_started_is_taken_or_refused(monkeypatch):
    for name, value in {
        **SRUN,
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_NUM_TASKS": "4",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "2")
    place = find_place()
    assert (place.launcher, place.rank, place.size, place.local_rank, place.nodes) == ("srun", 3, 4, 1, 2)
    assert as_started(both := options(devices=2, nodes=2, batch=4, gold_batch=4)) is both
    assert as_started(options()) == options()  # four trainings of one device each are fine
    with open_process_group(options()) as alone:
        assert (alone.world_size, alone.is_rank_zero, alone.shard.world_size) == (1, True, 1)
    with pytest.raises(
        InputError, match=r"srun started 4 processes, but .* is 2: give --devices 2 --nodes 2"
    ):
        as_started(options(devices=2))
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert as_started(options()) == options(devices=2)
    with pytest.raises(
        InputError, match=r"torchrun started 2 processes, but .* is 4: give --devices 2 --nodes 1"
    ):
        as_started(options(devices=4, batch=4, gold_batch=4))
    with pytest.raises(InputError, match=r"training\.batch must be a multiple of 2"):
        as_started(options(batch=3))


@pytest.mark.parametrize(
    ("ended", "status"), [({0: 1, 1: 2}, 1), ({0: -signal.SIGTERM, 1: 2}, 2), ({1: -signal.SIGTERM}, 130)]
)
def test_a_command_ends_as_its_devices_do(monkeypatch, ended, status):
    starting(monkeypatch, ended)
    assert run_on_devices(2, ["train"]) == status


def test_a_device_that_was_killed_is_named(monkeypatch):
    starting(monkeypatch, {0: -signal.SIGTERM, 1: -signal.SIGKILL})
    with pytest.raises(InputError, match="device 2 of 2 ended without a word"):
        run_on_devices(2, ["train"])


def starting(monkeypatch, ended):
    """Let torchrun's engine start nothing, and tell how its processes have ended."""

    def start(*words):
        raise ChildFailedError("train", {n: ProcessFailure(n, 1, status, "") for n, status in ended.items()})

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", lambda *how: start)


def test_python_is_told_who_starts_processes(disks, tmp_path):
    with pytest.raises(
        InputError, match=r"training\.devices 2 .* need a process for every device: .* torchrun"
    ):
        run(disks, tmp_path / "run", changed={"devices": 2})
    assert not (tmp_path / "run").exists()


def apart(path):
    """Return what one of two devices is told of which the second sees another folder, or begins with another seed."""
    said = []
    for check in (shared, all_equal):
        try:
            with open_process_group(options(devices=2)) as process_group:
                process_group.join(torch.device("cpu"))
                check(process_group, path)
        except InputError as error:
            said.append((type(error).__name__, str(error)))
    return said


def shared(process_group, path):
    path.mkdir()
    check_shared(process_group, RunFolder(path))


def all_equal(process_group, path):
    info = {"seed": process_group.rank, "set": {"path": str(path)}}
    check_all_equal(process_group, info, {"position": {"epoch": 0, "step": 0}, "network": {}, "updater": {}})


def test_another_folder_and_another_start_are_said_by_the_first(two):
    first, second = two[0]["apart"], two[1]["apart"]
    assert [kind for kind, _ in first] == ["InputError"] * 2
    assert "is another folder on" in first[0][1]
    assert "the 2 devices do not begin alike" in first[1][1]
    assert [kind for kind, _ in second] == ["ReportedByAnotherRank"] * 2
    assert [path for path in two["path"].rglob("*") if path.is_file()] == []
