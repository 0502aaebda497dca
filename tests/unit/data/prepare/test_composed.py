"""A mask that is composed of something else than one file of pixels goes through the one pipeline."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid, Volume
from metadcseg.data.prepare.pipeline import prepare_scan
from metadcseg.data.sources.case import RawCase, Scan
from metadcseg.data.store import PreparedSet
from metadcseg.errors import InputError


@dataclass(frozen=True)
class Box:
    """A rectangle, drawn on an image of a size of its own or of any."""

    path: Path
    corner: int
    size: tuple[int, int] | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    def read(self, image: Grid) -> Volume:
        shape = (*(self.size or image.shape[:2]), 1)
        array = np.zeros(shape, np.uint8)
        array[: self.corner, : self.corner] = 1
        return Volume(array, Grid(shape, UNKNOWN_AFFINE, known=False))


def cases(tmp_path: Path, **boxes: int | Box) -> Scan:
    found = []
    for number, (name, box) in enumerate(boxes.items()):
        file = tmp_path / f"{name}.png"
        noise = np.random.default_rng(number).integers(0, 255, (32, 40), np.uint8)
        Image.fromarray(noise).save(file)
        label = box if isinstance(box, Box) else Box(tmp_path / "all.json", box)
        found.append(RawCase(name, "train", name, (file,), label))
    return Scan(tuple(found))


@pytest.mark.parametrize("workers", [1, 2])
def test_it_is_stored_as_it_is_drawn(tmp_path, workers):
    prepare_scan(cases(tmp_path, a=4, b=9, c=16), tmp_path / "set", name="boxes", workers=workers)
    held = PreparedSet.open(tmp_path / "set")
    assert {case.id: int(held.label(case).sum()) for case in held.select("train")} == {
        "a": 16,
        "b": 81,
        "c": 256,
    }


def test_a_size_of_its_own_is_compared_with_that_of_the_image(tmp_path):
    scan = cases(tmp_path, a=4, b=Box(tmp_path / "all.json", 3, size=(30, 40)))
    with pytest.raises(InputError, match=r"all\.json has 30 x 40 pixels.* 32 x 40"):
        prepare_scan(scan, tmp_path / "set", name="boxes")
    assert not (tmp_path / "set").exists()


def test_an_image_that_cannot_be_read_is_said_once(tmp_path):
    scan = cases(tmp_path, a=4, b=5)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="a.png") as told:
        prepare_scan(scan, tmp_path / "set", name="boxes")
    assert str(told.value).count("a.png") == 1
