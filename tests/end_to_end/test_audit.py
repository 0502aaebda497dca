"""The command as it is typed, on the run that other tests use, and a review of what it found in the browser."""

import json
import shlex

import numpy as np
import pytest
from playwright.sync_api import expect
from tests.end_to_end.tools import cli, done, train

from metadcseg.audit.case_files import read_cases, read_masks
from metadcseg.data.store.reader import PreparedSet
from metadcseg.training.run.folder import read_run


@pytest.fixture(scope="module")
def audited(run, tmp_path_factory):
    """The folder of an audit, and what the command said."""
    out = tmp_path_factory.mktemp("audited") / "audit"
    return out, done("audit", run, "--out", out, "--accelerator", "cpu", "--json").json


def test_audit_of_a_run(audited, run):
    out, record = audited
    assert record["cases"] > 0
    assert record["witnesses"] == "pairs and network"
    assert {"auroc", "average_precision", "baselines"} <= record["detection"].keys()
    assert (out / "index.html").is_file()
    again = done("audit", run, "--out", out, "--accelerator", "cpu")
    assert "DSC with the truth" in again.out
    chosen = done("audit", out, "--next", 3, "--json").json["next"]
    assert len({row["case"] for row in chosen}) == 3
    assert "leave out --out" in cli("audit", out, "--next", 3, "--out", out).complaint
    assert "not the folder of a finished audit" in cli("audit", run, "--next", 3).complaint
    refused = cli("audit", run, "--out", out, "--accelerator", "cpu", "--threshold", 0.5)
    assert refused.status == 2
    assert "another threshold" in refused.complaint


def reviewed(page, number, masks):
    """Decide about the case that is looked at, by keyboard; return the mask that this means, None where it stays."""
    mask = masks.corrected["balanced"][0].copy()
    match number % 6:
        case 0 if masks.regions.any():
            page.keyboard.type("nr")
            page.keyboard.press("Escape")
            page.keyboard.type("a")
            mask[masks.regions[0] == 1] = masks.given[0][masks.regions[0] == 1]
        case 0 | 1:
            page.keyboard.type("a")
        case 2:
            page.keyboard.type("r")
            mask = masks.given[0]
        case 3:
            page.keyboard.type("la")
            mask = masks.corrected["network"][0]
        case 4 if number == 4:
            page.keyboard.type("ab1[[[[")  # the brush has 5 px and begins in the middle
            y, x = np.indices(mask.shape)
            for left in (mask.shape[1] // 2, mask.shape[1] // 2 - 10):
                page.keyboard.press("Space")
                page.keyboard.press("Shift+ArrowLeft")
                mask[np.hypot(y - mask.shape[0] // 2, x - left) <= 2.5] = 1
            page.keyboard.type("b")
        case _:
            page.keyboard.type("e")
            return None
    return mask


def test_a_review_by_keyboard_becomes_exactly_these_masks(audited, sets, visit, tmp_path):
    out, _ = audited
    held = {case.id: read_masks(out, case) for case in read_cases(out)}
    page = visit(out / "index.html")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expected = {}
    for number in range(len(held)):
        expect(page.locator("#case-place")).to_have_text(f"{number + 1} of {len(held)}")
        expect(page.locator("#viewer")).to_have_attribute("aria-busy", "false")
        id = page.locator("#case-name").inner_text()
        expected[id] = reviewed(page, number, held[id])
        page.keyboard.press("j")
    with page.expect_download() as download:
        page.keyboard.press("s")
    download.value.save_as(out / "decisions.json")
    verified = {id: mask for id, mask in expected.items() if mask is not None}
    assert len(verified) > 6
    assert sum(not np.array_equal(mask, held[id].given[0]) for id, mask in verified.items()) > 2
    told = json.loads((out / "decisions.json").read_text())["decisions"]
    assert [any(row[key] for row in told) for key in ("regions", "painted")] == [True, True]
    said = done("accept", out / "decisions.json", "--out", tmp_path / "better").out
    done(*shlex.split(said.rsplit("next: ", 1)[1])[1:])
    before, after = PreparedSet.open(sets.noisy), PreparedSet.open(tmp_path / "better-set")
    roles = {case.id: case.role for case in before.cases} | dict.fromkeys(verified, "gold")
    assert {case.id: case.role for case in after.cases} == roles
    for case in after.cases:
        if case.id in expected:
            mask = verified.get(case.id, held[case.id].given[0])
            assert np.array_equal(after.label(case), mask), case.id


def test_out_of_fold(sets, tmp_path):
    """Networks are trained without the cases that they judge; what is trained is not trained again."""
    run, out = tmp_path / "run", tmp_path / "audit"
    done(*train(sets.noisy, run, epochs=1))
    command = ("audit", run, "--out", out, "--accelerator", "cpu", "--folds", 2, "--json")
    record = done(*command).json
    assert record["network"] == "out of fold, 2"
    told = [read_run(out / "folds" / f"fold-{number}") for number in (1, 2)]
    counts = [info["set"]["cases"] for info in told]
    assert sum(count["train"] for count in counts) == record["cases"]  # each case in one of two trainings
    assert all(count["gold"] >= 2 for count in counts)
    (out / "audit.json").unlink()
    next((out / "cases").iterdir()).unlink()
    kept = (out / "folds" / "fold-1" / "model.safetensors").stat().st_mtime_ns
    assert done(*command, "--workers", 1).json == record
    assert (out / "folds" / "fold-1" / "model.safetensors").stat().st_mtime_ns == kept
