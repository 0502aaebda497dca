"""A class that a file names is not even imported before the user says that it may be."""

import sys

import pytest

from metadcseg import InputError, NetworkOptions, create_network
from metadcseg.networks import network_of

SOURCE = """
import pathlib, torch
pathlib.Path(__file__).with_suffix(".imported").touch()

class Called:
    def __init__(self, *given, **named):
        pathlib.Path(__file__).with_suffix(".called").touch()

class Network(torch.nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(torch.nn.Conv2d(inputs, outputs, 1))

def function(**named):
    Called()

def __getattr__(name):
    Called()
    raise AttributeError(name)
"""


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """Return the file of a module that says when it is imported and when something of it is called."""
    file = tmp_path / "trap_of_a_test.py"
    file.write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield file
    sys.modules.pop(file.stem, None)


@pytest.mark.parametrize(
    "class_path", ["trap_of_a_test.Called", "trap_of_a_test.Network", "subprocess.Popen", ""]
)
def test_a_class_without_consent_is_not_imported(trap, class_path):
    with pytest.raises(InputError, match=r"^run.json names a network by its class, .*--trust-code"):
        network_of({"class_path": class_path, "init_args": {"args": ["true"]}}, "run.json", trust_code=False)
    assert trap.stem not in sys.modules
    assert not trap.with_suffix(".imported").exists()


@pytest.mark.parametrize("name", ["Called", "function", "pathlib", "absent"])
def test_what_is_no_network_is_not_called_with_consent_either(trap, name):
    options = network_of({"class_path": f"trap_of_a_test.{name}"}, "run.json", trust_code=True)
    with pytest.raises(InputError, match=r"network.class_path"):
        create_network(options, 1, 2)
    assert trap.with_suffix(".imported").exists()
    assert not trap.with_suffix(".called").exists()


def test_with_consent_a_network_is_made(trap):
    named = {"class_path": "trap_of_a_test.Network", "init_args": {"inputs": 1, "outputs": 2}}
    network = create_network(network_of(named, "run.json", trust_code=True), 1, 2)
    assert network.module[0].out_channels == 2


def test_networks_by_name_need_no_consent():
    assert network_of({"name": "unet", "class_path": None}, "run.json", trust_code=False) == NetworkOptions(
        "unet"
    )
