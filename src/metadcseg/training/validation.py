"""Scores on the validation cases, by which the weights that a run keeps are chosen."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from metadcseg.constants import IGNORE
from metadcseg.data.loading.dataset import stacks_of
from metadcseg.data.loading.input_grid import InputCache, Size, input_to_stack, stack_to_input
from metadcseg.data.store.reader import Case, PreparedSet
from metadcseg.methods.base import Method
from metadcseg.metrics import dice_from_counts, iou_from_counts
from metadcseg.training.distributed.process_group import ProcessGroup
from metadcseg.training.prediction import predict_whole, prediction_state
from metadcseg.training.run.state import Scores


class Validator:
    """Scores a network on the role ``val``, at each case's native resolution; opens no other role.

    Slices of a volume are scored together: its counts are summed over them, since a slice without foreground is 0 or 1
    for a single pixel. The cases of the scores are then volumes.

    Args:
        prepared: where the validation cases come from; their given labels are the reference.
        grid: of the network, (S, S), or (Z, S, S) of one that sees whole volumes.
        batch: images per forward pass; volumes come one at a time.
        device: where the network is.
        process_group: the devices among which the batches are dealt; the scores are those of one device.
        patch: size of the patches that a network of volumes takes, None for whole grids.
    """

    def __init__(
        self,
        prepared: PreparedSet,
        grid: Size,
        batch: int,
        device: torch.device,
        process_group: ProcessGroup | None = None,
        patch: tuple[int, int, int] | None = None,
    ) -> None:
        self._prepared = prepared
        self._process_group = process_group or ProcessGroup()
        self._grid, self._patch, self._device = grid, patch, device
        volumes = len(grid) == 3
        self._batch = 1 if volumes else batch
        self._stacks: list[tuple[Case, ...]] = []
        if prepared.select("val"):
            self._stacks = list(stacks_of(prepared, "val", volumes=volumes).values())
        self._memory = InputCache[Tensor]()
        numbers: dict[str, int] = {}  # of whatever is scored as one
        self._units = [
            numbers.setdefault(cases[0].volume or cases[0].id, len(numbers)) for cases in self._stacks
        ]

    def __len__(self) -> int:
        return len(self._stacks)

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
        classes = len(self._prepared.classes)
        units = max(self._units, default=-1) + 1
        counted = np.zeros(
            (units, classes - 1, 3)
        )  # common, predicted and wanted pixels of every case and class
        starts, devices = range(0, len(self), self._batch), self._process_group.world_size
        for turn in range(0, len(starts), devices):
            if stop():
                return None
            for start in starts[turn + self._process_group.rank : turn + self._process_group.rank + 1]:
                numbers = range(start, min(start + self._batch, len(self)))
                grids = torch.stack([self._made(number) for number in numbers]).to(self._device)
                found = predict_whole(method, state, grids, self._patch)
                for number, maps in zip(numbers, found, strict=True):
                    counted[self._units[number]] += self._count(maps, self._stacks[number])
        every = np.sum(
            self._process_group.all_gather(*counted.ravel().tolist()), axis=0
        )  # a case is counted on one device
        return scores_of(every.reshape(counted.shape))

    def _count(self, maps: Tensor, cases: Sequence[Case]) -> NDArray[np.float64]:
        """Return the counts of a case, or of all slices of a volume together."""
        classes = len(self._prepared.classes)
        total = np.zeros((classes - 1, 3))
        for plane, case in zip(input_to_stack(maps.float(), len(cases)), cases, strict=True):
            prediction = native_labels(plane, case.height, case.width)
            total += counts(prediction, self._prepared.label(case), classes)
        return total

    def _made(self, number: int) -> Tensor:
        normalized = self._prepared.preprocessing is not None

        def made() -> Tensor:
            stack = [self._prepared.image(case) for case in self._stacks[number]]
            return stack_to_input(stack, self._grid, normalized=normalized)

        return self._memory.get(number, made, lambda grid: grid.nbytes)


def native_labels(probabilities: Tensor, height: int, width: int) -> NDArray[np.uint8]:
    """Stretch (L, S, S) probabilities to the native size (bilinear); return (height, width) classes."""
    native = F.interpolate(
        probabilities[None].float(), size=(height, width), mode="bilinear", align_corners=False
    )
    return native[0].max(dim=0).indices.to(torch.uint8).cpu().numpy()


def counts(prediction: NDArray[np.uint8], reference: NDArray[np.uint8], classes: int) -> NDArray[np.float64]:
    """Return how many pixels each foreground class has in common, in the prediction and in the reference.

    Args:
        prediction: class numbers, of any shape.
        reference: class numbers or ``IGNORE``, of the same shape; pixels that are unknown do not count.
        classes: L, the background included.

    Returns:
        (L - 1, 3).

    Example:
        >>> counts(np.uint8([[1, 1, 0, 0]]), np.uint8([[1, 0, 0, 255]]), 2).tolist()
        [[1.0, 2.0, 1.0]]
    """
    known = reference != IGNORE
    found = []
    for number in range(1, classes):
        predicted, wanted = (prediction == number) & known, reference == number
        found.append(((predicted & wanted).sum(), predicted.sum(), wanted.sum()))
    return np.array(found, dtype=np.float64)


def scores_of(counted: NDArray[np.float64]) -> Scores:
    """Return the scores of cases, each averaged over the foreground classes.

    A class that neither mask has scores 1, one that only one of them has scores 0.

    Args:
        counted: (cases, L - 1, 3), see :func:`counts`.

    Example:
        >>> scores_of(np.array([[[1.0, 2.0, 1.0]], [[0.0, 0.0, 0.0]]])).dsc
        0.8333333333333333
    """
    dsc, iou = (
        np.mean([[score(*map(int, held)) for held in case] for case in counted], axis=1).mean()
        for score in (dice_from_counts, iou_from_counts)
    )
    return Scores(float(dsc), float(iou), len(counted))
