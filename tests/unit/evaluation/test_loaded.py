"""Images as people have them, given to a loaded run."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.evaluation.fakes import scene, write_fake_run, write_fake_set

from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.errors import InputError
from metadcseg.evaluation.loaded import load


@pytest.fixture(params=[1, 3])
def model(request, tmp_path):
    prepared = write_fake_set(tmp_path / "set", channels=request.param)
    return load(write_fake_run(tmp_path / "run", prepared), device="cpu", trust_code=True)


def image_and_mask():
    image, mask = scene(40, 60, 10, 20, 16)
    return image[:, :, 0], mask


def test_gray_color_and_depth_of_any_kind(model, tmp_path):
    gray, mask = image_and_mask()
    Image.fromarray(gray).save(tmp_path / "file.png")
    kinds = {
        "(H, W)": gray,
        "(H, W, 1)": gray[:, :, None],
        "(H, W, 3)": np.repeat(gray[:, :, None], 3, axis=2),
        "uint16": gray.astype(np.uint16) * 200,
        "int16": gray.astype(np.int16) * 10 - 1000,
        "float32": gray / np.float32(255),
        "float64": gray / 255,
        "read-only": np.broadcast_to(gray, gray.shape),
        "flipped": gray[::-1][::-1],
        "Pillow": Image.fromarray(gray),
        "Pillow, color": Image.fromarray(gray).convert("RGBA"),
        "Pillow, palette": Image.fromarray(gray).convert("P"),
        "file": tmp_path / "file.png",
        "name of a file": str(tmp_path / "file.png"),
    }
    for name, image in kinds.items():
        labels = model.segment(image)
        assert (labels.shape, labels.dtype) == ((40, 60), np.uint8), name
        assert (labels == mask).mean() > 0.98, name


def test_probabilities_add_up_and_lead_to_the_labels(model):
    gray, _ = image_and_mask()
    probabilities = model.probabilities(gray)
    assert (probabilities.shape, probabilities.dtype) == ((2, 40, 60), np.float32)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    assert (probabilities.argmax(axis=0) == model.segment(gray)).all()


def test_what_it_says_about_itself(model):
    assert model.classes == ("background", "organ")
    assert model.colors == ((0, 0, 0), (86, 180, 233))
    assert not model.takes_volumes
    assert "supervised, images, classes background, organ" in repr(model)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((0, 5), np.uint8), r"must have pixels, got an empty array of \(0, 5, 1\)"),
        (np.zeros((2, 3, 4, 1), np.uint8), r"must be \(H, W\) or \(H, W, C\), got \(2, 3, 4, 1\)"),
        (np.zeros(5, np.uint8), r"must be \(H, W\) or \(H, W, C\), got \(5,\)"),
        (np.zeros((8, 8, 2), np.uint8), r"the image: the network was trained on . channels?, got 2"),
        (np.full((8, 8), np.nan), r"must be finite, got 64 of 64 values NaN or infinite"),
        (np.zeros((8, 8), complex), r"must hold real numbers, got complex128"),
        (np.array([["a"]]), r"must hold real numbers, got <U1"),
        ([[1, 2], [3, 4]], r"must be a NumPy array, a Pillow image or a file, got list"),
        ("nothing.png", r"nothing.png"),
    ],
)
def test_what_is_no_image_is_one_sentence(model, image, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        model.segment(image)
    assert "\n" not in str(caught.value)


def test_no_run_and_no_device(tmp_path, model):
    with pytest.raises(InputError, match="not the folder of a run"):
        load(tmp_path, trust_code=True)
    with pytest.raises(InputError, match="device must be auto, cpu"):
        load(model.path, device="gpu", trust_code=True)
    with pytest.raises(InputError, match="spacing belongs to volumes"):
        model.segment(image_and_mask()[0], spacing=(1, 1, 1))


@pytest.fixture
def of_volumes(tmp_path):
    """The same network, told that it was trained on volumes sliced along their largest spacing."""
    run = write_fake_run(tmp_path / "run", write_fake_set(tmp_path / "set"))
    info = json.loads((run / "run.json").read_text())
    info["set"]["preprocessing"] = SliceOptions().to_dict()
    (run / "run.json").write_text(json.dumps(info))
    return load(run, trust_code=True)


@pytest.mark.parametrize("spacing", [None, (5.0, 1.0, 1.0), (1.0, 5.0, 1.0)])
def test_volumes_come_back_on_their_grid(of_volumes, spacing):
    gray, mask = image_and_mask()
    stack = np.stack([gray] * 3)
    labels = of_volumes.segment(stack, spacing=spacing)
    assert of_volumes.takes_volumes
    assert labels.shape == stack.shape
    assert labels.flags.c_contiguous
    assert (labels == mask).mean() > 0.9
    assert (of_volumes.segment(stack[..., None], spacing=spacing) == labels).all()


def test_what_is_no_volume_is_one_sentence(of_volumes, tmp_path):
    gray, _ = image_and_mask()
    for image, spacing, sentence in (
        (gray, None, r"must be \(Z, H, W\) or \(Z, H, W, C\).*got \(40, 60\)"),
        (np.stack([gray, gray])[..., None].repeat(2, axis=3), None, "must have 1 channels.*got 2"),
        (np.stack([gray, gray]), (1.0, 0.0, 1.0), "spacing must be three numbers above 0"),
        (np.full((2, 4, 4), np.inf), None, "must be finite"),
        (tmp_path / "x.png", None, "is no volume"),
    ):
        with pytest.raises(InputError, match=sentence):
            of_volumes.segment(image, spacing=spacing)
    with pytest.raises(InputError, match="call segment"):
        of_volumes.probabilities(np.stack([gray, gray]))


def test_the_network_is_left_as_it_is(model):
    gray, _ = image_and_mask()
    before = gray.copy()
    assert not torch.is_inference_mode_enabled()
    model.segment(gray)
    assert (gray == before).all()
