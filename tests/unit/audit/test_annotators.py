"""Several annotators in an audit: a table for each, one label of all, and who errs how."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from tests.unit.evaluation.fakes import write_fake_run

from metadcseg.audit.annotator_tables import AnnotatorPairs, AnnotatorTables, Drawn
from metadcseg.audit.fusion import DEPENDENCE, chosen_dependence, fuse, log_loss
from metadcseg.audit.run import audit_run
from metadcseg.data.prepare.fusing import staple, vote
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.metrics import dice

SIDE = 48


def disc(radius, row=24.0, column=24.0):
    """A round object whose outline lies where it is said to."""
    rows, columns = np.indices((SIDE, SIDE))
    return (np.hypot(rows - row, columns - column) <= radius).astype(np.uint8)


def images(leans, count, *, spread=0.5, shared=0.0, seed=0):
    """Verified images with what annotators drew: each is too large by a lean, and by chance, in part all alike."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        radius, together = random.uniform(9, 14), shared * random.standard_normal()
        outlines = {
            name: disc(radius + lean + together + spread * random.standard_normal())
            for name, lean in leans.items()
        }
        found.append(Drawn(f"i{number}", f"g{number}", outlines, disc(radius)))
    return found


def learned(drawn):
    return AnnotatorPairs.count(drawn, 2).learn(drawn)


def scores(label, drawn):
    return float(np.mean([dice(label(one) == 1, one.verified == 1) for one in drawn]))


LEANS = {"anna": 3.0, "ben": -2.0, "cleo": 2.5, "dora": 0.0, "emil": 3.5}


def test_habits_are_told_apart_and_the_label_of_all_is_nearer_than_majority_and_staple():
    tables, others = learned(images(LEANS, 6)), images(LEANS, 12, seed=1)
    stacks = {one.image: np.stack(list(one.outlines.values())) for one in others}
    fused = scores(lambda one: tables.prior(one.outlines).argmax(axis=0), others)
    assert fused > 0.97
    assert fused > scores(lambda one: vote(stacks[one.image]), others) + 0.02
    assert fused > scores(lambda one: staple(stacks[one.image]), others) + 0.02
    near = slice(3, 4)  # a pixel from the outline, on grids of 48 pixels
    assert tables.of("anna")[1, 0, near].min() > 0.8  # what anna draws there is background
    assert tables.of("ben")[1, 0, near].max() < 0.2
    assert tables.of("ben")[0, 1, near].min() > 0.8


def test_who_has_no_pair_has_the_table_of_all_and_who_has_few_is_drawn_to_it():
    drawn = images({"anna": 3.0, "ben": -2.0}, 6)
    few = [Drawn(one.image, one.group, {**one.outlines}, one.verified) for one in drawn]
    for one in few[1:]:
        one.outlines.pop("ben")
    tables, known = learned(few), learned(drawn)
    assert tables.pairs == {"anna": 6, "ben": 1}
    assert tables.of("zoe") is tables.everybody
    far = (tables.everybody - known.of("ben")).abs().sum()
    assert 0 < (tables.of("ben") - known.of("ben")).abs().sum() < far


def test_seven_who_err_alike_do_not_multiply_into_certainty():
    """They share what is wrong with an image: seven of them know no more than one."""
    seven = {f"a{number}": 1.0 for number in range(7)}
    shared, others = (
        images(seven, 8, spread=0.0, shared=2.0),
        images(seven, 12, spread=0.0, shared=2.0, seed=1),
    )
    tables = learned(shared)
    assert tables.dependence == 1.0
    assert tables.effective(7) == 1.0
    one = {"a0": others[0].outlines["a0"]}
    np.testing.assert_allclose(tables.prior(others[0].outlines), tables.prior(one), atol=2e-4)

    def losses(rho):
        return np.mean([log_loss(fuse(*tables.posteriors(o.outlines), rho), o.verified) for o in others])

    assert losses(tables.dependence) < 0.7 * losses(0.0)  # as independent witnesses they are sure, and wrong
    apart = learned(images(LEANS, 6))
    assert apart.dependence <= 0.5
    assert apart.effective(5) > 1.6


def test_dependence_is_chosen_with_care():
    assert chosen_dependence([[0.1] * len(DEPENDENCE)]) == 1.0  # one image says nothing
    noisy = [[0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, high] for high in (0.1, 0.5, 0.1, 0.4)]
    assert chosen_dependence(noisy) == 1.0  # within one standard error
    assert chosen_dependence([[0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.3]] * 3) == 0.0


def test_pixels_left_open_and_annotators_without_doubt():
    tables = AnnotatorTables({}, 0 * learned(images(LEANS, 3)).everybody, {})
    mask = disc(10)
    hidden = mask.copy()
    hidden[:, :24] = 255
    found = tables.prior({"anna": mask, "ben": hidden})
    assert (found[1] == mask).all()  # no pair has any doubt: exactly what is drawn
    assert tables.prior({"ben": np.full_like(mask, 255)})[:, 0, 0].tolist() == [0.5, 0.5]
    held = AnnotatorTables.from_dict(json.loads(json.dumps(learned(images(LEANS, 3)).to_dict())))
    assert held.of("anna").shape == (2, 2, 15)


def write_set(out, leans, *, annotated=True):
    """Discs by three annotators, of whom the majority draws too large; the network sees them."""
    with SetWriter(out, name="discs", classes=("background", "organ"), channels=1) as writer:
        for number, one in enumerate(images(leans, 9, spread=0.3)):
            image = (30 + 180 * one.verified[:, :, None]).astype(np.uint8)
            majority = vote(np.stack(list(one.outlines.values())))
            gold = number < 4
            held = (
                {"label": one.verified, "given": majority}
                if gold
                else {"label": majority, "truth": one.verified}
            )
            held |= {"outlines": one.outlines} if annotated else {}
            writer.add(id=one.image, role="gold" if gold else "train", group=one.group, image=image, **held)
    return PreparedSet.open(out)


THREE = {"=anna": 3.0, "ben": 2.5, "cleo": -1.0}


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotators")
    prepared = write_set(folder / "set", THREE)
    run = write_fake_run(folder / "run", prepared)
    return prepared, run, folder / "audit", audit_run(run, folder / "audit", prepared)


def rows(file):
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def test_an_audit_says_who_errs_how(audited):
    _, _, out, record = audited
    told = record["annotators"]
    assert list(told) == ["=anna", "ben", "cleo"]
    assert [row["masks"] for row in told.values()] == [5, 5, 5]
    assert told["cleo"]["expected_dsc"] > told["=anna"]["expected_dsc"]
    assert told["=anna"]["too_much"] > 0.25 > 0.05 > told["=anna"]["left_out"]
    assert told["cleo"]["left_out"] > 0.1 > 0.02 > told["cleo"]["too_much"]
    assert (told["=anna"]["too_large"], told["=anna"]["pairs"]) == (4, 4)
    assert any("cleo is expected to be nearest" in each for each in record["sentences"])
    page = (out / "index.html").read_text()
    assert "By annotator" in page
    assert "drawn too much" in page
    lines = rows(out / "annotators.csv")
    assert [line["annotator"] for line in lines] == ["'=anna", "ben", "cleo"]  # no spreadsheet runs it
    assert float(lines[2]["expected_dsc"]) == pytest.approx(told["cleo"]["expected_dsc"], abs=1e-6)
    tables = rows(out / "annotator_tables.csv")
    assert len(tables) == 3 * 2 * 15
    near = next(r for r in tables if (r["annotator"], r["given"], r["from_px"]) == ("ben", "organ", "1.1"))
    assert (near["true"], float(near["probability"]) > 0.9) == ("background", True)


def test_the_fused_label_is_written_and_nearer_to_the_truth(audited):
    prepared, _, out, record = audited
    assert record["given"]["dsc"]["mean"] < 0.9 < 0.97 < record["corrected"]["dsc"]["mean"]
    for case in prepared.select("train"):
        fused = np.array(Image.open(out / "corrected" / "fused" / f"{case.id}.png")) > 0
        assert dice(fused, prepared.truth(case) == 1) > 0.95
    certain = np.array(Image.open(out / "certainty" / f"{case.id}.png"))
    assert certain[24, 24] > 250
    assert certain.min() < 250


def test_it_goes_on_where_it_was(audited, tmp_path):
    prepared, run, out, record = audited
    before = {name: (out / name).read_bytes() for name in ("annotators.csv", "cases.csv")}
    (out / "audit.json").unlink()
    next((out / "cases").glob("*.npz")).unlink()
    assert audit_run(run, out, prepared) == record
    assert {name: (out / name).read_bytes() for name in before} == before


def test_without_annotators_nothing_is_said_of_them(tmp_path):
    prepared = write_set(tmp_path / "set", THREE, annotated=False)
    record = audit_run(write_fake_run(tmp_path / "run", prepared), tmp_path / "audit", prepared)
    assert "annotators" not in record
    assert not (tmp_path / "audit" / "annotators.csv").exists()
    assert not (tmp_path / "audit" / "corrected" / "fused").exists()
