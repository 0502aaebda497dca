"""The same numbers from MONAI, SimpleITK and DeepMind's surface-distance, where the definitions agree.

Where they do not, the difference is shown too, so that nobody has to trust the docstring.
"""

import importlib
import warnings

import numpy as np
import pytest
import SimpleITK
import torch
from scipy import ndimage

from metadcseg.metrics import boundary, score_masks

CASES = range(6)


def blobs(seed, shape=(40, 33)):
    """Two overlapping irregular masks; both classes are provably there."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), 4)
    other = field + 0.6 * ndimage.gaussian_filter(rng.normal(size=shape), 4)
    pair = field > np.quantile(field, 0.7), other > np.quantile(other, 0.75)
    assert all(0 < mask.sum() < mask.size for mask in pair)
    return pair


def tensors(*masks):
    return [torch.from_numpy(np.stack([~mask, mask])[None].astype(np.float32)) for mask in masks]


@pytest.fixture
def monai_metrics():
    """MONAI's metrics, without the warnings about its own deprecated arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield importlib.import_module("monai.metrics")


@pytest.mark.parametrize("seed", CASES)
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.6, 1.7)])
def test_monai(monai_metrics, seed, spacing):
    prediction, reference = blobs(seed)
    score = score_masks(prediction, reference, spacing, tolerance_mm=1.5)
    pair = tensors(prediction, reference)
    theirs = {
        "dsc": monai_metrics.compute_dice(*pair, include_background=False),
        "iou": monai_metrics.compute_iou(*pair, include_background=False),
        "hd": monai_metrics.compute_hausdorff_distance(*pair),
        "hd_mm": monai_metrics.compute_hausdorff_distance(*pair, spacing=spacing),
        "hd95_mm": monai_metrics.compute_hausdorff_distance(*pair, percentile=95, spacing=spacing),
        "nsd": monai_metrics.compute_surface_dice(*pair, [1.0]),
        "nsd_mm": monai_metrics.compute_surface_dice(*pair, [1.5], spacing=spacing),
    }
    for name, value in theirs.items():
        assert getattr(score, name) == pytest.approx(value.item(), rel=1e-5), name


def image(mask, spacing):
    picture = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    picture.SetSpacing(spacing[::-1])  # SimpleITK counts (x, y)
    return picture


def itk_hausdorff(one, two, spacing):
    measure = SimpleITK.HausdorffDistanceImageFilter()
    measure.Execute(image(one, spacing), image(two, spacing))
    return measure.GetHausdorffDistance()


@pytest.mark.parametrize("seed", CASES)
def test_simpleitk(seed):
    prediction, reference = blobs(seed)
    score = score_masks(prediction, reference, (0.6, 1.7))
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    overlap.Execute(image(reference, (1, 1)), image(prediction, (1, 1)))
    assert score.dsc == pytest.approx(overlap.GetDiceCoefficient())
    assert score.iou == pytest.approx(overlap.GetJaccardCoefficient())
    between = itk_hausdorff(boundary(prediction), boundary(reference), (0.6, 1.7))
    assert score.hd_mm == pytest.approx(between, rel=1e-5)


def test_simpleitk_measures_filled_objects():
    """ITK takes all pixels of the objects, we (as MONAI and DeepMind do) their outlines: a hole shows it."""
    full = np.zeros((31, 31), bool)
    full[5:26, 5:26] = True
    with_hole = full.copy()
    with_hole[15, 15] = False
    assert itk_hausdorff(full, with_hole, (1, 1)) == pytest.approx(
        1.0
    )  # the hole's pixel has object beside it
    assert score_masks(full, with_hole).hd == pytest.approx(
        9.0
    )  # the outline of the hole is far from any other


@pytest.fixture
def deepmind(monkeypatch):
    """The surface-distance package, given back the NumPy names that it still uses."""
    for name, value in (("Inf", np.inf), ("NaN", np.nan)):
        monkeypatch.setattr(np, name, value, raising=False)
    surface_distance = pytest.importorskip("surface_distance")

    def measure(prediction, reference, spacing, tolerance):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it imports from namespaces that SciPy has renamed
            sides = surface_distance.compute_surface_distances(reference, prediction, spacing)
        return (
            surface_distance.compute_robust_hausdorff(sides, 100),
            surface_distance.compute_robust_hausdorff(sides, 95),
            surface_distance.compute_surface_dice_at_tolerance(sides, tolerance),
        )

    return measure


def test_deepmind_agrees_on_a_moved_square(deepmind):
    one, two = np.zeros((2, 30, 30), bool)
    one[5:15, 5:15], two[5:15, 9:19] = True, True
    hd, hd95, nsd = deepmind(one, two, (0.5, 2.0), tolerance=9.0)
    score = score_masks(one, two, (0.5, 2.0), tolerance_mm=9.0)
    assert (score.hd_mm, score.hd95_mm, score.nsd_mm) == (hd, hd95, nsd) == (8.0, 8.0, 1.0)


@pytest.mark.parametrize("seed", CASES)
def test_deepmind_is_close_elsewhere(deepmind, seed):
    """Its contour runs between pixel centers and is weighed by length: a pixel of difference, about."""
    prediction, reference = blobs(seed, shape=(64, 64))
    score = score_masks(prediction, reference)
    hd, hd95, nsd = deepmind(prediction, reference, (1.0, 1.0), tolerance=1.0)
    assert score.hd == pytest.approx(hd, abs=1.5)
    assert score.hd95 == pytest.approx(hd95, abs=1.5)
    assert score.nsd == pytest.approx(nsd, abs=0.12)


def test_directed_percentiles_as_monai_and_deepmind_not_pooled(deepmind, monai_metrics):
    """A small object beside the large one was missed; pooling the directions, as MedPy does, hides it."""
    prediction = np.zeros((40, 60), bool)
    prediction[10:30, 10:40] = True  # 96 boundary pixels
    reference = prediction.copy()
    reference[16:24, 46] = True  # 8 more, 7 columns off: 7.7 % of this direction, 4 % of both
    score = score_masks(prediction, reference)
    pooled = np.percentile(np.concatenate(_sides(prediction, reference)), 95)
    y_pred, y = tensors(prediction, reference)
    assert score.hd95 == 7.0 > pooled == 0.0
    assert monai_metrics.compute_hausdorff_distance(y_pred, y, percentile=95).item() == 7.0
    _, hd95, _ = deepmind(prediction, reference, (1.0, 1.0), tolerance=1.0)
    assert score.hd95 == pytest.approx(hd95, abs=1.0)


def _sides(prediction, reference):
    """Distances between outlines by SciPy's distance transform: another road to the same numbers."""
    one, two = boundary(prediction), boundary(reference)
    to_one, to_two = (ndimage.distance_transform_edt(~outline) for outline in (one, two))
    return to_two[one], to_one[two]


SPACING = (0.8, 0.8, 3.0)


def solids(seed):
    return blobs(seed, shape=(32, 28, 14))


@pytest.mark.parametrize("seed", CASES)
def test_simpleitk_in_three_dimensions(seed):
    prediction, reference = solids(seed)
    score = score_masks(prediction, reference, SPACING)
    between = itk_hausdorff(boundary(prediction), boundary(reference), SPACING)
    assert score.hd_mm == pytest.approx(between, rel=1e-5)


@pytest.mark.parametrize("seed", CASES)
def test_monai_in_three_dimensions(monai_metrics, seed):
    prediction, reference = solids(seed)
    score = score_masks(prediction, reference, SPACING, tolerance_mm=2.0)
    pair = tensors(prediction, reference)
    theirs = {
        "hd_mm": monai_metrics.compute_hausdorff_distance(*pair, spacing=SPACING),
        "hd95_mm": monai_metrics.compute_hausdorff_distance(*pair, percentile=95, spacing=SPACING),
        "nsd_mm": monai_metrics.compute_surface_dice(*pair, [2.0], spacing=SPACING),
    }
    for name, value in theirs.items():
        assert getattr(score, name) == pytest.approx(value.item(), rel=1e-5), name


def test_deepmind_agrees_on_a_moved_box(deepmind):
    one, two = np.zeros((2, 24, 24, 12), bool)
    one[4:14, 4:14, 3:9], two[4:14, 9:19, 3:9] = True, True
    hd, hd95, nsd = deepmind(one, two, SPACING, tolerance=5.0)
    score = score_masks(one, two, SPACING, tolerance_mm=5.0)
    assert score.hd_mm == pytest.approx(hd) == pytest.approx(4.0)  # five voxels of 0.8 mm
    assert score.hd95_mm == pytest.approx(hd95)
    assert score.nsd_mm == nsd == 1.0


def test_how_far_deepmind_is_elsewhere_in_three_dimensions(deepmind):
    """What docs/reference/metrics.md says of thick slices: within half a voxel's diagonal, and 0.03 of NSD."""
    half = 0.5 * np.linalg.norm(SPACING)
    for seed in CASES:
        prediction, reference = solids(seed)
        score = score_masks(prediction, reference, SPACING, tolerance_mm=2.0)
        hd, hd95, nsd = deepmind(prediction, reference, SPACING, tolerance=2.0)
        assert score.hd_mm == pytest.approx(hd, abs=half)
        assert score.hd95_mm == pytest.approx(hd95, abs=half)
        assert score.nsd_mm == pytest.approx(nsd, abs=0.03)
