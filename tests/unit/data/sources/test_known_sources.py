"""Data sets whose layout is known, written here in exactly that layout, and everything that can be wrong with them."""

import json

import h5py
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from tests.unit.data.folders import save

from metadcseg.data.prepare.checks import check_scan, check_set
from metadcseg.data.prepare.pipeline import prepare_scan
from metadcseg.data.sources.dataset_json import find_dataset_json
from metadcseg.data.sources.decathlon import scan_decathlon
from metadcseg.data.sources.known import KNOWN, scan_known
from metadcseg.data.sources.patterns import Patterns, scan_patterns
from metadcseg.data.sources.roles import Draw
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError

SHAPE = (12, 10, 6)


def image(number, channels=1):
    values = np.random.default_rng(number).normal(100, 20, (*SHAPE, channels)).astype(np.float32)
    return values[..., 0] if channels == 1 else values


def label(number, classes=2):
    labels = np.zeros(SHAPE, np.uint8)
    for value in range(1, classes):
        labels[2 * value : 2 * value + 2, 3 : 5 + number % 3, 1:5] = value
    return labels


def nifti(path, array, spacing=(1.0, 1.0, 2.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing, 1.0])), path)
    return path


def decathlon(folder, cases=12, channels=1, classes=2, **changes):
    """A task as the Decathlon has it: ./imagesTr/x.nii.gz, labels as texts of numbers, imagesTs without labels."""
    listed = []
    for number in range(cases):
        name = f"case_{number:03d}.nii.gz"
        nifti(folder / "imagesTr" / name, image(number, channels))
        nifti(folder / "labelsTr" / name, label(number, classes))
        listed.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    said = {
        "name": "TEST",
        "licence": "CC-BY-SA 4.0",
        "tensorImageSize": "4D",
        "modality": {str(channel): "MRI" for channel in range(channels)},
        "labels": {str(value): f"part {value}" if value else "background" for value in range(classes)},
        "numTraining": cases,
        "training": listed,
        "test": ["./imagesTs/case_900.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps(said | changes))
    return folder


def counts(scan):
    roles = [volume.role for volume in scan.cases]
    return tuple(roles.count(role) for role in ("train", "gold", "val", "test"))


def prepared(scan, out, **options):
    prepare_scan(scan, out, name="test", edges="none", **options)
    return PreparedSet.open(out)


def refused(match, call, *arguments, **options):
    with pytest.raises(InputError, match=match) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_a_task_of_the_decathlon(tmp_path):
    scan = scan_known("msd", decathlon(tmp_path / "Task02_Heart"), Draw(seed=3))
    assert counts(scan) == (9, 1, 1, 1)
    assert scan.classes == ("background", "part 1")
    assert all(volume.verified for volume in scan.cases)
    assert scan.source["licence"] == "CC-BY-SA 4.0"
    assert "Antonelli" in scan.source["citation"]
    again = scan_known("msd-heart", tmp_path, Draw(seed=3))  # found inside the folder as well
    assert [volume.role for volume in again.cases] == [volume.role for volume in scan.cases]
    made = prepared(scan, tmp_path / "set")
    first = made.volumes[0]
    assert np.array_equal(made.reference(first), label(0))
    assert first.placement.grid.spacing() == (1.0, 1.0, 2.0)
    assert made.source["licence"] == "CC-BY-SA 4.0"


def test_brain_tumours_have_four_channels_and_the_papers_regions(tmp_path):
    scan = scan_known("msd-brain", decathlon(tmp_path, channels=4, classes=4), Draw())
    assert scan.regions == {"enhancing tumour": [3], "oedema": [1], "tumour core": [2, 3]}
    made = prepared(scan, tmp_path / "set")
    assert made.channels == 4
    assert made.regions == scan.regions
    refused(
        "is of another task: it has 2 labels, this one has 4",
        scan_known,
        "msd-brain",
        decathlon(tmp_path / "x"),
        Draw(),
    )


def test_the_papers_split_of_the_brain_tumours(tmp_path):
    folder = decathlon(tmp_path, cases=1, channels=4, classes=4)
    said = json.loads((folder / "dataset.json").read_text())
    for number in range(1, 484):
        for kind in ("imagesTr", "labelsTr"):
            (folder / kind / f"c{number}.nii.gz").touch()
        said["training"].append(
            {"image": f"./imagesTr/c{number}.nii.gz", "label": f"./labelsTr/c{number}.nii.gz"}
        )
    (folder / "dataset.json").write_text(json.dumps(said))
    train, gold, val, test = counts(scan_known("msd-brain", folder, Draw()))
    assert (train + gold, val, test) == (387, 48, 49)
    assert gold == 8  # 2 % of 387


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"training": [{"image": "../x.nii.gz", "label": "./labelsTr/a.nii.gz"}]},
            r"'\.\./x.nii.gz' leads out of the folder",
        ),
        (
            {"training": [{"image": "/etc/passwd", "label": "/etc/passwd"}]},
            "'/etc/passwd' leads out of the folder",
        ),
        ({"training": [{"image": 3, "label": "a"}]}, "the name of a file must be text, got 3"),
        ({"training": ["a"]}, "must name 'image' and 'label'"),
        ({"training": [{"image": "\ud800", "label": "a"}]}, "no file can be called"),
        (
            {"training": [{"image": "a" * 300, "label": "a"}]},
            "no file can be called|no case has all its files",
        ),
        ({"training": []}, "must list the cases under 'training'"),
        ({"labels": {}}, "must hold a table 'labels'"),
        ({"labels": {"0": "background", "x": "y"}}, "a label is a whole number from 0 to 65535, got 'x'"),
        (
            {"training": [{"image": "./imagesTr/no.nii.gz", "label": "./labelsTr/no.nii.gz"}]},
            "no case has all its files",
        ),
    ],
)
def test_a_hostile_dataset_json(changes, says, tmp_path):
    refused(says, scan_decathlon, decathlon(tmp_path, cases=1, **changes))


def test_other_files_than_dataset_json(tmp_path):
    refused("holds no dataset.json", scan_decathlon, tmp_path)
    refused("does not exist", scan_decathlon, tmp_path / "none")
    (tmp_path / "dataset.original.json").write_text("{}")
    refused("holds no dataset.json, but dataset.original.json: --source is", scan_decathlon, tmp_path)
    (tmp_path / "dataset.json").write_text('{"a": 1')
    refused("its end is missing", scan_decathlon, tmp_path)
    (tmp_path / "dataset.json").write_text("[1]")
    refused("must be an object, got a list", scan_decathlon, tmp_path)
    (tmp_path / "dataset.json").unlink()
    for name in ("Task01_a", "Task02_b"):
        decathlon(tmp_path / name, cases=1)
    refused(r"several data sets \(Task01_a, Task02_b\)", find_dataset_json, tmp_path)


def test_missing_files_doubled_cases_and_unknown_labels_are_named(tmp_path):
    folder = decathlon(tmp_path / "a")
    (folder / "imagesTr/case_003.nii.gz").unlink()
    (finding,) = scan_decathlon(folder).findings
    assert (finding.severity, finding.code) == ("warning", "case-incomplete")
    assert "1 case of 12" in finding.sentence
    assert "case_003.nii.gz" in finding.sentence
    listed = json.loads((folder / "dataset.json").read_text())["training"]
    folder = decathlon(tmp_path / "b", training=[*listed[4:], listed[5]])
    refused(
        r"problem: .*dataset.json: two cases are called 'case_005'",
        prepared,
        scan_decathlon(folder),
        tmp_path / "set",
    )
    folder = decathlon(tmp_path / "c")
    nifti(folder / "labelsTr/case_001.nii.gz", label(1, 4))
    says = r"case_001.nii.gz holds the label 2, 3, unknown to .*dataset.json \(which has 0, 1\): .*--remap 2:0,3:0$"
    refused(says, prepared, scan_decathlon(folder), tmp_path / "set")
    made = prepared(scan_decathlon(folder), tmp_path / "set", remap={2: 0, 3: 1})
    assert made.classes == ("background", "part 1")


def test_images_without_labels_are_not_used_and_that_is_said(tmp_path):
    folder = decathlon(tmp_path)
    nifti(folder / "imagesTs/case_900.nii.gz", image(900))
    scan = scan_decathlon(folder)
    (note,) = scan.findings
    assert (note.severity, len(scan.cases)) == ("note", 12)
    assert "imagesTs comes without labels and is not used" in note.sentence


def test_so_few_cases_that_none_can_be_gold(tmp_path):
    folder = decathlon(tmp_path, cases=3)
    says = "one case is left to train on, and gold takes at least one: .*--val and --test, or pass --gold 0"
    refused(says, scan_decathlon, folder)
    assert counts(scan_decathlon(folder, Draw(gold=0))) == (1, 0, 1, 1)
    assert counts(scan_decathlon(folder, Draw(val=0.0))) == (1, 1, 0, 1)


def test_labels_with_gaps_become_class_numbers(tmp_path):
    folder = decathlon(tmp_path, labels={"0": "background", "1": "one", "4": "four"})
    for number in range(12):
        held = label(number)
        held[8, 8] = 4
        nifti(folder / f"labelsTr/case_{number:03d}.nii.gz", held)
    made = prepared(scan_decathlon(folder), tmp_path / "set")
    assert made.classes == ("background", "one", "four")
    assert set(np.unique(made.reference(made.volumes[0]))) == {0, 1, 2}


def promise12(folder, cases=20):
    """Headers with compressed voxels beside them, in the parts that the archives have."""
    for number in range(cases):
        part = folder / f"TrainingData_Part{1 + number * 3 // cases}"
        part.mkdir(parents=True, exist_ok=True)
        for end, array in (
            ("", image(number).astype(np.int16)),
            ("_segmentation", label(number).astype(np.int8)),
        ):
            volume = sitk.GetImageFromArray(array.transpose(2, 1, 0))
            volume.SetSpacing((0.625, 0.625, 3.6))
            volume.SetOrigin((-80.0, 12.5, -30.0))
            sitk.WriteImage(volume, str(part / f"Case{number:02d}{end}.mhd"), useCompression=True)
    assert (folder / "TrainingData_Part1/Case00.zraw").is_file()
    return folder


def test_promise12(tmp_path):
    scan = scan_known("promise12", promise12(tmp_path), Draw())
    assert counts(scan) == (13, 1, 2, 4)  # of 50: 35 with gold, 5, 10
    made = prepared(scan, tmp_path / "set")
    volume = next(volume for volume in made.volumes if volume.id == "Case07")
    assert volume.placement.axis == 2
    assert np.allclose(volume.placement.grid.spacing(), (0.625, 0.625, 3.6))
    assert np.array_equal(made.reference(volume), label(7))
    (tmp_path / "TrainingData_Part1/Case01.zraw").unlink()
    refused(r"Case01.*Case01.zraw", prepared, scan_known("promise12", tmp_path, Draw()), tmp_path / "other")
    refused("holds no CaseNN.mhd", scan_known, "promise12", tmp_path / "set", Draw())


def test_test_data_of_promise12_is_no_training_data(tmp_path):
    promise12(tmp_path / "training_data", cases=12)
    promise12(tmp_path / "test_data", cases=3)  # counted from Case00 again
    (error,) = scan_known("promise12", tmp_path, Draw()).findings
    assert (error.severity, error.code) == ("error", "case-twice")
    for part in ("3 cases twice", "Case00", "test_data", "training_data", "training data alone"):
        assert part in error.sentence
    assert sum(counts(scan_known("promise12", tmp_path / "training_data", Draw()))) == 12
    for file in (tmp_path / "test_data").rglob("*_segmentation.*"):
        file.unlink()
    (note,) = scan_known("promise12", tmp_path, Draw()).findings
    assert note.severity == "note"
    assert "3 volumes without _segmentation.mhd" in note.sentence


def nnunet(folder, cases=10, labels=None, ending=".nii.gz", channels=2):
    for number in range(cases):
        for channel in range(channels):
            nifti(folder / f"imagesTr/c{number}_{channel:04d}.nii.gz", image(number + 50 * channel))
        nifti(folder / f"labelsTr/c{number}.nii.gz", label(number, 4))
    said = {
        "channel_names": {str(channel): "MR" for channel in range(channels)},
        "labels": labels or {"background": 0, "one": 1, "two": 2, "three": 3},
        "numTraining": cases,
        "file_ending": ending,
    }
    (folder / "dataset.json").write_text(json.dumps(said))
    return folder


def test_a_raw_folder_of_nnunet(tmp_path):
    scan = scan_known("nnunet", nnunet(tmp_path / "Dataset042_TEST"), Draw())
    assert counts(scan) == (8, 0, 1, 1)  # its labels are those given: none is verified by itself
    assert counts(scan_known("nnunet", tmp_path / "Dataset042_TEST", Draw(gold=2))) == (6, 2, 1, 1)
    made = prepared(scan, tmp_path / "set")
    assert (made.channels, made.classes) == (2, ("background", "one", "two", "three"))
    (tmp_path / "Dataset042_TEST/imagesTr/._c3_0001.nii.gz").touch()  # as macOS leaves them
    assert scan_known("nnunet", tmp_path / "Dataset042_TEST", Draw()) == scan
    (tmp_path / "Dataset042_TEST/imagesTr/c3_0001.nii.gz").unlink()
    (finding,) = [
        found
        for found in scan_known("nnunet", tmp_path / "Dataset042_TEST", Draw()).findings
        if found.severity == "error"
    ]
    assert "c3_*.nii.gz has the channels 0" in finding.sentence


def test_regions_and_ignored_labels_of_nnunet(tmp_path):
    labels = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    scan = scan_known("nnunet", nnunet(tmp_path, labels=labels), Draw())
    assert scan.classes == ("background", "label 1", "label 2")
    assert scan.regions == {"whole": [1, 2], "core": [2]}
    made = prepared(scan, tmp_path / "set")
    assert set(np.unique(made.reference(made.volumes[0]))) == {0, 1, 2, 255}
    refused("file_ending must be one of", scan_known, "nnunet", nnunet(tmp_path / "x", ending=".gif"), Draw())
    labels = {"background": 0, "a": 1, "b": 1}
    refused(
        "'a' and 'b' are both label 1", scan_known, "nnunet", nnunet(tmp_path / "x", labels=labels), Draw()
    )


def flat_nnunet(folder, ending, names, color=True):
    for number in range(10):
        array = np.random.default_rng(number).integers(0, 255, (24, 20, 3) if color else (24, 20), np.uint8)
        labels = np.zeros((24, 20), np.uint8)
        labels[4:18, 4:12], labels[6:9, 5 : 7 + number % 3] = 1, 2
        save(folder / f"imagesTr/c{number}_0000{ending}", array)
        save(folder / f"labelsTr/c{number}{ending}", labels)
    said = {
        "channel_names": {str(channel): name for channel, name in enumerate(names)},
        "labels": {"background": 0, "road": 1, "car": 2},
        "numTraining": 10,
        "file_ending": ending,
    }
    (folder / "dataset.json").write_text(json.dumps(said))
    return folder


@pytest.mark.parametrize(
    ("ending", "names", "channels"),
    [(".png", ("R", "G", "B"), 3), (".bmp", ("R", "G", "B"), 3), (".tif", ("gray",), 1)],
)
def test_raw_folders_of_2d_images(tmp_path, ending, names, channels):
    folder = flat_nnunet(tmp_path / "Dataset120_ROADS", ending, names, color=channels == 3)
    scan = scan_known("nnunet", folder, Draw())
    assert counts(scan) == (8, 0, 1, 1)
    prepare_scan(scan, tmp_path / "set", name="roads", edges="none")
    made = PreparedSet.open(tmp_path / "set")
    assert (made.channels, made.classes) == (channels, ("background", "road", "car"))
    assert all(made.label(case).max() == 2 for case in made.cases)
    assert made.image(made.cases[0]).shape == (24, 20, channels)


def channels_of(folder, ending, count):
    """Write the other channels of 2D images, each a gray file of its own; return those of the first image."""
    rng = np.random.default_rng(7)
    drawn = [rng.integers(0, 255, (10, 24, 20), np.uint8) for _ in range(1, count)]
    for channel, arrays in enumerate(drawn, start=1):
        for number, array in enumerate(arrays):
            save(folder / f"imagesTr/c{number}_{channel:04d}{ending}", array)
    return [arrays[0] for arrays in drawn]


@pytest.mark.parametrize(("ending", "names"), [(".png", ("T1", "T2")), (".tif", ("a", "b", "c", "d"))])
def test_2d_images_with_a_file_for_each_channel(tmp_path, ending, names):
    folder = flat_nnunet(tmp_path / "Dataset120_ROADS", ending, names, color=False)
    others = channels_of(folder, ending, len(names))
    scan = scan_known("nnunet", folder, Draw())
    assert scan.findings == ()
    prepare_scan(scan, tmp_path / "set", name="roads", edges="none")
    made = PreparedSet.open(tmp_path / "set")
    image = made.image(next(case for case in made.cases if case.id == "c0"))
    assert made.channels == image.shape[2] == len(names)
    for channel, array in enumerate(others, start=1):
        np.testing.assert_array_equal(image[..., channel], array)


def test_2d_channels_that_do_not_belong_together(tmp_path):
    folder = flat_nnunet(tmp_path / "n", ".png", ("a", "b"), color=False)
    channels_of(folder, ".png", 2)
    for name, array, says in (
        ("c1_0001", np.zeros((24, 20, 3), np.uint8), "in color: save each channel in gray"),
        ("c2_0001", np.zeros((24, 21), np.uint8), "24 x 21 pixels of uint8, another channel"),
        ("c3_0001", np.zeros((24, 20), np.uint16), "24 x 20 pixels of uint16, another channel"),
    ):
        save(folder / f"imagesTr/{name}.png", array)
        found = check_scan(folder, scan_known("nnunet", folder, Draw())).errors
        assert any(says in one.sentence and name in one.sentence for one in found)
    (folder / "imagesTr/c4_0001.png").unlink()
    sentences = " ".join(one.sentence for one in scan_known("nnunet", folder, Draw()).findings)
    assert "c4_*.png has the channels 0, dataset.json names 2" in sentences


def test_gray_is_repeated_among_color_only(tmp_path):
    """Not among images whose channels are files of their own."""
    folder = flat_nnunet(tmp_path, ".png", ("a", "b", "c"), color=False)
    channels_of(folder, ".png", 3)
    for channel in (1, 2):
        (folder / f"imagesTr/c4_{channel:04d}.png").unlink()
    (found,) = check_scan(folder, scan_known("nnunet", folder, Draw())).errors
    assert "c4_0000.png has 1 channels" in found.sentence


def test_acdc_as_published(tmp_path):
    for number in range(1, 11):
        for frame in (1, 9):
            stem = tmp_path / f"training/patient{number:03d}/patient{number:03d}_frame{frame:02d}"
            nifti(stem.with_suffix(".nii.gz"), image(20 * number + frame))
            nifti(stem.with_name(f"{stem.name}_gt.nii.gz"), label(number, 4))
        nifti(stem.with_name(f"patient{number:03d}_4d.nii.gz"), image(number, 2))
    scan = scan_known("acdc", tmp_path, Draw())
    assert counts(scan) == (13, 1, 2, 4)
    sides = {}
    for volume in scan.cases:
        sides.setdefault(volume.group, set()).add("train" if volume.role == "gold" else volume.role)
    assert all(len(roles) == 1 for roles in sides.values())  # both frames of a patient
    assert prepared(scan, tmp_path / "set").classes[3] == "left ventricle"
    refused("has no scribbles", scan_known, "acdc", tmp_path, Draw(), labels="scribble")
    refused("unknown --labels 'dense'", scan_known, "acdc", tmp_path, Draw(), labels="dense")
    refused("holds neither", scan_known, "acdc", tmp_path / "set", Draw())


def test_the_test_of_acdc_is_its_own(tmp_path):
    for part, patients in (("training", range(1, 11)), ("testing", range(101, 105))):
        for number in patients:
            stem = tmp_path / f"database/{part}/patient{number:03d}/patient{number:03d}_frame01"
            nifti(stem.with_suffix(".nii.gz"), image(number))
            nifti(stem.with_name(f"{stem.name}_gt.nii.gz"), label(number, 4))
    scan = scan_known("acdc", tmp_path, Draw())
    assert counts(scan) == (8, 1, 1, 4)
    tested = {volume.group for volume in scan.cases if volume.role == "test"}
    assert tested == {"patient101", "patient102", "patient103", "patient104"}
    assert counts(scan_known("acdc", tmp_path / "database/training", Draw())) == (6, 1, 1, 2)
    (tmp_path / "database/training").rename(tmp_path / "elsewhere")
    refused("holds testing/ alone", scan_known, "acdc", tmp_path / "database", Draw())


def acdc_slices(folder, patients=6):
    folder.mkdir()
    for number in range(patients):
        for index in range(1, 12):  # 10 comes after 9, not after 1
            scribble = np.full(SHAPE[:2], 4, np.uint16)
            scribble[1, 1], scribble[5, 4] = 0, 2
            with h5py.File(folder / f"patient{number:03d}_frame01_slice_{index}.h5", "w") as file:
                file["image"] = np.full(SHAPE[:2], index / 20, np.float32) + image(number)[..., 0] / 1e4
                file["label"] = label(number, 4)[..., index % 6]
                file["scribble"] = scribble
    return folder


def test_slices_of_acdc_with_scribbles(tmp_path):
    scan = scan_known("acdc", acdc_slices(tmp_path / "slices"), Draw(), labels="scribble")
    made = prepared(scan, tmp_path / "set", slices=None)
    train = next(volume for volume in made.volumes if volume.role == "train")
    assert train.placement.grid.shape == (12, 10, 11)
    assert not train.placement.grid.known
    cases = made.slices_of(train)
    assert [np.sign(made.image(case).mean()) for case in cases] == [-1] * 5 + [
        np.sign(made.image(cases[5]).mean())
    ] + [1] * 5
    assert set(np.unique(made.label(cases[1]))) == {0, 2, 255}
    assert set(np.unique(made.truth(cases[1]))) == {0, 1, 2, 3}
    gold = next(volume for volume in made.volumes if volume.role == "gold")
    assert set(np.unique(made.label(made.slices_of(gold)[1]))) == {0, 1, 2, 3}  # verified: the dense label
    assert set(np.unique(made.given(made.slices_of(gold)[1]))) == {0, 2, 255}  # which replaced the scribble
    assert not any(case.has_given for case in cases)
    for path in (tmp_path / "slices").iterdir():
        with h5py.File(path, "a") as file:
            file["label"][...] = 0
    looked = check_scan(tmp_path, scan)
    emptied = [finding for finding in looked.findings if finding.code == "verified-empty"]
    assert looked.pairs == len(emptied) == sum(volume.role != "train" for volume in made.volumes)
    assert "_slice_1.h5 ('scribble'), which it replaced, shows foreground" in emptied[0].sentence
    with h5py.File(tmp_path / "slices/patient000_frame01_slice_3.h5", "a") as file:
        del file["image"]
        file["image"] = np.zeros((5, 5))
    says = r"slice_3.h5: 'image' must be numbers of \(12, 10\)"
    refused(says, prepared, scan_known("acdc", tmp_path / "slices", Draw()), tmp_path / "other")


def layout(folder, role="{}"):
    for number, name in enumerate(("train", "train", "train", "validation", "test")):
        for end in ("flair_a", "t1", "label", "truth"):
            array = label(number) if end in ("label", "truth") else image(number + len(end))
            nifti(folder / f"{name}/p{number}/{end}.nii.gz", array)
    return folder


WHERE = Patterns(("{role}/{case}/flair*.nii.gz", "{role}/{case}/t1.nii.gz"), "{role}/{case}/label.nii.gz")


def test_patterns_of_one_file_per_channel(tmp_path):
    scan = scan_patterns(layout(tmp_path), WHERE)
    assert counts(scan) == (3, 0, 1, 1)  # roles by folder; nothing says that a label is verified
    assert [file.name for file in scan.cases[0].images] == ["flair_a.nii.gz", "t1.nii.gz"]
    assert prepared(scan, tmp_path / "set").channels == 2
    assert counts(scan_patterns(tmp_path, WHERE, Draw(gold=1))) == (2, 1, 1, 1)
    beside = Patterns(WHERE.images, WHERE.label, truth="{role}/{case}/truth.nii.gz")
    known = scan_patterns(tmp_path, beside)
    assert counts(known) == (2, 1, 1, 1)
    gold = next(volume for volume in known.cases if volume.role == "gold")
    assert (gold.label.name, gold.truth, gold.verified) == ("truth.nii.gz", None, True)
    assert {volume.id: volume.given and volume.given.name for volume in known.cases} == {
        volume.id: None if volume.role == "train" else "label.nii.gz" for volume in known.cases
    }
    assert not any(volume.given for volume in scan.cases)


def test_a_label_beside_its_reference_is_what_the_reference_replaced(tmp_path):
    """Of gold, the reference is the label then; those that nobody trains on show both as they always have."""
    layout(tmp_path)
    for file in tmp_path.glob("*/*/truth.nii.gz"):
        nifti(file, np.roll(label(0), 1, axis=0))
    made = prepared(
        scan_patterns(
            tmp_path, Patterns(WHERE.images, WHERE.label, truth="{role}/{case}/truth.nii.gz"), Draw(gold=1)
        ),
        tmp_path / "set",
    )
    for volume in made.volumes:
        cases = made.slices_of(volume)
        assert {case.has_given for case in cases} == {volume.role != "train"}
        if volume.role != "train":
            given, held, truth = (
                [read(case) for case in cases] for read in (made.given, made.label, made.truth)
            )
            assert np.array_equal(given, held) == (volume.role != "gold")
            assert not np.array_equal(given, truth)


def test_several_outlines_of_one_image(tmp_path):
    for patient in ("a", "b", "c"):
        nifti(tmp_path / patient / "image.nii.gz", image(ord(patient)))
        for rater in (1, 2):
            nifti(tmp_path / patient / f"rater{rater}.nii.gz", label(rater))
    shared = Patterns(("{group}/image.nii.gz",), "{group}/rater{case}.nii.gz")
    scan = scan_patterns(tmp_path, shared, Draw(gold=1, val=0.34, test=0.34))
    assert counts(scan) == (1, 1, 2, 2)
    assert {volume.id for volume in scan.cases} == {
        f"{patient}_{rater}" for patient in "abc" for rater in (1, 2)
    }
    made = prepared(scan, tmp_path / "set")  # the same image twice in one group is no copy
    assert len(made.volumes) == 6
    assert not [found for found in check_set(tmp_path / "set").findings if "duplicate" in found.code]


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        (((), "{case}.nii.gz"), "need --image"),
        ((("x.nii.gz",), "{case}.nii.gz"), "'x.nii.gz' must name the case"),
        ((("{case}.nii.gz",), "{group}.nii.gz"), "--label '{group}.nii.gz' must name the case"),
        ((("../{case}.nii.gz",), "{case}.nii.gz"), "must lead from --source downwards"),
        ((("/{case}.nii.gz",), "{case}.nii.gz"), "must lead from --source downwards"),
        ((("{cas}.nii.gz",), "{case}.nii.gz"), "did you mean '{case}'"),
    ],
)
def test_patterns_that_cannot_be(patterns, says):
    refused(says.replace("{", r"\{"), Patterns, *patterns)


def test_files_that_do_not_fit_their_patterns(tmp_path):
    layout(tmp_path)
    refused(
        "no file fits the pattern 'x/", scan_patterns, tmp_path, Patterns(("x/{case}.h5",), "x/{case}.h5")
    )
    refused("does not exist", scan_patterns, tmp_path / "none", WHERE)
    nifti(tmp_path / "train/p0/flair_b.nii.gz", image(0))
    (tmp_path / "train/p1/label.nii.gz").unlink()
    (tmp_path / "train/p2/t1.nii.gz").unlink()
    found = {finding.code: finding for finding in scan_patterns(tmp_path, WHERE).findings}
    assert found.keys() == {"case-twice", "mask-missing", "mask-extra"}
    assert "flair_b.nii.gz" in found["case-twice"].sentence
    assert "'p1'" in found["mask-missing"].sentence
    (tmp_path / "train").rename(tmp_path / "Trainig")
    refused("unknown role in .*Trainig", scan_patterns, tmp_path, WHERE)


def test_two_cases_of_one_name(tmp_path):
    for role in ("train", "test"):
        nifti(tmp_path / role / "p/image.nii.gz", image(1))
        nifti(tmp_path / role / "p/label.nii.gz", label(1))
    where = Patterns(("{role}/{case}/image.nii.gz",), "{role}/{case}/label.nii.gz")
    scan = scan_patterns(tmp_path, where)
    (finding,) = scan.findings
    assert (finding.severity, finding.code) == ("warning", "case-renamed")
    assert "different cases, test_p and train_p" in finding.sentence
    assert {case.id: (case.role, case.group) for case in scan.cases} == {
        "test_p": ("test", "test_p"),
        "train_p": ("train", "train_p"),
    }
    (tmp_path / "test").rename(tmp_path / "gold")
    (finding,) = [found for found in scan_patterns(tmp_path, where).findings if found.severity == "error"]
    assert finding.code == "case-twice"
    assert "both called 'p'" in finding.sentence


def test_patterns_leave_patients_with_gold_in_training_and_refuse_what_folders_say_already(tmp_path):
    for number in range(8):
        for role in ("gold", "train") if number < 2 else ("train",):
            for kind, array in (("image", image(number + 10 * (role == "gold"))), ("label", label(number))):
                nifti(tmp_path / role / f"g{number}" / f"{role}{number}_{kind}.nii.gz", array)
    where = Patterns(("{role}/{group}/{case}_image.nii.gz",), "{role}/{group}/{case}_label.nii.gz")
    for seed in range(6):
        scan = scan_patterns(tmp_path, where, Draw(seed, val=0.3, test=0.3))
        assert not scan.findings
        roles = {case.id: case.role for case in scan.cases}
        assert [roles[f"g{number}_train{number}"] for number in range(2)] == ["train", "train"]
        assert {"val", "test"} <= set(roles.values())
    refused("--gold draws cases where no folder is called gold", scan_patterns, tmp_path, where, Draw(0, 2))


def test_patterns_pass_over_hidden_files_unless_they_name_them(tmp_path):
    for number in range(3):
        nifti(tmp_path / f"img/p{number}.nii.gz", image(number))
        nifti(tmp_path / f"lab/p{number}.nii.gz", label(number))
        (tmp_path / f"img/._p{number}.nii.gz").write_bytes(b"of an archive")
    scan = scan_patterns(tmp_path, Patterns(("img/{case}.nii.gz",), "lab/{case}.nii.gz"))
    assert not scan.findings
    assert [case.id for case in scan.cases] == ["p0", "p1", "p2"]
    dotted = scan_patterns(tmp_path, Patterns(("img/._{case}.nii.gz",), "lab/{case}.nii.gz"))
    assert dotted.cases[0].images[0].name == "._p0.nii.gz"


def test_advice_for_a_data_set_names_no_file_that_it_never_reads(tmp_path):
    for number in range(6):
        nifti(tmp_path / f"img/p{number}.nii.gz", image(min(number, 4)))
        nifti(tmp_path / f"lab/p{number}.nii.gz", label(number))
    where = Patterns(("img/{case}.nii.gz",), "lab/{case}.nii.gz")
    said = {}
    for seed in range(4):
        report = check_scan(tmp_path, scan_patterns(tmp_path, where, Draw(seed)))
        said |= {finding.code: finding.sentence for finding in report.findings}
    assert "--gold, a file of their ids" in said["gold-missing"]
    assert "--truth" in said["test-unverified"]
    assert {"duplicate-across-roles"} <= said.keys()
    assert not [sentence for sentence in said.values() if "splits.csv" in sentence or "gold/" in sentence]


def test_every_known_source_says_whose_it_is():
    for known in KNOWN.values():
        assert known.title
        assert known.licence
        assert known.citation
        assert known.url.startswith("http")
