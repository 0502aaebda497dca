"""What pairs say: how probable each class is at a pixel, by its given class and its distance to the other class.

A pair is a verified mask and the one that it replaced. For every ordered pair of classes c -> r and every bin b of the
distance d_r to the nearest pixel given r (:func:`.class_distances.class_distances`), T(c, r, b) is the share of the
pixels that were given c, lie in b, and are truly r. Images are the unit of evidence, so counts are kept by image.

An image in which no pixel was given r has a bin of its own: an object that was overlooked is another kind of error than
an outline that lies beside the true one, and far more probable there than beside an object that was drawn.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from metadcseg.algorithm.meta_weights import initial_weights
from metadcseg.errors import InputError
from metadcseg.methods.class_distances import class_distances
from metadcseg.methods.common import class_numbers
from metadcseg.methods.late_buffers import LateBuffers
from metadcseg.tensors import IGNORE, AllReduceMean, Batch, WeightMaps

DISTANCES = (1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 8.5, 10.5, 12.5)
"""Where the bins of the distance end, in pixels of a grid of 64 pixels; larger grids in proportion."""

FAR = len(DISTANCES)
"""The bin of all that is farther away."""

ABSENT = FAR + 1
"""The bin of images in which no pixel was given the class."""

BINS = ABSENT + 1
"""B, of distances and ``ABSENT``."""

LEAST = 1e-3
"""The least probability that a network's prediction counts for."""

OWN = 0.1
"""So much of the share that is left to the given class if all others doubt independently, it has at least."""


class PairTable(LateBuffers):
    """Counts over the pairs seen so far; images seen more than once (augmented) add up.

    Args:
        images: K, how many gold images there are.
        all_reduce_mean: over the devices that share every batch; on one device ``dict``, which changes nothing.

    Attributes:
        pixels: (K, L, L, B) float32, the share of an image's pixels that were given c and lie in bin b of the distance
            to r, summed over its visits; empty until the first batch tells L.
        truly: likewise, the part of them that is truly r.

    Example:
        >>> from metadcseg.warp import Warp
        >>> given, verified = torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 0, 0, 1]]])
        >>> pair = Batch(torch.zeros(1, 1, 1, 4), verified, torch.arange(1), Warp.identity(1), given=given)
        >>> table = PairTable(images=1)
        >>> table.update(pair, classes=2)
        >>> table.truly[0, 1, 0].sum().item(), table.pixels[0, 1, 0].sum().item()  # one of two given 1 is truly 0
        (0.25, 0.5)
    """

    pixels: Tensor
    truly: Tensor

    def __init__(self, images: int, all_reduce_mean: AllReduceMean = dict) -> None:
        super().__init__(pixels=("K", "L", "L", BINS), truly=("K", "L", "L", BINS))
        self._images = images
        self._all_reduce_mean = all_reduce_mean

    def check_classes(self, classes: int) -> None:
        """Raise unless what was loaded is of so many classes, and of K gold images (for each annotator).

        Raises:
            ValueError: where it is not.
        """
        super().check_classes(classes)
        if len(self.pixels) % self._images:
            raise ValueError(
                f"'pixels' holds {len(self.pixels)} pairs, where there are {self._images} gold images"
            )

    def update(self, gold: Batch, classes: int) -> None:
        """Take in the pairs of a gold batch; pixels that either mask ignores do not count.

        Raises:
            InputError: for an image whose number is not below K, or where a table of another K was loaded.
        """
        if int(gold.indices.max()) >= self._images:
            raise InputError(
                f"gold image {int(gold.indices.max())} is one too many: there were to be {self._images}"
            )
        device = gold.labels.device
        if not len(self.pixels):
            self.pixels = torch.zeros((self._images, classes, classes, BINS), device=device)
            self.truly = torch.zeros_like(self.pixels)
        if len(self.pixels) != self._images:
            raise InputError(f"the table that was loaded has {len(self.pixels)} pairs, not {self._images}")
        given = torch.full_like(gold.labels, IGNORE) if gold.given is None else gold.given
        valid = ((given != IGNORE) & (gold.labels != IGNORE)).unsqueeze(1)
        numbers = class_numbers(classes, given)
        image = gold.indices.to(device).view(-1, 1, *(1 for _ in given.shape[1:]))
        flat = (image * classes + given.unsqueeze(1).masked_fill(~valid, 0)) * classes + numbers
        flat = (flat * BINS + distance_bins(given, classes)).flatten()
        counted = (valid.float() / given[0].numel()).expand(-1, classes, *given.shape[1:])
        parts = {"pixels": counted, "truly": counted * (gold.labels.unsqueeze(1) == numbers)}
        empty = torch.zeros(self.pixels.numel(), device=device)
        found = self._all_reduce_mean(
            {name: empty.index_add(0, flat, part.flatten()) for name, part in parts.items()}
        )
        devices = gold.global_batch_size.world_size  # the mean over devices, times their number, is the sum
        self.pixels = self.pixels.to(device) + found["pixels"].view(self.pixels.shape) * devices
        self.truly = self.truly.to(device) + found["truly"].view(self.truly.shape) * devices

    def seen(self) -> tuple[Tensor, Tensor]:
        """Return ``pixels`` and ``truly`` of the pairs seen, (K', L, L, B) with K' <= K."""
        if not len(self.pixels):
            return self.pixels, self.truly
        chosen = self.pixels.flatten(1).sum(dim=1) > 0
        return self.pixels[chosen], self.truly[chosen]

    def pooled(self, least: int = 2, scale: Tensor | None = None, count: int | None = None) -> Tensor | None:
        """Return T of all pairs (:func:`error_table`), (L, L, B), 0 where c = r; None before so many were seen.

        Args:
            least: number of pairs.
            scale: of :func:`error_table`.
            count: how many pairs those seen stand for; None: as many as they are.
        """
        pixels, truly = self.seen()
        if len(pixels) < least:
            return None
        whole = pixels.sum(dim=0)
        return error_table(truly.sum(dim=0), whole, whole / (count or len(pixels)), scale)

    def shares(self, least: int = 2) -> Tensor | None:
        """Return the mean share of T over the distances (:func:`mean_shares`), (L, L); None as for :meth:`pooled`."""
        pixels, truly = self.seen()
        return mean_shares(truly.sum(dim=0), pixels.sum(dim=0)) if len(pixels) >= least else None


@dataclass(frozen=True)
class Trust:
    """What is known of every pixel of a batch.

    Args:
        weights: alpha of the given label and beta = 1 - alpha of the candidate.
        candidates: (N, H, W) int64, the most probable class but the given one.
    """

    weights: WeightMaps
    candidates: Tensor


def class_posterior(
    table: Tensor,
    labels: Tensor,
    bins: Tensor,
    probabilities: Tensor | None = None,
    log_odds: Tensor | None = None,
) -> Tensor:
    """Return the probability that each pixel is truly of each class, (N, L, H, W), by Bayes' rule.

    P(true = r | given c, distances, image) is proportional to T(c, r, b_r) q_r exp(o(c, r)), with T(c, c) = 1 - sum_r
    T(c, r, b_r) and o(c, c) = 0: what the pairs say times what a network says. Every class is counted at its own
    distance, so T of several may sum to more than 1; T(c, c) is at least 0.1 prod_r (1 - T(c, r, b_r)), which leaves
    the network a say. Where a table has no doubt, or the label is ``IGNORE``, the given class has exactly 1 whatever
    the network says.

    Args:
        table: T, (L, L, B) float, or (N, L, L, B), one for each image; 0 where c = r.
        labels: c, (N, H, W) int64 from 0 to L-1, or ``IGNORE`` (:func:`known_labels`).
        bins: b, (N, L, H, W) int64.
        probabilities: q, (N, L, H, W) float, at least ``LEAST`` is counted; None: the table alone.
        log_odds: o, (L, L) float, 0 where c = r, the correction of the network's say; None: 0.

    Example:
        >>> table = torch.zeros(2, 2, BINS)
        >>> table[1, 0, 0] = 0.75  # of the pixels given 1 beside a pixel given 0, three of four are truly 0
        >>> labels = torch.tensor([[[1]]])
        >>> bins = torch.zeros(1, 2, 1, 1, dtype=torch.long)
        >>> class_posterior(table, labels, bins).flatten().tolist()
        [0.75, 0.25]
        >>> q = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1)  # 0.75 * 0.25 against 0.25 * 0.75
        >>> class_posterior(table, labels, bins, q).flatten().tolist()
        [0.5, 0.5]
    """
    table = table.to(labels.device)  # read from a checkpoint it may still be elsewhere
    unknown = labels == IGNORE
    given = labels.masked_fill(unknown, 0)
    own = given.unsqueeze(1) == class_numbers(table.shape[-2], given)
    others = look_up(table, given, bins).masked_fill(unknown.unsqueeze(1), 0.0)
    rest = torch.maximum(1 - others.sum(dim=1, keepdim=True), OWN * (1 - others).prod(dim=1, keepdim=True))
    scores = torch.where(own, rest, others)
    if probabilities is not None:
        scores = scores * probabilities.clamp(min=LEAST)
    if log_odds is not None:
        scores = scores * log_odds.to(labels.device).exp()[given].movedim(-1, 1)
    found = scores / scores.sum(dim=1, keepdim=True).clamp(min=torch.finfo(scores.dtype).tiny)
    return torch.where(others.sum(dim=1, keepdim=True) > 0, found, own.to(found))


def trust_of(posterior: Tensor, labels: Tensor) -> Trust:
    """Return alpha, the posterior of the given class, beta = 1 - alpha and the most probable other class.

    Args:
        posterior: (N, L, H, W) float (:func:`class_posterior`).
        labels: (N, H, W) int64, class or ``IGNORE``.

    Example:
        >>> trust = trust_of(torch.tensor([0.5, 0.125, 0.375]).view(1, 3, 1, 1), torch.tensor([[[0]]]))
        >>> trust.weights.alpha.item(), trust.weights.beta.item(), trust.candidates.item()
        (0.5, 0.5, 2)
    """
    given = labels.masked_fill(labels == IGNORE, 0).unsqueeze(1)
    alpha = posterior.gather(1, given).squeeze(1)
    candidates = posterior.scatter(1, given, -1.0).max(dim=1).indices
    return Trust(WeightMaps(alpha, 1 - alpha), candidates)


def full_trust(labels: Tensor) -> Trust:
    """Return alpha = 1 everywhere: what is known before there are two pairs."""
    return Trust(initial_weights(labels.shape, labels.device), labels.masked_fill(labels == IGNORE, 0))


def known_labels(batch: Batch) -> Tensor:
    """Return the given labels, ``IGNORE`` also where no confidence at all is in them, (N, H, W) int64."""
    if batch.label_confidence is None:
        return batch.labels
    return batch.labels.masked_fill(batch.label_confidence == 0, IGNORE)


def distance_bins(labels: Tensor, classes: int) -> Tensor:
    """Return the bin of every pixel's distance to every class, (N, L, H, W) int64.

    Args:
        labels: (N, H, W) or (N, D, H, W) int64, class or ``IGNORE``.
        classes: L.

    Returns:
        From 0 to ``FAR``; ``ABSENT`` in the whole of an image without a pixel of the class.

    Example:
        >>> labels = torch.tensor([[[0] * 32 + [1] * 32]]).expand(1, 64, 64)
        >>> distance_bins(labels, 3)[0, 1:, 0, 27:33].tolist()
        [[4, 3, 2, 1, 0, 0], [10, 10, 10, 10, 10, 10]]
    """
    unit = max(labels.shape[1:]) / 64
    bounds = torch.tensor(DISTANCES, device=labels.device) * unit
    reach = max(1, int(DISTANCES[-1] * unit))
    distances = class_distances(labels, classes, reach)
    nearest = distances.amin(dim=tuple(range(2, distances.ndim)), keepdim=True)  # 0 at a pixel of the class
    return torch.bucketize(distances, bounds).masked_fill(nearest > 0, ABSENT)


def error_table(truly: Tensor, pixels: Tensor, mean: Tensor, scale: Tensor | None = None) -> Tensor:
    """Return T = truly / pixels, (..., L, L, B), 0 where c = r.

    Few pairs show a class that nobody drew, so T(c, r, absent) is shrunk to T(c, r, far), which counts like one mean
    pair. Where no pair shows it they are equal.

    Args:
        truly: of the pixels given c how many are truly r, (..., L, L, B) with distances and, last, ``ABSENT``.
        pixels: of which, likewise.
        mean: pixels of a mean pair, likewise.
        scale: (L, L), by how much errors at any distance count more or less; None: 1.

    Example:
        >>> pixels, truly = torch.ones(2, 2, 3), torch.zeros(2, 2, 3)
        >>> truly[0, 1] = torch.tensor([0.5, 0.25, 0.75])  # near, far, absent
        >>> error_table(truly, pixels, pixels / 3)[0, 1].tolist()  # beside 1 pixel of a mean pair: (0.75 + 0.25) / 2
        [0.5, 0.25, 0.5]
    """
    shares, one = error_shares(truly, pixels), mean.sum(dim=-1, keepdim=True)
    if scale is not None:
        shares = (shares * scale.unsqueeze(-1)).clamp(max=1)
    absent = error_shares(truly[..., -1:] + one * shares[..., -2:-1], pixels[..., -1:] + one)
    return torch.cat([shares[..., :-1], absent], dim=-1)


def mean_shares(truly: Tensor, pixels: Tensor) -> Tensor:
    """Return sum_b truly / sum_b pixels over the distances, not ``ABSENT``, (..., L, L), 0 where c = r.

    Args:
        truly: (..., L, L, B), as for :func:`error_table`.
        pixels: likewise.

    Example:
        >>> mean_shares(torch.ones(2, 2, 3), torch.full((2, 2, 3), 4.0)).tolist()
        [[0.0, 0.25], [0.25, 0.0]]
    """
    near = (each[..., :-1].sum(dim=-1, keepdim=True) for each in (truly, pixels))
    return error_shares(*near).squeeze(-1)


def error_shares(truly: Tensor, pixels: Tensor) -> Tensor:
    """Return truly / pixels, (..., L, L, B), 0 where c = r, or where there is no pixel.

    Args:
        truly: of the pixels given c how many are truly r, (..., L, L, B).
        pixels: of which, likewise.

    Example:
        >>> error_shares(torch.ones(2, 2, 1), torch.full((2, 2, 1), 4.0)).squeeze(-1).tolist()
        [[0.0, 0.25], [0.25, 0.0]]
    """
    own = torch.eye(pixels.shape[-2], dtype=torch.bool, device=pixels.device).unsqueeze(-1)
    return (truly / pixels.clamp(min=torch.finfo(torch.float32).tiny)).masked_fill(own, 0.0)


def look_up(table: Tensor, given: Tensor, bins: Tensor) -> Tensor:
    """Return the entry of every pixel and class r, table[c, r, b_r]: (N, L, H, W), 0 where r = c.

    Args:
        table: (L, L, B), or (N, L, L, B), one for each image.
        given: c, (N, H, W) int64 from 0 to L-1.
        bins: b, (N, L, H, W) int64.
    """
    classes, distances = table.shape[-2:]
    cells = (given.unsqueeze(1) * classes + class_numbers(classes, given)) * distances + bins
    if table.ndim == 4:
        image = torch.arange(len(table), device=given.device).view(-1, *(1 for _ in bins.shape[1:]))
        cells = cells + image * (classes * classes * distances)
    return table.flatten()[cells]
