"""A file of maps: what it holds, what it refuses, and what a full disk does to it."""

import os
import subprocess
import sys

import numpy as np
import pytest
from tests.full_disk import full_disk

from metadcseg.errors import InputError
from metadcseg.training.pixel_store.npy_file import PAGE, SLOTS, NpyFile

IMAGES, GRID = 5, (3, 7)


def ramp(factor=1.0):
    return (factor * np.arange(21).reshape(3, 7) / 8).astype(np.float16)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights" / "alpha.npy"


@pytest.fixture
def made(path):
    return NpyFile(path, IMAGES, GRID, new=True)


def test_every_place_keeps_its_own_map(made, path):
    places = [(image, slot) for image in range(5) for slot in range(1, SLOTS + 1)]
    sums = {place: made.write(*place, ramp(number)) for number, place in enumerate(places)}
    assert len(set(sums.values())) == len(places)
    opened = NpyFile(path, IMAGES, GRID, new=False)
    for number, place in enumerate(places):
        assert np.array_equal(opened.read(*place), ramp(number))
        opened.verify(*place, sums[place])


def test_places_begin_on_pages_of_their_own(path):
    for width in (1, 7, 2048, 2049, 4000):
        file = NpyFile(path, IMAGES, (3, width), new=True)
        begins = [file.place(image, slot) for slot in range(1, SLOTS + 1) for image in range(IMAGES)]
        assert all(begin % PAGE == 0 for begin in begins)
        gaps = np.diff([*begins, path.stat().st_size])
        assert (gaps >= 2 * 3 * width).all()
        assert (gaps < 2 * 3 * width + PAGE).all()


@pytest.mark.parametrize("grid", [(3, 7), (64, 64), (4, 33, 65)])
def test_numpy_reads_the_file(path, grid):
    values = (np.arange(np.prod(grid)) % 2000).reshape(grid).astype(np.float16)
    file = NpyFile(path, IMAGES, grid, new=True)
    file.write(4, 3, values)
    for mode in (None, "r"):
        maps = np.load(path, mmap_mode=mode, allow_pickle=False)["map"]
        assert maps.shape == (SLOTS, IMAGES, *grid)
        assert np.array_equal(maps[2, 4], values)
        assert not maps[:2].any()


def test_places_never_written_take_no_room_on_the_disk(path):
    NpyFile(path, 100_000, (64, 64), new=True).write(99_999, 3, np.ones((64, 64), np.float16))
    assert path.stat().st_size == PAGE + SLOTS * 100_000 * 64 * 64 * 2
    assert path.stat().st_blocks * 512 < 2**20


def test_the_same_map_of_another_image_has_another_checksum(made):
    assert made.write(0, 1, ramp()) != made.write(1, 1, ramp())


def refusal(path, images=IMAGES, grid=GRID):
    with pytest.raises(InputError) as caught:
        NpyFile(path, images, grid, new=False)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    assert "start again with another --out" in sentence
    return sentence


def test_a_file_that_is_missing_is_refused(path):
    assert "is missing" in refusal(path)


def test_a_pipe_in_its_place_is_refused(path):
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(InputError, match="must be a regular file, it is a pipe"):
        NpyFile(path, 3, (2, 2), new=False)


def test_a_file_of_other_images_or_of_another_shape_is_refused(made, path):
    assert "is damaged, or not of 6 training images of 3 x 7" in refusal(path, images=6)
    assert "is damaged, or not of 5 training images of 7 x 3" in refusal(path, grid=(7, 3))


@pytest.mark.parametrize("size", [0, 100, PAGE, PAGE + 100_000])
def test_a_file_that_was_cut_short_is_refused(made, path, size):
    os.truncate(path, size)
    assert "is damaged" in refusal(path)


def test_every_flipped_byte_of_the_header_is_found(made, path):
    content = path.read_bytes()
    for place in [*range(300), PAGE - 1]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert "is damaged" in refusal(path)


def test_a_flipped_byte_of_a_map_is_found_and_named(made, path):
    checksum = made.write(3, 2, ramp())
    begin = made.place(3, 2)
    for place in range(begin, begin + 2 * 3 * 7):
        flip(path, place)
        with pytest.raises(InputError, match="the map of training image 3 is damaged, or another"):
            made.verify(3, 2, checksum)
        flip(path, place)
    made.verify(3, 2, checksum)


def flip(path, place):
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def test_a_whole_map_from_another_time_is_refused(made):
    checksum = made.write(3, 2, ramp())
    made.write(3, 2, ramp(2))
    with pytest.raises(InputError, match="another than the one that the checkpoint goes with"):
        made.verify(3, 2, checksum)


def test_a_file_cut_short_while_it_is_open_is_a_sentence_and_no_signal(made, path):
    made.write(4, 1, ramp())
    os.truncate(path, PAGE)
    with pytest.raises(InputError, match=r"alpha\.npy cannot be read at image 4"):
        made.read(4, 1)


def test_making_it_again_changes_nothing(made, path):
    """So that several processes may do it at once, without a lock."""
    made.write(1, 1, ramp())
    before = path.read_bytes()
    NpyFile(path, IMAGES, GRID, new=True)
    assert path.read_bytes() == before


def test_what_another_run_left_is_taken_over(made, path):
    made.write(1, 1, ramp())
    for images, grid in ((900, GRID), (2, GRID), (2, (40, 60))):
        NpyFile(path, images, grid, new=True)
        assert np.load(path, mmap_mode="r")["map"].shape == (SLOTS, images, *grid)
        NpyFile(path, images, grid, new=False)


def test_a_full_disk_is_a_sentence_when_the_file_is_made(path):
    with full_disk(PAGE), pytest.raises(InputError, match=r"alpha\.npy: the disk is full; what was"):
        NpyFile(path, IMAGES, GRID, new=True)
    NpyFile(path, IMAGES, GRID, new=True).write(0, 1, ramp())


def test_a_full_disk_is_a_sentence_in_the_middle_of_a_map(made):
    kept = made.write(0, 1, ramp())
    with (
        full_disk(made.place(0, 2) + 10),
        pytest.raises(InputError, match=r"alpha\.npy: the disk is full; what was saved before is intact"),
    ):
        made.write(0, 2, ramp(2))
    made.verify(0, 1, kept)


FILLED = """
import sys
from pathlib import Path
import numpy as np
from metadcseg.errors import InputError
from metadcseg.training.pixel_store.npy_file import NpyFile
file = NpyFile(Path(sys.argv[1]), 1000, (64, 64), new=True)
done = {}
try:
    for image in range(1000):
        done[image] = file.write(image, 1, np.full((64, 64), image, np.float16))
except InputError as error:
    assert 10 < len(done) < 1000, len(done)
    for image, checksum in done.items():
        file.verify(image, 1, checksum)
    sys.exit("refused" if "the disk is full" in str(error) else str(error))
"""


def test_a_file_system_without_room_is_a_sentence_and_no_signal(tmp_path):
    """Writes to mapped holes would end the process with SIGBUS here."""
    options = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(options, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small file system needs root")
    try:
        command = [sys.executable, "-c", FILLED, tmp_path / "alpha.npy"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert done.stderr.strip() == "refused"
    assert done.returncode == 1
