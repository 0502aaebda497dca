"""A whole audit by a network whose answers are known: what it finds, writes and refuses, and how it goes on."""

import csv
import errno
import json
import shutil

import nibabel
import numpy as np
import pytest
from PIL import Image
from tests.unit.evaluation.fakes import scene, write_fake_run, write_fake_set

from metadcseg.audit import case_judge
from metadcseg.audit.case_files import read_cases, read_masks
from metadcseg.audit.correction import MaskWriter
from metadcseg.audit.folder import AuditFolder
from metadcseg.audit.run import audit_run
from metadcseg.audit.units import units_of
from metadcseg.cli.main import main
from metadcseg.data.formats.geometry import Grid
from metadcseg.data.prepare.pipeline import prepare_folder
from metadcseg.data.slicing.cut import SliceOptions, place
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.errors import InputError

FORMULA = "=cmd|'x'!A1"
IDS = (FORMULA, '<b>"b"</b>', "c/../d")


def larger(mask, by=2):
    """A square that reaches further out on all sides."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    wide = np.zeros_like(mask)
    wide[rows[0] - by : rows[-1] + 1 + by, columns[0] - by : columns[-1] + 1 + by] = 1
    return wide


def write_set(out, *, spoil=larger, pairs=3, truth=True):
    """Squares of which most masks, also those that gold ones replaced, were spoilt; the last has ignored pixels."""
    with SetWriter(out, name="squares", classes=("background", "organ"), channels=1) as writer:
        for number in range(3):
            image, mask = scene(32, 32, 8 + number, 10, 10)
            held = {"given": mask if number == 2 else spoil(mask)} if number < pairs else {}
            writer.add(id=f"gold {number}", role="gold", group=f"g{number}", image=image, label=mask, **held)
        for number, id in enumerate(IDS):
            image, mask = scene(32, 32, 8, 8 + 3 * number, 12)
            label = mask if number == 1 else spoil(mask)
            label = np.where(np.arange(32) < 4, np.uint8(255), label) if number == 2 else label
            held = {"truth": mask} if truth else {}
            writer.add(id=id, role="train", group="g", image=image, label=label, spacing=(0.5, 2.0), **held)
    return PreparedSet.open(out)


@pytest.fixture
def prepared(tmp_path):
    return write_set(tmp_path / "set")


@pytest.fixture
def run(tmp_path, prepared):
    return write_fake_run(tmp_path / "run", prepared)


def rows(file):
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def test_what_is_found_and_written(tmp_path, run, prepared):
    out, calls = tmp_path / "audit", []
    record = audit_run(
        run, out, prepared, progress=lambda done, total: calls.append((done, total)), trust_code=True
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]
    written = json.loads((out / "audit.json").read_text())
    about = {"format": "metadcseg-audit/1", "identity": written["identity"]}
    assert written == json.loads(json.dumps(record)) | about
    assert (record["cases"], record["regions"], record["flagged"]) == (3, 2, 2)
    assert record["kinds"] == {"too large": 2}
    assert record["detection"]["auroc"] > 0.99 > record["detection"]["baselines"]["given foreground"]["auroc"]
    assert record["detection"]["precision"] > 0.95
    assert record["given"]["dsc"]["mean"] < 0.85 < 0.97 < record["corrected"]["dsc"]["mean"]
    assert record["corrected"]["worse"] == 0
    told = record["calibration"]
    assert (told["regions"], told["really_wrong"]) == (2, 2)
    assert told["network_weight"] > 0
    assert min(told["sums"]["true_gains"]) >= 0  # the right one of the three stays
    cases, regions = rows(out / "cases.csv"), rows(out / "regions.csv")
    assert [row["rank"] for row in cases] == ["1", "2", "3"]
    assert cases[2]["case"] == IDS[1]  # the right one last
    assert f"'{FORMULA}" in {row["case"] for row in cases}  # no spreadsheet runs it
    assert all(float(row["low"]) <= float(row["true_dsc"]) <= float(row["high"]) for row in cases)
    assert {row["unit"] for row in regions} == {"mm2"}
    assert [float(row["size"]) for row in regions] == [float(row["pixels"]) for row in regions]  # 0.5 x 2 mm
    wrong = np.array(Image.open(out / "wrong" / "c_.._d.png"))
    assert wrong.shape == (32, 32)
    assert not wrong[:, :4].any()  # where labels are ignored
    assert wrong[7, 20] > 200  # the rim
    corrected = np.array(Image.open(out / cases[0]["file"]))
    assert corrected.shape == (32, 32)
    assert set(np.unique(corrected)) <= {0, 128, 255}
    assert (out / "index.html").is_file()


def test_an_audit_goes_on_and_ends_the_same(tmp_path, run, prepared):
    out = tmp_path / "audit"
    first = audit_run(run, out, prepared, trust_code=True)
    tables = {name: (out / name).read_bytes() for name in ("cases.csv", "regions.csv")}
    removed = out / "cases" / f"{read_cases(out)[0].name}.npz"
    kept = sorted((out / "cases").glob("*.npz"))[1]
    before = kept.stat().st_mtime_ns
    removed.unlink()
    (out / "audit.json").unlink()
    assert audit_run(run, out, prepared, trust_code=True) == first
    assert {name: (out / name).read_bytes() for name in tables} == tables
    assert kept.stat().st_mtime_ns == before
    with pytest.raises(InputError, match="another threshold: give the same, or another --out"):
        audit_run(run, out, prepared, threshold=0.6, trust_code=True)


def test_decisions_are_about_what_was_found(tmp_path, run, prepared, monkeypatch, capsys):
    def audited(name):
        audit_run(run, tmp_path / name, prepared, trust_code=True)
        about = json.loads((tmp_path / name / "audit.json").read_text())
        page = (tmp_path / name / "index.html").read_text("utf-8")
        facts = json.loads(page.partition('id="facts">')[2].partition("</script>")[0])
        assert facts["identity"] == about["identity"]
        row = {"case": IDS[0], "verdict": "accept"}
        told = {"format": "metadcseg-decisions/1", "set": prepared.fingerprint, "decisions": [row]}
        (tmp_path / name / "decisions.json").write_text(json.dumps({**told, "identity": about["identity"]}))
        return about["identity"]

    assert audited("one") == audited("two")
    regions = case_judge.find_regions
    with monkeypatch.context() as patch:  # as a version that judges otherwise
        patch.setattr(case_judge, "find_regions", lambda *told: regions(told[0], told[0], *told[2:]))
        assert audited("other") != audited("one")
    shutil.copy(tmp_path / "other/decisions.json", tmp_path / "one")
    assert main(["accept", str(tmp_path / "one/decisions.json"), "--out", str(tmp_path / "out")]) == 2
    assert "is about another audit" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "spoilt",
    [
        "cases/*.npz",
        "pairs/cases/*.npz",
        "page",
        "page/thumbs/*.jpg",
        "wrong",
        "corrected/sure",
        "pairs",
        "cut",
    ],
)
def test_what_was_removed_or_damaged_is_there_again_after_another_audit(tmp_path, run, prepared, spoilt):
    out = tmp_path / "audit"
    audit_run(run, out, prepared, trust_code=True)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    if spoilt == "cut":
        for file in (*out.glob("cases/*.npz"), *out.glob("pairs/cases/*.npz")):
            file.write_bytes(before[file][:-50])
    else:
        found = list(out.glob(spoilt))
        assert found
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    audit_run(run, out, prepared, trust_code=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("gold", "elsewhere", "masks", "pairs"),
    [
        ("none", "", True, False),
        ("mixed", "", True, True),
        ("mixed", "split", True, True),  # another content under the same name: most of it was seen
        ("mixed", "set", False, False),
    ],
)
def test_what_the_network_was_trained_on_is_said_as_it_is(tmp_path, prepared, gold, elsewhere, masks, pairs):
    trained_on = write_fake_set(tmp_path / "other") if elsewhere else prepared
    run = write_fake_run(tmp_path / "run", trained_on, gold=gold)
    if elsewhere == "set":
        info = json.loads((run / "run.json").read_text())
        info["set"]["name"] = "another"
        (run / "run.json").write_text(json.dumps(info))
    record = audit_run(run, tmp_path / "audit", prepared, trust_code=True)
    said = " ".join(record["sentences"])
    assert ("been trained on these masks" in said, "trained on these images" in said) == (masks, pairs)


def test_a_foreign_folder_stays_as_it_is(tmp_path, run, prepared):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="is not empty and holds no audit"):
        audit_run(run, tmp_path / "mine", prepared, trust_code=True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_an_audit_that_was_killed_in_its_first_moment_begins_again(tmp_path):
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/.metadcseg-0123456789abcdef.tmp").write_text("{")
    with AuditFolder(tmp_path / "audit", {}).hold():
        assert [path.name for path in (tmp_path / "audit").iterdir()] == ["lock"]


def test_where_pairs_have_no_doubt_nothing_is_flagged(tmp_path):
    prepared = write_set(tmp_path / "clean", spoil=np.copy)
    run = write_fake_run(tmp_path / "run", prepared)
    record = audit_run(run, tmp_path / "audit", prepared, trust_code=True)
    assert (record["regions"], record["flagged"], record["expected"]["dsc"]["mean"]) == (0, 0, 1.0)
    for case in read_cases(tmp_path / "audit"):
        masks = read_masks(tmp_path / "audit", case)
        assert not masks.wrong.any()
        assert (masks.corrected["balanced"] == masks.given).all()


def test_without_pairs_and_truth_the_network_speaks_alone_and_that_is_said(tmp_path):
    prepared = write_set(tmp_path / "alone", pairs=1, truth=False)
    run = write_fake_run(tmp_path / "run", prepared)
    record = audit_run(run, tmp_path / "audit", prepared, trust_code=True)
    assert record["witnesses"] == "network alone"
    assert "fewer than two verified masks" in record["sentences"][1]
    assert "detection" not in record
    assert record["flagged"] == 2  # the network is right, so that it finds them
    assert rows(tmp_path / "audit" / "cases.csv")[0]["true_dsc"] == ""


def test_masks_of_a_folder_keep_format_values_and_palette(tmp_path):
    folder = tmp_path / "own"
    for name in ("images", "masks", "gold"):
        (folder / name).mkdir(parents=True)
    palette = [0, 0, 0, 200, 30, 30]
    for number in range(10):
        image, mask = scene(48, 64, 10, 14 + number, 12)
        Image.fromarray(image[:, :, 0]).save(folder / "images" / f"{number}.png")
        given = Image.fromarray(larger(mask))
        given.putpalette(palette)
        given.save(folder / "masks" / f"{number}.png")
        if number < 3:
            Image.fromarray(mask).save(folder / "gold" / f"{number}.png")
    prepare_folder(folder, tmp_path / "set", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    run = write_fake_run(tmp_path / "run", prepared)
    record = audit_run(run, tmp_path / "audit", prepared, trust_code=True)
    assert record["like_given"] == record["cases"]
    case = prepared.select("train")[0].id
    with Image.open(tmp_path / "audit" / "corrected" / "balanced" / f"{case}.png") as written:
        assert written.mode == "P"
        assert written.getpalette()[:6] == palette
        array = np.array(written)
    with Image.open(folder / "masks" / f"{case}.png") as given:
        before = np.array(given)
    assert set(np.unique(array)) == {0, 1}
    assert 0 < array.sum() < before.sum()
    (folder / "masks" / f"{case}.png").unlink()
    again = audit_run(run, tmp_path / "audit 2", prepared, trust_code=True)
    assert again["like_given"] == record["cases"] - 1
    assert any("of 1 of" in sentence and "it is gone" in sentence for sentence in again["sentences"])


def test_volumes_are_one_case_each_also_where_slices_were_dropped(tmp_path):
    grid = Grid((48, 64, 4), ((2, 0, 0, 5), (0, 2, 0, 0), (0, 0, 3, 0), (0, 0, 0, 1)))
    placement = place(grid, SliceOptions())
    options = SliceOptions().to_dict()
    out = tmp_path / "set"
    with SetWriter(
        out, name="v", classes=("background", "organ"), channels=1, preprocessing=options
    ) as writer:
        for id, role in (("g", "gold"), ("a", "train")):
            stack = [scene(48, 64, 10 + 2 * z, 20, 14) for z in range(4)]
            truth = np.stack([mask for _, mask in stack])
            reference = np.zeros(grid.shape, np.uint8)
            placement.stack(reference)[:] = truth
            writer.add_volume(
                id=id, role=role, group=id, placement=placement, reference=reference, verified=role == "gold"
            )
            for z, (image, mask) in enumerate(stack):
                if role == "train" and z == 0:
                    continue  # dropped
                values = ((image.astype(np.float32) - 50) / 60).astype(np.float16)
                held = {"given": larger(mask)} if role == "gold" else {"truth": mask}
                writer.add(
                    id=f"{id}#{z}",
                    role=role,
                    group=id,
                    image=values,
                    label=mask if role == "gold" else larger(mask),
                    spacing=placement.slice_spacing,
                    volume=id,
                    slice=z,
                    **held,
                )
    prepared = PreparedSet.open(out)
    run = write_fake_run(tmp_path / "run", prepared)
    record = audit_run(run, tmp_path / "audit", prepared, trust_code=True)
    assert (record["cases"], record["flagged"]) == (1, 1)
    assert record["corrected"]["dsc"]["mean"] > record["given"]["dsc"]["mean"]
    (case,) = read_cases(tmp_path / "audit")
    assert (case.shape, case.spacing) == ((3, 48, 64), (3.0, 2.0, 2.0))
    assert case.regions[0].size == case.regions[0].pixels * 12
    assert read_masks(tmp_path / "audit", case).slices.tolist() == [1, 2, 3]
    wrong = nibabel.load(tmp_path / "audit" / "wrong" / "a.nii.gz")
    assert wrong.shape == grid.shape
    assert np.allclose(wrong.affine, grid.affine)
    assert not np.asarray(wrong.dataobj)[:, :, 0].any()
    assert np.asarray(wrong.dataobj)[:, :, 1].any()


@pytest.mark.parametrize("change", [{"threshold": 0.0}, {"sure": 1.5}, {"split": "test"}])
def test_what_cannot_be_asked(tmp_path, run, prepared, change):
    with pytest.raises(InputError, match=r"--threshold|--sure|no test cases"):
        audit_run(run, tmp_path / "audit", prepared, **change, trust_code=True)
    assert not (tmp_path / "audit" / "audit.json").exists()


def test_regions_are_kept_as_they_were_found(tmp_path, run, prepared):
    audit_run(run, tmp_path / "audit", prepared, trust_code=True)
    for case in read_cases(tmp_path / "audit"):
        masks = read_masks(tmp_path / "audit", case)
        changed = masks.corrected["balanced"] != masks.given
        assert ((masks.regions > 0) == changed).all()
        assert (masks.corrected["sure"] != masks.given)[~changed].sum() == 0
        for region in case.regions:
            inside = masks.regions == region.number
            assert inside.sum() == region.pixels
            assert inside[tuple(slice(*edge) for edge in region.box)].sum() == region.pixels


def test_of_verified_cases_the_replaced_mask_is_judged(tmp_path, run, prepared):
    record = audit_run(run, tmp_path / "audit", prepared, split="gold", trust_code=True)
    assert record["given"]["dsc"]["mean"] < 0.95 < record["corrected"]["dsc"]["mean"]
    first = read_cases(tmp_path / "audit")[0]
    gold = prepared.select("gold")[0]
    assert (read_masks(tmp_path / "audit", first).given[0] == prepared.given(gold)).all()
    assert any("on these very masks" in sentence for sentence in record["sentences"])
    alone = write_set(tmp_path / "alone", pairs=0)
    with pytest.raises(InputError, match="none has the mask that it replaced"):
        audit_run(
            write_fake_run(tmp_path / "run 2", alone),
            tmp_path / "audit 2",
            alone,
            split="gold",
            trust_code=True,
        )


def test_a_full_disk_at_a_mask_is_one_sentence(tmp_path, run, prepared, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("metadcseg.audit.originals.write_image_mask", full)
        with pytest.raises(InputError, match=r"audit cannot be written .No space left.*free some space"):
            audit_run(run, tmp_path / "audit", prepared, trust_code=True)
    assert audit_run(run, tmp_path / "audit", prepared, trust_code=True)["cases"] == 3


def test_a_level_that_cannot_be_as_given_leaves_no_other_behind(tmp_path):
    for name in ("images", "masks", "gold"):
        (tmp_path / "own" / name).mkdir(parents=True)
    for number in range(10):
        image, mask = scene(48, 64, 10, 14 + number, 12)
        for name, array in (("images", image[:, :, 0]), ("masks", larger(mask) * 255), ("gold", mask * 255)):
            if name != "gold" or number < 3:
                Image.fromarray(array).save(tmp_path / "own" / name / f"{number}.tif")
    prepare_folder(tmp_path / "own", tmp_path / "set", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    unit, *_ = units_of(prepared, "train")
    given = unit.given(prepared)
    masks = {"sure": given, "balanced": given, "network": np.full_like(given, 2)}  # no value stands for 2
    told = MaskWriter(prepared, tmp_path / "corrected").write(unit, given, masks)
    assert not told["like"]
    names = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "corrected").rglob("*.*")}
    assert names == {f"corrected/{level}/{unit.name}.png" for level in masks}
    assert str(told["written"]) in names
