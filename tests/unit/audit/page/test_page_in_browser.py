"""The review page in Chromium, opened from disk: decided by keyboard, painted on, kept, saved, loaded, looked at."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from tests.browser import fits
from tests.unit.audit.page.simulated import HOSTILE, made, written
from tests.unit.audit.rules import BRUSH, RULES, three_regions

from metadcseg.audit.page import script
from metadcseg.audit.page.runs import encode_runs
from metadcseg.audit.records import Arrays


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("audit"), [made(number) for number in range(30)])


def is_ready(page, place=None):
    """Wait until all of a case is there, the one at a place of the list."""
    if place is not None:
        expect(page.locator("#case-place")).to_have_text(place)
    expect(page.locator("#viewer")).to_have_attribute("aria-busy", "false")


def view(page, name):
    page.evaluate("name => { location.hash = `#case=${name}`; }", name)
    expect(page.locator("#viewer")).to_be_visible()
    is_ready(page)


def another_tab(page):
    """A second tab of the same browser at the same case."""
    other = page.context.new_page()
    other.goto(page.url)
    is_ready(other)
    return other


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def saved(page):
    """What the page saves when s is pressed."""
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == "decisions.json"
    return json.loads(download.value.path().read_text())


def test_thirty_cases_by_keyboard_are_kept_and_saved(visit, folder):
    page = visit(folder, width=900, height=600)
    expected = []
    press(page, "j", "Enter")
    for number in range(30):
        is_ready(page, f"{number + 1} of 30")
        said = {
            "case": f"case {number:02d}",
            "verdict": None,
            "level": "balanced",
            "regions": {},
            "painted": {},
        }
        if number % 5 == 0:
            press(page, *"nanr", "Escape" if number else "n")
            said["regions"] = {"1": "accept", "2": "reject"}
        elif number % 5 == 1:
            press(page, *"lla")
            said |= {"verdict": "accept", "level": "sure"}
        elif number % 5 == 2:
            press(page, *"ar")
            said["verdict"] = "reject"
        elif number % 5 == 3:
            press(page, *"renNez")
            said["verdict"] = "expert"
        else:
            press(page, *"az")
        if number % 5 != 4:
            expected.append(said)
        press(page, "j" if number % 2 else "ArrowRight")
    expect(page.locator("#said")).to_contain_text("This is the last case")
    press(page, "Escape")
    expect(page.locator(":focus")).to_have_attribute("aria-label", re.compile("^30: case 29, "))
    for _ in range(2):
        expect(page.locator("#overview")).to_contain_text("18 of 30 reviewed, 6 for an expert")
        assert saved(page) == {
            "format": "metadcseg-decisions/1",
            "identity": "ab12",
            "set": "f00d",
            "decisions": expected,
        }
        page.reload()


def pixel_places(page, *pixels):
    """Where pixels (x, y) lie on the screen: the whole image is in the middle of the canvas, with room of 12."""
    box = page.locator("#canvas").bounding_box()
    scale = min((box["width"] - 24) / 40, (box["height"] - 24) / 32)
    left, top = box["x"] + (box["width"] - 40 * scale) / 2, box["y"] + (box["height"] - 32 * scale) / 2
    return [(left + (x + 0.5) * scale, top + (y + 0.5) * scale) for x, y in pixels]


def drag(page, *pixels):
    """Press the mouse at the first pixel (x, y) and let it go at the last."""
    first, *others = pixel_places(page, *pixels)
    page.mouse.move(*first)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place)
    page.mouse.up()


def test_the_brush_paints_exactly_these_run_lengths(visit, folder):
    page = visit(folder)
    view(page, "case_03")
    press(page, *"b2[[[[")
    expect(page.locator("#size-text")).to_have_text("5 px")
    drag(page, (5, 20), (12, 20))
    mask = made(3)[1].corrected["balanced"][0].copy()
    y, x = np.mgrid[:32, :40]
    for column in range(5, 13):
        mask[(x - column) ** 2 + (y - 20) ** 2 <= 2.5**2] = 2
    (said,) = saved(page)["decisions"]
    assert said == {
        "case": "case 03",
        "verdict": None,
        "level": "balanced",
        "regions": {},
        "painted": {"0": encode_runs(mask)},
    }
    press(page, *"x[[[[", "ArrowLeft", "ArrowUp", "Space")  # by keyboard, from where the mouse was
    mask[19, 11] = 0
    assert saved(page)["decisions"][0]["painted"] == {"0": encode_runs(mask)}
    press(page, *"zz")
    assert saved(page)["decisions"] == []
    press(page, "Z")
    assert len(saved(page)["decisions"]) == 1
    page.get_by_role("button", name="Remove painting").click()
    assert saved(page)["decisions"] == []


def test_a_click_chooses_a_region_and_painting_begins_with_what_was_decided(visit, folder):
    page = visit(folder)
    view(page, "case_04")
    drag(page, (3, 3))
    expect(page.locator("#verdict-target")).to_have_text("Region 2")
    press(page, "r", "Escape", *"b1")
    drag(page, (30, 20))
    mask = made(4)[1].corrected["balanced"][0].copy()
    mask[2:5, 2:6] = 2  # the region that was rejected stays as given
    y, x = np.mgrid[:32, :40]
    mask[(x - 30) ** 2 + (y - 20) ** 2 <= 4.5**2] = 1
    (said,) = saved(page)["decisions"]
    assert (said["regions"], said["painted"]) == ({"2": "reject"}, {"0": encode_runs(mask)})


def color(page, pixel):
    """Red, green and blue of the screen in the middle of a pixel."""
    ((x, y),) = pixel_places(page, pixel)
    shot = page.screenshot(clip={"x": int(x), "y": int(y), "width": 1, "height": 1})
    with Image.open(io.BytesIO(shot)) as image:
        return np.array(image.convert("RGB"), int)[0, 0]


def test_layers_and_the_window_are_drawn(visit, folder):
    page = visit(folder)
    view(page, "case_05")
    level, window = page.get_by_label("Level", exact=True), page.get_by_label("Window", exact=True)
    gray = int(made(5)[1].image[0, 8, 18, 0])  # in the rim that is too much, 8 from the center of the disc
    press(page, *"gph")
    level.fill("128")
    tint = np.array([204, 121, 167]) * 70 / 255  # of the given class, which only "before" shows there
    bare = color(page, (18, 8))
    assert np.abs(bare - gray).max() <= 2
    press(page, "f")
    assert np.abs(color(page, (18, 8)) - (bare * (1 - 70 / 255) + tint)).max() <= 3
    press(page, *"fh")
    heat = 0.45 * 0.9
    seen = color(page, (18, 8))
    assert np.abs(seen - (bare * (1 - heat) + heat * np.array([255, 45, 110]))).max() <= 3
    press(page, "h")
    window.fill("20")
    level.fill(str(max(20, gray - 40)))
    assert (color(page, (18, 8)) == 255).all()  # above the window
    level.fill(str(min(235, gray + 40)))
    assert (color(page, (18, 8)) == 0).all()
    level.blur()  # else Shift and arrow are the slider's
    press(page, "+", "Shift+ArrowRight")
    moved = color(page, (18, 8))
    press(page, *"0hh")
    assert (color(page, (18, 8)) == 0).all()
    assert not (moved == 0).all()


def test_slices_of_a_volume(visit, tmp_path):
    page = visit(written(tmp_path / "out", [made(0, slices=4)], identity="volume"))
    view(page, "case_00")
    number = page.locator("#slice-text")
    expect(number).to_have_text("1 / 4")
    press(page, *["ArrowUp"] * 4)
    is_ready(page)
    expect(number).to_have_text("4 / 4")
    press(page, "ArrowDown")
    is_ready(page)
    press(page, *"b2", "Space")
    (said,) = saved(page)["decisions"]
    assert list(said["painted"]) == ["2"]


def test_decisions_are_loaded_from_a_file(visit, folder, tmp_path):
    page = visit(folder)
    good = {
        "case": "case 01",
        "verdict": "accept",
        "level": "sure",
        "regions": {"1": "reject"},
        "painted": {"0": [1, 1280]},
    }
    bad = [
        {**good, "case": "case 02", "painted": {"0": [1, 1279]}},
        {**good, "case": "case 03", "painted": {"1": [1, 1280]}},
        {**good, "case": "case 04", "painted": {"0": [7, 1280]}},
        {**good, "case": "case 05", "regions": {"3": "accept"}},
        {**good, "case": "case 08", "regions": {"01": "accept"}},
        {**good, "case": "case 06", "verdict": "yes"},
        {**good, "case": "case 07", "level": "all"},
    ]
    unseen = {**good, "case": "case 01", "verified": False}
    bare = {**good, "case": "case 09", "regions": None, "painted": None}  # as accept takes them
    file = tmp_path / "in.json"
    whole = {"format": "metadcseg-decisions/1", "identity": "ab12", "set": "f00d"}
    held = [good, *bad, {**good, "case": "nobody"}, 3, unseen, bare]
    file.write_text(json.dumps({**whole, "decisions": held}))
    load, loaded = page.get_by_label("Load decisions.json"), page.locator("#loaded")
    load.set_input_files(file)
    expect(loaded).to_contain_text("Decisions of 2 cases loaded")
    expect(loaded).to_contain_text("Left out: 2 of cases that this audit does not have")
    expect(loaded).to_contain_text("Left out: 1 that a script decided")
    expect(loaded).to_contain_text("Left out: 7 that are not written")
    assert saved(page)["decisions"] == [good, {**bare, "regions": {}, "painted": {}}]
    for content, says in (
        ("{", "not JSON"),
        ("{}", "holds no decisions"),
        (json.dumps({**whole, "identity": "other", "decisions": []}), "another audit"),
    ):
        file.write_text(content)
        load.set_input_files(file)
        expect(loaded).to_contain_text(says)
    assert saved(page)["decisions"] == [good, {**bare, "regions": {}, "painted": {}}]


def decided(case, verdict=None, regions=(), painted=()):
    """A decision as the page writes it."""
    said = {"regions": dict(regions), "painted": dict(painted)}
    return {"case": case, "verdict": verdict, "level": "balanced", **said}


def file_of(tmp_path, *decisions, identity="ab12"):
    """A file with decisions on an audit."""
    file = tmp_path / "decisions.json"
    whole = {"format": "metadcseg-decisions/1", "identity": identity, "set": "f00d"}
    file.write_text(json.dumps({**whole, "decisions": list(decisions)}))
    return file


def test_the_page_counts_as_reviewed_what_accept_makes_gold_of(visit, tmp_path):
    cases, rows = [], []
    for number, (verdict, regions, slices, *_) in enumerate(RULES):
        case, masks = three_regions(f"c{number:02d}")
        image, wrong = np.zeros((3, 2, 2, 1), np.uint8), np.float32(0.9) * (masks.regions > 0)
        cases.append((case, Arrays(image, masks.given, wrong, masks.regions, masks.corrected)))
        rows.append(decided(case.id, verdict, regions, {str(index): encode_runs(BRUSH) for index in slices}))
    page = visit(written(tmp_path / "out", cases), height=2400)
    page.get_by_label("Load decisions.json").set_input_files(file_of(tmp_path, *rows))
    verified, experts = (sum(map(bool, column)) for column in list(zip(*RULES, strict=True))[3::2])
    expect(page.locator("#overview")).to_contain_text(
        f"{verified} of {len(RULES)} reviewed, {experts} for an expert"
    )
    expect(page.locator(".card")).to_have_count(len(RULES))
    said = page.locator(".card").evaluate_all("cards => cards.map(card => card.ariaLabel.split(', ').at(-1))")
    for rule, state in zip(RULES, said, strict=True):
        expected = ["Accepted", "Rejected", "By region", "Painted"] if rule[3] else ["Undecided", "Begun"]
        assert state in (["Expert"] if rule[5] else expected), rule


def test_what_is_left_to_an_expert_is_not_painted_with_the_proposal(visit, folder):
    page = visit(folder)
    view(page, "case_06")
    press(page, *"nne", "Escape", *"b1")  # region 2
    drag(page, (30, 20))
    expect(page.locator("#case-state")).to_have_text("Expert")
    mask = made(6)[1].corrected["balanced"][0].copy()
    mask[2:5, 2:6] = 2
    y, x = np.mgrid[:32, :40]
    dab = (x - 30) ** 2 + (y - 20) ** 2 <= 4.5**2
    mask[dab] = 1
    assert saved(page)["decisions"] == [decided("case 06", None, {"2": "expert"}, {"0": encode_runs(mask)})]
    press(page, *"zze")  # the case
    drag(page, (30, 20))
    given = made(6)[1].given[0].copy()
    given[dab] = 1
    assert saved(page)["decisions"] == [decided("case 06", "expert", {}, {"0": encode_runs(given)})]
    expect(page.locator("#case-state")).to_have_text("Expert")


def test_undo_in_one_tab_leaves_what_another_decided(visit, folder):
    page = visit(folder)
    view(page, "case_07")
    other = another_tab(page)
    press(page, "a")
    expect(other.locator("#case-state")).to_have_text("Accepted")
    press(other, *"nrl")
    expect(page.locator("#level-network")).to_be_checked()
    press(page, "z")
    expect(other.locator("#case-state")).to_have_text("Begun")
    left = {**decided("case 07", None, {"1": "reject"}), "level": "network"}
    assert [saved(each)["decisions"] for each in (page, other)] == [[left], [left]]
    press(page, "Z")
    assert saved(page)["decisions"] == [{**left, "verdict": "accept"}]
    press(other, *"zz")
    wanted = [decided("case 07", "accept")]
    for _ in range(50):  # the tab hears of one undo after the other
        if saved(page)["decisions"] == wanted:
            break
        page.wait_for_timeout(100)
    assert saved(page)["decisions"] == wanted


def test_undo_in_one_tab_leaves_what_another_said_of_the_same(visit, folder):
    page = visit(folder)
    view(page, "case_09")
    other = another_tab(page)
    press(page, "a")
    expect(other.locator("#case-state")).to_have_text("Accepted")
    press(other, "r")
    expect(page.locator("#case-state")).to_have_text("Rejected")
    for key in "zZz":
        press(page, key)
        expect(page.locator("#said")).to_contain_text("do: verdict; what another tab changed since stays")
        assert saved(page)["decisions"] == [decided("case 09", "reject")]
    press(other, "z")  # its own, to what it found
    expect(page.locator("#case-state")).to_have_text("Accepted")
    press(page, "e")
    expect(other.locator("#case-state")).to_have_text("Expert")
    press(page, "z")
    assert saved(page)["decisions"] == [decided("case 09", "accept")]
    for each, place in ((page, (28, 20)), (other, (34, 20))):
        press(each, *"b1")
        drag(each, place)
        expect((other if each is page else page).locator("#painted")).to_be_visible()
    both = saved(other)["decisions"]
    press(page, "z")
    assert (saved(page)["decisions"], saved(other)["decisions"]) == (both, both)
    press(other, "z")
    (left,) = saved(other)["decisions"]
    assert left["painted"] not in ({}, both[0]["painted"])  # the stroke of the first tab


def test_a_step_whose_paint_another_tab_read_and_wrote_again_is_undone(visit, folder):
    page = visit(folder)
    view(page, "case_10")
    other = another_tab(page)
    press(page, *"b1")
    drag(page, (30, 20))
    expect(other.locator("#painted")).to_be_visible()
    press(other, "l")  # of the same case: all of it is stored anew
    expect(page.locator("#level-network")).to_be_checked()
    press(page, "z")
    assert saved(page)["decisions"] == []


def stroked(mask, columns, row, reach):
    """Run lengths of a mask after a stroke of class 1 along a row."""
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    over = [(x - column) ** 2 + (y - row) ** 2 <= reach**2 for column in columns]
    return encode_runs(np.where(np.any(over, axis=0), 1, mask).astype(np.uint8))


def test_undo_during_a_stroke_is_kept_and_so_is_all_that_the_stroke_went_over(visit, folder):
    page = visit(folder)
    view(page, "case_11")
    press(page, *"b1[[[[")
    drag(page, (24, 26), (30, 26))
    assert list(saved(page)["decisions"][0]["painted"]) == ["0"]
    first, second = pixel_places(page, (28, 26), (34, 26))
    page.mouse.move(*first)
    page.mouse.down()
    page.mouse.move(*second)
    press(page, "z")
    assert saved(page)["decisions"] == []
    page.mouse.up()
    painted = {"0": stroked(made(11)[1].corrected["balanced"][0], range(28, 35), 26, 2.5)}
    assert saved(page)["decisions"] == [decided("case 11", None, {}, painted)]


def test_what_is_decided_during_a_stroke_and_the_stroke_itself_are_kept(visit, folder):
    page = visit(folder)
    view(page, "case_08")
    press(page, *"b1")
    first, second = pixel_places(page, (28, 20), (34, 20))
    page.mouse.move(*first)
    page.mouse.down()
    page.mouse.move(*second)
    press(page, "r")
    page.mouse.up()
    painted = {
        "0": stroked(made(8)[1].given[0], range(28, 35), 20, 4.5)
    }  # nothing of a proposal that was rejected
    assert saved(page)["decisions"] == [decided("case 08", "reject", {}, painted)]
    painted = {"0": stroked(made(8)[1].corrected["balanced"][0], range(28, 35), 20, 4.5)}
    for away in ("j", "Escape"):
        press(page, *"zz")
        view(page, "case_08")
        assert saved(page)["decisions"] == []
        page.mouse.move(*first)
        page.mouse.down()
        page.mouse.move(*second)
        press(page, away)
        page.mouse.up()
        (one,) = saved(page)["decisions"]
        assert one == decided("case 08", None, {}, painted)


DAMAGED = [
    '{"verdict":"acc',
    "null",
    "5",
    '{"verdict":"accept","level":"best"}',
    '{"verdict":"yes"}',
    '{"regions":{"7":"accept"}}',
    '{"painted":{"0":[1,5]}}',
]


def test_what_is_damaged_in_the_store_of_the_browser_costs_that_case_alone(visit, folder):
    page = visit(folder)
    kept = {f"case {number:02d}": text for number, text in enumerate(DAMAGED)}
    kept["case 20"] = '{"verdict":"accept","level":"sure","regions":null,"painted":null}'
    keep = "held => { for (const id in held) localStorage.setItem(`metadcseg-review/ab12/${id}`, held[id]); }"
    page.evaluate(keep, kept)
    page.reload()
    unreadable = page.locator("#unreadable")
    expect(unreadable).to_contain_text("case 00, case 01, case 02 and 4 more")
    expect(page.locator("#refusal")).to_be_hidden()
    expect(page.locator("#overview")).to_contain_text("1 of 30 reviewed")
    good = {**decided("case 20", "accept"), "level": "sure"}
    assert saved(page)["decisions"] == [good]
    other = page.context.new_page()
    other.goto(page.url)
    other.evaluate(keep, {"case 20": "{", "case 21": '{"verdict":"reject"}', "nobody": "{}"})
    expect(unreadable).to_contain_text("and 5 more")
    for number in (*range(len(DAMAGED)), 20):
        view(page, f"case_{number:02d}")
        press(page, "a")
    expect(unreadable).to_be_hidden()
    assert [said["case"] for said in saved(page)["decisions"]] == sorted([*kept, "case 21"])


def test_filters_and_the_gallery_by_keyboard(visit, folder):
    page = visit(folder)
    filters, count = page.get_by_role("search"), page.locator("#count")
    filters.get_by_label("Annotator").select_option("bo")
    expect(count).to_have_text("15 of 30 cases")
    page.locator("h1").first.click()  # else letters choose in the list of annotators
    press(page, "j", "ArrowRight", "a")
    expect(page.locator("#overview")).to_contain_text("1 of 30 reviewed")
    filters.get_by_label("Decision").select_option("accepted")
    expect(count).to_have_text("1 of 30 cases")
    said = re.compile(r"^4: case 03, expected DSC 0\.43 \[0\.30, 0\.90\]")
    expect(page.locator(".card")).to_have_attribute("aria-label", said)
    filters.get_by_label("Group").select_option("patient 2")
    page.get_by_role("button", name="Show all").click()
    expect(count).to_have_text("30 of 30 cases")
    press(page, "k", *["ArrowLeft"] * 4, "e")  # to the first: it is for an expert
    page.get_by_role("button", name="Review").click()
    is_ready(page, "2 of 30")


def test_hostile_names_are_shown_as_they_are(visit, tmp_path):
    cases = [made(number, name) for number, name in enumerate(HOSTILE)]
    cases = [(replace(case, name=f"n{case.dsc:.2f}", group=case.id), arrays) for case, arrays in cases]
    file = written(tmp_path, cases, identity="</script>")
    labels = visit(file).locator(".card").evaluate_all("cards => cards.map(card => card.ariaLabel)")
    assert all(any(name[:90] in label for label in labels) for name in HOSTILE[:5])
    page = visit(file, width=390, height=844)
    for case, _ in cases:
        view(page, case.name)
        assert fits(page)
    expect(page.locator("#case-name")).to_contain_text("new line --> ]]>")
    press(page, "a")
    assert page.locator("script, img[onerror]").count() == 3


def test_a_browser_that_keeps_nothing_is_told_of(visit, folder):
    refuse = "Storage.prototype.setItem = () => { throw new DOMException('no', 'SecurityError'); };"
    page = visit(folder, script=refuse)
    refusal = page.locator("#refusal")
    expect(refusal).to_be_hidden()
    press(page, *"ja")
    expect(refusal).to_contain_text("keeps nothing")
    assert len(saved(page)["decisions"]) == 1
    press(page, "r")
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()


def test_a_case_whose_file_is_gone_is_told_of(visit, tmp_path):
    file = written(tmp_path, [made(0), made(1)], identity="gone")
    (tmp_path / "page/cases/case_00.js").unlink()
    page = visit(file)
    page.evaluate("location.hash = '#case=case_00'")
    expect(page.locator("#problem")).to_contain_text("page/cases/case_00.js cannot be read")
    press(page, "a")  # nobody decides about what was not seen
    expect(page.locator("#said")).to_contain_text("Still loading")
    press(page, "j")
    is_ready(page, "2 of 2")
    assert [said for said in visit.complaints if "ERR_FILE_NOT_FOUND" not in said] == []
    assert len(visit.complaints) == 1
    visit.complaints.clear()


@pytest.mark.parametrize("damage", ["cut", "line", "picture"])
def test_a_case_whose_file_is_damaged_is_told_of_and_read_once_it_is_whole(
    visit, tmp_path, monkeypatch, damage
):
    monkeypatch.setattr(script, "_PIXELS", 32 * 40)
    file = written(tmp_path, [made(0, slices=2), made(1)], identity="damaged")
    name = "page/slices/case_00-1.js" if damage == "line" else "page/cases/case_00.js"
    whole = (tmp_path / name).read_text()
    spoilt = {"cut": whole[: len(whole) // 2], "line": "", "picture": whole.replace("base64,", "base64,AAAA")}
    (tmp_path / name).write_text(spoilt[damage])
    page = visit(file)
    problem = page.locator("#problem")
    page.evaluate("location.hash = '#case=case_00'")
    if damage == "line":
        is_ready(page)
        press(page, "ArrowUp")
    expect(problem).to_contain_text(
        f'{name} is damaged: copy the folder "page" again, or run the audit again'
    )
    if damage == "line":
        press(page, "ArrowDown")
        expect(problem).to_be_hidden()
    (tmp_path / name).write_text(whole)
    press(page, "j")
    is_ready(page, "2 of 2")
    expect(problem).to_be_hidden()
    press(page, "k")
    is_ready(page, "1 of 2")
    press(page, "ArrowUp")
    is_ready(page)
    expect(problem).to_be_hidden()
    expect(page.locator("#slice-text")).to_have_text("2 / 2")
    assert [said for said in visit.complaints if "Invalid or unexpected token" not in said] == []
    visit.complaints.clear()
