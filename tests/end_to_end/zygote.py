"""A process that has loaded what a training needs, and forks itself for each device: none loads torch anew."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from importlib import import_module

from metadcseg.cli.main import main

LOADED = (
    *("metadcseg.cli.commands.train", "metadcseg.training.session", "metadcseg.networks.unetplusplus"),
    *("torch._dynamo", "torch.utils.tensorboard"),
)
"""What a training loads, at once or by and by."""

SECONDS = 300
"""After so many a device is ended."""


class Zygote:
    """Carries out commands as torchrun does, in one process for each device.

    Args:
        process: that runs this module.
    """

    def __init__(self, process):
        self._process = process

    def __call__(self, words, devices, folder):
        """Return the exit status of every device, and what they said on standard error."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        alike = {"WORLD_SIZE": devices, "LOCAL_WORLD_SIZE": devices, "TORCHELASTIC_RUN_ID": "x"}
        alike |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        places = [{**alike, "RANK": rank, "LOCAL_RANK": rank} for rank in range(devices)]
        told = folder / f"said-{port}.txt"
        asked = {"words": words, "places": places, "told": told}
        self._process.stdin.write(json.dumps(asked, default=str) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline()), told.read_text()


@contextmanager
def zygote():
    """Yield a :class:`Zygote`, which ends with the block."""
    command = [sys.executable, "-m", "tests.end_to_end.zygote"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Zygote(process)


def _forked(words, place, told):
    """Carry out a command in a fork of this process, and return its number."""
    number = os.fork()
    if number:
        return number
    status = 1
    try:
        os.environ |= {name: str(value) for name, value in place.items()}
        file = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in (1, 2):
            os.dup2(file, stream)
        signal.alarm(SECONDS)
        status = main([str(word) for word in words])
    finally:
        sys.stderr.flush()
        os._exit(status)


def serve():
    """Answer each line of standard input by a line: the exit statuses of the devices that it asks for."""
    for name in LOADED:
        import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        numbers = [_forked(asked["words"], place, asked["told"]) for place in asked["places"]]
        ended = [os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) for number in numbers]
        sys.stdout.write(json.dumps(ended) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
