"""Cases dealt among processes: the same bits for any number of them, and nothing left behind when they are stopped."""

import multiprocessing
import os
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from nibabel import Nifti1Image
from nibabel import save as save_volume
from tests.unit.data.folders import make_folder, write

from metadcseg.data.prepare import reading
from metadcseg.data.prepare.checks import check_folder
from metadcseg.data.prepare.facts import mask_facts
from metadcseg.data.prepare.look import LookAt
from metadcseg.data.prepare.pipeline import prepare_folder
from metadcseg.data.prepare.workers import Workers, as_many_as_help, cores
from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.data.sources import RawCase, scan_folder
from metadcseg.errors import InputError


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "mine", gold=5)


@pytest.fixture
def volumes(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(6):
        for part, array in (("images", rng.normal(size=(9, 8, 5))), ("masks", rng.integers(0, 3, (9, 8, 5)))):
            path = tmp_path / "volumes" / part / f"v{number}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_volume(Nifti1Image(array.astype(np.float32), np.diag([1, 1, 3, 1])), path)
    write(tmp_path / "volumes" / "gold.txt", "v0\nv1\n")
    return tmp_path / "volumes"


def content(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("kind", ["folder", "volumes"])
def test_any_number_of_processes_writes_the_same_bits(kind, request, tmp_path):
    source = request.getfixturevalue(kind)
    seen = []
    prepare_folder(source, tmp_path / "one", name="x", edges="none")
    report = prepare_folder(
        source, tmp_path / "two", name="x", edges="none", workers=2, progress=lambda *done: seen.append(done)
    )
    assert content(tmp_path / "two") == content(tmp_path / "one")
    assert report.path == tmp_path / "two"
    count = len(scan_folder(source).cases)
    assert seen == [(number, 2 * count) for number in range(1, 2 * count + 1)]


def test_a_check_finds_the_same_in_the_same_order(folder):
    for number in (3, 7, 9):
        (folder / "masks" / f"case{number:02d}.png").write_bytes(b"no image")
    assert check_folder(folder, workers=2) == check_folder(folder)
    assert len(check_folder(folder).errors) == 3


@pytest.mark.parametrize("at", [1, 13])
def test_an_interrupt_ends_all_processes_and_leaves_nothing(at, folder, tmp_path):
    """While cases are looked at, and while they are written."""

    def stop(done, total):
        if done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_folder(folder, tmp_path / "set", edges="none", workers=2, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert multiprocessing.active_children() == []


def test_a_process_that_is_ended_from_outside_is_told():
    with pytest.raises(InputError, match="one of 2 processes was ended from outside"), Workers(2) as workers:
        list(workers.each(os._exit, [9, 9, 9]))


def test_no_process_is_started_for_little_work(folder):
    cases = scan_folder(folder).cases
    assert as_many_as_help(cases) == 1
    assert as_many_as_help(cases * 500) == 1  # 6 000, of 480 pixels each


@pytest.mark.parametrize(
    ("side", "number", "several"), [(256, 500, False), (256, 1000, True), (2000, 20, True)]
)
def test_pixels_decide_and_not_cases(side, number, several):
    image = RawCase("a", "train", "a", np.zeros((side, side, 1), np.uint8), None)
    assert as_many_as_help([image] * number) == (min(cores(), 8) if several else 1)


def test_images_that_cannot_be_read_do_not_count(folder):
    cases = scan_folder(folder).cases
    for path in (folder / "images").iterdir():
        path.write_bytes(b"")
    assert as_many_as_help(cases) == 1
    assert as_many_as_help(()) == 1


@pytest.mark.parametrize("count", [0, -2])
def test_there_is_at_least_one(count):
    with pytest.raises(InputError, match="from 1 to"):
        Workers(count)


def count(monkeypatch, module, *names):
    """Return how often each file is read from now on."""
    read = Counter()

    def counted(original):
        def reads(path, **options):
            read[path] += 1
            return original(path, **options)

        return reads

    for name in names:
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    return read


def test_every_file_is_decoded_once(folder, tmp_path, monkeypatch):
    read = count(monkeypatch, reading, "read_image", "read_mask")
    prepare_folder(folder, tmp_path / "set", edges="none")
    assert set(read.values()) == {1}
    assert len(read) == 12 + 12 + 5


def test_every_volume_is_decoded_once(volumes, tmp_path, monkeypatch):
    read = count(monkeypatch, reading.volume_files, "read_volume", "read_label_volume")
    prepare_folder(volumes, tmp_path / "set", edges="none")
    assert set(read.values()) == {1}
    assert len(read) == 6 + 6


def test_what_is_known_of_a_mask_is_gathered_in_one_look(folder):
    case = next(case for case in scan_folder(folder).cases if case.given is not None)
    facts, kept = LookAt(SliceOptions())(case)
    assert kept.planes == ()
    label = reading.load_mask(case, "label")
    assert replace(facts.masks["label"], objects=None) == mask_facts(str(case.label), label)
    assert facts.masks["label"].objects.sides == {1: {0: 1}}
    assert facts.masks["label"].shape == (20, 24, 1)
    assert sum(facts.masks["given"].counts) == 20 * 24
    assert sum(facts.masks["given"].border) == 2 * (20 + 24) - 4
    assert facts.beside["given"].tolist() == [[0, 0, 1, 1], [0, 255, 0, 255]]
