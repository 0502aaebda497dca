import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from tests.unit.data.folders import KVASIR, codes, disc, make_folder, mixed_folder, picture, save, write

from metadcseg.data.findings import Finding, grouped
from metadcseg.data.prepare.checks import check_folder, check_path, check_scan, check_set
from metadcseg.data.sources import scan_folder
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.errors import InputError

UNVERIFIED = "test-unverified"
"""Test masks of a folder are as given unless gold/ and splits.csv say otherwise."""

CLEAN = {"error": set(), "warning": {UNVERIFIED}, "note": set()}


@pytest.fixture
def folder(tmp_path):
    """A clean folder: 12 pairs, 5 of them gold, so that every finding below is new."""
    return make_folder(tmp_path / "mine", gold=5)


def found(report, code):
    """Return the findings of one code; there must be some."""
    held = [finding for finding in report.findings if finding.code == code]
    assert held, report.findings
    return held


def test_a_clean_folder_has_no_findings(folder):
    report = check_folder(folder)
    assert codes(report) == CLEAN
    assert report.ok
    assert report.cases == {"train": 5, "gold": 5, "val": 1, "test": 1}
    assert report.summary.endswith(
        "12 cases (5 train, 5 gold, 1 val, 1 test), 5 pairs, 0 errors, 1 warning, 0 notes"
    )
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


def test_missing_and_extra_masks(folder):
    (folder / "masks" / "case08.png").rename(folder / "masks" / "other.png")
    report = check_folder(folder)
    assert "case08.png has no mask" in found(report, "mask-missing")[0].sentence
    assert "other.png has no image" in found(report, "mask-extra")[0].sentence
    assert not report.ok


def test_no_masks_at_all(folder):
    for mask in [*folder.glob("masks/*"), *folder.glob("gold/*")]:
        mask.unlink()
    report = check_folder(folder)
    assert codes(report)["error"] == {"no-masks", "gold-empty"}


def test_image_and_mask_of_different_size_name_both_files_and_shapes(folder):
    save(folder / "masks" / "case08.png", disc(18, 24))
    sentence = found(check_folder(folder), "size-mismatch")[0].sentence
    for part in ("images/case08.png", "masks/case08.png", "20 x 24", "18 x 24"):
        assert part in sentence


def test_unreadable_files_do_not_hide_each_other(folder):
    for name in ("images/case06.png", "masks/case07.png"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    write(folder / "images" / "case08.png", "no image")
    save(folder / "masks" / "case09.png", picture(1))
    report = check_folder(folder)
    assert {Path(finding.where).name for finding in found(report, "image-unreadable")} == {
        "case06.png",
        "case08.png",
    }
    assert {Path(finding.where).name for finding in found(report, "mask-unreadable")} == {
        "case07.png",
        "case09.png",
    }
    assert len(report.errors) == 4


def test_nan_and_infinite_values(folder):
    array = picture(70, channels=1).astype(np.float32)
    array[0, :2] = np.nan, np.inf
    (folder / "images" / "case08.png").unlink()
    save(folder / "images" / "case08.tif", array)
    assert "2 of 480 values" in found(check_folder(folder), "image-unreadable")[0].sentence


def test_constant_images(folder):
    save(folder / "images" / "case08.png", np.full((20, 24, 3), (9, 8, 7), np.uint8))
    report = check_folder(folder)
    assert Path(found(report, "image-constant")[0].where).name == "case08.png"
    assert codes(report) == CLEAN | {"warning": {"image-constant", UNVERIFIED}}


def test_gray_levels_are_a_note(folder):
    for number in (8, 9):
        (folder / "masks" / f"case0{number}.png").unlink()
        save(folder / "masks" / f"case0{number}.jpg", disc(), quality=60)
    report = check_folder(folder)
    assert codes(report) == CLEAN | {"note": {"mask-gray-levels"}}
    assert report.findings[0].sentence.startswith("2 masks with gray levels")
    assert "thresholded at 127" in report.findings[0].sentence


def test_unexpected_values_come_with_a_remap(folder):
    mask = disc(value=7, dtype=np.uint16)
    mask[0, 0] = 900
    for path in [*folder.glob("masks/*"), *folder.glob("gold/*")]:
        save(path, mask)
    report = check_folder(folder)
    assert "--remap 7:1,900:2" in found(report, "label-unexpected")[0].sentence
    twins_too = {"warning": {UNVERIFIED, "pairs-identical"}}
    assert codes(check_folder(folder, remap={7: 1, 900: 2})) == CLEAN | twins_too


def test_empty_masks_are_a_warning_and_nothing_but_empty_masks_an_error(folder):
    save(folder / "masks" / "case08.png", disc(value=0))
    report = check_folder(folder)
    assert codes(report) == CLEAN | {"warning": {"mask-empty", UNVERIFIED}}
    assert [Path(finding.where).name for finding in found(report, "mask-empty")] == ["case08.png"]
    for path in [*folder.glob("masks/*"), *folder.glob("gold/*")]:
        save(path, disc(value=0))
    assert "no-foreground" in codes(check_folder(folder))["error"]


ROLES = ["gold"] * 5 + ["train"] * 4 + ["val"] * 2 + ["test"]


def write_splits(folder, groups=None):
    groups = groups or [f"P{number}" for number in range(12)]
    rows = [f"case{number:02d},{ROLES[number]},{groups[number]}" for number in range(12)]
    write(folder / "splits.csv", "\n".join(["id,role,group", *rows, ""]))


def test_duplicates_by_content_across_roles_and_within(folder):
    write_splits(folder)
    assert codes(check_folder(folder)) == CLEAN
    (folder / "images" / "case11.png").unlink()
    save(folder / "images" / "case11.tif", picture(7))  # another file, the same picture as case07
    report = check_folder(folder)
    assert codes(report) == CLEAN | {"error": {"duplicate-across-roles"}}
    sentence = report.findings[0].sentence
    assert "case11.tif" in sentence
    assert "case07.png" in sentence
    assert "test" in sentence
    (folder / "images" / "case11.tif").unlink()
    save(folder / "images" / "case11.png", picture(11))
    save(folder / "images" / "case08.png", picture(7))
    assert codes(check_folder(folder)) == CLEAN | {"warning": {"duplicate", UNVERIFIED}}


def test_gray_saved_in_color_is_a_duplicate(folder):
    write_splits(folder)
    gray = picture(80, channels=1)
    save(folder / "images" / "case07.png", gray)
    save(folder / "images" / "case11.png", np.repeat(gray[:, :, None], 3, axis=2))
    assert codes(check_folder(folder))["error"] == {"duplicate-across-roles"}


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_equal_values_of_another_type_are_a_duplicate(folder, kind):
    write_splits(folder)
    gray = picture(80, channels=1)
    save(folder / "images" / "case07.png", gray)
    (folder / "images" / "case11.png").unlink()
    save(folder / "images" / "case11.tif", gray.astype(kind))
    assert codes(check_folder(folder))["error"] == {"duplicate-across-roles"}


def test_groups_across_roles_are_told_once_with_the_line(folder):
    write_splits(folder, groups=["A"] * 9 + ["B", "C", "D"])
    assert codes(check_folder(folder)) == CLEAN
    write_splits(folder, groups=["A"] * 10 + ["C", "A"])
    held = found(check_folder(folder), "group-split")
    assert len(held) == 1
    assert "splits.csv, line 11: group 'A'" in held[0].sentence


def test_gold_missing_or_tiny(tmp_path):
    assert codes(check_folder(make_folder(tmp_path / "none"))) == CLEAN | {
        "warning": {"gold-missing", UNVERIFIED}
    }
    report = check_folder(make_folder(tmp_path / "few", gold=4))
    assert codes(report) == CLEAN | {"warning": {"gold-tiny", UNVERIFIED}}
    assert "only 4 cases" in report.findings[0].sentence
    assert codes(check_folder(make_folder(tmp_path / "enough", gold=5))) == CLEAN


def test_roles_without_a_case(folder):
    rows = [f"case{number:02d},{'gold' if number < 5 else 'train'}" for number in range(12)]
    write(folder / "splits.csv", "\n".join(["id,role", *rows]))
    assert codes(check_folder(folder))["warning"] == {"no-val", "no-test"}
    rows = [f"case{number:02d},{'gold' if number < 5 else 'val'}" for number in range(12)]
    write(folder / "splits.csv", "\n".join(["id,role", *rows]))
    assert codes(check_folder(folder))["error"] == {"no-train"}


def test_progress_counts_cases(folder):
    seen = []
    check_folder(folder, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 12) for number in range(1, 13)]


# sets


def make_set(path, change=None):
    """Write a clean set, or one whose cases ``change(number, case)`` has altered; return its path."""
    with SetWriter(path, name="s", classes=("background", "organ"), channels=3) as writer:
        for number in range(12):
            label = disc(value=1)
            case = {
                "id": f"c{number}",
                "role": ROLES[number],
                "group": f"g{number}",
                "image": picture(number),
            }
            case |= {"label": label, "truth": label if number < 5 else None}
            writer.add(**(change(number, case) if change else case))
    return path


def test_a_clean_set_has_no_findings(tmp_path):
    report = check_set(make_set(tmp_path / "set"))
    assert codes(report) == CLEAN
    assert report.cases == {"train": 4, "gold": 5, "val": 2, "test": 1}


def test_a_set_is_checked_for_what_a_folder_is_checked_for(tmp_path):
    changes = {
        6: {"image": np.full((20, 24, 3), 5, np.uint8)},
        7: {"label": disc(value=0)},
        8: {"image": picture(5)},
        11: {"image": picture(9), "group": "g9"},
    }
    report = check_set(make_set(tmp_path / "set", lambda number, case: case | changes.get(number, {})))
    assert codes(report) == {
        "error": {"duplicate-across-roles", "group-split"},
        "warning": {"image-constant", "mask-empty", "duplicate", UNVERIFIED},
        "note": set(),
    }


def test_every_damaged_array_of_a_set_is_named(tmp_path):
    path = make_set(tmp_path / "set")
    chunks = sorted(
        file for file in (path / "arrays").rglob("*") if file.is_file() and file.name != "zarr.json"
    )
    assert len(chunks) == 12 + 12 + 5
    for chunk in (chunks[0], chunks[-1]):
        data = bytearray(chunk.read_bytes())
        data[len(data) // 2] ^= 0x10
        chunk.write_bytes(data)
    report = check_set(path)
    assert len(found(report, "checksum")) == 2
    assert len(report.errors) == 2
    assert all(
        finding.where in {case.id for case in PreparedSet.open(path).cases} for finding in report.errors
    )


def test_a_set_that_cannot_be_opened_is_one_error(tmp_path):
    path = make_set(tmp_path / "set")
    write(path / "cases.jsonl", "{}")
    report = check_path(path)
    assert codes(report) == CLEAN | {"error": {"set-damaged"}, "warning": set()}
    (path / "set.json").unlink()
    assert codes(check_path(path)) == CLEAN | {"error": {"set-damaged"}, "warning": set()}


def test_check_path_tells_sets_from_folders(tmp_path, folder):
    assert check_path(make_set(tmp_path / "set")).kind == "set"
    assert check_path(folder).kind == "folder"
    for wrong in (tmp_path / "missing", tmp_path, folder / "images" / "case00.png"):
        with pytest.raises(InputError, match="images/"):
            check_path(wrong)


@pytest.mark.skipif(not KVASIR.is_dir(), reason="needs ../shared/data/kvasir-seg")
def test_a_dozen_real_images_of_mixed_sizes_and_formats(tmp_path):
    mixed_folder(tmp_path)
    report = check_folder(tmp_path)
    assert codes(report) == CLEAN | {"note": {"mask-gray-levels"}}
    assert report.cases == {"train": 5, "gold": 5, "val": 1, "test": 1}


def test_only_test_masks_that_nobody_verified_are_told(tmp_path):
    folder = make_folder(tmp_path / "mine", gold=6)
    roles = ["gold"] * 5 + ["test", "test", "val"] + ["train"] * 4
    rows = [f"case{number:02d},{role}" for number, role in enumerate(roles)]
    write(folder / "splits.csv", "\n".join(["id,role", *rows, ""]))
    (finding,) = check_folder(folder).findings
    assert (finding.severity, finding.code, finding.where) == ("warning", UNVERIFIED, "test")
    assert finding.sentence.startswith("1 of 2 test masks is not verified")
    save(folder / "gold" / "case06.png", np.roll(disc(), 1, axis=0))
    assert check_folder(folder).findings == ()


def test_findings_of_one_kind_are_one_group():
    found = [Finding("warning", "duplicate", "a", "a is b: remove it")]
    found += [
        Finding("error", "mask-missing", f"{n}.png", f"{n}.png has no mask: add it") for n in range(201)
    ]
    found += [Finding("error", "new-kind", str(n), "odd: mend it") for n in range(2)]
    many, unknown, single = grouped(found)
    assert many.sentence == "201 images have no mask, e.g. 0.png has no mask: add it"
    assert many.where == "0.png and 200 more"
    assert unknown.sentence == "2 findings of new-kind, e.g. odd: mend it"
    assert (single.where, single.sentence) == ("a", "a is b: remove it")
    assert sum(len(group.findings) for group in (many, unknown, single)) == len(found)


@pytest.mark.parametrize("blurred", [False, True])
def test_the_remaps_that_a_sentence_suggests_settle_masks_inside_out(tmp_path, blurred):
    """Also where edges are soft, so that many values mean one class."""
    root = make_folder(tmp_path / "mine", gold=5)
    for place in ("masks", "gold"):
        for path in sorted((root / place).iterdir()):
            ring = Image.fromarray(np.where(np.asarray(Image.open(path)) == 0, 255, 0).astype(np.uint8))
            ring = ring.filter(ImageFilter.GaussianBlur(1)) if blurred else ring
            ring.save(path)
    said = found(check_folder(root), "masks-inverted")[0].sentence
    words = re.findall(r"--remap ([\d:,]+)", said)
    assert words == ["0:1,255:0", "0:0,255:1"]
    for word in words:
        remap = dict(tuple(map(int, pair.split(":"))) for pair in word.split(","))
        assert check_folder(root, remap=remap).ok


@pytest.mark.parametrize("where", ["given", "label"])
def test_an_inverted_twin_of_a_right_mask_is_refused(where, tmp_path):
    folder = make_folder(tmp_path / "mine", gold=5)
    save(folder / "masks" / "case02.png", 255 - disc())
    scan = scan_folder(folder)
    if where == "label":  # a reference beside the label, as sources with both have it
        cases = (
            replace(case, label=case.given, truth=case.label) if case.given else case for case in scan.cases
        )
        scan = replace(scan, cases=tuple(cases))
    found = [finding for finding in check_scan(folder, scan).errors if finding.code == "mask-inverted"]
    assert [finding.where for finding in found] == [str(folder / "masks" / "case02.png")]


def labelled_set(path, masks, remap=None, count=12):
    """Write a set whose labels a function makes, of (40, 40) pixels."""
    source = {"source": "folder"} | ({} if remap is None else {"remap": remap})
    with SetWriter(path, name="set", classes=("background", "organ"), channels=1, source=source) as writer:
        for number in range(count):
            role = ("train", "gold", "val", "test")[number] if number < 4 else "train"
            image = picture(number, 40, 40, 1)[:, :, None]
            writer.add(id=f"c{number}", role=role, group="", image=image, label=masks(number))
    return path


@pytest.mark.parametrize(
    ("masks", "code", "where"),
    [
        (lambda number: 1 - disc(40, 40, 1), "masks-inverted", "c0"),
        (lambda number: disc(40, 40, 1) if number != 5 else 1 - disc(40, 40, 1), "mask-inverted", "c5"),
        (lambda number: np.ones((40, 40), np.uint8), "no-background", "c0"),
        (
            lambda number: np.eye(40, dtype=np.uint8) * (number < 4) + (number == 7) * disc(40, 40, 1),
            None,
            None,
        ),
    ],
)
def test_labels_of_a_set_are_judged_as_those_of_a_folder(masks, code, where, tmp_path):
    found = [
        one for one in check_set(labelled_set(tmp_path / "set", masks)).findings if one.code != "mask-empty"
    ]
    judged = [one for one in found if "inverted" in one.code or one.code == "no-background"]
    assert [(one.severity, one.code, one.where) for one in judged] == (
        [("warning", code, where)] if code else []
    )
    assert all(one.sentence.endswith("prepare it again with that") for one in judged)
    said = labelled_set(tmp_path / "said", masks, remap={"0": 0, "255": 1})
    assert not [
        one for one in check_set(said).findings if "inverted" in one.code or one.code == "no-background"
    ]


def test_a_mask_of_a_set_that_is_unknown_throughout_is_not_called_empty(tmp_path):
    with SetWriter(tmp_path / "s", name="s", classes=("background", "organ"), channels=1) as writer:
        for number, value in enumerate((0, 255)):
            label = np.full((20, 24), value, np.uint8)
            image = picture(number, channels=1)[..., None]
            writer.add(id=f"c{number}", group=f"c{number}", role="train", image=image, label=label)
    found = {finding.where: finding.code for finding in check_set(tmp_path / "s").findings}
    assert (found["c0"], found["c1"]) == ("mask-empty", "mask-unknown")
