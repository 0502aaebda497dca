"""The five views and the pseudo-labels averaged over them, against loops over pixels."""

import numpy as np
import pytest
import torch
from tests.reference import views as loops
from torch import Generator

from metadcseg.methods.l2b.views import (
    View,
    averaged_pseudo_labels,
    draw_views,
    own_view,
    view_batch,
)
from metadcseg.tensors import IGNORE, Batch
from metadcseg.warp import Warp

HEIGHT, WIDTH = 12, 14
# image -> margin inwards, two margins outwards, the axes that are mirrored
DRAWN = [(2, (1, 3), (1,)), (3, (4, 2), (0, 1))]


def scaled(pairs: list[tuple[float, float]]) -> Warp:
    return Warp(torch.tensor([[[x, 0.0, 0.0], [0.0, y, 0.0]] for x, y in pairs]))


def views_of(drawn: list[tuple[int, tuple[int, int], tuple[int, ...]]]) -> list[View]:
    """The views with margins of our choice."""
    margins = [(zoom_in, -out[0], -out[1]) for zoom_in, out, _ in drawn]
    zooms = [
        View(
            scaled([(WIDTH / (WIDTH + 2 * own[k]), HEIGHT / (HEIGHT + 2 * own[k])) for own in margins]),
            "bilinear",
        )
        for k in range(3)
    ]
    flips = [(-1.0 if 1 in axes else 1.0, -1.0 if 0 in axes else 1.0) for _, _, axes in drawn]
    return [own_view(len(drawn)), *zooms, View(scaled(flips), "nearest")]


def smooth(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random maps with values on both sides of one half."""
    return torch.rand(*shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def each(images: torch.Tensor) -> list[list[np.ndarray]]:
    """The five views of every (H, W) image, by the reference."""
    return [loops.views(image.numpy(), *how) for image, how in zip(images, DRAWN, strict=True)]


def batch_of(images: torch.Tensor, labels: torch.Tensor | None = None) -> Batch:
    count, _, height, width = images.shape
    if labels is None:
        labels = torch.zeros(count, height, width, dtype=torch.int64)
    return Batch(images, labels, torch.arange(3, 3 + count), Warp.identity(count))


def view_images(views: list[View], images: torch.Tensor) -> torch.Tensor:
    return view_batch(views, batch_of(images)).images


def view_labels(views: list[View], labels: torch.Tensor) -> torch.Tensor:
    return view_batch(views, batch_of(torch.zeros(len(labels), 1, *labels.shape[1:]), labels)).labels


# Drawing


def margins(view: View, side: int) -> list[int]:
    """How many pixels each of a view's images was zoomed by, at each side."""
    exact = side / view.warp.matrix[:, 0, 0].double() / 2 - side / 2
    assert (exact - exact.round()).abs().max() < 1e-3
    return exact.round().int().abs().tolist()


def drawn(side: int, least: float = 0.03, most: float = 0.21, count: int = 400) -> tuple[View, ...]:
    return draw_views([Generator().manual_seed(seed) for seed in range(count)], (side, side), least, most)


def test_margins_are_those_of_the_script_at_its_frame() -> None:
    views = drawn(144)
    for view in views[1:4]:
        assert set(margins(view, 144)) == set(range(4, 31))
    assert (views[1].warp.matrix[:, 0, 0] < 1).all()
    assert all((view.warp.matrix[:, 0, 0] > 1).all() for view in views[2:4])
    pairs = zip(margins(views[2], 144), margins(views[3], 144), strict=True)
    assert all(one != other for one, other in pairs)
    flips = {tuple(own.diagonal().tolist()) for own in views[4].warp.matrix}
    assert flips == {(-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)}


@pytest.mark.parametrize(
    ("side", "least", "most", "expected"),
    [(64, 0.03, 0.21, range(2, 14)), (16, 0.0, 0.499, range(1, 8)), (8, 0.03, 0.1, [1]), (3, 0.0, 0.4, [1])],
)
def test_margins_stay_within_small_frames(side, least, most, expected) -> None:
    for view in drawn(side, least, most)[1:4]:
        assert set(margins(view, side)) == set(expected)
        shown = view.warp.inside((side, side))
        assert shown.flatten(1).any(dim=1).all()


def test_views_of_an_image_do_not_depend_on_its_batch() -> None:
    pair = draw_views([Generator().manual_seed(1), Generator().manual_seed(2)], (64, 64), 0.03, 0.21)
    alone = draw_views([Generator().manual_seed(2)], (64, 64), 0.03, 0.21)
    for one, other in zip(pair, alone, strict=True):
        assert torch.equal(one.warp.matrix[1:], other.warp.matrix)


# Images and labels


def test_images_are_those_of_the_loops() -> None:
    images = smooth(2, 1, HEIGHT, WIDTH).float()
    got = view_images(views_of(DRAWN), images).view(2, 5, HEIGHT, WIDTH)
    for mine, expected in zip(got, each(images[:, 0]), strict=True):
        for view, other in zip(mine, expected, strict=True):
            np.testing.assert_allclose(view.numpy(), other, atol=2e-6)
    assert torch.equal(got[:, 0], images[:, 0])
    assert torch.equal(got[0, 4], images[0, 0].flip(1))


def test_labels_are_the_foreground_where_it_has_more_than_half() -> None:
    labels = (smooth(2, HEIGHT, WIDTH) > 0.5).long()
    assert set(labels.unique().tolist()) == {0, 1}
    got = view_labels(views_of(DRAWN), labels).view(2, 5, HEIGHT, WIDTH)
    compared = 0
    for mine, expected in zip(got, each(labels.double()), strict=True):
        for view, share in zip(mine, expected, strict=True):
            clear = abs(share - 0.5) > 1e-5
            np.testing.assert_array_equal(view.numpy()[clear], (share > 0.5)[clear])
            compared += clear.sum()
    assert compared > 0.9 * got.numel()


def test_of_several_classes_the_largest_share_wins() -> None:
    labels = torch.randint(0, 4, (2, HEIGHT, WIDTH), generator=Generator().manual_seed(1))
    got = view_labels(views_of(DRAWN), labels).view(2, 5, HEIGHT, WIDTH)
    shares = np.array([each((labels == number).double()) for number in range(1, 4)])  # (3, N, K, H, W)
    shares = np.concatenate([1 - shares.sum(axis=0, keepdims=True), shares])
    ranked = np.sort(shares, axis=0)
    clear = ranked[-1] - ranked[-2] > 1e-5
    np.testing.assert_array_equal(got.numpy()[clear], shares.argmax(axis=0)[clear])
    assert set(got.unique().tolist()) == {0, 1, 2, 3}
    assert clear.mean() > 0.9


def test_a_pixel_with_a_share_of_an_ignored_one_is_ignored() -> None:
    labels = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.int64)
    labels[:, 4:6, 3:8] = IGNORE
    got = view_labels(views_of(DRAWN), labels).view(2, 5, HEIGHT, WIDTH)
    for mine, expected in zip(got, each((labels == IGNORE).double()), strict=True):
        for view, share in zip(mine, expected, strict=True):
            np.testing.assert_array_equal((view == IGNORE).numpy(), share > 0)
    assert torch.equal(got[:, 0], labels)


def test_what_lies_under_ignored_pixels_is_seen_in_no_pixel_that_counts() -> None:
    labels = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.int64)
    labels[:, 4:6, 3:8] = IGNORE
    views, images = views_of(DRAWN), smooth(2, 1, HEIGHT, WIDTH)
    counts = view_labels(views, labels) != IGNORE
    seen = [
        view_images(views, images.masked_fill((labels == IGNORE).unsqueeze(1), filler))[:, 0]
        for filler in (0.0, 1e6)
    ]
    assert torch.equal(seen[0][counts], seen[1][counts])
    assert not torch.equal(seen[0], seen[1])


def test_a_batch_of_views_knows_where_each_comes_from() -> None:
    views = views_of(DRAWN)
    turned = Warp(torch.tensor([[[0.0, -1.0, 0.25], [1.0, 0.0, 0.0]], [[0.5, 0.0, 0.0], [0.0, 1.0, -0.5]]]))
    grid = Batch(
        smooth(2, 1, HEIGHT, WIDTH).float(),
        torch.zeros(2, HEIGHT, WIDTH).long(),
        torch.tensor([8, 5]),
        turned,
    )
    seen = view_batch(views, grid)
    assert seen.indices.tolist() == [8] * 5 + [5] * 5
    own = torch.tensor([0.3, -0.7, 1.0])  # x, y and 1 of a point in a view
    for number, matrix in enumerate(seen.warp.matrix):
        image, view = divmod(number, 5)
        inner = torch.cat([views[view].warp.matrix[image] @ own, torch.ones(1)])
        torch.testing.assert_close(matrix @ own, turned.matrix[image] @ inner)


# Averaged pseudo-labels


def stacked(foreground: torch.Tensor) -> torch.Tensor:
    """(N K, L-1, H, W) foreground probabilities with the background in front."""
    return torch.cat([1 - foreground.sum(dim=1, keepdim=True), foreground], dim=1)


def expected_average(foreground: torch.Tensor) -> np.ndarray:
    """(N, H, W): the mean over views of one class, by the reference."""
    own = foreground.view(2, 5, HEIGHT, WIDTH).numpy()
    return np.array([loops.average(list(seen), *how) for seen, how in zip(own, DRAWN, strict=True)])


def test_two_classes_are_parted_at_one_half_of_the_average() -> None:
    foreground = smooth(10, 1, HEIGHT, WIDTH, seed=3) ** 0.5  # on both sides of one half, also at the border
    labels = torch.zeros(10, HEIGHT, WIDTH, dtype=torch.int64)
    got = averaged_pseudo_labels(views_of(DRAWN), stacked(foreground), labels).view(2, 5, HEIGHT, WIDTH)
    average = expected_average(foreground)
    agreed = 0
    for mine, own, how in zip(got, average, DRAWN, strict=True):
        for view, expected in zip(mine, loops.views(own, *how), strict=True):
            clear = abs(expected - 0.5) > 1e-5
            np.testing.assert_array_equal(view.numpy()[clear], (expected > 0.5)[clear])
            agreed += clear.sum()
    assert agreed > 0.99 * got.numel()
    assert 0.2 < got.double().mean() < 0.8
    assert (got[:, 0] != (foreground.view(2, 5, HEIGHT, WIDTH)[:, 0] > 0.5)).any()  # the others had a say


def test_of_several_classes_the_most_probable_on_average() -> None:
    probabilities = (4 * smooth(10, 3, HEIGHT, WIDTH, seed=4)).softmax(dim=1)
    labels = torch.zeros(10, HEIGHT, WIDTH, dtype=torch.int64)
    got = averaged_pseudo_labels(views_of(DRAWN), probabilities, labels).view(2, 5, HEIGHT, WIDTH)
    averages = np.stack([expected_average(probabilities[:, [number]]) for number in (1, 2)])
    averages = np.concatenate([1 - averages.sum(axis=0, keepdims=True), averages])
    ranked = np.sort(averages, axis=0)
    clear = ranked[-1] - ranked[-2] > 1e-5
    np.testing.assert_array_equal(got[:, 0].numpy()[clear], averages.argmax(axis=0)[clear])
    assert set(got[:, 0].unique().tolist()) == {0, 1, 2}


def test_shrinking_before_padding_differs_from_the_script_in_a_ring_of_one_pixel() -> None:
    view = smooth(HEIGHT, WIDTH).numpy()
    ours, printed = loops.back_from_zoom_in(view, 2), loops.back_from_zoom_in_as_printed(view, 2)
    shown = loops.back_from_zoom_in(np.ones_like(view), 2) > 0
    rows, columns = np.where(shown)
    inner = np.zeros_like(shown)
    inner[rows.min() + 1 : rows.max(), columns.min() + 1 : columns.max()] = True
    np.testing.assert_allclose(ours[inner], printed[inner], atol=1e-12)
    ring = np.zeros_like(shown)
    ring[rows.min() - 1 : rows.max() + 2, columns.min() - 1 : columns.max() + 2] = True
    assert (ours[~ring] == 0).all()
    assert (printed[~ring] == 0).all()
    assert not np.allclose(ours, printed)


def test_beyond_what_a_zoomed_view_shows_it_votes_for_background() -> None:
    """Three of five views are sure of the foreground; at the border the zoomed-in one of them shows nothing."""
    foreground = torch.zeros(10, 1, HEIGHT, WIDTH).view(2, 5, HEIGHT, WIDTH)
    foreground[:, [0, 1, 4]] = 1.0
    got = averaged_pseudo_labels(
        views_of(DRAWN), stacked(foreground.view(10, 1, HEIGHT, WIDTH)), torch.zeros(10, HEIGHT, WIDTH).long()
    ).view(2, 5, HEIGHT, WIDTH)
    for own, (margin, _, _) in zip(got[:, 0], DRAWN, strict=True):
        border = loops.back_from_zoom_in(np.ones((HEIGHT, WIDTH)), margin) == 0
        np.testing.assert_array_equal(own.numpy(), ~border)  # three votes of five inside, two at the border
        assert 0 < border.sum() < border.size


def test_ignored_pixels_have_no_vote() -> None:
    labels = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.int64)
    labels[:, 4:6, 3:8] = IGNORE
    views = views_of(DRAWN)
    seen_labels = view_labels(views, labels)
    counts = seen_labels != IGNORE
    plain = smooth(10, 1, HEIGHT, WIDTH, seed=5) ** 0.5
    fillers = [plain.masked_fill(~counts.unsqueeze(1), filler) for filler in (0.0, 1.0)]
    ignored = [averaged_pseudo_labels(views, stacked(maps), seen_labels)[counts] for maps in fillers]
    none = torch.zeros_like(seen_labels)
    counted = [averaged_pseudo_labels(views, stacked(maps), none)[counts] for maps in fillers]
    assert torch.equal(*ignored)
    assert not torch.equal(*counted)


def test_a_pixel_that_one_view_alone_may_judge_follows_it() -> None:
    """Where the zoomed views show ignored pixels alone, that must not turn into votes for background."""
    labels = torch.ones(2, HEIGHT, WIDTH, dtype=torch.int64)
    labels[:, 1::2] = IGNORE  # every second row: the zoomed views show no clean pixel
    views = views_of(DRAWN)
    seen_labels = view_labels(views, labels)
    certain = torch.ones(10, 1, HEIGHT, WIDTH)
    got = averaged_pseudo_labels(views, stacked(certain), seen_labels).view(2, 5, HEIGHT, WIDTH)[:, 0]
    inner = got[:, 4:8:2, 4:10]  # away from what the zoomed view does not show
    assert (inner == 1).all()


def test_the_image_alone_gives_its_own_prediction() -> None:
    probabilities = smooth(3, 4, HEIGHT, WIDTH).softmax(dim=1)
    labels = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.int64)
    got = averaged_pseudo_labels([own_view(3)], probabilities, labels)
    assert torch.equal(got, probabilities.argmax(dim=1))
