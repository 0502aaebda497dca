"""``--precision auto`` takes half precision where the device has it, says so, and leaves the meta pass alone."""

import logging
import logging.handlers

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from tests.unit.training.helpers import NETWORK, Fake, options

from metadcseg.errors import quiet
from metadcseg.networks import NetworkOptions
from metadcseg.training.distributed.process_group import ProcessGroup
from metadcseg.training.precision import settled
from metadcseg.training.run.folder import read_run
from metadcseg.training.session import train
from metadcseg.training.setup import open_fabric

OWN = NetworkOptions(width=2)


@pytest.fixture
def processor(monkeypatch):
    """Return a function that says what the processor has."""

    def has(*parts):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: "amx" in parts)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: "avx512" in parts)
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: "onednn" in parts)

    return has


@pytest.mark.parametrize(
    ("parts", "precision", "says"),
    [
        (
            ("amx", "avx512", "onednn"),
            "bf16-mixed",
            "bf16-mixed, channels last, since this processor has AMX; the meta",
        ),
        (("avx512", "onednn"), "bf16-mixed", "since this processor has AVX512-BF16"),
        (("onednn",), "32-true", "32-true, since this processor lacks bfloat16"),
        (("amx", "avx512"), "32-true", "lacks bfloat16"),
    ],
)
def test_a_processor_decides(processor, parts, precision, says):
    processor(*parts)
    found, told = settled(options(precision="auto"), OWN)
    assert (found.precision, found.channels_last) == (precision, precision == "bf16-mixed")
    assert says in told


def test_nothing_is_settled_that_was_said(processor):
    processor("amx", "onednn")
    assert settled(options(), OWN) == (options(), None)


@pytest.mark.parametrize(
    "network", [NETWORK, NetworkOptions(width=2, spatial_dims=3)], ids=["own", "volumes"]
)
def test_channels_stay_where_a_network_may_not_bear_it(processor, network):
    processor("amx", "onednn")
    found, told = settled(options(precision="auto"), network)
    assert (found.precision, found.channels_last) == ("bf16-mixed", False)
    assert "channels" not in told


@pytest.mark.parametrize(("able", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_decides(monkeypatch, able, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: able and not including_emulation
    )
    found, told = settled(options(precision="auto", accelerator="auto"), OWN)
    assert found.precision == precision
    assert "this GPU" in told


def test_fabric_adds_no_word_of_its_own_and_speaks_again_after_that():
    heard = logging.handlers.BufferingHandler(100)
    logger = logging.getLogger("lightning_fabric")
    logger.addHandler(heard)
    try:
        fabric = open_fabric(options(precision="bf16-mixed"), ProcessGroup())
        assert heard.buffer == []
        Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")  # of somebody else in the same process
        assert "bfloat16" in heard.buffer[0].getMessage()
    finally:
        logger.removeHandler(heard)
    assert isinstance(fabric._precision, MixedPrecision)


def test_who_hears_less_hears_no_more_of_a_library_that_is_kept_quiet(monkeypatch):
    heard = []
    monkeypatch.setattr(logging.getLogger("a"), "level", logging.ERROR)
    monkeypatch.setattr(logging.getLogger("a.library"), "handle", heard.append)
    with quiet("a.library"):
        logging.getLogger("a.library").warning("Using bfloat16")
    assert heard == []


def test_it_is_recorded_and_gone_on_with(disks, tmp_path, processor, capsys):
    from rich.console import Console

    processor("amx", "onednn")
    words = {"precision": "auto", "epochs": 1}
    train(disks, Fake(), NETWORK, options(**words), tmp_path / "run", console=Console())
    assert capsys.readouterr().out.count("precision: bf16-mixed, since this processor has AMX") == 1
    assert read_run(tmp_path / "run")["training"]["precision"] == "bf16-mixed"
    words["epochs"] = 2
    processor("onednn")  # where it goes on, bfloat16 is missing
    assert train(disks, Fake(), NETWORK, options(**words), tmp_path / "run", resume=True).epochs_done == 2
