"""The folder of a run: what lies where, whose run it is, and how its network is read back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metadcseg.data.findings import plural
from metadcseg.errors import InputError
from metadcseg.files import write_bytes
from metadcseg.methods import create_method
from metadcseg.methods.base import Method
from metadcseg.networks import Consent, NetworkOptions, create_networks, network_of
from metadcseg.results.schema import ExternalRun, OwnRun, RunSaid
from metadcseg.results.upgrade import upgraded
from metadcseg.schemas import fitting, read_record
from metadcseg.training.options import TrainingOptions, training_options
from metadcseg.training.prediction import OVERLAP, predict_whole, prediction_state
from metadcseg.training.run.model_file import Weights, load_weights

EXTERNAL = "external"
"""The method of a folder that holds predictions of another tool, and no network."""

_FORMAT = 1
_AGAIN = "restore the file, or train again with another --out"


@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run lie.

    Args:
        path: the folder.
    """

    path: Path

    @property
    def info(self) -> Path:
        """What the run is and how far it is."""
        return self.path / "run.json"

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON object per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Where ``last.pt`` and ``previous.pt`` lie."""
        return self.path / "checkpoints"

    @property
    def weights(self) -> Path:
        """What a method keeps for every pixel of every training image, as the checkpoints refer to it."""
        return self.path / "weights"

    @property
    def model(self) -> Path:
        """The weights to use: best on validation."""
        return self.path / "model.safetensors"

    @property
    def figures(self) -> Path:
        """Pictures of sample predictions and weight maps."""
        return self.path / "figures"

    @property
    def tensorboard(self) -> Path:
        """Curves for TensorBoard."""
        return self.path / "tensorboard"


@dataclass(frozen=True)
class TrainedRun:
    """A finished (or so far trained) run, ready to predict.

    Args:
        folder: where it lies.
        info: what ``run.json`` says.
        method: the method with its options.
        network: with the weights that did best on validation, in evaluation mode.
        classes: names of the L classes, background first.
        channels: C of the images.
        size: side of the input grid, in pixels.
        depth: slices of the input grid of a network of volumes, None for one of images.
    """

    folder: RunFolder
    info: dict[str, Any]
    method: Method
    network: nn.Module
    classes: tuple[str, ...]
    channels: int
    size: int
    depth: int | None = None

    @property
    def grid(self) -> tuple[int, ...]:
        """Input grid of the network: (S, S), or (Z, S, S) of one of volumes."""
        square = (self.size, self.size)
        return square if self.depth is None else (self.depth, *square)

    def predict(
        self,
        images: Tensor,
        *,
        windows: bool = False,
        overlap: float = OVERLAP,
        batch: int = 1,
        flips: bool = False,
    ) -> Tensor:
        """Return (N, L, size, size) probabilities for (N, C, size, size) normalized images; of volumes likewise.

        Args:
            images: of the input grid; with ``windows`` of any size that is no smaller along any axis.
            windows: let the grid slide over larger images; a network of patches slides them anyway.
            overlap: of neighboring windows, as a share of their side.
            batch: windows that are predicted together.
            flips: average over all mirror images.
        """
        patch = self.info["training"].get("patch")
        window = tuple(patch) if patch is not None else self.grid if windows else None
        state = prediction_state(self.network)
        return predict_whole(self.method, state, images, window, overlap=overlap, batch=batch, flips=flips)


def read_run(path: Path | str) -> dict[str, Any]:
    """Return what ``run.json`` of a run's folder says, in the words of today whoever wrote it.

    Raises:
        InputError: where the folder is no run or the file is damaged.
    """
    file = RunFolder(Path(path)).info
    if not file.is_file():
        raise InputError(
            f"{path} is not the folder of a run (it has no {file.name}); give the --out of a training"
        )
    info = read_record(file, dict[str, Any], _AGAIN)
    fitting(info, RunSaid, f"{file} is damaged", _AGAIN)  # whoever wrote it
    kind = ExternalRun if info.get("method") == EXTERNAL else OwnRun
    today = upgraded(info)
    fitting(today, kind, f"{file} is damaged", _AGAIN)
    return today


def options_of_run(
    info: Mapping[str, Any], trust_code: bool = False, source: str = "the run's run.json"
) -> tuple[Method, NetworkOptions, TrainingOptions]:
    """Return method, network and training of a run, as it says them.

    Args:
        info: what :func:`read_run` returned.
        trust_code: whether a class of a network that it names may be imported; its code runs then.
        source: the file, for the sentence.

    Raises:
        InputError: where an option is not known, has a value that it cannot have, a class is named without consent, or
            another tool predicted.
    """
    if info["method"] == EXTERNAL:
        raise InputError(
            f"{source} is of predictions of another tool, without a network: give a folder that train wrote"
        )
    Consent(source, trust_code).check(info["network"].get("class_path"))
    try:
        method = create_method(info["method"], **info["options"])
        network = network_of(info["network"], source, trust_code)
        return method, network, training_options(info["training"])
    except (KeyError, TypeError, ValueError) as error:
        why = error if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"the run's run.json names options that no run has ({why}); {_AGAIN}") from error


def set_of_run(info: Mapping[str, Any], given: str | None = None, way_out: str = "give it as --data") -> Path:
    """Return where the set to read with a run lies: by default the one that it was trained on, if it is still there.

    Args:
        info: what ``run.json`` says.
        given: by the user; None: the run's own.
        way_out: what to do where that is gone, for the sentence.

    Raises:
        InputError: where nothing was given and the run's own is gone.
    """
    path = Path(given or info["set"]["path"])
    if given is None and not path.exists():
        raise InputError(f"the set that the run was trained on is not at {path} any more: {way_out}")
    return path


def write_run(folder: RunFolder, info: Mapping[str, Any]) -> None:
    """Write ``run.json``, whole or not at all.

    Raises:
        InputError: where the disk is full.
    """
    text = json.dumps({"format": _FORMAT, **info}, indent=2, allow_nan=False)
    write_bytes(folder.info, text.encode() + b"\n")


def load_run(path: Path | str, device: torch.device | str = "cpu", *, trust_code: bool = False) -> TrainedRun:
    """Read a run's method and its network with the weights that did best on validation.

    Args:
        path: the run's folder.
        device: where the network goes.
        trust_code: whether a class of a network that ``run.json`` names may be imported; its code runs then.

    Raises:
        InputError: where the folder is no run, a file of it is missing or damaged, no weights were chosen yet, or it
            names a class without ``trust_code``.
    """
    info = read_run(path)
    folder = RunFolder(Path(path))
    method, options, _ = options_of_run(info, trust_code, str(folder.info))
    classes, channels, size = tuple(info["set"]["classes"]), info["set"]["channels"], info["training"]["size"]
    own = replace(options, pretrained=None)  # the run has its own weights
    network = create_networks(own, channels, len(classes), method.info.networks)
    if not folder.model.exists():
        raise _no_weights(folder, info)
    weights, _ = load_weights(folder.model)
    _fill(network, weights, folder.model)
    depth = info["training"]["depth"] if options.spatial_dims == 3 else None
    return TrainedRun(folder, info, method, network.to(device).eval(), classes, channels, size, depth)


def _no_weights(folder: RunFolder, info: Mapping[str, Any]) -> InputError:
    """Return the sentence for weights that were never kept, or are not there any more."""
    done, every = info["epochs_done"], info["training"].get("validate_every", 1)
    if info.get("best") or (done and not info["set"].get("cases", {}).get("val")):
        return InputError(f"{folder.model} is not there any more: {_AGAIN}")
    why = "no epoch is done yet"
    if done:
        late = f"after {plural(done, 'epoch')} no validation has chosen weights"
        why = f"{late}, which is due every {every} and at the last"
    return InputError(f"{folder.path}: {why}: go on with 'metadcseg train --resume {folder.path}'")


def _fill(network: nn.Module, weights: Weights, path: Path) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"{path}: the weights are not those of the network that run.json names; train again"
        ) from error
