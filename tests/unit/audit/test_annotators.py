"""Several annotators in an audit: a table for each, one label of all, and who errs how."""

import csv
import json

import nibabel
import numpy as np
import pytest
from PIL import Image
from tests.unit.evaluation.fakes import scene, write_fake_run

from metadcseg.audit.annotator_tables import AnnotatorPairs, AnnotatorTables, Drawn
from metadcseg.audit.fusion import DEPENDENCE, chosen_dependence, effective, fuse, log_loss
from metadcseg.audit.run import audit_run
from metadcseg.data.formats.geometry import Grid
from metadcseg.data.prepare.fusing import staple, vote
from metadcseg.data.slicing.cut import SliceOptions, place
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.errors import InputError
from metadcseg.metrics import dice
from metadcseg.pairs.found import FoundPairs

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
    assert effective(7, tables.dependence) == 1.0
    one = {"a0": others[0].outlines["a0"]}
    np.testing.assert_allclose(tables.prior(others[0].outlines), tables.prior(one), atol=2e-4)

    def losses(rho):
        return np.mean(
            [log_loss(fuse(*tables.posteriors(tables.heard(o.outlines)), rho), o.verified) for o in others]
        )

    assert losses(tables.dependence) < 0.7 * losses(0.0)  # as independent witnesses they are sure, and wrong
    apart = learned(images(LEANS, 6))
    assert apart.dependence <= 0.5
    assert effective(5, apart.dependence) > 1.6


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
    assert held.of("anna").shape == (2, 2, 16)


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
    return prepared, run, folder / "audit", audit_run(run, folder / "audit", prepared, trust_code=True)


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
    assert any("the set does not say which it is" in each for each in record["sentences"])
    page = (out / "index.html").read_text()
    assert "By annotator" in page
    assert "drawn too much" in page
    lines = rows(out / "annotators.csv")
    assert [line["annotator"] for line in lines] == ["'=anna", "ben", "cleo"]  # no spreadsheet runs it
    assert float(lines[2]["expected_dsc"]) == pytest.approx(told["cleo"]["expected_dsc"], abs=1e-6)
    tables = rows(out / "annotator_tables.csv")
    assert len(tables) == 3 * 2 * 16
    near = next(r for r in tables if (r["annotator"], r["given"], r["from_px"]) == ("ben", "organ", "1.1"))
    assert (near["true"], near["bin"], float(near["probability"]) > 0.9) == ("background", "distance", True)
    bins = [(r["bin"], r["from_px"], r["to_px"]) for r in tables[:16]]
    assert bins[-2:] == [("distance", "12.5", ""), ("absent", "", "")]
    assert all(kind == "distance" and float(start) < float(end) for kind, start, end in bins[:-2])


def test_the_fused_label_is_written_and_nearer_to_the_truth(audited):
    prepared, _, out, record = audited
    assert record["given"]["dsc"]["mean"] < 0.9 < 0.97 < record["corrected"]["dsc"]["mean"]
    for case in prepared.select("train"):
        fused = np.array(Image.open(out / "corrected" / "fused" / f"{case.id}.png")) > 0
        assert dice(fused, prepared.truth(case) == 1) > 0.95
    certain = np.array(Image.open(out / "certainty" / f"{case.id}.png"))
    assert certain[24, 24] > 250
    assert certain.min() < 250


def test_it_goes_on_where_it_was(audited, tmp_path, monkeypatch):
    prepared, run, out, record = audited
    before = {name: (out / name).read_bytes() for name in ("annotators.csv", "cases.csv")}
    (out / "audit.json").unlink()
    next((out / "cases").glob("*.npz")).unlink()
    (out / "certainty").rename(tmp_path / "certainty")
    (out / "certainty").symlink_to(tmp_path / "certainty")  # what is written there would land elsewhere
    with pytest.raises(InputError, match="certainty is a link"):
        audit_run(run, out, prepared, trust_code=True)
    (out / "certainty").unlink()
    (tmp_path / "certainty").rename(out / "certainty")
    diagnosed, usual = [], FoundPairs.diagnose
    monkeypatch.setattr(FoundPairs, "diagnose", lambda found: diagnosed.append(found) or usual(found))
    assert audit_run(run, out, prepared, trust_code=True) == record
    assert len(diagnosed) == 1
    assert {name: (out / name).read_bytes() for name in before} == before


def test_without_annotators_nothing_is_said_of_them(tmp_path):
    prepared = write_set(tmp_path / "set", THREE, annotated=False)
    record = audit_run(
        write_fake_run(tmp_path / "run", prepared), tmp_path / "audit", prepared, trust_code=True
    )
    assert "annotators" not in record
    assert not (tmp_path / "audit" / "annotators.csv").exists()
    assert not (tmp_path / "audit" / "corrected" / "fused").exists()


def test_of_a_volume_ties_of_two_are_settled(tmp_path):
    """One draws too large and one too small: the majority of two leaves the rim open, and the fused label does not."""
    grid = Grid((32, 32, 3), ((2, 0, 0, 5), (0, 2, 0, 0), (0, 0, 3, 0), (0, 0, 0, 1)))
    options = SliceOptions()
    placement, out = place(grid, options), tmp_path / "set"
    with SetWriter(
        out, name="v", classes=("background", "organ"), channels=1, preprocessing=options.to_dict()
    ) as writer:
        for id, role in (("g", "gold"), ("h", "gold"), ("a", "train")):
            masks = [{by: scene(32, 32, 10 - by, 9 - by, 12 + 2 * by)[1] for by in (0, 2, -2)}] * 3
            reference = np.zeros(grid.shape, np.uint8)
            placement.stack(reference)[:] = np.stack([each[0] for each in masks])
            gold = role == "gold"
            writer.add_volume(
                id=id, role=role, group=id, placement=placement, reference=reference, verified=gold
            )
            for z, mask in enumerate(masks):
                tied = np.where(mask[2] == mask[-2], mask[2], 255).astype(np.uint8)
                held = {"label": mask[0], "given": tied} if gold else {"label": tied, "truth": mask[0]}
                writer.add(
                    id=f"{id}#{z}",
                    role=role,
                    group=id,
                    image=(3 * mask[0][:, :, None] - 0.5).astype(np.float16),
                    outlines={"anna": mask[2], "ben": mask[-2]},
                    spacing=placement.slice_spacing,
                    volume=id,
                    slice=z,
                    **held,
                )
    prepared = PreparedSet.open(out)
    record = audit_run(
        write_fake_run(tmp_path / "run", prepared), tmp_path / "audit", prepared, trust_code=True
    )
    assert [row["masks"] for row in record["annotators"].values()] == [1, 1]
    (volume,) = (each for each in prepared.volumes if each.role == "train")
    fused = nibabel.load(tmp_path / "audit" / "corrected" / "fused" / "a.nii.gz")
    assert np.allclose(fused.affine, grid.affine)
    assert dice(np.asarray(fused.dataobj) == 1, prepared.reference(volume) == 1) > 0.97
    assert nibabel.load(tmp_path / "audit" / "certainty" / "a.nii.gz").shape == grid.shape


def test_three_classes():
    """Of a core within an organ one annotator draws both too large, one too small."""

    def masks(radius, lean):
        return disc(radius + lean) + disc(radius / 2 + lean)

    drawn = [
        Drawn(
            str(radius), str(radius), {n: masks(radius, lean) for n, lean in LEANS.items()}, masks(radius, 0)
        )
        for radius in (11.0, 12.0, 14.0, 15.0)
    ]
    tables = AnnotatorPairs.count(drawn[1:], 3).learn(drawn[1:])
    found = tables.prior(drawn[0].outlines).argmax(axis=0)
    for c in (1, 2):
        assert dice(found == c, drawn[0].verified == c) > 0.95
