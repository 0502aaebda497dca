"""Weights that pixels share which look alike: one number for each cell of a table, learned from all of them.

One gold batch says little about one pixel, but much about, say, "foreground by the given label, background by the
network, 3 pixels inside the outline". A cell is (given class, its runner-up, probability of the given class beside it,
distance to the outline of the given label); the runner-up is the most probable other class. In every cell alpha +
beta = 1 (3.2.3 of the paper), and only pixels whose runner_up is probable enough are asked about.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from metadcseg.methods.binned.prediction import Prediction
from metadcseg.methods.late_buffers import LateBuffers
from metadcseg.tensors import IGNORE, AllReduceMean, Batch, PixelGradients, WeightMaps

PROBABILITIES = 10
"""How many bins the probability of the given class beside its runner-up has."""

DISTANCES = (2.0, 3.0, 4.0, 6.0, 8.0)
"""Where the bins of the distance to the outline end, in pixels of a grid of 64 pixels; larger grids in proportion."""

PRIOR = 2.0
"""What a cell says before anything is known: alpha = sigmoid(2) = 0.88, so that the label is believed at first."""

PRIOR_AGREED = 4.0
"""The same where the network finds the given class more probable than the other one: 0.98."""

CHANCE = 3.0
"""So far from 0 z says nothing: gold gradients of successive steps are alike, so that chance alone goes that far."""

EVIDENCE = 4.0
"""How much of a logit each unit of z beyond is worth; both chosen on validation (docs/results/recipe.md)."""

FORGET = 0.99
"""How much of a cell's sums stays at each update that finds pixels of it, and of its count at every update."""


class BinnedWeights(LateBuffers):
    """A table of one number z per cell; alpha = sigmoid(prior + evidence), beta = 1 - alpha.

    Evidence is z beyond ``CHANCE``, times ``EVIDENCE``. z is the running sum of the cell's mean meta-gradients, with
    the sign of descent, over the root of the running sum of their squares: gradients that keep their sign drive it up
    to 10, gradients that are noise leave it near 0. So neither learning rate nor image size plays a part, and there is
    no meta-learning rate to choose.

    Args:
        all_reduce_mean: over the devices that share every batch; on one device ``dict``, which changes nothing.
        min_runner_up_probability: least part that the runner-up has of the probability of both, where a pixel is
            asked about.
        discount_symmetric_noise: whether a label is believed where the opposite mistake is about as frequent:
            distrust that a cell has in
            common with its mirror image (given class and runner-up exchanged) is taken back, times the pixels of the
            rarer cell over those of the more frequent one. Such mistakes cancel out in what a network learns.

    What it is given as prediction is that against the given labels (:meth:`Prediction.against`). What it has learned is
    in three buffers, which are empty until the first batch tells how many classes there are.
    """

    sums: Tensor
    squares: Tensor
    counts: Tensor

    def __init__(
        self, all_reduce_mean: AllReduceMean, min_runner_up_probability: float, discount_symmetric_noise: bool
    ) -> None:
        cells = ("L", "L", PROBABILITIES, len(DISTANCES) + 1)
        super().__init__(sums=cells, squares=cells, counts=cells)
        self._all_reduce_mean = all_reduce_mean
        self._min_runner_up_probability = min_runner_up_probability
        self._discount_symmetric_noise = discount_symmetric_noise

    @property
    def table(self) -> Tensor:
        """Alpha of every cell, (given class, runner-up, probability, distance); empty before the first batch."""
        z = self.sums / self.squares.sqrt().clamp(min=torch.finfo(torch.float32).tiny)
        evidence = EVIDENCE * F.softshrink(z, CHANCE)
        if self._discount_symmetric_noise and len(z):
            evidence = evidence - self._in_common(evidence)
        prior = torch.full((PROBABILITIES, 1), PRIOR, device=self.sums.device)
        prior[PROBABILITIES // 2 :] = PRIOR_AGREED
        return torch.sigmoid(prior + evidence)

    def read(self, batch: Batch, prediction: Prediction) -> WeightMaps:
        """Return alpha and beta of every pixel: (1, 0) where the runner-up is too improbable or the label unknown."""
        return self._look_up(*self._cells(batch, prediction))

    def update(self, batch: Batch, prediction: Prediction, gradients: PixelGradients) -> WeightMaps:
        """Let every cell that the batch holds take one step, and return the new weights."""
        cells, asked = self._cells(batch, prediction)
        chosen = cells[asked]
        wanted = (gradients.beta - gradients.alpha)[asked].float()  # what trust in the label is good for
        size, shape = self.sums.numel(), self.sums.shape
        found = self._all_reduce_mean(
            {
                "sum": torch.zeros(size, device=cells.device).index_add_(0, chosen, wanted),
                "count": torch.bincount(chosen, minlength=size).float(),
            }
        )
        count = found["count"].view(shape).to(self.sums)
        held = count > 0
        mean = found["sum"].view(shape).to(self.sums) / count.clamp(min=torch.finfo(torch.float32).tiny)
        self.counts = (
            FORGET * self.counts + count * batch.global_batch_size.world_size
        )  # found is a mean over devices
        # of any size: only ratios within a cell count, and squares of 1e-23 would be 0 in float32
        self.sums = torch.where(held, FORGET * self.sums + mean * _SCALE, self.sums)
        self.squares = torch.where(held, FORGET * self.squares + (mean * _SCALE).square(), self.squares)
        return self._look_up(cells, asked)

    def _in_common(self, evidence: Tensor) -> Tensor:
        """Return the distrust (at most 0) that cells share with mirror images, as far as these are as frequent."""
        count, mirrored = self.counts, self.counts.transpose(0, 1)
        larger = torch.maximum(count, mirrored).clamp(min=torch.finfo(torch.float32).tiny)
        shared = torch.maximum(evidence, evidence.transpose(0, 1)).clamp(max=0)
        return shared * torch.minimum(count, mirrored) / larger

    def _look_up(self, cells: Tensor, asked: Tensor) -> WeightMaps:
        alpha = self.table.to(cells.device).flatten()[cells].masked_fill(~asked, 1.0)
        return WeightMaps(alpha, 1.0 - alpha)

    def _cells(self, batch: Batch, prediction: Prediction) -> tuple[Tensor, Tensor]:
        """Return the cell of every pixel, (N, H, W) int64, and where the table is asked, bool."""
        labels = (
            batch.labels
            if batch.label_confidence is None
            else batch.labels.masked_fill(batch.label_confidence == 0, IGNORE)
        )
        valid = labels != IGNORE
        given = labels.masked_fill(~valid, 0)
        trusted = prediction.probabilities.gather(1, given.unsqueeze(1)).squeeze(1).float()
        runner_up = prediction.probabilities.gather(1, prediction.labels.unsqueeze(1)).squeeze(1).float()
        trusted = trusted / (trusted + runner_up)
        level = (trusted * PROBABILITIES).long().clamp(0, PROBABILITIES - 1)
        classes = prediction.probabilities.shape[1]
        levels, distances = PROBABILITIES, len(DISTANCES) + 1
        if not len(self.sums):
            self.sums = self.sums.new_zeros(classes, classes, levels, distances)
            self.squares, self.counts = torch.zeros_like(self.sums), torch.zeros_like(self.sums)
        cell = given * classes + prediction.labels
        cell = (cell * levels + level) * distances + outline_distance(labels)
        return cell, valid & (given != prediction.labels) & (trusted <= 1 - self._min_runner_up_probability)


_SCALE = 1e6  # gradients with respect to a pixel's weight are that much smaller than 1


def outline_distance(labels: Tensor) -> Tensor:
    """Return in which bin of ``DISTANCES`` a pixel lies: how far it is to the nearest pixel of another class.

    The distance is that of the larger of the steps along the axes (Chebyshev), which a device finds without the host.

    Args:
        labels: (N, H, W) int64, class or ``IGNORE``; pixels that are ignored have no class and make no outline.

    Returns:
        (N, H, W) int64 from 0 to ``len(DISTANCES)``, the last for all that is farther away.

    Example:
        >>> row = torch.tensor([[[0] * 5 + [1] * 59]]).expand(1, 64, 64)
        >>> outline_distance(row)[0, 0, :10].tolist()
        [3, 2, 1, 0, 0, 0, 0, 1, 2, 3]
    """
    pool = F.max_pool2d if labels.ndim == 3 else F.max_pool3d
    unit = max(labels.shape[1:]) / 64
    reaches = [max(1, round(bound * unit)) for bound in DISTANCES]
    ignored = labels == IGNORE
    highest = labels.masked_fill(ignored, -1).unsqueeze(1).float()
    lowest = (-labels).masked_fill(ignored, -IGNORE).unsqueeze(1).float()
    found = torch.full_like(labels, len(DISTANCES))
    reached = 0
    for number, reach in enumerate(reaches):
        for _ in range(reach - reached):
            highest, lowest = pool(highest, 3, 1, 1), pool(lowest, 3, 1, 1)
        reached = reach
        near = (highest != -lowest).squeeze(1) & (found == len(DISTANCES))
        found = found.masked_fill(near, number)
    return found
