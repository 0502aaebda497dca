"""Networks of volumes, by the commands: trained in patches, resumed to the bit, scored and predicted whole."""

import json

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.end_to_end.test_volumes import affine
from tests.end_to_end.tools import done, refused, train

SHAPE = (34, 30, 14)
SOLID = (
    *("--network.spatial_dims", "3", "--training.depth", "32", "--training.patch", "[16,32,32]"),
    *(
        "--training.batch",
        "1",
        "--training.gold_batch",
        "1",
        "--training.clip",
        "1",
        "--training.ema_decay",
        "0.5",
    ),
)


def ball(number):
    x, y, z = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return ((x - 16 - number % 3) ** 2 + (y - 14) ** 2 + 4 * (z - 6) ** 2 < 100).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("solid") / "files"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    lines = ["id,role"]
    for number, role in enumerate(["train", "train", "gold", "val", "test"]):
        noise = np.random.default_rng(number).normal(500, 40, SHAPE)
        image = (300.0 * ball(number) + noise).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(image, affine(number)), root / f"images/c{number}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(ball(number), affine(number)), root / f"masks/c{number}.nii.gz")
        lines.append(f"c{number},{role}")
    (root / "splits.csv").write_text("\n".join(lines))
    done("prepare", root, "--out", root.parent / "set", "--name", "solid")
    done("corrupt", root.parent / "set", "--rate", "0.2", "--out", root.parent / "noisy")
    return root


@pytest.fixture(scope="module")
def run(folder):
    out = folder.parent / "run"
    options = ("--calibrated.warmup", "0", "--training.lr", "0.1", "--training.figure_every", "6")
    done(*train(folder.parent / "noisy", out, *SOLID, *options, epochs=6))
    return out


def losses(run):
    return [json.loads(line)["train"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_volumes_are_learned_scored_and_predicted_whole(folder, run, tmp_path):
    record = done("evaluate", run, "--json").json
    assert record["summary"]["dsc"]["n"] == 1
    assert record["summary"]["dsc"]["mean"] > 0.6
    assert record["summary"]["hd95_mm"]["mean"] < 12
    done("predict", run, folder / "images/c4.nii.gz", "--out", tmp_path)
    image, mask = nibabel.load(folder / "images/c4.nii.gz"), nibabel.load(tmp_path / "c4.nii.gz")
    np.testing.assert_allclose(mask.affine, image.affine, rtol=0, atol=1e-6)
    stored = nibabel.load(run / "evaluation" / record["predictions"]["c4"])
    assert np.array_equal(np.asarray(mask.dataobj), np.asarray(stored.dataobj))


def test_a_validation_score_is_of_volumes(run):
    scores = [json.loads(line)["val"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(score["cases"] == 1 for score in scores)
    assert (run / "figures/epoch_006.png").is_file()


def test_a_run_goes_on_to_the_bit(folder, tmp_path):
    words = (*SOLID, "--metadcseg.warmup", "0", "--method", "metadcseg")
    for name, parts in (("whole", (2,)), ("parts", (1, 2))):
        for number, epochs in enumerate(parts):
            resumed = ("--resume",) if number else ()
            done(*train(folder.parent / "noisy", tmp_path / name, *words, *resumed, epochs=epochs))
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_what_does_not_fit_is_one_sentence(folder, sets, tmp_path):
    noisy, out = folder.parent / "noisy", tmp_path / "run"

    def say(data, *words, says):
        refused(*train(data, out, *words, epochs=1), says=says, alone=False)

    say(sets.noisy, *SOLID, says=("network.spatial_dims 3 needs volumes", "take 2"))
    say(noisy, "--network.spatial_dims", "4", says=("network.spatial_dims must be 2 or 3, got 4",))
    say(noisy, "--training.patch", "[16,32,32]", says=("training.patch is for networks of volumes",))
    say(noisy, *SOLID, "--training.patch", "[16,64,32]", says=("training.patch 16 x 64 x 32", "32 x 32 x 32"))
    say(noisy, *SOLID, "--training.patch", "[20,32,32]", says=("multiples of 16", "16 and 32"))
    say(noisy, *SOLID, "--training.channels_last", "true", says=("channels_last is for networks of images",))


def test_a_network_of_volumes_audits_volumes(folder, run, tmp_path):
    record = done("audit", run, "--out", tmp_path / "audit", "--accelerator", "cpu", "--json").json
    assert record["cases"] == 2
    assert record["witnesses"] == "pairs and network"
    wrong = nibabel.load(tmp_path / "audit" / "wrong" / "c0.nii.gz")
    assert wrong.shape == SHAPE
    np.testing.assert_allclose(wrong.affine, affine(0), rtol=0, atol=1e-6)
    corrected = nibabel.load(tmp_path / "audit" / "corrected" / "balanced" / "c0.nii.gz")
    assert set(np.unique(np.asarray(corrected.dataobj))) <= {0, 1}
