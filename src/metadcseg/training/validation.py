"""Scores on the validation cases, by which the weights that a run keeps are chosen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from metadcseg.data.frames import FrameMemory, to_frame
from metadcseg.data.store import Case, PreparedSet
from metadcseg.evaluation.metrics import dice_from_counts, iou_from_counts
from metadcseg.methods.contract import Method
from metadcseg.tensors import IGNORE
from metadcseg.training.run_folder import prediction_state
from metadcseg.training.team import Team


@dataclass(frozen=True)
class Scores:
    """Means over the validation cases.

    Args:
        dsc: mean over cases of the mean over foreground classes, 0 to 1.
        iou: likewise.
        cases: how many cases there were.
    """

    dsc: float
    iou: float
    cases: int


class Validator:
    """Scores a network on the role ``val``, at each case's native resolution; opens no other role.

    Args:
        prepared: where the validation cases come from; their given labels are the reference.
        size: side of the training frame in pixels.
        batch: images per forward pass.
        device: where the network is.
        team: the devices among which the batches are dealt; the scores are those of one device.
    """

    def __init__(
        self,
        prepared: PreparedSet,
        size: int,
        batch: int,
        device: torch.device,
        team: Team | None = None,
    ) -> None:
        self._prepared = prepared
        self._team = team or Team()
        self._cases = prepared.select("val")
        self._size, self._batch, self._device = size, batch, device
        self._frames = FrameMemory[Tensor]()

    def __len__(self) -> int:
        return len(self._cases)

    def score(self, method: Method, network: nn.Module, stop: Callable[[], bool]) -> Scores | None:
        """Return the scores; None where ``stop`` said so in between.

        Args:
            method: predicts.
            network: the same on all devices.
            stop: asked before every batch, as often on every device, and answers the same on all.

        Raises:
            InputError: naming case and file where stored bytes are damaged.
        """
        state = prediction_state(network)
        scores = torch.zeros(len(self._cases), 2, dtype=torch.float64)  # DSC and IoU, one row per case
        batches, devices = list(self._batches()), self._team.size
        for turn in range(0, len(batches), devices):
            if stop():
                return None
            numbers = batches[turn + self._team.seat.rank : turn + self._team.seat.rank + 1]
            if not numbers:
                continue
            cases = [self._cases[number] for number in numbers[0]]
            frames = torch.stack([self._frame(case) for case in cases]).to(self._device)
            predicted = method.predict(state, frames)
            for number, case, probabilities in zip(numbers[0], cases, predicted, strict=True):
                prediction = native_labels(probabilities, case.height, case.width)
                found = overlap(prediction, self._prepared.label(case), len(self._prepared.classes))
                scores[number] = torch.tensor(found, dtype=torch.float64)
        every = np.sum(
            self._team.each(*scores.flatten().tolist()), axis=0
        )  # a case has a score on one device
        dsc, iou = every.reshape(-1, 2).mean(axis=0)
        return Scores(float(dsc), float(iou), len(self._cases))

    def _batches(self) -> Iterator[range]:
        """Yield the numbers of the cases of each batch, the same batches however many devices there are."""
        for start in range(0, len(self._cases), self._batch):
            yield range(start, min(start + self._batch, len(self._cases)))

    def _frame(self, case: Case) -> Tensor:
        normalised = self._prepared.preprocessing is not None
        return self._frames.get(
            case.row,
            lambda: to_frame(self._prepared.image(case), self._size, normalised=normalised),
            lambda frame: frame.nbytes,
        )


def native_labels(probabilities: Tensor, height: int, width: int) -> NDArray[np.uint8]:
    """Stretch (L, S, S) probabilities to the native size (bilinear); return (height, width) classes."""
    native = F.interpolate(
        probabilities[None].float(), size=(height, width), mode="bilinear", align_corners=False
    )
    return native[0].max(dim=0).indices.to(torch.uint8).cpu().numpy()


def overlap(prediction: NDArray[np.uint8], reference: NDArray[np.uint8], classes: int) -> tuple[float, float]:
    """Return DSC and IoU, each averaged over the foreground classes.

    A class that neither mask has scores 1, one that only one of them has scores 0. Pixels whose reference is
    unknown do not count.

    Args:
        prediction: (H, W) class numbers.
        reference: (H, W) class numbers, or ``IGNORE``.
        classes: L, the background included.

    Example:
        >>> overlap(np.uint8([[1, 1, 0, 0]]), np.uint8([[1, 0, 0, 255]]), 2)
        (0.6666666666666666, 0.5)
    """
    known = reference != IGNORE
    dsc, iou = [], []
    for number in range(1, classes):
        predicted, wanted = (prediction == number) & known, reference == number
        counts = (int((predicted & wanted).sum()), int(predicted.sum()), int(wanted.sum()))
        dsc.append(dice_from_counts(*counts))
        iou.append(iou_from_counts(*counts))
    return float(np.mean(dsc)), float(np.mean(iou))
