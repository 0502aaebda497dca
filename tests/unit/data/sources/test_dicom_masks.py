"""Segments (SEG) and contours (RTSTRUCT) of DICOM as masks of series and of NIfTI files."""

import nibabel
import numpy as np
import pydicom
import pytest
from tests.unit.data.dicom import OBLIQUE, STRAIGHT, affine_of, outline, segmentation, series, structures

from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid
from metadcseg.data.formats.volumes import read_grid, read_volume
from metadcseg.data.prepare.checks import check_folder, check_scan
from metadcseg.data.prepare.pipeline import prepare_folder
from metadcseg.data.sources.dicom_mask import DicomMask
from metadcseg.data.sources.patterns import Patterns, scan_patterns
from metadcseg.data.store import PreparedSet
from metadcseg.errors import InputError

SHAPE = (13, 11, 6)


def block(x, y, z, size=3, depth=2):
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[x : x + size, y : y + size, z : z + depth] = 1
    return drawn


def noise(number=0, shape=SHAPE):
    return np.random.default_rng(number).integers(-90, 900, shape).astype(np.int16)


def two():
    return {"liver": block(2, 3, 1, 5, 3), "Tumor": block(4, 4, 2, 2, 1)}


def expected(segments):
    order = sorted(segments)
    labels = np.zeros(SHAPE, np.uint8)
    for name in sorted(order, key=lambda name: -int(segments[name].sum())):
        labels[segments[name] > 0] = order.index(name) + 1
    return labels


@pytest.fixture(scope="module")
def _highdicom():
    pytest.importorskip("highdicom", reason="SEG files of tests are written by highdicom (extra dev)")


@pytest.mark.usefixtures("_highdicom")
@pytest.mark.parametrize("orientation", [STRAIGHT, OBLIQUE, (0, 1, 0, 0, 0, -1)])
def test_segments_lie_on_their_series(tmp_path, orientation):
    slices = series(tmp_path / "images/a", noise(), orientation)
    path = segmentation(tmp_path / "a.dcm", slices, two())
    mask = DicomMask(path).read(read_grid(tmp_path / "images/a")[0])
    assert (mask.array == expected(two())).all()
    assert mask.names == {1: "Tumor", 2: "liver"}
    assert "4 places lie in two" in mask.notes[0]


@pytest.mark.usefixtures("_highdicom")
def test_frames_in_any_order_and_sparse_ones_are_placed(tmp_path):
    slices = series(tmp_path / "images", noise())
    path = segmentation(tmp_path / "a.dcm", slices, two())
    held = pydicom.dcmread(path)
    count = held.NumberOfFrames
    assert count < 2 * SHAPE[2]
    order = np.random.default_rng(1).permutation(count)
    frames = held.pixel_array[order]
    held.PerFrameFunctionalGroupsSequence = [held.PerFrameFunctionalGroupsSequence[index] for index in order]
    held.PixelData = pydicom.pixels.pack_bits(frames)
    held.save_as(path)
    mask = DicomMask(path).read(read_grid(tmp_path / "images")[0])
    assert (mask.array == expected(two())).all()


@pytest.mark.usefixtures("_highdicom")
@pytest.mark.parametrize("turn", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_image_may_be_a_nifti_file_in_any_order(tmp_path, turn):
    slices = series(tmp_path / "images", noise(), OBLIQUE)
    path = segmentation(tmp_path / "a.dcm", slices, two())
    grid = read_grid(tmp_path / "images")[0]
    flips = np.eye(4)
    flips[0, 0], flips[0, 3] = -1, SHAPE[0] - 1  # the first axis runs the other way
    affine = (np.array(grid.affine) @ flips)[:, [*turn, 3]]
    other = Grid(tuple(SHAPE[axis] for axis in turn), tuple(map(tuple, affine)))
    mask = DicomMask(path).read(other)
    assert mask.grid == other
    assert (mask.array == expected(two())[::-1].transpose(turn)).all()


@pytest.mark.usefixtures("_highdicom")
@pytest.mark.parametrize("top", [100, 255])  # 255 is what highdicom writes, and twice that is beyond a byte
def test_fractions_are_cut_at_one_half_and_said(tmp_path, top):
    slices = series(tmp_path / "images", noise())
    soft = {"liver": block(2, 2, 1) * 0.8 + block(6, 6, 3) * 0.3 + block(2, 7, 4)}
    mask = DicomMask(segmentation(tmp_path / "a.dcm", slices, soft, "FRACTIONAL", top)).read(
        read_grid(tmp_path / "images")[0]
    )
    assert (mask.array == block(2, 2, 1) + block(2, 7, 4)).all()
    assert "fractional, cut at one half" in mask.notes[-1]


@pytest.mark.usefixtures("_highdicom")
def test_segments_of_thicker_slices_are_no_stripes(tmp_path):
    """Frames on every second slice of the image, as of a series of half as many."""
    series(tmp_path / "images", noise())
    every = block(2, 2, 0, depth=6)
    every[:, :, 1::2] = 0
    path = segmentation(tmp_path / "a.dcm", series(tmp_path / "again", noise()), {"liver": every})
    with pytest.raises(InputError, match="frames of 'liver' lie 2 slices of the image apart"):
        DicomMask(path).read(read_grid(tmp_path / "images")[0])


@pytest.mark.usefixtures("_highdicom")
@pytest.mark.parametrize("orientation", [STRAIGHT, OBLIQUE])
def test_label_maps_hold_all_segments_in_one_frame(tmp_path, orientation):
    slices = series(tmp_path / "images", noise(), orientation)
    parts = {"liver": block(1, 1, 1), "tumor": block(6, 6, 2)}
    path = segmentation(tmp_path / "a.dcm", slices, parts, "LABELMAP")
    mask = DicomMask(path).read(read_grid(tmp_path / "images")[0])
    assert (mask.array == block(1, 1, 1) + 2 * block(6, 6, 2)).all()
    assert mask.names == {1: "liver", 2: "tumor"}


@pytest.mark.usefixtures("_highdicom")
def test_segments_on_a_coarser_grid_are_resampled_where_that_is_asked_for(tmp_path):
    for number in range(5):
        slices = series(tmp_path / f"low{number}", noise(number))
        segmentation(tmp_path / f"in/masks/c{number}.dcm", slices, {"liver": block(2, 3, 1, 5, 3)})
        grid = read_grid(tmp_path / f"low{number}")[0]
        affine = np.array(grid.affine) @ np.array(
            [[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 1, 0], [0, 0, 0, 1]]
        )
        (tmp_path / "in/images").mkdir(exist_ok=True)
        nibabel.save(
            nibabel.Nifti1Image(noise(number, (26, 22, 6)), affine), tmp_path / f"in/images/c{number}.nii.gz"
        )
    assert not check_folder(tmp_path / "in").ok
    prepare_folder(tmp_path / "in", tmp_path / "set", edges="none", resample_labels=True)
    held = PreparedSet.open(tmp_path / "set")
    want = block(2, 3, 1, 5, 3).repeat(2, axis=0).repeat(2, axis=1)
    assert all((held.reference(volume) == want).all() for volume in held.volumes)


@pytest.mark.usefixtures("_highdicom")
def test_segments_of_one_name_in_several_files_are_one_class(tmp_path):
    slices = series(tmp_path / "images", noise())
    segmentation(tmp_path / "a/1.dcm", slices, {"lesion": block(1, 1, 1), "lesion#2": block(5, 5, 1)})
    segmentation(tmp_path / "a/2.dcm", slices, {"lesion": block(8, 8, 3), "cyst": block(8, 1, 3)})
    mask = DicomMask(tmp_path / "a").read(read_grid(tmp_path / "images")[0])
    assert mask.names == {1: "cyst", 2: "lesion"}
    want = 2 * (block(1, 1, 1) + block(5, 5, 1) + block(8, 8, 3)) + block(8, 1, 3)
    assert (mask.array == want).all()


@pytest.mark.usefixtures("_highdicom")
def test_segments_that_lie_elsewhere(tmp_path):
    slices = series(tmp_path / "images", noise())
    path = segmentation(tmp_path / "a.dcm", slices, two())
    image = read_grid(tmp_path / "images")[0]
    finer = Grid(image.shape, tuple(map(tuple, np.array(image.affine) @ np.diag([0.5, 0.5, 1, 1]))))
    mask = DicomMask(path).read(finer)
    assert mask.grid.shape == (13, 11, 3)  # slices that show something, where the frames lie
    moved = np.array(image.affine)
    moved[:3, 3] += moved[:3, :3] @ (9, 0, 0)
    with pytest.raises(InputError, match="lie outside of the image, so it belongs to another series"):
        DicomMask(path).read(Grid(image.shape, tuple(map(tuple, moved))))
    with pytest.raises(InputError, match="does not say where that is"):
        DicomMask(path).read(Grid(image.shape, UNKNOWN_AFFINE, known=False))


@pytest.mark.usefixtures("_highdicom")
@pytest.mark.parametrize(
    "fault", ["PerFrameFunctionalGroupsSequence", "SegmentSequence", "cut", "SharedFunctionalGroupsSequence"]
)
def test_damaged_segments_are_one_sentence(tmp_path, fault):
    slices = series(tmp_path / "images", noise())
    path = segmentation(tmp_path / "a.dcm", slices, two())
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    else:
        held = pydicom.dcmread(path)
        delattr(held, fault)
        held.save_as(path)
    with pytest.raises(InputError, match=r"a\.dcm") as told:
        DicomMask(path).read(read_grid(tmp_path / "images")[0])
    assert str(told.value).count("\n") == 0


@pytest.mark.usefixtures("_highdicom")
def test_a_folder_of_series_with_segments_becomes_a_set(tmp_path):
    segments = {}
    for number in range(5):
        slices = series(tmp_path / f"in/images/c{number}", noise(number))
        segments[f"c{number}"] = {"liver": block(number, 3, 1, 5, 3), "tumor": block(number + 1, 4, 2, 2, 1)}
        named = dict(reversed(segments[f"c{number}"].items())) if number % 2 else segments[f"c{number}"]
        where = f"c{number}/x.dcm" if number == 3 else f"c{number}.dcm"
        segmentation(tmp_path / "in/masks" / where, slices, named)
    segmentation(
        tmp_path / "in/gold/c1.dcm", slices=series(tmp_path / "again", noise(1)), segments=segments["c2"]
    )
    assert check_folder(tmp_path / "in").ok
    prepare_folder(tmp_path / "in", tmp_path / "set", edges="none")
    held = PreparedSet.open(tmp_path / "set")
    assert held.classes == ("background", "liver", "tumor")
    for volume in held.volumes:
        key = "c2" if volume.id == "c1" else volume.id
        assert (held.reference(volume) == expected(segments[key])).all()


def ring(z, affine):
    return [
        ("CLOSED_PLANAR", outline((2, 2, 8, 8), z, affine)),
        ("CLOSED_PLANAR", outline((4, 4, 6, 6), z, affine)),
    ]


def hollow():
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[2:9, 2:9, 1:5] = 1
    drawn[4:7, 4:7, 1:5] = 0
    return drawn


@pytest.mark.parametrize("orientation", [STRAIGHT, OBLIQUE, (0, 1, 0, 0, 0, -1)])
def test_contours_are_drawn_with_their_holes(tmp_path, orientation):
    series(tmp_path / "images", noise(), orientation)
    affine = affine_of(orientation)
    contours = [each for z in range(1, 5) for each in ring(z, affine)]
    path = structures(
        tmp_path / "a.dcm", {"bowel": contours, "seed": [("POINT", outline((3, 3, 3, 3), 2, affine)[:1])]}
    )
    mask = DicomMask(path).read(read_grid(tmp_path / "images")[0])
    assert (mask.array == hollow()).all()
    assert mask.names == {1: "bowel"}
    assert "1 POINT contour enclose nothing" in mask.notes[0]


def test_a_keyhole_is_a_hole_and_a_repeated_contour_none(tmp_path):
    series(tmp_path / "images", noise())
    outer, inner = outline((2, 2, 8, 8), 2), outline((4, 4, 6, 6), 2)
    keyhole = np.concatenate([outer, outer[:1], inner[:1], inner[::-1], outer[:1]])
    path = structures(tmp_path / "a.dcm", {"bowel": [("CLOSED_PLANAR", keyhole), ("CLOSED_PLANAR", keyhole)]})
    mask = DicomMask(path).read(read_grid(tmp_path / "images")[0])
    assert (mask.array[:, :, 2] == hollow()[:, :, 2]).all()
    assert "1 repeated contour" in mask.notes[0]


def test_circles_are_drawn_by_the_centers_of_voxels(tmp_path):
    series(tmp_path / "images", noise(), OBLIQUE)
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    x, y = 6.2 + 4.1 * np.cos(turn), 5.1 + 3.3 * np.sin(turn)
    points = (np.stack([x, y, np.full(400, 3.0), np.ones(400)], axis=1) @ affine_of(OBLIQUE).T)[:, :3]
    mask = DicomMask(structures(tmp_path / "a.dcm", {"eye": [("CLOSED_PLANAR", points)]})).read(
        read_grid(tmp_path / "images")[0]
    )
    column, row = np.mgrid[: SHAPE[0], : SHAPE[1]]
    inside = ((column - 6.2) / 4.1) ** 2 + ((row - 5.1) / 3.3) ** 2 < 1
    assert (mask.array[:, :, 3] == inside).all()
    assert mask.array.sum() == inside.sum()


def test_contours_off_the_slices_are_counted_or_refused(tmp_path):
    series(tmp_path / "images", noise())
    grid = read_grid(tmp_path / "images")[0]
    good = [("CLOSED_PLANAR", outline((2, 2, 5 + n, 8), z)) for z in range(5) for n in range(3)]
    odd = [("CLOSED_PLANAR", outline((2, 2, 8, 8), 2.5))]
    mask = DicomMask(structures(tmp_path / "a.dcm", {"a": good + odd})).read(grid)
    assert any("1 contour between its slices, left out" in note for note in mask.notes)
    mask = DicomMask(
        structures(tmp_path / "b.dcm", {"a": [*good, ("CLOSED_PLANAR", outline((2, 2, 8, 8), 9))]})
    ).read(grid)
    assert any("1 contour outside of the image, left out" in note for note in mask.notes)
    mask = DicomMask(
        structures(tmp_path / "c.dcm", {"a": [("CLOSED_PLANAR", outline((-3, 2, 4, 4), 1))]})
    ).read(grid)
    assert "1 contour reach beyond the image" in mask.notes[0]
    assert mask.array.sum() == 15
    with pytest.raises(InputError, match="of 1 contours lie 1 between its slices"):
        DicomMask(structures(tmp_path / "d.dcm", {"a": odd})).read(grid)
    thick = [("CLOSED_PLANAR", outline((2, 2, 8, 8), z)) for z in (0, 2, 4)]
    with pytest.raises(InputError, match="lie 2 slices of the image apart"):
        DicomMask(structures(tmp_path / "e.dcm", {"a": thick})).read(grid)
    slanted = outline((2, 2, 8, 8), 2) + np.array([(0, 0, 0), (0, 0, 0), (0, 0, 6), (0, 0, 6)])
    with pytest.raises(InputError, match="slanted to the slices"):
        DicomMask(structures(tmp_path / "f.dcm", {"a": [("CLOSED_PLANAR", slanted)]})).read(grid)


def test_regions_of_one_name_are_joined(tmp_path):
    """Contours of one region inside each other are a hole, those of two regions are not."""
    series(tmp_path / "images", noise())
    boxes = {"GTV#1": (1, 1, 8, 8), "GTV#2": (3, 3, 5, 5), "GTV#3": (7, 2, 11, 4)}
    regions = {name: [("CLOSED_PLANAR", outline(box, 2))] for name, box in boxes.items()}
    mask = DicomMask(structures(tmp_path / "a.dcm", regions)).read(read_grid(tmp_path / "images")[0])
    wanted = np.zeros(SHAPE, np.uint8)
    for left, top, right, bottom in boxes.values():
        wanted[left : right + 1, top : bottom + 1, 2] = 1
    assert (mask.array == wanted).all()
    assert mask.names == {1: "GTV"}


def test_a_region_within_another_one_is_kept(tmp_path):
    series(tmp_path / "images", noise())
    grid = read_grid(tmp_path / "images")[0]
    body, aorta = [("CLOSED_PLANAR", outline((1, 1, 9, 9), 2))], [("CLOSED_PLANAR", outline((3, 3, 4, 4), 2))]
    for name in ("Aorta", "heart"):
        path = structures(tmp_path / f"{name}.dcm", {"Body": body, name: aorta})
        mask = DicomMask(path).read(grid)
        number = next(value for value, held in mask.names.items() if held == name)
        assert (mask.array[3:5, 3:5, 2] == number).all()
        assert np.count_nonzero(mask.array == number) == 4


@pytest.mark.parametrize("fault", ["StructureSetROISequence", "number", "points", "far", "cut"])
def test_damaged_structures_are_one_sentence(tmp_path, fault):
    series(tmp_path / "images", noise())
    path = structures(tmp_path / "a.dcm", {"a": [("CLOSED_PLANAR", outline((2, 2, 8, 8), 2))]})
    held = pydicom.dcmread(path)
    if fault == "number":
        held.ROIContourSequence[0].ReferencedROINumber = 9
    elif fault == "points":
        held.ROIContourSequence[0].ContourSequence[0].ContourData = [1.0] * 10
    elif fault == "far":
        held.ROIContourSequence[0].ContourSequence[0].ContourData = [0, 0, 15, 1e300, 0, 15, 0, 9, 15]
    elif fault != "cut":
        delattr(held, fault)
    held.save_as(path)
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"a\.dcm"):
        DicomMask(path).read(read_grid(tmp_path / "images")[0])


def test_two_structure_sets_leave_it_open_and_label_slices_are_read_as_ever(tmp_path):
    series(tmp_path / "images", noise())
    grid = read_grid(tmp_path / "images")[0]
    for name in "ab":
        structures(tmp_path / f"two/{name}.dcm", {"a": [("CLOSED_PLANAR", outline((2, 2, 8, 8), 2))]})
    with pytest.raises(InputError, match=r"holds a\.dcm, b\.dcm, and which of them is the mask is open"):
        DicomMask(tmp_path / "two").read(grid)
    series(tmp_path / "labels", block(2, 2, 2).astype(np.int16))
    assert (DicomMask(tmp_path / "labels").read(grid).array == block(2, 2, 2)).all()
    assert read_volume(tmp_path / "images").array.shape == (*SHAPE, 1)


def test_patterns_find_structures_as_well(tmp_path):
    for number in range(5):
        series(tmp_path / f"in/c{number}/ct", noise(number))
        contours = [("CLOSED_PLANAR", outline((1 + number, 2, 6 + number, 7), z)) for z in range(1, 4)]
        structures(tmp_path / f"in/c{number}/RS.1.2.dcm", {"GTV": contours})
    scan = scan_patterns(tmp_path / "in", Patterns(("{case}/ct",), "{case}/RS*.dcm"))
    assert check_scan(tmp_path / "in", scan).ok


def test_a_folder_of_series_with_structures_becomes_a_set(tmp_path):
    for number in range(5):
        series(tmp_path / f"in/images/c{number}", noise(number))
        contours = [("CLOSED_PLANAR", outline((1 + number, 2, 6 + number, 7), z)) for z in range(1, 4)]
        structures(tmp_path / f"in/masks/c{number}_rtstruct.dcm", {"GTV": contours})
    assert check_folder(tmp_path / "in").ok
    prepare_folder(tmp_path / "in", tmp_path / "set", edges="none")
    held = PreparedSet.open(tmp_path / "set")
    assert held.classes == ("background", "GTV")
    assert all(
        (held.reference(volume) == block(1 + int(volume.id[1:]), 2, 1, 6, 3)).all() for volume in held.volumes
    )


@pytest.mark.usefixtures("_highdicom")
@pytest.mark.parametrize("inner", [False, True])
def test_each_class_may_have_a_folder_of_segments(tmp_path, inner):
    for number in range(6):
        slices = series(tmp_path / f"images/a{number}", noise(number))
        for name, drawn in two().items():
            where = tmp_path / "masks" / name / (f"a{number}/seg.dcm" if inner else f"a{number}.dcm")
            where.parent.mkdir(parents=True, exist_ok=True)
            segmentation(where, slices, {"Segment": drawn})
    assert check_folder(tmp_path, subfolders="classes").ok
    prepare_folder(tmp_path, tmp_path / "set", edges="none", subfolders="classes")
    prepared = PreparedSet.open(tmp_path / "set")
    assert prepared.classes == ("background", "Tumor", "liver")
    for volume in prepared.volumes:
        assert (prepared.reference(volume) == expected(two())).all()
