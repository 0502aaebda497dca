"""create_network: what it builds, what it refuses, and whose random state it leaves alone."""

import random
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metadcseg.errors import InputError
from metadcseg.networks import NetworkOptions, Output, create_network


class OwnNetwork(nn.Module):
    """A user's network, without any knowledge of metadcseg."""

    def __init__(self, inputs: int, outputs: int = 2) -> None:
        super().__init__()
        if inputs < 1:
            raise ValueError("inputs must be positive")
        self.stem = nn.Conv2d(inputs, 5, 3, padding=1)
        self.classifier = nn.Conv2d(5, outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.stem(images))


def not_a_module() -> int:
    return 3


@pytest.fixture
def own_path(monkeypatch: pytest.MonkeyPatch) -> str:
    """The import path of OwnNetwork, whatever name pytest imported this file under."""
    module = ModuleType("someones_networks")
    module.OwnNetwork = OwnNetwork
    module.not_a_module = not_a_module
    monkeypatch.setitem(sys.modules, "someones_networks", module)
    return "someones_networks.OwnNetwork"


def test_full_width_has_the_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        network = create_network(NetworkOptions(width=64), 3, 2)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 36_451_394


SCRIPT = {"norm": "batch", "upsampling": "bilinear", "activation": "relu"}


@pytest.mark.parametrize(("channels", "classes"), [(1, 1), (3, 1), (4, 3)])
def test_the_network_of_the_published_script_has_its_parameters(channels: int, classes: int) -> None:
    """Counted from its definition: two 3 x 3 convolutions, each with bias and batch norm, in all fifteen nodes."""
    width = [64, 128, 256, 512, 1024]

    def node(inputs: int, outputs: int) -> int:
        return sum(9 * held * outputs + outputs + 2 * outputs for held in (inputs, outputs))

    count = node(channels, 64) + sum(node(width[level], width[level + 1]) for level in range(4))
    for column in range(1, 5):
        count += sum(
            node(column * width[level] + width[level + 1], width[level]) for level in range(5 - column)
        )
    count += 64 * classes + classes  # the head
    with torch.device("meta"):
        network = create_network(NetworkOptions(width=64, **SCRIPT), channels, classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    assert round(count / 1e6, 1) == 36.6


def test_the_network_of_the_published_script_upsamples_without_weights() -> None:
    network = create_network(NetworkOptions(width=2, **SCRIPT), channels=1, classes=2)
    kinds = [type(part) for part in network.modules()]
    assert nn.ConvTranspose2d not in kinds
    assert nn.LeakyReLU not in kinds
    assert kinds.count(nn.Upsample) == 10
    assert kinds.count(nn.BatchNorm2d) == 30
    assert kinds.count(nn.ReLU) == 30
    output = network(torch.randn(2, 1, 32, 48))
    assert (output.logits.shape, output.features.shape) == ((2, 2, 32, 48), (2, 2, 32, 48))
    output.logits.square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_volumes_are_upsampled_along_all_axes() -> None:
    options = NetworkOptions(width=2, spatial_dims=3, **SCRIPT)
    output = create_network(options, channels=1, classes=2)(torch.randn(1, 1, 32, 32, 32))
    assert output.logits.shape == (1, 2, 32, 32, 32)


@pytest.mark.parametrize(
    ("option", "value"), [("norm", "layer"), ("upsampling", "linear"), ("activation", "gelu")]
)
def test_unknown_layers_are_refused(option: str, value: str) -> None:
    with pytest.raises(InputError, match=f"unknown network.{option} '{value}'"):
        NetworkOptions(**{option: value})


@pytest.mark.parametrize("norm", ["group", "instance", "batch"])
@pytest.mark.parametrize("width", [2, 5])
def test_unetplusplus_returns_logits_and_features_of_the_frame(norm: str, width: int) -> None:
    network = create_network(NetworkOptions(width=width, norm=norm), channels=3, classes=4)
    output = network(torch.randn(2, 3, 32, 48))
    assert isinstance(output, Output)
    assert output.logits.shape == (2, 4, 32, 48)
    assert output.features.shape == (2, width, 32, 48)


def test_features_are_what_the_head_sees() -> None:
    network = create_network(NetworkOptions(width=2), 1, 2)
    output = network(torch.randn(1, 1, 32, 32))
    head = network.module.final_conv_0_4
    torch.testing.assert_close(head(output.features), output.logits, rtol=0, atol=0)


def test_no_parameter_is_left_untrained() -> None:
    network = create_network(NetworkOptions(width=2), 1, 2)
    network(torch.randn(1, 1, 32, 32)).logits.square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("size", "nearest"),
    [((40, 32), "nearest sizes are 32 and 48"), ((32, 100), "96 and 112"), ((16, 16), "nearest size is 32")],
)
def test_frame_sizes_that_do_not_fit_are_named_with_the_nearest(size: tuple[int, int], nearest: str) -> None:
    network = create_network(NetworkOptions(width=2), 1, 2)
    with pytest.raises(InputError, match=nearest):
        network(torch.zeros(1, 1, *size))


def _seeded(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return create_network(NetworkOptions(width=2), 1, 2, generator).state_dict()


def test_initial_weights_depend_on_the_generator_alone() -> None:
    first = _seeded(1)
    torch.rand(3)
    again, other = _seeded(1), _seeded(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_global_random_state_stays() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    _seeded(3)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2] == random.getstate()


def test_own_network_gets_its_arguments_and_a_tap(own_path: str) -> None:
    options = NetworkOptions(class_path=own_path, init_args={"inputs": 3, "outputs": 4})
    output = create_network(options, channels=3, classes=4)(torch.randn(2, 3, 10, 7))
    assert output.logits.shape == (2, 4, 10, 7)
    assert output.features.shape == (2, 5, 10, 7)


def test_own_network_with_the_wrong_number_of_classes(own_path: str) -> None:
    network = create_network(NetworkOptions(class_path=own_path, init_args={"inputs": 1}), 1, 3)
    with pytest.raises(InputError, match=r"\(1, 3, 8, 8\), got \(1, 2, 8, 8\)"):
        network(torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "unetplusplu"}, "did you mean 'unetplusplus'"),
        ({"norm": "grup"}, "did you mean 'group'"),
        ({"width": 0}, "network.width must be a whole number from 1 on, got 0"),
        ({"head": "last"}, "name it in network.class_path"),
    ],
)
def test_bad_options(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        NetworkOptions(**changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"class_path": "OwnNetwork"}, "must look like package.module.Class"),
        ({"class_path": "no_such_package.Net"}, "no_such_package cannot be imported"),
        ({"class_path": "someones_networks.OwnNetwrk"}, "did you mean 'OwnNetwork'"),
        (
            {"class_path": "someones_networks.not_a_module"},
            "must be a subclass of torch.nn.Module, got function",
        ),
        ({"init_args": {"inptus": 1}}, "did you mean 'inputs'"),
        ({"init_args": {}}, "cannot be created with them"),
        ({"init_args": {"inputs": 0}}, "inputs must be positive"),
        ({"init_args": {"inputs": 1}, "head": "clasifier"}, "did you mean 'classifier'"),
    ],
)
def test_own_networks_that_cannot_be_made(own_path: str, changes: dict[str, object], sentence: str) -> None:
    options = NetworkOptions(**({"class_path": own_path} | changes))
    with pytest.raises(InputError, match=sentence):
        create_network(options, 1, 2)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("class Net(nn.Module:\n", r"cannot be imported: SyntaxError: .*own_code.py, line 2\)"),
        ("x = y\n", r"cannot be imported: NameError: name 'y' is not defined \(.*own_code.py, line 2\)"),
        (
            "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        assert 0, 'odd'\n",
            r"cannot be created with them: AssertionError: odd \(.*line 5\)",
        ),
        (
            "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        {}['a']\n",
            "cannot be created with them: KeyError: 'a'",
        ),
        ("class Net(nn.Module):\n    pass\n", "has no parameter to train: all are frozen, or none is there"),
    ],
)
def test_what_the_users_own_code_raises_is_a_sentence(tmp_path, monkeypatch, code, said):
    (tmp_path / "own_code.py").write_text("from torch import nn\n" + code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_code", raising=False)
    with pytest.raises(InputError, match=said):
        create_network(NetworkOptions(class_path="own_code.Net"), 1, 2)
    sys.modules.pop("own_code", None)
