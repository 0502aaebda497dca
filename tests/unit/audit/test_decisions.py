"""A decisions.json that was edited by hand, cut off or forged: one sentence, and nothing is written."""

import json

import numpy as np
import pytest
from tests.unit.audit.rules import BRUSH, RULES, three_regions
from tests.unit.audit.simulated import decide, runs, simulate
from tests.unit.data.folders import make_folder

from metadcseg.audit import decisions as module
from metadcseg.audit.case_files import read_cases
from metadcseg.audit.decisions import Decision, read_decisions
from metadcseg.audit.review import review
from metadcseg.cli.main import main
from metadcseg.data.prepare.pipeline import prepare_folder
from metadcseg.data.store.reader import PreparedSet

HEIGHT, WIDTH = 20, 24
FULL = [0, HEIGHT * WIDTH]


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    place = tmp_path_factory.mktemp("audit")
    prepare_folder(make_folder(place / "mine", gold=2), place / "set", edges="none")
    prepared = PreparedSet.open(place / "set")
    simulate(place / "audit", prepared)
    return place, prepared, prepared.select("train")[0].id


def case(**more):
    return lambda id: {"decisions": [{"case": id, "verdict": "accept"} | more]}


def painted(held):
    return case(painted={"0": held})


WRONG = {
    "another identity": (lambda id: {"identity": "cd" * 32}, "is about another audit"),
    "another set": (lambda id: {"set": "0"}, "is about another prepared set"),
    "another format": (lambda id: {"format": "metadcseg-decisions/2"}, "the format must be"),
    "unknown key": (lambda id: {"decision": []}, "did you mean 'decisions'"),
    "no list": (lambda id: {"decisions": {}}, "'decisions' must be a list"),
    "no objects": (lambda id: {"decisions": [3]}, "decision 1 must name its 'case'"),
    "unknown case": (lambda id: {"decisions": [{"case": "../../etc/passwd"}]}, "was not audited"),
    "twice": (lambda id: {"decisions": [{"case": id}, {"case": id}]}, "two decisions are about"),
    "nothing": (lambda id: {"decisions": [{"case": id}]}, "holds no decision"),
    "verdict": (case(verdict="maybe"), "'verdict' must be one of accept, reject, expert, got 'maybe'"),
    "verdict of a kind": (case(verdict=["accept"]), "'verdict' must be one of"),
    "level": (case(level="best"), "'level' must be one of sure, balanced, network"),
    "level of a kind": (case(level=[]), "'level' must be one of"),
    "verified of a kind": (case(verified="no"), "'verified' must be true or false, got 'no'"),
    "key of a case": (case(out="../x"), "unknown key 'out'"),
    "region": (case(regions={"3": "accept"}), "there is no region '3', it has 2"),
    "region as path": (case(regions={"../1": "accept"}), "there is no region"),
    "region with a sign": (case(regions={"+1": "accept"}), "there is no region"),
    "region's verdict": (case(regions={"1": True}), "the verdict on region 1 must be one of"),
    "regions of a kind": (case(regions=[1]), "'regions' must be an object"),
    "another slice": (case(painted={"1": FULL}), "there is no slice '1' to be painted"),
    "another size": (painted([0, HEIGHT * WIDTH + 1]), "do not fill 20 x 24 pixels exactly"),
    "run below one": (painted([0, HEIGHT * WIDTH + 5, 1, -5]), "do not fill"),
    "half a run": (painted([0, HEIGHT * WIDTH, 1]), "must be whole numbers class, run"),
    "class": (painted([2, HEIGHT * WIDTH]), "holds the class 2, allowed are 0 to 1 and 255"),
    "class below": (painted([-1, HEIGHT * WIDTH]), "holds the class -1"),
    "truth values": (painted([True, HEIGHT * WIDTH]), "must be whole numbers"),
    "huge": (painted([0, 10**30]), "do not fill"),
}

RAW = {
    "not UTF-8": (b'{"format": "\xff"}', "not UTF-8"),
    "no JSON": (b'{"format": ', "no valid JSON"),
    "deep": (b"[" * 200_000, "nested too deeply"),
    "a list": (b"[]", "the format must be"),
    "a key twice": (b'{"format": 1, "format": 2}', "names 'format' twice"),
    "digits": (b'{"format": ' + b"9" * 10_000 + b"}", "thousands of digits"),
}


def refused(capsys, place, sentence):
    before = sorted(place.rglob("*"))
    assert main(["accept", str(place / "audit/decisions.json"), "--out", str(place / "better")]) == 2
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_one_sentence(audit, capsys, what):
    place, prepared, id = audit
    change, sentence = WRONG[what]
    decide(place / "audit", prepared, **change(id))
    refused(capsys, place, sentence)


@pytest.mark.parametrize("what", RAW)
def test_what_is_no_json_is_one_sentence(audit, capsys, what):
    place = audit[0]
    content, sentence = RAW[what]
    (place / "audit/decisions.json").write_bytes(content)
    refused(capsys, place, sentence)


def test_no_number_is_no_verdict_and_no_run(audit, capsys):
    place, prepared, id = audit
    path = decide(place / "audit", prepared, {"case": id, "painted": {"0": [0, float("nan")]}})
    assert "NaN" in path.read_text()
    refused(capsys, place, "must be whole numbers")


def test_large_files_are_not_read(audit, capsys, monkeypatch):
    place, prepared, id = audit
    path = decide(place / "audit", prepared, {"case": id, "verdict": "accept"})
    monkeypatch.setattr(module, "MOST_BYTES", path.stat().st_size - 1)
    refused(capsys, place, "must be a file of at most")


def test_an_audit_that_is_none(audit, capsys, tmp_path):
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/decisions.json").write_text("{}")
    refused(capsys, tmp_path, "is no audit (it has no audit.json)")
    (tmp_path / "audit/audit.json").write_text(
        json.dumps({"format": "metadcseg-audit/1", "set": {"path": 3}})
    )
    refused(capsys, tmp_path, "audit.json: 'set.path' must be text")


def test_what_fits_is_read(audit):
    place, prepared, id = audit
    mask = np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH)).astype(np.uint8)
    mask[0, :3] = 255
    row = {"case": id, "verdict": None, "regions": {"2": "reject"}, "painted": {"0": runs(mask)}}
    path = decide(place / "audit", prepared, row, {"case": prepared.select("train")[1].id, "verdict": None})
    cases = read_cases(place / "audit")
    about = {"identity": "ab" * 32, "fingerprint": prepared.fingerprint, "cases": cases, "classes": 2}
    found = read_decisions(path, **about)
    assert list(found) == [id]
    assert found[id].regions == {2: "reject"}
    assert np.array_equal(found[id].painted[0], mask)


@pytest.mark.parametrize("rule", RULES)
def test_rules_of_a_review(rule):
    verdict, regions, slices, verified, changed, experts = rule
    about, masks = three_regions()
    mask, found = review(
        about, masks, Decision("a", verdict, "balanced", regions, dict.fromkeys(slices, BRUSH))
    )
    expected = np.where(np.isin(masks.regions, list(changed)) & (masks.given != 255), 1, masks.given)
    expected[slices] = BRUSH
    assert np.array_equal(mask, expected)
    assert (found.verified, found.experts, found.painted) == (verified, experts, len(slices))


def test_what_nobody_looked_at_is_changed_and_not_verified():
    mask, found = review(*three_regions(), Decision("a", "accept", verified=False))
    assert np.array_equal(mask, review(*three_regions(), Decision("a", "accept"))[0])
    assert (found.verified, found.changed) == (False, 5 - 1)
