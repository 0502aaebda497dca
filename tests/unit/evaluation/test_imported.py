"""Predictions of another tool are scored as ours, or refused by name."""

import json

import nibabel
import numpy as np
import pytest
import SimpleITK
from jsonargparse import Namespace
from PIL import Image
from tests.unit.data.export.test_nnunet import volumes
from tests.unit.data.folders import make_folder

from metadcseg.cli.resume import from_run
from metadcseg.data.export.nnunet import export_nnunet
from metadcseg.data.prepare.pipeline import prepare_folder
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.errors import InputError
from metadcseg.evaluation.imported import ExternalTool, import_predictions
from metadcseg.training.run.folder import load_run, read_run

TOOL = ExternalTool("nnU-Net 2.8.1", gold="once", iterations=1250, parameters=7_766_344, minutes=20.0)


@pytest.fixture
def images(tmp_path):
    prepare_folder(make_folder(tmp_path / "folder"), tmp_path / "set", edges="none")
    return PreparedSet.open(tmp_path / "set")


def truth_of(prepared, case):
    return prepared.truth(case) if case.has_truth else prepared.label(case)


def write_masks(prepared, folder, change=lambda mask: mask):
    folder.mkdir()
    for case in prepared.select("test"):
        Image.fromarray(change(truth_of(prepared, case))).save(folder / f"{case.id}.png")
    return folder


def test_what_was_exported_comes_back_and_is_scored(images, tmp_path):
    raw = export_nnunet(images, tmp_path / "raw")
    record = import_predictions(images, raw / "labelsTs", tmp_path / "run", TOOL)
    assert record["summary"]["dsc"]["mean"] == 1.0
    assert record["method"] == "external"
    held = json.loads((tmp_path / "run" / "evaluation" / "test.json").read_text())
    assert held["summary"] == record["summary"]
    info = read_run(tmp_path / "run")
    assert (info["parameters"], info["seconds"], info["external"]["iterations"]) == (7_766_344, 1200.0, 1250)
    with pytest.raises(InputError, match="without a network"):
        load_run(tmp_path / "run")
    with pytest.raises(InputError, match="holds predictions of another tool"):
        from_run(Namespace(resume=str(tmp_path / "run"), out=None))


@pytest.mark.parametrize("options", [{}, {"axis": "x", "pixel": 2.0}])
def test_volumes_come_from_either_grid(options, tmp_path):
    prepared = volumes(tmp_path, **options)
    (unit,) = [volume for volume in prepared.volumes if volume.role == "test"]
    raw = export_nnunet(prepared, tmp_path / "raw")
    exported = raw / "labelsTs" / "a-4.nii.gz"
    label = nibabel.load(exported)
    known = np.asarray(label.dataobj)
    known[known == 2] = 0  # unknown pixels are never predicted
    nibabel.save(nibabel.Nifti1Image(known, label.affine), exported)
    stored = import_predictions(prepared, raw / "labelsTs", tmp_path / "stored", TOOL)
    least = 1.0 if not options else 0.85  # a coarser grid and back
    assert stored["summary"]["dsc"]["mean"] >= least

    native = tmp_path / "native"
    native.mkdir()
    whole = prepared.reference(unit).copy()
    whole[whole == 255] = 0
    nibabel.save(nibabel.Nifti1Image(whole, np.array(unit.placement.grid.affine)), native / "a-4.nii.gz")
    assert import_predictions(prepared, native, tmp_path / "n", TOOL)["summary"]["dsc"]["mean"] == 1.0

    moved = np.array(unit.placement.grid.affine)
    moved[:3, 3] += 40
    nibabel.save(nibabel.Nifti1Image(whole, moved), native / "a-4.nii.gz")
    with pytest.raises(InputError, match="lies elsewhere"):
        import_predictions(prepared, native, tmp_path / "moved", TOOL)
    assert not (tmp_path / "moved").exists()


def test_black_and_white_needs_a_word(images, tmp_path):
    folder = write_masks(images, tmp_path / "masks", lambda mask: (mask * 255).astype(np.uint8))
    with pytest.raises(
        InputError, match=r"the value 255, classes are numbers from 0 to 1 .*: add --remap 255:1"
    ):
        import_predictions(images, folder, tmp_path / "run", TOOL)
    record = import_predictions(images, folder, tmp_path / "run", TOOL, remap={255: 1})
    assert record["summary"]["dsc"]["mean"] == 1.0


def test_every_case_has_one_mask_of_its_size(images, tmp_path):
    folder = write_masks(images, tmp_path / "masks")
    first, *_ = sorted(folder.iterdir())
    kept = first.read_bytes()
    first.unlink()
    with pytest.raises(InputError, match=rf"has no mask of 1 case of \d+: {first.stem}"):
        import_predictions(images, folder, tmp_path / "run", TOOL)
    first.write_bytes(kept)
    (folder / f"{first.stem}.tif").write_bytes(kept)
    with pytest.raises(InputError, match="several masks"):
        import_predictions(images, folder, tmp_path / "run", TOOL)
    (folder / f"{first.stem}.tif").unlink()
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(first)
    with pytest.raises(InputError, match="got 5 x 7"):
        import_predictions(images, folder, tmp_path / "run", TOOL)
    first.rename(folder / "elsewhere")
    Image.fromarray(np.full((48, 48), 255, np.uint8)).save(folder / f"{first.stem}.jpg")
    with pytest.raises(InputError, match="is a JPEG, which blurs class numbers: save the masks as PNG"):
        import_predictions(images, folder, tmp_path / "run", TOOL)
    (folder / f"{first.stem}.jpg").unlink()
    (folder / "elsewhere").unlink()
    first.write_bytes(kept)
    (folder / "stranger.png").write_bytes(kept)
    record = import_predictions(images, folder, tmp_path / "run", TOOL)
    assert any("1 file" in note and "stranger.png" in note for note in record["notes"])
    with pytest.raises(InputError, match="exists"):
        import_predictions(images, folder, tmp_path / "run", TOOL)


@pytest.mark.parametrize("wrong", [{"gold": "twice"}, {"iterations": -1}, {"minutes": float("nan")}])
def test_what_is_told_of_the_tool_is_checked(wrong):
    with pytest.raises(InputError):
        ExternalTool("tool", **wrong)


def write_set(out, ids):
    """Test images under ids that are alike, each with a mask of its own size."""
    with SetWriter(out, name="alike", classes=["background", "organ"], channels=1) as writer:
        for number, id in enumerate(ids):
            mask = np.zeros((16, 12), np.uint8)
            mask[: 3 + 2 * number, 2:9] = 1
            writer.add(id=id, group=id, role="test", image=mask[..., None] * 90, label=mask)
    return PreparedSet.open(out)


def write_named(prepared, folder, names):
    folder.mkdir()
    for case, name in zip(prepared.cases, names, strict=False):
        Image.fromarray(prepared.label(case)).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize("names", [["p 1", "p_1", "p-1"], ["p-1", "p_1", "p-1-2"], ["p_1", "p_1-2", "p-1"]])
def test_one_kind_of_name_holds_for_all_masks(tmp_path, names):
    """Ids, names of export-nnunet, and names of evaluate, of which each calls another case what the next one does."""
    prepared = write_set(tmp_path / "set", ["p 1", "p_1", "p-1"])
    record = import_predictions(
        prepared, write_named(prepared, tmp_path / "masks", names), tmp_path / "run", TOOL
    )
    assert record["summary"]["dsc"]["mean"] == 1.0
    assert not [note for note in record["notes"] if "belong to no" in note]


def test_a_mask_is_no_stand_in_for_one_that_is_missing(tmp_path):
    prepared = write_set(tmp_path / "set", ["p 1", "p_1"])
    folder = write_named(prepared, tmp_path / "masks", ["p_1"])  # what evaluate calls the first
    with pytest.raises(InputError, match=r"no mask of 1 case of 2: p-1 \(case 'p 1'\)"):
        import_predictions(prepared, folder, tmp_path / "run", TOOL)


def test_what_fails_while_it_is_scored_leaves_nothing(images, tmp_path, monkeypatch):
    folder = write_masks(images, tmp_path / "masks")
    before = set(tmp_path.iterdir())

    def fail(*_):
        raise InputError("damaged")

    with monkeypatch.context() as spoilt:
        spoilt.setattr("metadcseg.evaluation.imported.compare_unit", fail)
        with pytest.raises(InputError, match="damaged"):
            import_predictions(images, folder, tmp_path / "bench" / "run", TOOL)
    assert set(tmp_path.iterdir()) == before
    import_predictions(images, folder, tmp_path / "bench" / "run", TOOL)
    assert read_run(tmp_path / "bench" / "run")["status"] == "finished"
    assert (tmp_path / "bench" / "run" / "evaluation" / "test.csv").is_file()


@pytest.mark.parametrize("options", [{}, {"axis": "x", "pixel": 2.0}])
def test_where_the_image_does_not_say_where_it_lies_the_shape_decides(options, tmp_path):
    """As it does for the masks of the set: those of the tool lie where its reader takes the image to lie."""
    prepared = volumes(tmp_path, placed=False, **options)
    (unit,) = [volume for volume in prepared.volumes if volume.role == "test"]
    raw = export_nnunet(prepared, tmp_path / "raw")
    stored = np.asarray(nibabel.load(raw / "labelsTs" / "a-4.nii.gz").dataobj)
    for number, whole in enumerate((prepared.reference(unit), np.where(stored == 2, 0, stored))):
        folder = tmp_path / f"predicted-{number}"
        folder.mkdir()
        whole = np.where(whole == 255, 0, whole).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(whole, np.diag([-1.0, -1.0, 2.0, 1.0])), folder / "a-4.nii.gz")
        record = import_predictions(prepared, folder, tmp_path / f"run-{number}", TOOL)
        assert record["summary"]["dsc"]["mean"] >= (0.85 if options else 1.0)
        written = nibabel.load(tmp_path / f"run-{number}/evaluation" / record["predictions"]["a/4"])
        assert (written.header["sform_code"], written.header["qform_code"]) == (0, 0)


def test_files_that_name_their_values_are_read_by_name(tmp_path):
    prepared = volumes(tmp_path)
    (unit,) = [volume for volume in prepared.volumes if volume.role == "test"]
    whole = prepared.reference(unit).copy()
    drawn = SimpleITK.GetImageFromArray(np.where(whole == 1, 3, 0).astype(np.uint8).T)
    lps = np.diag([-1.0, -1, 1, 1]) @ np.array(unit.placement.grid.affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    drawn.SetSpacing(spacing.tolist())
    drawn.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    drawn.SetOrigin(lps[:3, 3].tolist())
    drawn.SetMetaData("Segment0_LabelValue", "3")
    drawn.SetMetaData("Segment0_Name", "Foreground")
    folder = tmp_path / "native"
    folder.mkdir()
    SimpleITK.WriteImage(drawn, folder / "a-4.seg.nrrd")
    record = import_predictions(prepared, folder, tmp_path / "named", TOOL)
    assert record["summary"]["dsc"]["mean"] == 1.0

    drawn.SetMetaData("Segment1_LabelValue", "1")
    drawn.SetMetaData("Segment1_Name", "Knochen")
    SimpleITK.WriteImage(drawn, folder / "a-4.seg.nrrd")
    with pytest.raises(InputError, match=r"names 'Knochen', which is no class of the set \(background, fore"):
        import_predictions(prepared, folder, tmp_path / "strange", TOOL)
    record = import_predictions(prepared, folder, tmp_path / "said", TOOL, remap={1: 0})
    assert record["summary"]["dsc"]["mean"] == 1.0
    record = import_predictions(prepared, folder, tmp_path / "overruled", TOOL, remap={1: 1, 3: 0})
    assert record["summary"]["dsc"]["mean"] == 0.0


def test_a_case_of_which_nothing_is_known_is_not_scored(tmp_path):
    with SetWriter(tmp_path / "set", name="part", classes=["background", "organ"], channels=1) as writer:
        for number in range(3):
            mask = np.zeros((16, 12), np.uint8)
            mask[3:9, 2:9] = 1
            mask[mask == 0] = 255 if number else 0
            label = np.full_like(mask, 255) if number == 2 else mask
            writer.add(id=f"c{number}", group=f"c{number}", role="test", image=mask[..., None], label=label)
    prepared = PreparedSet.open(tmp_path / "set")
    folder = tmp_path / "masks"
    folder.mkdir()
    for case in prepared.cases:
        Image.fromarray(np.ones((16, 12), np.uint8)).save(folder / f"{case.id}.png")
    record = import_predictions(prepared, folder, tmp_path / "run", TOOL)
    assert record["summary"]["dsc"]["n"] == 2
    assert record["summary"]["dsc"]["mean"] == pytest.approx((2 * 42 / (42 + 192) + 1) / 2)
    assert "1 case not scored, as the reference is unknown throughout: c2" in record["notes"]
    assert sorted(path.name for path in (tmp_path / "run/evaluation/test").iterdir()) == [
        "c0.png",
        "c1.png",
        "c2.png",
    ]
