import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.unit.data.folders import KVASIR, codes, disc, make_folder, mixed_folder, picture, save, write

from metadcseg.data.prepare.checks import check_folder, check_set
from metadcseg.data.prepare.edges import cost_of
from metadcseg.data.prepare.pipeline import prepare_cases, prepare_folder, prepare_scan
from metadcseg.data.sources import RawCase, scan_kvasir
from metadcseg.data.store.reader import PreparedSet
from metadcseg.data.synthetic.phantom import PhantomOptions, phantom_cases
from metadcseg.errors import InputError


def by_id(prepared):
    return {case.id: case for case in prepared.cases}


def test_a_folder_becomes_a_set(tmp_path):
    folder = make_folder(tmp_path / "mine", gold=5)
    save(folder / "gold" / "case00.png", np.roll(disc(value=1), 3, axis=1))
    report = prepare_folder(folder, tmp_path / "set")
    prepared = PreparedSet.open(tmp_path / "set")
    assert (prepared.name, prepared.classes, prepared.channels) == ("mine", ("background", "foreground"), 3)
    assert report.cases == {"train": 5, "gold": 5, "val": 1, "test": 1}
    assert report.cases == {role: len(prepared.select(role)) for role in report.cases}
    cases = by_id(prepared)
    for number in range(12):
        case = cases[f"case{number:02d}"]
        np.testing.assert_array_equal(prepared.image(case), picture(number))
        assert case.has_truth == (case.role == "gold")
    np.testing.assert_array_equal(prepared.label(cases["case07"]), disc(value=1))
    verified = np.roll(disc(value=1), 3, axis=1)  # gold/, not masks/
    np.testing.assert_array_equal(prepared.label(cases["case00"]), verified)
    np.testing.assert_array_equal(prepared.truth(cases["case00"]), verified)
    assert prepared.source["roles"] == "drawn"
    for number in range(5):
        np.testing.assert_array_equal(
            prepared.given(cases[f"case{number:02d}"]), np.roll(disc(value=1), 2, axis=0)
        )
    assert report.raw_bytes == 12 * 480 * 5 + 5 * 480 + 5 * 480  # the masks that gold ones replaced, too
    assert report.pairs == report.to_dict()["pairs"] == sum(case.has_given for case in prepared.cases) == 5
    assert json.loads(json.dumps(report.to_dict()))["cases"]["gold"] == 5


def test_the_same_folder_gives_the_same_set(tmp_path):
    folder = make_folder(tmp_path / "mine", gold=5)
    prints = set()
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        prepare_folder(folder, tmp_path / out, seed=seed)
        prints.add(PreparedSet.open(tmp_path / out).fingerprint)
    assert len(prints) == 2


def test_gray_and_color_depth_and_size_may_mix(tmp_path):
    folder = make_folder(tmp_path / "mine", gold=5)
    deep = picture(60, 30, 17, channels=1).astype(np.uint16) * 200
    save(folder / "images" / "case05.png", deep)
    save(folder / "masks" / "case05.png", disc(30, 17))
    prepare_folder(folder, tmp_path / "set")
    prepared = PreparedSet.open(tmp_path / "set")
    case = by_id(prepared)["case05"]
    image = prepared.image(case)
    assert (image.shape, image.dtype, case.height, case.width) == ((30, 17, 3), np.uint16, 30, 17)
    assert (image == deep[:, :, None]).all()


def test_a_gray_folder_has_one_channel(tmp_path):
    folder = make_folder(tmp_path / "mine", gold=5)
    for number in range(12):
        save(folder / "images" / f"case{number:02d}.png", picture(number, channels=1))
    prepare_folder(folder, tmp_path / "set")
    assert PreparedSet.open(tmp_path / "set").channels == 1


def test_label_values_are_remapped_and_classes_named(tmp_path):
    folder = make_folder(tmp_path / "mine", gold=5)
    mask = disc(value=7, dtype=np.uint16)
    mask[:3] = 900
    for path in [*folder.glob("masks/*"), *folder.glob("gold/*")]:
        save(path, mask)
    with pytest.raises(InputError, match="--remap 7:1,900:2"):
        prepare_folder(folder, tmp_path / "set")
    names = ("background", "cyst", "vessel")
    prepare_folder(folder, tmp_path / "set", remap={7: 1, 900: 2}, classes=names)
    prepared = PreparedSet.open(tmp_path / "set")
    assert prepared.classes == names
    assert prepared.source["remap"] == {"7": 1, "900": 2}
    label = prepared.label(prepared.cases[0])
    np.testing.assert_array_equal(label, np.where(mask == 900, 2, mask == 7))


def test_unknown_pixels_stay_unknown(tmp_path):
    folder = make_folder(tmp_path / "mine", gold=5)
    mask = disc(value=1)
    mask[0] = 255
    for path in [*folder.glob("masks/*"), *folder.glob("gold/*")]:
        save(path, mask)
    prepare_folder(folder, tmp_path / "set")
    prepared = PreparedSet.open(tmp_path / "set")
    np.testing.assert_array_equal(prepared.label(prepared.cases[0]), mask)


# what stops it, with nothing left behind


def test_all_problems_are_counted_the_first_told_and_nothing_written(tmp_path):
    folder = make_folder(tmp_path / "mine", gold=5)
    for number in range(6, 11):
        path = folder / "images" / f"case{number:02d}.png"
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"5 problems: 5 images cannot be read, e\.g\. .*case06\.png"):
        prepare_folder(folder, tmp_path / "sets" / "set")
    assert not (tmp_path / "sets").exists()


def test_no_masks_and_no_folder_are_refused(tmp_path):
    folder = make_folder(tmp_path / "mine")
    for path in folder.glob("masks/*"):
        path.unlink()
    with pytest.raises(InputError, match="holds no mask files"):
        prepare_folder(folder, tmp_path / "set")
    with pytest.raises(InputError, match="does not exist"):
        prepare_folder(tmp_path / "missing", tmp_path / "set")
    with pytest.raises(InputError, match="no case"):
        prepare_cases([], tmp_path / "set", name="nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_interruption_leaves_nothing_behind(tmp_path):
    folder = make_folder(tmp_path / "mine", gold=5)

    def stop(done, total):
        if done == total - 2 * cost_of("pidinet"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_folder(folder, tmp_path / "set", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_occupied_folder_is_left_alone(tmp_path):
    folder = make_folder(tmp_path / "mine", gold=5)
    write(tmp_path / "set" / "thesis.txt", "years of work")
    with pytest.raises(InputError, match="already holds"):
        prepare_folder(folder, tmp_path / "set")
    assert (tmp_path / "set" / "thesis.txt").read_text() == "years of work"


# other sources


def test_phantoms_are_prepared_from_memory(tmp_path):
    cases = list(phantom_cases(PhantomOptions(count=12, size=32, classes=3, mixed_sizes=True)))
    seen = []
    report = prepare_cases(
        iter(cases), tmp_path / "set", name="phantom", progress=lambda done, total: seen.append((done, total))
    )
    prepared = PreparedSet.open(tmp_path / "set")
    assert report.classes == prepared.classes == ("background", "class 1", "class 2")
    for raw in cases:
        case = by_id(prepared)[raw.id]
        assert (case.role, case.group) == (raw.role, raw.group)
        np.testing.assert_array_equal(prepared.image(case), raw.images)
        np.testing.assert_array_equal(prepared.truth(case), raw.label)
    each = cost_of("pidinet")  # writing an image is little work, finding its edges much
    assert each > 10
    total = 12 * (1 + each)
    work = [*range(1, 13), *(12 + each * number for number in range(1, 13))]
    assert seen == [(done, total) for done in work]


def test_without_edges_reading_and_writing_count_alike(tmp_path):
    seen = []
    prepare_folder(
        make_folder(tmp_path / "mine", gold=5),
        tmp_path / "set",
        edges="none",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(number, 24) for number in range(1, 25)]


def test_spacing_travels(tmp_path):
    cases = [
        RawCase(role, role, role, picture(number), disc(value=1), spacing=(0.5, 0.8))
        for number, role in enumerate(("train", "gold", "val", "test"))
    ]
    prepare_cases(cases, tmp_path / "set", name="s")
    assert PreparedSet.open(tmp_path / "set").cases[0].spacing == (0.5, 0.8)


def test_the_same_image_in_training_and_test_is_refused(tmp_path):
    cases = [RawCase(role, role, role, picture(1), disc(value=1)) for role in ("train", "test")]
    with pytest.raises(InputError, match="shows the same image"):
        prepare_cases(cases, tmp_path / "set", name="s")


def test_kvasir_masks_are_thresholded_truth_everywhere(tmp_path):
    for number in range(20):
        save(tmp_path / "k" / "images" / f"cju{number:02d}.jpg", picture(number))
        save(tmp_path / "k" / "masks" / f"cju{number:02d}.jpg", disc(), quality=70)
    report = prepare_scan(scan_kvasir(tmp_path / "k", gold=5), tmp_path / "set", name="kvasir-seg")
    assert codes(report) == {"error": set(), "warning": set(), "note": {"mask-gray-levels"}}
    prepared = PreparedSet.open(tmp_path / "set")
    assert prepared.classes == ("background", "polyp")
    assert prepared.source["licence"]
    assert Counter(case.role for case in prepared.cases) == {"train": 11, "gold": 5, "val": 2, "test": 2}
    for case in prepared.cases:
        with Image.open(tmp_path / "k" / "masks" / f"{case.id}.jpg") as mask:
            np.testing.assert_array_equal(prepared.label(case), np.array(mask) > 127)
        np.testing.assert_array_equal(prepared.label(case), prepared.truth(case))


@pytest.mark.skipif(not KVASIR.is_dir(), reason="needs ../shared/data/kvasir-seg")
def test_a_dozen_real_images_of_mixed_sizes_and_formats(tmp_path):
    mixed_folder(tmp_path / "mine")
    report = prepare_folder(tmp_path / "mine", tmp_path / "set")
    prepared = PreparedSet.open(tmp_path / "set")
    assert report.channels == prepared.channels == 3
    assert report.classes == ("background", "foreground")
    assert len({(case.height, case.width) for case in prepared.cases}) == 12
    for case in prepared.cases:
        number = int(case.id.removeprefix("polyp-"))
        with Image.open(KVASIR / "train" / "masks" / f"{number}.jpg") as mask:
            size = (case.width, case.height)
            white = np.array(mask.resize(size, Image.Resampling.NEAREST)) > 127
        assert np.mean(prepared.label(case) != white) < 0.01
        assert set(np.unique(prepared.label(case))) == {0, 1}
    assert check_set(Path(report.path)).ok


@pytest.mark.parametrize("ignore", [{255: 255}, {9: 255}])
def test_a_case_whose_mask_is_unknown_throughout_is_left_out_and_named(tmp_path, ignore):
    folder, value = make_folder(tmp_path / "in"), next(iter(ignore))
    for number, path in enumerate(sorted((folder / "masks").iterdir())):
        mask = (np.array(Image.open(path)) > 0).astype(np.uint8)
        mask[0, 0] = value  # somewhere unknown, so that 255 is not white
        Image.fromarray(np.full_like(mask, value) if number == 4 else mask).save(path)
    (finding,) = [one for one in check_folder(folder, remap=ignore).findings if one.code == "mask-unknown"]
    assert "case04.png is unknown (255) throughout: the case is left out" in finding.sentence
    report = prepare_folder(folder, tmp_path / "set", edges="none", remap=ignore)
    assert finding in report.findings
    ids = {case.id for case in PreparedSet.open(tmp_path / "set").cases}
    assert ids == {path.stem for path in (folder / "images").iterdir()} - {"case04"}


def test_masks_that_are_white_throughout_are_foreground(tmp_path):
    folder = make_folder(tmp_path / "in")
    path = sorted((folder / "masks").iterdir())[4]
    Image.fromarray(np.full_like(np.array(Image.open(path)), 255)).save(path)
    prepare_folder(folder, tmp_path / "set", edges="none", remap={0: 0, 255: 1})
    case = next(case for case in PreparedSet.open(tmp_path / "set").cases if case.id == "case04")
    assert (PreparedSet.open(tmp_path / "set").label(case) == 1).all()
