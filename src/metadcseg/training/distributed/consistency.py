"""What several devices must have in common before their first step: the run's folder, and all they start from."""

import hashlib
import json
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from torch import Tensor

from metadcseg.errors import InputError
from metadcseg.scratch import create_hidden
from metadcseg.training.distributed.process_group import ProcessGroup
from metadcseg.training.run.folder import RunFolder

_SECONDS = 10.0
"""How long a new file may take to be seen from another node of a network file system."""


def check_shared(process_group: ProcessGroup, folder: RunFolder) -> None:
    """Make sure that all devices see the same run folder.

    Raises:
        InputError: on rank 0, naming the machines that do not.
    """
    if process_group.world_size == 1:
        return
    with ExitStack() as stack:
        made = None
        if process_group.is_rank_zero:  # what a kill leaves of it is swept by who writes there next
            made, file = create_hidden(folder.path)
            stack.enter_context(file)
            stack.callback(made.unlink, missing_ok=True)
        token = folder.path / process_group.broadcast(None if made is None else made.name)
        deadline = time.monotonic() + _SECONDS
        while not (seen := token.is_file()) and time.monotonic() < deadline:
            time.sleep(0.1)
        blind = process_group.gather("" if seen else socket.gethostname())
    if blind is None:
        return
    if any(blind):
        where = ", ".join(sorted(set(filter(None, blind))))
        raise InputError(
            f"--out {folder.path} is another folder on {where} than on {socket.gethostname()}: all nodes must see the "
            "same one, so give a folder on a file system that they share"
        )


def check_all_equal(process_group: ProcessGroup, info: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Make sure that all devices begin with the same settings, versions, set, weights and trainer_state.

    Raises:
        InputError: on rank 0, where they do not, which would train as many networks as there are devices.
    """
    if process_group.world_size == 1:
        return
    told = {name: value for name, value in info.items() if name != "machine"}
    told["set"] = {name: value for name, value in info["set"].items() if name != "path"}
    trainer_state = {name: state["position"][name] for name in ("epoch", "step")}
    every = process_group.gather(
        json.dumps([told, trainer_state], sort_keys=True) + _digest([state["network"], state["updater"]])
    )
    if every is not None and len(set(every)) > 1:
        raise InputError(
            f"the {process_group.world_size} devices do not begin alike: run the same command with the same versions "
            "of metadcseg, torch and Python, and the same prepared set, on every node"
        )


def _digest(tree: Any) -> str:
    """Return a checksum of every tensor and value in nested dicts and lists."""
    digest = hashlib.sha256()

    def take(value: Any) -> None:
        if isinstance(value, Mapping):
            for key, entry in value.items():
                digest.update(str(key).encode())
                take(entry)
        elif isinstance(value, list | tuple):
            for entry in value:
                take(entry)
        elif isinstance(value, Tensor):
            digest.update(value.detach().cpu().contiguous().flatten().numpy().tobytes())
        else:
            digest.update(repr(value).encode())

    take(tree)
    return digest.hexdigest()
