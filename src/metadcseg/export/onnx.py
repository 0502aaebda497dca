"""A trained network as ONNX, beside what has to be done before and after it, and a script that does it."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from metadcseg.data.store.disk import publish_folder, refuse_occupied
from metadcseg.errors import InputError, Note, quiet
from metadcseg.export.description import INPUT, OUTPUT, axis_names, describe
from metadcseg.export.memory import refuse_too_large
from metadcseg.export.parity import check_difference, network_name, reason_of
from metadcseg.extras import Extra
from metadcseg.files import cannot_write
from metadcseg.networks.committee import members_of
from metadcseg.scratch import scratch_folder
from metadcseg.training.prediction import prediction_state
from metadcseg.training.run.folder import TrainedRun, load_run
from metadcseg.training.stopping import StopRequest

OPSET = 20
"""Of the operations in the file, which is written for IR version 10: onnxruntime reads it from 1.18 (May 2024) on."""

_runtime: Any = Extra("onnxruntime", "onnx", "exported networks")
_script: Any = Extra("onnxscript", "onnx", "exported networks")

_MODEL, _DESCRIPTION = "model.onnx", "model.json"
_LIMIT = 1_500_000_000  # bytes of weights; a file of protobuf ends at 2 GiB


class Deployed(nn.Module):
    """What is exported: the mean of the logits of all members as probabilities, and nothing that only trains.

    Args:
        network: of a run.

    Example:
        >>> from metadcseg.networks import NetworkOptions, create_network
        >>> network = create_network(NetworkOptions(width=2), channels=1, classes=2).eval()
        >>> images = torch.ones(1, 1, 32, 32)
        >>> torch.equal(Deployed(network)(images), network(images).logits.softmax(dim=1))
        True
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._networks = members_of(network)
        self.members = nn.ModuleList(self._networks)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, L, H, W) probabilities of (N, C, H, W) images whose sides fit."""
        logits = [member.bare_logits(images) for member in self._networks]
        mean = logits[0] if len(logits) == 1 else torch.stack(logits).sum(dim=0) / len(logits)
        return mean.softmax(dim=1)


def export_onnx(run: Path, out: Path, *, trust_code: bool = False) -> dict[str, Any]:
    """Write ``model.onnx``, ``model.json`` and a runner, ``run.py`` with what it reads files with, into a folder.

    The number of images and their size may change where the network allows it. The file is run once and compared
    with the network itself.

    Args:
        run: the folder of a run.
        out: the folder to write: missing or empty.
        trust_code: whether a class of a network that ``run.json`` names may be imported; its code runs then.

    Returns:
        What ``model.json`` says: see :func:`~metadcseg.export.description.describe`, and ``file``, ``opset``,
        ``input.shape`` (a number where an axis cannot change), and ``difference``, the largest of a probability.

    Raises:
        InputError: where the folder is no run, ``out`` holds something, onnx is not installed, or the network cannot
            be exported.

    Example:
        >>> export_onnx(Path("my_run"), Path("my_model"))["opset"]  # doctest: +SKIP
        20
    """
    refuse_occupied(out)
    _script.require()
    _runtime.require()
    trained = load_run(run, trust_code=trust_code)
    description = describe(trained) | {"file": _MODEL, "opset": OPSET}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(out.parent) as scratch:
            draft = scratch / "export"
            draft.mkdir()
            name, network, sides = network_name(trained), Deployed(trained.network), _sides(description)
            refuse_too_large(network, sides, run, "use a larger machine")
            images = torch.randn(*sides, generator=torch.Generator().manual_seed(0))
            shape = write_network(network, images, draft / _MODEL, name)
            description["input"] |= {"shape": shape}
            description["difference"] = _difference(trained, images, draft / _MODEL)
            (draft / _DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
            for name in ("run.py", f"{description['takes']}.py", "shared.py"):
                source = resources.files("metadcseg") / "export" / "runner" / name
                (draft / name).write_bytes(source.read_bytes())
            publish_folder(draft, out)
    except OSError as error:
        raise cannot_write(out, error) from error
    axes = description["input"]["axes"]
    fixed = [
        f"{name} = {side}" for name, side in zip(axes, shape, strict=True) if name != "C" and side != name
    ]
    if fixed:
        told = f"{out}: the network takes only {', '.join(fixed)}, since its code asks for that size"
        warnings.warn(told, Note, stacklevel=2)
    return description


def _sides(description: dict[str, Any]) -> tuple[int, ...]:
    """Return the shape of images that the network takes, small where it takes any; no two sides are alike."""
    least, multiple = description["input"]["smallest"], description["input"]["multiple"]
    if multiple == 1:  # a network of the user's own, which may know only one size
        sides = description["window"]["size"] if description["window"] else description["grid"]
    else:
        sides = [-(-side // multiple) * multiple + number * multiple for number, side in enumerate(least)]
    return 2, description["channels"], *sides


def write_network(network: Deployed, images: Tensor, file: Path, name: str) -> list[int | str]:
    """Write a network as ONNX.

    Args:
        network: what is written.
        images: (N, C, H, W) or (N, C, Z, H, W) that it is followed with, no two sides alike and N above 1.
        file: where.
        name: of the network, for sentences.

    Returns:
        The axes of its input: a letter where the length is free, else the number.

    Raises:
        InputError: where it cannot be exported.
    """
    axes = {axis: torch.export.Dim.AUTO for axis in range(images.dim()) if axis != 1}
    try:
        with _quiet():
            with StopRequest() as stop:  # an exception from a signal within its C++ aborts Python
                program = torch.onnx.export(
                    network,
                    (images,),
                    dynamo=True,
                    dynamic_shapes=(axes,),
                    opset_version=OPSET,
                    verbose=False,
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                )
            if stop.requested:
                raise KeyboardInterrupt
            if program is None:
                raise RuntimeError("the exporter returned nothing")
            size = sum(weight.numel() * weight.element_size() for weight in network.state_dict().values())
            program.save(file, external_data=size > _LIMIT)
    except OSError:
        raise
    except Exception as error:  # the exporter raises anything on what it cannot translate
        raise InputError(
            f"the network {name} cannot be exported to ONNX ({reason_of(error)}): docs/how-to/export.md lists those "
            "that can"
        ) from error
    letters = axis_names(images.dim() - 2)
    sides = program.model.graph.inputs[0].shape or ()
    return [side if isinstance(side, int) else name for name, side in zip(letters, sides, strict=True)]


def _difference(trained: TrainedRun, images: Tensor, file: Path) -> float:
    """Run the file on images and return by how much a probability differs at most.

    Raises:
        InputError: see :func:`.check_difference`.
    """
    session = _runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = session.run(None, {INPUT: images.numpy()})[0]
    with torch.inference_mode():
        wanted = trained.method.predict(prediction_state(trained.network), images).float().numpy()
    difference = float(np.abs(found - wanted).max()) if found.shape == wanted.shape else float("inf")
    return check_difference(trained, difference)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what torch's exporter says of itself: libraries that are not there, and its own old calls."""
    with quiet("torch.onnx._internal.exporter._registration", logging.ERROR), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
        yield
