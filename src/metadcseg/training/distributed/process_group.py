"""The devices that train one network together: who they are, what they tell each other, and how they end.

Every device runs one process with a whole copy of network, optimizer and data; what is shared are batches. All
that has to be common goes through here: averages of gradients, small numbers, and the states that a checkpoint
gathers. A failure on one device ends all of them, and only the device where it began speaks of it.
"""

import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import reduce
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import Store  # type: ignore[attr-defined]

from metadcseg.data.loading.batches import Shard
from metadcseg.errors import InputError, ReportedByAnotherRank

_PATIENCE = timedelta(minutes=30)
"""How long one device waits for another that is alive: for a checkpoint to be written, say, on a slow disk."""

_ARRIVAL = timedelta(minutes=5)
_SPEAKING_SECONDS = 2.0
"""How long the others stay, so that no launcher ends the one that speaks."""


def lost(who: str) -> str:
    """Return the sentence about a process that is gone."""
    return (
        f"{who} ended without a word (killed, or out of memory?): the same command with --resume goes on from the "
        "last checkpoint"
    )


class ProcessGroup:
    """The devices that share every batch; by default one, alone, for which everything is as it is.

    Used as a context: leaving it with an error ends the other devices too, by closing the connections. The first
    that fails leaves word of it; whoever fails then raises :class:`~metadcseg.errors.ReportedByAnotherRank`, so
    that one sentence is printed and not one per device.

    Args:
        rank: the number of this process's device over all nodes, from 0.
        world_size: how many devices there are over all nodes.
        local_rank: the device's number on its own node.
        store: what every process of the group can reach; None for one device.

    Example:
        >>> with ProcessGroup() as alone:
        ...     alone.any(True), alone.all_gather(1.0, 2.0), alone.gather({"a": 1})
        (True, [[1.0, 2.0]], [{'a': 1}])
    """

    def __init__(
        self, rank: int = 0, world_size: int = 1, local_rank: int = 0, store: Store | None = None
    ) -> None:
        self.rank, self.world_size, self.local_rank = rank, world_size, local_rank
        self._store = store
        self._joined = False

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is the device that writes and tells how far the training is."""
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
        with self._talking(self._store):
            self._store.set(f"here/{self.rank}", "")
            self._store.wait([f"here/{rank}" for rank in range(self.world_size)], _ARRIVAL)
            if self._store.check(["failure"]):
                raise RuntimeError("a device failed before it came")
            distributed.init_process_group(
                # small numbers go by gloo also between GPUs, so that they wait for no kernel
                "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
                store=self._store,
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
        if self._store is None or not tensors:
            return dict(tensors)
        kinds = [tensor.dtype for tensor in tensors.values()]
        kind = reduce(torch.promote_types, kinds, torch.float32)  # never sum in half precision
        flat = torch.cat([tensor.detach().reshape(-1).to(kind) for tensor in tensors.values()])
        with self._talking(self._store):
            distributed.all_reduce(flat)
        parts = torch.split(flat / self.world_size, [tensor.numel() for tensor in tensors.values()])
        return {
            name: part.view(tensor.shape).to(tensor.dtype)
            for (name, tensor), part in zip(tensors.items(), parts, strict=True)
        }

    def all_gather(self, *numbers: float) -> list[list[float]]:
        """Return the numbers that every device gave, the first device's first; as many on each, at least one."""
        if self._store is None:
            return [list(numbers)]
        own = torch.tensor(numbers, dtype=torch.float64)
        every = [torch.empty_like(own) for _ in range(self.world_size)]
        with self._talking(self._store):
            self._store.check(["failure"])  # fails where the launcher is gone: nobody trains on without it
            distributed.all_gather(every, own)
        return [values.tolist() for values in every]

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any device: the same answer on all of them."""
        return any(values[0] for values in self.all_gather(flag))

    def broadcast(self, value: Any) -> Any:
        """Return the first device's plain value on all of them."""
        if self._store is None:
            return value
        values = [value]
        with self._talking(self._store):
            distributed.broadcast_object_list(values, src=0)
        return values[0]

    def gather(self, state: Any) -> list[Any] | None:
        """Return what every device gave, in their order, to the first device; None to the others.

        Args:
            state: nested dicts, lists and tuples of tensors and plain values.
        """
        if self._store is None:
            return [state]
        states = [None] * self.world_size if self.is_rank_zero else None
        with self._talking(self._store):
            distributed.gather_object(state, states, dst=0)
        return states

    def __enter__(self) -> "ProcessGroup":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is None:
            return
        # the launcher may end us while we write down what another has said
        silent = isinstance(error, ReportedByAnotherRank) or (
            error is not None and isinstance(error.__context__, ReportedByAnotherRank)
        )
        try:
            if error is None and self._joined:
                self.any(False)  # nobody leaves while another still has something to ask
            elif error is not None and not silent:
                silent = not self._is_first_to_fail(self._store, error)
        finally:
            if self._joined:
                self._joined = False
                distributed.destroy_process_group()
        if silent:
            with suppress(KeyboardInterrupt):
                time.sleep(_SPEAKING_SECONDS)
            raise ReportedByAnotherRank(str(error)) from error

    def _is_first_to_fail(self, store: Store, error: BaseException) -> bool:
        """Leave word of what went wrong here, before the others notice that we are gone, unless one has."""
        sentence = "".join(traceback.format_exception_only(error)).strip()
        if isinstance(error, InputError):
            sentence = str(error)
        own = f"device {self.rank + 1} of {self.world_size}: {sentence}"
        try:
            store.set(f"here/{self.rank}", "")  # nobody waits for us
            return bool(store.compare_set("failure", "", own).decode() == own)
        except RuntimeError:  # the store is gone, and with it the launcher, or rank 0 of srun
            return False

    @contextmanager
    def _talking(self, store: Store) -> Iterator[None]:
        """Turn a lost connection, which is how the end of another device is noticed, into what happened there."""
        try:
            yield
        except RuntimeError as error:
            raise self._what_happened(store) from error

    def _what_happened(self, store: Store) -> InputError:
        try:
            if store.check(["failure"]):
                return ReportedByAnotherRank(store.get("failure").decode())
            missing = [n + 1 for n in range(self.world_size) if not store.check([f"here/{n}"])]
        except RuntimeError:
            return ReportedByAnotherRank("the launcher, or rank 0 of srun, is gone")
        if not missing:
            sentence = lost("another device")
            launched = distributed.is_torchelastic_launched()  # then who started it knows which, and says so
            return ReportedByAnotherRank(sentence) if launched else InputError(sentence)
        return InputError(
            f"devices {', '.join(map(str, missing))} of {self.world_size} did not come within "
            f"{_ARRIVAL.total_seconds():.0f} seconds: start the same command on every node"
        )
