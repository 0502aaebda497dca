"""``metadcseg diagnose`` as a user types it: sentences, JSON, a page, and one sentence where it cannot."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from tests.browser import barriers, fits
from tests.end_to_end.tools import cli, done, refused
from tests.unit.data.folders import picture, save, write
from tests.unit.pairs.masks import noisy_pairs
from tests.unit.pairs.test_read import folder_of, set_of
from tests.unit.report.html_page import Page

HOSTILE = "<b>x & 'y'"


@pytest.fixture
def folder(tmp_path):
    return folder_of(tmp_path / "mine", noisy_pairs("over", 12))


def test_the_sentences_and_where_the_page_is(folder, tmp_path):
    result = done("diagnose", folder, "--out", tmp_path)
    first, second, third, advice = result.out.splitlines()
    assert first.startswith("12 verified masks: the masks they replaced reach DSC 0.")
    assert second.startswith("12 of 12 are too large, 0 too small; the given outline lies ")
    assert third == "No object is missing, none is invented."
    assert advice.endswith("calibrated training is worth it.")
    assert result.err.strip() == f"the page: {tmp_path / 'diagnosis.html'}"


def test_json_has_these_keys(folder, tmp_path):
    found = done("diagnose", folder, "--out", tmp_path, "--json").json
    keys = ["pairs", "dsc", "offset_px", "offset_mm", "too_large", "too_small", "missing", "invented"]
    assert list(found) == [*keys, "advice", "classes", "annotators"]
    assert (found["pairs"], found["too_large"], found["too_small"]) == (12, 12, 0)
    assert 0 < found["dsc"]["low"] < found["dsc"]["mean"] < found["dsc"]["high"] < 1
    assert found["offset_px"]["low"] > 0
    assert found["offset_mm"] is None
    assert list(found["classes"]) == ["foreground"]
    assert list(found["classes"]["foreground"]) == keys
    assert found["annotators"] == {}
    assert isinstance(found["advice"], str)


def test_a_set_in_mm_by_annotator(tmp_path):
    pairs = noisy_pairs("under", 4, spacing=(0.5, 0.5))
    set_of(tmp_path / "set", pairs)
    table = write(tmp_path / "who.csv", "id,annotator\n" + "".join(f"{pair.id},Ann\n" for pair in pairs))
    found = done("diagnose", tmp_path / "set", "--annotators", table, "--out", tmp_path, "--json").json
    assert found["offset_mm"]["mean"] == pytest.approx(0.5 * found["offset_px"]["mean"])
    assert found["annotators"]["Ann"]["too_small"] == 4
    assert "annotator Ann" in Page(tmp_path / "diagnosis.html").text


def test_the_page_needs_nothing_else_and_shows_the_three_worst(folder, tmp_path):
    out = done("diagnose", folder, "--out", tmp_path / "new" / "place").out
    page = Page(tmp_path / "new" / "place" / "diagnosis.html")
    for sentence in out.splitlines():
        assert sentence in page.text
    assert [image["src"].partition(",")[0] for image in page.images()] == ["data:image/jpeg;base64"] * 3
    assert len([tag for tag, _ in page.tags if tag == "polyline"]) == 1
    assert sum(int(text.split()[0]) for text in page.texts if " at " in text and text.endswith(" px")) == 12
    assert not [
        link for link in page.attributes("href") + page.attributes("src") if not link.startswith("data:")
    ]
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert any("default-src 'none'" in text for text in page.attributes("content"))


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_the_page_in_a_browser(folder, tmp_path, visit, width, dark):
    done("diagnose", folder, "--out", tmp_path)
    page = visit(tmp_path / "diagnosis.html", width=width, dark=dark)
    assert len(visit.requests) == 1
    assert fits(page)
    if width > 1000:
        assert barriers(page) == []


def test_the_page_of_three_classes_has_three_lines(tmp_path):
    folder_of(tmp_path / "mine", noisy_pairs("over", 3, classes=4), others=0, value=1)
    found = done("diagnose", tmp_path / "mine", "--out", tmp_path, "--json").json
    assert list(found["classes"]) == ["class 1", "class 2", "class 3"]
    page = Page(tmp_path / "diagnosis.html")
    lines = [attrs["stroke"] for tag, attrs in page.tags if tag == "polyline"]
    assert len(set(lines)) == 3


def test_names_are_text_and_nothing_else(tmp_path):
    pairs = [replace(pair, id=f"{HOSTILE}{n}") for n, pair in enumerate(noisy_pairs("over", 3))]
    folder_of(tmp_path / HOSTILE, pairs)
    done("diagnose", tmp_path / HOSTILE, "--out", tmp_path)
    page = Page(tmp_path / "diagnosis.html")
    assert f"{HOSTILE}0" in page.text
    assert "b" not in {tag for tag, _ in page.tags}


def test_pairs_without_any_difference_are_shown_without_pictures(tmp_path):
    folder_of(tmp_path / "mine", noisy_pairs("none", 12))
    out = done("diagnose", tmp_path / "mine", "--out", tmp_path).out
    assert "All 12 are identical to the mask replaced: was anything verified?" in out
    assert "No error found in 12 verified masks" in out
    assert Page(tmp_path / "diagnosis.html").images() == []


def test_without_pairs_it_says_what_to_do_and_ends_with_2(folder, tmp_path):
    for path in (folder / "masks").glob("case*"):
        path.unlink()
    result = cli("diagnose", folder, "--out", tmp_path)
    assert result.status == 2
    assert result.out.startswith("None of 12 verified masks has the mask that it replaced")
    assert "keep the careless one in masks/" in result.out
    assert not (tmp_path / "diagnosis.html").exists()
    found = cli("diagnose", folder, "--out", tmp_path, "--json")
    assert (found.status, found.json["pairs"], found.json["dsc"]["mean"]) == (2, 0, None)


def test_a_gold_mask_that_is_empty_is_named(folder, tmp_path):
    save(folder / "gold/case03.png", np.zeros((120, 130), np.uint8))
    out = done("diagnose", folder, "--out", tmp_path).out
    assert "The verified mask of case03 is empty, the mask replaced is not: right if nothing is there" in out
    assert "0 objects are missing, 1 invented." in out


def test_twins_of_another_size_are_one_sentence(folder, tmp_path):
    save(folder / "masks/case03.png", np.zeros((60, 65), np.uint8))
    refused(
        "diagnose", folder, "--out", tmp_path, says=("masks/case03.png is 60 x 65", "export it at that size")
    )


@pytest.mark.parametrize("path", ["nowhere", "mine/images"])
def test_what_is_nothing_to_diagnose_is_one_sentence(folder, path):
    refused("diagnose", folder.parent / path, says=(path, "images/"))


def test_a_page_that_cannot_be_written_is_told_after_the_numbers(folder, tmp_path):
    write(tmp_path / "file", "x")
    result = cli("diagnose", folder, "--out", tmp_path / "file")
    assert result.status == 2
    assert result.out.startswith("12 verified masks")
    assert "choose another --out" in result.complaint


def test_an_image_that_cannot_be_drawn_is_told(folder, tmp_path):
    for path in (folder / "images").glob("case*"):
        path.write_bytes(b"no picture")
    result = cli("diagnose", folder, "--out", tmp_path)
    assert result.status == 2
    assert "is not a PNG" in result.complaint


def test_check_ends_with_the_same_lines(folder, tmp_path):
    lines = done("diagnose", folder, "--out", tmp_path).out.splitlines()
    checked = done("check", folder, "--val", "0", "--test", "0").out.splitlines()
    assert [line for line in checked if line in lines] == lines


def test_check_of_a_folder_without_pairs_says_nothing_of_them(tmp_path):
    for number in range(12):
        save(tmp_path / "mine/images" / f"{number}.png", picture(number))
        save(tmp_path / "mine/masks" / f"{number}.png", np.eye(20, 24, dtype=np.uint8))
    assert "metadcseg diagnose" not in done("check", tmp_path / "mine").out


def test_it_does_not_load_torch_nor_a_plotting_library(folder, tmp_path):
    code = (
        "import sys; from metadcseg.cli.main import main;"
        f"main(['diagnose', {str(folder)!r}, '--out', {str(tmp_path)!r}]);"
        "print({'torch', 'matplotlib', 'monai'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "set()"


@pytest.mark.parametrize("option", [("--remap", "1:2"), ("--ignore", "7"), ("--resample-labels",)])
def test_a_set_has_its_labels_already(tmp_path, option):
    set_of(tmp_path / "set", noisy_pairs("over", 3))
    says = f"{option[0]} does not belong to 'diagnose SET'"
    refused("diagnose", tmp_path / "set", "--out", tmp_path, *option, says=[says])
