"""Masks keep their classes on disk; outlines lie where the masks end."""

import io

import numpy as np
import pytest
from PIL import Image

from metadcseg.colors import GIVEN, PREDICTED, VERIFIED, class_color
from metadcseg.evaluation.overlays import (
    display,
    encode_mask,
    encode_picture,
    mask_values,
    overlay,
    with_legend,
)
from metadcseg.tensors import IGNORE


def decoded(content):
    with Image.open(io.BytesIO(content)) as picture:
        return picture.format, np.array(picture)


@pytest.mark.parametrize("classes", [("background", "organ"), ("background", "organ", "core")])
def test_masks_hold_the_stated_values(classes):
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % len(classes)
    kind, values = decoded(encode_mask(labels, classes))
    assert kind == "PNG"
    assert values.shape == (3, 4)
    for number, name in enumerate(classes):
        assert (values[labels == number] == mask_values(classes)[name]).all()


def test_two_classes_are_black_and_white():
    assert list(mask_values(("background", "organ")).values()) == [0, 255]


def test_overlay_draws_both_outlines_and_leaves_the_rest():
    prediction, reference = np.zeros((2, 40, 40), np.uint8)
    prediction[5:20, 5:20], reference[25:35, 25:35] = 1, 1
    reference[0, :] = IGNORE
    image = np.full((40, 40, 1), 100, np.uint8)
    picture = overlay(image, prediction, reference)
    assert (picture[0, 0] == 100).all()  # ignored is not drawn
    assert (picture[25, 25:35] == VERIFIED).all()
    assert (picture[5, 5:20] == PREDICTED).all()
    given = overlay(image, prediction, reference, verified=False)
    assert (given[25, 25:35] == GIVEN).all()
    assert (picture[30, 30] == 100).all()  # the reference has no tint
    assert (picture[5, 5] != picture[10, 10]).any()
    assert (picture[10, 10] != 100).any()
    assert (image == 100).all()
    assert decoded(encode_picture(picture))[1].shape == (40, 40, 3)


def test_classes_have_colors_of_their_own():
    prediction = np.repeat(np.arange(3, dtype=np.uint8), 30).reshape(9, 10)
    prediction = np.kron(prediction, np.ones((5, 5), np.uint8))
    picture = overlay(np.zeros((45, 50, 3), np.uint8), prediction, foreground=2)
    assert len(np.unique(picture[[22, 37], 25], axis=0)) == 2  # tints; the outlines are of one color
    assert (picture[15, 5:45] == PREDICTED).all()


def test_a_legend_names_case_roles_and_classes_and_leaves_the_picture():
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    plain = with_legend(picture, ("background", "organ"), title="case 7\n\udce4" + "x" * 300)
    assert (plain[:30, :40] == picture).all()
    colors = {tuple(color) for color in plain[30:].reshape(-1, 3).tolist()}
    assert PREDICTED in colors
    assert VERIFIED not in colors
    full = with_legend(picture, ("background", "organ", "core"), title="a", reference="given")
    colors = {tuple(color) for color in full[30:].reshape(-1, 3).tolist()}
    assert {PREDICTED, GIVEN, class_color(1, 2), class_color(2, 2)} <= colors


def test_no_class_looks_like_a_role():
    roles = {GIVEN, VERIFIED, PREDICTED}
    colors = [class_color(number, 24) for number in range(1, 25)]
    assert len(set(colors)) == 24
    assert not roles & set(colors)


def test_large_images_get_wider_outlines():
    prediction = np.zeros((800, 800), np.uint8)
    prediction[100:700, 100:700] = 1
    picture = overlay(np.zeros((800, 800, 1), np.uint8), prediction)
    assert (picture[400, 100:104] == picture[400, 100]).all()
    assert (picture[400, 104] != picture[400, 103]).any()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_deep_images_are_stretched(dtype, channels):
    image = (np.arange(400 * channels).reshape(20, 20, channels) * 7 + 1000).astype(dtype)
    shown = display(image)
    assert shown.shape == (20, 20, 3)
    assert shown.dtype == np.uint8
    assert (shown.min(), shown.max()) == (0, 255)


def test_a_constant_deep_image_is_shown_dark():
    assert not display(np.full((4, 4, 1), 7.0, np.float32)).any()
