"""A file of maps: what it holds, what it refuses, and what a full disk does to it."""

import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from metadcseg.errors import InputError
from metadcseg.training.pixel_store.map_file import PAGE, SLOTS, MapFile, MapLayout

LAYOUT = MapLayout("alpha", "0123456789abcdef", images=5, grid=(3, 7))


def ramp(factor=1.0):
    return factor * np.arange(21, dtype=np.float32).reshape(3, 7) / 8


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights" / "alpha.map"


@pytest.fixture
def made(path):
    return MapFile(path, LAYOUT, new=True)


def test_every_place_keeps_its_own_map(made, path):
    places = [(image, slot) for image in range(5) for slot in range(1, SLOTS + 1)]
    sums = {place: made.write(*place, ramp(number)) for number, place in enumerate(places)}
    assert len(set(sums.values())) == len(places)
    opened = MapFile(path, LAYOUT, new=False)
    for number, place in enumerate(places):
        assert np.array_equal(opened.read(*place), ramp(number))
        opened.verify(*place, sums[place])


def test_places_begin_on_pages_of_their_own():
    for width in (1, 7, 2048, 2049, 4000):
        layout = replace(LAYOUT, grid=(3, width))
        begins = [layout.place(image, slot) for slot in range(1, SLOTS + 1) for image in range(5)]
        assert all(begin % PAGE == 0 for begin in begins)
        gaps = np.diff([*begins, layout.size])
        assert (gaps >= layout.bytes_per_map + 12).all()
        assert (gaps < layout.bytes_per_map + 12 + PAGE).all()


def test_places_never_written_take_no_room_on_the_disk(path):
    large = replace(LAYOUT, images=100_000, grid=(64, 64))
    MapFile(path, large, new=True).write(99_999, 3, np.ones((64, 64), np.float32))
    assert path.stat().st_size == large.size > 4e9
    assert path.stat().st_blocks * 512 < 2**20


def test_numbers_beyond_half_precision_are_cut_and_small_ones_kept(made):
    values = np.zeros((3, 7), np.float32)
    values[0, :5] = 1e9, -np.inf, 1e-6, 65504, -1
    made.write(0, 1, values)
    got = made.read(0, 1)
    assert got[0, :2].tolist() == [65504, -65504]
    assert got[0, 2] == pytest.approx(1e-6, rel=0.05)
    assert got[0, 3:5].tolist() == [65504, -1]


def test_the_same_map_of_another_image_has_another_checksum(made):
    assert made.write(0, 1, ramp()) != made.write(1, 1, ramp())


def refusal(path, layout=LAYOUT):
    with pytest.raises(InputError) as caught:
        MapFile(path, layout, new=False)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    assert "start again with another --out" in sentence
    return sentence


def test_a_file_that_is_missing_is_refused(path):
    assert "is missing" in refusal(path)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"run": "fedcba"}, "run: 0123456789ab there, fedcba in this run"),
        ({"name": "beta"}, "name: alpha there, beta in this run"),
        ({"images": 6}, "images: 5 there, 6 in this run"),
        ({"grid": (7, 3)}, "frame: [3, 7] there, [7, 3] in this run"),
    ],
)
def test_a_file_of_another_run_or_shape_is_refused(made, path, other, said):
    assert f"belongs to another run ({said})" in refusal(path, replace(LAYOUT, **other))


@pytest.mark.parametrize("size", [0, 100, PAGE, PAGE + 100_000])
def test_a_file_that_was_cut_short_is_refused(made, path, size):
    os.truncate(path, size)
    assert "is damaged" in refusal(path)


def test_every_flipped_byte_of_the_header_is_found(made, path):
    content = path.read_bytes()
    for place in [*range(300), PAGE - 1]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert "its header cannot be read" in refusal(path)


def test_a_flipped_byte_of_a_map_is_found_and_named(made, path):
    checksum = made.write(3, 2, ramp())
    begin = LAYOUT.place(3, 2)
    for place in range(begin, begin + LAYOUT.bytes_per_map):
        flip(path, place)
        with pytest.raises(InputError, match="the map of training image 3 is damaged; put the file back"):
            made.verify(3, 2, checksum)
        flip(path, place)
    made.verify(3, 2, checksum)


def flip(path, place):
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def test_a_whole_map_from_another_time_is_told_from_a_damaged_one(made):
    checksum = made.write(3, 2, ramp())
    made.write(3, 2, ramp(2))
    with pytest.raises(InputError, match="image 3 is another than the one that the checkpoint goes with"):
        made.verify(3, 2, checksum)


def test_a_file_cut_short_while_it_is_open_is_a_sentence_and_no_signal(made, path):
    made.write(4, 1, ramp())
    os.truncate(path, PAGE)
    with pytest.raises(InputError, match=r"alpha\.map cannot be read at image 4"):
        made.read(4, 1)


def test_making_it_again_changes_nothing(made, path):
    """So that several processes may do it at once, without a lock."""
    made.write(1, 1, ramp())
    before = path.read_bytes()
    MapFile(path, LAYOUT, new=True)
    assert path.read_bytes() == before


def test_what_another_run_left_is_taken_over(made, path):
    made.write(1, 1, ramp())
    for other in (replace(LAYOUT, images=900), replace(LAYOUT, images=2), replace(LAYOUT, run="x")):
        MapFile(path, other, new=True)
        assert MapFile(path, other, new=False).layout == other


@contextmanager
def no_file_beyond(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_a_sentence_when_the_file_is_made(path):
    with no_file_beyond(PAGE), pytest.raises(InputError, match=r"alpha\.map: the disk is full; what was"):
        MapFile(path, LAYOUT, new=True)
    MapFile(path, LAYOUT, new=True).write(0, 1, ramp())


def test_a_full_disk_is_a_sentence_in_the_middle_of_a_map(made):
    kept = made.write(0, 1, ramp())
    with (
        no_file_beyond(LAYOUT.place(0, 2) + 10),
        pytest.raises(InputError, match=r"alpha\.map: the disk is full; what was saved before is intact"),
    ):
        made.write(0, 2, ramp(2))
    made.verify(0, 1, kept)


FILLED = """
import sys
from pathlib import Path
import numpy as np
from metadcseg.errors import InputError
from metadcseg.training.pixel_store.map_file import MapFile, MapLayout
layout = MapLayout("alpha", "run", images=1000, grid=(64, 64))
file = MapFile(Path(sys.argv[1]), layout, new=True)
done = {}
try:
    for image in range(1000):
        done[image] = file.write(image, 1, np.full((64, 64), image, np.float32))
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
        command = [sys.executable, "-c", FILLED, tmp_path / "alpha.map"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert done.stderr.strip() == "refused"
    assert done.returncode == 1
