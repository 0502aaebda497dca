"""The devices that train one network together: who they are, what they tell each other, and how they end.

Every device runs one process with a whole copy of network, optimizer and data; what is shared are batches. All
that has to be common goes through here: averages of gradients, small numbers, and the states that a checkpoint
gathers. A failure on one device ends all of them, and only the first device speaks of it.
"""

import io
import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import reduce
from hashlib import sha256
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

from metadcseg.data.loading.batches import Shard
from metadcseg.errors import InputError, ReportedByRankZero
from metadcseg.training.distributed.launch import RankEnvironment, Workers, on_loopback

_PATIENCE = timedelta(minutes=30)
"""How long one device waits for another that is alive: for a checkpoint to be written, say, on a slow disk."""

_ARRIVAL_SECONDS = 300.0
_FAREWELL_SECONDS = 5.0


class ProcessGroup:
    """The devices that share every batch; by default one, alone, for which everything is as it is.

    Used as a context: leaving it with an error ends the other devices too. Whoever is not the first then raises
    :class:`~metadcseg.errors.ReportedByRankZero`, so that one sentence is printed and not one per device.

    Args:
        environment: which device this process has.
        store: what every process of the group can reach; None for one device.
        workers: processes that this one started for the other devices.

    Example:
        >>> with ProcessGroup() as alone:
        ...     alone.any(True), alone.all_gather(1.0, 2.0), alone.gather({"a": 1})
        (True, [[1.0, 2.0]], [{'a': 1}])
    """

    def __init__(
        self,
        environment: RankEnvironment | None = None,
        store: Store | None = None,
        workers: Workers | None = None,
    ) -> None:
        self.environment = environment or RankEnvironment()
        self._store = store
        self._workers = workers or Workers(())
        self._joined = False

    @property
    def world_size(self) -> int:
        """The number of devices."""
        return self.environment.size

    @property
    def rank(self) -> int:
        """The number of this process's device over all nodes, from 0."""
        return self.environment.rank

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is the device that writes and speaks."""
        return self.rank == 0

    @property
    def shard(self) -> Shard:
        """This device's part of every batch."""
        return Shard(self.rank, self.world_size)

    def join(self, device: torch.device) -> None:
        """Wait for the others and connect; everything below needs it where there are several devices.

        Args:
            device: what this process computes on.

        Raises:
            InputError: where another device does not come, or failed before it came.
        """
        if self._store is None:
            return
        with self._talking():
            self._store.set(f"here/{self.rank}", "")
            self._wait_for_all(self._store)
            with on_loopback(bool(self._workers)):
                distributed.init_process_group(
                    # small numbers go by gloo also between GPUs, so that they wait for no kernel
                    "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
                    store=PrefixStore("group", self._store),
                    rank=self.rank,
                    world_size=self.world_size,
                    timeout=_PATIENCE,
                )
        self._joined = True

    def mean(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the average of each tensor over the devices, bit for bit the same on all of them.

        They travel as one flat tensor.

        Args:
            tensors: floats of the same shapes under the same names on every device, all on its own device.
        """
        if self.world_size == 1 or not tensors:
            return dict(tensors)
        kinds = [tensor.dtype for tensor in tensors.values()]
        kind = reduce(torch.promote_types, kinds, torch.float32)  # never sum in half precision
        flat = torch.cat([tensor.detach().reshape(-1).to(kind) for tensor in tensors.values()])
        with self._talking():
            distributed.all_reduce(flat)
        parts = torch.split(flat / self.world_size, [tensor.numel() for tensor in tensors.values()])
        return {
            name: part.view(tensor.shape).to(tensor.dtype)
            for (name, tensor), part in zip(tensors.items(), parts, strict=True)
        }

    def all_gather(self, *numbers: float) -> list[list[float]]:
        """Return the numbers that every device gave, the first device's first; as many on each, at least one."""
        if self.world_size == 1:
            return [list(numbers)]
        own = torch.tensor(numbers, dtype=torch.float64)
        every = [torch.empty_like(own) for _ in range(self.world_size)]
        with self._talking():
            distributed.all_gather(every, own)
        return [values.tolist() for values in every]

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any device: the same answer on all of them."""
        return any(values[0] for values in self.all_gather(flag))

    def all_equal(self, text: str) -> bool:
        """Return whether every device gave the same text."""
        number = float(int.from_bytes(sha256(text.encode()).digest()[:6], "big"))  # exact in 53 bits
        return len({values[0] for values in self.all_gather(number)}) == 1

    def broadcast(self, text: str) -> str:
        """Return the first device's text on all of them."""
        if self.world_size == 1:
            return text
        content = torch.tensor(list(text.encode()), dtype=torch.uint8)
        length = int(self.all_gather(len(content))[0][0])
        if not self.is_rank_zero:
            content = torch.empty(length, dtype=torch.uint8)
        with self._talking():
            distributed.broadcast(content, src=0)
        return bytes(content.tolist()).decode()

    def gather(self, state: Any) -> list[Any] | None:
        """Return what every device gave, in their order, to the first device; None to the others.

        Args:
            state: nested dicts, lists and tuples of tensors and plain values; read without running code.
        """
        if self.world_size == 1:
            return [state]
        content = io.BytesIO()
        if not self.is_rank_zero:
            torch.save(state, content)
        lengths = self.all_gather(content.tell())
        if not self.is_rank_zero:
            with self._talking():
                distributed.send(torch.frombuffer(content.getbuffer(), dtype=torch.uint8), dst=0)
            return None
        states = [state]
        for rank in range(1, self.world_size):
            received = torch.empty(int(lengths[rank][0]), dtype=torch.uint8)
            with self._talking():
                distributed.recv(received, src=rank)
            states.append(torch.load(io.BytesIO(received.numpy().data), weights_only=True))
        return states

    def __enter__(self) -> "ProcessGroup":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is None:
            return
        try:
            if error is None and self._joined:
                self.any(False)  # nobody leaves while another still has something to ask
            elif error is not None and not isinstance(error, ReportedByRankZero):
                self._publish(self._store, error)
        finally:
            self._part(self._store)
        if error is not None and not self.is_rank_zero and not isinstance(error, ReportedByRankZero):
            raise ReportedByRankZero(str(error)) from error

    def _publish(self, store: Store, error: BaseException) -> None:
        """Leave word of what went wrong here, before the others notice that we are gone."""
        kind = "input" if isinstance(error, InputError) else "ours"
        kind = "stopped" if isinstance(error, KeyboardInterrupt) else kind
        failure = {"kind": kind, "sentence": str(error), "trace": "".join(traceback.format_exception(error))}
        if kind == "ours":
            failure["sentence"] = f"{type(error).__name__}: {error}"
        try:
            store.compare_set("failure", "", json.dumps({"rank": self.rank, **failure}))
        except RuntimeError:  # the store lives with the first device, which is gone: nobody is left to tell
            return

    def _part(self, store: Store) -> None:
        """Close the connections, and stay as long as others may want to read the store, which lives here."""
        patience = _FAREWELL_SECONDS if self._joined else 0.0  # who has not come yet needs no farewell
        if self._joined:
            distributed.destroy_process_group()
            self._joined = False
        if self._workers:
            self._workers.end(patience)
            return
        try:
            store.set(f"gone/{self.rank}", "")
            if self.is_rank_zero:
                _until(lambda: self._all_say(store, "gone"), _FAREWELL_SECONDS)
        except RuntimeError:
            return

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """Turn a lost connection, which is how the end of another device is noticed, into what happened there."""
        try:
            yield
        except RuntimeError as error:
            raise self._what_happened() from error

    def _what_happened(self) -> BaseException:
        failure: dict[str, Any] | None = None

        def known() -> bool:
            nonlocal failure
            failure = self._failure()
            return failure is not None or self._workers.dead() is not None

        try:
            _until(known, 2.0)
        except RuntimeError:
            return ReportedByRankZero("the first device is gone")
        if failure is None:
            dead = self._workers.dead()
            who = "another device" if dead is None else f"device {dead + 1} of {self.world_size}"
            sentence = (
                f"{who} ended without a word (killed, or out of memory?): the same command with --resume goes on "
                "from the last checkpoint"
            )
            return InputError(sentence) if self.is_rank_zero else ReportedByRankZero(sentence)
        if not self.is_rank_zero:
            return ReportedByRankZero(failure["sentence"])
        if failure["kind"] == "stopped":
            return KeyboardInterrupt()
        if failure["kind"] == "input":
            return InputError(failure["sentence"])
        ours = RuntimeError(f"on device {failure['rank'] + 1} of {self.world_size}: {failure['sentence']}")
        ours.add_note(failure["trace"])
        return ours

    def _failure(self) -> dict[str, Any] | None:
        if self._store is None or not self._store.check(["failure"]):
            return None
        found: dict[str, Any] = json.loads(self._store.get("failure"))
        return found

    def _wait_for_all(self, store: Store) -> None:
        def settled() -> bool:
            lost = self._failure() is not None or self._workers.dead() is not None
            return lost or self._all_say(store, "here")

        came = _until(settled, _ARRIVAL_SECONDS)
        if self._all_say(store, "here"):
            return
        if not came:
            raise InputError(
                f"not all of the {self.world_size} devices came within {_ARRIVAL_SECONDS:.0f} seconds; see that the "
                "same command was started on every node, with as many processes as --devices says"
            )
        raise RuntimeError("a device was lost before it came")

    def _all_say(self, store: Store, word: str) -> bool:
        said: bool = store.check([f"{word}/{rank}" for rank in range(self.world_size)])
        return said


def _until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds; return whether it did in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
