"""A folder of volumes, from files to files, by the commands: what is predicted lies over its image."""

import json
import shutil

import h5py
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from scipy.spatial.transform import Rotation
from tests.end_to_end.tools import TINY, done, refused, train

from metadcseg.data.store.reader import PreparedSet

SHAPE = (30, 26, 7)


def affine(number):
    """Oblique, and every second one flipped; slices are thicker than pixels are wide."""
    matrix = np.eye(4)
    turned = Rotation.from_euler("xyz", (10 * number, -15, 30), degrees=True).as_matrix()
    matrix[:3, :3] = turned @ np.diag([1.5, -1.25 if number % 2 else 1.25, 4.0])
    matrix[:3, 3] = (-20.5, 30.25, number)
    return matrix


def ball(number):
    x, y, z = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return ((x - 13 - number % 3) ** 2 + (y - 12) ** 2 + 4 * (z - 3) ** 2 < 60).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("volumes") / "my_volumes"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    lines = ["id,role"]
    for number, role in enumerate(["train", "train", "gold", "val", "test", "test"]):
        draw = np.random.default_rng(number)
        image = (300.0 * ball(number) + draw.normal(500, 30, SHAPE)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(image, affine(number)), root / f"images/c{number}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(ball(number), affine(number)), root / f"masks/c{number}.nii.gz")
        lines.append(f"c{number},{role}")
    (root / "splits.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("run")
    told = done("prepare", folder, "--out", place / "set", "--edges", "none", "--json").json
    assert told["volumes"] == {"train": 2, "gold": 1, "val": 1, "test": 2}
    done("corrupt", place / "set", "--rate", "0.2", "--out", place / "noisy")
    options = ("--calibrated.warmup", "0", "--training.clip", "1", "--training.lr", "0.1")
    done(*train(place / "noisy", place / "run", *options, epochs=12))
    return place / "run"


def test_volumes_are_scored_whole_in_mm(folder, run):
    record = done("evaluate", run, "--json").json
    assert record["summary"]["dsc"]["n"] == 2
    assert record["reference"] == "truth"  # what the labels were before the noise
    assert record["summary"]["dsc"]["mean"] > 0.5
    for name, path in record["predictions"].items():
        predicted = nibabel.load(run / "evaluation" / path)
        wanted = nibabel.load(folder / f"masks/{name}.nii.gz")
        np.testing.assert_allclose(predicted.affine, wanted.affine, rtol=0, atol=1e-5)
        one, other = (np.asarray(image.dataobj) == 1 for image in (predicted, wanted))
        dsc = 2 * (one & other).sum() / (one.sum() + other.sum())
        lines = (run / "evaluation/test.csv").read_text().splitlines()
        row = dict(
            zip(lines[0].split(","), next(x for x in lines if f",{name}," in x).split(","), strict=True)
        )
        assert float(row["dsc"]) == pytest.approx(dsc)
        hausdorff = sitk.HausdorffDistanceImageFilter()
        images = [
            sitk.ReadImage(str(run / "evaluation" / path)),
            sitk.ReadImage(str(folder / f"masks/{name}.nii.gz")),
        ]
        images = [sitk.LabelContour(image == 1) for image in images]
        images[1].CopyInformation(images[0])
        hausdorff.Execute(*images)
        assert float(row["hd_mm"]) == pytest.approx(hausdorff.GetHausdorffDistance(), rel=1e-4)


@pytest.mark.parametrize("end", [".nii.gz", ".mha", ".mhd", ".nrrd"])
def test_a_prediction_lies_over_its_image(end, folder, run, tmp_path):
    image = tmp_path / f"new{end}"
    if end == ".nii.gz":
        shutil.copy(folder / "images/c5.nii.gz", image)
    else:
        sitk.WriteImage(sitk.ReadImage(str(folder / "images/c5.nii.gz")), str(image))
    done("predict", run, image, "--out", tmp_path / "out")
    (written,) = (tmp_path / "out").iterdir()
    assert written.name == {".mhd": "new.mha"}.get(end, f"new{end}")
    ours, theirs = sitk.ReadImage(str(written)), sitk.ReadImage(str(image))
    assert ours.GetSize() == theirs.GetSize()
    for read in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(ours, read)(), getattr(theirs, read)(), rtol=0, atol=1e-6)
    labels = sitk.GetArrayFromImage(ours).transpose(2, 1, 0)
    assert set(np.unique(labels)) == {0, 1}
    truth = ball(5)
    assert 2 * (labels & truth).sum() / (labels.sum() + truth.sum()) > 0.5


def test_pictures_show_slices_side_by_side(folder, run, tmp_path):
    done("evaluate", run, "--overlays")
    for name in ("c4", "c5"):
        with Image.open(run / f"evaluation/test/overlays/{name}.png") as picture:
            width, height = picture.size
            assert width >= 3 * SHAPE[1]  # seven slices, in three rows, and the legend below
            assert height > 3 * SHAPE[0]
    done("predict", run, folder / "images/c5.nii.gz", "--out", tmp_path, "--overlays")
    with Image.open(tmp_path / "overlays/c5.png") as picture:
        assert len(picture.getcolors(100_000)) > 10


def test_what_is_predicted_is_what_was_evaluated(folder, run, tmp_path):
    record = done("evaluate", run, "--json").json
    done("predict", run, folder / "images/c4.nii.gz", "--out", tmp_path)
    again = np.asarray(nibabel.load(tmp_path / "c4.nii.gz").dataobj)
    stored = np.asarray(nibabel.load(run / "evaluation" / record["predictions"]["c4"]).dataobj)
    assert np.array_equal(again, stored)


def test_a_bad_volume_is_named_and_the_others_are_done(folder, run, tmp_path):
    shutil.copytree(folder / "images", tmp_path / "images")
    (tmp_path / "images/c1.nii.gz").write_bytes(b"nothing")
    both = np.stack([np.zeros(SHAPE, np.int16)] * 2, axis=3)
    nibabel.save(nibabel.Nifti1Image(both, np.eye(4)), tmp_path / "images/two.nii.gz")
    says = ("5 of 7", "c1.nii.gz", "trained on 1 channels, got 2")
    refused("predict", run, tmp_path / "images", "--out", tmp_path / "out", says=says)
    assert len(list((tmp_path / "out").iterdir())) == 5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--axis", "w"), ("--axis", "'w'")),
        (("--pixel", "much"), ("--pixel must be a size",)),
        (("--normalize", "zscor"), ("zscore",)),
        (("--spacing", "1"), ("--spacing does not belong",)),
    ],
)
def test_options_of_volumes(words, says, folder, tmp_path):
    refused("prepare", folder, "--out", tmp_path / "set", *words, says=says)
    assert not (tmp_path / "set").exists()


def test_two_dimensions_and_three_do_not_mix(folder, run, tmp_path):
    shutil.copytree(folder, tmp_path / "mixed")
    (tmp_path / "mixed/images/flat.png").write_bytes(b"")
    refused("prepare", tmp_path / "mixed", "--out", tmp_path / "set", says=("two folders", "flat.png"))
    flat = tmp_path / "flat.png"
    flat.write_bytes(b"")
    refused(
        "predict", run, flat, "--out", tmp_path / "out", says=("flat.png is no volume", "trained on volumes")
    )


def test_cutting_otherwise_is_recorded_and_repeated(folder, tmp_path):
    words = (
        "--axis",
        "x",
        "--pixel",
        "2",
        "--crop",
        "content",
        "--normalize",
        "percentile",
        "--empty",
        "drop",
    )
    done("prepare", folder, "--out", tmp_path / "set", *words, "--edges", "none")
    prepared = PreparedSet.open(tmp_path / "set")
    assert prepared.preprocessing["axis"] == "x"
    volume = next(volume for volume in prepared.volumes if volume.role == "test")
    assert len(prepared.slices_of(volume)) == volume.placement.slices
    dropped = next(volume for volume in prepared.volumes if volume.role == "train")
    assert 0 < len(prepared.slices_of(dropped)) < dropped.placement.slices
    done(*train(tmp_path / "set", tmp_path / "run", "--method", "supervised", epochs=1))
    assert (
        json.loads((tmp_path / "run/run.json").read_bytes())["set"]["preprocessing"] == prepared.preprocessing
    )
    done("predict", tmp_path / "run", folder / "images/c0.nii.gz", "--out", tmp_path / "out")
    assert nibabel.load(tmp_path / "out/c0.nii.gz").shape == SHAPE
    refused("evaluate", tmp_path / "run", "--split", "train", says=("cannot be put together", "--empty keep"))


def test_gold_counted_in_slices(run, tmp_path):
    source = run.parent / "set"  # three volumes to draw from, of SHAPE[2] slices
    told = done("split", source, "--out", tmp_path / "new", "--keep", "--gold", "slices:0.2", "--json").json
    (numbers,) = told["gold_slices"].values()
    prepared = PreparedSet.open(tmp_path / "new")
    assert [case.slice for case in prepared.select("gold")] == numbers
    assert len(numbers) == round(0.2 * 3 * SHAPE[2])
    again = done("split", source, "--out", tmp_path / "again", "--keep", "--gold", "slices:0.2")
    assert f"2 train, 1 gold, 1 val, 2 test (volumes); {len(numbers)} slices are gold" in again.out
    done(*train(tmp_path / "new", tmp_path / "run", "--method", "supervised", "--supervised.gold", "mixed"))
    assert done("evaluate", tmp_path / "run", "--json").json["summary"]["dsc"]["n"] == 2
    refused("evaluate", tmp_path / "run", "--split", "gold", says=("cannot be put together",))
    folds = ("--folds", "2", "--gold", "slices:0.1", "--epochs", "1", "--method", "supervised", *TINY)
    done("cross-validate", source, "--out", tmp_path / "folds", *folds)
    for fold in ("fold-1", "fold-2"):
        held = PreparedSet.open(tmp_path / "folds" / fold / "set")
        volumes = {case.volume for case in held.select("train")} | {
            case.volume for case in held.select("gold")
        }
        assert len(held.select("gold")) == round(0.1 * len(volumes) * SHAPE[2])


def test_gold_counted_in_slices_is_not_drawn_while_preparing(tmp_path):
    words = ("--source", tmp_path, "--out", tmp_path / "set", "--gold", "slices:0.02")
    refused("prepare", "msd-heart", *words, says=("--gold 0", "split SET --keep --gold slices:0.02"))
    refused("prepare", "kvasir-seg", *words, says=("this source has none: give 0.02",))


def test_the_same_volume_under_another_name_in_another_role_is_found(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "twice")
    shutil.copy(tmp_path / "twice/images/c0.nii.gz", tmp_path / "twice/images/c9.nii.gz")
    shutil.copy(tmp_path / "twice/masks/c1.nii.gz", tmp_path / "twice/masks/c9.nii.gz")
    with (tmp_path / "twice/splits.csv").open("a") as file:
        file.write("\nc9,test")
    refused(
        "prepare",
        tmp_path / "twice",
        "--out",
        tmp_path / "set",
        says=("c9.nii.gz", "c0.nii.gz", "same image"),
        alone=False,  # what the set takes is told before
    )


def test_hdf5_is_read_under_the_same_key_again(folder, tmp_path):
    (tmp_path / "h5/images").mkdir(parents=True)
    shutil.copy(folder / "splits.csv", tmp_path / "h5")
    for number in range(6):
        with h5py.File(tmp_path / f"h5/images/c{number}.h5", "w") as file:
            file["scan"] = np.asarray(nibabel.load(folder / f"images/c{number}.nii.gz").dataobj)
            file["outline"] = ball(number)
    keys = ("--image-key", "scan", "--label-key", "outline")
    assert done("check", tmp_path / "h5", *keys, "--json").json["ok"]
    done("prepare", tmp_path / "h5", *keys, "--out", tmp_path / "set", "--edges", "none")
    done(*train(tmp_path / "set", tmp_path / "run", "--method", "supervised"))
    done("predict", tmp_path / "run", tmp_path / "h5/images/c5.h5", "--out", tmp_path / "out")
    assert nibabel.load(tmp_path / "out/c5.nii.gz").shape == SHAPE
    done("evaluate", tmp_path / "run")


def test_labels_on_another_grid_can_be_resampled(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "moved")
    wide = np.repeat(ball(0), 2, axis=0)
    finer = affine(0)
    finer[:3, 0] /= 2
    finer[:3, 3] -= finer[:3, 0] / 2
    nibabel.save(nibabel.Nifti1Image(wide, finer), tmp_path / "moved/masks/c0.nii.gz")
    words = ("prepare", tmp_path / "moved", "--out", tmp_path / "set", "--edges", "none")
    refused(*words, says=("c0.nii.gz", "--resample-labels"), alone=False)
    done(*words, "--resample-labels")
    prepared = PreparedSet.open(tmp_path / "set")
    assert np.array_equal(prepared.reference(prepared.volumes[0]), ball(0))


def test_four_digits_may_be_the_number_of_a_patient(folder, run, tmp_path):
    (tmp_path / "images").mkdir()
    for number in (4, 5):
        shutil.copy(folder / f"images/c{number}.nii.gz", tmp_path / f"images/pat_{number:04d}.nii.gz")
    done("predict", run, tmp_path / "images", "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "pat_0004.nii.gz",
        "pat_0005.nii.gz",
    ]
    done("predict", run, folder / "images/c5.nii.gz", "--out", tmp_path / "alone")
    one, other = (nibabel.load(tmp_path / name) for name in ("out/pat_0005.nii.gz", "alone/c5.nii.gz"))
    assert np.array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))


def test_a_set_that_was_cut_otherwise_is_refused(folder, run, tmp_path):
    words = ("prepare", folder, "--edges", "none", "--out")
    done(*words, tmp_path / "other", "--normalize", "percentile", "--empty", "drop")
    says = ("normalize: zscore there, percentile here", "same options")
    refused("evaluate", run, "--data", tmp_path / "other", says=says)
    done(*words, tmp_path / "dropped", "--empty", "drop")  # which changes no slice of the test cases
    done("evaluate", run, "--data", tmp_path / "dropped")


@pytest.fixture(scope="module")
def two_channels(folder, tmp_path_factory):
    """A run on volumes of two channels, and the folder that it was trained on."""
    root = tmp_path_factory.mktemp("two")
    shutil.copytree(folder, root / "files")
    for number in range(6):
        path = root / f"files/images/c{number}.nii.gz"
        image = np.asarray(nibabel.load(path).dataobj)
        nibabel.save(nibabel.Nifti1Image(np.stack([image, image[::-1]], axis=3), affine(number)), path)
    done("prepare", root / "files", "--out", root / "set", "--edges", "none")
    done(*train(root / "set", root / "run", "--method", "supervised", epochs=2))
    return root


def test_channels_in_one_file_and_in_files_of_their_own(two_channels, tmp_path):
    (tmp_path / "images").mkdir()
    whole = two_channels / "files/images/c5.nii.gz"
    shutil.copy(whole, tmp_path / "images/all_0007.nii.gz")  # both channels: a case of its own
    for channel in range(2):
        array = np.asarray(nibabel.load(whole).dataobj)[..., channel]
        nibabel.save(nibabel.Nifti1Image(array, affine(5)), tmp_path / f"images/apart_{channel:04d}.nii.gz")
    done("predict", two_channels / "run", tmp_path / "images", "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["all_0007.nii.gz", "apart.nii.gz"]
    one, other = (
        np.asarray(nibabel.load(tmp_path / f"out/{name}.nii.gz").dataobj) for name in ("all_0007", "apart")
    )
    assert np.array_equal(one, other)


def test_a_missing_channel_is_not_taken_for_another(two_channels, folder, tmp_path):
    (tmp_path / "images").mkdir()
    for number in (1, 2):  # two patients of one channel each, or a case without its first channel
        shutil.copy(folder / "images/c5.nii.gz", tmp_path / f"images/c_{number:04d}.nii.gz")
    says = ("c_0001.nii.gz", "0000 to 0001", "got 0001, 0002", "name every channel once")
    refused("predict", two_channels / "run", tmp_path / "images", "--out", tmp_path / "out", says=says)
