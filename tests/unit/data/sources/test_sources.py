from collections import Counter
from pathlib import Path
from unicodedata import normalize

import pytest
from tests.unit.data.folders import codes, disc, make_folder, picture, save, write

from metadcseg.data.prepare.checks import check_folder
from metadcseg.data.sources import scan_folder, scan_kvasir
from metadcseg.data.sources.patterns import Patterns, scan_patterns
from metadcseg.errors import InputError

KVASIR = Path(__file__).resolve().parents[4] / "../shared/data/kvasir-seg"


def roles(scan):
    return {case.id: case.role for case in scan.cases}


def only(scan):
    """Return the single finding of a scan."""
    assert len(scan.findings) == 1, scan.findings
    return scan.findings[0]


def test_a_plain_folder_is_matched_by_stem(tmp_path):
    make_folder(tmp_path)
    save(tmp_path / "images" / "photo.jpg", picture(50))
    save(tmp_path / "masks" / "photo.tif", disc())
    scan = scan_folder(tmp_path)
    assert not scan.findings
    assert Counter(roles(scan).values()) == {"train": 11, "val": 1, "test": 1}
    photo = next(case for case in scan.cases if case.id == "photo")
    assert (photo.files[0].name, photo.label.name, photo.group) == ("photo.jpg", "photo.tif", "photo")
    assert not any(case.verified for case in scan.cases)
    assert roles(scan_folder(tmp_path, seed=1)) != roles(scan)


def test_gold_folder_wins_over_masks(tmp_path):
    make_folder(tmp_path, gold=3)
    scan = scan_folder(tmp_path)
    gold = [case for case in scan.cases if case.role == "gold"]
    assert [case.id for case in gold] == ["case00", "case01", "case02"]
    assert all(case.verified and case.label.parent.name == "gold" for case in gold)
    assert [case.given and case.given.parent.name for case in gold] == ["masks"] * 3  # what they replaced
    assert not any(case.given for case in scan.cases if case.role != "gold")
    assert not any(case.verified for case in scan.cases if case.role != "gold")
    assert Counter(roles(scan).values()) == {"train": 7, "gold": 3, "val": 1, "test": 1}


def test_a_verified_mask_alone_is_enough(tmp_path):
    make_folder(tmp_path, gold=2)
    (tmp_path / "masks" / "case00.png").unlink()
    assert not scan_folder(tmp_path).findings


def test_gold_list_names_masks_that_are_verified(tmp_path):
    make_folder(tmp_path)
    write(tmp_path / "gold.txt", "case03\ncase04.png\n\n")
    scan = scan_folder(tmp_path)
    gold = [case for case in scan.cases if case.role == "gold"]
    assert [(case.id, case.label.parent.name, case.verified) for case in gold] == [
        ("case03", "masks", True),
        ("case04", "masks", True),
    ]
    assert not any(case.given for case in gold)


def test_gold_without_image_or_content_is_an_error(tmp_path):
    make_folder(tmp_path)
    write(tmp_path / "gold.txt", "case3\n")
    finding = only(scan_folder(tmp_path))
    assert finding.severity == "error"
    assert "did you mean 'case" in finding.sentence
    write(tmp_path / "gold.txt", "")
    assert only(scan_folder(tmp_path)).code == "gold-empty"
    (tmp_path / "gold.txt").unlink()
    (tmp_path / "gold").mkdir()
    assert only(scan_folder(tmp_path)).code == "gold-empty"
    save(tmp_path / "gold" / "other.png", disc())
    assert only(scan_folder(tmp_path)).code == "gold-unknown"


def test_splits_file_gives_roles_and_groups(tmp_path):
    make_folder(tmp_path, count=4, gold=1)
    write(
        tmp_path / "splits.csv", "id,role,group\ncase00,test,A\ncase01,train,B\ncase02,gold,B\ncase03,val,C\n"
    )
    scan = scan_folder(tmp_path)
    assert not scan.findings
    assert list(roles(scan).values()) == ["test", "train", "gold", "val"]
    assert [case.verified for case in scan.cases] == [True, False, True, False]
    assert [case.label.parent.name for case in scan.cases] == ["gold", "masks", "masks", "masks"]
    assert [case.group for case in scan.cases] == ["A", "B", "B", "C"]
    write(tmp_path / "splits.csv", "id,role\ncase00,train\ncase01,train\ncase02,gold\ncase03,val\n")
    assert "verified mask and the role train" in only(scan_folder(tmp_path)).sentence


def test_groups_alone_keep_patients_together_and_away_from_gold(tmp_path):
    make_folder(tmp_path, count=12, gold=1)
    rows = "".join(f"case{number:02d},P{number // 3}\n" for number in range(12))
    write(tmp_path / "splits.csv", "id,group\n" + rows)
    for seed in range(4):
        held = roles(scan_folder(tmp_path, seed=seed))
        assert [held[f"case{number:02d}"] for number in range(3)] == ["gold", "train", "train"]
        assert Counter(held.values()) == {"gold": 1, "train": 5, "val": 3, "test": 3}


def test_a_limit_keeps_gold_and_evaluation_whole(tmp_path):
    make_folder(tmp_path, gold=2)
    assert Counter(roles(scan_folder(tmp_path, limit=3)).values()) == {
        "train": 3,
        "gold": 2,
        "val": 1,
        "test": 1,
    }


def test_missing_and_extra_masks_are_told_with_the_likely_partner(tmp_path):
    make_folder(tmp_path)
    (tmp_path / "masks" / "case05.png").rename(tmp_path / "masks" / "case05_segmentation.png")
    (tmp_path / "masks" / "case06.png").unlink()
    scan = scan_folder(tmp_path)
    assert codes(scan) == {"error": {"mask-missing"}, "warning": {"mask-extra"}, "note": set()}
    told = {Path(finding.where).name: finding.sentence for finding in scan.findings}
    assert "case05_segmentation.png? Then rename it to case05.png" in told["case05.png"]
    assert "case06.png or remove the image" in told["case06.png"]
    assert {"case05", "case06"}.isdisjoint(roles(scan))


def test_stems_that_collide_and_files_of_other_kinds(tmp_path):
    make_folder(tmp_path)
    save(tmp_path / "images" / "case01.jpg", picture(60))
    save(tmp_path / "masks" / "case02.tif", disc())
    write(tmp_path / "images" / "case99.gif", "x")
    write(tmp_path / "images" / ".DS_Store", "x")
    scan = scan_folder(tmp_path)
    assert codes(scan) == {"error": {"stem-twice"}, "warning": {"file-ignored"}, "note": set()}
    assert len(scan.findings) == 3
    assert "case01.jpg and case01.png" in scan.findings[0].sentence


def test_no_images_or_no_masks(tmp_path):
    with pytest.raises(InputError, match="holds no folder images/"):
        scan_folder(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        scan_folder(tmp_path / "missing")
    (tmp_path / "images").mkdir()
    assert only(scan_folder(tmp_path)).code == "no-images"
    assert only(scan_folder(tmp_path)).where == str(tmp_path / "images")
    save(tmp_path / "images" / "a.png", picture(1))
    assert only(scan_folder(tmp_path)).code == "no-masks"


def test_too_few_cases_to_hold_any_out_is_a_finding(tmp_path):
    make_folder(tmp_path, count=2)
    assert "at least 3 are needed" in only(scan_folder(tmp_path)).sentence


# Kvasir-SEG


def kvasir(root, count=20):
    for number in range(count):
        save(root / "images" / f"cju{number:02d}.jpg", picture(number))
        save(root / "masks" / f"cju{number:02d}.jpg", disc())
    return root


def test_official_kvasir_is_split_by_seed_and_all_masks_are_verified(tmp_path):
    kvasir(tmp_path / "Kvasir-SEG")
    write(tmp_path / "Kvasir-SEG" / "kavsir_bboxes.json", "{}")
    scan = scan_kvasir(tmp_path, gold=3)
    assert Counter(roles(scan).values()) == {"train": 13, "gold": 3, "val": 2, "test": 2}
    assert all(case.verified for case in scan.cases)
    assert scan.classes == ("background", "polyp")
    assert "Jha" in scan.source["citation"]
    assert roles(scan_kvasir(tmp_path, gold=3)) == roles(scan)
    assert roles(scan_kvasir(tmp_path, gold=3, seed=1)) != roles(scan)
    limited = Counter(roles(scan_kvasir(tmp_path, gold=3, limit=10)).values())
    assert limited == {"train": 7, "gold": 3, "val": 2, "test": 2}


def test_split_kvasir_keeps_its_split_though_numbers_restart(tmp_path):
    for number, split in enumerate(("train", "validation", "test")):
        for index in range(4):
            save(tmp_path / split / "images" / f"{index}.jpg", picture(10 * number + index))
            save(tmp_path / split / "masks" / f"{index}.jpg", disc())
    scan = scan_kvasir(tmp_path)
    assert Counter(roles(scan).values()) == {"train": 3, "gold": 1, "val": 4, "test": 4}
    assert roles(scan)["validation-2"] == "val"
    assert len({case.id for case in scan.cases}) == 12


def test_a_folder_of_ones_own_in_that_layout_is_not_kvasir(tmp_path):
    for split in ("train", "validation", "test"):
        for index in range(4):
            save(tmp_path / split / "images" / f"{index}.png", picture(index + len(split)))
            save(tmp_path / split / "masks" / f"{index}.png", disc())
    typed = r"check patterns --source .* --image '\{role\}/images/\{case\}.png' --label '\{role\}/masks/\{case\}.png'"
    with pytest.raises(InputError, match=typed):
        check_folder(tmp_path)
    where = Patterns(("{role}/images/{case}.png",), "{role}/masks/{case}.png")
    assert Counter(roles(scan_patterns(tmp_path, where)).values()) == {"train": 4, "val": 4, "test": 4}


def test_a_verified_mask_of_no_image_is_an_error_whatever_follows_a_dot_in_its_name(tmp_path):
    make_folder(tmp_path, gold=2)
    (tmp_path / "gold/case00.png").rename(tmp_path / "gold/case00.v2.png")
    errors = [finding for finding in scan_folder(tmp_path).findings if finding.severity == "error"]
    assert [finding.code for finding in errors] == ["gold-unknown"]
    assert "case00.v2" in errors[0].sentence


def test_names_in_lists_are_ids_or_file_names_and_nothing_between(tmp_path):
    make_folder(tmp_path)
    write(tmp_path / "gold.txt", "case00.png\ncase01\ncase02.9\n")
    scan = scan_folder(tmp_path)
    assert {case for case, role in roles(scan).items() if role == "gold"} == {"case00", "case01"}
    assert [finding.code for finding in scan.findings] == ["gold-unknown"]


def test_images_of_several_folders_never_share_a_name(tmp_path):
    for number, (place, stem) in enumerate(
        [
            ("benign", "1"),
            ("malignant", "1"),
            ("normal", "benign_1"),
            *(("normal", f"x{n}") for n in range(9)),
        ]
    ):
        save(tmp_path / place / f"{stem}.png", picture(number))
        save(tmp_path / place / f"{stem}_mask.png", disc())
    cases = {case.id: case.images[0].relative_to(tmp_path).as_posix() for case in scan_folder(tmp_path).cases}
    assert len(cases) == 12
    assert cases["benign_1"] == "benign/1.png"
    assert cases["normal_benign_1"] == "normal/benign_1.png"


def test_advice_for_volumes_keeps_the_whole_ending(tmp_path):
    for name in ("images/p0", "images/p1", "images/p2", "masks/p0", "masks/p1-final"):
        write(tmp_path / f"{name}.nii.gz", "")
    said = [finding.sentence for finding in scan_folder(tmp_path).findings if finding.code == "mask-missing"]
    assert "Then rename it to p1.nii.gz" in said[0]
    assert f"add {tmp_path / 'masks/p2.nii.gz'}" in said[1]


def test_another_folder_is_not_kvasir(tmp_path):
    with pytest.raises(InputError, match="--source"):
        scan_kvasir(tmp_path)


@pytest.mark.skipif(not KVASIR.is_dir(), reason="needs ../shared/data/kvasir-seg")
def test_the_real_kvasir():
    scan = scan_kvasir(KVASIR, gold=16, limit=300)
    assert not scan.findings
    assert Counter(roles(scan).values()) == {"train": 284, "gold": 16, "val": 100, "test": 100}


@pytest.mark.parametrize("name", ["Müller_0", "Ångström", "Łódź é"])
@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_compared_in_one_unicode_form(tmp_path, name, forms):
    make_folder(tmp_path)
    there, elsewhere = (normalize(form, name) for form in forms)
    save(tmp_path / "images" / f"{there}.png", picture(50))
    save(tmp_path / "masks" / f"{elsewhere}.png", disc())
    save(tmp_path / "gold" / f"{elsewhere}.png", disc())
    names = [*(f"case{number:02d}" for number in range(12)), elsewhere]
    rows = [f"{case},{'gold' if case == elsewhere else 'train'}" for case in names]
    (tmp_path / "splits.csv").write_text("\n".join(["id,role", *rows, ""]), encoding="utf-8")
    table = f"id,label_confidence\n{elsewhere},0.5\n"
    (tmp_path / "label_confidence.csv").write_text(table, encoding="utf-8")
    scan = scan_folder(tmp_path)
    assert not [finding for finding in scan.findings if finding.severity == "error"], scan.findings
    assert roles(scan)[normalize("NFC", name)] == "gold"


def test_two_forms_of_one_name_are_two_files_of_one_stem(tmp_path):
    make_folder(tmp_path)
    for form in ("NFC", "NFD"):
        save(tmp_path / "images" / f"{normalize(form, 'Müller')}.png", picture(50))
    assert "stem-twice" in codes(scan_folder(tmp_path))["error"]
