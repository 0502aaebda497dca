"""The page: complete, self-contained, honest, and not to be broken by what names hold or what is missing."""

import base64
import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.unit.report.html_page import Page

from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.data.synthetic.phantom import PhantomOptions, phantom_cases
from metadcseg.errors import InputError
from metadcseg.report.page import build_page
from metadcseg.results.records import paired_difference, read_runs

HOSTILE = "<script>alert('x')</script>\"onload=\"x & $\\frac$"
METRICS = ("dsc", "iou", "hd", "hd95", "nsd")
NOISE = {"target": 0.4, "rate": 0.4071, "sd": 0.2, "scale": 1.3, "seed": 5, "vanished": 2, "model": "over"}


def write_set(folder, hostile="phantom-hostile", noise=NOISE):
    """A set of 16 cases, five of them test cases, the first of which has a name of our choice."""
    cases = list(phantom_cases(PhantomOptions(count=16, size=24), gold=2, val=2, test=5))
    with SetWriter(folder, name="tiny", classes=("background", "organ"), channels=1, noise=noise) as writer:
        for number, case in enumerate(cases):
            given = np.roll(case.mask, number, axis=1) if case.role == "train" else case.mask
            name = hostile if number == 0 else case.id
            writer.add(id=name, role=case.role, group="", image=case.image, label=given, truth=case.mask)
    return PreparedSet.open(folder)


def write_run(folder, prepared, label, shift, *, gold=False, method="supervised", seed=0, epochs=3):
    """A run whose predictions are the reference moved by ``shift`` pixels."""
    (folder / "evaluation" / "test").mkdir(parents=True)
    declaration = {
        "needs_gold": gold,
        "supervises_gold": gold,
        "labels": "given",
        "networks": 1,
        "passes": 3.0,
    }
    info = {
        "method": method,
        "label": label,
        "seed": seed,
        "set": {"fingerprint": prepared.fingerprint},
        "declaration": declaration,
        "parameters": 1_234_000,
        "seconds": 61.6,
        "versions": {"metadcseg": "0.1.0"},
    }
    (folder / "run.json").write_text(json.dumps(info))
    lines = [
        {
            "kind": "epoch",
            "epoch": n,
            "train": {"loss": 1.0 / (n + 1)},
            "val": {"dsc": 0.1 * n} if n else None,
        }
        for n in range(epochs)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows, predictions = [], {}
    for case in prepared.select("test"):
        truth = prepared.truth(case)
        mask = np.roll(truth, shift, axis=0)
        dsc = float(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
        rows.append({"row": case.row, "id": case.id, **dict.fromkeys(METRICS, dsc)})
        predictions[case.id] = f"test/{case.row:04d}.png"
        Image.fromarray(mask * 255).save(folder / "evaluation" / predictions[case.id])
    with (folder / "evaluation" / "test.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    values = [row["dsc"] for row in rows]
    spread = {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)), "n": len(values)}
    record = {"summary": dict.fromkeys(METRICS, spread), "empty_predictions": 7, "predictions": predictions}
    (folder / "evaluation" / "test.json").write_text(json.dumps(record))
    return folder


def add_figures(run, *names):
    (run / "figures").mkdir()
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(run / "figures" / name)


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """A set with a hostile id, three runs with a hostile name among them, and their page."""
    root = tmp_path_factory.mktemp("story")
    prepared = write_set(root / "set", HOSTILE)
    runs = [
        write_run(root / "a", prepared, "noisy only", 4),
        write_run(root / "b", prepared, "noisy + gold", 2, gold=True),
        write_run(root / "c", prepared, f"metadcseg {HOSTILE}", 1, gold=True, method="metadcseg"),
    ]
    add_figures(runs[2], "epoch_002.png", "epoch_010.png")
    out = build_page(runs, root / "set", root / "pages" / "index.html", HOSTILE, commands=["metadcseg x <y>"])
    return root, runs, out, Page(out)


def test_the_page_loads_nothing_from_elsewhere(story):
    page = story[3]
    links = [link for name in ("src", "href", "srcset", "data", "action") for link in page.attributes(name)]
    assert links
    assert all(link.startswith("data:image/") for link in links)
    assert {"script", "link", "iframe", "object", "base"}.isdisjoint(tag for tag, _ in page.tags)
    assert "url(" not in story[2].read_text()
    assert "http://" not in story[2].read_text()
    assert "https://" not in story[2].read_text()
    policy = [attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_kind_of_noise_is_told(story):
    assert "<dt><bdi>noise, model</bdi></dt><dd><bdi>over</bdi></dd>" in story[2].read_text()


def test_every_image_opens_and_says_what_it_shows(story):
    images = story[3].images()
    assert len(images) == 2 + 4 + 4 * 4 + 1  # curves, noise, four cases with three runs, weight maps
    for image in images:
        assert len(image["alt"]) > 10
        content = base64.b64decode(image["src"].partition(",")[2], validate=True)
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()


def test_hostile_names_are_text_and_nothing_else(story):
    page = story[3]
    assert "<script>" not in story[2].read_text()
    assert not page.attributes("onload")
    assert " ".join(HOSTILE.split()) in page.text
    assert "metadcseg x <y>" in page.text


def test_the_headline_counts_cases_and_names_the_noise_reached(story):
    text = story[3].text
    assert "Three networks were trained on 7 cases" in text
    assert "on average 40.7% wrong (1 − DSC to the true mask), where 40% was asked for" in text
    assert "2 more cases have verified masks (gold)" in text
    assert "the same 5 test cases" in text


def test_rows_stand_in_the_order_of_their_dsc_whatever_it_is(story):
    _, runs, _, page = story
    records = read_runs(runs)
    means = [record.spread("dsc")[0] for record in records]
    assert means == sorted(means), "the helper must make later runs better"
    text = page.text
    best, middle, last = (f"{mean:.3f}" for mean in reversed(means))
    assert text.index(best) < text.index(middle) < text.index(last)
    assert (
        text.index("By mean DSC: metadcseg") < text.index("then noisy + gold") < text.index("then noisy only")
    )


def test_a_ranking_that_the_method_loses_is_printed_too(tmp_path):
    prepared = write_set(tmp_path / "set")
    runs = [
        write_run(tmp_path / "m", prepared, "metadcseg", 5, gold=True, method="metadcseg"),
        write_run(tmp_path / "b", prepared, "noisy + gold", 0, gold=True),
    ]
    text = Page(build_page(runs, tmp_path / "set", tmp_path / "page.html", "lost")).text
    assert "By mean DSC: noisy + gold (1.000), then metadcseg" in text
    assert "metadcseg minus noisy + gold: −" in text
    assert "better in 0, worse in 5" in text


def test_spread_seed_and_declarations_stand_beside_the_scores(story):
    text = story[3].text
    assert "One seed: differences within the spread mean nothing" in text
    assert "read and trained on" in text
    assert "none" in text
    assert "1.23 M" in text
    assert "62" in text
    mean, sd = read_runs(story[1])[1].spread("dsc")
    assert f"{mean:.3f} ± {sd:.3f}" in text


def test_differences_are_paired_by_case(story):
    _, runs, _, page = story
    records = read_runs(runs)
    one, base = records[2].cases, records[1].cases
    values = [one[case].dsc - base[case].dsc for case in one]
    found = paired_difference(records[2], records[1])
    assert found.mean == pytest.approx(np.mean(values))
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert found.sd < records[2].spread("dsc")[1] + records[1].spread("dsc")[1]
    assert f"+{found.mean:.3f} ± {found.sd:.3f} DSC over 5 paired cases" in page.text


def test_without_an_equal_gold_baseline_the_page_says_so(tmp_path):
    prepared = write_set(tmp_path / "set")
    run = write_run(tmp_path / "run", prepared, "metadcseg", 1, gold=True, method="metadcseg")
    text = Page(build_page([run], tmp_path / "set", tmp_path / "page.html", "alone")).text
    assert "No scored run is plainly supervised with the gold masks mixed in" in text
    assert "One network was trained" in text


def test_examples_run_from_the_worst_to_the_best_case_of_the_first_run(story):
    root, runs, out, _ = story
    text = Page(build_page(runs, root / "set", out.with_name("two.html"), "t", example_cases=2)).text
    cases = read_runs(runs)[0].cases
    ranked = sorted(cases, key=lambda case: (cases[case].dsc, case))
    worst, best = (" ".join(ranked[place].split()) for place in (0, -1))
    assert f"{worst} (worst)" in text
    assert f"{best} (best)" in text
    assert "from the worst)" not in text


def test_the_last_figure_is_the_one_shown(story):
    page = story[3]
    expected = (story[1][2] / "figures" / "epoch_010.png").read_bytes()
    assert "data:image/png;base64," + base64.b64encode(expected).decode() in page.attributes("src")
    assert "epoch_010" in page.text
    assert "epoch_002" not in page.text


def test_figures_are_ordered_by_number(tmp_path):
    prepared = write_set(tmp_path / "set")
    run = write_run(tmp_path / "run", prepared, "x", 1)
    add_figures(run, "epoch_1000.png", "epoch_999.png")
    assert read_runs([run])[0].figure.name == "epoch_1000.png"


def test_missing_pieces_become_sentences(tmp_path):
    prepared = write_set(tmp_path / "set")
    whole = write_run(tmp_path / "whole", prepared, "whole", 1, gold=True)
    add_figures(whole, "epoch_001.png")
    (whole / "figures" / "epoch_001.png").write_bytes(b"not a picture")
    cut = write_run(tmp_path / "cut", prepared, "cut", 1)
    (cut / "evaluation" / "test" / "0000.png").write_bytes(b"\x89PNG cut")
    (cut / "metrics.jsonl").write_text('{"kind": "epoch", "epoch": 0, "train": {"loss": 1}}\n{"kind": "epo')
    (cut / "evaluation" / "test.csv").write_text("id,dsc\nphantom-0001,0.5\nphantom-0002,nan\nphantom-0003\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    runs = [empty, whole, cut, tmp_path / "nowhere"]
    text = Page(build_page(runs, tmp_path / "set", tmp_path / "page.html", "holes", example_cases=5)).text
    for sentence in (
        f"{empty / 'run.json'} does not exist.",
        f"{empty / 'metrics.jsonl'} cannot be read",
        f"{empty / 'evaluation' / 'test.json'} does not exist.",
        f"{tmp_path / 'nowhere' / 'run.json'} does not exist.",
        "epoch_001.png is not a PNG file",
        "lines that are not records were left out (1)",
        "lines without id and DSC were left out (2)",
        "not all scored on the same cases",
    ):
        assert sentence in text
    assert "no picture" in text
    assert "no score" in text


def test_nothing_but_an_empty_folder(tmp_path):
    (tmp_path / "run").mkdir()
    text = Page(build_page([tmp_path / "run"], tmp_path / "set", tmp_path / "page.html", "bare")).text
    assert "is not a prepared set" in text
    assert "No run has been scored on the test cases yet." in text
    assert "No run has recorded a whole epoch yet." in text
    assert "No run has left a picture of its samples." in text


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("run.json", "[]"),
        ("run.json", '{"declaration": 3, "versions": [], "seconds": "long", "set": null, "label": 7}'),
        ("evaluation/test.json", '{"summary": {"dsc": null, "iou": 3}, "predictions": ["a"], "notes": 5}'),
        ("evaluation/test.csv", ""),
        (
            "metrics.jsonl",
            '[]\n3\n{"kind": "epoch", "epoch": null}\n{"kind": "epoch", "epoch": 1, "val": 4}\n',
        ),
    ],
)
def test_odd_records_do_not_break_it(tmp_path, file, content):
    prepared = write_set(tmp_path / "set")
    run = write_run(tmp_path / "run", prepared, "x", 1)
    (run / file).write_text(content)
    assert build_page([run], tmp_path / "set", tmp_path / "page.html", "odd").stat().st_size > 10_000


def test_a_mask_outside_the_run_is_not_read(tmp_path):
    prepared = write_set(tmp_path / "set")
    run = write_run(tmp_path / "run", prepared, "x", 1)
    record = json.loads((run / "evaluation" / "test.json").read_text())
    record["predictions"] = dict.fromkeys(record["predictions"], "../../secret.png")
    (run / "evaluation" / "test.json").write_text(json.dumps(record))
    Image.new("L", (24, 24)).save(tmp_path / "secret.png")
    assert all(case.prediction is None for case in read_runs([run])[0].cases.values())


def test_a_run_on_another_set_is_named(tmp_path):
    prepared = write_set(tmp_path / "set")
    write_set(tmp_path / "other", noise=None)
    run = write_run(tmp_path / "run", prepared, "stray", 1)
    text = Page(build_page([run], tmp_path / "other", tmp_path / "page.html", "other")).text
    assert f"stray was trained on another set than {tmp_path / 'other'}." in text
    assert "with their masks as given" in text


def test_runs_of_one_label_are_told_apart(tmp_path):
    prepared = write_set(tmp_path / "set")
    runs = [
        write_run(tmp_path / name, prepared, "x", 1, seed=seed)
        for name, seed in (("a", 0), ("b", 1), ("c", 1))
    ]
    names = [run.name for run in read_runs(runs)]
    assert names == ["x, seed 0", f"x, seed 1 ({runs[1]})", f"x, seed 1 ({runs[2]})"]
    text = Page(build_page(runs, tmp_path / "set", tmp_path / "page.html", "seeds")).text
    assert "At least 2 seeds per method" in text


def test_a_repeated_epoch_counts_as_it_was_written_last(tmp_path):
    prepared = write_set(tmp_path / "set")
    run = write_run(tmp_path / "run", prepared, "x", 1, epochs=2)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "epoch", "epoch": 1, "train": {"loss": 0.125}}) + "\n")
    epochs = read_runs([run])[0].epochs
    assert [(entry["epoch"], entry["train"]["loss"]) for entry in epochs] == [(0, 1.0), (1, 0.125)]


def test_the_same_records_give_the_same_page(story):
    root, runs, out, _ = story
    again = build_page(runs, root / "set", out.with_name("again.html"), HOSTILE, commands=["metadcseg x <y>"])
    assert again.read_bytes() == out.read_bytes()


def test_several_classes_and_colors(tmp_path):
    cases = list(phantom_cases(PhantomOptions(count=6, size=32, classes=3), gold=1, val=1, test=2))
    with SetWriter(tmp_path / "set", name="rgb", classes=("background", "a", "b"), channels=3) as writer:
        for case in cases:
            image = np.repeat(case.image, 3, axis=2).astype(np.uint16) * 100
            writer.add(id=case.id, role=case.role, group="", image=image, label=case.mask)
    prepared = PreparedSet.open(tmp_path / "set")
    run = tmp_path / "run"
    (run / "evaluation" / "test").mkdir(parents=True)
    (run / "run.json").write_text('{"label": "x"}')
    rows = []
    for case in prepared.select("test"):
        Image.fromarray(prepared.label(case)).save(run / "evaluation" / "test" / f"{case.row}.png")
        rows.append(f"{case.id},1.0,test/{case.row}.png\n")
    (run / "evaluation" / "test.csv").write_text("id,dsc,prediction\n" + "".join(rows))
    (run / "evaluation" / "test.json").write_text('{"summary": {"dsc": {"mean": 1, "sd": null, "n": 2}}}')
    page = Page(build_page([run], tmp_path / "set", tmp_path / "page.html", "classes"))
    assert len(page.images()) == 4
    assert "no picture" not in page.text


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(InputError, match="needs at least one run"):
        build_page([], tmp_path, tmp_path / "page.html", "none")


def test_a_page_that_cannot_be_written_is_an_error(tmp_path):
    prepared = write_set(tmp_path / "set")
    run = write_run(tmp_path / "run", prepared, "x", 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        build_page([run], tmp_path / "set", tmp_path / "file" / "page.html", "blocked")


def test_torch_and_pyplot_are_not_imported():
    code = (
        "import sys, metadcseg.report.page; sys.exit(bool({'torch', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code], cwd=root / "src", check=True)
