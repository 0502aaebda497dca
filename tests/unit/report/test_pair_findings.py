"""A report begins with what the pairs of its sets show."""

import numpy as np
import pytest
from tests.unit.report.folders import Folder, made_scores, task, write_set

from metadcseg.data.store.reader import PreparedSet
from metadcseg.data.store.writer import SetWriter
from metadcseg.data.synthetic.corruption import corrupt_set
from metadcseg.data.synthetic.phantom import PhantomOptions, phantom_cases
from metadcseg.pairs.advice import advise
from metadcseg.pairs.read import read_pairs
from metadcseg.pairs.sentences import sentences
from metadcseg.pairs.statistics import diagnose
from metadcseg.report.pair_findings import pair_findings
from metadcseg.report.sections import build_report
from metadcseg.results.read_benchmark import read_benchmark


def write_noisy(path, model="over", rate=0.4, seed=0):
    """A set with 12 pairs."""
    clean = path.parent / f"clean-{path.name}"
    cases = phantom_cases(PhantomOptions(count=30, size=32, group=1), gold=12, val=2, test=3)
    with SetWriter(clean, name="drawn", classes=("background", "organ"), channels=1) as writer:
        for case in cases:
            writer.add(id=case.id, role=case.role, group=case.group, image=case.images, label=case.label)
    path.parent.mkdir(parents=True, exist_ok=True)
    corrupt_set(PreparedSet.open(clean), path, rate, seed, model=model)


@pytest.fixture
def one(tmp_path):
    """A benchmark with one kind of noise and two seeds."""
    folder = Folder(tmp_path / "bench")
    for seed in (0, 1):
        for row, mean in (("noisy + gold", 0.5), ("metadcseg", 0.6)):
            folder.add(task("drawn", "over", row=row, seed=seed), scores=made_scores(mean, seed))
    write_noisy(tmp_path / "bench" / "sets" / task("drawn", "over").data)
    return folder


def test_one_kind_of_noise_is_told_as_diagnose_tells_it(one):
    record, missing = read_benchmark(one.write()), []
    told = pair_findings(record, missing)
    found = read_pairs(one.path / "sets" / task("drawn", "over").data)
    diagnosis = diagnose(found.pairs, found.classes, found.verified)
    assert told.words == sentences(diagnosis)
    assert told.advice == advise(diagnosis).sentence
    assert "too large" in told.advice
    assert not missing
    assert not told.tables
    (gallery,) = told.galleries
    ranked = sorted(diagnosis.total.members, key=lambda entry: (entry.dsc, entry.pair.id))
    assert [picture.name for picture in gallery.examples[0].pictures] == [
        ranked[place].pair.id for place in (0, 3, 6, 8, 11)
    ]
    assert all(picture.link for picture in gallery.examples[0].pictures)
    assert len(told.plots) == 1


def test_the_page_begins_with_it_and_ends_with_what_to_do_next(one):
    one.grid |= {"about": "What it is.", "next": ["Do this:", "metadcseg diagnose my_folder"]}
    report = build_report(read_benchmark(one.write()))
    assert report.lead.startswith("What it is. 4 of 4 runs are done")
    assert (report.sections[0].key, report.sections[-1].key) == ("pairs", "next")
    assert report.sections[-1].steps == [("Do this:", False), ("metadcseg diagnose my_folder", True)]
    scores = next(section for section in report.sections if section.key == "scores")
    assert [table.key for table in scores.tables] == ["scores-drawn", "tests-drawn"]
    assert not scores.folded
    (said,) = scores.after
    assert said.startswith("metadcseg is 0.100 DSC ahead of noisy + gold (± 0.0")
    assert "over 2 seeds, more than one standard deviation; ahead in 2)" in said


def test_several_kinds_of_noise_are_lines_of_a_table(one, tmp_path):
    one.add(task("drawn", "under", row="noisy + gold"), scores=made_scores(0.5))
    write_noisy(tmp_path / "bench" / "sets" / task("drawn", "under").data, "under")
    told = pair_findings(read_benchmark(one.write()), [])
    (table,) = told.tables
    assert not told.words
    offsets = {row.name: row.cells[1].value for row in table.rows}
    assert offsets["drawn, over 40 %"] > 1 > -1 > offsets["drawn, under 40 %"]
    assert [row.cells[2].value for row in table.rows] == [12, 12]
    assert len(told.galleries) == len(told.plots) == 2


def test_of_several_kinds_the_pairs_of_all_seeds_are_shown(one, tmp_path):
    sets = tmp_path / "bench" / "sets"
    one.add(task("drawn", "under", row="noisy + gold"), scores=made_scores(0.5))
    write_noisy(sets / task("drawn", "under").data, "under")
    write_noisy(sets / task("drawn", "over", seed=1).data, seed=1)
    told = pair_findings(read_benchmark(one.write()), [])
    (table,) = told.tables
    assert [row.cells[2].value for row in table.rows] == [24, 12]
    of_seeds = [read_pairs(sets / task("drawn", "over", seed=seed).data).diagnose().total for seed in (0, 1)]
    assert of_seeds[0].dsc.mean != of_seeds[1].dsc.mean
    assert table.rows[0].cells[0].value == pytest.approx(np.mean([total.dsc.mean for total in of_seeds]))
    gallery = told.galleries[0]
    assert gallery.examples[0].id == "drawn, over 40 %, 2 seeds"
    assert {picture.name.rpartition(", ")[2] for picture in gallery.examples[0].pictures} == {
        "seed 0",
        "seed 1",
    }


def test_sets_without_pairs_or_gone_have_no_such_section(tmp_path):
    folder = Folder(tmp_path)
    folder.add(task(), scores=made_scores(0.5))
    write_set(tmp_path / "sets" / task().data, tuple(made_scores(0.5)))
    folder.add(task("gone"), scores=made_scores(0.5))
    report = build_report(read_benchmark(folder.write()))
    assert "pairs" not in [section.key for section in report.sections]


def test_a_damaged_set_is_a_sentence(one):
    stored = one.path / "sets" / task("drawn", "over").data
    (stored / "set.json").write_text("{}")
    missing = []
    assert not pair_findings(read_benchmark(one.write()), missing).galleries
    assert missing
    assert str(stored) in missing[0]


def test_the_paper_s_tables_are_named_for_the_paper_s_sets_alone(one):
    report = build_report(read_benchmark(one.write()))
    said = " ".join([*(section.title for section in report.sections), *report.missing])
    assert "able 5" not in said
    assert "figure" not in said
    assert not any(row.paper for table in report.tables() for row in table.rows)
    one.add(task("msd-heart", row="noisy + gold"), scores=made_scores(0.5))
    report = build_report(read_benchmark(one.write()))
    assert any("Table 5" in sentence for sentence in report.missing)
    assert np.array(["table" in section.title for section in report.sections]).any()
