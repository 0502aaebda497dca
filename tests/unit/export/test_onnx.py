"""Exported networks predict as the command does, in a process that knows neither torch nor this package."""

import json
import os
import runpy
import signal
import subprocess
import sys
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from tests.unit.export.images import write_deep_colors
from tests.unit.export.networks import random_run

from metadcseg.data.formats.images import read_image
from metadcseg.data.formats.volumes import read_volume
from metadcseg.data.slicing.cut import SliceOptions, cut
from metadcseg.data.slicing.intensities import background_of, normalize_volume
from metadcseg.errors import InputError
from metadcseg.evaluation.predict import (
    fit_channels,
    load_predictor,
    probabilities_at_native,
    probabilities_of_stack,
)
from metadcseg.evaluation.predict_files import predict_images
from metadcseg.export.onnx import export_onnx, write_network
from metadcseg.export.parity import TOLERANCE
from metadcseg.networks.registry import KINDS

BARE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "metadcseg", "monai", "scipy", "onnx"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def copied(place):
    """Put the runner into a folder, as an export does."""
    for source in (resources.files("metadcseg") / "export" / "runner").iterdir():
        if source.name.endswith(".py"):
            (place / source.name).write_bytes(source.read_bytes())
    return place


@contextmanager
def alone(monkeypatch):
    """Let the runner's modules be found, and forget them."""
    monkeypatch.setattr(sys, "path", [str(resources.files("metadcseg") / "export" / "runner"), *sys.path])
    try:
        yield
    finally:
        for name in ("images", "volumes", "shared"):
            sys.modules.pop(name, None)


def run_bare(out, source, masks):
    """Run the runner where torch and this package cannot be imported."""
    words = [sys.executable, "-W", "error", "-c", BARE, out / "run.py", source, masks, "--probabilities"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "IMAGES OUT"), (("empty", "masks"), "none of .png"), (("full", "full"), "among the images")],
)
def test_the_runner_refuses_in_a_sentence(tmp_path, monkeypatch, words, said):
    """With a description alone; of the network only the session is taken from a stand-in."""
    script = copied(tmp_path) / "run.py"
    told = {"file": "model.onnx", "suffixes": [".png"], "takes": "images"}
    (tmp_path / "model.json").write_text(json.dumps(told))
    for name in ("empty", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "a.png").write_bytes(b"kept")
    (tmp_path / "empty" / "._a.png").write_bytes(b"of a Mac")  # hidden, so none
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: None)
    monkeypatch.setattr(sys, "argv", [str(script), *(str(tmp_path / word) for word in words)])
    with pytest.raises(SystemExit, match=said), alone(monkeypatch):
        runpy.run_path(str(script), run_name="__main__")
    assert (tmp_path / "full" / "a.png").read_bytes() == b"kept"


class Halves:
    """In the place of a session: two classes, of which the second has the brighter pixels."""

    def run(self, _, named):
        (images,) = named.values()
        return [np.concatenate([-images[:, :1], images[:, :1]], axis=1)]


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """Return what runs the script, on a folder and into another, with a stand-in for the network."""
    place = tmp_path / "model"
    place.mkdir()
    copied(place)
    told = {
        "file": "model.onnx",
        "channels": 1,
        "grid": [8, 8],
        "window": None,
        "values": {"background": 0, "organ": 255},
        "input": {"name": "image", "multiple": 1, "smallest": [1, 1]},
        "preprocessing": {
            "axis": "auto",
            "pixel": None,
            "normalize": "zscore",
            "crop": "none",
            "margin": 0,
            "order": "world",
        },
    }
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: Halves())

    def run(takes, *words):
        suffixes = [".png", ".tif"] if takes == "images" else [".nii.gz"]
        (place / "model.json").write_text(json.dumps(told | {"takes": takes, "suffixes": suffixes}))
        monkeypatch.setattr(sys, "argv", [str(place / "run.py"), *map(str, words)])
        with alone(monkeypatch):
            runpy.run_path(str(place / "run.py"), run_name="__main__")

    return run


@pytest.mark.parametrize("takes", ["images", "volumes"])
def test_the_runner_writes_through_no_link(runner, tmp_path, noise, takes):
    """A folder of links to the originals, as data tools make them, is a folder of images, too."""
    array = noise.integers(0, 255, (9, 7), dtype=np.uint8)
    name = "a.png" if takes == "images" else "a.nii.gz"
    for folder in ("links", "masks", "originals"):
        (tmp_path / folder).mkdir()
    original = tmp_path / "originals" / name
    if takes == "images":
        Image.fromarray(array).save(original)
    else:
        nibabel.save(nibabel.Nifti1Image(np.stack([array] * 3, axis=2), np.eye(4)), original)
    kept = original.read_bytes()
    for folder in ("links", "masks"):
        (tmp_path / folder / name).symlink_to(original)
    for into in ("links", "originals"):
        with pytest.raises(SystemExit, match="among the images"):
            runner(takes, tmp_path / "links", tmp_path / into)
    runner(takes, tmp_path / "links", tmp_path / "masks", "--probabilities")
    assert original.read_bytes() == kept
    assert not (tmp_path / "masks" / name).is_symlink()
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [name, f"{name}.npy"]


@pytest.mark.parametrize(("kind", "frames"), [(np.uint8, 1), (np.uint16, 1), (np.uint16, 2)])
def test_the_runner_reads_tiff_as_the_command_does(runner, tmp_path, noise, kind, frames):
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "a.tif"
    array = noise.integers(0, np.iinfo(kind).max, (frames, 8, 8), dtype=kind)
    tifffile.imwrite(file, array, photometric="miniswhite")
    if frames > 1:
        with pytest.raises(SystemExit, match=r"a\.tif holds 2 frames, a single one is allowed"):
            runner("images", file, tmp_path / "out")
        return
    runner("images", file, tmp_path / "out")
    shown = read_image(file).array[..., 0]
    assert np.array_equal(np.array(Image.open(tmp_path / "out" / "a.png")) == 255, shown > shown.mean())


@pytest.mark.parametrize("name", ["color.png", "gray-alpha.png", "color.tif", "planes.tif"])
def test_the_runner_refuses_color_of_16_bits_as_pillow_cuts_it(runner, tmp_path, name):
    write_deep_colors(tmp_path)
    with pytest.raises(
        SystemExit, match=rf"{name} is 16-bit color, which Pillow cuts to 8: predict with met"
    ):
        runner("images", tmp_path / name, tmp_path / "out")


def test_the_runner_refuses_masks_that_would_share_a_name_before_it_writes(runner, tmp_path, noise):
    (tmp_path / "in").mkdir()
    for name in ("A.tif", "a.png", "a.tif.png", "b.png"):
        Image.fromarray(noise.integers(0, 255, (8, 8), np.uint8)).save(tmp_path / "in" / name)
    with pytest.raises(SystemExit, match=r"^A\.tif and a\.tif\.png would get masks of one name: rename one"):
        runner("images", tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "in" / "a.tif.png").unlink()
    runner("images", tmp_path / "in", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["A.tif.png", "a.png.png", "b.png"]


def test_the_runner_takes_no_plane_for_a_volume(runner, tmp_path):
    file = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 9), np.uint8), np.eye(4)), file)
    with pytest.raises(SystemExit, match=r"a\.nii\.gz must hold a volume \(X, Y, Z\) or .*, got \(8, 9\)"):
        runner("volumes", file, tmp_path / "out")


@pytest.fixture
def noise():
    return np.random.default_rng(0)


@pytest.fixture
def images(tmp_path, noise):
    """Gray and color, of 8 and 16 bits, lossy and not, larger and smaller than the network's grid."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, shape, kind in (
        ("gray.png", (30, 50), np.uint8),
        ("color.png", (64, 40, 3), np.uint8),
        ("photo.jpeg", (90, 71, 3), np.uint8),
        ("deep.png", (33, 41), np.uint16),
        ("real.tif", (17, 25), np.float32),
    ):
        coarse = noise.integers(0, 200, shape).astype(kind)
        Image.fromarray(coarse if kind != np.uint16 else coarse * 300).save(folder / name)
    tifffile.imwrite(
        folder / "white.tif", noise.integers(0, 60_000, (21, 27), np.uint16), photometric="miniswhite"
    )
    Image.new("L", (20, 20), 7).save(folder / "flat.png")
    Image.new("L", (20, 24), 7).save(folder / "flat.tif")  # of the same stem
    return folder


def test_a_folder_that_holds_something_is_refused_by_an_advice_without_options_of_others(tmp_path):
    (tmp_path / "note.txt").touch()
    with pytest.raises(InputError, match=r"holds 'note.txt'; name another folder"):
        export_onnx(tmp_path / "run", tmp_path)


def test_images(tmp_path, images):
    """Of a method of three networks, which predict by the mean of their logits."""
    channels = 1
    run = random_run(tmp_path / "run", channels=channels, classes=3, method="trinet")
    out = tmp_path / "out"
    told = export_onnx(run, out, trust_code=True)
    assert sorted(path.name for path in out.iterdir()) == [
        "images.py",
        "model.json",
        "model.onnx",
        "run.py",
        "shared.py",
    ]
    assert told["input"]["shape"] == ["N", channels, "H", "W"]
    assert told["difference"] < TOLERANCE
    assert json.loads((out / "model.json").read_text())["opset"] == told["opset"]
    run_bare(out, images, tmp_path / "theirs")
    trained, predict = load_predictor(run, "cpu", trust_code=True)
    for ours in predict_images(run, images, tmp_path / "ours", device="cpu", trust_code=True):
        theirs = tmp_path / "theirs" / ours.name
        assert np.array_equal(np.array(Image.open(ours)), np.array(Image.open(theirs))), ours.name
    for image in images.iterdir():
        array = fit_channels(image, read_image(image).array, channels)
        wanted = probabilities_at_native(predict, array, trained.size).numpy()
        found = np.load(tmp_path / "theirs" / f"{image.name}.npy")[0]
        assert np.abs(found - wanted).max() < TOLERANCE, image.name


TURNED = np.array([[0, -0.7, 0, 5], [0, 0, 3.1, -4], [0.9, 0, 0, 2], [0, 0, 0, 1.0]])

VOLUMES = {
    "slices": (2, SliceOptions(pixel=1.1, crop="content"), {}),
    "windows": (3, SliceOptions(axis="y", order="file"), {"depth": 12, "patch": (8, 16, 16)}),
}


@pytest.mark.parametrize("case", VOLUMES)
def test_volumes(tmp_path, noise, case):
    axes, how, training = VOLUMES[case]
    run = random_run(tmp_path / "run", channels=2, classes=3, axes=axes, how=how.to_dict(), **training)
    array = np.zeros((29, 23, 11, 2), np.int16)
    array[4:25, 3:, 2:9] = noise.integers(1, 900, (21, 20, 7, 2))
    image = nibabel.Nifti1Image(array, TURNED)
    image.header.set_xyzt_units("mm")
    folder = tmp_path / "volumes"
    folder.mkdir()
    nibabel.save(image, folder / "a.nii.gz")
    export_onnx(run, tmp_path / "out", trust_code=True)
    run_bare(tmp_path / "out", folder, tmp_path / "theirs")
    (mask,) = predict_images(run, folder, tmp_path / "ours", device="cpu", trust_code=True)
    ours, theirs = nibabel.load(mask), nibabel.load(tmp_path / "theirs" / "a.nii.gz")
    assert np.array_equal(ours.dataobj, theirs.dataobj)
    assert len(np.unique(ours.dataobj)) > 1
    assert np.array_equal(ours.affine, theirs.affine)
    assert theirs.get_data_dtype() == np.uint8
    trained, predict = load_predictor(run, "cpu", trust_code=True)
    stack, _ = cut(read_volume(folder / "a.nii.gz"), how)
    wanted = np.stack([maps.numpy() for maps in probabilities_of_stack(predict, stack, trained.grid)])
    found = np.load(tmp_path / "theirs" / "a.nii.gz.npy")
    assert np.abs(found - wanted).max() < TOLERANCE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heard_when_the_exporter_has_ended(tmp_path, monkeypatch, number):
    """Raised within its C++ it would abort Python."""
    ended = []

    def export(*asked, **how):
        os.kill(os.getpid(), number)
        ended.append(number)

    monkeypatch.setattr("torch.onnx.export", export)
    with pytest.raises(KeyboardInterrupt):
        write_network(torch.nn.Identity(), torch.zeros(1, 1, 8, 8), tmp_path / "model.onnx", "none")
    assert ended == [number]


def test_what_cannot_be_exported_is_one_sentence(tmp_path):
    run = random_run(tmp_path / "run", network="Sorting")
    with pytest.raises(InputError, match=r"Sorting cannot be exported to ONNX \(.*\): docs"):
        export_onnx(run, tmp_path / "out", trust_code=True)
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(InputError, match="already holds 'mine'"):
        export_onnx(run, tmp_path / "full", trust_code=True)


@pytest.mark.parametrize("how", ["zscore", "nonzero", "percentile", "window:20,300", "none"])
def test_the_script_normalizes_volumes_as_the_package_does(monkeypatch, noise, how):
    with alone(monkeypatch):
        script = runpy.run_path(str(resources.files("metadcseg") / "export" / "runner" / "volumes.py"))
    busy, flat = noise.integers(-50, 900, (6, 5, 4)).astype(np.int16), np.full((6, 5, 4), 3, np.int16)
    busy[0], busy[:, -1] = 7, 7
    for channel in (busy, flat, busy.astype(np.float32) / 7):
        outside = script["background"](channel)
        assert outside == background_of(channel)
        assert np.array_equal(script["scale"](channel, outside, how), normalize_volume(channel, how))


@pytest.mark.parametrize(
    ("shape", "sides"),
    [
        ((12, 1, 9), (1.4, 1.0, 1.4)),  # one slice, of DICOM without a thickness
        ((12, 10, 1), (1.0, 1.0, 1.0)),
        ((1, 10, 9), (1.0, 3.0, 1.0)),
        ((8, 10, 9), (5e-4, 2e-4, 2e-4)),
        ((8, 10, 9), (2e-4, 2.0001e-4, 2e-4)),
    ],
)
def test_the_script_cuts_the_axis_that_the_package_cuts(tmp_path, monkeypatch, noise, shape, sides):
    with alone(monkeypatch):
        script = runpy.run_path(str(resources.files("metadcseg") / "export" / "runner" / "volumes.py"))
    affine = np.eye(4)
    affine[:3, :3] = np.diag(sides)[[0, 2, 1]]
    image = nibabel.Nifti1Image(noise.integers(1, 900, shape, np.int16), affine)
    nibabel.save(image, tmp_path / "a.nii")
    stack, placement = cut(read_volume(tmp_path / "a.nii"), SliceOptions())
    how = {"order": "world", "axis": "auto", "crop": "none", "normalize": "zscore", "pixel": None}
    theirs, view, *_ = script["read_volume"](tmp_path / "a.nii", how)
    assert view.shape == stack.shape[:3]
    assert min(view.shape[1:]) > 1
    assert np.array_equal(theirs, stack)
    assert placement.axis == (shape.index(1) if 1 in shape else (0 if sides[0] > 4e-4 else 1))


def test_the_page_names_every_network_as_the_study_found_it():
    root = Path(__file__).resolve().parents[3]
    rows = json.loads((root / "results/export-networks.json").read_text())["rows"]
    wanted = {(name, axes) for name, kind in KINDS.items() for axes in ((2, 3) if kind.volumes else (2,))}
    assert {(row["network"], row["axes"]) for row in rows} == wanted
    found = {(row["network"], row["axes"]): row for row in rows}
    page = (root / "docs/how-to/export.md").read_text()
    for name in KINDS:
        cells = [
            f"{'yes' if row['exports'] else 'no'}, {row['difference']:.1e}" if row else ""
            for row in (found.get((name, axes)) for axes in (2, 3))
        ]
        assert f"| `{name}` | {cells[0]} | {cells[1]} |" in page
    assert all(row["difference"] < TOLERANCE for row in rows)
