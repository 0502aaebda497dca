"""Runs grouped by all but their seed; differences paired by seed, patient and case."""

from pathlib import Path

import pytest

from metadcseg.errors import InputError
from metadcseg.results.compare import choose_baseline, compare, differing_noise, rows_of
from metadcseg.results.records import CaseRecord, RunRecord

GOLD = {"needs_gold": True, "supervises_gold": True, "labels": "given"}


def run(label, seed, scores, method="binned", groups=None, noise="a", **info):
    cases = {
        name: CaseRecord(dsc, None, (groups or {}).get(name, ""))
        for name, dsc in zip("abcdefgh", scores, strict=False)
    }
    mean = sum(scores) / len(scores)
    told = {"label": label, "method": method, "seed": seed, "noise": {"hash": noise}, **info}
    summary = {"dsc": {"mean": mean, "sd": 0.1}, "iou": {"mean": mean / 2, "sd": 0.1}}
    return RunRecord(Path(f"{label}-{seed}"), info=told, evaluation={"summary": summary}, cases=cases)


def test_means_over_seeds_and_differences_by_case():
    base = [run("plain", seed, [0.5] * 7, "supervised", declaration=GOLD) for seed in (0, 1)]
    ours = [run("ours", 0, [0.6] * 7), run("ours", 1, [0.8] * 7)]
    rows = rows_of([*ours, *base])
    assert [row.label for row in rows] == ["ours", "plain"]
    assert rows[0].means["dsc"] == pytest.approx((0.7, 0.1414213562))
    baseline = choose_baseline(rows, None)
    assert baseline.label == "plain"  # the equal-gold one, not the first
    (found,) = compare(rows, baseline)
    assert found.test.mean == pytest.approx(0.2)  # (0.1 + 0.3) / 2
    assert (found.test.count, found.test.better, found.seeds) == (7, 7, 2)
    assert found.test.p == pytest.approx(2 / 2**7)
    assert found.adjusted == found.test.p


def test_p_is_corrected_for_the_number_of_rows():
    runs = [run(name, 0, [0.5 + shift] * 7) for name, shift in (("base", 0), ("one", 0.1), ("two", 0.2))]
    rows = rows_of(runs)
    assert [entry.adjusted for entry in compare(rows, rows[0])] == pytest.approx([4 / 2**7, 4 / 2**7])


def test_only_common_seeds_are_compared():
    rows = rows_of([run("base", 0, [0.5] * 6), run("ours", 0, [0.7] * 6), run("ours", 1, [0.1] * 6)])
    (found,) = compare(rows, rows[0])
    assert (found.seeds, found.test.mean) == (1, pytest.approx(0.2))
    rows = rows_of([run("base", 0, [0.5] * 6), run("ours", 1, [0.7] * 6)])
    assert compare(rows, rows[0])[0].test is None


def test_images_of_one_patient_are_one():
    groups = dict(zip("abcd", "ppqq", strict=True))
    rows = rows_of(
        [run("base", 0, [0.5] * 4, groups=groups), run("ours", 0, [0.9, 0.5, 0.5, 0.5], groups=groups)]
    )
    (found,) = compare(rows, rows[0])
    assert (found.test.count, found.test.mean, found.test.p) == (2, pytest.approx(0.1), None)


def test_runs_of_one_label_but_other_options_are_two_rows():
    rows = rows_of([run("x", 0, [0.5], options={"eta": 1}), run("x", 1, [0.5], options={"eta": 2})])
    assert [row.label for row in rows] == ["x (x-0)", "x (x-1)"]


def test_what_cannot_be_compared():
    with pytest.raises(InputError, match=r"x-0 has no score.* metadcseg evaluate x-0"):
        rows_of([RunRecord(Path("x-0"))])
    with pytest.raises(InputError, match=r"y-0 and x-0 were scored on different cases \(2 and 1\)"):
        rows_of([run("x", 0, [0.5]), run("y", 0, [0.5, 0.5])])
    with pytest.raises(InputError, match="the same settings with seed 0"):
        rows_of([run("x", 0, [0.5]), run("x", 0, [0.5])])
    rows = rows_of([run("x", 0, [0.5]), run("y", 0, [0.5])])
    with pytest.raises(InputError, match="--baseline z: no row is called so; there are x, y"):
        choose_baseline(rows, "z")
    assert choose_baseline(rows, "y").label == "y"


def test_other_noise_is_said():
    rows = rows_of(
        [run("x", 0, [0.5], noise="a"), run("y", 0, [0.5], noise="b"), run("y", 1, [0.5], noise="c")]
    )
    assert differing_noise(rows) == [
        "seed 0: the rows were trained on 2 different noises: no fair comparison"
    ]
