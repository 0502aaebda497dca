"""Pairs on their way from files to a set: read as the verified masks are, and everything odd about them is said."""

import json
import os

import numpy as np
import pytest
from nibabel import Nifti1Image
from nibabel import save as save_volume
from PIL import Image
from tests.unit.data.folders import codes, disc, make_folder, save, write

from metadcseg.cli.main import main
from metadcseg.data.prepare.checks import check_folder, check_path, check_set
from metadcseg.data.prepare.pipeline import prepare_cases, prepare_folder, prepare_scan
from metadcseg.data.sources import RawCase
from metadcseg.data.sources.folder import scan_folder
from metadcseg.data.store.reader import PreparedSet
from metadcseg.data.synthetic.corruption import corrupt_set
from metadcseg.errors import InputError

QUIET = {"error": set(), "warning": set(), "note": set()}


@pytest.fixture
def folder(tmp_path):
    """Twelve cases: five gold, a verified test case, one validates."""
    made = make_folder(tmp_path / "mine", gold=6)
    rows = zip(range(12), ["gold"] * 5 + ["test", "val"] + ["train"] * 5, strict=True)
    write(made / "splits.csv", "id,role\n" + "".join(f"case{number:02d},{role}\n" for number, role in rows))
    return made


def found(report, code):
    return [finding for finding in report.findings if finding.code == code]


def paired(prepared):
    return {case.id: case for case in prepared.cases if case.has_given}


def test_the_careless_mask_of_every_verified_one_is_kept(folder, tmp_path):
    (folder / "masks" / "case01.png").unlink()
    report = prepare_folder(folder, tmp_path / "set", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    assert check_folder(folder).pairs == check_set(tmp_path / "set").pairs == report.pairs == 5
    held = paired(prepared)
    assert list(held) == ["case00", "case02", "case03", "case04", "case05"]
    assert held["case05"].role == "test"
    for case in held.values():
        np.testing.assert_array_equal(prepared.label(case), disc(value=1))
        np.testing.assert_array_equal(prepared.truth(case), disc(value=1))
        np.testing.assert_array_equal(prepared.given(case), np.roll(disc(value=1), 2, axis=0))
    assert prepared.verify() == []
    assert codes(check_set(tmp_path / "set")) == codes(check_folder(folder)) == QUIET


def test_both_masks_are_decoded_and_mapped_alike(folder, tmp_path):
    values = disc(value=7, dtype=np.uint16)
    values[0, 0] = 900
    for path in [*folder.glob("masks/*"), *folder.glob("gold/*")]:
        save(path, values)
    spoilt = values.copy()
    spoilt[1] = 900
    save(folder / "masks" / "case00.png", spoilt)
    prepare_folder(folder, tmp_path / "set", edges="none", remap={7: 1, 900: 255})
    prepared = PreparedSet.open(tmp_path / "set")
    case = paired(prepared)["case00"]
    np.testing.assert_array_equal(prepared.given(case), np.where(spoilt == 900, 255, spoilt == 7))
    np.testing.assert_array_equal(prepared.label(case), np.where(values == 900, 255, values == 7))


def test_a_careless_mask_in_jpeg_is_cut_as_any_mask_is(folder, tmp_path):
    (folder / "masks" / "case00.png").unlink()
    careless = np.roll(disc(80, 96), 9, axis=1)
    save(folder / "images" / "case00.png", np.arange(80 * 96, dtype=np.uint8).reshape(80, 96))
    save(folder / "gold" / "case00.png", disc(80, 96))
    path = save(folder / "masks" / "case00.jpg", careless, quality=60)
    with Image.open(path) as stored:
        wanted = np.array(stored) > 127
    prepare_folder(folder, tmp_path / "set", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    np.testing.assert_array_equal(prepared.given(paired(prepared)["case00"]), wanted)
    assert [finding.code for finding in check_folder(folder).findings] == ["mask-gray-levels"]


def test_a_value_that_only_a_careless_mask_holds_is_an_error(folder):
    save(folder / "masks" / "case00.png", disc(value=9))
    report = check_folder(folder)
    (finding,) = found(report, "label-unexpected")
    assert "masks/case00.png holds the unexpected value 9" in finding.sentence


def test_a_careless_mask_of_another_size_is_named_with_its_twin(folder, tmp_path):
    save(folder / "masks" / "case02.png", disc(20, 30))
    (finding,) = check_folder(folder).findings
    assert (finding.severity, finding.code) == ("error", "given-size")
    assert finding.where == str(folder / "masks" / "case02.png")
    assert finding.sentence == (
        f"{folder}/masks/case02.png has 20 x 30 pixels (rows x columns), its image {folder}/images/case02.png 20 x 24: "
        f"export it at the size of the image; or remove it, {folder}/gold/case02.png has replaced it"
    )
    with pytest.raises(InputError, match=r"1 problem: .*masks/case02\.png has 20 x 30"):
        prepare_folder(folder, tmp_path / "set", edges="none")
    (folder / "masks" / "case02.png").unlink()
    assert prepare_folder(folder, tmp_path / "set", edges="none").pairs == 5


def test_a_careless_mask_that_cannot_be_read_is_named_with_the_way_out(folder):
    path = folder / "masks" / "case03.png"
    path.write_bytes(path.read_bytes()[:40])
    (finding,) = check_folder(folder).findings
    assert (finding.severity, finding.code, finding.where) == ("error", "given-unreadable", str(path))
    assert finding.sentence.endswith(f"or remove it, {folder}/gold/case03.png has replaced it")
    path.unlink()
    assert check_folder(folder).findings == ()


def test_pairs_without_a_difference_are_told_once(folder, tmp_path):
    for number in (1, 4):
        save(folder / "masks" / f"case{number:02d}.png", disc())  # gold has 1 where this has 255
    (finding,) = check_folder(folder).findings
    assert (finding.severity, finding.code) == ("warning", "pairs-identical")
    assert finding.sentence == (
        f"2 of 6 verified masks equal the masks that they replaced in every pixel (such as {folder}/gold/case01.png): "
        "was anything verified? Right if there was nothing to correct, else correct it"
    )
    assert check_folder(folder).pairs == 6
    prepare_folder(folder, tmp_path / "set", edges="none")
    (again,) = check_set(tmp_path / "set").findings
    assert again.sentence.startswith("2 of 6 verified masks equal the masks that they replaced")


def test_a_verified_mask_that_lost_everything_is_a_warning_of_its_own(folder, tmp_path):
    save(folder / "gold" / "case02.png", disc(value=0))
    (finding,) = check_folder(folder).findings
    assert (finding.severity, finding.code) == ("warning", "verified-empty")
    assert finding.sentence == (
        f"{folder}/gold/case02.png is verified and empty, but {folder}/masks/case02.png, which it replaced, shows "
        "foreground: right if nothing is there, else draw it"
    )
    prepare_folder(folder, tmp_path / "set", edges="none")
    (again,) = check_set(tmp_path / "set").findings
    assert (again.code, again.where) == ("verified-empty", "case02")


def test_both_masks_empty_is_told_as_any_empty_mask_and_as_no_difference(folder):
    for place in ("gold", "masks"):
        save(folder / place / "case02.png", disc(value=0))
    assert codes(check_folder(folder))["warning"] == {"mask-empty", "pairs-identical"}


def test_a_careless_mask_that_is_empty_is_no_matter(folder):
    save(folder / "masks" / "case02.png", disc(value=0))
    assert check_folder(folder).findings == ()


def test_a_link_to_the_same_file_is_no_pair(folder, tmp_path):
    for name in ("case00", "case01"):
        (folder / "masks" / f"{name}.png").unlink()
    os.symlink(folder / "gold" / "case00.png", folder / "masks" / "case00.png")
    os.symlink("../gold/case01.png", folder / "masks" / "case01.png")
    assert prepare_folder(folder, tmp_path / "set", edges="none").pairs == 4


def test_gold_by_name_alone_has_no_pair(tmp_path):
    folder = make_folder(tmp_path / "mine")
    write(folder / "gold.txt", "case03\ncase04\n")
    assert prepare_folder(folder, tmp_path / "set", edges="none").pairs == 0
    assert not paired(PreparedSet.open(tmp_path / "set"))


def test_arrays_in_memory_may_be_pairs(tmp_path):
    image, verified = np.zeros((20, 24, 1), np.uint8), disc(value=1)
    image[3] = 9
    cases = [
        RawCase(role, role, role, image + number, verified, verified=True, given=np.roll(verified, 1, axis=0))
        for number, role in enumerate(("gold", "val", "test"))
    ]
    cases.append(RawCase("x", "train", "x", image + 9, verified))
    assert prepare_cases(cases, tmp_path / "set", name="arrays", edges="none").pairs == 3
    prepared = PreparedSet.open(tmp_path / "set")
    for case in paired(prepared).values():
        np.testing.assert_array_equal(prepared.given(case), np.roll(verified, 1, axis=0))


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_injected_noise_that_changes_nothing_is_no_matter(tmp_path, rate):
    folder = make_folder(tmp_path / "mine", gold=5)
    for path in folder.glob("masks/*"):
        save(path, disc())
    prepare_folder(folder, tmp_path / "set", edges="none", test=0.0)
    corrupt_set(PreparedSet.open(tmp_path / "set"), tmp_path / "noisy", rate, 0, model="over")
    report = check_set(tmp_path / "noisy")
    assert not found(report, "pairs-identical")
    assert report.pairs == 5


def test_a_damaged_given_mask_of_a_set_is_an_error(folder, tmp_path):
    prepare_folder(folder, tmp_path / "set", edges="none")
    file = tmp_path / "set/arrays/given-00000/c.2.0.0"
    file.write_bytes(file.read_bytes()[:-1])
    (finding,) = check_set(tmp_path / "set").findings
    assert (finding.code, finding.where) == ("checksum", "case02")
    assert "the given of case 'case02'" in finding.sentence


def test_the_commands_say_how_many(folder, tmp_path, capsys):
    assert main(["check", str(folder)]) == 0
    assert "12 cases (5 train, 5 gold, 1 val, 1 test), 6 pairs, 0 errors" in capsys.readouterr().out
    assert main(["prepare", str(folder), "--out", str(tmp_path / "set"), "--edges", "none"]) == 0
    assert "set: 5 train, 5 gold, 1 val, 1 test; 6 pairs; classes" in capsys.readouterr().out
    for words in (["check", str(folder)], ["check", str(tmp_path / "set")]):
        main([*words, "--json"])
        assert json.loads(capsys.readouterr().out)["pairs"] == 6


# volumes


def write_volumes(root, twins=("gold0", "gold1", "test0")):
    """Volumes of one bright block; the label of those in ``twins`` was moved by two voxels and then verified."""
    names = ["train0", "train1", "gold0", "gold1", "val0", "test0"]
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        label = np.zeros((10, 12, 6), np.uint8)
        label[3:7, 3:8, 1:4] = 1
        files = {"images": rng.normal(size=label.shape).astype(np.float32), "masks": label}
        if name[:-1] in ("gold", "test"):
            files["gold"] = np.roll(label, 2, axis=0)
            if name not in twins:
                del files["masks"]
        for place, array in files.items():
            (root / place).mkdir(parents=True, exist_ok=True)
            save_volume(Nifti1Image(array, np.diag([1.0, 1, 3, 1])), root / place / f"{name}.nii.gz")
    write(root / "splits.csv", "id,role\n" + "".join(f"{name},{name[:-1]}\n" for name in names))
    return root


def prepare(root, out):
    return prepare_scan(scan_folder(root), out, name="v", edges="none")


def test_volumes_keep_their_pairs_slice_by_slice(tmp_path):
    root = write_volumes(tmp_path / "mine", twins=("gold0", "test0"))
    report = prepare(root, tmp_path / "set")
    prepared = PreparedSet.open(tmp_path / "set")
    assert (report.pairs, check_path(root).pairs, check_set(tmp_path / "set").pairs) == (2, 2, 2)
    assert {case.volume for case in paired(prepared).values()} == {"gold0", "test0"}
    for volume in prepared.volumes:
        for case in prepared.slices_of(volume) if volume.id in ("gold0", "test0") else ():
            np.testing.assert_array_equal(np.roll(prepared.given(case), 2, axis=0), prepared.label(case))
    for report in (check_path(root), check_set(tmp_path / "set")):
        assert codes(report) == QUIET | {"warning": {"gold-tiny"}}


def test_what_is_odd_about_pairs_of_volumes_is_told(tmp_path):
    root = write_volumes(tmp_path / "mine")
    blank = np.zeros((10, 12, 6), np.uint8)
    save_volume(Nifti1Image(blank, np.diag([1.0, 1, 3, 1])), root / "gold" / "gold0.nii.gz")
    (root / "masks" / "gold1.nii.gz").write_bytes((root / "gold" / "gold1.nii.gz").read_bytes())
    report = check_path(root)
    empty, equal = found(report, "verified-empty"), found(report, "pairs-identical")
    assert [finding.where for finding in empty] == [str(root / "gold" / "gold0.nii.gz")]
    assert equal[0].sentence.startswith(
        "1 of 3 verified masks equals the mask that it replaced in every pixel"
    )
    assert not found(report, "mask-empty")
    prepare(root, tmp_path / "set")
    again = check_set(tmp_path / "set")
    assert codes(again)["warning"] == {"gold-tiny", "verified-empty", "pairs-identical"}


def test_a_careless_label_on_another_grid_is_named_with_the_way_out(tmp_path):
    root = write_volumes(tmp_path / "mine")
    other = np.zeros((10, 12, 7), np.uint8)
    save_volume(Nifti1Image(other, np.diag([1.0, 1, 3, 1])), root / "masks" / "gold0.nii.gz")
    (finding,) = check_path(root).errors
    assert finding.code == "given-size"
    assert finding.where == str(root / "masks" / "gold0.nii.gz")
    assert "masks/gold0.nii.gz has 10 x 12 x 7 voxels, its image" in finding.sentence
    assert finding.sentence.endswith(f"or remove it, {root}/gold/gold0.nii.gz has replaced it")
    with pytest.raises(InputError, match="1 problem"):
        prepare(root, tmp_path / "set")
    assert not (tmp_path / "set").exists()
