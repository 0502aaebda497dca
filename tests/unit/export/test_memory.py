"""What does not fit into memory is refused before anything is computed."""

import pytest
import torch
from tests.unit.export.networks import random_run
from torch import nn

from metadcseg.errors import InputError
from metadcseg.export import memory
from metadcseg.export.memory import bytes_needed
from metadcseg.export.monai_bundle import export_bundle
from metadcseg.export.onnx import Deployed, export_onnx
from metadcseg.networks import NetworkOptions, create_network


class Stubborn(nn.Module):
    """Asks for a number of its images, which tensors without content do not have."""

    def forward(self, images):
        return images * float(images.max())


@pytest.mark.parametrize("kind", ["bundle", "onnx"])
def test_a_run_of_the_largest_size_is_refused_in_one_sentence(tmp_path, monkeypatch, kind):
    if kind == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    run = random_run(tmp_path / "run", size=16384)
    monkeypatch.setattr(memory, "bytes_free", lambda: 8 * 2**30)
    monkeypatch.setattr(torch, "randn", None)  # not even images are made
    export, way_out = {
        "bundle": (export_bundle, "use a larger machine, or export it with --onnx"),
        "onnx": (export_onnx, "use a larger machine"),
    }[kind]
    with pytest.raises(
        InputError, match=f"for 2 images of 16384 x 16384 pixels, 8.0 GiB are free: {way_out}$"
    ):
        export(run, tmp_path / "out", trust_code=True)
    assert not (tmp_path / "out").exists()


def test_where_the_system_says_nothing_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "bytes_free", lambda: None)
    memory.refuse_too_large(nn.Conv2d(1, 4, 1), (2, 1, 16384, 16384), tmp_path, "leave it")


def test_what_is_needed_grows_with_the_area_and_leaves_the_network_alone():
    network = Deployed(create_network(NetworkOptions(width=2), channels=1, classes=2).eval())
    small, large = (bytes_needed(network, (1, 1, side, side)) for side in (64, 16384))
    assert large == pytest.approx(small * 256**2, rel=0.01)
    assert large > 2 * 2**30
    assert {each.device.type for each in network.parameters()} == {"cpu"}


def test_of_code_that_asks_for_numbers_the_images_alone_are_counted():
    assert bytes_needed(Stubborn(), (2, 1, 10, 10)) == 800


@pytest.mark.parametrize("name", ["inactive_file", "total_inactive_file"])
def test_a_containers_limit_counts(tmp_path, monkeypatch, name):
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(memory, "_CONTAINERS", ((limit, used), (tmp_path / "none", tmp_path / "none")))
    machine = memory.bytes_free()
    for said in ("max\n", "-1 bytes\n", ""):  # no limit, or one that nobody can read
        limit.write_text(said)
        used.write_text("3000\n")
        assert memory.bytes_free() == pytest.approx(machine, rel=0.5)
    limit.write_text("5000\n")
    (tmp_path / "memory.stat").write_text(f"anon 2500\n{name} 400\n")
    assert memory.bytes_free() == 5000 - 3000 + 400
    used.write_text("7000\n")
    assert memory.bytes_free() == 0
