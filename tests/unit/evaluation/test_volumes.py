"""Volumes from their slices, and regions that are unions of classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from metadcseg.data.formats.geometry import Grid
from metadcseg.data.slicing.cut import SliceOptions, place
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.errors import InputError
from metadcseg.evaluation.predict import labels_of_stack
from metadcseg.evaluation.scoring import predict_unit, score_unit

GRID = Grid((4, 5, 3), ((2, 0, 0, 0), (0, 1, 0, 0), (0, 0, 5, 0), (0, 0, 0, 1)))


@pytest.fixture
def prepared(tmp_path):
    return tiny_set(tmp_path, GRID)


def tiny_set(tmp_path, grid):
    """One volume of three slices along z; class 1 in a row, class 2 at its end, one voxel unknown."""
    reference = np.zeros(grid.shape, np.uint8)
    reference[1, 1:3, 1], reference[1, 3, 1], reference[3, 4, 2] = 1, 2, 255
    options = SliceOptions(axis="z", normalize="none")
    placement = place(grid, options)
    with SetWriter(
        tmp_path / "set",
        name="tiny",
        classes=("background", "oedema", "core"),
        channels=1,
        preprocessing=options.to_dict(),
        regions={"whole": [1, 2], "core alone": [2]},
    ) as writer:
        writer.add_volume(
            id="v", role="test", group="p", placement=placement, reference=reference, verified=True
        )
        for number in range(3):
            plane = reference[:, :, number]
            image = (plane == 255) * np.float16(0) + plane.astype(np.float16) % 255
            writer.add(
                id=f"v#{number}", role="test", group="p", image=image[..., None], label=plane, volume="v", slice=number
            )  # fmt: skip
    return PreparedSet.open(tmp_path / "set")


def by_brightness(frame):
    """A network that knows: class n where the image is n."""
    return torch.stack([-((frame[:, 0] - number) ** 2) for number in range(3)], dim=1).softmax(dim=1)


def test_a_volume_is_put_together_from_its_slices(prepared):
    (volume,) = prepared.volumes
    stack = [prepared.image(case) for case in prepared.slices_of(volume)]
    labels = labels_of_stack(by_brightness, stack, (20, 20), volume.placement)
    known = prepared.reference(volume) != 255
    assert labels.shape == GRID.shape
    assert np.array_equal(labels[known], prepared.reference(volume)[known])
    assert np.array_equal(predict_unit(by_brightness, prepared, volume, (20, 20)).labels, labels)


def test_classes_and_regions_are_scored_whole_and_in_mm(prepared):
    (volume,) = prepared.volumes
    labels = prepared.reference(volume).copy()
    labels[labels == 255] = 2  # where nobody knows, nothing counts
    labels[1, 3, 1] = 1  # the core was taken for oedema
    found = predict_unit(by_brightness, prepared, volume, (20, 20))
    classes, regions = score_unit(volume, replace(found, labels=labels), prepared)
    assert (classes.id, classes.reference) == ("v", "truth")
    assert classes.classes["oedema"].dsc == pytest.approx(4 / 5)
    assert classes.classes["oedema"].hd_mm == 1.0  # along y
    assert classes.classes["core"].dsc == 0.0
    assert {name: score.dsc for name, score in regions.classes.items()} == {"whole": 1.0, "core alone": 0.0}
    labels[1, 1:4, 1], labels[1, 1:4, 2] = 0, 1
    moved, _ = score_unit(volume, replace(found, labels=labels), prepared)
    assert moved.classes["oedema"].hd_mm == pytest.approx(np.hypot(5, 1))  # one slice is 5 mm away


@pytest.mark.parametrize("tilt", [0.0, 1.5, -4.0])
def test_mm_across_tilted_slices_are_those_of_the_world(tmp_path, tilt):
    affine = np.array(GRID.affine)
    affine[1, 2] = tilt  # every slice lies so much farther along y
    prepared = tiny_set(tmp_path, Grid(GRID.shape, tuple(map(tuple, affine.tolist()))))
    (volume,) = prepared.volumes
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1, 1:3, 2] = 1  # a slice too high
    found = replace(predict_unit(by_brightness, prepared, volume, (20, 20)), labels=labels)
    score, _ = score_unit(volume, found, prepared)
    step = np.linalg.norm(
        affine[:3, :3] @ [[0, 0], [0, 1], [1, 1]], axis=0
    )  # to the voxel below, or beside that
    aside = np.linalg.norm(affine[:3, :3] @ [[0, 0], [0, -1], [1, 1]], axis=0)
    expected = max(min(step[0], step[1]), min(step[0], aside[1]))
    assert score.classes["oedema"].hd_mm == pytest.approx(expected)


def test_a_network_that_says_nan_is_refused(prepared):
    (volume,) = prepared.volumes
    with pytest.raises(InputError, match="finite probabilities"):
        predict_unit(lambda frame: torch.full((1, 3, 20, 20), torch.nan), prepared, volume, (20, 20))
