"""The files of the review page: what is in them, that nothing in them does harm, and that a kill costs little."""

import base64
import hashlib
import io
import json
import os
import re
from dataclasses import replace
from html import unescape
from importlib import resources

import numpy as np
import pytest
from PIL import Image
from tests.unit.audit.page.simulated import CLASSES, HOSTILE, SUMMARY, made, written

from metadcseg.audit.page import PageSummary, ReviewPage, SummaryTable, script
from metadcseg.audit.page.join import join_modules
from metadcseg.audit.page.pictures import planes
from metadcseg.audit.page.runs import decode_runs, encode_runs
from metadcseg.audit.records import LEVELS
from metadcseg.errors import InputError

MODULES = {
    file.name.removesuffix(".js"): file.read_text("utf-8")
    for file in resources.files("metadcseg.audit.page").joinpath("modules").iterdir()
}


def blocks(page):
    """The scripts of a page by their id, the one that runs under ``main``; read as a browser does."""
    text = page.read_text("utf-8")
    found = re.findall(r"<script([^>]*)>(.*?)</script>", text, re.S)
    named = {re.search(r'id="(\w+)"', words)[1] if "id=" in words else "main": body for words, body in found}
    assert len(found) == len(named) == 3
    return named


def told(page):
    return json.loads(blocks(page)["cases"])


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_cases_are_listed_worst_first_in_whatever_order_they_come(tmp_path):
    page = written(tmp_path, [made(number) for number in (3, 1, 2, 0)])
    assert [entry["id"] for entry in told(page)] == [f"case {number:02d}" for number in range(4)]
    first = told(page)[0]
    assert (first["kinds"], first["classes"], first["regions"]) == (["invented", "too large"], [0, 1, 2], 2)
    assert json.loads(blocks(page)["facts"])["set"] == "f00d"


def test_a_case_whose_dsc_is_not_known_comes_last(tmp_path):
    case, arrays = made(0)
    page = written(tmp_path, [(replace(case, dsc=float("nan")), arrays), made(5)])
    assert [(entry["id"], entry["dsc"]) for entry in told(page)] == [("case 05", 0.45), ("case 00", None)]


def test_hostile_names_are_data_and_nothing_else(tmp_path):
    cases = [made(number, name) for number, name in enumerate(HOSTILE)]
    cases = [(replace(case, name=f"n{case.dsc}", annotator=case.id), arrays) for case, arrays in cases]
    page = written(tmp_path, cases, classes=["background", "</option><script>alert(1)</script>", "b"])
    assert [entry["id"] for entry in told(page)] == HOSTILE
    text = page.read_text("utf-8")
    assert "<img src=x" not in text
    assert text.count("<script") == text.count("</script") == 3
    assert "<b>are</b>" not in text
    assert "9 of 30 masks <b>are</b> flagged." in unescape(text)
    for file in (tmp_path / "page" / "cases").iterdir():
        assert file.read_bytes().isascii()
        assert "<" not in file.read_text("ascii")


def test_the_policy_allows_this_script_and_this_style_only(tmp_path):
    page = written(tmp_path, [made(0)])
    text = page.read_text("utf-8")
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])
    style = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    allowed = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert allowed == {
        "default-src": "'none'",
        "script-src": f"'sha256-{digest(blocks(page)['main'])}' 'self' file:",
        "style-src": f"'sha256-{digest(style)}'",
        "img-src": "'self' file: data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def digest(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_a_script_holds_all_pixels_of_its_case(tmp_path):
    case, arrays = made(0, slices=3)
    written(tmp_path, [(case, arrays)])
    lines = (tmp_path / "page/cases/case_00.js").read_text("ascii").splitlines()
    record = script.read_record(lines[0])
    assert (record["id"], record["shape"], record["spacing"]) == ("case 00", [3, 32, 40], [2.0, 1.0, 1.0])
    assert [region["number"] for region in record["regions"]] == [1, 2]
    assert len(lines) == 4
    for number, line in enumerate(lines[1:]):
        name, found, content = json.loads(
            f"[{line.removeprefix('metadcsegReview.slice(').removesuffix(');')}]"
        )
        assert (name, found) == ("case_00", number)
        assert np.array_equal(decode_runs(content["given"], (32, 40)), arrays.given[number])
        assert np.array_equal(decode_runs(content["regions"], (32, 40)), arrays.regions[number])
        for level in LEVELS:
            assert np.array_equal(decode_runs(content[level], (32, 40)), arrays.corrected[level][number])
        assert np.array_equal(picture(content["images"][0]), arrays.image[number, :, :, 0])
        assert np.abs(picture(content["wrong"]) / 255 - arrays.wrong[number]).max() <= 0.5 / 255 + 1e-6


def picture(link):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2]))))


def test_large_volumes_come_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(script, "_PIXELS", 2 * 32 * 40)
    written(tmp_path, [made(0, slices=5)])
    folder = tmp_path / "page"
    assert sorted(file.name for file in (folder / "slices").iterdir()) == ["case_00-1.js", "case_00-2.js"]
    files = [folder / "cases/case_00.js", folder / "slices/case_00-1.js", folder / "slices/case_00-2.js"]
    slices = [re.findall(r'^metadcsegReview.slice\("case_00",(\d)', file.read_text(), re.M) for file in files]
    assert slices == [["0", "1"], ["2", "3"], ["4"]]


def test_the_same_again_writes_nothing_and_what_changed_is_written(tmp_path):
    page = ReviewPage(tmp_path, "t", CLASSES, SUMMARY, identity="a")
    case, arrays = made(0)
    assert page.add(case, arrays)
    before = stamps(tmp_path)
    assert not page.add(case, arrays)
    assert stamps(tmp_path) == before
    assert page.add(replace(case, dsc=0.1), arrays)
    changed = arrays.wrong.copy()
    changed[0, 0, 0] = 0.5
    assert page.add(case, replace(arrays, wrong=changed))


def test_cases_of_a_process_that_was_killed_count(tmp_path):
    first = ReviewPage(tmp_path, "t", CLASSES, SUMMARY, identity="a")
    first.add(*made(0))
    first.add(*made(1))
    (tmp_path / "page/cases/case_01.js").unlink()  # killed before it was whole
    (tmp_path / "page/cases/.case_01.js.tmp").write_text("metadcsegReview.ca")
    again = ReviewPage(tmp_path, "t", CLASSES, SUMMARY, identity="a")
    assert not again.add(*made(0))
    assert again.add(*made(1))
    assert again.add(*made(2))
    assert len(told(again.close())) == 3
    assert not list(tmp_path.rglob("*.tmp"))


def test_files_of_an_earlier_audit_are_dropped(tmp_path):
    written(tmp_path, [made(0), made(1, slices=2)], identity="old")
    page = written(tmp_path, [made(1), made(2)], identity="new")
    assert [entry["id"] for entry in told(page)] == ["case 01", "case 02"]
    names = {path.name for path in (tmp_path / "page").rglob("*.*")}
    assert names == {"case_01.js", "case_01.jpg", "case_02.js", "case_02.jpg"}


def test_two_cases_of_one_name_and_a_name_that_is_a_path_are_refused(tmp_path):
    page = ReviewPage(tmp_path, "t", CLASSES, SUMMARY, identity="a")
    case, arrays = made(0)
    page.add(case, arrays)
    with pytest.raises(InputError, match="must not share a name"):
        page.add(replace(case, id="other"), arrays)
    with pytest.raises(InputError, match="safe_names"):
        page.add(replace(case, name="../x"), arrays)
    assert not (tmp_path / "x.js").exists()


def test_what_cannot_be_is_told():
    with pytest.raises(InputError, match="threshold must be from 0 to 1, got 2"):
        PageSummary((), 2, "own EMA")
    with pytest.raises(InputError, match="every row must have 2 cells, got 1"):
        SummaryTable("t", ("a", "b"), (("1",),))


def test_the_title_cannot_move_the_parts_of_the_page(tmp_path):
    page = ReviewPage(tmp_path, "@cases@ {{ 7 * 7 }}", CLASSES, SUMMARY, identity="a")
    page.add(*made(0))
    text = page.close().read_text("utf-8")
    assert "<title>@cases@ {{ 7 * 7 }}</title>" in text


@pytest.mark.parametrize("runs", [[0, 5], [0, 7], [0, 3, 1], [0, 6, 1, 0], [0, 8, 1, -2]])
def test_run_lengths_that_do_not_fit_are_refused(runs):
    with pytest.raises(InputError, match="add up to 6"):
        decode_runs(runs, (2, 3))


def test_run_lengths_come_back(tmp_path):
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (5, 7), (1, 90)):
        mask = rng.integers(0, 3, shape)
        runs = encode_runs(mask)
        assert np.array_equal(decode_runs(runs, shape), mask)
        assert all(before != after for before, after in zip(runs[0::2], runs[2::2], strict=False))


def test_planes_are_stretched_over_the_whole_case_and_color_stays():
    volume = np.stack([np.full((4, 4, 1), value, np.float32) for value in (-100.0, 0.0, 100.0)])
    volume[0, 0, 0, 0] = np.nan
    (shown,) = planes(volume)
    assert [shown[number, 3, 3] for number in range(3)] == [0, 128, 255]
    color = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    assert np.array_equal(planes(color)[0], color)
    assert len(planes(np.zeros((1, 4, 4, 4), np.uint16))) == 4


def test_modules_are_short_and_all_of_them_needed():
    assert {
        name: len(text.splitlines()) for name, text in MODULES.items() if len(text.splitlines()) > 350
    } == {}
    joined = join_modules(MODULES)
    assert {name for name in MODULES if f"module_{name} =" not in joined} == set()


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ({"main": 'import { a } from "./b.js";\n'}, "needs a module b.js"),
        ({"main": 'import { a } from "./main.js";\n'}, "in a circle: main, main"),
        ({"main": "export default 3;\n"}, "got 'export default 3;'"),
        ({"main": 'import "./b.js";\n'}, "declarations only"),
        ({"main": 'const a = "</script>";\n'}, "would end its script"),
    ],
)
def test_modules_that_cannot_be_joined_are_told(modules, said):
    with pytest.raises(InputError, match=re.escape(said)):
        join_modules(modules)


@pytest.mark.parametrize(
    "spoilt",
    [{"id": 3}, {"dsc": "low"}, {"shape": [1]}, {"perPart": 0}, {"regions": [1]}, {"identity": None}],
)
def test_a_record_of_other_types_is_written_again(spoilt, tmp_path):
    case, arrays = made(0)
    page = written(tmp_path, [(case, arrays)])
    file = tmp_path / "page/cases/case_00.js"
    first, *others = file.read_text("ascii").splitlines(keepends=True)
    file.write_text("".join([script.first_line(script.read_record(first) | spoilt), *others]))
    written(tmp_path, [(case, arrays)])
    assert file.read_text("ascii").splitlines(keepends=True)[0] == first
    assert [entry["id"] for entry in told(page)] == ["case 00"]


def test_pipes_and_folders_among_the_files_of_a_page_stop_nothing(tmp_path):
    written(tmp_path, [made(0)])
    (tmp_path / "page/cases/case_00.js").unlink()
    os.mkfifo(tmp_path / "page/cases/case_00.js")
    (tmp_path / "page/cases/folder.js").mkdir()
    page = written(tmp_path, [made(0)])
    assert [entry["id"] for entry in told(page)] == ["case 00"]
    assert (tmp_path / "page/cases/case_00.js").is_file()
