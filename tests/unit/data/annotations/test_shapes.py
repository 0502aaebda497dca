"""Which pixels a shape has: those whose centers lie inside, by the even-odd rule."""

import numpy as np
import pycocotools.mask as coco_masks
import pytest

from metadcseg.data.annotations.shapes import Patch, ellipse, pasted, polygon

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # of pycocotools


def whole(patch: Patch, size):
    mask = np.zeros(size, bool)
    height, width = patch.inside.shape
    mask[patch.top : patch.top + height, patch.left : patch.left + width] = patch.inside
    return mask


def drawn(text):
    return np.array([[letter == "#" for letter in line] for line in text.split()])


@pytest.mark.parametrize(
    ("rings", "wanted"),
    [
        ([[(1, 1), (4, 1), (4, 3), (1, 3)]], "...... .###.. .###.. ......"),
        ([[(0, 0), (4, 4), (0, 4)]], "...... #..... ##.... ###..."),  # a center on the right side is outside
        ([[(0.4, 0.4), (1.6, 0.4), (1.6, 1.6), (0.4, 1.6)]], "##.... ##.... ...... ......"),
        ([[(0.6, 0.6), (1.4, 0.6), (1.4, 1.4), (0.6, 1.4)]], "...... ...... ...... ......"),
        ([[(0, 0), (6, 0), (6, 4), (0, 4)], [(2, 1), (4, 1), (4, 3), (2, 3)]], "###### ##..## ##..## ######"),
        ([[(0, 0), (4, 4), (4, 0), (0, 4)]], "...#.. #.##.. #.##.. ...#.."),  # an outline that crosses itself
        ([[(-9, -9), (3, -9), (3, 2), (-9, 2)]], "###... ###... ...... ......"),
        ([[(1, 1), (5, 1)]], "...... ...... ...... ......"),
    ],
)
def test_a_polygon_by_hand(rings, wanted):
    np.testing.assert_array_equal(whole(polygon(rings, (4, 6)), (4, 6)), drawn(wanted))
    turned = [ring[::-1] for ring in rings]
    np.testing.assert_array_equal(whole(polygon(turned, (4, 6)), (4, 6)), drawn(wanted))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_polygon_beside_a_slow_loop_and_pycocotools(seed):
    """A jagged star, which a ray through each center decides; pycocotools differs at the outline only."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 40))
    radii = rng.uniform(15, 40, 40)
    ring = [(50 + r * np.cos(a), 45 + r * np.sin(a)) for a, r in zip(angles, radii, strict=True)]
    found = whole(polygon([ring], (90, 100)), (90, 100))
    slow = np.zeros_like(found)
    for row in range(90):
        for column in range(100):
            crossed = 0
            for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
                if (y0 <= row + 0.5) != (y1 <= row + 0.5):
                    crossed += x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0) > column + 0.5
            slow[row, column] = crossed % 2
    np.testing.assert_array_equal(found, slow)
    flat = [float(each) for point in ring for each in point]
    theirs = coco_masks.decode(coco_masks.frPyObjects([flat], 90, 100))[:, :, 0].astype(bool)
    assert (found ^ theirs).sum() < 0.5 * 40 * 15


def test_many_edges_are_looked_at_in_parts(monkeypatch):
    ring = [(x, 30 + 20 * np.sin(x)) for x in np.linspace(0, 50, 300)] + [(50, 60), (0, 60)]
    once = whole(polygon([ring], (60, 50)), (60, 50))
    monkeypatch.setattr("metadcseg.data.annotations.shapes._CROSSINGS", 60 * 7)
    np.testing.assert_array_equal(whole(polygon([ring], (60, 50)), (60, 50)), once)
    assert once.any()
    assert not once.all()


@pytest.mark.parametrize(
    ("center", "radii", "angle"),
    [
        ((10, 8), (5, 5), 0.0),
        ((10.5, 7.5), (8, 3), 0.6),
        ((19, 1), (6, 2), np.pi / 2),
        ((10, 8), (1e9, 1e9), 0.3),
    ],
)
def test_an_ellipse_holds_the_centers_within(center, radii, angle):
    found = whole(ellipse(center, radii, (16, 20), angle), (16, 20))
    for row in range(16):
        for column in range(20):
            x, y = column + 0.5 - center[0], row + 0.5 - center[1]
            along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
            assert found[row, column] == ((along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1)


def test_shapes_without_area_have_no_pixel():
    assert not ellipse((5, 5), (0, 4), (10, 10)).inside.any()
    assert not ellipse((5, 5), (-3, 4), (10, 10)).inside.any()
    assert not polygon([[(2, 2), (6, 2), (4, 2)]], (10, 10)).inside.any()
    assert not polygon([[(200, 200), (600, 200), (400, 300)]], (10, 10)).inside.any()


@pytest.mark.parametrize(("top", "left", "cut"), [(1, 2, False), (-1, 0, True), (3, 4, True), (90, 90, True)])
def test_a_bitmap_is_cut_to_the_image(top, left, cut):
    patch = pasted(top, left, np.ones((2, 3), bool), (4, 6))
    wanted = np.zeros((4, 6), bool)
    wanted[max(0, top) : max(0, top + 2), max(0, left) : max(0, left + 3)] = True
    np.testing.assert_array_equal(whole(patch, (4, 6)), wanted)
    assert patch.cut == cut


def test_what_reaches_beyond_the_image_is_cut_and_said():
    inside = [(1, 1), (4, 1), (4, 3)]
    assert not polygon([inside], (4, 6)).cut
    assert not polygon([[*inside, (6.5, 3)]], (4, 6)).cut, "a click at the rim"
    assert polygon([[*inside, (8, 3)]], (4, 6)).cut
    assert ellipse((0, 0), (3, 3), (4, 6)).cut
