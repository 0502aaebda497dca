"""The review page in Chromium, opened from disk: decided by keyboard, painted on, kept, saved, loaded, looked at."""

import json
import os
import time
from dataclasses import replace

import numpy as np
import pytest
from tests import browser as chromium
from tests.unit.audit.page.simulated import CLASSES, HOSTILE, SUMMARY, made, written

from metadcseg.audit.page.html import render
from metadcseg.audit.page.runs import encode_runs

pytestmark = pytest.mark.skipif(
    chromium.find() is None or os.name != "posix",
    reason="no Chromium is installed (apt-get install chromium)",
)

READY = "document.getElementById('viewer').getAttribute('aria-busy') === 'false'"
PLACE = "document.getElementById('case-place').textContent"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium.browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return written(tmp_path_factory.mktemp("audit"), [made(number) for number in range(30)])


def text(tab, id):
    return tab.ask(f"document.getElementById('{id}').textContent")


def view(tab, page, name, **how):
    tab.open(page, **how)
    tab.ask(f"location.hash = '#case={name}'")
    tab.wait(f"!document.getElementById('viewer').hidden && {READY}")


def saved(tab, folder):
    """What the page saves when s is pressed."""
    folder.mkdir(exist_ok=True)
    file = folder / "decisions.json"
    file.unlink(missing_ok=True)
    tab.save_downloads(folder)
    tab.press("s")
    end = time.monotonic() + 10
    while not file.exists() or not file.read_text().endswith("\n"):
        assert time.monotonic() < end
        time.sleep(0.02)
    return json.loads(file.read_text())


def loads_only_its_own(tab, page):
    root = page.parent.resolve().as_uri()
    return [address for address in tab.requests() if not address.startswith((root, "blob:"))] == []


def test_thirty_cases_by_keyboard_are_kept_and_saved(tab, page, tmp_path):
    tab.open(page, width=900, height=600)
    expected = []
    tab.press("j", "Enter")
    for number in range(30):
        tab.wait(f"{READY} && {PLACE} === '{number + 1} of 30'")
        said = {
            "case": f"case {number:02d}",
            "verdict": None,
            "level": "balanced",
            "regions": {},
            "painted": {},
        }
        if number % 5 == 0:
            tab.press("n", "a", "n", "r", "Escape" if number else "n")
            said["regions"] = {"1": "accept", "2": "reject"}
        elif number % 5 == 1:
            tab.press("l", "l", "a")
            said |= {"verdict": "accept", "level": "sure"}
        elif number % 5 == 2:
            tab.press("a", "r")
            said["verdict"] = "reject"
        elif number % 5 == 3:
            tab.press("r", "e", "n", "N", "e", "z")
            said["verdict"] = "expert"
        else:
            tab.press("a", "z")
        if number % 5 != 4:
            expected.append(said)
        tab.press("j" if number % 2 else "ArrowRight")
    assert text(tab, "said").startswith("This is the last case")
    for _ in range(2):
        assert text(tab, "overview").count("18 of 30 reviewed, 6 for an expert") == 1
        assert saved(tab, tmp_path / "saved") == {
            "format": "metadcseg-decisions/1",
            "identity": "ab12",
            "set": "f00d",
            "decisions": expected,
        }
        assert tab.complaints() == []
        assert loads_only_its_own(tab, page)
        tab.open(page, width=900, height=600)
    tab.ask("localStorage.clear()")


def pixel_places(tab, *pixels):
    """Where pixels (x, y) lie on the screen: the whole image is in the middle of the canvas, with room of 12."""
    left, top, width, height = tab.ask(
        "(({ x, y, width, height }) => [x, y, width, height])(canvas.getBoundingClientRect())"
    )
    scale = min((width - 24) / 40, (height - 24) / 32)
    left, top = left + (width - 40 * scale) / 2, top + (height - 32 * scale) / 2
    return [(left + (x + 0.5) * scale, top + (y + 0.5) * scale) for x, y in pixels]


def test_the_brush_paints_exactly_these_run_lengths(tab, page, tmp_path):
    view(tab, page, "case_03")
    tab.press("b", "2", *["["] * 4)
    assert text(tab, "size-text") == "5 px"
    tab.drag(*pixel_places(tab, (5, 20), (12, 20)))
    mask = made(3)[1].corrected["balanced"][0].copy()
    y, x = np.mgrid[:32, :40]
    for column in range(5, 13):
        mask[(x - column) ** 2 + (y - 20) ** 2 <= 2.5**2] = 2
    (said,) = saved(tab, tmp_path / "a")["decisions"]
    assert said == {
        "case": "case 03",
        "verdict": None,
        "level": "balanced",
        "regions": {},
        "painted": {"0": encode_runs(mask)},
    }
    tab.press(
        "x", "[", "[", "[", "[", "ArrowLeft", "ArrowUp", "Space"
    )  # by keyboard, from where the mouse was
    mask[19, 11] = 0
    assert saved(tab, tmp_path / "b")["decisions"][0]["painted"] == {"0": encode_runs(mask)}
    tab.press("z", "z")
    assert saved(tab, tmp_path / "c")["decisions"] == []
    tab.press("Z")
    assert len(saved(tab, tmp_path / "d")["decisions"]) == 1
    tab.ask("document.getElementById('unpaint').click()")
    assert saved(tab, tmp_path / "e")["decisions"] == []
    assert tab.complaints() == []


def test_a_click_chooses_a_region_and_painting_begins_with_what_was_decided(tab, page, tmp_path):
    view(tab, page, "case_04")
    tab.drag(*pixel_places(tab, (3, 3)))
    assert text(tab, "verdict-target") == "Region 2"
    tab.press("r", "Escape", "b", "1")
    tab.drag(*pixel_places(tab, (30, 20)))
    mask = made(4)[1].corrected["balanced"][0].copy()
    mask[2:5, 2:6] = 2  # the region that was rejected stays as given
    y, x = np.mgrid[:32, :40]
    mask[(x - 30) ** 2 + (y - 20) ** 2 <= 4.5**2] = 1
    (said,) = saved(tab, tmp_path / "a")["decisions"]
    assert (said["regions"], said["painted"]) == ({"2": "reject"}, {"0": encode_runs(mask)})
    tab.ask("localStorage.clear()")


def color(tab, pixel):
    """Red, green and blue of the canvas in the middle of a pixel."""
    ((x, y),) = pixel_places(tab, pixel)
    frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))"
    tab.ask(frame)
    read = f"canvas.getContext('2d').getImageData({x} - b.x, {y} - b.y, 1, 1).data"
    return np.array(tab.ask(f"(b => [...{read}].slice(0, 3))(canvas.getBoundingClientRect())"), int)


def slide(tab, setting, value):
    control = f"document.querySelector('[data-setting={setting}]')"
    tab.ask(f"{control}.value = {value}, {control}.dispatchEvent(new Event('input'))")


def test_layers_and_the_window_are_drawn(tab, page):
    view(tab, page, "case_05")
    gray = int(made(5)[1].image[0, 8, 18, 0])  # in the rim that is too much, 8 from the center of the disc
    tab.press("g", "p", "h")
    slide(tab, "level", 127.5)
    tint = np.array([204, 121, 167]) * 70 / 255  # of the given class, which only "before" shows there
    bare = color(tab, (18, 8))
    assert np.abs(bare - gray).max() <= 2
    tab.press("f")
    assert np.abs(color(tab, (18, 8)) - (bare * (1 - 70 / 255) + tint)).max() <= 3
    tab.press("f", "h")
    heat = 0.45 * 0.9
    assert np.abs(color(tab, (18, 8)) - (bare * (1 - heat) + heat * np.array([255, 45, 110]))).max() <= 3
    tab.press("h")
    slide(tab, "spread", 20)
    slide(tab, "level", max(20, gray - 40))
    assert (color(tab, (18, 8)) == 255).all()  # above the window
    slide(tab, "level", min(235, gray + 40))
    assert (color(tab, (18, 8)) == 0).all()
    tab.press("+", "Shift+ArrowRight")
    moved = color(tab, (18, 8))
    tab.press("0", "h", "h")
    assert (color(tab, (18, 8)) == 0).all()
    assert not (moved == 0).all()


def test_slices_of_a_volume(tab, tmp_path):
    page = written(tmp_path / "out", [made(0, slices=4)], identity="volume")
    view(tab, page, "case_00")
    assert text(tab, "slice-text") == "1 / 4"
    tab.press("ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp")
    tab.wait(READY)
    assert text(tab, "slice-text") == "4 / 4"
    tab.press("ArrowDown")
    tab.wait(READY)
    tab.press("b", "2", "Space")
    (said,) = saved(tab, tmp_path / "a")["decisions"]
    assert list(said["painted"]) == ["2"]
    assert tab.complaints() == []


def test_decisions_are_loaded_from_a_file(tab, page, tmp_path):
    tab.open(page)
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
    file = tmp_path / "in.json"
    whole = {"format": "metadcseg-decisions/1", "identity": "ab12", "set": "f00d"}
    file.write_text(json.dumps({**whole, "decisions": [good, *bad, {**good, "case": "nobody"}, 3, unseen]}))
    tab.choose_file("#load", file)
    tab.wait("!document.getElementById('loaded').hidden")
    assert "Decisions of 1 case loaded" in text(tab, "loaded")
    assert "Left out: 2 of cases that this audit does not have" in text(tab, "loaded")
    assert "Left out: 1 that a script decided" in text(tab, "loaded")
    assert "Left out: 7 that are not written" in text(tab, "loaded")
    assert saved(tab, tmp_path / "a")["decisions"] == [good]
    for content, says in (
        ("{", "not JSON"),
        ("{}", "holds no decisions"),
        (json.dumps({**whole, "identity": "other", "decisions": []}), "another audit"),
    ):
        file.write_text(content)
        tab.choose_file("#load", file)
        tab.wait(f"document.getElementById('loaded').textContent.includes({says!r})")
    assert saved(tab, tmp_path / "a")["decisions"] == [good]
    tab.ask("localStorage.clear()")


def choose(tab, name, value):
    field = f"document.getElementById('filter-{name}')"
    tab.ask(f"{field}.value = {value!r}, {field}.dispatchEvent(new Event('change'))")


def test_filters_and_the_gallery_by_keyboard(tab, page):
    tab.open(page)
    choose(tab, "annotator", "bo")
    assert text(tab, "count") == "15 of 30 cases"
    tab.press("j", "ArrowRight", "a")
    assert text(tab, "overview").count("1 of 30 reviewed") == 1
    choose(tab, "decision", "accepted")
    assert text(tab, "count") == "1 of 30 cases"
    assert tab.ask("document.querySelector('.card').ariaLabel").startswith(
        "4: case 03, expected DSC 0.43 [0.30, 0.90]"
    )
    choose(tab, "group", "patient 2")
    assert tab.ask("!document.getElementById('none').hidden")
    tab.ask("document.getElementById('clear-none').click()")
    assert text(tab, "count") == "30 of 30 cases"
    tab.press(
        "k", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft", "e"
    )  # to the first: it is for an expert
    tab.ask("document.querySelector('[data-act=start]').click()")
    tab.wait(f"{READY} && {PLACE} === '2 of 30'")
    tab.ask("localStorage.clear()")


def test_hostile_names_are_shown_as_they_are(tab, tmp_path):
    cases = [made(number, name) for number, name in enumerate(HOSTILE)]
    cases = [(replace(case, name=f"n{case.dsc:.2f}", group=case.id), arrays) for case, arrays in cases]
    page = written(tmp_path, cases, identity="</script>")
    tab.open(page, height=2000)
    labels = tab.ask("[...document.querySelectorAll('.card')].map(card => card.ariaLabel)")
    assert all(any(name[:90] in label for label in labels) for name in HOSTILE[:5])
    for case, _ in cases:
        view(tab, page, case.name, width=390, height=844)
        assert fits(tab)
    assert text(tab, "case-name").startswith("new\nline --> ]]>")
    tab.press("a")
    assert tab.ask("document.querySelectorAll('script, img[onerror]').length") == 3
    assert tab.complaints() == []
    tab.ask("localStorage.clear()")


def fits(tab):
    wide, seen, room = tab.ask(
        "[document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]"
    )
    return max(wide, seen) <= room


@pytest.mark.parametrize("dark", [False, True])
def test_it_is_seen_at_all_sizes_read_out_and_stands_out(tab, page, dark):
    for width, height in ((1280, 860), (800, 1000), (390, 844)):
        tab.open(page, width=width, height=height, dark=dark)
        assert fits(tab)
        if width == 1280:
            assert tab.faint("#overview") == {}
            assert tab.nameless() == []
        tab.press("j", "Enter")
        tab.wait(READY)
        tab.press("n", "a")
        assert fits(tab)
        if width == 1280:
            tab.press("Tab")  # not over a button: its color is on its way
            time.sleep(0.2)
            assert tab.faint("#viewer") == {}
            assert tab.nameless() == []
        tab.press("?")
        assert tab.ask("document.getElementById('help').open")
        assert fits(tab)
        tab.press("Escape")
        assert tab.ask("matchMedia('(prefers-color-scheme: dark)').matches") == dark
        assert tab.complaints() == []
        tab.ask("localStorage.clear()")


def test_few_cards_live_however_many_cases_there_are(tab, tmp_path):
    one = {
        "dsc": 0.5,
        "low": 0.4,
        "high": 0.6,
        "annotator": None,
        "group": None,
        "trueDsc": None,
        "shape": [1, 8, 8],
    }
    one |= {"regions": 1, "top": 0.9, "kinds": ["other"], "classes": [0, 1]}
    cases = ({"id": f"c{number}", "name": f"c{number}", **one} for number in range(2000))
    page = tmp_path / "index.html"
    page.write_bytes(b"".join(render("t", CLASSES, SUMMARY, "many", "f", cases)))
    tab.open(page)
    frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))"
    seen = set()
    for share in (0, 0.3, 0.31, 0.9, 1):
        tab.ask(f"scrollTo(0, {share} * document.documentElement.scrollHeight)")
        tab.ask(frame)
        cards = tab.ask("[...document.querySelectorAll('.card')].map(card => card.ariaLabel.split(',')[0])")
        assert 10 < len(cards) < 80
        seen |= set(cards)
    assert len(seen) > 120
    assert "2000: c1999" in seen


def test_a_browser_that_keeps_nothing_is_told_of(tab, page, tmp_path):
    refuse = "Storage.prototype.setItem = () => { throw new DOMException('no', 'SecurityError'); };"
    added = tab.call("Page.addScriptToEvaluateOnNewDocument", source=refuse)["identifier"]
    tab.open(page)
    assert tab.ask("document.getElementById('refusal').hidden")
    tab.press("j", "a")
    assert "keeps nothing" in text(tab, "refusal")
    assert not tab.ask("document.getElementById('refusal').hidden")
    tab.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added)
    assert len(saved(tab, tmp_path)["decisions"]) == 1  # else the browser asks before it leaves the page
    assert tab.complaints() == []


def test_a_case_whose_file_is_gone_is_told_of(tab, tmp_path):
    page = written(tmp_path, [made(0), made(1)], identity="gone")
    (tmp_path / "page/cases/case_00.js").unlink()
    tab.open(page)
    tab.ask("location.hash = '#case=case_00'")
    tab.wait("!document.getElementById('problem').hidden")
    assert "page/cases/case_00.js cannot be read" in text(tab, "problem")
    tab.press("a")  # nobody decides about what was not seen
    assert "Still loading" in text(tab, "said")
    tab.press("j")
    tab.wait(f"{READY} && {PLACE} === '2 of 2'")
