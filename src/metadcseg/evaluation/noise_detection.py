"""What a method has learned about the given labels: its weights of all training pixels against the reference masks.

Only sets whose noise was injected (or that have reference masks of their training cases) can be judged so. Nothing here
is for training or for choosing anything: it says how well wrong pixels were found.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from metadcseg.data.loading.augmentation import AugmentOptions
from metadcseg.data.loading.batches import epoch_batches
from metadcseg.data.loading.dataset import SegmentationDataset
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.files import safe_names
from metadcseg.methods.base import Method, MethodState
from metadcseg.methods.common import evaluating
from metadcseg.networks import NetworkOptions
from metadcseg.tensors import IGNORE, Batch, WeightMaps
from metadcseg.training.options import TrainingOptions
from metadcseg.training.restore import restore_state

EDGES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Where the bins of the distance to the outline of the given label begin, in pixels of the input grid."""

EXAMPLES = 4
_BINS = 4096


class NothingToJudge(InputError):
    """There are no weights, or no reference masks to compare them with; the sentence says why and the way out."""


def judge_weights(
    run: Path, prepared: PreparedSet, method: Method, network: NetworkOptions, options: TrainingOptions
) -> dict[str, Any]:
    """Return what the weights of a finished run say about its training pixels, and write a few maps as pictures.

    Args:
        run: the folder of the run; ``evaluation/weights`` in it takes the pictures.
        prepared: the set that it was trained on.
        method: as it was trained.
        network: likewise.
        options: likewise.

    Returns:
        ``auroc`` (area under the ROC for telling wrong pixels by ``weight``: 1 - alpha / gamma; by
        ``disagreement``: 1 - probability that the EMA network gives to the given class; by ``both``: their sum),
        ``wrong_pixels`` (share), ``pixels``, ``distance`` (mean gamma, alpha and beta by distance to the outline of
        the given label) and ``examples``.

    Raises:
        NothingToJudge: where the network is one of volumes, training cases have no reference, or the method keeps no
            weights.
        InputError: where the run has no checkpoint, or stored bytes are damaged.
    """
    if network.spatial_dims != 2:
        raise NothingToJudge(
            f"{run}: weights of whole volumes cannot be judged yet, so nothing was written: leave out --weights"
        )
    training = prepared.select("train")
    if lacking := sum(not case.has_truth for case in training):
        raise NothingToJudge(
            f"{prepared.path}: {lacking} of {len(training)} training cases have no reference mask, so nobody can say "
            "which pixels are wrong and no evaluation/weights.json was written: use a set that 'metadcseg corrupt' "
            "made, or leave out --weights"
        )
    still = replace(
        options,
        augment=AugmentOptions(flip=False, rotation=0.0, zoom=(0, 0)),
        devices=1,
        nodes=1,
        accelerator="cpu",
    )
    sums = _Sums()
    with restore_state(run, prepared, method, network, still) as state:
        truths = _batches(prepared, still, "truth")
        for batch, truth in zip(_batches(prepared, still, "given"), truths, strict=True):
            held = _look(method, state, batch)
            if held is None:
                raise NothingToJudge(
                    f"{run}: the method {method.name} keeps no weights of pixels, so no evaluation/weights.json was "
                    "written: leave out --weights"
                )
            sums.add(batch, truth.labels, *held)
    return sums.record(run / "evaluation" / "weights", [case.id for case in prepared.select("train")])


def _batches(prepared: PreparedSet, options: TrainingOptions, labels: Any) -> Iterator[Batch]:
    view = SegmentationDataset(
        prepared, "train", options.size, labels=labels, augment=options.augment, seed=0
    )
    return epoch_batches(view, epoch=0, batch=options.batch)


def _look(method: Method, state: MethodState, batch: Batch) -> tuple[WeightMaps, Tensor] | None:
    """Return the weights of a batch, and how little the EMA network believes the given labels."""
    with torch.no_grad():
        weights = method.weights(state, batch)
        if weights is None:
            return None
        network = state.updater.ema_model or state.network
        with evaluating(network) as asked:
            probabilities = asked(batch.images).logits.softmax(dim=1)
    given = batch.labels.masked_fill(batch.labels == IGNORE, 0).unsqueeze(1)
    return weights, 1 - probabilities.gather(1, given).squeeze(1)


class _Sums:
    """Everything that is summed over the training pixels."""

    def __init__(self) -> None:
        self._histograms = {name: np.zeros((2, _BINS)) for name in ("weight", "disagreement", "both")}
        self._distance = np.zeros((4, len(EDGES)))  # pixels, gamma, alpha, beta
        self._examples: dict[int, dict[str, NDArray[Any]]] = {}

    def add(self, batch: Batch, truth: Tensor, weights: WeightMaps, disagreement: Tensor) -> None:
        known = (batch.labels != IGNORE) & (truth != IGNORE)
        wrong = (batch.labels != truth)[known].numpy()
        gamma = weights.gamma
        distrust = 1 - weights.alpha / torch.where(gamma > 0, gamma, 1.0)
        both = (distrust + disagreement) / 2
        for name, score in (("weight", distrust), ("disagreement", disagreement), ("both", both)):
            place = (score[known].clamp(0, 1) * (_BINS - 1)).round().long().numpy()
            for kind in (0, 1):
                self._histograms[name][kind] += np.bincount(place[wrong == kind], minlength=_BINS)
        bins = _distance_bins(batch.labels.numpy())
        chosen = bins[known.numpy()]
        for row, values in enumerate((torch.ones_like(gamma), gamma, weights.alpha, weights.beta)):
            self._distance[row] += np.bincount(chosen, values[known].numpy(), minlength=len(EDGES))
        for number, index in enumerate(batch.indices.tolist()):
            if index < EXAMPLES:
                self._examples[index] = {
                    "image": _gray(batch.images[number, 0].numpy()),
                    "label": np.where(batch.labels[number].numpy() == 0, 0, 255),
                    "truth": np.where(truth[number].numpy() == 0, 0, 255),
                    "gamma": weights.gamma[number].numpy() * 127.5,
                    "alpha": weights.alpha[number].numpy() * 127.5,
                    "beta": weights.beta[number].numpy() * 127.5,
                }

    def record(self, folder: Path, ids: list[str]) -> dict[str, Any]:
        right, wrong = self._histograms["weight"].sum(axis=1)
        pixels = self._distance[0]
        means = {
            name: [float(total / count) if count else None for total, count in zip(row, pixels, strict=True)]
            for name, row in zip(("gamma", "alpha", "beta"), self._distance[1:], strict=True)
        }
        chosen = sorted(self._examples)
        names = safe_names(ids[index] for index in chosen)
        return {
            "auroc": {name: auroc(*histogram) for name, histogram in self._histograms.items()},
            "wrong_pixels": float(wrong / max(right + wrong, 1)),
            "pixels": int(right + wrong),
            "distance": {
                "unit": "px of the input grid",
                "edges": list(EDGES),
                "pixels": pixels.tolist(),
                **means,
            },
            "examples": [
                {"id": ids[index], **_save(folder, name, self._examples[index])}
                for index, name in zip(chosen, names, strict=True)
            ],
        }


def auroc(right: NDArray[Any], wrong: NDArray[Any]) -> float | None:
    """Return the area under the ROC from histograms of a score; pixels of one bin count as ties.

    Args:
        right: how many right pixels have each score, ascending.
        wrong: likewise.

    Returns:
        The chance that a wrong pixel has a higher score than a right one; None where one kind is missing.

    Example:
        >>> auroc(np.array([2.0, 1.0]), np.array([0.0, 2.0]))
        0.8333333333333334
    """
    if not right.sum() or not wrong.sum():
        return None
    below = np.cumsum(right) - right
    return float((wrong * (below + right / 2)).sum() / (right.sum() * wrong.sum()))


def _distance_bins(labels: NDArray[Any]) -> NDArray[np.intp]:
    """Return the bin of every pixel's distance (Euclidean) to the nearest pixel of another class."""
    distance = np.full(labels.shape, np.inf)
    for place, label in enumerate(labels):
        values = [value for value in np.unique(label) if value != IGNORE]
        for value in values:
            if len(values) > 1:
                inside = (label == value) | (label == IGNORE)
                distance[place][label == value] = ndimage.distance_transform_edt(inside)[label == value]
    # the nearest other pixel is at 1 or more: the outline lies half a pixel before it
    return np.clip(np.searchsorted(EDGES, distance - 0.5, side="right") - 1, 0, len(EDGES) - 1)


def _gray(image: NDArray[Any]) -> NDArray[Any]:
    low, high = float(image.min()), float(image.max())
    return (image - low) / max(high - low, 1e-6) * 255


def _save(folder: Path, case: str, maps: dict[str, NDArray[Any]]) -> dict[str, str]:
    """Write maps as gray PNG files; of weights 2 is white. Return their paths beside ``evaluation``."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {}
    for name, values in maps.items():
        file = folder / f"{case}-{name}.png"
        Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).save(file)
        names[name] = f"{folder.name}/{file.name}"
    return names
