"""What files say beside their pixels must agree from file to file."""

import numpy as np
import pytest
from PIL import Image
from tests.unit.data.folders import disc, picture, save

from metadcseg.data.formats.agreement import Agreement
from metadcseg.data.prepare.checks import check_folder

BLACK, RED, GREEN = (0, 0, 0), (200, 0, 0), (0, 200, 0)


def folder(path, number=6, exif=(), masks=None):
    """Write images, the first of them with orientation tags, and masks (drawn by ``masks(number, path)``)."""
    for name in ("images", "masks"):
        (path / name).mkdir(parents=True)
    for n in range(number):
        tag = Image.Exif()
        tag[0x0112] = exif[n] if n < len(exif) else 1
        save(path / f"images/c{n}.png", picture(n, 24, 24), exif=tag)
        if masks is None:
            save(path / f"masks/c{n}.png", disc(24, 24))
        else:
            masks(n, path / f"masks/c{n}.png")
    return path


def by_palette(colors):
    def write(number, path):
        image = Image.fromarray((disc(24, 24) > 0).astype(np.uint8))
        image.putpalette([value for color in colors(number) for value in color])
        image.save(path)

    return write


def found(path, code):
    return [finding for finding in check_folder(path).findings if finding.code == code]


@pytest.mark.parametrize("odd", [1, 3, 5])
def test_palettes_that_contradict_name_both_files(tmp_path, odd):
    masks = by_palette(lambda n: (BLACK, RED if n == odd else GREEN))
    (clash,) = found(folder(tmp_path / "a", masks=masks), "label-meaning")
    assert f"c{odd}.png and " in clash.sentence
    assert "c0.png disagree: 1 is (200, 0, 0)" in clash.sentence
    assert clash.severity == "error"


def test_one_color_of_two_numbers_is_found():
    said = Agreement()
    said.meanings("a", {0: "black", 1: "liver"}, "header")
    said.meanings("b", {0: "black", 2: "liver"}, "header")
    assert "liver is 2 in the header of the first and 1 in the second" in said.findings()[0].sentence


def test_palettes_that_agree_say_nothing(tmp_path):
    masks = by_palette(lambda n: (BLACK, GREEN, *([RED] * n)))
    assert not found(folder(tmp_path / "a", masks=masks), "label-meaning")


@pytest.mark.parametrize(("exif", "count"), [((3,), 1), ((1, 3, 4), 2), ((8, 6, 2, 3), 4)])
def test_turned_images_are_counted(tmp_path, exif, count):
    (note,) = found(folder(tmp_path / "a", exif=exif), "image-turned")
    assert note.sentence.startswith(f"{count} image{'s' if count > 1 else ''}, such as ")
    assert note.severity == "note"


def test_a_size_mismatch_names_the_tag(tmp_path):
    for turn in (5, 6, 8):
        place = folder(tmp_path / str(turn))
        tag = Image.Exif()
        tag[0x0112] = turn
        save(place / "images/c2.png", picture(9, 20, 24), exif=tag)
        save(place / "masks/c2.png", disc(20, 24))
        (found_one,) = found(place, "size-mismatch")
        assert f"its orientation tag (EXIF {turn}) turns it, the mask has none" in found_one.sentence
