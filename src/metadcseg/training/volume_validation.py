"""Scores on the validation volumes of a network of volumes."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metadcseg.data.loading.input_grid import InputCache
from metadcseg.data.loading.volume_dataset import Size, whole_volumes
from metadcseg.data.loading.volume_grid import input_to_stack, resize_stack_to_input
from metadcseg.data.store.reader import PreparedSet, StoredVolume
from metadcseg.methods.base import Method
from metadcseg.training.distributed.process_group import ProcessGroup
from metadcseg.training.prediction import predict_whole, prediction_state
from metadcseg.training.run.state import Scores
from metadcseg.training.validation import counts, native_labels, scores_of


class VolumeValidator:
    """Scores a network on the volumes of role ``val``, at the resolution of their slices; opens no other role.

    Args:
        prepared: where the volumes come from; their given labels are the reference.
        grid: (Z, S, S), the input grid in voxels.
        patch: size of the patches that the network takes, None for whole grids.
        device: where the network is.
        process_group: the devices among which the volumes are dealt; the scores are those of one device.
    """

    def __init__(
        self,
        prepared: PreparedSet,
        grid: Size,
        patch: Size | None,
        device: torch.device,
        process_group: ProcessGroup | None = None,
    ) -> None:
        self._prepared, self._process_group, self._device = prepared, process_group or ProcessGroup(), device
        self._volumes = whole_volumes(prepared, "val") if prepared.select("val") else ()
        self._grid, self._patch = grid, patch
        self._memory = InputCache[Tensor]()

    def __len__(self) -> int:
        return len(self._volumes)

    def score(self, method: Method, network: nn.Module, stop: Callable[[], bool]) -> Scores | None:
        """Return the scores; None where ``stop`` said so in between.

        Args:
            method: predicts.
            network: the same on all devices.
            stop: asked before every volume, as often on every device, and answers the same on all.

        Raises:
            InputError: naming case and file where stored bytes are damaged.
        """
        counted = np.zeros((len(self), len(self._prepared.classes) - 1, 3))
        devices, rank = self._process_group.world_size, self._process_group.rank
        for turn in range(0, len(self), devices):
            if stop():
                return None
            if (row := turn + rank) < len(self):
                counted[row] = self._count(method, network, row)
        every = np.sum(
            self._process_group.all_gather(*counted.ravel().tolist()), axis=0
        )  # a volume is counted on one device
        return scores_of(every.reshape(counted.shape))

    def _count(self, method: Method, network: nn.Module, row: int) -> NDArray[np.float64]:
        cases = self._prepared.slices_of(self._volumes[row])
        grid = self._memory.get(row, lambda: self._made(self._volumes[row]), lambda kept: kept.nbytes)
        grids = grid.unsqueeze(0).to(self._device)
        found = predict_whole(method, prediction_state(network), grids, self._patch)
        stack = input_to_stack(found[0].float(), len(cases))
        planes = zip(stack, cases, strict=True)
        predicted = np.stack([native_labels(plane, case.height, case.width) for plane, case in planes])
        given = np.stack([self._prepared.label(case) for case in cases])
        return counts(predicted, given, len(self._prepared.classes))

    def _made(self, volume: StoredVolume) -> Tensor:
        stack = [self._prepared.image(case) for case in self._prepared.slices_of(volume)]
        return resize_stack_to_input(stack, *self._grid[:2])
