"""What a training is, in plain values, so that a process for another device can be told to take part in it."""

from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.methods.base import Method
from metadcseg.networks import NetworkOptions
from metadcseg.training.options import TrainingOptions


def describe_job(
    prepared: PreparedSet,
    method: Method,
    network: NetworkOptions,
    options: TrainingOptions,
    out: Path,
    *,
    seed: int,
    label: str | None,
) -> dict[str, Any]:
    """Return, as plain values, what another process needs to train beside this one.

    Raises:
        InputError: where the method's class cannot be imported there.
    """
    kind = type(method)
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        raise InputError(
            f"method '{method.name}' is defined in {kind.__module__}.{kind.__qualname__}, which the processes of "
            "other devices cannot import: put its class at the top of a module, or take training.devices 1"
        )
    return {
        "set": str(prepared.path),
        "method": [kind.__module__, kind.__qualname__, asdict(method)],  # type: ignore[call-overload]
        "network": asdict(network),
        "training": asdict(options),
        "out": str(out),
        "seed": seed,
        "label": label,
    }


def job_method(described: list[Any]) -> Method:
    """Return the method that :func:`describe_job` described.

    Example:
        >>> job_method(["metadcseg.methods.supervised", "Supervised", {"dice": 0.2}]).dice
        0.2
    """
    module, name, values = described
    method: Method = getattr(import_module(module), name)(**values)
    return method
