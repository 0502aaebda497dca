"""A run as one object: what it takes for an image, and what it says to what is none."""

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.evaluation.fakes import scene, write_fake_run, write_fake_set

import metadcseg
from metadcseg.errors import InputError
from metadcseg.evaluation.predict import probabilities_at_native


@pytest.fixture
def gray(tmp_path):
    return metadcseg.load(write_fake_run(tmp_path / "run", write_fake_set(tmp_path / "set")))


@pytest.fixture
def colored(tmp_path):
    prepared = write_fake_set(tmp_path / "set", channels=3)
    return metadcseg.load(write_fake_run(tmp_path / "run", prepared))


def test_every_kind_of_image(gray, tmp_path):
    image, mask = scene(48, 64, 10, 20, 16)
    Image.fromarray(image[..., 0]).save(tmp_path / "scan.png")
    expected = gray.segment(image)
    assert expected.shape == (48, 64)
    assert expected.dtype == np.uint8
    assert (expected == mask).mean() > 0.98
    for other in (
        image[..., 0],  # (H, W)
        image[..., 0].astype(np.float64),
        image[..., 0].astype(np.int64),
        image[..., 0].astype(np.uint16),
        Image.fromarray(image[..., 0]),
        tmp_path / "scan.png",
        str(tmp_path / "scan.png"),
        np.repeat(image, 3, axis=2),  # color: its luminance
    ):
        np.testing.assert_array_equal(gray.segment(other), expected)


def test_gray_is_repeated_for_a_network_of_colors(colored):
    image, _ = scene(40, 40, 8, 8, 16)
    np.testing.assert_array_equal(colored.segment(image[..., 0]), colored.segment(np.repeat(image, 3, 2)))
    assert colored.channels == 3


def test_probabilities_sum_to_one(gray):
    found = gray.probabilities(scene(30, 20, 4, 4, 8)[0])
    assert found.shape == (2, 30, 20)
    torch.testing.assert_close(found.sum(dim=0), torch.ones(30, 20))
    assert gray.classes == ("background", "organ")


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros(5), r"must be \(H, W\) or \(H, W, C\) numbers, got float64 of shape \(5,\)"),
        (np.zeros((2, 4, 4, 1)), r"got float64 of shape \(2, 4, 4, 1\)"),
        (np.zeros((0, 4)), r"of shape \(0, 4\)"),
        (np.full((4, 4), "a"), "got <U1 of shape"),
        (np.full((4, 4), np.nan), "must hold finite numbers, got NaN or infinity"),
        (np.zeros((4, 4, 2)), "trained on 1 channels, got 2"),
    ],
)
def test_what_is_no_image(image, says, gray):
    with pytest.raises(InputError, match=says):
        gray.segment(image)


def test_spacing_is_of_volumes(gray):
    with pytest.raises(InputError, match="spacing is for networks that were trained on volumes"):
        gray.segment(np.zeros((4, 4)), spacing=(1, 1, 1))


def test_the_function_below_says_which_axes_it_wants():
    with pytest.raises(InputError, match=r"must be \(H, W, C\), got \(4, 4\): a gray one is image"):
        probabilities_at_native(lambda images: images, np.zeros((4, 4), np.uint8), 32)
