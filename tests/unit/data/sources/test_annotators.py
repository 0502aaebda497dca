"""Folders of several annotators are told from all other folders, and who drew what is known or refused."""

import os

import nibabel
import numpy as np
import pytest
from tests.unit.data.dicom import structures
from tests.unit.data.folders import codes, disc, make_folder, picture, save, write

from metadcseg.data.prepare.checks import check_folder
from metadcseg.data.sources.annotators import folders_of_parts, said_of_annotators
from metadcseg.data.sources.case import Outlines
from metadcseg.data.sources.folder import scan_folder


def folder_of(root, beside=False, count=12, names=("anna", "ben", "cem"), stems="case{:02d}"):
    """Write images that everybody drew; what each drew lies a little further down."""
    for number in range(count):
        stem = stems.format(number)
        save(root / "images" / f"{stem}.png", picture(number))
        for down, name in enumerate(names):
            place = root / f"masks_{name}" if beside else root / "masks" / name
            save(place / f"{stem}.png", np.roll(disc(), down, axis=0))
    return root


def by_name(scan):
    return {case.id: case for case in scan.cases}


def errors(scan):
    return [one.sentence for one in scan.findings if one.severity == "error"]


@pytest.mark.parametrize("beside", [False, True])
def test_each_folder_is_an_annotator(tmp_path, beside):
    folder_of(tmp_path, beside)
    scan = scan_folder(tmp_path)
    assert errors(scan) == []
    assert {one.code for one in scan.findings} == {"annotators"}
    assert "masks of 3 annotators; of 12 images anna drew 12, ben 12, cem 12" in scan.findings[0].sentence
    case = by_name(scan)["case07"]
    assert isinstance(case.label, Outlines)
    assert list(case.label.by) == ["anna", "ben", "cem"]
    place = tmp_path / ("masks_ben" if beside else "masks/ben")
    assert case.mask("label/ben") == place / "case07.png"
    assert case.masks == ("label/anna", "label/ben", "label/cem")
    assert (case.annotator, case.given, case.outlines) == (None, None, case.label)


def test_nobody_need_have_drawn_every_image(tmp_path):
    folder_of(tmp_path)
    for number in range(8):
        (tmp_path / f"masks/ben/case{number:02d}.png").unlink()
    for number in range(4):
        (tmp_path / f"masks/cem/case{number:02d}.png").unlink()
    scan = scan_folder(tmp_path)
    assert errors(scan) == []
    assert "anna drew 12, ben 4, cem 8" in scan.findings[0].sentence
    cases = by_name(scan)
    assert (cases["case00"].label, cases["case00"].annotator) == (tmp_path / "masks/anna/case00.png", "anna")
    assert list(cases["case05"].label.by) == ["anna", "cem"]


def test_an_image_that_nobody_drew_has_no_mask(tmp_path):
    folder_of(tmp_path)
    for name in ("anna", "ben", "cem"):
        (tmp_path / f"masks/{name}/case03.png").unlink()
    save(tmp_path / "masks/ben/case03_mask.png", disc())
    (sentence,) = errors(scan_folder(tmp_path))
    assert "images/case03.png has no mask: is it" in sentence
    assert "masks/ben/case03_mask.png? Then rename it to case03.png" in sentence


def test_masks_without_image_are_each_said(tmp_path):
    folder_of(tmp_path)
    for name in ("anna", "cem"):
        save(tmp_path / f"masks/{name}/other.png", disc())
    found = [one.where for one in scan_folder(tmp_path).findings if one.code == "mask-extra"]
    assert sorted(found) == [str(tmp_path / f"masks/{name}/other.png") for name in ("anna", "cem")]


def test_verified_masks_replace_all_outlines(tmp_path):
    folder_of(tmp_path)
    save(tmp_path / "gold/case01.png", disc())
    (tmp_path / "masks/ben/case02.png").unlink()
    (tmp_path / "masks/cem/case02.png").unlink()
    save(tmp_path / "gold/case02.png", disc())
    cases = by_name(scan_folder(tmp_path))
    assert cases["case01"].label == tmp_path / "gold/case01.png"
    assert cases["case01"].masks == ("label", "given/anna", "given/ben", "given/cem")
    assert (cases["case02"].masks, cases["case02"].annotator) == (("label", "given"), "anna")
    report = check_folder(tmp_path)
    assert (report.pairs, report.ok) == (2, True)


def test_an_outline_that_is_the_verified_file_is_no_outline_beside_it(tmp_path):
    folder_of(tmp_path)
    (tmp_path / "gold").mkdir()
    for name in ("case01", "case02"):
        (tmp_path / "gold" / f"{name}.png").symlink_to(tmp_path / "masks/anna" / f"{name}.png")
    for name in ("ben", "cem"):
        (tmp_path / "masks" / name / "case02.png").unlink()
    cases = by_name(scan_folder(tmp_path))
    assert cases["case01"].masks == ("label", "given/ben", "given/cem")
    assert (cases["case02"].given, cases["case02"].annotator) == (None, None)


def test_names_in_a_list_are_verified_as_they_are_fused(tmp_path):
    folder_of(tmp_path)
    write(tmp_path / "gold.txt", "case04\n")
    case = by_name(scan_folder(tmp_path))["case04"]
    assert case.verified
    assert (case.masks, case.given) == (("label/anna", "label/ben", "label/cem"), None)


def test_masks_beside_the_folders_of_annotators_are_refused(tmp_path):
    folder_of(tmp_path)
    save(tmp_path / "masks/case00.png", disc())
    (sentence,) = errors(scan_folder(tmp_path))
    assert (
        "masks holds 1 mask (such as case00.png) beside the folders of annotators (anna, ben, cem)"
        in sentence
    )
    assert f"move them into a folder of their annotator, {tmp_path}/masks/NAME, or remove them" in sentence


def test_folders_beside_masks_are_not_read_where_masks_are_there(tmp_path):
    """Backups and pictures lie beside masks/ under such names: what was read before is read, and they are named."""
    make_folder(tmp_path)
    for number in range(3):
        save(tmp_path / f"masks_old/case{number:02d}.png", disc())
    save(tmp_path / "masks_pictures/legend.png", disc())
    scan = scan_folder(tmp_path)
    assert errors(scan) == []
    (told,) = [one.sentence for one in scan.findings if one.severity == "warning"]
    assert "masks_old is not read" in told
    assert "rename masks/ to masks_NAME" in told
    assert {case.outlines for case in scan.cases} == {None}


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        (("masks/anna", "masks_anna"), "are both of annotator anna"),
        (("masks/anna", "masks/gold"), "verified masks belong into"),
        (("masks_anna", "masks_gold"), "move it there or rename it"),
    ],
)
def test_names_that_leave_open_who_it_is(tmp_path, folders, says):
    make_folder(tmp_path / "made")
    for place in folders:
        (tmp_path / place).parent.mkdir(exist_ok=True)
        save(tmp_path / place / "case00.png", disc())
        for path in (tmp_path / "made/masks").iterdir():
            save(tmp_path / place / path.name, disc())
    (tmp_path / "made/images").rename(tmp_path / "images")
    assert any(says in sentence for sentence in errors(scan_folder(tmp_path)))


def test_one_name_in_two_unicode_forms_is_refused(tmp_path):
    folder_of(tmp_path, names=("Mu\u0308ller", "M\u00fcller", "ben"))
    if len(os.listdir(tmp_path / "masks")) < 3:
        pytest.skip("this file system knows one form only")
    assert any("are both of annotator M\u00fcller" in sentence for sentence in errors(scan_folder(tmp_path)))


def test_one_folder_by_two_names_is_refused(tmp_path):
    folder_of(tmp_path)
    (tmp_path / "masks/dan").symlink_to(tmp_path / "masks/ben")
    (sentence,) = errors(scan_folder(tmp_path))
    assert f"{tmp_path}/masks/ben and {tmp_path}/masks/dan are one folder, by a link" in sentence


def test_a_link_to_nowhere_is_not_passed_over_in_silence(tmp_path):
    folder_of(tmp_path)
    for name in ("case01", "case02"):
        (tmp_path / f"masks/ben/{name}.png").unlink()
    (tmp_path / "masks/ben/case01.png").symlink_to("/nowhere.png")
    (tmp_path / "masks/ben/case02.png").mkdir()
    found = [one.where for one in check_folder(tmp_path).findings if one.code == "mask-unreadable"]
    assert found == [str(tmp_path / f"masks/ben/{name}.png") for name in ("case01", "case02")]


def test_folders_of_other_files_are_no_annotators(tmp_path):
    make_folder(tmp_path)
    save(tmp_path / "masks/old/another.png", disc())
    save(tmp_path / "masks/.cache/case00.png", disc())
    (tmp_path / "masks/empty").mkdir()
    write(tmp_path / "masks/notes/case00.txt", "x")
    scan = scan_folder(tmp_path)
    assert errors(scan) == []
    assert {case.outlines for case in scan.cases} == {None}
    assert sum(one.code == "file-ignored" for one in scan.findings) == 3


def test_a_folder_called_like_an_image_is_of_its_parts(tmp_path):
    """Unless masks of other images are in it: annotators are called 1, 2, 3, and so are images."""
    folder_of(tmp_path / "a", names=("1", "2", "3"), stems="{}")
    scan = scan_folder(tmp_path / "a")
    assert list(by_name(scan)["7"].label.by) == ["1", "2", "3"]
    images = {"case00", "case01"}
    for name, held in (("case00", "liver.png"), ("case01", "case01.png"), ("anna", "case01.png")):
        save(tmp_path / "b" / name / held, disc())
    assert folders_of_parts(tmp_path / "b", images) == [tmp_path / "b/case00"]
    (tmp_path / "b/anna/case01.png").unlink()
    assert folders_of_parts(tmp_path / "b", images) == [tmp_path / "b/case00", tmp_path / "b/case01"]


def test_volumes_have_annotators_too(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        for place in ("images", "masks/anna", "masks/ben"):
            (tmp_path / place).mkdir(exist_ok=True, parents=True)
            array = rng.normal(0, 1, (8, 9, 5)).astype(np.float32)
            if place != "images":
                array = (array > 0.5).astype(np.uint8)
            nibabel.save(
                nibabel.Nifti1Image(array, np.diag([1, 1, 2, 1])), tmp_path / place / f"v{number}.nii.gz"
            )
    scan = scan_folder(tmp_path)
    assert errors(scan) == []
    assert {case.masks for case in scan.cases} == {("label/anna", "label/ben")}


@pytest.mark.parametrize("subfolders", [None, "annotators"])
def test_folders_of_dicom_files_are_annotators_and_no_series(tmp_path, subfolders):
    for place in ("images", "masks/anna", "masks/ben"):
        (tmp_path / place).mkdir(parents=True)
    for number in range(3):
        image = nibabel.Nifti1Image(np.zeros((6, 7, 4), np.int16), np.diag([1, 1, 2, 1]))
        nibabel.save(image, tmp_path / f"images/v{number}.nii.gz")
        for who in ("anna", "ben"):
            structures(tmp_path / f"masks/{who}/v{number}.dcm", {"liver": []})
    scan = scan_folder(tmp_path, subfolders=subfolders)
    assert errors(scan) == []
    assert {case.masks for case in scan.cases} == {("label/anna", "label/ben")}


def test_a_table_of_who_drew_which_mask(tmp_path):
    make_folder(tmp_path, gold=1)
    write(tmp_path / "annotators.csv", "id,annotator\ncase00,Ann\ncase03.png, Bob \ncase05,Bob\n")
    scan = scan_folder(tmp_path)
    cases = by_name(scan)
    assert [cases[f"case{n:02d}"].annotator for n in (0, 1, 3, 5)] == ["Ann", None, "Bob", "Bob"]
    assert "masks of 2 annotators; of 12 images Ann drew 1, Bob 2" in scan.findings[0].sentence


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,who\na,b\n", "names the columns id,annotator"),
        ("id,annotator\ncase0,Ann\n", "there is no case 'case0'"),
        ("id,annotator\ncase01,Ann\ncase01.png,Bob\n", "stands twice"),
    ],
)
def test_a_table_that_is_wrong_is_an_error(tmp_path, text, says):
    make_folder(tmp_path)
    write(tmp_path / "annotators.csv", text)
    (sentence,) = errors(scan_folder(tmp_path))
    assert says in sentence


def test_a_table_beside_folders_of_annotators_is_refused(tmp_path):
    folder_of(tmp_path)
    write(tmp_path / "annotators.csv", "id,annotator\ncase01,Ann\n")
    (sentence,) = errors(scan_folder(tmp_path))
    assert "annotators have folders of their own (anna, ben, cem): remove it" in sentence


def test_many_annotators_are_counted_and_not_all_named():
    told = said_of_annotators({f"reader{n:02d}": n for n in range(1, 31)}, 40)
    assert told.startswith("masks of 30 annotators; of 40 images reader01 drew 1, reader02 2")
    assert told.endswith("reader12 12 and 18 more")


def test_each_outline_is_checked_under_its_own_name(tmp_path):
    folder_of(tmp_path)
    save(tmp_path / "masks/ben/case03.png", disc(30, 24))
    (tmp_path / "masks/cem/case04.png").write_bytes(b"no picture")
    save(tmp_path / "masks/anna/case05.png", disc(value=90))
    save(tmp_path / "masks/ben/case06.png", disc() * 0)
    report = check_folder(tmp_path)
    told = {(one.code, one.where.removeprefix(str(tmp_path) + "/masks/")) for one in report.findings}
    assert ("size-mismatch", "ben/case03.png") in told
    assert ("mask-unreadable", "cem/case04.png") in told
    assert ("label-unexpected", "anna/case05.png") in told
    assert ("mask-empty", "ben/case06.png") in told
    assert "error" in codes(report)


def test_gold_of_several_outlines_must_be_a_mask(tmp_path):
    folder_of(tmp_path)
    (tmp_path / "gold.txt").write_text("case01\n")
    told = [one.sentence for one in scan_folder(tmp_path).findings if one.severity == "error"]
    assert any("names case01, of which there are 3 outlines" in sentence for sentence in told)


@pytest.mark.parametrize("name", ["SegmentationObject", "ImageSets", "JPEGImages", "annotations"])
def test_folders_of_an_export_are_nobodys(tmp_path, name):
    make_folder(tmp_path)
    for path in sorted((tmp_path / "masks").iterdir()):
        save(tmp_path / "masks" / name / path.name, disc())
    assert "annotators" not in {one.code for one in scan_folder(tmp_path).findings}


@pytest.mark.parametrize(
    "text", ["Id, Annotator\ncase00,Ann\n", "ID;ANNOTATOR\r\ncase00;Ann\r\n", "id\tannotator\ncase00\tAnn"]
)
def test_tables_are_read_as_spreadsheets_write_them(tmp_path, text):
    make_folder(tmp_path, gold=1)
    write(tmp_path / "annotators.csv", text)
    scan = scan_folder(tmp_path)
    assert not errors(scan)
    assert by_name(scan)["case00"].annotator == "Ann"


def test_two_spellings_of_an_annotator_are_named(tmp_path):
    make_folder(tmp_path)
    write(tmp_path / "annotators.csv", "id,annotator\ncase00,Ann\ncase01,ann\n")
    assert "'Ann' and 'ann' count as two" in scan_folder(tmp_path).findings[0].sentence
