"""Which device a process has, and how the processes for the others come to be: by us, by torchrun, by SLURM."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from torch import distributed
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from metadcseg.errors import InputError

_CONNECT = timedelta(minutes=5)
_HOST = "127.0.0.1"
_PAGE = "docs/how-to/many-devices.md"


class RankEnvironment(ClusterEnvironment):
    """The place of this process among those that train together, in the form in which Fabric asks for it.

    Args:
        rank: the device's number over all nodes, from 0.
        size: the number of devices over all nodes.
        local_rank: its number on its own node.
        node: the node's number.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0, node: int = 0) -> None:
        super().__init__()
        self.rank, self.size = rank, size
        self._local_rank, self._node = local_rank, node

    @property
    def creates_processes_externally(self) -> bool:
        """All processes exist before Fabric does."""
        return True

    @property
    def main_address(self) -> str:
        """Never asked for: the processes are connected already."""
        return _HOST

    @property
    def main_port(self) -> int:
        """Never asked for: the processes are connected already."""
        return 0

    @staticmethod
    def detect() -> bool:
        """Never found by itself."""
        return False

    def world_size(self) -> int:
        """The number of devices."""
        return self.size

    def set_world_size(self, size: int) -> None:
        """Do nothing: an environment is what it is."""

    def global_rank(self) -> int:
        """The device's number over all nodes."""
        return self.rank

    def set_global_rank(self, rank: int) -> None:
        """Do nothing: an environment is what it is."""

    def local_rank(self) -> int:
        """The device's number on its own node."""
        return self._local_rank

    def node_rank(self) -> int:
        """The node's number."""
        return self._node


class Workers:
    """Processes that this one started for the other devices; they end when it ends.

    Args:
        processes: of device 1, 2, and so on.
    """

    def __init__(self, processes: Sequence["subprocess.Popen[bytes]"]) -> None:
        self._processes = processes

    def __bool__(self) -> bool:
        return bool(self._processes)

    def dead(self) -> int | None:
        """Return the number of a device whose process ended badly, None where there is none."""
        for number, process in enumerate(self._processes, start=1):
            if process.poll():
                return number
        return None

    def end(self, seconds: float) -> None:
        """Give them so long to end by themselves, then ask them to, then end them."""
        deadline = time.monotonic() + seconds
        try:
            for process in self._processes:
                for end in (process.terminate, process.kill):
                    try:
                        process.wait(max(0.1, deadline - time.monotonic()))
                    except subprocess.TimeoutExpired:
                        end()
                process.wait()
        finally:
            for process in self._processes:
                process.kill()  # nothing where it has ended
                process.wait()
                if process.stdin is not None:
                    process.stdin.close()


def environment_from_torchrun(size: int) -> tuple[RankEnvironment, Store]:
    """Return the environment that torchrun gave this process.

    Raises:
        InputError: where torchrun started another number of processes than there shall be devices.
    """
    started = int(os.environ["WORLD_SIZE"])
    if started != size:
        raise InputError(
            f"torchrun started {started} processes, but training.devices x training.nodes is {size}: give --devices "
            "the processes per node and --nodes the nodes"
        )
    store, rank, _ = next(rendezvous("env://", timeout=_CONNECT))
    local, node = int(os.environ["LOCAL_RANK"]), int(os.environ.get("GROUP_RANK", "0"))
    return RankEnvironment(rank, size, local, node), store


def environment_from_slurm(size: int) -> tuple[RankEnvironment, Store]:
    """Return the environment that srun gave this process.

    Raises:
        InputError: where srun started another number of tasks than there shall be devices.
    """
    tasks = slurm_tasks()
    if tasks != size:
        raise InputError(
            f"srun started {tasks} tasks, but training.devices x training.nodes is {size}: give --devices the tasks "
            "per node and --nodes the nodes"
        )
    try:
        slurm = SLURMEnvironment()
    except RuntimeError as error:
        raise InputError(f"SLURM: {str(error).splitlines()[0]} ({_PAGE} has a script)") from error
    environment = RankEnvironment(slurm.global_rank(), size, slurm.local_rank(), slurm.node_rank())
    address = f"tcp://{slurm.main_address}:{slurm.main_port}?rank={environment.rank}&world_size={size}"
    store, _, _ = next(rendezvous(address, timeout=_CONNECT))
    return environment, store


def slurm_tasks() -> int:
    """Return how many processes srun started together with this one; 1 outside srun, as in a batch script."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def torchrun_processes() -> int:
    """Return how many processes torchrun started together with this one; 1 outside torchrun."""
    launched = distributed.is_available() and distributed.is_torchelastic_launched()
    return int(os.environ["WORLD_SIZE"]) if launched else 1


def start_workers(size: int, job: Mapping[str, Any]) -> tuple[RankEnvironment, Store, Workers]:
    """Start one process for every other device of this machine; this one takes the first.

    Workers do not run the caller's script again: they are told what to do, on their standard input, whose end
    tells them that this process has ended. Ctrl-C on a terminal does not reach them; the loop passes it on.

    Args:
        size: the number of devices.
        job: plain values, see :mod:`metadcseg.training.worker`.
    """
    listening = socket.create_server((_HOST, 0))  # this machine's own processes alone can reach it
    port = listening.getsockname()[1]
    store = TCPStore(
        _HOST,
        port,
        is_master=True,
        wait_for_workers=False,
        timeout=_CONNECT,
        master_listen_fd=listening.detach(),
    )
    found = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    processes = []
    for rank in range(1, size):
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "metadcseg.training.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": found},
            start_new_session=True,
        )
        processes.append(process)
        if process.stdin is not None:
            process.stdin.write(
                json.dumps({**job, "rank": rank, "size": size, "port": port}).encode() + b"\n"
            )
            process.stdin.flush()
    return RankEnvironment(0, size), store, Workers(processes)


def worker_environment(rank: int, size: int, port: int) -> tuple[RankEnvironment, Store]:
    """Return the environment of a process that :func:`start_workers` started."""
    store = TCPStore(_HOST, port, is_master=False, wait_for_workers=False, timeout=_CONNECT)
    return RankEnvironment(rank, size, rank), store


@contextmanager
def on_loopback(local: bool) -> Iterator[None]:
    """Let gloo talk within this machine alone, whatever its own name resolves to, or whether it does at all."""
    names = {name for _, name in socket.if_nameindex()} & {"lo", "lo0"} if local else set()
    before = os.environ.get("GLOO_SOCKET_IFNAME")
    if names and before is None:
        os.environ["GLOO_SOCKET_IFNAME"] = names.pop()
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("GLOO_SOCKET_IFNAME", None)
