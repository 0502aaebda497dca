import numpy as np
import pytest
import torch
from tests.unit.training.helpers import Fake

from metadcseg.training.validation import Validator, native_labels, overlap


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
    assert overlap(prediction, reference, 2) == pytest.approx((dsc, iou))


def test_classes_are_averaged():
    # class 1 perfect, class 2 missed
    assert overlap(mask(1, 1, 0, 0), mask(1, 1, 2, 0), 3) == pytest.approx((0.5, 0.5))


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

    validator = Validator(Labels(), 64, 2, torch.device("cpu"))
    network = torch.nn.Identity()
    scores = validator.score(Perfect(), network, lambda: False)
    assert scores.cases == 3
    assert scores.dsc > 0.9  # the frame is larger than the image, so little is lost on the way back
    assert validator.score(Perfect(), network, lambda: False) == scores  # from memory
    assert validator.score(Perfect(), network, lambda: True) is None


def test_native_labels():
    probabilities = torch.zeros(2, 4, 4)
    probabilities[1, :, 2:] = 1.0
    probabilities[0] = 1 - probabilities[1]
    labels = native_labels(probabilities, 6, 8)
    assert labels.shape == (6, 8)
    assert (labels == np.repeat([[0] * 4 + [1] * 4], 6, axis=0)).all()
