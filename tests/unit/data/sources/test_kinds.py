"""What is said of a folder of which no case can be made: what lies there, and words that can be typed."""

import shlex

import numpy as np
import pytest
from tests.unit.data.folders import disc, picture, save

from metadcseg.cli.main import main
from metadcseg.data.sources import scan_folder
from metadcseg.data.sources.kinds import other_kind, seen, way_on


def volume(path):
    nibabel = pytest.importorskip("nibabel")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 2), np.uint8), np.eye(4)), path)


def sentence(folder):
    (error,) = [finding for finding in scan_folder(folder).findings if finding.severity == "error"]
    return error.sentence


@pytest.mark.parametrize("volumes", ["images", "masks"])
def test_images_and_masks_of_two_kinds_are_both_named(tmp_path, volumes):
    for number in range(3):
        for place in ("images", "masks"):
            if place == volumes:
                volume(tmp_path / place / f"{number}.nii.gz")
            else:
                save(tmp_path / place / f"{number}.png", disc())
    told = sentence(tmp_path)
    assert f"{tmp_path / 'masks'} holds {'volumes' if volumes == 'masks' else '2D images'} (3 " in told
    assert "3 .nii.gz files (0.nii.gz)" in told
    assert "3 .png files (0.png)" in told
    assert "as the same kind" in told


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/p{}/x.png", "masks/p{}/x.png"),
        ("imgs/p{}.png", "labels/p{}.tif"),
        ("pictures/a/p{}.jpg", "Ground truth/a/p{}.png"),
    ],
)
def test_the_command_that_reads_other_folders_can_be_typed(tmp_path, capsys, images, masks):
    for number in range(4):
        save(tmp_path / images.format(number), picture(number))
        save(tmp_path / masks.format(number), disc())
    typed = way_on(tmp_path)
    assert typed is not None
    assert main(["check", str(tmp_path), "--json"]) == 2
    printed = "".join(capsys.readouterr())
    assert typed in printed.replace('\\"', '"')
    assert main(shlex.split(typed)[1:]) == 0
    assert "4 cases" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a.bmp", "b.bmp", "c.dat"], "2 .bmp files (a.bmp), 1 .dat file (c.dat)"),
        (["IM0001", "IM0002"], "2 extensionless files (IM0001)"),
        (["p/a.png", ".hidden", "q/b.png"], "2 .png files one folder down (p/a.png)"),
        (["p/q/a.png"], "1 folder (p)"),
        (
            [f"a.{kind}" for kind in "abcde"],
            "1 .a file (a.a), 1 .b file (a.b), 1 .c file (a.c), files of 2 other kinds",
        ),
        ([".hidden"], "nothing"),
    ],
)
def test_what_lies_in_a_folder_is_counted(tmp_path, names, told):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert seen(tmp_path) == told
    assert seen(tmp_path / "missing") == "no such folder"


def test_a_kind_is_told_where_there_is_one(tmp_path):
    assert other_kind(tmp_path / "missing") is None
    save(tmp_path / "a.png", disc())
    assert other_kind(tmp_path) == "2D images"
    volume(tmp_path / "b.nii.gz")
    assert other_kind(tmp_path) is None


@pytest.mark.parametrize(
    "names", [["a/x.png", "b/x.png"], ["images/x.png", "masks/y.png"], ["masks/x.png"], []]
)
def test_nothing_is_suggested_where_no_two_folders_fit(tmp_path, names):
    for name in names:
        save(tmp_path / name, disc())
    assert way_on(tmp_path) is None
