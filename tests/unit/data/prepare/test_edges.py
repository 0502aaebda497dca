"""Edges of images: what the detector is shown, at which size, and where they end up."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from tests.unit.data.folders import make_folder

from metadcseg.data import PreparedSet
from metadcseg.data.prepare import edges
from metadcseg.data.prepare.checks import check_set
from metadcseg.data.prepare.edges import EdgeDetector, edge_detector
from metadcseg.data.prepare.pipeline import prepare_cases, prepare_folder
from metadcseg.data.synthetic.corruption import corrupt_set
from metadcseg.data.synthetic.phantom import PhantomOptions, phantom_cases
from metadcseg.errors import InputError
from metadcseg.networks.pidinet import DEVIATION, MEAN, PiDiNet


@pytest.fixture(scope="module")
def detector():
    return edge_detector("pidinet")


def picture(height=48, width=40, channels=1, seed=0):
    """A bright disc on noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (min(height, width) / 3) ** 2
    image = 60 + 90 * disc[:, :, None] + rng.normal(0, 3, (height, width, channels))
    return image.clip(0, 255).astype(np.uint8)


class Shown(torch.nn.Module):
    """Keeps what it is shown; says that the brightness of red is the edge."""

    def forward(self, images):
        self.images = images
        return images[:, :1].logit(eps=1e-6).expand(-1, 5, -1, -1)


def shown(image):
    network = Shown()
    EdgeDetector("fake", "", network).find(image)
    return network.images[0] * torch.tensor(DEVIATION).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)


def test_edges_have_the_size_of_the_image_and_lie_on_the_outline(detector):
    found = detector.find(picture())
    assert (found.shape, found.dtype) == ((48, 40), np.uint8)
    rows, columns = np.mgrid[:48, :40]
    distance = np.abs(np.hypot(rows - 24, columns - 20) - 40 / 3)
    assert found[distance < 0.7].mean() > 100
    assert found[distance > 6].mean() < 15


def test_a_flat_image_has_no_edges_inside(detector):
    assert detector.find(np.full((64, 64, 1), 90, np.uint8))[16:-16, 16:-16].max() < 64


def test_an_image_too_small_for_the_network_has_none(detector):
    assert not detector.find(picture(7, 40)).any()


def test_eight_bits_are_shown_as_they_are():
    image = picture(channels=3)
    torch.testing.assert_close(shown(image), torch.from_numpy(image).permute(2, 0, 1) / 255)


def test_one_channel_is_gray_and_of_other_numbers_the_mean_is():
    gray = shown(picture(channels=1))
    assert torch.allclose(gray[0], gray[1], atol=1e-6)
    assert torch.allclose(gray[0], gray[2], atol=1e-6)
    four = picture(channels=4)
    torch.testing.assert_close(shown(four)[1], torch.from_numpy(four).float().mean(dim=2) / 255)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_deeper_images_are_stretched_channel_by_channel(dtype):
    deep = (picture(channels=3).astype(np.float64) * (1, 3, 7) + (0, 500, 900)).astype(dtype)
    deep[0, 0] = 60_000  # a speck does not darken the rest
    values = shown(deep)
    for channel in values:
        assert channel.min() == pytest.approx(0, abs=1e-6)
        assert channel.max() == pytest.approx(1, abs=1e-6)
        assert 0.3 < channel.std() < 0.6
    torch.testing.assert_close(values[0], values[1], atol=0.2, rtol=0)
    assert torch.isfinite(shown(np.full((9, 9, 1), 700, dtype))).all()


def test_probabilities_are_rounded():
    network = Shown()
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, :, 0] = 200
    red = (200 / 255 - MEAN[0]) / DEVIATION[0]
    assert 0 < red < 1.5
    found = EdgeDetector("fake", "", network).find(image)
    assert (found == min(255, round(255 * red))).all()


def test_tiles_say_what_the_whole_image_says(detector, monkeypatch):
    image = picture(400, 328, seed=3)
    whole = detector.find(image)
    monkeypatch.setattr(edges, "_TILE", 160)
    pieces = edges._spans(400)
    assert pieces == [(0, 160), (160, 400)]
    tiled = detector.find(image)
    assert np.abs(tiled.astype(int) - whole).max() <= 2
    assert whole.max() > 200


def test_a_flipped_image_has_flipped_edges_about(detector):
    """Not exactly: what is learned is not symmetric. A warp of stored edges is exact, see test_loading."""
    image = picture(64, 64)
    found, mirrored = detector.find(image), detector.find(image[:, ::-1].copy())[:, ::-1]
    assert np.corrcoef(found.ravel(), mirrored.ravel())[0, 1] > 0.9


def test_what_is_chosen(tmp_path):
    assert edge_detector("none") is None
    torch.save(PiDiNet("small").state_dict(), tmp_path / "theirs.pth")
    theirs = edge_detector(str(tmp_path / "theirs.pth"))
    assert theirs.name == "pidinet-small from theirs.pth"
    ours = edge_detector("pidinet")
    assert ours.name == "pidinet-tiny of metadcseg"
    assert ours.facts() == {"detector": ours.name, "sha256": ours.sha256}
    with pytest.raises(
        InputError, match=r"--edges must be pidinet, none or a file .* got 'pidnet', which is no"
    ):
        edge_detector("pidnet")


def test_a_prepared_set_has_the_edges_of_its_images(tmp_path, detector):
    report = prepare_folder(make_folder(tmp_path / "mine", gold=5), tmp_path / "set")
    prepared = PreparedSet.open(tmp_path / "set")
    assert prepared.edge_detector == report.edges == detector.facts()
    for case in prepared.cases:
        assert np.array_equal(prepared.edges(case), detector.find(prepared.image(case)))
    assert not [finding for finding in check_set(tmp_path / "set").findings if finding.code == "checksum"]
    noisy = tmp_path / "noisy"
    corrupt_set(prepared, noisy, 0.0, seed=0)
    copy = PreparedSet.open(noisy)
    assert copy.edge_detector == prepared.edge_detector
    for case, same in zip(prepared.cases, copy.cases, strict=True):
        assert np.array_equal(prepared.edges(case), copy.edges(same))
    file = tmp_path / "set" / "arrays" / "edges-00000" / "c.0.0.0"
    file.write_bytes(b"")
    assert [f.code for f in check_set(tmp_path / "set").findings if f.severity == "error"] == ["checksum"]


def test_without_edges_on_request(tmp_path):
    drawn = list(phantom_cases(PhantomOptions(count=16, size=32), gold=3))
    report = prepare_cases(drawn, tmp_path / "set", name="phantom", edges="none")
    prepared = PreparedSet.open(tmp_path / "set")
    assert report.edges is prepared.edge_detector is None
    assert not list((tmp_path / "set/arrays").glob("edges*"))
    with_edges = prepare_cases(drawn, tmp_path / "other", name="phantom")
    assert with_edges.raw_bytes == report.raw_bytes + 16 * 32 * 32
    assert PreparedSet.open(tmp_path / "other").fingerprint != prepared.fingerprint


def test_a_wrong_file_is_found_before_the_work(tmp_path):
    (tmp_path / "bad.pth").write_text("no weights")
    with pytest.raises(InputError, match=r"bad\.pth holds no weights"):
        prepare_folder(
            make_folder(tmp_path / "mine", gold=5), tmp_path / "set", edges=str(tmp_path / "bad.pth")
        )
    assert not (tmp_path / "set").exists()


def test_preparing_loads_torch_only_for_edges():
    script = "import sys, metadcseg.data.prepare.pipeline; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
