"""New images of any size and kind, bad ones among them, and folders that hold something already."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.evaluation.fakes import scene, write_fake_run, write_fake_set

from metadcseg.errors import InputError
from metadcseg.evaluation.inputs import find_images, output_names
from metadcseg.evaluation.predict import fit_channels, probabilities_at_native
from metadcseg.evaluation.predict_files import predict_images


@pytest.fixture(params=[1, 3])
def run(request, tmp_path):
    prepared = write_fake_set(tmp_path / f"set{request.param}", channels=request.param)
    return write_fake_run(tmp_path / "run", prepared)


@pytest.fixture
def images(tmp_path):
    """Gray and color, 8 and 16 bits, all formats and every size its own."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, channels, (height, width) in (
        ("gray.png", 1, (30, 50)),
        ("color.png", 3, (64, 40)),
        ("photo.jpeg", 3, (90, 91)),
        ("scan.TIF", 1, (17, 25)),
    ):
        image, _ = scene(height, width, height // 4, width // 4, min(height, width) // 2, channels)
        Image.fromarray(image.squeeze()).save(folder / name, format=None if name != "scan.TIF" else "TIFF")
    deep, _ = scene(33, 41, 8, 8, 16)
    Image.fromarray(deep[:, :, 0].astype(np.uint16) * 200).save(folder / "deep.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_mixed_files_get_masks_in_their_own_size(run, images, tmp_path):
    calls = []
    out = tmp_path / "deep" / "out"
    written = predict_images(run, images, out, progress=lambda done, total: calls.append((done, total)))
    assert [path.name for path in written] == ["color.png", "deep.png", "gray.png", "photo.png", "scan.png"]
    assert sorted(out.iterdir()) == sorted(written)
    assert calls[-1] == (5, 5)
    for path, shape in zip(written, [(64, 40), (33, 41), (30, 50), (90, 91), (17, 25)], strict=True):
        mask = np.array(Image.open(path))
        height, width = shape
        expected = scene(height, width, height // 4, width // 4, min(height, width) // 2)[1]
        if path.name == "deep.png":
            expected = scene(33, 41, 8, 8, 16)[1]
        assert mask.shape == shape
        assert set(np.unique(mask)) == {0, 255}
        assert ((mask > 0) == (expected > 0)).mean() > 0.95, path


def test_overlays_on_request(run, images, tmp_path):
    out = tmp_path / "out"
    predict_images(run, images, out, overlays=True)
    assert len(list((out / "overlays").iterdir())) == 5
    assert np.array(Image.open(out / "overlays" / "gray.png")).shape[0] > 30  # with the legend below
    assert not any("legend" in path.name for path in (out / "overlays").iterdir())


def test_bad_files_are_named_at_the_end_and_the_others_are_done(run, images, tmp_path):
    (images / "cut.png").write_bytes((images / "gray.png").read_bytes()[:60])
    (images / "fake.jpg").write_text("no JPEG at all")
    with pytest.raises(InputError) as caught:
        predict_images(run, images, tmp_path / "out")
    sentence = str(caught.value)
    assert sentence.startswith("5 of 7 masks are in ")
    assert "cut.png" in sentence
    assert "fake.jpg" in sentence
    assert len(list((tmp_path / "out").iterdir())) == 5


LONG = "x" * 251 + ".png"


@pytest.mark.parametrize("overlays", [False, True])
def test_no_odd_file_ends_a_batch(run, images, tmp_path, overlays):
    whole = (images / "gray.png").read_bytes()
    (images / "folder.png").mkdir()
    os.mkfifo(images / "pipe.png")
    (images / "broken.png").symlink_to(tmp_path / "nowhere")
    (images / "empty.png").write_bytes(b"")
    (images / "cut.png").write_bytes(whole[:60])
    for name in ("b" * 251 + ".jpg", "b" * 251 + ".png"):  # of one stem: their masks' names are too long
        (images / name).write_bytes(whole)
    for name in (LONG, "new\nline.png", "esc\x1b[2J.png", "u\u0308.png", "日本.png"):
        (images / name).write_bytes(whole)
    with pytest.raises(InputError) as caught:
        predict_images(run, images, tmp_path / "out", overlays=overlays)
    written = {path.name for path in (tmp_path / "out").iterdir()} - {"overlays"}
    assert LONG in written
    assert len(written) == 10
    assert str(caught.value).startswith("10 of 17 masks are in ")
    assert str(caught.value).count("; and 2 more") == 1
    if overlays:
        assert {path.name for path in (tmp_path / "out/overlays").iterdir()} == written


@pytest.mark.parametrize("name", ["gray.png", "deep.png", "scan.png"])
def test_an_output_that_cannot_be_written_does_not_end_a_batch(run, images, tmp_path, name):
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(InputError, match=r"^4 of 5 masks .* exists and holds something else"):
        predict_images(run, images, tmp_path / "out", overlays=True)
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 4


def test_a_long_list_of_bad_files_is_cut(run, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02d}.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"0 of 20 masks .*04\.png.*; and 15 more$"):
        predict_images(run, folder, tmp_path / "out")


def test_the_same_again_is_fine_and_another_file_is_never_overwritten(run, images, tmp_path):
    out = tmp_path / "out"
    written = predict_images(run, images, out)
    times = {path: path.stat().st_mtime_ns for path in written}
    assert predict_images(run, images, out) == written
    assert {path: path.stat().st_mtime_ns for path in written} == times
    written[0].write_text("my own work")
    with pytest.raises(InputError, match=r"4 of 5 masks .*color\.png exists and holds something else"):
        predict_images(run, images, out)
    assert written[0].read_text() == "my own work"


def test_images_are_never_taken_for_the_output_folder(run, images):
    before = sorted(images.iterdir())
    with pytest.raises(InputError, match="is the folder of the images"):
        predict_images(run, images, images / ".." / "images")
    assert sorted(images.iterdir()) == before


def test_out_must_be_a_folder(run, images, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        predict_images(run, images, tmp_path / "file")


def test_hostile_names_stay_in_the_folder(run, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    image, _ = scene(20, 20, 5, 5, 10)
    names = ["x..png", "a b\n.png", "-rf.png", "[bold].png", "ä.png", "same.png"]
    for name in names:
        Image.fromarray(image[:, :, 0]).save(folder / name)
    Image.fromarray(image[:, :, 0]).save(folder / "same.tif")
    written = predict_images(run, folder, out)
    assert all(path.parent == out for path in written)
    assert {path.name for path in written} == {*names[:5], "same.png.png", "same.tif.png"}


def test_find_images(images):
    assert find_images(images / "gray.png") == [images / "gray.png"]
    assert [path.name for path in find_images(images / "*o*.p*g")] == ["color.png"]
    assert [path.name for path in find_images(images.parent / "**" / "ph*")] == ["photo.jpeg"]
    for nothing in (images / "none.png", images / "*.gif"):
        with pytest.raises(InputError, match="no such file or folder"):
            find_images(nothing)
    (images / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        find_images(images / "empty")


def test_a_file_whose_name_looks_like_a_pattern(images):
    odd = images / "a[1].png"
    odd.write_bytes((images / "gray.png").read_bytes())
    assert find_images(odd) == [odd]


def test_output_names_are_unique_without_case():
    files = [Path(name) for name in ("A.png", "a.jpg", "a.jpg.png", "x/b.png", "y/B.png")]
    names = output_names(files)
    assert len({name.casefold() for name in names}) == len(files)
    assert all("/" not in name and name.endswith(".png") for name in names)


def test_fit_channels():
    color = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    gray = fit_channels(Path("x"), color, 1)
    assert gray.shape == (2, 4, 1)
    assert gray[0, 0, 0] == pytest.approx(0.299 * 0 + 0.587 * 1 + 0.114 * 2)
    assert fit_channels(Path("x"), gray, 3).shape == (2, 4, 3)
    assert fit_channels(Path("x"), color, 3) is color
    with pytest.raises(InputError, match="x: the network was trained on 4 channels, got 3"):
        fit_channels(Path("x"), color, 4)


@pytest.mark.parametrize("shape", [(1, 1), (5, 70), (64, 64)])
def test_probabilities_come_back_in_native_size_and_sum_to_one(shape):
    seen = []

    def predict(images):
        seen.append(tuple(images.shape))
        return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).softmax(dim=1)

    image = np.random.default_rng(0).integers(0, 255, (*shape, 1)).astype(np.uint8)
    probabilities = probabilities_at_native(predict, image, 32)
    assert seen == [(1, 1, 32, 32)]
    assert probabilities.shape == (3, *shape)
    assert torch.allclose(probabilities.sum(dim=0), torch.ones(shape), atol=1e-5)


def test_an_image_in_the_frame_size_is_not_resampled():
    image, mask = scene(32, 32, 8, 9, 10)
    level = probabilities_at_native(lambda images: torch.cat([-images, images], dim=1), image, 32)
    assert (level.argmax(dim=0).numpy() == mask).all()
