"""Pairs of folders and sets: which masks are read, what they mean, and what is refused."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest
from PIL import Image
from tests.unit.data.folders import make_folder, picture, save, write
from tests.unit.pairs.masks import noisy_pairs

from metadcseg.data.store.reader import SetWriter
from metadcseg.errors import InputError
from metadcseg.pairs.found import view
from metadcseg.pairs.read import read_annotators, read_pairs
from metadcseg.pairs.statistics import diagnose


def folder_of(root, pairs, others=2, value=255):
    """Write pairs as a reader would have them, and some more images of which no mask is verified."""
    for number, pair in enumerate(pairs):
        save(root / "images" / f"{pair.id}.png", picture(number, *pair.given.shape))
        save(root / "masks" / f"{pair.id}.png", pair.given * np.uint8(value))
        save(root / "gold" / f"{pair.id}.png", pair.verified * np.uint8(value))
    for number in range(others):
        save(root / "images" / f"other{number}.png", picture(90 + number, 30, 40))
        save(root / "masks" / f"other{number}.png", (picture(number, 30, 40, 1) > 200) * np.uint8(value))
    return root


def equal(found, pairs):
    return len(found) == len(pairs) and all(
        one.id == other.id
        and np.array_equal(one.given, other.given)
        and np.array_equal(one.verified, other.verified)
        for one, other in zip(found, pairs, strict=True)
    )


def test_a_folder_of_images(tmp_path):
    pairs = noisy_pairs("over", 4)
    found = read_pairs(folder_of(tmp_path, pairs))
    assert equal(found.pairs, pairs)
    assert (found.classes, found.verified) == (("background", "foreground"), 4)
    assert [pair.group for pair in found.pairs] == [pair.id for pair in pairs]
    assert {pair.spacing for pair in found.pairs} == {None}
    shown = view(found, found.pairs[2])
    assert np.array_equal(shown.image, picture(2, 120, 130))


def test_only_masks_of_pairs_are_decoded(tmp_path):
    folder_of(tmp_path, noisy_pairs("over", 3))
    for path in (
        tmp_path / "masks/other0.png",
        tmp_path / "images/other1.png",
        tmp_path / "images/case00.png",
    ):
        path.write_bytes(b"no picture")
    assert len(read_pairs(tmp_path).pairs) == 3


def test_groups_come_from_the_table_of_splits(tmp_path):
    folder_of(tmp_path, noisy_pairs("over", 3), others=1)
    write(
        tmp_path / "splits.csv",
        "id,role,group\ncase00,gold,p\ncase01,gold,p\ncase02,test,q\nother0,train,r\n",
    )
    assert [pair.group for pair in read_pairs(tmp_path).pairs] == ["p", "p", "q"]


def test_gold_without_twins_is_counted(tmp_path):
    folder_of(tmp_path, noisy_pairs("over", 3))
    (tmp_path / "masks/case01.png").unlink()
    found = read_pairs(tmp_path)
    assert ([pair.id for pair in found.pairs], found.verified) == (["case00", "case02"], 3)
    for name in ("case00", "case02"):
        (tmp_path / f"masks/{name}.png").unlink()
    found = read_pairs(tmp_path)
    assert (found.pairs, found.verified) == ((), 3)


def test_masks_verified_in_place_are_no_pairs(tmp_path):
    folder_of(tmp_path, [], others=5)
    write(tmp_path / "gold.txt", "other1\nother3\n")
    found = read_pairs(tmp_path)
    assert (found.pairs, found.verified) == ((), 2)


def test_three_classes_and_values_that_are_renamed(tmp_path):
    pairs = noisy_pairs("over", 3, classes=4)
    found = read_pairs(folder_of(tmp_path / "a", pairs, others=0, value=1))
    assert equal(found.pairs, pairs)
    assert found.classes == ("background", "class 1", "class 2", "class 3")
    folder_of(tmp_path / "b", pairs, others=0, value=40)
    with pytest.raises(InputError, match="unexpected"):
        read_pairs(tmp_path / "b")
    assert equal(read_pairs(tmp_path / "b", remap={40: 1, 80: 2, 120: 3}).pairs, pairs)


def test_what_the_pairs_do_not_show_the_other_masks_tell(tmp_path):
    """Class 2 is in no pair: without the other masks the 3 would be no class number."""
    mask = np.zeros((30, 40), np.uint8)
    mask[5:9, 5:9], mask[15:20, 15:20] = 1, 3
    save(tmp_path / "images/a.png", picture(0, 30, 40))
    save(tmp_path / "masks/a.png", mask)
    save(tmp_path / "gold/a.png", mask)
    save(tmp_path / "images/b.png", picture(1, 30, 40))
    save(tmp_path / "masks/b.png", np.minimum(mask, 2))
    assert len(read_pairs(tmp_path).classes) == 4


def test_twins_of_another_size_are_refused(tmp_path):
    folder_of(tmp_path, noisy_pairs("over", 3))
    save(tmp_path / "masks/case01.png", np.zeros((60, 65), np.uint8))
    with pytest.raises(
        InputError, match=r"masks/case01.png is 60 x 65 .*gold/case01.png that replaced it is 120 x 130"
    ):
        read_pairs(tmp_path)


def test_a_damaged_twin_is_named(tmp_path):
    folder_of(tmp_path, noisy_pairs("over", 3))
    (tmp_path / "masks/case01.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"masks/case01.png is not a PNG"):
        read_pairs(tmp_path)


def test_what_else_is_wrong_is_told_without_stopping(tmp_path):
    folder_of(tmp_path, noisy_pairs("over", 3))
    (tmp_path / "masks/other0.png").unlink()
    (note,) = read_pairs(tmp_path).notes
    assert note.startswith("1 other matter must be mended before training: metadcseg check")


@pytest.mark.parametrize("what", ["nowhere", "file", "empty"])
def test_what_is_no_folder_is_refused(tmp_path, what):
    write(tmp_path / "file", "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"does not exist|is a file|holds no folder images/"):
        read_pairs(tmp_path / what)


def test_a_folder_of_volumes_in_mm(tmp_path):
    affine = np.diag([0.5, 0.5, 3.0, 1.0])
    rng = np.random.default_rng(0)
    for name in "abc":
        true, given = np.zeros((2, 24, 26, 8), np.uint8)
        true[8:16, 8:18, 2:6] = 1
        given[6:18, 8:18, 2:6] = 1
        for place, array in (("images", rng.normal(0, 1, true.shape)), ("masks", given), ("gold", true)):
            (tmp_path / place).mkdir(exist_ok=True)
            kind = np.float32 if place == "images" else np.uint8
            volume = nibabel.Nifti1Image(array.astype(kind), affine)
            nibabel.save(volume, tmp_path / place / f"{name}.nii.gz")
    found = read_pairs(tmp_path)
    assert len(found.pairs) == found.verified == 3
    assert found.pairs[0].spacing == pytest.approx((0.5, 0.5, 3.0))
    total = diagnose(found.pairs, found.classes).total
    assert total.too_large == 3
    assert 0.2 < total.offset_mm.mean < 1
    shown = view(found, found.pairs[0])
    assert shown.image.shape == (26, 24, 1)
    assert shown.given.sum() == 12 * 10


def set_of(root, pairs, noise=None):
    image = np.zeros((120, 130, 1), np.uint8)
    with SetWriter(root, name="pairs", classes=("background", "organ"), channels=1, noise=noise) as writer:
        for number, pair in enumerate(pairs):
            role = ("gold", "test")[number % 2]
            truth = pair.verified if role == "test" else None
            writer.add(
                id=pair.id,
                role=role,
                group=pair.group,
                image=image,
                label=pair.verified,
                truth=truth,
                given=pair.given,
                spacing=pair.spacing,
            )
        writer.add(id="plain", role="gold", group="", image=image, label=pairs[0].verified)
        writer.add(id="train", role="train", group="", image=image, label=pairs[0].given)
    return root


def test_a_prepared_set(tmp_path):
    pairs = noisy_pairs("under", 4, spacing=(0.5, 0.25))
    found = read_pairs(set_of(tmp_path / "set", pairs))
    assert equal(found.pairs, pairs)
    assert (found.classes, found.verified) == (("background", "organ"), 5)
    assert {pair.spacing for pair in found.pairs} == {(0.5, 0.25)}
    assert view(found, found.pairs[1]).image.shape == (120, 130, 1)


def test_of_a_corrupted_set_only_pairs_with_the_noise_count(tmp_path):
    pairs = noisy_pairs("under", 5)
    found = read_pairs(set_of(tmp_path / "noisy", pairs, noise={"target": 0.4}))
    assert equal(found.pairs, pairs[::2])  # gold; those of the test are of the masks before
    assert found.verified == 4
    assert "2 pairs of other roles" in found.notes[0]
    assert len(read_pairs(set_of(tmp_path / "none", pairs, noise={"target": 0.0})).pairs) == 5


def test_cases_of_a_set_without_groups_are_their_own(tmp_path):
    found = read_pairs(set_of(tmp_path / "set", [replace(pair, group="") for pair in noisy_pairs("over", 3)]))
    assert [pair.group for pair in found.pairs] == ["case00", "case01", "case02"]


def test_annotators_of_a_folder(tmp_path):
    folder_of(tmp_path, noisy_pairs("over", 3))
    write(tmp_path / "annotators.csv", "id,annotator\ncase00,Ann\ncase02.png, Bob \nother0,Bob\n")
    found = read_pairs(tmp_path)
    assert [pair.annotator for pair in found.pairs] == ["Ann", None, "Bob"]
    assert found.notes[0].endswith("annotators.csv names nobody for 1 pair: they count in the whole only")


def test_annotators_of_a_set_are_in_a_table_elsewhere(tmp_path):
    set_of(tmp_path / "set", noisy_pairs("over", 2))
    table = write(tmp_path / "who.csv", "annotator;id\nAnn;case00\nBob;case01\n")
    assert [pair.annotator for pair in read_pairs(tmp_path / "set", annotators=table).pairs] == ["Ann", "Bob"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,who\na,b\n", "names the columns id,annotator, got 'name, who'"),
        ("id,annotator\ncase1,Ann\n", "line 2: there is no case 'case1': did you mean 'case01'"),
        ("id,annotator\ncase01,Ann\ncase01.png,Bob\n", "line 3: 'case01' stands twice"),
    ],
)
def test_tables_that_are_wrong(tmp_path, text, says):
    with pytest.raises(InputError, match=says):
        read_annotators(write(tmp_path / "annotators.csv", text), {"case01", "other"})


def test_a_table_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="cannot be read as a table"):
        read_annotators(tmp_path / "who.csv", {"a"})


def test_a_pair_without_a_pixel_that_is_known_in_both_masks_is_left_out(tmp_path):
    folder = make_folder(tmp_path / "in", gold=4)
    for path in sorted((folder / "masks").iterdir()):
        mask = (np.array(Image.open(path)) > 0).astype(np.uint8)
        Image.fromarray(np.full_like(mask, 9) if path.stem == "case01" else mask).save(path)
    found = read_pairs(folder, remap={9: 255})
    assert [pair.id for pair in found.pairs] == ["case00", "case02", "case03"]
    assert "1 pair left out, since no pixel is known in both masks: case01" in found.notes
    assert found.diagnose().total.identical == 0
