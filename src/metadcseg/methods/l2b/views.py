"""Five views of every image, and pseudo-labels that average over them, as the segmentation script of L2B has it.

Yuyin Zhou et al., "L2B: Learning to Bootstrap Robust Models for Combating Label Noise", CVPR 2024, and the
script published with it. In place of one class and a threshold: any number of classes, the most probable one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from metadcseg.tensors import IGNORE, Batch
from metadcseg.warp import Mode, Warp


@dataclass(frozen=True)
class View:
    """One view of each image of a batch.

    Args:
        warp: N maps, from the view's coordinates to the image's.
        mode: ``"nearest"`` where the view's pixels are those of the image, so that copying is exact.
    """

    warp: Warp
    mode: Mode


def own_view(count: int, axes: int = 2) -> View:
    """Return the view of ``count`` images (of 3 ``axes``: volumes) as they are."""
    return View(Warp.identity(count, axes), "nearest")


def draw_views(
    generators: Sequence[Generator], size: Sequence[int], least: float, most: float
) -> tuple[View, ...]:
    """Draw the five views of a batch: as it is, zoomed in, zoomed out twice, mirrored.

    Zooming in by m pixels shows the center of the image enlarged to height + 2 m by width + 2 m; zooming out
    shows all of it shrunk to height - 2 m by width - 2 m. Each m is a whole number of pixels, drawn evenly from
    ``least`` to ``most`` of the shortest side, at least 1 and below half of that side; the two of zooming out
    differ wherever there are two such numbers. The mirror is left-right, top-bottom or both, and in volumes any
    of the seven that there are.

    Args:
        generators: one for each image, so that its views do not depend on who else is in the batch.
        size: (H, W) of the grid in pixels, each at least 3.
        least: of the shortest side, at least 0.
        most: of the shortest side, at least ``least``.

    Returns:
        Five views of ``len(generators)`` images.

    Example:
        >>> views = draw_views([Generator().manual_seed(0)], (144, 144), 0.03, 0.21)
        >>> [view.mode for view in views]
        ['nearest', 'bilinear', 'bilinear', 'bilinear', 'nearest']
    """
    side = min(size)
    flips = 2 ** len(size) - 1  # all but none
    low, high = (min(max(round(share * side), 1), (side - 1) // 2) for share in (least, most))
    scales: list[list[list[float]]] = []  # image -> x and y of four views
    for generator in generators:
        zoom_in = int(torch.randint(low, high + 1, (), generator=generator))
        out_first, out_second = (torch.randperm(high + 1 - low, generator=generator)[[0, -1]] + low).tolist()
        mirrored = 1 + int(torch.randint(flips, (), generator=generator))  # one bit for each axis, x first
        flip = [-1.0 if mirrored >> axis & 1 else 1.0 for axis in range(len(size))]
        margins = (zoom_in, -out_first, -out_second)
        zooms = [[length / (length + 2 * m) for length in reversed(size)] for m in margins]
        scales.append([*zooms, flip])
    zoomed_and_flipped = [
        View(_about_the_center([own[number] for own in scales]), "nearest" if number == 3 else "bilinear")
        for number in range(4)
    ]
    return (own_view(len(generators), len(size)), *zoomed_and_flipped)


def view_batch(views: Sequence[View], batch: Batch) -> Batch:
    """Return a batch of every view of every image, the views of an image side by side.

    Beyond the image's edge a view shows 0, the mean of a normalized image, labeled background. Elsewhere the
    classes are resampled like the image, and the one with the largest share wins (of two classes, the
    foreground where it has more than half). A pixel that any ignored pixel has a share in is ignored, and all of an
    image that is ignored altogether.

    Args:
        views: K views.
        batch: N images.

    Returns:
        N K images without replaced masks; a whole batch, also where the one given is a part. Trust and edges are
        those of the nearest pixel; beyond the image's edge trust is whole, and there is no edge.

    Example:
        >>> image, labels = torch.ones(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)
        >>> one = Batch(image, labels, torch.tensor([7]), Warp.identity(1))
        >>> view_batch([own_view(1), own_view(1)], one).indices.tolist()
        [7, 7]
    """
    return Batch(
        _stacked([view.warp.apply(batch.images, view.mode) for view in views]),
        _labels_in(views, batch.labels),
        batch.indices.repeat_interleave(len(views)),
        Warp(_stacked([batch.warp.after(view.warp).matrix for view in views])),
        edges=_nearest_in(views, batch.edges, fill=0.0),
        label_confidence=_nearest_in(views, batch.label_confidence, fill=1.0),
    )


def averaged_pseudo_labels(views: Sequence[View], probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the most probable class of every pixel by the average over an image's views.

    Each view's probabilities are brought back to the image's grid, averaged there, and the average is seen
    through each view again. What a view does not show, since it is zoomed in, counts as background in it;
    where it shows an ignored pixel, it does not vote. Pixels beyond the image's edge become background.

    Args:
        views: K views.
        probabilities: (N K, L, H, W) of the views, float, from 0 to 1, in the order of :func:`view_batch`.
        labels: (N K, H, W) of the views, in the same order; only ``IGNORE`` counts.

    Returns:
        (N K, H, W) int64, without gradient; what it says of ignored pixels has no meaning.

    Example:
        >>> sure = torch.tensor([0.2, 0.8]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
        >>> averaged_pseudo_labels([own_view(1)], sure, torch.zeros(1, 4, 4, dtype=torch.int64)).unique().tolist()
        [1]
    """
    _, classes, *size = probabilities.shape
    foreground = probabilities.detach()[:, 1:].float()
    foreground = foreground.reshape(-1, len(views), classes - 1, *size)  # (N, K, L-1, H, W)
    counts = (labels != IGNORE).view(-1, len(views), 1, *size)
    total = torch.zeros_like(foreground[:, 0])
    voters = torch.zeros_like(total[:, :1])
    for number, view in enumerate(views):
        back = view.warp.inverse()
        shows = view.warp.inside(size).to(labels.device).unsqueeze(1) & counts[:, number]
        seen = torch.cat([foreground[:, number].masked_fill(~shows, 0.0), shows.float()], dim=1)
        moved = back.apply(seen, view.mode)
        share = moved[:, -1:]  # 1 but at borders, where the pixels that count make up the whole
        votes = share > 0
        total += torch.where(votes, moved[:, :-1] / share.clamp(min=torch.finfo(share.dtype).tiny), 0.0)
        voters += (votes | ~back.inside(size).to(labels.device).unsqueeze(1)).float()
    average = total / voters.clamp(min=1.0)
    return _stacked([_most_probable(view.warp.apply(average, view.mode)) for view in views])


def _labels_in(views: Sequence[View], labels: Tensor) -> Tensor:
    ignored = labels == IGNORE
    # classes that no pixel has are left out: their share is 0 wherever one looks
    one_hot = F.one_hot(labels.masked_fill(ignored, 0)).movedim(-1, 1)  # (N, L, H, W)
    maps = torch.cat([one_hot[:, 1:], ignored.unsqueeze(1)], dim=1).float()
    # of an image that is ignored altogether, nothing counts beyond its edge, either
    absent = ignored.flatten(1).all(dim=1).view(-1, *[1] * (labels.ndim - 1))

    def seen_in(view: View) -> Tensor:
        moved = view.warp.apply(maps, view.mode)
        return _most_probable(moved[:, :-1]).masked_fill((moved[:, -1] > 0) | absent, IGNORE)

    return _stacked([seen_in(view) for view in views])


def _nearest_in(views: Sequence[View], maps: Tensor | None, fill: float) -> Tensor | None:
    if maps is None:
        return None
    return _stacked([view.warp.apply(maps.unsqueeze(1), "nearest", fill=fill)[:, 0] for view in views])


def _about_the_center(scales: Sequence[Sequence[float]]) -> Warp:
    linear = torch.diag_embed(torch.tensor(scales))
    return Warp(torch.cat([linear, torch.zeros_like(linear[:, :, :1])], dim=2))


def _most_probable(foreground: Tensor) -> Tensor:
    """Return the class with the largest share, given those of classes 1 .. L-1; the lowest where they tie."""
    background = 1.0 - foreground.sum(dim=1, keepdim=True)
    return torch.cat([background, foreground], dim=1).max(dim=1).indices


def _stacked(maps: Sequence[Tensor]) -> Tensor:
    """Return K tensors (N, ...) as one (N K, ...) in which those of one image lie side by side."""
    return torch.stack(list(maps), dim=1).flatten(0, 1)
