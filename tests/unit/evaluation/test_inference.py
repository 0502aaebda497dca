"""Mirrored views, windows and batches: what they average, and that saying nothing changes nothing."""

import json
from itertools import product

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.evaluation.fakes import write_fake_run, write_fake_set
from tests.unit.export.networks import random_run

from metadcseg.data.formats.geometry import Grid
from metadcseg.data.loading.augmentation import AugmentOptions
from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.errors import InputError, Note
from metadcseg.evaluation.evaluate import evaluate_run
from metadcseg.evaluation.inference import InferenceOptions
from metadcseg.evaluation.mask_folder import MaskFolder
from metadcseg.evaluation.predict import load_predictor, probabilities_at_native, probabilities_of_stack
from metadcseg.evaluation.predict_files import predict_images


@pytest.fixture
def noise():
    return np.random.default_rng(0)


def reference_windows(network, images, size, overlap):
    """Windows one by one, in plain loops: (C, H, W) -> (L, H, W)."""
    sides = images.shape[1:]
    steps = [
        max(1, int(one * (1 - overlap))) if one < side else one for one, side in zip(size, sides, strict=True)
    ]
    total, weight = 0.0, torch.zeros(sides)
    gauss = torch.ones(())
    for one in size:
        x = torch.arange(one) - (one - 1) / 2
        gauss = gauss[..., None] * torch.exp(-(x**2) / (2 * (one / 8) ** 2))
    gauss = gauss.clamp(min=max(float(gauss.min()), 1e-3))
    starts = [
        sorted({min(start, side - one) for start in range(0, side - one + step, step)})
        for one, side, step in zip(size, sides, steps, strict=True)
    ]
    for corner in product(*starts):
        place = tuple(slice(at, at + one) for at, one in zip(corner, size, strict=True))
        found = torch.zeros(2, *sides)
        found[(slice(None), *place)] = network(images[(slice(None), *place)][None])[0] * gauss
        total = total + found
        weight[place] += gauss
    return total / weight


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.8])
def test_windows_leave_a_large_image_at_its_size(tmp_path, noise, overlap):
    run = random_run(tmp_path / "run")
    image = noise.integers(0, 255, (70, 45, 1)).astype(np.uint8)
    options = InferenceOptions(windows=True, overlap=overlap, batch_size=3)
    _, plain = load_predictor(run, "cpu", trust_code=True)
    _, predict = load_predictor(run, "cpu", options, trust_code=True)
    found = probabilities_at_native(predict, image, 32, options=options)
    scaled = torch.from_numpy((image[..., 0] - image.mean()) / image.std()).float()[None]
    torch.testing.assert_close(found, reference_windows(plain, scaled, (32, 32), overlap), atol=1e-5, rtol=0)
    small = image[:20, :30]  # is stretched as ever
    together = probabilities_at_native(predict, small, 32, options=options)
    torch.testing.assert_close(together, probabilities_at_native(plain, small, 32))


def test_windows_over_volumes(tmp_path, noise):
    """Each axis keeps its length where it is longer than the grid's."""
    seen = []

    def predict(images):
        seen.append(tuple(images.shape))
        return torch.cat([images, 1 - images], dim=1)

    stack = noise.random((20, 40, 12, 1)).astype(np.float16)
    options = InferenceOptions(windows=True)
    found = list(probabilities_of_stack(predict, stack, (8, 16, 16), options=options))
    assert seen == [(1, 1, 20, 40, 16)]
    assert len(found) == 20
    assert found[0].shape == (2, 40, 12)


@pytest.mark.parametrize(("axes", "views"), [(2, 4), (3, 8)])
def test_flips_average_all_mirror_images(tmp_path, noise, axes, views):
    run = random_run(
        tmp_path / "run", axes=axes, how=SliceOptions().to_dict() if axes == 3 else None, depth=8
    )
    trained, plain = load_predictor(run, "cpu", trust_code=True)
    _, predict = load_predictor(run, "cpu", InferenceOptions(flips=True), trust_code=True)
    images = torch.from_numpy(noise.normal(size=(1, 1, *trained.grid))).float()
    mirrored = []
    for chosen in product([False, True], repeat=axes):
        view = [axis + 2 for axis in range(axes) if chosen[axis]]
        mirrored.append(plain(images.flip(view)).flip(view))
    assert len(mirrored) == views
    torch.testing.assert_close(predict(images), torch.stack(mirrored).mean(dim=0))
    assert not torch.allclose(predict(images), plain(images))


def test_batches_and_workers_change_no_mask(tmp_path, noise):
    run, folder = random_run(tmp_path / "run"), tmp_path / "images"
    folder.mkdir()
    for number in range(7):
        Image.fromarray(noise.integers(0, 255, (20 + number, 40), np.uint8)).save(folder / f"{number}.png")
    (folder / "3.png").write_bytes(b"")
    seen = []
    for out, more in (("one", {}), ("many", {"options": InferenceOptions(batch_size=3), "workers": 2})):
        with pytest.raises(InputError, match=r"6 of 7 masks .*3\.png"):
            predict_images(
                run, folder, tmp_path / out, progress=lambda *done: seen.append(done), **more, trust_code=True
            )
    assert seen[-3:] == [(3, 7), (6, 7), (7, 7)]
    assert {path.name for path in (tmp_path / "many").iterdir()} == {
        *(path.name for path in (tmp_path / "one").iterdir()), "inference.json"
    }  # fmt: skip
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "many" / path.name).read_bytes()
    assert json.loads((tmp_path / "many/inference.json").read_text())["batch_size"] == 3


def test_masks_of_other_options_are_not_mixed(tmp_path, noise):
    run = random_run(tmp_path / "run")
    Image.fromarray(noise.integers(0, 255, (20, 40), np.uint8)).save(tmp_path / "a.png")
    predict_images(
        run, tmp_path / "a.png", tmp_path / "out", options=InferenceOptions(flips=True), trust_code=True
    )
    with pytest.raises(InputError, match=r"inference\.json exists and holds something else"):
        predict_images(
            run, tmp_path / "a.png", tmp_path / "out", options=InferenceOptions(windows=True), trust_code=True
        )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"overlap": 1.0}, "--overlap must be"),
        ({"batch_size": 0}, "--batch-size must be"),
        ({"overlap": 0.7}, "add --windows"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, says):
    run = random_run(tmp_path / "run")
    with pytest.raises(InputError, match=says):
        load_predictor(run, "cpu", InferenceOptions(**options), trust_code=True)


def test_flips_of_a_network_that_never_saw_them_are_noted(tmp_path):
    run = random_run(tmp_path / "run", augment=AugmentOptions(flip=False))
    with pytest.warns(Note, match="trained without flips"):
        load_predictor(run, "cpu", InferenceOptions(flips=True), trust_code=True)
    load_predictor(run, "cpu", trust_code=True)


def test_an_evaluation_records_its_options(tmp_path):
    prepared = write_fake_set(tmp_path / "set")
    run = write_fake_run(tmp_path / "run", prepared)
    assert "inference" not in evaluate_run(run, prepared, "test", trust_code=True)
    record = evaluate_run(
        run, prepared, "test", options=InferenceOptions(flips=True, windows=True), trust_code=True
    )
    assert record["inference"] == {"flips": True, "windows": True}
    assert json.loads((run / "evaluation/test.json").read_text())["inference"] == record["inference"]


def test_a_volume_twice_is_fine_and_another_is_never_overwritten(tmp_path, noise):
    run = random_run(tmp_path / "run", classes=3, how=SliceOptions().to_dict())
    grid = np.diag([1.0, 1, 3, 1])
    nibabel.save(
        nibabel.Nifti1Image(noise.integers(0, 99, (20, 24, 4)).astype(np.int16), grid), tmp_path / "v.nii.gz"
    )
    out = tmp_path / "out"
    (mask,) = predict_images(run, tmp_path / "v.nii.gz", out, trust_code=True)
    assert list(out.iterdir()) == [mask]
    before = mask.stat().st_mtime_ns
    assert predict_images(run, tmp_path / "v.nii.gz", out, trust_code=True) == [mask]
    assert mask.stat().st_mtime_ns == before
    labels = np.asarray(nibabel.load(mask).dataobj)
    for other in (nibabel.Nifti1Image(1 - labels.clip(0, 1), grid), nibabel.Nifti1Image(labels, 2 * grid)):
        nibabel.save(other, mask)
        mine = mask.read_bytes()
        with pytest.raises(InputError, match=r"v\.nii\.gz exists and holds something else"):
            predict_images(run, tmp_path / "v.nii.gz", out, trust_code=True)
        assert mask.read_bytes() == mine
    mask.write_bytes(mine[:40])
    with pytest.raises(InputError, match=r"v\.nii\.gz exists and holds something else"):
        predict_images(run, tmp_path / "v.nii.gz", out, trust_code=True)


def test_what_a_killed_prediction_left_is_cleared_unless_one_is_at_work(tmp_path):
    left, linked = (tmp_path / f".metadcseg-{digit * 16}.tmp" for digit in "0a")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "keep").touch()
    left.mkdir()
    (left / "1.png").touch()
    linked.symlink_to(tmp_path / "mine")
    with MaskFolder(tmp_path) as first:
        first.write("a.png", b"a")
        assert not left.exists()
        hidden = {path for path in tmp_path.iterdir() if path.name.startswith(".")} - {linked}
        with MaskFolder(tmp_path) as second:
            second.write("b.png", b"b")
            assert all(path.exists() for path in hidden)
        assert not (tmp_path / "a.png").exists()
        assert (tmp_path / "b.png").read_bytes() == b"b"
    assert (tmp_path / "a.png").read_bytes() == b"a"
    assert (tmp_path / "mine" / "keep").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png", "mine", linked.name}


def test_a_linked_folder_within_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "out/overlays").symlink_to(tmp_path / "mine")
    with MaskFolder(tmp_path / "out") as masks, pytest.raises(InputError, match="overlays is a link"):
        masks.write("overlays/a.png", b"a")
    assert not list((tmp_path / "mine").iterdir())


def test_a_failure_keeps_what_was_done(tmp_path):
    grid, labels = Grid((2, 2, 2), np.eye(4).tolist()), np.zeros((2, 2, 2), np.uint8)

    def fail():
        with MaskFolder(tmp_path / "out") as masks:
            masks.write("overlays/a.png", b"a")
            masks.write_labels("v.nii.gz", labels, grid, None)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    kept = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {"out/overlays/a.png", "out/v.nii.gz"}
