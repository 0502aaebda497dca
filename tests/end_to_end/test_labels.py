"""What masks may hold, by the commands: many classes, ignored values, regions, trust."""

import json

import numpy as np
import pytest
from PIL import Image
from tests.end_to_end.tools import done, refused, save, train

from metadcseg.data.store.reader import PreparedSet

CLASSES = 6


def draw(number):
    """Return an image of five bright squares and its mask, classes 1 to 5, and a strip of the value 9."""
    noise = np.random.default_rng(number)
    mask = np.zeros((40, 40), np.uint8)
    for value in range(1, CLASSES):
        row, column = 7 * value - 5, noise.integers(2, 30)
        mask[row : row + 6, column : column + 8] = value
    image = (25 + 40 * mask + noise.integers(0, 20, mask.shape)).astype(np.uint8)
    mask[:, :2] = 9
    return image, mask


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("labels") / "mine"
    for number in range(20):
        image, mask = draw(number)
        save(root / f"images/{number:02d}.png", image)
        save(root / f"masks/{number:02d}.png", mask)
    (root / "gold.txt").write_text("00\n01\n")
    label_confidence = np.full((40, 40), 255, np.uint8)
    label_confidence[:20] = 60
    save(root / "label_confidence/07.png", label_confidence)
    (root / "label_confidence.csv").write_text("id,label_confidence\n08,0.5\n")
    return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("run")
    words = ("prepare", folder, "--ignore", "9", "--region", "low:1,2", "--region", "most:1,2,3,4")
    told = done(*words, "--out", place / "set", "--json").json
    assert len(told["classes"]) == CLASSES
    done("corrupt", place / "set", "--rate", "0.5", "--out", place / "noisy")
    options = ("--training.figure_every", "2", "--calibrated.regions", "per_class")
    done(*train(place / "noisy", place / "run", *options, epochs=2))
    return place / "run"


def test_six_classes_from_files_to_pictures(folder, run, tmp_path):
    record = done("evaluate", run, "--overlays", "--json").json
    assert record["per_class"].keys() == {f"class {number}" for number in range(1, CLASSES)}
    assert record["regions"]["per_class"].keys() == {"low", "most"}
    assert record["mask_values"] == {
        "background": 0,
        **{f"class {number}": number for number in range(1, CLASSES)},
    }
    assert len(list((run / "evaluation/test/overlays").iterdir())) == 2
    assert (run / "figures/epoch_002.png").is_file()
    done("predict", run, folder / "images/05.png", "--out", tmp_path)
    with Image.open(tmp_path / "05.png") as mask:
        assert set(np.unique(np.array(mask))) <= set(range(CLASSES))
    table = done("evaluate", run).out
    assert "regions (unions of classes)" in table
    assert {"low", "most"} <= {word for line in table.splitlines() for word in line.replace("│", " ").split()}


def test_noise_leaves_ignored_pixels_and_trust_alone(run):
    place = run.parent
    clean, noisy = (PreparedSet.open(place / name) for name in ("set", "noisy"))
    for before, after in zip(clean.cases, noisy.cases, strict=True):
        assert np.array_equal(clean.label(before) == 255, noisy.label(after) == 255)
        assert before.has_label_confidence == after.has_label_confidence
        if before.has_label_confidence:
            assert np.array_equal(clean.label_confidence(before), noisy.label_confidence(after))
    assert noisy.regions == {"low": [1, 2], "most": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--ignore", "x"), "--ignore must be mask values"),
        (("--ignore", "9", "--remap", "9:1"), "--ignore 9 stands in --remap as well"),
        (("--ignore", "9", "--region", "low"), "--region must look like core:2,3"),
        (("--ignore", "9", "--region", "a:1", "--region", "a:2"), "a name of its own"),
        (("--ignore", "9", "--region", "a:7"), "region 'a' must name labels from 1 to 5"),
        ((), "holds the unexpected value 9"),
    ],
)
def test_bad_options_are_one_sentence(words, says, folder, tmp_path):
    refused("prepare", folder, *words, "--out", tmp_path / "set", says=(says,))
    assert not (tmp_path / "set").exists()


def test_check_takes_the_same_words(folder):
    assert done("check", folder, "--ignore", "9", "--json").json["ok"]
    assert json.loads(done("check", folder, "--ignore", "9", "--json").out)["counts"]["error"] == 0
