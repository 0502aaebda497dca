"""Files of a report: complete, escaped in every format, never broken by what is missing, damaged or hostile."""

import csv
import io
import json
import re
import shutil
import subprocess

import pytest
from PIL import Image
from tests.unit.report.folders import Folder, made_scores, task, write_full
from tests.unit.report.html_page import Page

from metadcseg.csv_files import csv_text
from metadcseg.errors import InputError
from metadcseg.report.build import write_report
from metadcseg.report.render_latex import latex_text
from metadcseg.report.render_markdown import markdown_text

HOSTILE = "<script>alert('x')</script>\"onload=\"x|y & $\\frac$ %_{#}~^ [a](b) `c` *d* =1"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The report of a benchmark that has everything, with hostile names in it."""
    root = tmp_path_factory.mktemp("whole")
    folder = write_full(root / "bench", HOSTILE, sets=("msd-heart",), cases=6)
    record, report = write_report(folder, root / "out", cases=2)
    return root, record, report, Page(root / "out" / "index.html")


def test_every_section_is_there(whole):
    assert [section.key for section in whole[2].sections] == [
        *("scores", "parts", "gold", "cases", "weights", "folds", "curves", "cost")
    ]
    headings = whole[3].text
    named = (*("table 5", "table 6", "table 7", "figure 3"), *("figure 4", "figure 5", "Learning curves"))
    for part in ("tables 1 to 4", *named):
        assert part in headings


def test_the_page_loads_nothing_and_runs_nothing(whole):
    tags = whole[3].tags
    names = ("src", "srcset", "data", "action")
    links = [attrs[name] for _, attrs in tags for name in names if name in attrs]
    assert links
    assert all(link.startswith("data:image/") for link in links)
    assert all(attrs["href"].startswith("#") for _, attrs in tags if "href" in attrs)
    assert {"script", "link", "iframe", "object", "base"}.isdisjoint(tag for tag, _ in tags)
    assert not any(name.startswith("on") for _, attrs in tags for name in attrs)


def test_links_inside_the_page_lead_somewhere(whole):
    tags = whole[3].tags
    ids = {attrs["id"] for _, attrs in tags if "id" in attrs}
    assert {attrs["href"][1:] for _, attrs in tags if "href" in attrs} <= ids


def test_hostile_names_are_text_on_the_page(whole):
    assert "l2b" + " ".join(HOSTILE.split()) in whole[3].text


def test_every_picture_says_what_it_shows(whole):
    pictures = [attrs for tag, attrs in whole[3].tags if tag == "img"]
    assert len(pictures) > 20
    assert all(attrs["alt"].strip() for attrs in pictures)


def test_failures_are_named_with_their_sentence(whole):
    assert "the disk is full" in whole[3].text
    assert "its gold is another than that of" in whole[3].text


def test_markdown_shows_its_figures_and_escapes_names(whole):
    out = whole[0] / "out"
    text = (out / "report.md").read_text(encoding="utf-8")
    links = re.findall(r"(?<!\\)\]\((figures/[^)]+)\)", text)
    assert len(links) == len(set(links)) > 8
    for link in links:
        with Image.open(out / link) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 50
    assert not re.search(r"(?<!\\)<", text)
    assert "\\<script\\>" in text
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    assert tables
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_every_table_is_there_as_csv_and_latex(whole):
    out, report = whole[0] / "out", whole[2]
    assert len({table.key for table in report.tables()}) == len(report.tables()) > 8
    for table in report.tables():
        rows = list(csv.reader(io.StringIO((out / "tables" / f"{table.key}.csv").read_text("utf-8"))))
        assert len(rows) == len(table.rows) + 1
        assert len({len(row) for row in rows}) == 1
        tex = (out / "tables" / f"{table.key}.tex").read_text("utf-8")
        columns = 1 + len(table.columns)
        body = [line for line in tex.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in body} == {columns}
        assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == tex.count(r"\toprule") == 1
        unescaped = re.sub(r"\\[%$#&_{}]|\$\\[A-Za-z]+\$|\$-\$", "", tex.split("\n", 2)[2].partition("% ")[0])
        assert not re.search(r"[#$~^<>|]", unescaped)


@pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="no pdflatex is installed (texlive-latex-recommended)"
)
def test_latex_sets_every_table(whole, tmp_path):
    tables = [file.read_text("utf-8") for file in sorted((whole[0] / "out" / "tables").glob("*.tex"))]
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,amssymb,textcomp}\begin{document}"
    (tmp_path / "all.tex").write_text("\n\n".join([head, *tables, r"\end{document}"]), encoding="utf-8")
    words = ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]


def test_best_and_paper_are_marked_in_every_format(whole):
    out = whole[0] / "out" / "tables"
    tex = (out / "scores-msd-heart.tex").read_text("utf-8")
    assert r"\textbf{" in tex
    assert r"\textit{0.9487 $\pm$ 0.0065}" in tex
    text = (whole[0] / "out" / "report.md").read_text("utf-8")
    assert "*(paper: 0.9487 ± 0.0065)*" in text
    assert re.search(r"\*\*0\.\d{3}\*\*", text)
    assert "paper: 0.9487 ± 0.0065" in whole[3].text
    assert "the paper's own numbers" in whole[3].text


def test_the_long_table_has_every_value(whole):
    rows = list(csv.DictReader(io.StringIO((whole[0] / "out/tables/values.csv").read_text("utf-8"))))
    (found,) = (
        row
        for row in rows
        if (row["set"], row["noise"], row["rate"], row["row"], row["metric"])
        == ("msd-heart", "paper", "0.4", "metadcseg", "dsc")
    )
    record = whole[1]
    tasks = [t for t in record.done() if t.row == "metadcseg" and t.condition.set == "msd-heart"]
    scores = [t.score("dsc") for t in tasks if t.condition.model == "paper" and t.condition.rate == 0.4]
    assert float(found["mean"]) == pytest.approx(sum(scores) / 3)
    assert (found["seeds"], found["paper"], found["paper_sd"], found["paper_table"]) == (
        "3",
        "0.9487",
        "0.0065",
        "1",
    )
    assert float(found["p_holm"]) >= float(found["p"])
    assert [float(part.split(":")[1]) for part in found["values"].split()] == pytest.approx(scores)


def test_the_same_records_give_the_same_files(whole, tmp_path):
    write_report(whole[0] / "bench", tmp_path, cases=2)
    names = json.loads((tmp_path / "report.json").read_text())["files"]
    assert len(names) > 30
    for name in names:
        assert (tmp_path / name).read_bytes() == (whole[0] / "out" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("text", "markdown", "latex", "sheet"),
    [
        ("a|b", r"a\|b", r"a\textbar{}b", "a|b"),
        ("<i>", r"\<i\>", r"\textless{}i\textgreater{}", "<i>"),
        ("50 % & $x_1$", r"50 % \& \$x\_1\$", r"50 \% \& \$x\_1\$", "50 % & $x_1$"),
        ("\\input{x}", r"\\input\{x\}", r"\textbackslash{}input\{x\}", "\\input{x}"),
        ("=HYPERLINK(1)", r"=HYPERLINK\(1\)", "=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("two\nlines", "two lines", "two lines", "two\nlines"),
        ("1. x", r"1\. x", "1. x", "1. x"),
        ("---", r"\---", "---", "'---"),
    ],
)
def test_text_in_each_format(text, markdown, latex, sheet):
    assert (markdown_text(text), latex_text(text), csv_text(text)) == (markdown, latex, sheet)


def test_what_an_earlier_report_wrote_goes_and_nothing_else(tmp_path):
    folder = Folder(tmp_path / "bench")
    folder.add(task(), scores=made_scores(0.5))
    write_report(folder.write(), tmp_path / "out")
    out = tmp_path / "out"
    (out / "tables" / "mine.csv").write_text("x")
    old = out / "tables" / "scores-la.csv"
    assert old.exists()
    other = Folder(tmp_path / "other")
    other.add(task("another"), scores=made_scores(0.5))
    write_report(other.write(), out)
    assert not old.exists()
    assert (out / "tables" / "mine.csv").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "holds no benchmark.json"),
        ("{", "its end is missing"),
        ("[]", "must be an object, got a list"),
        ('{"tasks": {}}', "'tasks' must be a list, got an object"),
        ("[" * 100_000, "must be an object, got a list"),
    ],
)
def test_no_benchmark_is_one_sentence(tmp_path, content, said):
    if content is not None:
        (tmp_path / "benchmark.json").write_text(content)
    with pytest.raises(InputError, match=said):
        write_report(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_report_that_cannot_be_written_is_an_error(tmp_path):
    folder = Folder(tmp_path / "bench")
    folder.add(task(), scores=made_scores(0.5))
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(folder.write(), tmp_path / "out")


def test_nothing_done_yet(tmp_path):
    folder = Folder(tmp_path)
    folder.add(task(), status="waiting")
    folder.add(task(seed=1), status="running")
    _, report = write_report(folder.write(), tmp_path / "out")
    assert report.sections == []
    assert "No run is done yet" in Page(tmp_path / "out" / "index.html").text


def test_an_empty_benchmark(tmp_path):
    write_report(
        Folder(tmp_path).write(tasks=[], grid=None, machine=None, seconds=None, name=None), tmp_path / "out"
    )
    assert (tmp_path / "out" / "report.md").read_text().startswith(f"# {markdown_text(tmp_path.name)}")


PIECES = [
    *("run.json", "metrics.jsonl", "evaluation/test.json", "evaluation/test.csv", "evaluation/weights.json"),
    *("evaluation/cost.json", "evaluation/weights/0-gamma.png", "evaluation/weights/0-image.png"),
]


ODD = [None, "{", "[1]", '{"summary": 3, "distance": [], "examples": [1, {}]}']


@pytest.mark.parametrize(
    ("piece", "content"),
    [(piece, odd) for piece in PIECES for odd in (ODD[:2] if piece.endswith("png") else ODD)],
)
def test_missing_and_odd_pieces_never_break_it(tmp_path, piece, content):
    folder = Folder(tmp_path)
    folder.add(task(row="noisy + gold"), scores=made_scores(0.5))
    home = folder.add(task(), scores=made_scores(0.6), weights={"gamma": [1.0] * 11})
    if content is None:
        (home / piece).unlink()
    else:
        (home / piece).write_text(content)
    _, report = write_report(folder.write(), tmp_path / "out")
    text = Page(tmp_path / "out" / "index.html").text
    assert "noisy + gold" in text
    if piece in ("run.json", "evaluation/test.json") and content in (None, "{", "[1]"):
        assert any(str(home / piece) in sentence for sentence in report.missing)


@pytest.mark.parametrize(
    "info",
    [
        {"noise": "abc"},
        {"set": "abc"},
        {"versions": "abc"},
        {"network": 3},
        {"training": [1]},
        {"parameters": 10**400},
    ],
)
def test_odd_records_of_a_run_never_break_it(tmp_path, info):
    folder = Folder(tmp_path)
    home = folder.add(task(row="noisy + gold"), scores=made_scores(0.5))
    held = json.loads((home / "run.json").read_text())
    (home / "run.json").write_text(json.dumps(held | info))
    with (home / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "note", "epoch": "none"}\n\n{"kind": "epoch", "epoch": -1}\n')
        file.write('{"kind": "epoch", "epoch": Infinity}\n')
    folder.add(task(), scores=made_scores(0.6))
    _, report = write_report(folder.write(), tmp_path / "out")
    assert "metadcseg" in Page(tmp_path / "out" / "index.html").text
    said = [sentence for sentence in report.missing if str(home / "run.json") in sentence]
    assert len(said) == 1
    assert next(iter(info)) in said[0]
    (lines,) = (sentence for sentence in report.missing if "metrics.jsonl" in sentence)
    assert (
        "metrics.jsonl, line 6: 'epoch' must be a whole number >= 0, got -1; it was left out, and 1 more."
        in lines
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"noise": None},
        {"noise": {"model": 3, "rate": "x"}},
        {"gold": "many"},
        {"seed": None},
        {"folds": 3},
        {"folds": "x"},
        {"folds": 1_000_000_000},
        {"seconds": None, "peak_bytes": None},
        {"status": None},
        {"status": "odd", "error": 5},
        {"id": None},
        {"row": ""},
        {"folder": 3},
    ],
)
def test_odd_tasks_never_break_it(tmp_path, changes):
    folder = Folder(tmp_path)
    folder.add(task(row="noisy + gold"), scores=made_scores(0.5))
    folder.add(task(), scores=made_scores(0.6))
    folder.tasks[-1].update(changes)
    write_report(folder.write(), tmp_path / "out")
    assert "noisy + gold" in Page(tmp_path / "out" / "index.html").text


def test_odd_entries_of_the_list_are_told(tmp_path):
    folder = Folder(tmp_path)
    folder.add(task(), scores=made_scores(0.6))
    folder.tasks += [None, 3, [], {}]
    _, report = write_report(folder.write(format=7), tmp_path / "out")
    assert sum("it was left out" in sentence for sentence in report.missing) == 4
    assert any("task 5: it lacks 'id'" in sentence for sentence in report.missing)
    assert any("has format 7" in sentence for sentence in report.missing)


@pytest.mark.parametrize("where", ["../outside", "/etc", "runs/../../outside", "a\0b"])
def test_folders_outside_the_benchmark_are_not_read(tmp_path, where):
    outside = Folder(tmp_path / "outside-bench")
    home = outside.add(task(), scores=made_scores(0.9))
    home.rename(tmp_path / "outside")
    folder = Folder(tmp_path / "bench")
    folder.add(task(row="noisy + gold"), scores=made_scores(0.5))
    folder.add(task(), status="failed")
    folder.tasks[-1].update(status="done", folder=where)
    _, report = write_report(folder.write(), tmp_path / "out")
    assert any("lies outside the benchmark's" in sentence for sentence in report.missing)
    assert "0.9" not in (tmp_path / "out" / "tables" / "scores-la.csv").read_text()


def test_pictures_outside_the_run_are_not_read(tmp_path):
    folder = Folder(tmp_path / "bench")
    home = folder.add(task(), scores=made_scores(0.5), weights={"gamma": [1.0] * 11})
    Image.new("L", (24, 24), 77).save(tmp_path / "secret.png")
    file = home / "evaluation" / "weights.json"
    held = json.loads(file.read_text())
    held["examples"][0]["gamma"] = "../../../../../../../secret.png"
    file.write_text(json.dumps(held))
    _, report = write_report(folder.write(), tmp_path / "out")
    assert any("it lies outside the run" in sentence for sentence in report.missing)


def test_names_of_sets_lead_to_no_other_folder(tmp_path):
    folder = Folder(tmp_path / "bench")
    folder.add(task(), scores=made_scores(0.5))
    folder.tasks[-1]["set"] = "../../evil"
    write_report(folder.write(), tmp_path / "out")
    names = json.loads((tmp_path / "out" / "report.json").read_text())["files"]
    assert all(".." not in name and name.count("/") <= 1 for name in names)
    assert not (tmp_path / "evil").exists()


def test_every_number_of_a_table_stands_in_the_long_one(whole):
    """Tables are pivots of it: no number is made by another rule."""
    root, record, report, _ = whole
    with (root / "out" / "tables" / "values.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    means = {float(line["mean"]) for line in lines}
    for kind, least in (("scores", 20), ("cost", 20), ("gold", 20), ("detection", 4)):
        tables = [table for table in report.tables() if table.key.startswith(kind)]
        cells = [cell for table in tables for row in table.rows if not row.paper for cell in row.cells]
        shown = [cell.value for cell in cells if cell.value is not None]
        assert len(shown) > least, kind
        assert set(shown) <= means, kind
    keys = ("set", "noise", "rate", "gold", "row")
    ups = {tuple(line[key] for key in keys) for line in lines if line["p_holm"]}
    assert len(ups) == len(report.tests)
    assert record.done()
