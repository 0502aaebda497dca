"""The numbers in the tables, recomputed by hand from what was written into the runs."""

import csv
import io
import json
from statistics import fmean, stdev
from types import SimpleNamespace

import pytest
from tests.unit.report.folders import METADCSEG, ROWS, Folder, made_scores, task, write_run

from metadcseg.data.splits.gold_slices import GoldSlices
from metadcseg.report.comparisons import compare_all, comparison_table
from metadcseg.report.cost_tables import cost_tables
from metadcseg.report.learned_figures import detection_table, distance_figures
from metadcseg.report.main_tables import families, score_tables
from metadcseg.report.measures import COSTS
from metadcseg.report.part_tables import ablation_tables, gold_tables
from metadcseg.report.render_csv import render_values
from metadcseg.report.sections import build_report
from metadcseg.report.tables import BETTER, UNKNOWN, WORSE
from metadcseg.results.read_benchmark import read_benchmark


def read(folder):
    return read_benchmark(folder.write())


def main_table(record):
    conditions = families(record)[0]
    tests = compare_all(record, conditions)
    return score_tables(record, conditions, tests)[0], tests


def cells(table, row, paper=False):
    found = next(line for line in table.rows if line.name == row and line.paper == paper)
    return dict(zip(table.full_columns(), found.cells, strict=True))


def paper_rows(table):
    return {line.name: line for line in table.rows if line.paper}


def test_mean_and_spread_are_over_seeds(tmp_path):
    folder = Folder(tmp_path)
    made = {seed: made_scores(0.7, seed) for seed in (0, 1, 2)}
    for seed, scores in made.items():
        folder.add(task(row="noisy + gold", seed=seed), scores=scores)
    table, _ = main_table(read(folder))
    means = [fmean(scores.values()) for scores in made.values()]
    cell = cells(table, "noisy + gold")["paper 40 %: DSC"]
    assert (cell.value, cell.sd) == (pytest.approx(fmean(means)), pytest.approx(stdev(means)))
    assert (cell.text, cell.spread) == (f"{fmean(means):.3f}", f"± {stdev(means):.3f}")


def test_rows_that_use_pairs_or_weights_of_a_file_say_so(tmp_path):
    folder, taken = Folder(tmp_path), {"pretrained": {"sha256": "0" * 64, "taken": 318}}
    folder.add(task(row="noisy + gold"), scores=made_scores(0.6))
    folder.add(task(row="noisy only"), scores=made_scores(0.6), info=taken)
    folder.add(task(row="ours"), scores=made_scores(0.7), method=("calibrated", {}), info=taken)
    table, _ = main_table(read(folder))
    assert {line.name: line.tag for line in table.rows if not line.paper} == {
        "noisy + gold": "",
        "noisy only": "pretrained",
        "ours": "uses pairs, pretrained",
    }


def test_the_best_is_bold_but_never_the_upper_bound(tmp_path):
    folder = Folder(tmp_path)
    for row, mean in (("noisy only", 0.5), ("noisy + gold", 0.6), ("clean labels", 0.9), ("metadcseg", 0.7)):
        hd95 = {"hd95": 100 * (1 - mean)}
        folder.add(task(row=row), scores=dict.fromkeys("abcdefgh", mean), metrics=hd95)
    table, _ = main_table(read(folder))
    for column in ("paper 40 %: DSC", "paper 40 %: IoU", "paper 40 %: HD95 (px)"):
        best = [line.name for line in table.rows if cells(table, line.name)[column].best]
        assert best == ["metadcseg"], column
    assert (
        next(line for line in table.rows if line.name == "clean labels").tag == "true masks: an upper bound"
    )


def test_a_table_that_the_method_loses_says_so(tmp_path):
    folder = Folder(tmp_path)
    folder.add(task(row="noisy + gold"), scores=made_scores(0.8))
    folder.add(task(row="metadcseg"), scores={case: value - 0.1 for case, value in made_scores(0.8).items()})
    table, tests = main_table(read(folder))
    assert cells(table, "noisy + gold")["paper 40 %: DSC"].best
    assert cells(table, "metadcseg")["paper 40 %: DSC"].mark == "↓"
    shown = cells(comparison_table(table, read(folder), tests), "metadcseg")
    assert (shown["better / worse"].text, shown["says"].text) == ("0 / 12", "worse")
    assert shown["DSC, mean difference"].value == pytest.approx(-0.1)
    assert shown["p"].value == pytest.approx(2 / 2**12)


def test_tests_are_corrected_over_the_whole_table(tmp_path):
    """Six cases give p = 2/64 at best: one test passes 0.05, two do not (Holm doubles the smaller)."""
    base = dict(zip("abcdef", (0.5, 0.52, 0.54, 0.56, 0.58, 0.6), strict=True))
    better = {case: value + 0.01 * place for place, (case, value) in enumerate(base.items(), start=1)}
    one = Folder(tmp_path / "one")
    one.add(task(row="noisy + gold"), scores=base)
    one.add(task(row="metadcseg"), scores=better)
    assert cells(main_table(read(one))[0], "metadcseg")["paper 40 %: DSC"].mark == "↑"
    two = Folder(tmp_path / "two")
    for rate in (0.2, 0.4):
        two.add(task(row="noisy + gold", rate=rate), scores=base)
        two.add(task(row="metadcseg", rate=rate), scores=better)
    table, tests = main_table(read(two))
    assert [each.test.p for each in tests] == [2 / 64, 2 / 64]
    assert [each.adjusted for each in tests] == [4 / 64, 4 / 64]
    assert cells(table, "metadcseg")["paper 40 %: DSC"].mark == ""


def test_cases_are_averaged_over_the_seeds_that_both_rows_have(tmp_path):
    folder = Folder(tmp_path)
    names = "abcdefgh"
    for seed, value in ((0, 0.5), (1, 0.6), (2, 0.0)):
        folder.add(task(row="noisy + gold", seed=seed), scores=dict.fromkeys(names, value))
    for seed, value in ((0, 0.7), (1, 0.8)):
        folder.add(task(row="metadcseg", seed=seed), scores=dict.fromkeys(names, value))
    folder.add(task(row="metadcseg", seed=2), status="failed", error="x")
    record = read(folder)
    table, tests = main_table(record)
    assert [(each.seeds, round(each.test.mean, 9), each.test.count) for each in tests] == [(2, 0.2, 8)]
    assert cells(table, "metadcseg")["paper 40 %: DSC"].spread.endswith("2 of 3 seeds")


def test_too_few_cases_and_no_baseline_are_said(tmp_path):
    few = Folder(tmp_path / "few")
    few.add(task(row="noisy + gold"), scores=made_scores(0.5, count=4))
    few.add(task(row="metadcseg"), scores=made_scores(0.9, count=4))
    table, _ = main_table(read(few))
    assert cells(table, "metadcseg")["paper 40 %: DSC"].mark == ""
    assert any("4 paired cases are too few" in note for note in table.notes)
    none = Folder(tmp_path / "none")
    none.add(task(row="metadcseg"), scores=made_scores(0.9))
    table, tests = main_table(read(none))
    assert tests == []
    assert any("nothing to test against" in note for note in table.notes)


def test_the_papers_numbers_stand_beside_the_same_method_set_and_noise(tmp_path):
    folder = Folder(tmp_path)
    for model in ("paper", "paper-centred", "over"):
        for row in ("noisy + gold", "metadcseg"):
            folder.add(task("kvasir", model=model, row=row), scores=made_scores(0.7))
    folder.add(task("kvasir", row="l2b"), method=("l2b", {}), scores=made_scores(0.7))
    without = ("metadcseg", {**METADCSEG, "dcd": False})
    folder.add(task("kvasir", row="without"), method=without, scores=made_scores(0.7))
    table, _ = main_table(read(folder))
    assert cells(table, "metadcseg")["paper 40 %: DSC"].paper == "0.9072 ± 0.0045"
    assert cells(table, "metadcseg")["paper-centred 40 %: DSC"].paper == "0.9072 ± 0.0045"
    assert cells(table, "metadcseg")["paper 40 %: IoU"].paper_value == pytest.approx(0.8701)
    assert cells(table, "metadcseg")["paper 40 %: HD (px)"].paper == "13.96 ± 1.23"
    assert cells(table, "metadcseg")["over 40 %: DSC"].paper == ""
    assert cells(table, "l2b")["paper 40 %: DSC"].paper_value == pytest.approx(0.8894)
    assert not any(cell.paper for row in ("without", "noisy + gold") for cell in cells(table, row).values())
    assert set(paper_rows(table)) == {"MAXFormer", "MADGNet", "ConDSeg", "HAMIL"}
    assert any("its table 2, Kvasir-SEG" in note for note in table.notes)
    assert any("every class rotated about its own center" in note for note in table.notes)
    values = render_values(read(folder), []).splitlines()
    (beside,) = [line for line in values if line.startswith("kvasir,paper-centred,0.4,,metadcseg,dsc,")]
    assert "0.9072" in beside.split(",")


def test_miou_stands_beside_the_papers_on_kvasir_alone(tmp_path):
    for name, shown in (("kvasir", True), ("msd-heart", False)):
        folder = Folder(tmp_path / name)
        folder.add(task(name), scores=made_scores(0.7), metrics={"miou": 0.85})
        record = read(folder)
        table, _ = main_table(record)
        found = cells(table, "metadcseg")
        assert ("paper 40 %: mIoU" in found) == shown
        assert any("averages over the background, too" in note for note in table.notes) == shown
        (line,) = [line for line in render_values(record, []).splitlines() if ",metadcseg,miou," in line]
        assert "0.85" in line.split(",")
        if shown:
            assert found["paper 40 %: mIoU"].value == 0.85
            assert found["paper 40 %: mIoU"].paper_value == found["paper 40 %: IoU"].paper_value == 0.8701
            assert "0.8701" in line.split(",")


def test_l2b_with_the_terms_of_eq_13_stands_beside_the_papers_method(tmp_path):
    folder = Folder(tmp_path)
    for row, weight in (("l2b", 0.0), ("the script", 0.35)):
        method = ("l2b", {"lambda_boundary": weight, "lambda_dice": weight})
        folder.add(task("kvasir", row=row), method=method, scores=made_scores(0.7))
    table, _ = main_table(read(folder))
    papers = [cells(table, row)["paper 40 %: DSC"].paper_value for row in ("l2b", "the script")]
    assert papers == [pytest.approx(0.8894), pytest.approx(0.9072)]


def test_other_sets_have_no_numbers_of_the_paper(tmp_path):
    folder = Folder(tmp_path)
    folder.add(task("acdc", row="metadcseg"), scores=made_scores(0.7))
    table, _ = main_table(read(folder))
    assert not paper_rows(table)
    assert not any(cell.paper for row in table.rows for cell in row.cells)


def test_the_ablation_goes_by_what_was_recorded_not_by_names(tmp_path):
    folder = Folder(tmp_path)
    for row, changes, mean in (
        ("a", {}, 0.8),
        ("b", {"meta": False}, 0.6),
        ("all on", {"lambda_boundary": 0.0}, 0.7),
        ("d", {"lambda_dice": 0.0}, 0.75),
    ):
        log = {"alpha": 1.0 if row == "b" else 0.8, "boundary": 0.0 if row == "all on" else 0.1}
        method = ("metadcseg", {**METADCSEG, **changes})
        folder.add(task(row=row), method=method, scores=dict.fromkeys("abcdef", mean), log=log)
    (table,) = ablation_tables(read(folder))
    shown = {
        row: [cells(table, row)[part].text for part in ("Meta", "DCD", "Dice")]
        for row in ("a", "b", "all on", "d")
    }
    assert shown == {"a": ["✓"] * 3, "b": ["–", "✓", "✓"], "all on": ["✓", "–", "✓"], "d": ["✓", "✓", "–"]}
    assert cells(table, "b")["Δ DSC (to all on)"].text == "−0.200"
    assert len([note for note in table.notes if "log" in note]) == 0
    papers = [row for row in table.rows if row.paper]
    assert [row.cells[3].paper for row in papers] == ["0.9487", "0.9205", "0.9342", "0.9412"]


@pytest.mark.parametrize(
    ("options", "log", "said"),
    [
        ({"meta": True}, {"alpha": 1.0}, "Meta is on, but alpha stayed 1"),
        ({"meta": False}, {"alpha": 0.7}, "Meta is off by its options, but alpha changed"),
        (
            {"dcd": False},
            {"boundary": 0.3},
            "DCD is off by its options, but the boundary term in its log is not 0",
        ),
        ({"dcd": True}, {"boundary": 0.0}, "DCD is on by its options, but the boundary term in its log is 0"),
    ],
)
def test_a_log_that_contradicts_the_options_is_told(tmp_path, options, log, said):
    folder = Folder(tmp_path)
    folder.add(
        task(row="x"), method=("metadcseg", {**METADCSEG, **options}), scores=made_scores(0.5), log=log
    )
    other = {**METADCSEG, "lambda_dice": 0.0}
    folder.add(task(row="y"), method=("metadcseg", other), scores=made_scores(0.5))
    (table,) = ablation_tables(read(folder))
    assert any(note.startswith(f"x: {said}") for note in table.notes)


def test_rows_that_differ_in_more_than_the_parts_are_no_ablation(tmp_path):
    folder = Folder(tmp_path)
    paper = {**METADCSEG, "eta": 0.01}
    folder.add(task(row="paper"), method=("metadcseg", paper), scores=made_scores(0.5))
    ours = {**METADCSEG, "eta": 0.05, "dcd": False}
    folder.add(task(row="ours"), method=("metadcseg", ours), scores=made_scores(0.5))
    assert ablation_tables(read(folder)) == []
    without = {**ours, "meta": False}
    folder.add(task(row="ours, no meta"), method=("metadcseg", without), scores=made_scores(0.4))
    (table,) = ablation_tables(read(folder))
    assert [row.name for row in table.rows if not row.paper] == ["ours", "ours, no meta"]
    assert any("no difference to it" in note for note in table.notes)


def test_parts_of_binned_have_a_table_of_their_own_without_the_papers_numbers(tmp_path):
    folder = Folder(tmp_path)
    for method in ("metadcseg", "binned"):
        for row, changes in ((method, {}), (f"{method}, no meta", {"meta": False})):
            folder.add(task(row=row), method=(method, {**METADCSEG, **changes}), scores=made_scores(0.5))
    tables = ablation_tables(read(folder))
    assert [table.title.rpartition(": ")[2] for table in tables] == ["parts of metadcseg", "parts of binned"]
    assert [any(row.paper for row in table.rows) for table in tables] == [True, False]
    assert [next(row.name for row in table.rows if not row.paper) for table in tables] == [
        "metadcseg",
        "binned",
    ]


def test_many_kinds_of_noise_give_a_table_for_each_metric(tmp_path):
    folder = Folder(tmp_path)
    for model in ("paper", "over", "under"):
        for rate in (0.2, 0.4):
            for row, mean in (("noisy + gold", 0.5), ("metadcseg", 0.6)):
                folder.add(task(model=model, rate=rate, row=row), scores=made_scores(mean))
    record = read(folder)
    conditions = families(record)[0]
    tables = score_tables(record, conditions, compare_all(record, conditions))
    assert [table.key for table in tables] == ["scores-la-dsc", "scores-la-iou", "scores-la-hd95"]
    assert tables[0].full_columns()[:2] == ["paper 20 %", "paper 40 %"]
    assert cells(tables[0], "metadcseg")["over 20 %"].mark == "↑"
    report = build_report(record)
    assert [table.key for table in report.sections[0].folded] == ["tests-la"]


def test_a_run_that_serves_several_conditions_is_said_and_counted_once(tmp_path):
    """Clean labels are trained once for all noise: their tasks share a folder."""
    folder = Folder(tmp_path)
    for rate in (0.2, 0.4):
        folder.add(task(rate=rate, row="noisy only"), scores=made_scores(0.5))
    home = task(rate=0.2, row="clean labels")
    folder.add(home, scores=made_scores(0.8), epoch_seconds=3.0)
    folder.tasks.append({**folder.tasks[-1], "id": task(rate=0.4, row="clean labels").id})
    folder.tasks[-1]["noise"] = {"model": "paper", "rate": 0.4}
    record = read(folder)
    table, _ = main_table(record)
    shown = cells(table, "clean labels")
    assert shown["paper 20 %: DSC"].value == shown["paper 40 %: DSC"].value
    assert any("was trained once" in note for note in table.notes)
    costs = cells(cost_tables(record)[0], "clean labels")
    assert costs["an epoch (s)"].sd is None  # one run


def test_no_ablation_without_differences(tmp_path):
    folder = Folder(tmp_path)
    for row in ("a", "b"):
        folder.add(task(row=row), method=ROWS["metadcseg"], scores=made_scores(0.5))
    assert ablation_tables(read(folder)) == []


def test_gold_and_cost_efficiency_by_hand(tmp_path):
    folder = Folder(tmp_path)
    for gold, iou, seconds, peak, count in (
        (0.01, 0.60, 2.0, 1e9, 1),
        (0.02, 0.63, 2.5, 1.2e9, 2),
        (10, 0.64, 2.0, 1e9, 10),
    ):
        folder.add(
            task("msd-heart", gold=gold),
            scores=made_scores(0.7),
            metrics={"iou": iou},
            epoch_seconds=seconds,
            peak=peak,
            gold_cases=count,
        )
    (table,) = gold_tables(read(folder))
    assert [row.name for row in table.rows if not row.paper] == [
        f"metadcseg, gold {n}" for n in ("1 %", "2 %", "10 cases")
    ]
    second = cells(table, "metadcseg, gold 2 %")
    # (0.63 - 0.60) x 100 / (2.5 / 2 x 1.2 - 1) = 3 / 0.5
    assert second["CE (eq. 14)"].value == pytest.approx(6.0)
    assert cells(table, "metadcseg, gold 1 %")["CE (eq. 14)"].text == "–"
    assert cells(table, "metadcseg, gold 10 cases")["CE (eq. 14)"].text == "–"  # it costs no more
    assert second["peak memory (GB)"].text == "1.20"
    assert paper_rows(table)["MetaDCSeg, gold 2 %"].cells[-1].paper == "3.70"
    assert any("eq. 14 gives 4.66 at 2 % where it prints 3.70" in note for note in table.notes)


def test_gold_counted_in_slices_stands_in_table_6_like_a_share(tmp_path):
    folder = Folder(tmp_path)
    for share, iou, seconds, count in ((0.1, 0.66, 3.0, 160), (0.02, 0.60, 2.0, 32)):
        folder.add(
            task(gold=f"slices:{share}"),
            scores=made_scores(0.7),
            metrics={"iou": iou},
            epoch_seconds=seconds,
            gold_cases=count,
        )
    record = read(folder)
    assert [condition.gold for condition in record.conditions()] == [GoldSlices(0.1), GoldSlices(0.02)]
    (table,) = gold_tables(record)
    names = ["metadcseg, gold 2 % of slices", "metadcseg, gold 10 % of slices"]
    assert [row.name for row in table.rows if not row.paper] == names
    assert not paper_rows(table)  # they are of another set
    assert not any("the paper" in note for note in table.notes)
    shown = cells(table, names[1])
    assert shown["gold cases"].text == "160"
    assert shown["CE (eq. 14)"].value == pytest.approx(6 / 0.5)
    assert ",slices:0.02,metadcseg,dsc," in render_values(record, [])
    assert not any("Table 6" in line for line in build_report(record).missing)


def test_one_amount_of_gold_makes_the_same_tables_as_the_sets_own(tmp_path):
    tables = {}
    for gold in (None, "slices:0.02"):
        folder = Folder(tmp_path / str(gold))
        for rate in (0.2, 0.4):
            for row, mean in (("noisy + gold", 0.5), ("metadcseg", 0.6)):
                folder.add(task("msd-heart", rate=rate, row=row, gold=gold), scores=made_scores(mean))
        table, _ = main_table(read(folder))
        tables[table.title] = [table.full_columns(), table.rows]
        assert not gold_tables(read(folder))
    assert list(tables) == ["msd-heart", "msd-heart, gold 2 % of slices"]
    assert tables["msd-heart"] == tables["msd-heart, gold 2 % of slices"]


def test_costs_are_relative_to_plain_supervision(tmp_path):
    folder = Folder(tmp_path)
    for row, seconds, peak in (
        ("noisy only", 2.0, 1e9),
        ("noisy + gold", 3.0, 1e9),
        ("metadcseg", 5.0, 1.5e9),
    ):
        folder.add(task("msd-heart", row=row), scores=made_scores(0.5), epoch_seconds=seconds, peak=peak)
    (table,) = cost_tables(read(folder))
    shown = cells(table, "metadcseg")
    assert (shown["an epoch (s)"].text, shown["an epoch (s)"].spread) == ("5.0", "×2.50")
    assert shown["peak memory (GB)"].spread == "×1.50"
    # 2 GFLOPs forward x 8 passes, against 3 passes
    training = shown["FLOPs of training, an image (G)"]
    assert (training.value, training.spread) == (pytest.approx(16.0), "×2.67")
    assert shown["parameters (M)"].text == "0.57"
    papers = cells(table, "MetaDCSeg", paper=True)
    assert papers["an epoch (s)"].paper == "192 (×1.52)"
    assert papers["peak memory (GB)"].paper == "7.8 (×1.34)"
    assert (shown["gold"].text, shown["pretrained"].text) == ("mixed, meta", "no")
    assert (shown["passes of a step"].text, shown["training (s)"].value) == ("8", 16.0)


def test_no_row_is_relative_to_one_that_is_not_there(tmp_path):
    folder = Folder(tmp_path)
    folder.add(task(row="metadcseg"), scores=made_scores(0.5))
    (table,) = cost_tables(read(folder))
    assert not any("relative to" in note for note in table.notes)


def test_amounts_of_gold_without_a_finished_run_make_no_table(tmp_path):
    folder = Folder(tmp_path)
    for gold in (0.01, 0.02):
        folder.add(task("msd-heart", gold=gold), status="failed", error="the disk is full")
    assert not gold_tables(read(folder))


def test_flops_of_training_count_each_network_of_a_committee_once():
    """A prediction takes a pass of all three: 6 GFLOPs, a step nine passes of one."""
    task = SimpleNamespace(
        cost={"flops_per_image": 6e9}, info={"declaration": {"passes": 9.0, "networks": 3}}
    )
    assert COSTS["training_flops"].read(task) == 18.0


def test_without_costs_the_table_says_what_is_missing(tmp_path):
    folder = Folder(tmp_path)
    folder.add(task(), scores=made_scores(0.5), cost=False)
    (table,) = cost_tables(read(folder))
    assert any("missing: evaluation/cost.json" in note for note in table.notes)


def test_detection_is_averaged_over_seeds(tmp_path):
    folder = Folder(tmp_path)
    for seed, auroc in ((0, 0.9), (1, 0.8)):
        folder.add(task(seed=seed), scores=made_scores(0.5), weights={"gamma": [1.0] * 11, "auroc": auroc})
    table = detection_table(read(folder))
    assert [cell.text for cell in table.rows[0].cells] == ["la, paper 40 %", "0.850", "0.750", "0.080"]


def test_a_share_that_no_pixel_has_is_a_dash(tmp_path):
    folder = Folder(tmp_path)
    for row in ("metadcseg", "binned"):
        home = folder.add(task(row=row), scores=made_scores(0.5), weights={"gamma": [1.0] * 11})
    file = home / "evaluation" / "weights.json"
    held = json.loads(file.read_text())
    file.write_text(json.dumps({**held, "auroc": {**held["auroc"], "weight": None}}))
    table = detection_table(read(folder))
    assert [row.cells[1].text for row in table.rows] == ["0.900", UNKNOWN]


@pytest.mark.parametrize(
    ("gamma", "said"),
    [
        (
            [0.5, 0.6, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 1.1, 1.1, None],
            "γ falls towards the outline: 0.600 within 4 px",
        ),
        (
            [1.5, 1.4, 1.2, 1.1, 1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9],
            "γ does not fall towards the outline: 1.300 within",
        ),
        ([0.99998] * 4 + [0.99999] * 7, "the weights did not move"),
        ([1.0] * 11, "the weights did not move: α and γ are 1 near and far"),
        ([None] * 10 + [1.0], "too few pixels"),
    ],
)
def test_the_sentence_of_figure_3_comes_from_the_numbers(tmp_path, gamma, said):
    folder = Folder(tmp_path)
    folder.add(task(), scores=made_scores(0.5), weights={"gamma": gamma})
    ((_, sentence),) = distance_figures(read(folder), [])
    assert said in sentence


def test_where_gamma_is_1_by_construction_the_sentence_is_about_alpha(tmp_path):
    folder = Folder(tmp_path)
    weights = {"gamma": [1.0] * 11, "alpha": [0.5] * 4 + [0.9] * 7}
    folder.add(task(), scores=made_scores(0.5), weights=weights)
    ((_, sentence),) = distance_figures(read(folder), [])
    assert "γ is the same near and far" in sentence
    assert "What moves is α: 0.500 near, 0.900 far" in sentence


def test_memory_of_a_gpu_and_of_processes_never_share_a_table(tmp_path):
    folder = Folder(tmp_path)
    for row, held in (
        ("noisy only", {}),
        ("noisy + gold", {"gpu_peak_bytes": None}),
        ("metadcseg", {"gpu_peak_bytes": 3_000_000_000}),
    ):
        folder.add(task(row=row), scores=made_scores(0.5), peak=1e9, info=held)
    (table,) = cost_tables(read(folder))
    shown = [
        cells(table, row)["peak memory (GB)"].value for row in ("noisy only", "noisy + gold", "metadcseg")
    ]
    assert shown == [None, None, 3.0]


def test_the_papers_hd_stands_beside_ours_in_mm_where_there_are_any(tmp_path):
    folder = Folder(tmp_path)
    for rate, metrics in ((0.2, {"hd": 9.0}), (0.4, {"hd": 9.0, "hd_mm": 7.0, "hd95_mm": 5.0})):
        held = task(name="msd-heart", rate=rate)
        folder.add(held, scores=made_scores(0.5), metrics=metrics)
    rows = list(csv.DictReader(io.StringIO(render_values(read(folder), []))))
    beside = {(row["rate"], row["metric"]) for row in rows if row["paper"] and row["metric"].startswith("hd")}
    assert beside == {("0.2", "hd"), ("0.4", "hd_mm")}


def test_folds_count_as_one_run_over_all_cases(tmp_path):
    folder = Folder(tmp_path)
    for row, shift in (("noisy + gold", 0.0), ("metadcseg", 0.05)):
        scored = [
            {f"{fold}-{case}": 0.5 + 0.1 * fold + shift + 0.01 * place for place, case in enumerate("abcd")}
            for fold in range(3)
        ]
        folder.add(task(row=row, folds=3), scores={}, fold_scores=scored)
    record = read(folder)
    table, tests = main_table(record)
    assert cells(table, "metadcseg")["paper 40 %, 3 folds: DSC"].value == pytest.approx(
        0.5 + 0.1 + 0.05 + 0.015
    )
    assert tests[0].test.count == 12
    plots = {section.key: section.plots for section in build_report(record).sections}
    assert "metadcseg mean 0.665" in plots["folds"][0].alt


def test_runs_that_broke_the_contract_are_in_no_table(tmp_path):
    folder = Folder(tmp_path)
    folder.add(task(row="noisy + gold"), scores=made_scores(0.5))
    broken = "the benchmark contract is broken: its gold is another than that of 'noisy + gold'"
    home = folder.add(task(row="metadcseg"), scores=made_scores(0.9))
    folder.tasks[-1].update(status="failed", error=broken)
    assert (home / "evaluation" / "test.json").exists()
    record = read(folder)
    assert record.counts()["refused"] == 1
    table, _ = main_table(record)
    assert cells(table, "metadcseg")["paper 40 %: DSC"].text == "–"
    report = build_report(record)
    assert report.failures == [("la/paper-0.4/metadcseg/seed-0", broken)]
    assert "1 refused for breaking the benchmark contract" in report.lead


def test_a_partial_grid_tells_its_reason(tmp_path):
    folder = Folder(tmp_path)
    folder.grid["partial"] = "only the ablation"
    folder.add(task(), scores=made_scores(0.5))
    assert "its reason: only the ablation" in build_report(read(folder)).lead


def test_runs_with_folds_and_without_are_no_seeds_of_one_another(tmp_path):
    folder = Folder(tmp_path)
    folder.add(task(row="noisy + gold"), scores=dict.fromkeys("abcdef", 0.5))
    folder.add(
        task(row="noisy + gold", folds=2),
        scores={},
        fold_scores=[dict.fromkeys(x, 0.9) for x in ("abc", "def")],
    )
    table, _ = main_table(read(folder))
    found = cells(table, "noisy + gold")
    assert found["paper 40 %: DSC"].value == pytest.approx(0.5)
    assert found["paper 40 %, 2 folds: DSC"].value == pytest.approx(0.9)


def test_a_collapsed_case_does_not_turn_what_the_test_says(tmp_path):
    folder = Folder(tmp_path)
    names = [str(number) for number in range(30)]
    folder.add(task(row="noisy + gold"), scores=dict.fromkeys(names, 0.9))
    better = {name: 0.91 + 0.001 * place for place, name in enumerate(names)} | {"29": 0.0}
    folder.add(task(row="metadcseg"), scores=better)
    table, (test,) = main_table(read(folder))
    assert fmean(better.values()) < 0.9
    assert cells(table, "metadcseg")["paper 40 %: DSC"].mark == test.mark == BETTER
    assert test.verdict.startswith("better, though not on average")


def test_images_of_one_patient_are_one_case(tmp_path):
    folder = Folder(tmp_path)
    names = [f"{patient}{image}" for patient in "abcdefg" for image in range(4)]
    of = {name: name[0] for name in names}
    folder.add(task(row="noisy + gold"), scores=dict.fromkeys(names, 0.5), groups=of)
    folder.add(task(row="metadcseg"), scores=dict.fromkeys(names, 0.6), groups=of)
    _, (test,) = main_table(read(folder))
    assert (test.test.count, test.test.p) == (7, pytest.approx(2 / 2**7))


def test_a_case_that_one_row_lacks_is_taken_from_none(tmp_path):
    folder = Folder(tmp_path)
    scores = {f"{patient}{image}": 0.3 * image for patient in "abcdefg" for image in range(3)}
    of = {name: name[0] for name in scores}
    fewer = {name: score for name, score in scores.items() if not name.endswith("0")}
    folder.add(task(row="noisy + gold"), scores=scores, groups=of)
    folder.add(task(row="metadcseg"), scores=fewer, groups=of)
    _, (test,) = main_table(read(folder))
    assert (test.test.count, test.test.mean, test.test.p) == (7, 0.0, 1.0)


def test_rows_are_tested_against_their_own_network_and_budget(tmp_path):
    folder = Folder(tmp_path)
    names = "abcdefgh"
    for width, base in ((8, 0.6), (16, 0.8)):
        for row, kind, score in (
            ("noisy only", ROWS["noisy only"], base - 0.02),
            ("noisy + gold", ROWS["noisy + gold"], base),
        ):
            scores = {name: score + 0.001 * place for place, name in enumerate(names)}
            folder.add(
                task(row=f"{row}, width {width}"),
                scores=scores,
                method=kind,
                info={"network": {"width": width}},
            )
    table, tests = main_table(read(folder))
    assert {each.row: each.baseline for each in tests} == {
        f"noisy only, width {width}": f"noisy + gold, width {width}" for width in (8, 16)
    }
    assert {each.mark for each in tests} == {WORSE}
    best = [line.name for line in table.rows if line.cells[0].best]
    assert best == ["noisy + gold, width 8", "noisy + gold, width 16"]
    assert "Best of each network and training in bold" in table.notes[0]


def test_a_row_of_another_tool_is_shown_apart_and_never_tested(tmp_path):
    folder = Folder(tmp_path)
    for seed in (0, 1):
        held = {"info": {"network": {"name": "unetplusplus"}, "training": {"epochs": 3}}}
        home = folder.add(task(row="noisy + gold", seed=seed), scores=made_scores(0.6, seed), **held)
        info = json.loads((home / "run.json").read_text())
        info["set"]["fingerprint"] = f"{seed}" * 64
        (home / "run.json").write_text(json.dumps(info))
        folder.add(task(row="metadcseg", seed=seed), scores=made_scores(0.7, seed), **held)
        write_external(tmp_path / "external" / f"nnU-Net-{seed}", seed, made_scores(0.9, seed))
    write_external(tmp_path / "external" / "stranger", 7, made_scores(0.9))
    record = read(folder)
    table, tests = main_table(record)
    assert {test.row for test in tests} == {"metadcseg"}
    tags = {line.name: line.tag for line in table.rows if not line.paper}
    assert tags["nnU-Net"] == "another pipeline: nnU-Net 2.8.1, 1,250 iterations, gold balanced"
    cell = cells(table, "nnU-Net")["paper 40 %: DSC"]
    assert cell.value == pytest.approx(fmean(fmean(made_scores(0.9, seed).values()) for seed in (0, 1)))
    assert any("never tested against ours: nnU-Net" in note for note in table.notes)
    assert [said for said in record.missing if "no run of this benchmark" in said]


def test_edges_of_another_processor_are_told(tmp_path):
    folder = Folder(tmp_path)
    told = []
    for row, fingerprint in (("noisy + gold", "0"), ("metadcseg", "0"), ("noisy only", "1")):
        home = folder.add(task(row=row), scores=made_scores(0.6))
        info = json.loads((home / "run.json").read_text())
        info["set"] |= {"fingerprint": fingerprint * 64, "content": "c"}
        (home / "run.json").write_text(json.dumps(info))
        told.append("edges round otherwise" in " ".join(main_table(read(folder))[0].notes))
    assert told == [False, False, True]


def test_a_set_of_which_nothing_is_known_is_not_told_to_be_of_another_processor(tmp_path):
    folder = Folder(tmp_path)
    for row, of in (("noisy + gold", {"fingerprint": "0" * 64}), ("metadcseg", {})):
        home = folder.add(task(row=row), scores=made_scores(0.6))
        info = json.loads((home / "run.json").read_text())
        (home / "run.json").write_text(json.dumps(info | {"set": of}))
    assert "edges round otherwise" not in " ".join(main_table(read(folder))[0].notes)


def test_a_row_of_another_tool_belongs_to_the_set_of_its_content_whose_edges_round_otherwise(tmp_path):
    folder = Folder(tmp_path)
    home = folder.add(task(row="noisy + gold"), scores=made_scores(0.6))
    first, again = (tmp_path / "external" / f"nnU-Net-{number}" for number in (2, 3))
    for place in (first, again):
        write_external(place, 0, made_scores(0.9))
    for place, fingerprint in ((home, "1"), (first, "2"), (again, "3")):
        info = json.loads((place / "run.json").read_text())
        info["set"] |= {"fingerprint": fingerprint * 64, "content": "c"}
        (place / "run.json").write_text(json.dumps(info))
    record = read(folder)
    assert [each.row for each in record.tasks] == ["noisy + gold", "nnU-Net"]
    assert f"{again} was left out: {first} holds the same row on the same set." in record.missing


def write_external(folder, seed, scores):
    write_run(folder, task(row="nnU-Net", seed=seed), scores=scores, cost=False)
    info = json.loads((folder / "run.json").read_text())
    info |= {"method": "external", "options": {}, "network": {"name": "nnU-Net"}, "training": {}}
    info["set"]["fingerprint"] = f"{seed}" * 64
    info["external"] = {"tool": "nnU-Net 2.8.1", "gold": "balanced", "iterations": 1250}
    (folder / "run.json").write_text(json.dumps(info))
    (folder / "metrics.jsonl").unlink()


def test_rows_say_their_network_where_networks_differ(tmp_path):
    folder = Folder(tmp_path)
    for name in ("unetplusplus", "maxformer"):
        held = {"info": {"network": {"name": name, "size": "small"}, "training": {"epochs": 3}}}
        for row, method in (("noisy + gold", "noisy + gold"), ("ours", "metadcseg")):
            shift = 0.1 * (row == "ours")
            folder.add(
                task(row=f"{row}, {name}"), scores=made_scores(0.6 + shift), method=ROWS[method], **held
            )
    table, tests = main_table(read(folder))
    assert {line.name: line.tag for line in table.rows if not line.paper} == {
        f"{row}, {name}": name for name in ("unetplusplus", "maxformer") for row in ("noisy + gold", "ours")
    }
    assert {test.row: test.baseline for test in tests} == {
        f"ours, {name}": f"noisy + gold, {name}" for name in ("unetplusplus", "maxformer")
    }
    held = {"info": {"network": {"name": "madgnet"}, "training": {"epochs": 3}}}
    folder.add(task(row="alone"), scores=made_scores(0.6), method=ROWS["metadcseg"], **held)
    table, tests = main_table(read(folder))
    assert "alone" not in {test.row for test in tests}
    assert any(note.startswith("Not tested") and note.endswith("training: alone.") for note in table.notes)
