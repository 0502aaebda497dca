"""Masks out to drawing tools and back: pixel for pixel, by the tool's own library where there is one."""

import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage
from tests.unit.audit.simulated import simulate
from tests.unit.data.folders import disc, picture, save

from metadcseg.audit.exchange.coco import CocoWriter, _parts, _runs
from metadcseg.audit.exchange.cvat import CvatWriter
from metadcseg.audit.exchange.dicom_seg import DicomSegWriter
from metadcseg.audit.exchange.export import FORMATS, export_annotations
from metadcseg.audit.exchange.items import Item, Palette
from metadcseg.audit.exchange.label_studio import brush_runs
from metadcseg.cli.main import main
from metadcseg.data.annotations.coco import masks
from metadcseg.data.annotations.cvat import Colored, read_label_map
from metadcseg.data.annotations.label_studio import decode_runs
from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid
from metadcseg.data.formats.volumes import read_label_volume
from metadcseg.data.prepare.pipeline import prepare_folder
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError, shown


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three classes with ignored pixels, all masks exported by COCO; and its audit."""
    place = tmp_path_factory.mktemp("images")
    for number in range(8):
        save(place / f"mine/images/c {number}.png", picture(number))
        mask = np.roll(disc(value=1), number, axis=1)
        mask[14:17, 4:9] = 2
        mask[0, 10:12] = 255
        save(place / f"mine/masks/c {number}.png", mask)
    prepare_folder(place / "mine", place / "set", edges="none", classes=("background", "polyp", "tool"))
    prepared = PreparedSet.open(place / "set")
    return place, prepared, simulate(place / "audit", prepared, label=2)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    pytest.importorskip("pydicom")
    from tests.unit.data.dicom import OBLIQUE, series

    place = tmp_path_factory.mktemp("volumes")
    for number in range(5):
        noise = np.random.default_rng(number).normal(100, 20, (12, 10, 4)).astype(np.int16)
        series(place / f"mine/images/v{number}", noise, OBLIQUE)
        mask = np.zeros(noise.shape, np.uint8)
        mask[3:8, 2 : 5 + number % 3, 1:3] = 1
        grid = read_grid_of(place / f"mine/images/v{number}")
        (place / "mine/masks").mkdir(exist_ok=True)
        write_nifti(place / f"mine/masks/v{number}.nii.gz", mask, grid)
    prepare_folder(place / "mine", place / "set", edges="none", val=0.2, test=0.2)
    prepared = PreparedSet.open(place / "set")
    return place, prepared, simulate(place / "audit", prepared)


def read_grid_of(path):
    from metadcseg.data.formats.volumes import read_grid

    return read_grid(path)[0]


def write_nifti(path, mask, grid):
    from metadcseg.data.formats.volumes import write_label_volume

    write_label_volume(path, mask, grid)


def exported(tmp_path, audit, to):
    out = tmp_path / "out"
    export_annotations(audit, out, to)
    return out


def came_back(tmp_path, images, files, *names):
    """Put what was exported into gold/ of the folder, prepare, and compare."""
    place, _, arrays = images
    shutil.copytree(place / "mine", tmp_path / "again")
    gold = tmp_path / "again/gold"
    gold.mkdir()
    for name in names:
        (shutil.copytree if (files / name).is_dir() else shutil.copy)(files / name, gold / name)
    first = next(iter(arrays))
    unverified = tmp_path / f"again/masks/{first}.png"
    assert unverified.exists()
    prepare_folder(tmp_path / "again", tmp_path / "set", edges="none", val=0.0, test=0.0)
    again = {case.id: case for case in PreparedSet.open(tmp_path / "set").cases}
    opened = PreparedSet.open(tmp_path / "set")
    for id, held in arrays.items():
        assert again[id].role == "gold"
        assert np.array_equal(opened.label(again[id]), held.corrected["balanced"][0])
        assert np.array_equal(opened.given(again[id]), held.given[0])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with NumPy 2
def test_coco_by_pycocotools(images, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    place, _, arrays = images
    out = exported(tmp_path, place / "audit", "coco")
    held = coco.COCO(str(out / "annotations.json"))
    names = {entry["id"]: entry["name"] for entry in held.loadCats(held.getCatIds())}
    assert list(names.values()) == ["polyp", "tool", "ignore"]
    for image in held.loadImgs(held.getImgIds()):
        mask = np.zeros((image["height"], image["width"]), np.uint8)
        for told in held.loadAnns(held.getAnnIds(imgIds=image["id"])):
            mask[held.annToMask(told) > 0] = {"polyp": 1, "tool": 2, "ignore": 255}[
                names[told["category_id"]]
            ]
            assert 0 <= told["score"] <= 1
        assert np.array_equal(mask, arrays[image["file_name"].removesuffix(".png")].corrected["balanced"][0])
    came_back(tmp_path, images, out, "annotations.json")


def test_parts_of_coco_are_those_of_pycocotools_at_the_edges_too():
    from pycocotools import mask as coco

    for seed in range(20):
        shown = np.random.default_rng(seed).random((9, 7)) < 0.4
        numbers, count = ndimage.label(shown, np.ones((3, 3)))
        parts = _parts(shown)
        assert len(parts) == count
        for number, places in enumerate(parts, start=1):
            made = coco.frPyObjects(_runs(places, 9, 7), 9, 7)
            assert made == coco.encode(np.asfortranarray(numbers == number, np.uint8))


def test_many_objects_of_coco_are_not_each_looked_for_in_the_whole_image(tmp_path, monkeypatch):
    pytest.importorskip("pycocotools")
    labels = np.zeros((128, 128), np.uint8)
    labels.reshape(16, 8, 16, 8)[:, 2:7, :, 2:7] = 1
    monkeypatch.setattr(masks, "encode", None)  # reads a whole image
    writer = CocoWriter(tmp_path, Palette(("background", "cell")))
    writer.add(Item("a", None, labels, np.full(labels.shape, 51, np.uint8)))
    assert writer.close() == {"annotations": 256}
    told = json.loads((tmp_path / "annotations.json").read_text())["annotations"]
    assert {(one["area"], one["score"], *one["bbox"][2:]) for one in told} == {(25, 0.8, 5.0, 5.0)}


def test_cvat_masks_in_color(images, tmp_path):
    place, _, arrays = images
    out = exported(tmp_path, place / "audit", "cvat")
    colors = read_label_map(out / "labelmap.txt")
    assert list(colors.values()) == ["background", "polyp", "tool", "ignore"]
    numbers = {"background": 0, "polyp": 1, "tool": 2, "ignore": 255}
    for id, held in arrays.items():
        with Image.open(out / f"SegmentationClass/{id}.png") as image:
            pixels = np.array(image)
        mask = np.zeros(pixels.shape[:2], np.uint8)
        for color, name in colors.items():
            mask[(pixels == color).all(axis=-1)] = numbers[name]
        assert np.array_equal(mask, held.corrected["balanced"][0])
        with Image.open(out / f"SegmentationObject/{id}.png") as image:
            assert len(np.unique(np.array(image).reshape(-1, 3), axis=0)) > 3
    listed = (out / "ImageSets/Segmentation/default.txt").read_text().splitlines()
    assert sorted(listed) == sorted(arrays)
    came_back(tmp_path, images, out, "labelmap.txt", "SegmentationClass")


def test_each_of_many_classes_has_a_color_of_its_own_in_cvat(tmp_path):
    names = ["background", *(f"organ {number}" for number in range(1, 255))]
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    writer = CvatWriter(tmp_path, Palette(names, ignored=True))
    writer.add(Item("a", None, labels, labels))
    writer.close()
    colors = read_label_map(tmp_path / "labelmap.txt")
    assert list(colors.values()) == [*names, "ignore"]
    file = Colored(tmp_path / "SegmentationClass/a.png", tmp_path / "labelmap.txt", list(colors), range(256))
    assert np.array_equal(file.read(Grid((16, 16, 1), UNKNOWN_AFFINE, known=False)).array[..., 0], labels)


@pytest.mark.parametrize("name", ["#1 liver", " # liver", "a:1,2,3", "liver: left", "a\nb", "Background"])
def test_a_class_that_a_label_map_of_cvat_does_not_give_back_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"cannot hold the class .*; give another --to") as refused:
        CvatWriter(tmp_path, Palette(("background", "kidney", name)))
    assert shown(name) in str(refused.value)


def test_label_studio_by_brush(images, tmp_path):
    out = exported(tmp_path, images[0] / "audit", "label-studio")
    task = json.loads((out / "tasks.json").read_text())[0]
    assert task["data"]["image"].startswith("/data/local-files/?d=images/c%20")
    assert '<Label value="polyp"' in (out / "label_config.xml").read_text()
    came_back(tmp_path, images, out, "tasks.json")


@pytest.mark.parametrize("seed", range(4))
def test_runs_of_a_brush_are_those_that_are_read(seed):
    rng = np.random.default_rng(seed)
    inside = rng.random((rng.integers(1, 200), 180)) < (0.5, 0.001, 0.0, 1.0)[seed]
    words = decode_runs(brush_runs(inside), 4 * inside.size)
    assert np.array_equal(words.reshape(*inside.shape, 4) == 255, np.repeat(inside[..., None], 4, axis=2))


def test_tiff_with_names_and_suspicion(images, tmp_path):
    place, _, arrays = images
    out = exported(tmp_path, place / "audit", "tiff")
    for id, held in arrays.items():
        assert np.array_equal(tifffile.imread(out / f"{id}.tif"), held.corrected["balanced"][0])
        expected = np.rint(held.wrong[0] * 255).astype(np.uint8)
        assert np.array_equal(tifffile.imread(out / f"suspicion/{id}.tif"), expected)
    lines = (out / "labels.txt").read_text().splitlines()
    assert [line.split(maxsplit=7)[7] for line in lines] == ['"background"', '"polyp"', '"tool"', '"ignore"']
    came_back(tmp_path, images, out, *(f"{id}.tif" for id in arrays))


def in_slices(prepared, id, array):
    return next(volume for volume in prepared.volumes if volume.id == id).placement.stack(array)


@pytest.mark.parametrize("to", ["nifti", "slicer"])
def test_volumes_by_their_own_libraries(volumes, tmp_path, to):
    place, prepared, arrays = volumes
    out = exported(tmp_path, place / "audit", to)
    for id, held in arrays.items():
        if to == "nifti":
            image = pytest.importorskip("nibabel").load(out / f"{id}.nii.gz")
            labels = np.asarray(image.dataobj)
            grid = read_grid_of(place / f"mine/images/{id}")
            assert np.allclose(image.affine, np.array(grid.affine), atol=1e-5)
        else:
            sitk = pytest.importorskip("SimpleITK")
            image = sitk.ReadImage(str(out / f"{id}.seg.nrrd"))
            labels = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
            assert image.GetMetaData("Segment0_Name") == "foreground"
            assert image.GetMetaData("Segment0_Color") == "0.337255 0.705882 0.913725"
            assert image.GetMetaData("Segmentation_MasterRepresentation") == "Binary labelmap"
        assert np.array_equal(in_slices(prepared, id, labels), held.corrected["balanced"])
    suspicion = read_label_volume(next((out / "suspicion").glob("v*")))
    assert suspicion.array.max() == 204
    end = {"nifti": ".nii.gz", "slicer": ".seg.nrrd"}[to]
    came_back_volumes(tmp_path, volumes, out, end)


def came_back_volumes(tmp_path, volumes, out, end):
    place, _, arrays = volumes
    shutil.copytree(place / "mine", tmp_path / "again")
    (tmp_path / "again/gold").mkdir()
    kept = [*arrays][:-1]
    for id in kept:
        shutil.copy(out / f"{id}{end}", tmp_path / "again/gold")
    prepare_folder(tmp_path / "again", tmp_path / "set", edges="none", val=0.0, test=0.0)
    opened = PreparedSet.open(tmp_path / "set")
    for volume in opened.volumes:
        cases = opened.slices_of(volume)
        if volume.id in kept:
            for name, wanted in (
                ("label", arrays[volume.id].corrected["balanced"]),
                ("given", arrays[volume.id].given),
            ):
                assert np.array_equal(np.stack([getattr(opened, name)(case) for case in cases]), wanted)


def test_dicom_seg_by_highdicom(volumes, tmp_path):
    hd = pytest.importorskip("highdicom")
    place, prepared, arrays = volumes
    out = exported(tmp_path, place / "audit", "dicom-seg")
    for id, held in arrays.items():
        made = hd.seg.segread(out / f"{id}.dcm")
        assert [each.SegmentLabel for each in made.SegmentSequence] == ["foreground"]
        files = sorted((place / f"mine/images/{id}").iterdir())
        uids = [__import__("pydicom").dcmread(file).SOPInstanceUID for file in files]
        frames = made.get_pixels_by_source_instance(
            uids, combine_segments=True, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
        )
        assert np.array_equal(in_slices(prepared, id, frames.transpose(2, 1, 0)), held.corrected["balanced"])
    came_back_volumes(tmp_path, volumes, out, ".dcm")


def test_dicom_seg_comes_back_to_masks_of_numbers(volumes, tmp_path):
    pytest.importorskip("highdicom")
    place, _, _ = volumes
    shutil.copytree(place / "mine/images", tmp_path / "mine/images")
    grid, shown = read_grid_of(place / "mine/images/v0"), {}
    (tmp_path / "mine/masks").mkdir()
    (tmp_path / "mine/gold").mkdir()
    writer = DicomSegWriter(tmp_path / "mine/gold", Palette(("background", "class 1", "class 2")))
    for number in range(5):
        mask = np.zeros(grid.shape, np.uint8)
        mask[3:8, 2:5, 1:3], mask[3:8, 6:8, 1:3] = 1, 2
        write_nifti(tmp_path / f"mine/masks/v{number}.nii.gz", mask, grid)
        if number < 2:
            mask = np.where(mask == number + 1, 0, mask).astype(np.uint8)  # so its only segment is number 1
            writer.add(Item(f"v{number}", tmp_path / f"mine/images/v{number}", mask, mask))
            shown[f"v{number}"] = mask
    prepare_folder(tmp_path / "mine", tmp_path / "set", edges="none", val=0.0, test=0.0)
    prepared = PreparedSet.open(tmp_path / "set")
    assert prepared.classes == ("background", "class 1", "class 2")
    for volume in prepared.volumes:
        if volume.id in shown:
            assert np.array_equal(prepared.reference(volume), shown[volume.id])


def test_the_command_and_what_it_refuses(images, tmp_path, capsys):
    place = images[0]
    words = ["export-annotations", str(place / "audit"), "--out", str(tmp_path / "out"), "--to"]
    assert main([*words, "slicer"]) == 2
    assert "--to slicer does not hold images: choose one of coco, cvat" in capsys.readouterr().err
    assert main([*words, "coc"]) == 2
    assert "did you mean 'coco'" in capsys.readouterr().err
    assert main([*words, "tiff", "--worst", "2", "--level", "given"]) == 0
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'out'}: given masks of 2 cases for tiff\n"
    assert told.err == "note: 2 cases with ignored pixels: they have the class 'ignore'\n"
    assert len(list((tmp_path / "out").glob("*.tif"))) == 2
    assert main([*words, "tiff"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(InputError, match="--worst must be"):
        export_annotations(place / "audit", tmp_path / "more", FORMATS[0], worst=0)
