"""Our PiDiNet with the published weights against the published edge maps, within 2 gray levels everywhere.

The published maps were made from pictures decoded by the Independent JPEG Group's libjpeg 7 or newer, which stretches
color by the inverse cosine transform; libjpeg-turbo (Pillow) interpolates. The network is so sensitive to color that
this alone moves single pixels by up to 64 levels. So the exact comparison decodes with jpeglib, which has both.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metadcseg.data.prepare.edges import edge_detector

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "pidinet"
NAMES = ["100007", "100039", "100099", "10081", "101027", "101084"]

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason=f"{FOLDER} is absent: the published weights are for research only, not ours to ship",
)


@pytest.fixture(scope="module")
def detector():
    return edge_detector(str(FOLDER / "table5_pidinet.pth"))


def published(name):
    return np.asarray(Image.open(FOLDER / "examples" / f"{name}.edges.png")).astype(int)


@pytest.mark.parametrize("name", NAMES)
def test_edge_maps_are_the_published_ones(detector, name):
    jpeglib = pytest.importorskip(
        "jpeglib", reason="jpeglib (extra 'dev', Linux on x86_64) decodes as they did"
    )
    jpeglib.version.set("9d")
    image = jpeglib.read_spatial(str(FOLDER / "examples" / f"{name}.input.jpg")).spatial
    found, theirs = detector.find(image).astype(int), published(name)
    assert found.shape == theirs.shape
    assert theirs.max() > 200
    assert np.abs(found - theirs).max() <= 1  # we round to gray levels, they cut off
    assert ((found - theirs) >= 0).mean() > 0.9999


@pytest.mark.parametrize("name", NAMES)
def test_pillows_decoding_moves_them_a_little(detector, name):
    image = np.asarray(Image.open(FOLDER / "examples" / f"{name}.input.jpg").convert("RGB"))
    found, theirs = detector.find(image).astype(int), published(name)
    assert np.abs(found - theirs).mean() < 4
    assert np.corrcoef(found.ravel(), theirs.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(("file", "size"), [("", "full"), ("-small", "small"), ("-tiny", "tiny")])
def test_all_three_published_files_are_read(file, size):
    read = edge_detector(str(FOLDER / f"table5_pidinet{file}.pth"))
    assert read.name == f"pidinet-{size} from table5_pidinet{file}.pth"
    theirs = published("100007")
    image = np.asarray(Image.open(FOLDER / "examples" / "100007.input.jpg").convert("RGB"))
    with torch.inference_mode():
        assert np.corrcoef(read.find(image).ravel(), theirs.ravel())[0, 1] > 0.8
