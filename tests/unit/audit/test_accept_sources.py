"""Decisions on sets that came from exports, several annotators, HDF5 or a known data set."""

import json

import numpy as np
import pytest
from tests.unit.audit.simulated import decide, simulate
from tests.unit.data.dicom import outline, structures
from tests.unit.data.folders import disc, make_folder, picture, save

from metadcseg.audit.accept import accept
from metadcseg.audit.again import prepare_again
from metadcseg.cli.main import main
from metadcseg.data.prepare.pipeline import prepare_folder, prepare_scan
from metadcseg.data.sources.kvasir import scan_kvasir
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError

h5py = pytest.importorskip("h5py")
nibabel = pytest.importorskip("nibabel")

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # what DICOM counts in


def reviewed(tmp_path, prepared, label=1):
    """Accept the first case, and prepare what comes of it by the command that is told."""
    arrays = simulate(tmp_path / "audit", prepared, label=label)
    id = next(iter(arrays))
    decisions = decide(tmp_path / "audit", prepared, {"case": id, "verdict": "accept"})
    accepted, _ = accept(decisions, tmp_path / "better")
    assert main(prepare_again(prepared, accepted.folder)[1:]) == 0
    again = PreparedSet.open(f"{accepted.folder}-set")
    held = [case for case in again.cases if id in (case.id, case.volume)]
    assert {case.role for case in held} == {"gold"}
    for name, wanted in (("label", arrays[id].corrected["balanced"]), ("given", arrays[id].given)):
        assert np.array_equal(np.stack([getattr(again, name)(case) for case in held]), wanted)
    return again, id


@pytest.mark.parametrize("unused", [False, True])
def test_polygons_of_coco(tmp_path, unused):
    """A name without any shape has no number, until a mask of pixels lies beside the drawings."""
    pytest.importorskip("pycocotools")
    images, annotations = [], []
    for number in range(8):
        save(tmp_path / f"mine/images/c{number}.png", picture(number))
        images.append({"id": number, "file_name": f"c{number}.png", "height": 20, "width": 24})
        for category, left in ((7, 4), (3, 12)):
            ring = [left, 6, left + 5, 6, left + 5, 12 + number % 3, left, 12]
            held = {"id": len(annotations), "image_id": number, "category_id": category}
            annotations.append(held | {"segmentation": [ring]})
    categories = [{"id": 7, "name": "polyp"}, {"id": 3, "name": "tool"}]
    categories = [{"id": 1, "name": "findings"}] * unused + categories
    told = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "mine/masks").mkdir()
    (tmp_path / "mine/masks/all.json").write_text(json.dumps(told))
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none")
    if unused:
        with pytest.raises(InputError, match=r"names classes that no shape has \(findings\)"):
            reviewed(tmp_path, PreparedSet.open(tmp_path / "set"), label=2)
        return
    again, _ = reviewed(tmp_path, PreparedSet.open(tmp_path / "set"), label=2)
    assert again.classes == ("background", "polyp", "tool")


@pytest.mark.parametrize("regions", [("Tumor", "liver"), ("liver",)])
def test_contours_of_dicom_keep_the_names_of_their_classes(tmp_path, regions):
    """They are numbered by their names, which a mask of numbers alone would leave open."""
    for number in range(8):
        image = np.random.default_rng(number).normal(0, 1, (12, 11, 6)).astype(np.float32)
        (tmp_path / "mine/images").mkdir(parents=True, exist_ok=True)
        affine = np.diag([-0.8, -0.7, 2.5, 1])
        nibabel.save(nibabel.Nifti1Image(image, affine), tmp_path / f"mine/images/v{number}.nii.gz")
        boxes = {"Tumor": (2, 2, 3, 3), "liver": (5, 4, 9, 8)}
        told = {
            name: [("CLOSED_PLANAR", outline(boxes[name], z, LPS @ affine)) for z in range(1, 5)]
            for name in regions
        }
        structures(tmp_path / f"mine/masks/v{number}.dcm", told)
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    assert prepared.classes == ("background", *sorted(regions))
    again, _ = reviewed(tmp_path, prepared, label=len(regions))
    assert again.classes == prepared.classes
    assert [path.name for path in (tmp_path / "better/gold").iterdir()] == ["v0.seg.nrrd"]


def test_outlines_of_annotators(tmp_path):
    for number in range(8):
        save(tmp_path / f"mine/images/c{number}.png", picture(number))
        for shift, name in enumerate(("anna", "ben", "cleo")):
            save(tmp_path / f"mine/masks/{name}/c{number}.png", np.roll(disc(), shift, axis=1))
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none", fuse="staple")
    again, id = reviewed(tmp_path, PreparedSet.open(tmp_path / "set"))
    assert again.annotators == ("anna", "ben", "cleo")
    assert (tmp_path / f"better/gold/{id}.png").exists()


def test_an_annotator_who_was_drawn_is_drawn_again(tmp_path):
    for number in range(8):
        save(tmp_path / f"mine/images/c{number}.png", picture(number))
        for shift, name in enumerate(("anna", "ben", "cleo")):
            save(tmp_path / f"mine/masks/{name}/c{number}.png", np.roll(disc(), shift, axis=1))
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none", fuse="draw", seed=5)
    before = PreparedSet.open(tmp_path / "set")
    again, id = reviewed(tmp_path, before)
    drawn = {case.id: case.annotator for case in before.cases if case.id != id}
    assert {case.id: case.annotator for case in again.cases if case.id != id} == drawn


@pytest.mark.parametrize("listed", [False, True])
def test_cases_that_a_limit_left_out_stay_out(tmp_path, listed):
    make_folder(tmp_path / "mine")
    if listed:  # then a set does not say which seed drew the cases
        ids = sorted(path.stem for path in (tmp_path / "mine/images").iterdir())
        rows = "".join(f"{id},{'test' if id == ids[0] else 'train'}\n" for id in ids)
        (tmp_path / "mine/splits.csv").write_text(f"id,role\n{rows}")
    shares = {} if listed else {"val": 0.1, "test": 0.1}
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none", limit=4, seed=3, **shares)
    prepared = PreparedSet.open(tmp_path / "set")
    simulate(tmp_path / "audit", prepared)
    id = prepared.select("train")[0].id
    decisions = decide(tmp_path / "audit", prepared, {"case": id, "verdict": "accept"})
    accepted, _ = accept(decisions, tmp_path / "better")
    (note,) = [note for note in accepted.notes if "that the set does not have" in note]
    if listed:
        assert accepted.limit is None
        assert note.endswith(
            "splits.csv makes them training cases, so take their images out where they shall not be"
        )
        return
    assert main(prepare_again(prepared, accepted.folder, accepted.limit)[1:]) == 0
    again = PreparedSet.open(f"{accepted.folder}-set")
    wanted = {case.id: "gold" if case.id == id else case.role for case in prepared.cases}
    assert {case.id: case.role for case in again.cases} == wanted


def test_cases_whose_masks_are_unknown_stay_out_by_themselves(tmp_path):
    folder = make_folder(tmp_path / "mine", gold=3)
    save(folder / "masks/case07.png", np.full((20, 24), 9, np.uint8))
    prepare_folder(folder, tmp_path / "set", edges="none", remap={9: 255})
    prepared = PreparedSet.open(tmp_path / "set")
    simulate(tmp_path / "audit", prepared)
    id = prepared.select("train")[0].id
    accepted, _ = accept(
        decide(tmp_path / "audit", prepared, {"case": id, "verdict": "accept"}), tmp_path / "better"
    )
    assert accepted.limit is None
    assert not [note for note in accepted.notes if "does not have" in note]
    assert main(prepare_again(prepared, accepted.folder)[1:]) == 0
    again = PreparedSet.open(f"{accepted.folder}-set")
    assert [case.id for case in again.cases] == [case.id for case in prepared.cases]


def test_the_size_of_pixels_keeps_all_digits(tmp_path):
    for number in range(6):
        save(tmp_path / f"mine/images/c{number}.png", picture(number))
        save(tmp_path / f"mine/masks/c{number}.png", disc())
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none", spacing=(0.123456789, 1 / 3))
    before = PreparedSet.open(tmp_path / "set")
    again, _ = reviewed(tmp_path, before)
    assert {case.spacing for case in again.cases} == {case.spacing for case in before.cases}


def write_parts(folder, place, number, drawn):
    """Write the files of one mask, by class or by case; what is not drawn has no file."""
    for name, mask in drawn.items():
        save(folder / (f"{name}/c{number}.png" if place == "by class" else f"c{number}/{name}.png"), mask)


@pytest.mark.parametrize("gold", [0, 2])
@pytest.mark.parametrize("place", ["by class", "by case"])
def test_a_file_for_each_class_comes_back_as_one(tmp_path, place, gold):
    for number in range(9):
        save(tmp_path / f"mine/images/c{number}.png", picture(number))
        small = np.zeros_like(disc())
        small[14:17, 4:9] = 255
        drawn = {"liver": np.roll(disc(), number, axis=1), "cyst": small}
        if number % 3 == 2:
            del drawn["cyst"]
        write_parts(tmp_path / "mine/masks", place, number, drawn)
        if number < gold:
            write_parts(tmp_path / "mine/gold", place, number, {"liver": disc(), "cyst": small})
    options = {"subfolders": "classes"} if place == "by class" else {}
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none", **options)
    again, id = reviewed(tmp_path, PreparedSet.open(tmp_path / "set"), label=2)
    assert again.classes == ("background", "cyst", "liver")
    first, second = ("cyst", id) if place == "by class" else (id, "cyst")
    assert (tmp_path / f"better/gold/{first}/{second}.png").exists()


def test_a_set_that_does_not_say_what_folders_are_is_refused(tmp_path, monkeypatch):
    for number in range(8):
        save(tmp_path / f"mine/images/c{number}.png", picture(number))
        write_parts(
            tmp_path / "mine/masks", "by class", number, {"a": disc(), "b": np.roll(disc(), 8, axis=1)}
        )
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none", subfolders="classes")
    prepared = PreparedSet.open(tmp_path / "set")
    del prepared.source["subfolders"]
    monkeypatch.setattr(PreparedSet, "open", lambda path: prepared)
    id = next(iter(simulate(tmp_path / "audit", prepared)))
    decisions = decide(tmp_path / "audit", prepared, {"case": id, "verdict": "accept"})
    with pytest.raises(InputError, match=r"does not say what the folders in .* prepare it again"):
        accept(decisions, tmp_path / "better")


def test_volumes_of_a_file_for_each_class(tmp_path):
    for number in range(6):
        noise = np.random.default_rng(number).normal(size=(12, 10, 4)).astype(np.float32)
        for name, columns in (("liver", slice(1, 4)), ("cyst", slice(5, 8))):
            mask = np.zeros(noise.shape, np.uint8)
            mask[4:8, columns, 1:3] = 1
            path = tmp_path / f"mine/masks/v{number}/{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(mask, np.diag([1.5, 1.5, 3, 1])), path)
        (tmp_path / "mine/images").mkdir(exist_ok=True)
        image = nibabel.Nifti1Image(noise, np.diag([1.5, 1.5, 3, 1]))
        nibabel.save(image, tmp_path / f"mine/images/v{number}.nii.gz")
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none", val=0.2, test=0.2)
    _, id = reviewed(tmp_path, PreparedSet.open(tmp_path / "set"), label=2)
    assert (tmp_path / f"better/gold/{id}/cyst.nii.gz").exists()


@pytest.mark.parametrize(
    ("label", "remap", "told"), [(255, {}, "has ignored pixels"), (1, {2: 1}, "has other classes")]
)
def test_what_files_of_classes_cannot_hold_is_refused(tmp_path, label, remap, told):
    for number in range(8):
        save(tmp_path / f"mine/images/c{number}.png", picture(number))
        write_parts(
            tmp_path / "mine/masks", "by class", number, {"a": disc(), "b": np.roll(disc(), 8, axis=1)}
        )
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none", subfolders="classes", remap=remap)
    prepared = PreparedSet.open(tmp_path / "set")
    id = next(iter(simulate(tmp_path / "audit", prepared, label=label)))
    decisions = decide(tmp_path / "audit", prepared, {"case": id, "verdict": "accept"})
    with pytest.raises(InputError, match=rf"{told}.*corrected/"):
        accept(decisions, tmp_path / "better")
    assert not (tmp_path / "better").exists()


def test_where_two_annotators_differ_stays_ignored(tmp_path):
    for number in range(8):
        save(tmp_path / f"mine/images/c{number}.png", picture(number))
        for shift, name in enumerate(("anna", "ben")):
            save(tmp_path / f"mine/masks/{name}/c{number}.png", np.roll(disc(), shift, axis=1))
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    (tmp_path / "mine").rename(tmp_path / "moved")
    case = prepared.select("train")[0]
    doubt = prepared.label(case) == 255
    assert doubt.any()
    simulate(tmp_path / "audit", prepared)
    decisions = decide(tmp_path / "audit", prepared, {"case": case.id, "verdict": "reject"})
    accepted, _ = accept(decisions, tmp_path / "better", folder=tmp_path / "moved")
    assert main(prepare_again(prepared, accepted.folder)[1:]) == 0
    again = PreparedSet.open(f"{accepted.folder}-set")
    (gold,) = again.select("gold")
    assert gold.id == case.id
    assert np.array_equal(again.label(gold), prepared.label(case))


@pytest.mark.parametrize("beside", [False, True])
def test_hdf5_with_and_without_the_label_in_the_same_file(tmp_path, beside):
    for number in range(6):
        noise = np.random.default_rng(number).normal(size=(12, 10, 4)).astype(np.float32)
        mask = np.zeros(noise.shape, np.uint8)
        mask[3:8, 4:8, 1:3] = 1
        image = tmp_path / f"mine/images/v{number}.h5"
        label = tmp_path / f"mine/masks/v{number}.h5" if beside else image
        for path, key, array in ((image, "scan", noise), (label, "seg", mask)):
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "a") as file:
                file[key] = array
    keys = {"image_key": "scan", "label_key": "seg"}
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none", val=0.2, test=0.2, **keys)
    _, id = reviewed(tmp_path, PreparedSet.open(tmp_path / "set"))
    with h5py.File(tmp_path / f"better/gold/{id}.h5") as file:
        assert list(file) == ["seg"]
        assert file["seg"].dtype == np.uint8


def test_a_known_data_set_becomes_a_plain_folder(tmp_path):
    for number in range(12):
        save(tmp_path / f"kvasir/images/k{number}.jpg", picture(number), quality=95)
        save(tmp_path / f"kvasir/masks/k{number}.jpg", disc(), quality=95)
    prepare_scan(scan_kvasir(tmp_path / "kvasir", gold=2), tmp_path / "set", name="kvasir-seg", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    again, id = reviewed(tmp_path, prepared)
    before = {case.id: case for case in prepared.cases}
    assert {case.id for case in again.cases} == set(before)
    for case in again.cases:
        assert case.role == ("gold" if case.id == id else before[case.id].role)
        assert np.array_equal(again.image(case), prepared.image(before[case.id]))
        if case.id != id:
            assert np.array_equal(again.label(case), prepared.label(before[case.id]))
