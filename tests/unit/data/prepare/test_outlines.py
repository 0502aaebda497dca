"""Outlines of several hands: copies are counted, and folders of classes are not taken for annotators."""

import numpy as np
import pytest
from tests.unit.data.folders import picture, save

from metadcseg.cli.main import main
from metadcseg.data.prepare.checks import check_folder
from metadcseg.data.prepare.pipeline import prepare_folder
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.pairs.read import read_pairs

NAMES = [f"c{number:02}" for number in range(12)]


def blob(number, radius=9, left=0, down=0, height=48, width=60):
    """Return a disc that lies a little elsewhere in each image."""
    y, x = np.mgrid[:height, :width]
    center = (22 + number % 3 + down, 24 + number % 4 - left)
    return (((y - center[0]) ** 2 + (x - center[1]) ** 2) < radius**2).astype(np.uint8)


def folder_of(root, drawn, places="masks/{}", suffix="png"):
    """Write images, and what each folder holds of them: name -> function of the number of an image."""
    for number, name in enumerate(NAMES):
        save(root / "images" / f"{name}.png", picture(number, 48, 60))
        for who, draw in drawn.items():
            if (mask := draw(number)) is not None:
                save(root / places.format(who) / f"{name}.{suffix}", mask)
    return root


def found(folder, severity, **options):
    return [one.sentence for one in check_folder(folder, **options).findings if one.severity == severity]


PEOPLE = {
    "careful": {
        "anna": lambda n: blob(n),
        "ben": lambda n: blob(n, 10, 1),
        "cem": lambda n: blob(n, 8, 0, 1),
    },
    "one draws larger": {"anna": lambda n: blob(n, 12), "ben": lambda n: blob(n, 9)},
    "careless": {"anna": lambda n: blob(n), "ben": lambda n: blob(n, 9, 6)},
    "shared work": {
        "anna": lambda n: blob(n) if n < 6 else None,
        "ben": lambda n: blob(n) if n > 5 else None,
    },
    "often empty": {"anna": lambda n: blob(n) * (n % 2), "ben": lambda n: blob(n, 9, 2) * (n % 3 > 0)},
}
ORGANS = {
    "apart": {"liver": lambda n: blob(n, 9, 8), "spleen": lambda n: blob(n, 6, -14)},
    "one in the other": {"cup": lambda n: blob(n, 5), "disc": lambda n: blob(n, 10)},
    "both": {
        "liver": lambda n: blob(n, 9, 8),
        "cyst": lambda n: blob(n, 3, 9),
        "spleen": lambda n: blob(n, 6, -14),
    },
}


@pytest.mark.parametrize("what", PEOPLE)
def test_people_are_people(tmp_path, what):
    folder = folder_of(tmp_path, PEOPLE[what])
    assert found(folder, "error") == []
    assert not any("equal in every pixel" in told for told in found(folder, "warning"))
    assert any("if they are classes, --subfolders classes" in told for told in found(folder, "note"))


@pytest.mark.parametrize("what", ORGANS)
@pytest.mark.parametrize("places", ["masks/{}", "masks_{}"])
def test_organs_are_asked_about_and_told(tmp_path, what, places, capsys):
    folder = folder_of(tmp_path / "f", ORGANS[what], places)
    (told,) = found(folder, "error")
    assert "pass --subfolders classes if their folders are classes, --subfolders annotators if" in told
    with pytest.raises(InputError, match="pass --subfolders classes"):
        prepare_folder(folder, tmp_path / "no", edges="none")
    assert (
        main(["prepare", str(folder), "--out", str(tmp_path / "set"), "--edges", "none", *told_way(told)])
        == 0
    )
    held = PreparedSet.open(tmp_path / "set")
    names = sorted(ORGANS[what])
    assert held.classes == ("background", *names)
    for case in held.cases:
        drawn = {name: ORGANS[what][name](NAMES.index(case.id)) for name in names}
        right = np.zeros((48, 60), np.uint8)
        for name in sorted(names, key=lambda name: -int(drawn[name].sum())):  # the smaller one counts
            right[drawn[name] > 0] = 1 + names.index(name)
        np.testing.assert_array_equal(held.label(case), right)


def told_way(sentence):
    return sentence.partition("pass ")[2].split()[:2]


def test_they_may_be_people_after_all(tmp_path):
    folder = folder_of(tmp_path, ORGANS["apart"])
    assert found(folder, "error", subfolders="annotators") == []
    assert not any("if they are classes" in told for told in found(folder, "note", subfolders="annotators"))


def test_classes_of_gold_and_what_lies_elsewhere(tmp_path):
    folder = folder_of(tmp_path / "f", ORGANS["apart"])
    for number, name in enumerate(NAMES[:3]):
        save(folder / "gold/liver" / f"{name}_mask.png", blob(number, 10, 8) * np.uint8(255))
    assert found(folder, "error", subfolders="classes") == []
    pairs = read_pairs(folder, subfolders="classes")
    assert (len(pairs.pairs), pairs.classes) == (3, ("background", "liver", "spleen"))
    assert [pair.verified.max() for pair in pairs.pairs] == [1, 1, 1]
    assert any("do not have all classes" in told for told in found(folder, "note", subfolders="classes"))
    save(folder / "masks/c00.png", blob(0))
    (told,) = found(folder, "error", subfolders="classes")
    assert "holds 1 mask (such as c00) beside folders of classes" in told


def test_a_folder_of_a_class_whose_masks_are_not_read_is_an_error(tmp_path):
    folder = folder_of(tmp_path / "f", ORGANS["apart"])
    (folder / "masks/cyst").mkdir()
    (folder / "masks/cyst/annotations.xml").write_text("<annotations/>")
    (told,) = found(folder, "error", subfolders="classes")
    assert "cyst is a folder of a class and holds no mask file called like an image" in told


def test_words_that_mean_nothing_are_refused(tmp_path):
    folder = folder_of(tmp_path, {"anna": blob}, places="masks")
    for word, says in (("organs", "organs"), ("classes", "no folder in"), ("annotators", "no folder in")):
        with pytest.raises(InputError, match=says):
            check_folder(folder, subfolders=word)


def test_diagnose_asks_as_well(tmp_path):
    folder = folder_of(tmp_path, ORGANS["apart"])
    save(folder / "gold/c00.png", blob(0))
    with pytest.raises(InputError, match="--subfolders classes"):
        read_pairs(folder)


@pytest.mark.parametrize("value", [1, 255])
def test_a_copy_is_counted(tmp_path, value):
    """Whether both write the same number for the class or not, and however many images were copied."""
    copied = {
        "anna": blob,
        "ben": lambda n: blob(n) * np.uint8(value) if n < 7 else blob(n, 8, 1),
        "cem": lambda n: blob(n, 9, 2),
    }
    warned = [told for told in found(folder_of(tmp_path, copied), "warning") if "equal" in told]
    assert len(warned) == 1
    assert "equal in every pixel, of anna and ben 7 of 12 images: is one a copy?" in warned[0]


def test_classes_that_were_swapped_are_no_copy(tmp_path):
    two = {"anna": lambda n: blob(n) + blob(n, 4), "ben": lambda n: np.uint8([0, 2, 1])[blob(n) + blob(n, 4)]}
    assert not any("equal" in told for told in found(folder_of(tmp_path, two), "warning"))
