"""The process of one more device on this machine: ``python -m metadcseg.training.worker``, started by ours.

It reads what to do from one line of JSON on its standard input and says nothing: the first device speaks for
all. When that input ends, so has the process which started it, and there is nothing left to do.
"""

import json
import os
import sys
import threading
import warnings
from pathlib import Path

from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import Note, ReportedByRankZero
from metadcseg.networks import NetworkOptions
from metadcseg.training.distributed.job import job_method
from metadcseg.training.distributed.launch import worker_environment
from metadcseg.training.distributed.process_group import ProcessGroup
from metadcseg.training.options import training_options
from metadcseg.training.session import train_in


def main() -> int:
    """Train as one device of a process group; return the exit status."""
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore", Note)
    try:
        with ProcessGroup(*worker_environment(job["rank"], job["size"], job["port"])) as process_group:
            train_in(
                process_group,
                PreparedSet.open(Path(job["set"])),
                job_method(job["method"]),
                NetworkOptions(**job["network"]),
                training_options(job["training"]),
                Path(job["out"]),
                seed=job["seed"],
                label=job["label"],
            )
    except ReportedByRankZero:
        return 2
    return 0


def _end_with_parent() -> None:
    """Wait for the end of standard input, then end at once, whatever the main thread waits for."""
    while os.read(0, 1024):  # not sys.stdin: its lock, held by this thread, would spoil a normal ending
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
