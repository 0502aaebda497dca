"""Scores and gains on pages are those of the records in results/*/values.csv."""

import csv
import json
import re
from functools import cache
from pathlib import Path
from statistics import fmean, stdev

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
GOLD = "noisy + gold"
RECORDS = {  # as a page names a row: as the records do
    "noisy only": "noisy only",
    "noisy + gold": GOLD,
    "binned (the default)": "MetaDCSeg",
    "paper's preset": "MetaDCSeg, paper preset",
    "L2B, one view": "L2B, one view",
    "clean labels, no gold": "clean labels",
}
NOISE = {"no noise": ("paper", 0.0)}


@cache
def scores(folder: str) -> dict[tuple[str, float, str], dict[str, dict[int, float]]]:
    """Return (noise, rate, gold) -> row -> seed -> test DSC in points."""
    found = {}
    with (ROOT / "results" / folder / "values.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if line["metric"] == "dsc":
                pairs = (pair.split(":") for pair in line["values"].split())
                rows = found.setdefault((line["noise"], float(line["rate"]), line["gold"]), {})
                rows[line["row"]] = {int(seed): 100 * float(value) for seed, value in pairs}
    return found


def gains(folder: str, noise: str, rate: float, gold: str = "") -> list[float]:
    """Return what each seed gains over plain supervision with the same gold."""
    rows = scores(folder)[noise, rate, gold]
    return [rows["MetaDCSeg"][seed] - rows[GOLD][seed] for seed in sorted(rows[GOLD])]


def shown(values: list[float]) -> str:
    mean = f"{fmean(values):+.1f}".replace("-0.0", "+0.0")
    return f"{mean} ± {stdev(values):.1f}"


def table(text: str, first: str) -> list[list[str]]:
    """Return the cells of the table whose first cell is ``first``, header and rule included."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_gains_of_the_readme():
    header, _, *rows = table(README.read_text(encoding="utf-8"), "data")
    data, seen = "", 0
    for row in rows:
        data = row[0] or data
        folder = "left-atrium" if data.startswith("left atrium") else "kvasir-seg"
        noise = re.search(r"`(\w+)`", row[1])[1]
        for column, cell in zip(header[2:], row[2:], strict=True):
            rate = 0.0 if column == "no noise" else int(column.removesuffix(" %")) / 100
            records = folder + ("-20" if rate == 0.2 else "")
            if folder == "left-atrium" and noise == "paper" and rate == 0.2:
                rate = 0.27  # the least that this noise can be there; the page says so
            if (noise, rate, "") not in scores(records):
                assert not cell, f"{data}, {noise}, {column}: no record says {cell}"
                continue
            found = gains(records, noise, rate)
            beyond = abs(fmean(found)) > stdev(found)
            assert cell == (f"**{shown(found)}**" if beyond else shown(found)), f"{data}, {noise}, {column}"
            seen += 1
    assert seen == 16


def test_the_gains_of_the_readme_by_number_of_gold_images():
    header, _, row = table(README.read_text(encoding="utf-8"), "Kvasir-SEG, `over` 40 %, by gold images")
    assert header[1:] == ["2", "4", "11", "22"]
    found = [shown(gains("kvasir-seg-gold", "over", 0.4, share)) for share in ("0.01", "0.02", "0.05", "0.1")]
    assert row[1:] == found


def test_how_far_behind_the_readme_says_the_others_are():
    behind = {"MetaDCSeg, paper preset": [], "L2B, one view": []}
    for data in ("left-atrium", "kvasir-seg"):
        for records in (f"{data}-rivals", f"{data}-20"):
            base = scores(data if records.endswith("rivals") else records)
            for key, rows in scores(records).items():
                for name, differences in behind.items():
                    differences.append(fmean(base[key][GOLD].values()) - fmean(rows[name].values()))
    preset, l2b = ([round(edge(values)) for edge in (min, max)] for values in behind.values())
    text = " ".join(README.read_text(encoding="utf-8").split())
    assert f"were {preset[0]} to {preset[1]} points *behind* plain supervision" in text
    assert f"L2B from {l2b[1]} behind to {-l2b[0]} ahead" in text


COLUMNS = {"too large": "over", "too small": "under", "random": "paper", "none": "paper"}


def test_the_gains_of_the_index_of_results():
    page = (ROOT / "docs/results/README.md").read_text(encoding="utf-8")
    header, _, *rows = table(page.replace("| | too large", "| gain | too large"), "gain")
    seen = 0
    for name, *cells in rows:
        folder = "left-atrium" if name.startswith("left atrium") else "kvasir-seg"
        if "gold images" in name:
            shares = ("0.01", "0.02", "0.05", "0.1")
            found = [fmean(gains("kvasir-seg-gold", "over", 0.4, share)) for share in shares]
            assert cells[0] == ", ".join(f"{gain:+.1f}" for gain in found)
            continue
        rate = int(name.split()[-2]) / 100
        for column, cell in zip(header[1:-1], cells[:-1], strict=True):
            if cell:
                records = folder + ("-20" if rate == 0.2 else "")
                least = 0.27 if (folder, column, rate) == ("left-atrium", "random", 0.2) else rate
                found = gains(records, COLUMNS[column], 0.0 if column == "none" else least)
                assert abs(float(cell.strip("*")) - fmean(found)) < 0.051, f"{name}, {column}"
                seen += 1
    assert seen == 16


SECTIONS = {  # heading of the page of results: where its rows come from
    "Left atrium, rates 0.4 and 0.6": ("left-atrium", "left-atrium-rivals"),
    "Left atrium, rate 0.2": ("left-atrium-20",),
    "Kvasir-SEG, rates 0.4 and 0.6": ("kvasir-seg", "kvasir-seg-rivals"),
    "Kvasir-SEG, rate 0.2": ("kvasir-seg-20",),
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_tables_of_the_results(heading):
    page = (ROOT / "docs/results/recipe.md").read_text(encoding="utf-8")
    section = page.split(f"\n### {heading}\n")[1].split("\n### ")[0].split("\n## ")[0]
    header, _, *rows = table(section, "test DSC")
    checked = 0
    for name, *cells in rows:
        name = name.strip("*")
        for column, cell in zip(header[1:], cells, strict=True):
            noise, rate = NOISE.get(column) or (column.split()[0], int(column.split()[1]) / 100)
            key = (noise, rate, "")
            if name == "gain":
                assert cell == shown(gains(SECTIONS[heading][0], *key[:2])), f"{name}, {column}"
            elif name == "gain by seed":
                seeds = gains(SECTIONS[heading][0], *key[:2])
                assert cell == ", ".join(f"{gain:+.1f}".replace("-0.0", "+0.0") for gain in seeds)
            elif name in RECORDS and cell not in ("", "the same"):
                values = next(
                    scores(folder)[key][RECORDS[name]]
                    for folder in SECTIONS[heading]
                    if RECORDS[name] in scores(folder).get(key, {})
                )
                points = [value / 100 for value in values.values()]
                assert cell == f"{fmean(points):.3f} ± {stdev(points):.3f}", f"{name}, {column}"
            else:
                continue
            checked += 1
    assert checked >= 15


CHOICES = {  # as the page begins a row: as the records name it
    "binned": "MetaDCSeg",
    "Dice with": "Dice with the given labels",
    "gold trained": "gold trained on and asked at once",
    "only where": "only where the rival is more probable",
    "symmetric noise": "distrust that opposites share is kept",
    "a pair": "a pair for every pixel",
    "gold asked": "asked in every step",
    "in every 4th": "asked in every 4th step",
    "in every 8th": "asked in every 8th step",
}
PARTS = {"binned": "MetaDCSeg", "clean labels, no gold": "clean labels"}


@pytest.mark.parametrize(("first", "folder"), [("part", "left-atrium"), ("choice", "left-atrium-choices")])
def test_the_tables_of_parts_and_choices(first, folder):
    page = (ROOT / "docs/results/recipe.md").read_text(encoding="utf-8")
    _, _, *rows = table(page, first)
    records = scores(folder)["over", 0.4, ""]
    for name, _, score, seeds, _ in rows:
        bare = name.strip("*")
        known = (CHOICES[begins] for begins in CHOICES if bare.startswith(begins))
        row = PARTS.get(bare, bare) if first == "part" else next(known)
        points = [records[row][seed] / 100 for seed in range(3)]
        assert score.strip("*") == f"{fmean(points):.3f} ± {stdev(points):.3f}", name
        assert seeds == ", ".join(f"{value:.3f}" for value in points), name
    assert len(rows) >= 7


def test_the_table_of_gold_images():
    page = (ROOT / "docs/results/recipe.md").read_text(encoding="utf-8")
    rows = {name: cells for name, *cells in table(page, "gold images")}
    for column, share in enumerate(("0.01", "0.02", "0.05", "0.1")):
        records = scores("kvasir-seg-gold")["over", 0.4, share]
        for name, row in ((GOLD, GOLD), ("binned", "MetaDCSeg")):
            points = [value / 100 for value in records[row].values()]
            assert rows[name][column] == f"{fmean(points):.3f} ± {stdev(points):.3f}", (name, share)
        found = gains("kvasir-seg-gold", "over", 0.4, share)
        assert rows["gain"][column].strip("*") == shown(found)
        assert rows["gain by seed"][column].replace("*", "") == ", ".join(f"{gain:+.1f}" for gain in found)


def test_the_memory_of_the_faq():
    cases = json.loads((ROOT / "results/memory.json").read_text(encoding="utf-8"))["cases"]
    _, _, *rows = table((ROOT / "docs/faq.md").read_text(encoding="utf-8"), "input grid")
    assert rows == [
        [
            f"{case['pixels']} x {case['pixels']}",
            str(case["width"]),
            f"{case['batch']} + {case['batch']}",
            f"{case['peak_gb']} GB",
        ]
        for case in cases
    ]


def compared(before, key, ours, shown_rows, place):
    """Compare the first rows of a page's table with the records, over the seeds of ours; return these, by row."""
    rows = {
        "noisy + gold": before[key][GOLD],
        "binned": before[key]["MetaDCSeg"],
        "calibrated": ours,
        "clean + gold": before["paper", 0.0, ""][GOLD],
    }
    for name, values in rows.items():
        points = [values[seed] / 100 for seed in sorted(ours)]
        assert shown_rows[name][place] == f"{fmean(points):.3f} ± {stdev(points):.3f}", (name, key)
    return rows


def test_the_tables_of_pairs():
    """Rows of results/left-atrium beside calibrated; clean + gold is noisy + gold of the set without noise."""
    page = (ROOT / "docs/results/pairs.md").read_text(encoding="utf-8")
    before, found = scores("left-atrium"), scores("left-atrium-directions")
    header, _, *rows = table(page, "test DSC")
    shown_rows = {name.strip("*"): cells for name, *cells in rows}
    readme = table(README.read_text(encoding="utf-8"), "left atrium (MR), 6 gold slices")[-1]
    for place, column in enumerate(header[1:]):
        noise, rate = NOISE.get(column) or (column.split()[0], int(column.split()[1]) / 100)
        ours, key = found[noise, rate, ""]["calibrated"], (noise, rate, "")
        assert sorted(ours) == [0, 1, 2]
        columns = compared(before, key, ours, shown_rows, place)
        gained = [ours[seed] - before[key][GOLD][seed] for seed in range(3)]
        assert shown_rows["gain"][place] == shown(gained)
        assert readme[1 + place].strip("*") == shown(gained)
        assert shown_rows["gain by seed"][place] == ", ".join(f"{gain:+.1f}" for gain in gained)
        if rate:
            way = fmean(columns["clean + gold"].values()) - fmean(columns["noisy + gold"].values())
            assert shown_rows["of the way"][place] == f"{100 * fmean(gained) / way:.0f} %"
    with (ROOT / "results/left-atrium-directions/detection.csv").open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["row"] == "calibrated"]
    areas = {line["under"].split(", ")[1]: line for line in lines}
    header, _, *rows = table(page, "area under the ROC")
    for name, *cells in rows:
        for column, cell in zip(header[1:], cells, strict=True):
            assert cell == f"{float(areas[column][f'by {name} (AUROC)']):.3f}", (name, column)


def test_the_table_of_pairs_on_kvasir_seg():
    page = (ROOT / "docs/results/pairs.md").read_text(encoding="utf-8")
    before, found = scores("kvasir-seg"), scores("kvasir-seg-directions")
    header, _, *rows = table(page, "Kvasir-SEG, test DSC")
    shown_rows = {name.strip("*"): cells for name, *cells in rows}
    for place, column in enumerate(header[1:]):
        noise, rate = NOISE.get(column) or (column.split()[0], int(column.split()[1]) / 100)
        ours, key = found[noise, rate, ""]["calibrated"], (noise, rate, "")
        seeds = sorted(ours)
        assert seeds == [0, 1, 2]
        compared(before, key, ours, shown_rows, place)
        gained = [ours[seed] - before[key][GOLD][seed] for seed in seeds]
        assert shown_rows["gain by seed"][place] == ", ".join(f"{gain:+.1f}" for gain in gained)


PAIRS = ROOT / "docs/results/pairs.md"


def test_the_table_alone_on_kvasir():
    key = ("over", 0.4, "")
    alone = [scores("kvasir-seg-pairs")[key]["pairs"][seed] for seed in (0, 1)]
    behind = [scores("kvasir-seg-directions")[key]["calibrated"][seed] - alone[seed] for seed in (0, 1)]
    points = f"{alone[0] / 100:.3f} and {alone[1] / 100:.3f}"
    told = f"has {points}, behind `calibrated` by {behind[0]:.1f} and {behind[1]:.1f} points"
    assert told in PAIRS.read_text(encoding="utf-8")


def conditions(header: list[str]) -> list[tuple[str, float, str]]:
    """Return (noise, rate, gold) of the columns of a page's table."""
    found = [NOISE.get(column) or (column.split()[0], int(column.split()[1]) / 100) for column in header]
    return [(noise, rate, "") for noise, rate in found]


def test_the_table_without_pairs():
    before, found = scores("left-atrium"), scores("left-atrium-pairs")
    text = PAIRS.read_text(encoding="utf-8")
    header, _, *rows = table(text[text.index("## Without pairs") :], "test DSC")
    shown_rows = {name: cells for name, *cells in rows}
    for place, key in enumerate(conditions(header[1:])):
        ours = found[key]["calibrated, no pairs"]
        assert sorted(ours) == [0, 1, 2]
        points = [ours[seed] / 100 for seed in range(3)]
        gained = [ours[seed] - before[key][GOLD][seed] for seed in range(3)]
        assert shown_rows["calibrated, no pairs"][place] == f"{fmean(points):.3f} ± {stdev(points):.3f}"
        assert shown_rows["gain, no pairs"][place] == shown(gained)
        assert shown_rows["gain by seed, no pairs"][place] == ", ".join(f"{gain:+.1f}" for gain in gained)


def test_the_table_of_the_same_information():
    records, now = scores("left-atrium-pairs"), scores("left-atrium-directions")
    header, _, *rows = table(PAIRS.read_text(encoding="utf-8"), "test DSC, seeds 0; 1; 2")
    for place, key in enumerate(conditions(header[1:])):
        held = {**scores("left-atrium")[key], **records[key], **now[key]}
        for name, *cells in rows:
            known = [f"{held[name][seed] / 100:.3f}" for seed in (0, 1, 2) if seed in held[name]]
            assert cells[place] == "; ".join(known), (name, key)


def test_the_table_of_one_bad_annotator():
    _, _, *rows = table(PAIRS.read_text(encoding="utf-8"), "annotator 15 %, seed 0")
    held = scores("left-atrium-annotator")["annotator", 0.15, ""]
    with (ROOT / "results/left-atrium-annotator/detection.csv").open(encoding="utf-8", newline="") as file:
        found = {line["row"]: float(line["by weight (AUROC)"]) for line in csv.DictReader(file)}
    assert {name for name, *_ in rows} == held.keys()
    for name, dsc, auroc in rows:
        assert dsc == f"{held[name][0] / 100:.3f}"
        assert auroc == (f"{found[name]:.3f}" if name in found else "")


def test_the_table_of_the_papers_parts():
    _, _, *rows = table((ROOT / "docs/results/recipe.md").read_text(encoding="utf-8"), "paper, sums")
    held = {**scores("left-atrium-paper")["paper", 0.4, ""], **scores("left-atrium")["paper", 0.4, ""]}
    names = {
        "all parts": "paper, sums",
        "all parts, gold trained on": "paper, sums, gold trained on",
        "noisy + gold (`left-atrium`)": GOLD,
    }
    for name, dsc, *_ in rows:
        assert dsc == f"{held[names.get(name, name)][0] / 100:.3f}", name


def test_the_table_of_acdc():
    text, records = PAIRS.read_text(encoding="utf-8"), scores("acdc-pairs")
    header, _, *rows = table(text, "ACDC, seeds 0; 1; 2: test DSC")
    means = {}
    for place, (column, key) in enumerate(zip(header[1:], conditions(header[1:]), strict=True)):
        held = records[key]
        gained = [held["calibrated"][seed] - held[GOLD][seed] for seed in (0, 1, 2)]
        means[column] = fmean(gained)
        for name, *cells in rows:
            known = [f"{value / 100:.3f}" for _, value in sorted(held.get(name, {}).items())]
            gains = ", ".join(f"{gain:+.1f}" for gain in gained)
            assert cells[place] == (gains if name == "gain by seed" else "; ".join(known)), (name, column)
    assert f"{-means['paper 40 %']:.1f} points behind in the mean of three" in text
    assert f"No noise: {means['no noise']:.1f} ahead in the mean of three" in text
    limit = fmean(records["paper", 0.0, ""][GOLD].values())
    ways = [
        100 * means[f"{noise} 40 %"] / (limit - fmean(records[noise, 0.4, ""][GOLD].values()))
        for noise in ("over", "under")
    ]
    assert f"That is {ways[0]:.0f} % (over) and {ways[1]:.0f} % (under) of the way" in text


def test_the_table_of_directions():
    header, _, *rows = table(PAIRS.read_text(encoding="utf-8"), "left atrium, seeds 0; 1; 2, one machine")
    held = scores("left-atrium-directions")
    for row, (name, *cells) in zip(("calibrated", "directions in full"), rows, strict=False):
        assert name == f"test DSC, {row}"
        for key, cell in zip(conditions(header[1:]), cells, strict=True):
            assert cell == "; ".join(f"{value / 100:.3f}" for _, value in sorted(held[key][row].items()))


def test_the_table_of_simulated_directions():
    """Six pairs on each set, then two and twenty, means of the sets."""
    held = json.loads((ROOT / "results/directions.json").read_bytes())["sets"]
    _, _, *rows = table(PAIRS.read_text(encoding="utf-8"), "in full; shrunk")
    assert len(rows) == len(held["acdc"])
    for name, *cells in rows:
        found = [of_set[name]["6"] for of_set in held.values()]
        for pairs in ("2", "20"):
            each = [of_set[name][pairs] for of_set in held.values()]
            found.append({way: fmean(values[way] for values in each) for way in each[0]})
        assert cells == [f"{values['in full']:.2f}; {values['shrunk']:.2f}" for values in found], name


def test_the_tables_of_other_networks():
    text = (ROOT / "docs/results/systems.md").read_text(encoding="utf-8")
    for noise, ends in (("over", ("", "-more")), ("paper", ("-paper",))):
        every = [scores(f"left-atrium-backbones{end}")[noise, 0.4, ""] for end in ends]
        held = {row: found for each in every for row, found in each.items()}
        _, _, *rows = table(text, f"test DSC, {noise} 40 %")
        assert len(rows) == len(held) // 2
        for name, plain, ours, gain in rows:
            found = [held[f"{row}, {name}"][0] for row in (GOLD, "calibrated")]
            assert [plain, ours] == [f"{value / 100:.3f}" for value in found]
            assert gain == f"{found[1] - found[0]:+.1f}"
    external = scores("left-atrium-pairs")["over", 0.4, ""]["nnU-Net, small plan"][0]
    name = "nnU-Net, small plan"
    polyps = scores("kvasir-seg-systems")["paper", 0.4, ""][name][0]
    assert f"| test DSC | {external / 100:.3f} | {polyps / 100:.3f} |" in text


def test_the_table_of_brats():
    _, _, *rows = table((ROOT / "docs/results/systems.md").read_text(encoding="utf-8"), "BraTS 2015, seed 0")
    place = ROOT / "results/brats2015-systems/scores-brats2015-gold-5-of-slices.csv"
    with place.open(encoding="utf-8", newline="") as file:
        held = {line["row"]: line for line in csv.DictReader(file)}
    names = {"DSC": "{:.3f}", "IoU": "{:.3f}", "HD (mm)": "{:.1f}"}
    for row, *cells in rows:
        assert cells == [
            form.format(float(held[row][f"paper-centred 50 %: {n}"])) for n, form in names.items()
        ]
    assert {row for row, *_ in rows} == held.keys()


def test_the_table_of_msd_heart():
    _, _, *rows = table((ROOT / "docs/results/systems.md").read_text(encoding="utf-8"), "test DSC by volume")
    held: dict[str, list[list[float]]] = {}
    for volume in ("005", "016", "030"):
        place = ROOT / f"results/msd-heart-systems/scores-msd-heart-{volume}.csv"
        with place.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                if line["remark"] != "the paper's":
                    found = [float(line[f"paper-centred 40 %: {name}"]) for name in ("DSC", "IoU", "HD (mm)")]
                    held.setdefault(line["row"], []).append(found)
    assert {name for name, *_ in rows} == held.keys()
    for name, *cells in rows:
        means = [fmean(column) for column in zip(*held[name], strict=True)]
        dsc = [f"{each:.3f}" for each, *_ in held[name]]
        assert cells == [*dsc, f"{means[0]:.3f}", f"{means[1]:.3f}", f"{means[2]:.1f}"], name


def test_both_summaries_have_the_gains_of_the_page_of_pairs():
    rows = [line for line in PAIRS.read_text(encoding="utf-8").splitlines() if line.startswith("| gain")]
    whole = [cell.split(" ± ")[0].strip() for cell in rows[0].strip("| ").split("|")[1:]]
    means = [
        f"{fmean(map(float, cell.split(','))):+.1f}"
        for cell in rows[2].strip("| ").split("|")[1:]
        if cell.strip()
    ]
    over, under, paper, more, none = (f"**{value}**" for value in whole)
    page = (ROOT / "docs/results/README.md").read_text(encoding="utf-8").replace("\n", " ")
    told = f"too large 40 %: {over}; too small: {under}; random: {paper}, at 60 % {more}; none: {none.strip('*')}."
    assert told in page
    assert f"Kvasir-SEG: {', '.join(means)}." in page.replace("*", "")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"it gains {', '.join(means[:-1])} and {means[-1]}." in readme
    _, _, (_, *cells) = table(readme, "left atrium (MR), 6 gold slices")
    assert [cell.strip("*").split(" ± ")[0] for cell in cells] == whole


SYSTEMS = {  # heading of a table: folder and set of its records
    "left atrium, seed 0": ("left-atrium-systems", "left-atrium"),
    "Kvasir-SEG, seed 0": ("kvasir-seg-systems", "kvasir-seg"),
}
OF_SYSTEMS = {  # column: columns of the records, and how a value is shown
    "DSC": ("paper 40 %: DSC", "{:.3f}"),
    "IoU": ("paper 40 %: IoU", "{:.3f}"),
    "HD (px)": ("paper 40 %: HD (px)", "{:.1f}"),
    "no noise: DSC": ("no noise: DSC", "{:.3f}"),
}


def of_systems(folder: str, name: str) -> dict[str, list[str]]:
    """Return the cells of a table of systems by row, those of the first column of numbers descending."""
    place = ROOT / "results" / folder
    with (place / f"scores-{name}.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    with (place / f"cost-{name}.csv").open(encoding="utf-8", newline="") as file:
        costs = {line["row"]: line for line in csv.DictReader(file) if line["parameters (M)"]}
    printed = {
        line["row"]: line["paper 40 %: DSC paper"] for line in lines if line["remark"] == "the paper's"
    }
    others = ("the paper's", "another pipeline")
    own = [line for line in lines if not line["remark"].startswith(others) and line["paper 40 %: DSC"]]
    found = {}
    for line in sorted(own, key=lambda line: -float(line["paper 40 %: DSC"])):
        shown = [
            form.format(float(line[column])) if line.get(column) else ""
            for column, form in OF_SYSTEMS.values()
            if column in line
        ]
        cost = costs[line["row"]]
        called = line["row"].partition(",")[0].removesuffix(" + gold")
        theirs = line["paper 40 %: DSC paper"] or printed.get(called)
        about = [f"{float(cost['parameters (M)']):.2f}", f"{float(cost['passes of a step']):.1f}"]
        found[line["row"]] = [*shown, *about, f"*{float(theirs):.3f}*" if theirs else ""]
    return found


@pytest.mark.parametrize("heading", SYSTEMS)
def test_the_tables_of_all_systems(heading):
    text = (ROOT / "docs/results/systems.md").read_text(encoding="utf-8")
    _, _, *rows = table(text, heading)
    assert {row: cells for row, *cells in rows} == of_systems(*SYSTEMS[heading])


def test_the_table_of_parts():
    text = PAIRS.read_text(encoding="utf-8")
    header, _, *rows = table(text, "test DSC; wrong pixels")
    with (ROOT / "results/left-atrium-parts/detection.csv").open(encoding="utf-8", newline="") as file:
        areas = {(line["row"], line["under"].split(", ")[1]): line for line in csv.DictReader(file)}
    names = {
        "table alone": "table alone",
        "shares": "shares not matched",
        "without": "without DCD",
        "with": "with meta evidence",
    }
    for place, key in enumerate(conditions(header[1:])):
        held = scores("left-atrium-parts")[key]
        for name, *cells in rows[1:]:
            row = next(held_name for start, held_name in names.items() if name.startswith(start))
            area = float(areas[row, header[1 + place]]["by weight (AUROC)"])
            assert cells[place] == f"{held[row][0] / 100:.3f}; {area:.3f}", (name, key)
        whole = scores("left-atrium-pairs")[key]["calibrated"][0] / 100
        assert rows[0][1 + place].startswith(f"{whole:.3f}; ")


def test_the_table_of_real_raters():
    text = PAIRS.read_text(encoding="utf-8")
    header, _, *rows = table(text[text.index("## Masks of real raters") :], "test DSC")
    for place, column in enumerate(header[1:]):
        name = column.removeprefix("rater that ").replace(" ", "-")
        with (ROOT / "results/brain-raters/values.csv").open(encoding="utf-8", newline="") as file:
            lines = [line for line in csv.DictReader(file) if line["set"] == name and line["metric"] == "dsc"]
        held = {line["row"]: [float(pair.split(":")[1]) for pair in line["values"].split()] for line in lines}
        for row, *cells in rows:
            assert len(held[row]) == 3
            assert cells[place] == f"{fmean(held[row]):.3f} ± {stdev(held[row]):.3f}", (row, column)


AUDITS = {  # as the page names a row: what the records hold
    "wrong pixels": ("detection", "wrong_pixels"),
    "AUROC, **audit**": ("detection", "auroc"),
    "AUROC, disagreement": ("detection", "baselines", "disagreement", "auroc"),
    "AUROC, cleanlab's pixels": ("cleanlab", "pixels", "auroc"),
    "AUROC, pairs alone": ("detection", "baselines", "pairs alone", "auroc"),
    "AUROC, given foreground": ("detection", "baselines", "given foreground", "auroc"),
    "AUROC, near the outline": ("detection", "baselines", "near the outline", "auroc"),
    "average precision, **audit**": ("detection", "average_precision"),
    "average precision, disagreement": ("detection", "baselines", "disagreement", "average_precision"),
    "average precision, cleanlab's pixels": ("cleanlab", "pixels", "average_precision"),
    "average precision, pairs alone": ("detection", "baselines", "pairs alone", "average_precision"),
    "average precision, given foreground": (
        "detection",
        "baselines",
        "given foreground",
        "average_precision",
    ),
    "average precision, near the outline": (
        "detection",
        "baselines",
        "near the outline",
        "average_precision",
    ),
    "precision at 0.7": ("detection", "precision"),
    "recall at 0.7": ("detection", "recall"),
    "precision of cleanlab's issues": ("cleanlab", "precision"),
    "precision of as many, **audit**": ("cleanlab", "ours, as many", "precision"),
    "recall of cleanlab's issues": ("cleanlab", "recall"),
    "recall of as many, **audit**": ("cleanlab", "ours, as many", "recall"),
    **{
        f"DSC by {unit}, {level}": (f"{unit}s", "dsc", level)
        for unit in ("slice", "case")
        for level in ("given", "sure", "balanced", "network")
    },
    "ranking of slices, **audit**": ("slices", "ranking"),
    "ranking of slices, cleanlab": ("cleanlab", "ranking"),
    "correlation by case": ("cases", "correlation"),
    "expected DSC by case": ("cases", "expected_dsc"),
}
COUNTS = {
    "slices worse (sure)": ("slices", "worse", "sure"),
    "slices worse (balanced)": ("slices", "worse", "balanced"),
    "cases worse (balanced)": ("cases", "worse", "balanced"),
    "slices flagged": ("slices", "flagged"),
    "cases flagged": ("cases", "flagged"),
}


def at(record, place):
    for key in place:
        record = record[key]
    return record


def audit_cell(name: str, runs: list[dict]) -> str:
    """Return the mean of some runs, or the sum of a count with of how many."""
    if name == "seeds":
        return ", ".join(str(run["seed"]) for run in runs)
    if name in COUNTS:
        counts = [at(run, (COUNTS[name][0], "count")) for run in runs]
        return f"{sum(at(run, COUNTS[name]) for run in runs)} of {sum(counts)}"
    values = [at(run, AUDITS[name]) for run in runs]
    return "–" if None in values else f"{fmean(values):.3f}"


def audited(column: str) -> list[dict]:
    """Return the runs of a column such as `left atrium, over 40 %`, by seed."""
    name, noise = column.split(", ")
    folder = {"left atrium": "left-atrium", "Kvasir-SEG": "kvasir-seg", "ACDC": "acdc"}[name]
    kind, _, rate = noise.removesuffix(" %").partition(" ")
    key = "clean" if noise == "no noise" else f"{kind}-{int(rate) / 100:g}"
    runs = json.loads((ROOT / "results/audit.json").read_text(encoding="utf-8"))["runs"]
    return [run for run in runs if (run["set"], run["noise"]) == (folder, key)]


def test_the_tables_of_audits():
    page = (ROOT / "docs/results/audit.md").read_text(encoding="utf-8")
    shown = 0
    for name in ("left atrium", "Kvasir-SEG", "ACDC"):
        header, _, *rows = table(page, f"{name}, mean over seeds")
        assert [row for row, *_ in rows] == ["seeds", *AUDITS, *COUNTS]
        for column, *cells in zip(header[1:], *(cells for _, *cells in rows), strict=True):
            runs = audited(f"{name}, {column}")
            assert runs, column
            shown += len(runs)
            for (row, *_), cell in zip(rows, cells, strict=True):
                assert cell.strip("*") == audit_cell(row, runs), (row, column)
    (clean,) = (run for run in audited("left atrium, no noise") if run["seed"] == 0)
    assert f"cleanlab calls {clean['cleanlab']['issues']:,} pixels issues".replace(",", " ") in page
    runs = json.loads((ROOT / "results/audit.json").read_text())["runs"]
    assert shown == len(runs)
    noisy = [run["detection"] for run in runs if run["noise"] != "clean"]
    above = sum(found["auroc"] > found["baselines"]["disagreement"]["auroc"] for found in noisy)
    assert f"AUROC in {above} of {len(noisy)} runs" in page


def test_the_cost_of_audits():
    held = json.loads((ROOT / "results/audit-cost.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/results/audit.md").read_text(encoding="utf-8")
    _, _, *rows = table(page, f"{held['images']} images")
    spent = sum(held["cleanlab"]["seconds"].values())
    assert rows == [
        [
            "processor time, s",
            f"{held['ours']['seconds']:.1f}",
            f"{spent:.1f}",
            f"{held['ratio']['seconds']:.2f}",
        ],
        [
            "peak memory, MB",
            str(held["ours"]["peak_mb"]),
            str(held["cleanlab"]["peak_mb"]),
            f"{held['ratio']['peak']:.2f}",
        ],
    ]
    (few, before), (many, after) = held["iterator"]["held_mb"].items()
    told = (
        f"{before} MB after {int(few):,} images of 32 x 32 from an iterator, {after} MB after {int(many):,}"
    )
    assert told.replace(",0", " 0") in page


def test_the_table_of_folds():
    held = {run["noise"]: run for run in json.loads((ROOT / "results/audit-folds.json").read_text())["runs"]}
    page = (ROOT / "docs/results/audit.md").read_text(encoding="utf-8")
    header, _, *rows = table(page, "left atrium, seed 0")
    assert len(header) == 5
    names = {"AUROC, **audit**": "auroc", "AUROC, disagreement": "disagreement"}
    for name, *cells in rows:
        key = names.get(name, name.split(", ")[-1])
        key = "average_precision" if name.startswith("average precision") else key
        sides = [
            held[noise][which] for noise in ("over-0.4", "paper-0.4") for which in ("own", "out_of_fold")
        ]
        assert cells == [f"{side[key]:.3f}" for side in sides], name


def test_the_table_of_the_loop():
    held = json.loads((ROOT / "results/audit-loop.json").read_text(encoding="utf-8"))["runs"]
    over, paper, _ = runs = [
        next(run for run in held if (run["noise"], run["seed"]) == key)
        for key in (("over-0.4", 0), ("paper-0.4", 0), ("paper-0.4", 1))
    ]
    page = (ROOT / "docs/results/audit.md").read_text(encoding="utf-8")
    _, _, *rows = table(page, "left atrium | over 40 %, seed 0: given")
    expected: list[list[str]] = [[] for _ in rows]
    for run in runs:
        before, after = run["before"], run["after"]
        pairs = [(before["audited"], after["calibrated"]), (before["supervised"], after["supervised"])]
        cells = [[part["given"], part["sure"]] for part in (run["training_masks"], run["twins"])]
        cells += [[side[key] for side in pair] for pair in pairs for key in ("val_dsc", "dsc")]
        for row, values in zip(expected, cells, strict=True):
            row += [f"{value:.3f}" for value in values]
    assert [cells for _, *cells in rows] == expected
    gains = [
        [run["after"][method]["dsc"] - run["before"][before]["dsc"] for run in runs]
        for method, before in (("calibrated", "audited"), ("supervised", "supervised"))
    ]
    assert "gains nothing that shows:** {:.3f}, {:.3f} and {:.3f} on test".format(*gains[0]) in page
    assert "training gains {:.3f}, {:.3f} and {:.3f} on test**".format(*gains[1]) in page
    by = [part["sure"] - part["given"] for run in runs for part in (run["twins"], run["training_masks"])]
    told = f"by {by[0]:.3f}, training masks by\n  {by[1]:.3f}. Under the paper's noise, seed 0, it is {by[2]:.3f} and"
    assert f"{told} {by[3]:.3f}" in page
    changed = [(run["sets"]["changed"], run["sets"]["pairs_changed"]) for run in (over, paper)]
    assert (
        "All {} training slices and {} pairs changed (paper: {} and {})".format(*changed[0], *changed[1])
        in page
    )
