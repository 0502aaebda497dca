"""In which direction masks err, as far as pairs agree on it: what few pairs show by chance is no habit.

Errors in both directions alike average out over many training masks. A direction does not: a table that doubts class c
in favor of r more than r in favor of c moves all outlines. So a few pairs that happen to err to one side do harm, and
what they show of a direction is shrunk by how little they agree. How much is wrong in both directions together stays,
but for errors of which pairs show next to nothing.
"""

import torch
from scipy.special import stdtrit
from torch import Tensor

from metadcseg.methods.calibrated.stand_ins import confused

_ONE_DEVIATION = 0.8413447460685429  # the normal distribution up to one standard deviation
_TINY = torch.finfo(torch.float32).tiny

LARGEST = 2.0
"""Errors of which pairs show next to nothing, beside many the other way, count at most twice."""


def scale_of_directions(pixels: Tensor, truly: Tensor) -> Tensor:
    """Return by how much errors between two classes count more or less than pairs show them, (L, L) float32.

    M_k(c, r) is the share of pair k that was given c and is truly r, of outlines alone: where a class is in one mask of
    the pair only, it was overlooked or invented as a whole. D_k(c, r) = M_k(c, r) - M_k(r, c), with mean D,
    standard error e over K pairs and t = D / e. Then the scale is

        (M(c, r) + M(r, c) + l D(c, r)) / (2 M(c, r)),    l = t^2 / (t^2 + t_1^2),    at most ``LARGEST``,

    where t_1 is Student's t, with K - 1 degrees of freedom, of one standard deviation: 1.84 for two pairs, 1.11 for
    six, 1.0 for many. So the direction is the mean of a normal posterior whose prior is as wide as what was seen: of a
    direction of one standard error half stays, of four 94 %.

    Args:
        pixels: of pairs by image, (K, L, L, B), K at least 2 (:meth:`.PairTable.seen`).
        truly: likewise.

    Returns:
        From 0.5 to ``LARGEST``; exactly 1 where pairs show no error from c to r: none is made up.

    Example:
        >>> pixels, truly = torch.ones(2, 2, 2, 1), torch.zeros(2, 2, 2, 1)
        >>> pixels[:, 0], pixels[:, 1] = 0.6, 0.4  # of each image 0.6 is given 0, 0.4 is given 1
        >>> truly[:, 0, 0], truly[:, 1, 1] = 0.6, 0.2
        >>> truly[:, 1, 0, 0] = torch.tensor([0.2, 0.2])  # both are too large, by half of what was given 1
        >>> scale_of_directions(pixels, truly)[1, 0].item()
        1.0
        >>> truly[0, 1, 0], truly[0, 0, 1] = 0.0, 0.1  # now the first is too small, by less: t is 1 / 3, t_1 1.84
        >>> scale_of_directions(pixels, truly).flatten().tolist()  # without shrinking the area 0.05 would go one way
        [1.0, 1.48..., 0.75..., 1.0]
    """
    overlooked, invented = (part.sum(dim=axes) == 0 for part, axes in ((pixels, (2, 3)), (truly, (1, 3))))
    found = confused(pixels, truly).masked_fill(overlooked.unsqueeze(1) | invented.unsqueeze(2), 0)
    found = found.cpu().double()  # Apple's GPUs have no double precision
    mean = found.mean(dim=0)
    net = found - found.transpose(1, 2)
    direction, error = net.mean(dim=0), net.std(dim=0) / len(net) ** 0.5
    least = float(stdtrit(len(net) - 1, _ONE_DEVIATION))
    kept = direction.square() / (direction.square() + (least * error).square()).clamp(min=_TINY)
    both = (mean + mean.T + kept * direction) / 2
    scale = torch.where(mean > 0, both / mean.clamp(min=_TINY), torch.ones_like(mean))
    return scale.clamp(max=LARGEST).float().to(pixels.device)
