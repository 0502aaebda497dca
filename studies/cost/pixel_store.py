"""Where the weights of every pixel may lie: our files beside NumPy's memory map, zarr, LMDB, and the checkpoint itself.

    python studies/cost/pixel_store.py                              a table
    python studies/cost/pixel_store.py --json --before OTHER/src    the numbers, with the store of another state

Every way keeps two half-precision maps for each image and goes through the same epochs: batches of random images are
read, changed and written, and a checkpoint ends each epoch. All but ``checkpoint`` write copies, so that two
checkpoints keep their maps, and wait for the disk before the checkpoint is written. Each way has a process of its own,
and they take turns, so that other work on the machine meets all of them; one more takes the steps of the paper's method
(U-Net++ of width 8, one thread) that the times are weighed against. Afterwards each process is killed (SIGKILL) between
two steps, and a new one must read the bits of the checkpoint.

LMDB is no dependency: without it (``pip install lmdb``) that way is left out.
"""

import argparse
import importlib.util
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from meta_step import step_of
from numpy.typing import NDArray

from metadcseg.files import atomic_file
from metadcseg.methods.memory_storage import MemoryStorage
from metadcseg.training.pixel_store.pixel_maps import RunStorage

WAYS = ("files", "memory map", "zarr", "LMDB", "checkpoint")
TRAINING = "training step"
NAMES, PLACES, BATCH = ("alpha", "beta"), 3, 8
ROOT = Path(__file__).resolve().parents[2]
Maps = NDArray[np.float16]


class Copies:
    """A place for each of the last epochs and the one that is on, as a run's files have them, in any container.

    Args:
        put: keeps the maps of some images, by (name, place, images).
        get: returns one of them.
        wait: for the disk.
    """

    def __init__(
        self,
        put: Callable[[str, int, list[int], Maps], None],
        get: Callable[[str, int, int], Maps],
        wait: Callable[[], None],
    ) -> None:
        self._put, self._get, self._wait = put, get, wait
        self.epoch, self.places = 0, {name: dict[int, tuple[int, int]]() for name in NAMES}

    def read(self, name: str, images: list[int], size: int) -> torch.Tensor:
        kept, zeros = self.places[name], np.zeros((size, size), np.float16)
        found = [self._get(name, kept[i][0], i) if i in kept else zeros for i in images]
        return torch.from_numpy(np.stack(found)).float()

    def write(self, name: str, images: list[int], values: torch.Tensor) -> None:
        place, maps = self.epoch % PLACES, values.half().numpy()
        self._put(name, place, images, maps)
        for image, value in zip(images, maps, strict=True):
            self.places[name][image] = place, zlib.crc32(value.tobytes(), image)

    def state(self) -> Any:
        self._wait()
        self.epoch += 1
        return {name: dict(kept) for name, kept in self.places.items()}

    def restore(self, state: Any) -> None:
        self.places = state
        for name, kept in state.items():
            for image, (place, checksum) in kept.items():
                if zlib.crc32(self._get(name, place, image).tobytes(), image) != checksum:
                    raise ValueError(f"the map {name} of image {image} is another")


class Ours:
    """A storage of the package, in files or in memory.

    Args:
        storage: which.
    """

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def read(self, name: str, images: list[int], size: int) -> torch.Tensor:
        kept: torch.Tensor = self._storage.open(name).read(images)
        return kept

    def write(self, name: str, images: list[int], values: torch.Tensor) -> None:
        self._storage.open(name).write(images, values)

    def state(self) -> Any:
        return self._storage.state_dict()

    def saved(self) -> None:
        if hasattr(self._storage, "saved"):
            self._storage.saved()

    def restore(self, state: Any) -> None:
        self._storage.load_state_dict(state)


def made(way: str, folder: Path, images: int, size: int) -> Any:
    """Return what keeps maps in one way, new or as it lies there."""
    shape = (PLACES, images, size, size)
    if way in ("files", "before", TRAINING):
        return Ours(RunStorage(folder / "weights", images, (size, size)))
    if way == "checkpoint":
        return Ours(MemoryStorage((size, size)))
    return {"memory map": mapped, "zarr": in_zarr, "LMDB": in_lmdb}[way](folder, shape)


def mapped(folder: Path, shape: tuple[int, ...]) -> Copies:
    files = {}
    for name in NAMES:
        path = folder / f"{name}.npy"
        mode = "r+" if path.exists() else "w+"
        files[name] = np.lib.format.open_memmap(path, mode, np.float16, None if mode == "r+" else shape)

    def put(name: str, place: int, images: list[int], values: Maps) -> None:
        files[name][place, images] = values

    def wait() -> None:
        for file in files.values():
            file.flush()

    return Copies(put, lambda name, place, image: np.array(files[name][place, image]), wait)


def in_zarr(folder: Path, shape: tuple[int, ...]) -> Copies:
    import zarr

    group = zarr.open_group(folder / "maps.zarr", mode="a")
    for name in set(NAMES) - set(group):
        options = {"chunks": (1, 1, *shape[2:]), "dtype": "float16", "compressors": None}
        group.create_array(name, shape=shape, **options)
    arrays, written = {name: group[name] for name in NAMES}, set[Path]()

    def put(name: str, place: int, images: list[int], values: Maps) -> None:
        for image, value in zip(images, values, strict=True):
            arrays[name][place, image] = value
            written.add(folder / f"maps.zarr/{name}/c/{place}/{image}/0/0")

    def wait() -> None:
        for path in {*written, *(path.parent for path in written)}:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        written.clear()

    return Copies(put, lambda name, place, image: np.asarray(arrays[name][place, image]), wait)


def in_lmdb(folder: Path, shape: tuple[int, ...]) -> Copies:
    import lmdb

    room = 4 * 2 * int(np.prod(shape)) + 2**24
    store = lmdb.open(str(folder / "maps.lmdb"), subdir=False, map_size=room, sync=False, metasync=False)

    def put(name: str, place: int, images: list[int], values: Maps) -> None:
        with store.begin(write=True) as transaction:
            for image, value in zip(images, values, strict=True):
                transaction.put(f"{name}/{place}/{image}".encode(), value.tobytes())

    def get(name: str, place: int, image: int) -> Maps:
        with store.begin(buffers=True) as transaction:
            found = transaction.get(f"{name}/{place}/{image}".encode())
            return np.frombuffer(found, np.float16).reshape(shape[2:]).copy()

    return Copies(put, get, lambda: store.sync(True))


def serve(way: str, folder: Path, images: int, size: int) -> None:
    """Take orders, one a line, and answer with seconds, or numbers; of a process for one way."""
    torch.set_num_threads(1)
    store, checkpoint = made(way, folder, images, size), folder / "last.pt"
    noise = 0.01 * torch.randn(BATCH, size, size)
    step = step_of("paper", 8, size, str(folder / "step"), BATCH) if way == TRAINING else None
    for line in sys.stdin:
        order, *words = line.split()
        numbers = [int(word) for word in words]
        begun = time.perf_counter()
        answer: Any = None
        if step is not None:
            step()
        elif order == "read":
            kept = {name: store.read(name, numbers, size) for name in NAMES}
        elif order == "write":
            for name in NAMES:
                store.write(name, numbers, kept[name] + noise)
        elif order == "save":
            with atomic_file(checkpoint, keep=folder / "previous.pt") as file:
                torch.save(store.state(), file)
            getattr(store, "saved", lambda: None)()
        elif order == "resume":
            store.restore(torch.load(checkpoint, weights_only=True))
        elif order == "bits":
            answer = checksum(store, images, size)
        elif order == "memory":
            answer = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(time.perf_counter() - begun if answer is None else answer), flush=True)


def checksum(store: Any, images: int, size: int) -> int:
    """Return one number of all bits that are held."""
    found = 0
    for image in range(images):
        for name in NAMES:
            found = zlib.crc32(store.read(name, [image], size).numpy().tobytes(), found)
    return found


class Process:
    """A process for one way, which does one thing at a time.

    Args:
        way: one of ``WAYS``, ``"before"`` or ``TRAINING``.
        folder: where it keeps what it keeps.
        images: how many there are.
        size: of their sides.
        source: the package that it takes.
    """

    def __init__(self, way: str, folder: Path, images: int, size: int, source: Path) -> None:
        folder.mkdir(exist_ok=True)
        words = [sys.executable, __file__, "--serve", way, str(folder), str(images), str(size)]
        paths = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
        around = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        self.child = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=around
        )

    def ask(self, order: str, *numbers: int) -> Any:
        print(order, *numbers, file=self.child.stdin, flush=True)
        return json.loads(next(iter(self.child.stdout or ())))

    def end(self, how: int) -> None:
        self.child.send_signal(how)
        self.child.communicate()


def measure(size: int, images: int, epochs: int, sources: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """Return what every way takes for images of one size; the first epoch, in which files are made, does not count."""
    found: dict[str, dict[str, Any]] = {}
    draw, per_epoch = np.random.default_rng(0), images // BATCH
    with tempfile.TemporaryDirectory() as temporary:

        def begun(way: str) -> Process:
            return Process(way, Path(temporary) / way, images, size, sources[way])

        processes = {way: begun(way) for way in sources}
        times: dict[str, dict[str, list[float]]] = {way: {} for way in sources}
        memory = {way: process.ask("memory") for way, process in processes.items()}
        for epoch in range(epochs + 1):
            order = draw.permutation(images).tolist()
            for number in range(per_epoch):
                chosen = order[number * BATCH : (number + 1) * BATCH]
                for way, process in processes.items():
                    if way == TRAINING:
                        taken = {"train": process.ask("train")} if number < 1 else {}
                    else:
                        taken = {what: process.ask(what, *chosen) for what in ("read", "write")}
                    for what, seconds in taken.items() if epoch else ():
                        times[way].setdefault(what, []).append(1e3 * seconds)
            for way in set(processes) - {TRAINING}:
                seconds = processes[way].ask("save")
                if epoch:
                    times[way].setdefault("save", []).append(1e3 * seconds)
        processes.pop(TRAINING).end(signal.SIGTERM)
        step = statistics.median(times[TRAINING]["train"])
        for way, process in processes.items():
            row = {f"{what} ms": round(statistics.median(taken), 3) for what, taken in times[way].items()}
            each = row["read ms"] + row["write ms"] + row["save ms"] / per_epoch
            row |= {"ms a step": round(each, 3), "share of a training step": round(each / step, 5)}
            row["memory grown MB"] = round((process.ask("memory") - memory[way]) / 1e6, 1)
            bits = process.ask("bits")
            process.ask("read", *range(BATCH))
            process.ask("write", *range(BATCH))  # newer than the checkpoint, and lost
            process.end(signal.SIGKILL)
            files = [path for path in (Path(temporary) / way).rglob("*") if path.is_file()]
            row["disk MB"] = round(sum(512 * path.stat().st_blocks for path in files) / 1e6, 1)
            again = begun(way)
            row["resume ms"] = round(1e3 * again.ask("resume"), 1)
            row["same bits after SIGKILL"] = again.ask("bits") == bits
            again.end(signal.SIGTERM)
            found[way] = row
    base = found["files"]["ms a step"]
    for row in found.values():
        row["times the files"] = round(row["ms a step"] / base, 2)
    return {TRAINING: {"ms": round(step, 1), "times": len(times[TRAINING]["train"])}, **found}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="write results/pixel_store.json")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--before", type=Path, help="sources of another state, whose files take part too")
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        way, folder, images, size = options.serve
        serve(way, Path(folder), int(images), int(size))
        return
    sources = dict.fromkeys((*WAYS, TRAINING), ROOT / "src")
    if importlib.util.find_spec("lmdb") is None:
        del sources["LMDB"]
        print("LMDB is left out: it is not installed (pip install lmdb)")
    if options.before:
        sources = {"before": options.before.resolve(), **sources}
    record: dict[str, Any] = {
        "machine": {"processors": os.cpu_count(), "load": os.getloadavg()[0], "torch": torch.__version__},
        "settings": {"images": options.images, "epochs": options.epochs, "batch": BATCH, "width": 8},
    }
    for size in options.sizes:
        record[f"{size} x {size}"] = rows = measure(size, options.images, options.epochs, sources)
        for way, row in rows.items():
            print(f"{size:4} {way:14}", *(f"{name} {value};" for name, value in row.items()), flush=True)
    if options.json:
        (ROOT / "results/pixel_store.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
