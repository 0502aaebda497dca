from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.unit.training.helpers import Fake

from metadcseg.training.validation import Validator, counts, native_labels, scores_of


def mask(*values):
    return np.array([values], np.uint8)


@pytest.mark.parametrize(
    ("prediction", "reference", "dsc", "iou"),
    [
        (mask(1, 1, 0, 0), mask(1, 1, 0, 0), 1.0, 1.0),
        (mask(1, 1, 1, 0), mask(1, 0, 0, 0), 0.5, 1 / 3),
        (mask(0, 0, 0, 0), mask(0, 0, 0, 0), 1.0, 1.0),
        (mask(0, 0, 0, 0), mask(1, 0, 0, 0), 0.0, 0.0),
        (mask(1, 0, 0, 0), mask(0, 0, 0, 0), 0.0, 0.0),
        (mask(1, 1, 0, 0), mask(1, 255, 0, 0), 1.0, 1.0),
    ],
)
def test_overlap_and_its_policy(prediction, reference, dsc, iou):
    scores = scores_of(counts(prediction, reference, 2)[None])
    assert (scores.dsc, scores.iou) == pytest.approx((dsc, iou))


def test_classes_are_averaged():
    # class 1 perfect, class 2 missed
    scores = scores_of(counts(mask(1, 1, 0, 0), mask(1, 1, 2, 0), 3)[None])
    assert (scores.dsc, scores.iou) == pytest.approx((0.5, 0.5))


def test_scores_are_those_of_the_native_size(disks):
    class Perfect(Fake):
        def predict(self, state, images):
            return torch.stack([1 - images[:, 0], images[:, 0]], dim=1)

    class Labels:
        """A set whose images are its labels."""

        preprocessing = None  # plain images
        select, label, classes = disks.select, disks.label, disks.classes

        def image(self, case):
            return disks.label(case)[..., None]

    validator = Validator(Labels(), (64, 64), 2, torch.device("cpu"))
    network = torch.nn.Identity()
    scores = validator.score(Perfect(), network, lambda: False)
    assert scores.cases == 3
    assert scores.dsc > 0.9  # the grid is larger than the image, so little is lost on the way back
    assert validator.score(Perfect(), network, lambda: False) == scores  # from memory
    assert validator.score(Perfect(), network, lambda: True) is None


def test_native_labels():
    probabilities = torch.zeros(2, 4, 4)
    probabilities[1, :, 2:] = 1.0
    probabilities[0] = 1 - probabilities[1]
    labels = native_labels(probabilities, 6, 8)
    assert labels.shape == (6, 8)
    assert (labels == np.repeat([[0] * 4 + [1] * 4], 6, axis=0)).all()


def test_slices_of_a_volume_are_counted_together():
    masks = {"a#0": mask(1, 1, 0, 0), "a#1": mask(0, 0, 0, 0), "b": mask(1, 0, 0, 0)}
    held = [
        SimpleNamespace(row=row, id=id, volume="a" if id[0] == "a" else None, height=4, width=4)
        for row, id in enumerate(masks)
    ]

    class OneMore(Fake):
        """Finds everything, and one pixel more in the slice without foreground."""

        def predict(self, state, images):
            found = images[:, 0].clone()
            found[1:2, 0, 0] = 1
            return torch.stack([1 - found, found], dim=1)

    labels = SimpleNamespace(
        classes=("background", "organ"),
        preprocessing={},
        select=lambda role: tuple(held),
        label=lambda case: np.repeat(masks[case.id], 4, axis=0),
        image=lambda case: np.repeat(masks[case.id], 4, axis=0)[..., None].astype(np.float32),
    )
    scores = Validator(labels, (4, 4), 3, torch.device("cpu")).score(
        OneMore(), torch.nn.Identity(), lambda: False
    )
    assert scores.cases == 2
    assert scores.dsc == pytest.approx((2 * 8 / (9 + 8) + 1) / 2)  # by slices it would be (1 + 0 + 1) / 3
