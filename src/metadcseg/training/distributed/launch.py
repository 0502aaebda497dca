"""Which place this process has among those that torchrun or srun started, and torchrun's engine for one machine."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Literal
from uuid import uuid4

import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from torch import distributed
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from metadcseg.constants import INTERRUPTED
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.training.distributed.process_group import ProcessGroup, lost
from metadcseg.training.options import TrainingOptions

_CONNECT = timedelta(minutes=5)
_SAVING_SECONDS = 600
"""How long processes that were asked to stop have for their last step and checkpoint."""
_trainings = count()


@dataclass(frozen=True)
class Place:
    """The place of this process among those that were started together.

    Args:
        launcher: who started them.
        rank: the process's number over all nodes, from 0.
        size: how many there are over all nodes.
        local_rank: its number on its own node.
        nodes: how many nodes there are.
    """

    launcher: Literal["torchrun", "srun"]
    rank: int
    size: int
    local_rank: int
    nodes: int


def find_place() -> Place | None:
    """Return the place that torchrun's or srun's variables give this process; None where it was started alone."""
    env = os.environ
    if distributed.is_available() and distributed.is_torchelastic_launched():
        size = int(env["WORLD_SIZE"])
        nodes = size // int(env["LOCAL_WORLD_SIZE"])
        return Place("torchrun", int(env["RANK"]), size, int(env["LOCAL_RANK"]), nodes)
    tasks = int(env.get("SLURM_STEP_NUM_TASKS", "1"))  # of the step; a batch script without srun is none
    if tasks == 1:
        return None
    return Place(
        "srun", int(env["SLURM_PROCID"]), tasks, int(env["SLURM_LOCALID"]), int(env["SLURM_STEP_NUM_NODES"])
    )


def as_started(options: TrainingOptions) -> TrainingOptions:
    """Return the options with the devices and nodes that torchrun started, where they ask for one device.

    Tasks of srun may be trainings of one device each, so they have to be said: ``devices`` for each of ``nodes``.

    Raises:
        InputError: where other devices are asked for than processes were started, or they cannot share a batch.
    """
    place, size = find_place(), options.devices * options.nodes
    if place is None or size == place.size or (size == 1 and place.launcher == "srun"):
        return options
    each = place.size // place.nodes
    if size == 1:
        return replace(options, devices=each, nodes=place.nodes)
    raise InputError(
        f"{place.launcher} started {place.size} processes, but training.devices x training.nodes is {size}: give "
        f"--devices {each} --nodes {place.nodes}"
    )


def open_process_group(options: TrainingOptions) -> ProcessGroup:
    """Return the process group of all devices that train together, not yet joined; of this one where it is alone.

    Args:
        options: as :func:`as_started` returns them.

    Raises:
        InputError: where several devices are asked for and nobody started their processes, or rank 0 is out of reach.
    """
    place, size = find_place(), options.devices * options.nodes
    if size == 1:
        return ProcessGroup()
    if place is None:
        raise InputError(
            f"training.devices {options.devices} and training.nodes {options.nodes} need a process for every device: "
            "metadcseg train starts them on one machine, torchrun or srun anywhere (docs/how-to/many-devices.md)"
        )
    address = "env://" if place.launcher == "torchrun" else _srun_address(place)
    try:
        store, _, _ = next(rendezvous(address, timeout=_CONNECT))
    except RuntimeError as error:
        raise InputError(
            f"rank {place.rank} of {size} does not reach rank 0 ({' '.join(str(error).split())}): start the same "
            "command on every node, and set MASTER_ADDR to a name of the first that all others can reach"
        ) from error
    return ProcessGroup(
        place.rank, size, place.local_rank, PrefixStore(f"training {next(_trainings)}", store)
    )


def _srun_address(place: Place) -> str:
    """Return where rank 0 listens: on the first node of the step, unless the usual variables say otherwise."""
    env = os.environ
    host = env.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(env["SLURM_STEP_NODELIST"])
    job = int(env.get("SLURM_JOB_ID", "0")) + int(env.get("SLURM_STEP_ID", "0"))
    port = env.get("MASTER_PORT") or 15000 + job % 10000
    return f"tcp://{host}:{port}?rank={place.rank}&world_size={place.size}"


def check_devices(prepared: PreparedSet, options: TrainingOptions) -> None:
    """Make sure that every device exists here and has a training case.

    Raises:
        InputError: where this machine has fewer GPUs, or the set fewer cases.
    """
    size, cases = options.devices * options.nodes, len(prepared.select("train"))
    if size > max(cases, 1):
        raise InputError(
            f"training.devices x training.nodes is {size}, but {prepared.path} has only {cases} train cases: give "
            "fewer devices"
        )
    if size == 1 or options.accelerator == "cpu":
        return
    gpus = torch.cuda.device_count()
    if options.devices > gpus and (gpus or options.accelerator != "auto"):
        raise InputError(
            f"training.devices: {options.devices} of accelerator {options.accelerator} are not to be had here, which "
            f"has {gpus} CUDA devices; give fewer, or --accelerator cpu"
        )


def run_on_devices(devices: int, words: Sequence[str]) -> int:
    """Run a command once for each device of this machine, by torchrun's engine; return the exit status.

    Ctrl-C and SIGTERM are passed on.

    Args:
        devices: how many.
        words: after ``metadcseg``.

    Raises:
        InputError: where a process was killed; what else goes wrong is said by the process where it does.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    told = logging.getLogger("torch.distributed.elastic")  # of every failure a page, beside our sentence
    told.propagate = False
    told.addHandler(logging.NullHandler())
    here = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        signals_to_handle="SIGTERM,SIGINT,SIGHUP",
        shutdown_timeout=_SAVING_SECONDS,
    )
    try:
        elastic_launch(here, sys.executable)("-P", "-m", "metadcseg", *words)
    except SignalException:
        return INTERRUPTED
    except ChildFailedError as error:
        statuses = {rank: failure.exitcode for rank, failure in error.failures.items()}
        for rank, status in statuses.items():  # the others are ended by SIGTERM
            if status < 0 and -status not in (signal.SIGTERM, signal.SIGINT):
                raise InputError(lost(f"device {rank + 1} of {devices}")) from error
        return min((status for status in statuses.values() if status > 0), default=INTERRUPTED)
    return 0
