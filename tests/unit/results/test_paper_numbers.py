"""The paper's numbers are those that it prints, in our units, and are found only where they belong."""

import re
from pathlib import Path

import pytest

from metadcseg.report.measures import cost_efficiency
from metadcseg.results.paper_numbers import paper_methods, paper_numbers, paper_score, paper_set

PAPER = Path("/work/shared/paper/metadcseg.md")

needs_paper = pytest.mark.skipif(not PAPER.exists(), reason="the text of the paper is not on this machine")


@pytest.mark.parametrize(
    ("key", "method", "rate", "metric", "value", "sd", "table"),
    [
        ("msd-heart", "MetaDCSeg", 0.4, "iou", 0.9034, 0.0078, 1),
        ("msd-heart", "HAMIL", 0.6, "hd", 18.23, 3.56, 1),
        ("kvasir-seg", "MetaDCSeg", 0.6, "dsc", 0.8519, 0.0067, 2),
        ("kvasir-seg", "L2B", 0.2, "iou", 0.8819, 0.0098, 2),
        ("msd-brain", "MAXFormer", 0.6, "iou", 0.2234, 0.0567, 3),
        ("promise12", "MADGNet", 0.0, "dsc", 0.1638, 0.0412, 4),
        ("promise12", "L2B", 0.6, "dsc", 0.8201, 0.0212, 4),
    ],
)
def test_single_numbers(key, method, rate, metric, value, sd, table):
    found = paper_score(key, method, rate, metric)
    assert (found.value, found.sd, found.table) == (pytest.approx(value), pytest.approx(sd), table)


@pytest.mark.parametrize(
    "asked",
    [
        ("msd-heart", "MetaDCSeg", 0.3, "dsc"),
        ("msd-heart", "supervised", 0.4, "dsc"),
        ("msd-heart", "MetaDCSeg", 0.4, "hd95"),
        (None, "MetaDCSeg", 0.4, "dsc"),
        ("msd-heart", None, 0.4, "dsc"),
    ],
)
def test_what_it_does_not_report_is_none(asked):
    assert paper_score(*asked) is None


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("kvasir", "kvasir-seg"),
        ("Kvasir-SEG", "kvasir-seg"),
        ("msd-heart", "msd-heart"),
        ("left-atrium", "msd-heart"),
        ("Task02_Heart", "msd-heart"),
        ("msd_brain", "msd-brain"),
        ("promise12", "promise12"),
        ("acdc", None),
        ("phantom", None),
        ("heart", None),  # ACDC is a heart, too
    ],
)
def test_names_of_sets(name, key):
    assert paper_set(name) == key


def printed(table):
    """The lines of a table of the paper, cell by cell, without markup."""
    text = PAPER.read_text(encoding="utf-8")
    block = text[re.search(rf"^Table {table}:", text, flags=re.M).start() :].split("\n\n")[1]
    plain = re.sub(r"</?b>|</?math>|\$|\\[a-z]+", lambda found: "±" if found[0] == "\\pm" else "", block)
    return [[cell.strip() for cell in line.split("\t")] for line in plain.splitlines()]


@needs_paper
@pytest.mark.parametrize("table", [1, 2, 3, 4])
def test_main_tables_are_those_of_the_text(table):
    held = next(entry for entry in paper_numbers()["main"].values() if entry["table"] == table)
    lines = {line[0].rstrip("*"): line[1:] for line in printed(table)}
    for method in paper_methods():
        cells = [tuple(map(float, cell.split("±"))) for cell in lines[method]]
        ours = held["methods"][method]
        assert cells == [tuple(ours[metric][level]) for level in range(4) for metric in ("iou", "dsc", "hd")]


@needs_paper
@pytest.mark.parametrize(("table", "key"), [(5, "ablation"), (6, "gold"), (7, "cost")])
def test_smaller_tables_are_those_of_the_text(table, key):
    lines = [line for line in printed(table) if re.search(r"\d\.\d", " ".join(line))]
    held = paper_numbers()[key]["rows"]
    assert len(lines) == len(held)
    for line, entry in zip(lines, held, strict=True):
        numbers = [float(cell.split()[0]) for cell in line if re.match(r"\d+\.\d+( |$)", cell)]
        ours = [value for value in entry.values() if isinstance(value, float) and value >= 0.3]
        assert numbers == ours


def test_gains_over_l2b_are_those_that_the_paper_prints():
    """The rows marked delta in tables 1 to 3, an independent copy of the same numbers."""
    gains = {"msd-heart": (2.66, 2.70, 3.56, 5.33), "kvasir-seg": (1.62, 2.70, 5.26, 8.68)}
    gains["msd-brain"] = (7.11, 8.55, 9.78, 9.67)
    gains["promise12"] = (1.48, 2.33, 3.48, 13.96)
    for key, expected in gains.items():
        methods = paper_numbers()["main"][key]["methods"]
        ours, theirs = (methods[name]["iou"] for name in ("MetaDCSeg", "L2B"))
        found = [one[0] - other[0] for one, other in zip(ours, theirs, strict=True)]
        assert found == pytest.approx(expected, abs=0.006)


def test_cost_efficiency_by_hand():
    # eq. 14 with the numbers of table 6 at 2 %: 1.11 / (1.142857 x 1.083333 - 1) = 1.11 / 0.238095
    assert cost_efficiency(90.34 - 89.23, 3.2 / 2.8, 7.8 / 7.2) == pytest.approx(4.662, abs=5e-4)
    assert cost_efficiency(-0.5, 2.0, 1.0) == -0.5
    assert cost_efficiency(1.0, 1.0, 1.0) is None
    assert cost_efficiency(1.0, 0.5, 1.0) is None
