"""Orientation tags of images and masks."""

import pytest
from PIL import Image
from tests.unit.data.folders import disc, picture, save

from metadcseg.data.prepare.checks import check_folder


def folder(path, number=6, exif=()):
    """Write images, the first of them with orientation tags, and masks without."""
    for name in ("images", "masks"):
        (path / name).mkdir(parents=True)
    for n in range(number):
        tag = Image.Exif()
        tag[0x0112] = exif[n] if n < len(exif) else 1
        save(path / f"images/c{n}.png", picture(n, 24, 24), exif=tag)
        save(path / f"masks/c{n}.png", disc(24, 24))
    return path


def found(path, code):
    return [finding for finding in check_folder(path).findings if finding.code == code]


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
