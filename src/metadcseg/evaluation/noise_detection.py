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
from metadcseg.evaluation.value_counts import ValueCounts
from metadcseg.files import atomic_file, output_folder, safe_names
from metadcseg.methods.base import Method, MethodState
from metadcseg.methods.common import evaluating
from metadcseg.methods.pair_table import PairTable, class_posterior, distance_bins, trust_of
from metadcseg.networks import NetworkOptions
from metadcseg.tensors import IGNORE, Batch, WeightMaps
from metadcseg.training.options import TrainingOptions
from metadcseg.training.restore import restore_state

EDGES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Where the bins of the distance to the outline of the given label begin, in pixels of the input grid."""

EXAMPLES = 4
SCORES = {
    "weight": "beta / gamma = 1 - alpha / gamma, the share of a pixel's weight that the given label did not get",
    "alpha": "-alpha",
    "beta - alpha": "beta - alpha",
    "disagreement": "1 - probability that the EMA network gives to the given class",
    "both": "the mean of weight and disagreement",
    "given foreground": "baseline: the given class is not background",
    "near the outline": "baseline: minus the distance to the nearest pixel of another given class",
    "pair table": "baseline: P(given label wrong) by given class and distance, counted on the gold pairs",
}
"""What tells wrong pixels from right ones, and how it is computed; the baselines need no network."""


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
        ``auroc`` (area under the ROC for telling wrong pixels by each of ``SCORES``, of every float32 as it is; None
        for ``weight`` and ``both`` where beta is 0 in all pixels, and so has no share anywhere), ``wrong_pixels``
        (share), ``pixels``, ``moved`` (root mean square of alpha - 1 and of beta: how far weights have left eq. 2),
        ``distance`` (mean gamma, alpha and beta by distance to the outline of the given label) and ``examples``.

    Raises:
        NothingToJudge: where the network is one of volumes, training cases have no reference, or the method keeps no
            weights.
        InputError: where the run has no checkpoint, or stored bytes are damaged.
    """
    if network.spatial_dims != 2:
        raise NothingToJudge(
            f"{run}: weights of whole volumes cannot be judged yet, so nothing was written: leave out --weights"
        )
    if not method.info.keeps_weights:  # asked first: another set, or reference masks, would not help
        raise _keeps_none(run, method)
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
    pairs = _pair_table(prepared, still)
    with restore_state(run, prepared, method, network, still) as state:
        truths = _batches(prepared, still, "truth")
        for batch, truth in zip(_batches(prepared, still, "given"), truths, strict=True):
            held = _look(method, state, batch)
            if held is None:
                raise _keeps_none(run, method)
            sums.add(batch, truth.labels, *held, _doubt(pairs, batch))
    return sums.record(run / "evaluation" / "weights", [case.id for case in prepared.select("train")])


def _keeps_none(run: Path, method: Method) -> NothingToJudge:
    return NothingToJudge(
        f"{run}: the method {method.name} with these options keeps no weights of pixels, so no "
        "evaluation/weights.json was written: leave out --weights"
    )


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


def _pair_table(prepared: PreparedSet, options: TrainingOptions) -> PairTable | None:
    """Return the table of the set's gold pairs on the input grid; None where there are fewer than two."""
    gold = prepared.select("gold")
    if sum(case.has_given for case in gold) < 2:
        return None
    view = SegmentationDataset(prepared, "gold", options.size, augment=options.augment, seed=0, pairs=True)
    table = PairTable(len(gold))
    for batch in epoch_batches(view, epoch=0, batch=options.batch):
        table.update(batch, len(prepared.classes))
    return table


def _doubt(pairs: PairTable | None, batch: Batch) -> Tensor | None:
    """Return P(given label wrong) of every pixel by the pairs alone, (N, H, W)."""
    table = None if pairs is None else pairs.pooled()
    if table is None:
        return None
    found = class_posterior(table, batch.labels, distance_bins(batch.labels, len(table)))
    return trust_of(found, batch.labels).weights.beta


class _Sums:
    """Everything that is summed over the training pixels."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[ValueCounts, ValueCounts]] = {}  # of right pixels, of wrong ones
        self._pixels = np.zeros(2, np.int64)  # likewise
        self._distance = np.zeros((4, len(EDGES)))  # pixels, gamma, alpha, beta
        self._moved = np.zeros(2)  # squares, of alpha - 1 and of beta
        self._examples: dict[int, dict[str, NDArray[Any]]] = {}

    def add(
        self, batch: Batch, truth: Tensor, weights: WeightMaps, disagreement: Tensor, doubt: Tensor | None
    ) -> None:
        known = (batch.labels != IGNORE) & (truth != IGNORE)
        wrong = (batch.labels != truth)[known].numpy()
        gamma = weights.gamma
        distance = outline_distances(batch.labels.numpy())
        # in double precision, and around 0: weights may move by less than float32 can tell near 1
        alpha, beta = weights.alpha.double(), weights.beta.double()
        distrust = torch.where(alpha + beta > 0, beta / (alpha + beta), 1.0)
        scores = {
            "weight": distrust,
            "alpha": -weights.alpha,
            "beta - alpha": 1 - alpha + beta,
            "disagreement": disagreement,
            "both": (distrust + disagreement) / 2,
            "given foreground": batch.labels != 0,
            "near the outline": torch.from_numpy(-distance),
            "pair table": doubt,
        }
        self._pixels += np.bincount(wrong, minlength=2)
        for name, score in scores.items():
            if score is None:
                continue
            found = score[known].numpy()
            right_and_wrong = self._counts.setdefault(name, (ValueCounts(), ValueCounts()))
            right_and_wrong[0].add(found[~wrong])
            right_and_wrong[1].add(found[wrong])
        for row, moved in enumerate((weights.alpha - 1, weights.beta)):
            self._moved[row] += float(moved[known].double().square().sum())
        bins = np.clip(np.searchsorted(EDGES, distance - 0.5, side="right") - 1, 0, len(EDGES) - 1)
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
        right, wrong = self._pixels.tolist()
        pixels = self._distance[0]
        means = {
            name: [float(total / count) if count else None for total, count in zip(row, pixels, strict=True)]
            for name, row in zip(("gamma", "alpha", "beta"), self._distance[1:], strict=True)
        }
        chosen = sorted(self._examples)
        names = safe_names(ids[index] for index in chosen)
        return {
            "auroc": self._aurocs(),
            "wrong_pixels": float(wrong / max(right + wrong, 1)),
            "pixels": right + wrong,
            "moved": dict(
                zip(("alpha", "beta"), np.sqrt(self._moved / max(right + wrong, 1)).tolist(), strict=True)
            ),
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

    def _aurocs(self) -> dict[str, float | None]:
        shares = bool(self._moved[1])  # else beta / gamma is 0 everywhere, which ranks nothing
        found: dict[str, float | None] = {}
        for name, (right, wrong) in self._counts.items():
            values = np.union1d(right.values, wrong.values)
            told = shares or name not in ("weight", "both")
            found[name] = auroc(right.at(values), wrong.at(values)) if told else None
        return found


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


def outline_distances(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Return every pixel's distance (Euclidean, px) to the nearest pixel of another class; infinite without one.

    Args:
        labels: (N, H, W), class or ``IGNORE``, which is no class.

    Example:
        >>> outline_distances(np.array([[[0, 0, 1]]])).tolist()
        [[[2.0, 1.0, 1.0]]]
    """
    distance = np.full(labels.shape, np.inf)
    for place, label in enumerate(labels):
        values = [value for value in np.unique(label) if value != IGNORE]
        for value in values:
            if len(values) > 1:
                inside = (label == value) | (label == IGNORE)
                distance[place][label == value] = ndimage.distance_transform_edt(inside)[label == value]
    return distance  # the nearest other pixel is at 1 or more: the outline lies half a pixel before it


def _gray(image: NDArray[Any]) -> NDArray[Any]:
    low, high = float(image.min()), float(image.max())
    return (image - low) / max(high - low, 1e-6) * 255


def _save(folder: Path, case: str, maps: dict[str, NDArray[Any]]) -> dict[str, str]:
    """Write maps as gray PNG files; of weights 2 is white. Return their paths beside ``evaluation``."""
    output_folder(folder.parents[1], *folder.parts[-2:])
    names = {}
    for name, values in maps.items():
        file = folder / f"{case}-{name}.png"
        with atomic_file(file) as opened:
            Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).save(opened, format="PNG")
        names[name] = f"{folder.name}/{file.name}"
    return names
