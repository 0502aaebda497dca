"""Volumes become slices of a prepared set, one volume in memory at a time."""

import types
import weakref
from dataclasses import replace

import numpy as np
import pytest

from metadcseg.data.formats.geometry import Grid, Volume
from metadcseg.data.prepare.checks import check_set
from metadcseg.data.prepare.pipeline import prepare_scan
from metadcseg.data.prepare.placing import resample_labels
from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.data.sources import RawCase, Scan
from metadcseg.data.store.reader import PreparedSet
from metadcseg.data.synthetic.corruption import corrupt_set
from metadcseg.errors import InputError

GRID = Grid((12, 16, 5), ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 4, 0), (0, 0, 0, 1)))


class Reader:
    """Stands for the files: arrays by name, and how many image volumes are alive at once."""

    def __init__(self):
        self.arrays, self.grids, self.alive, self.most = {}, {}, weakref.WeakSet(), 0

    def read_volume(self, paths, *, key=None):
        array = self.arrays[paths.name].copy().view(_Counted)
        self.alive.add(array)
        self.most = max(self.most, len(self.alive))
        return Volume(array, self.grids.get(paths.name, GRID))

    def read_label_volume(self, path, *, key=None):
        return Volume(self.arrays[path.name].copy(), self.grids.get(path.name, GRID))

    def read_grid(self, path, key=None):
        return self.grids.get(path.name, GRID), self.arrays[path.name].shape[3]


class _Counted(np.ndarray):
    __hash__ = object.__hash__


@pytest.fixture
def reader(monkeypatch):
    from metadcseg.data.formats import volumes as volume_files

    made = Reader()
    for name in ("read_volume", "read_label_volume", "read_grid"):
        monkeypatch.setattr(volume_files, name, getattr(made, name), raising=False)
    return made


def _scan(reader, tmp_path, roles=("train", "gold", "val", "test"), **changes):
    rng = np.random.default_rng(0)
    volumes = []
    for number, role in enumerate(roles):
        reader.arrays[f"i{number}"] = rng.normal(size=(*GRID.shape, 2)).astype(np.float32)
        label = np.zeros(GRID.shape, np.int16)
        label[3:8, 4:11, 1:4] = 1
        label[5:7, 6:8, 2] = 2
        reader.arrays[f"l{number}"] = label
        volumes.append(
            RawCase(
                f"v{number}",
                role,
                f"p{number}",
                (tmp_path / f"i{number}",),
                tmp_path / f"l{number}",
                verified=role == "gold",
            )
        )
    return Scan(tuple(volumes), **changes)


def test_a_volume_becomes_its_slices(reader, tmp_path):
    scan = _scan(reader, tmp_path, regions={"both": [1, 2]}, classes=("background", "a", "b"))
    report = prepare_scan(scan, tmp_path / "set", name="set", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    assert report.cases == {"train": 5, "gold": 5, "val": 5, "test": 5}
    assert report.volumes == {"train": 1, "gold": 1, "val": 1, "test": 1}
    assert prepared.preprocessing == SliceOptions().to_dict()
    assert prepared.regions == {"both": [1, 2]}
    assert [volume.id for volume in prepared.volumes] == ["v0", "v1", "v2", "v3"]
    volume = prepared.volumes[1]
    cases = prepared.slices_of(volume)
    assert [case.slice for case in cases] == [0, 1, 2, 3, 4]
    assert all(case.has_truth and case.spacing == (1.0, 1.0) for case in cases)
    assert prepared.image(cases[0]).dtype == np.float16
    assert np.array_equal(prepared.reference(volume), reader.arrays["l1"])
    stack = (np.eye(3, dtype=np.float32)[prepared.label(case)].transpose(2, 0, 1) for case in cases)
    assert np.array_equal(volume.placement.restore(stack), reader.arrays["l1"])
    assert prepared.verify() == []


def test_one_volume_is_in_memory_at_a_time(reader, tmp_path):
    prepare_scan(
        _scan(reader, tmp_path, roles=("train",) * 6 + ("gold", "val", "test")),
        tmp_path / "set",
        name="set",
        edges="none",
    )
    assert reader.most == 1


def test_empty_slices_are_dropped_in_training_only(reader, tmp_path):
    options = SliceOptions(empty="drop")
    report = prepare_scan(_scan(reader, tmp_path), tmp_path / "set", name="set", slices=options, edges="none")
    assert report.cases == {"train": 3, "gold": 3, "val": 5, "test": 5}
    prepared = PreparedSet.open(tmp_path / "set")
    assert [case.slice for case in prepared.slices_of(prepared.volumes[0])] == [1, 2, 3]


@pytest.mark.parametrize(("role", "beside"), [("gold", "given"), ("train", "truth")])
def test_a_slice_stays_where_any_mask_of_the_case_shows_something(reader, tmp_path, role, beside):
    scan = _scan(reader, tmp_path)
    reader.arrays["other"] = np.zeros(GRID.shape, np.int16)
    reader.arrays["other"][2, 2, 3:5] = 1  # the label ends with slice 3
    cases = [
        replace(case, **{beside: tmp_path / "other"}) if case.role == role else case for case in scan.cases
    ]
    options = SliceOptions(empty="drop")
    prepare_scan(
        replace(scan, cases=tuple(cases)), tmp_path / "set", name="set", slices=options, edges="none"
    )
    prepared = PreparedSet.open(tmp_path / "set")
    for volume in prepared.volumes[:2]:
        kept = [case.slice for case in prepared.slices_of(volume)]
        assert kept == ([1, 2, 3, 4] if volume.role == role else [1, 2, 3])


def test_unknown_labels_name_the_file_and_a_remap(reader, tmp_path):
    scan = _scan(reader, tmp_path, classes=("background", "a", "b"))
    reader.arrays["l2"][0, 0, 0] = 7
    with pytest.raises(InputError, match=r"l2 holds the unexpected value 7.*--remap 7:0"):
        prepare_scan(scan, tmp_path / "set", name="set", edges="none")
    assert not (tmp_path / "set").exists()
    prepare_scan(scan, tmp_path / "set", name="set", edges="none", remap={7: 2})
    prepared = PreparedSet.open(tmp_path / "set")
    assert prepared.reference(prepared.volumes[2])[0, 0, 0] == 2


@pytest.mark.parametrize(("role", "grave"), [("test", True), ("train", False)])
def test_the_same_voxels_under_another_name_are_found(reader, tmp_path, role, grave):
    scan = _scan(reader, tmp_path, roles=("train", "gold", "val", "test", role))
    reader.arrays["i4"] = reader.arrays["i0"].astype(np.float64)
    if grave:
        with pytest.raises(
            InputError, match=r"i4 shows the same image as .*i0, in role test and in role train"
        ):
            prepare_scan(scan, tmp_path / "set", name="set", edges="none")
    else:
        report = prepare_scan(scan, tmp_path / "set", name="set", edges="none")
        assert "duplicate" in [finding.code for finding in report.findings]


def test_a_label_on_another_grid_is_refused_or_resampled(reader, tmp_path):
    scan = _scan(reader, tmp_path)
    reader.grids["l0"] = Grid(GRID.shape, ((1, 0, 0, 1), *GRID.affine[1:]))
    with pytest.raises(InputError, match=r"l0 lies elsewhere .* 1 mm apart: .*--resample-labels"):
        prepare_scan(scan, tmp_path / "set", name="set", edges="none")
    prepare_scan(scan, tmp_path / "set", name="set", edges="none", resample_labels=True)
    prepared = PreparedSet.open(tmp_path / "set")
    moved = prepared.reference(prepared.volumes[0])
    assert np.array_equal(moved[1:], reader.arrays["l0"][:-1])


def test_truth_and_trust_are_kept_and_corruption_leaves_them(reader, tmp_path):
    scan = _scan(reader, tmp_path)
    reader.arrays["t"] = np.roll(reader.arrays["l0"], 1, axis=0)
    first = RawCase(
        "v0", "train", "p0", (tmp_path / "i0",), tmp_path / "l0", truth=tmp_path / "t", label_confidence=0.6
    )
    prepare_scan(Scan((first, *scan.cases[1:])), tmp_path / "set", name="set", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    case = prepared.slices_of(prepared.volumes[0])[2]
    assert np.array_equal(prepared.label(case), reader.arrays["l0"][:, :, 2])
    assert np.array_equal(prepared.truth(case), reader.arrays["t"][:, :, 2])
    assert np.unique(prepared.label_confidence(case)).tolist() == [153]
    corrupt_set(prepared, tmp_path / "noisy", 0.2, 0)
    noisy = PreparedSet.open(tmp_path / "noisy")
    assert noisy.volumes == tuple(replace(volume, verified=True) for volume in prepared.volumes)
    assert noisy.preprocessing == prepared.preprocessing
    assert np.array_equal(noisy.reference(noisy.volumes[0]), reader.arrays["t"])
    assert np.array_equal(noisy.label_confidence(noisy.cases[case.row]), prepared.label_confidence(case))


def test_a_full_disk_is_found_before_the_work(reader, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: types.SimpleNamespace(free=1000))
    with pytest.raises(InputError, match="1000 bytes are free"):
        prepare_scan(_scan(reader, tmp_path), tmp_path / "set", name="set", edges="none")
    assert reader.most == 0


def test_resampling_to_the_same_grid_changes_nothing():
    labels = np.random.default_rng(0).integers(0, 3, GRID.shape)
    assert np.array_equal(resample_labels(labels, GRID, GRID), labels)


def test_a_check_of_a_set_looks_at_volumes_as_a_whole(reader, tmp_path):
    scan = _scan(reader, tmp_path, roles=("train", "gold", "val", "test", "test"))
    for number in range(5):
        reader.arrays[f"i{number}"][:, :, 0] = 0  # a slice without content, alike in all, is no duplicate
    options = SliceOptions(normalize="none")
    prepare_scan(scan, tmp_path / "set", name="set", slices=options, edges="none")
    report = check_set(tmp_path / "set")
    assert {finding.code for finding in report.findings} == {"gold-tiny", "test-unverified"}
    assert report.cases == {"train": 1, "gold": 1, "val": 1, "test": 2}


def test_a_check_of_a_set_finds_a_volume_in_two_roles(reader, tmp_path):
    scan = _scan(reader, tmp_path)
    with pytest.MonkeyPatch.context() as patch:  # as if it had been written by another program
        patch.setattr("metadcseg.data.prepare.inspection.duplicates", lambda *_: [])
        reader.arrays["i3"] = reader.arrays["i0"]
        prepare_scan(scan, tmp_path / "set", name="set", edges="none")
    errors = check_set(tmp_path / "set").errors
    assert [finding.code for finding in errors] == ["duplicate-across-roles"]
    assert "v3 shows the same image as v0" in errors[0].sentence


@pytest.mark.parametrize(
    ("options", "size", "cure"),
    [
        ({"axis": "x"}, "16 x 1", "another --axis"),
        ({"axis": "y", "pixel": 0.5}, "24 x 2", None),
        ({"pixel": 30.0}, "1 x 1", "a smaller --pixel"),
        ({}, "12 x 16", None),
    ],
)
def test_slices_that_are_lines_are_told(reader, tmp_path, options, size, cure):
    flat = Grid((12, 16, 1), GRID.affine)
    scan = _scan(reader, tmp_path)
    for name, array in reader.arrays.items():
        reader.arrays[name], reader.grids[name] = array[:, :, 1:2], flat
    report = prepare_scan(scan, tmp_path / "set", name="set", edges="none", slices=SliceOptions(**options))
    told = [found.sentence for found in report.findings if found.code == "slices-thin"]
    assert len(told) == (0 if cure is None else 4)
    assert all(f"its slices are lines of {size} pixels: prepare it with {cure}" in one for one in told)
