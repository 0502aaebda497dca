"""PiDiNet: differences against loops, conversion, its parts, and what a file of weights may hold."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from tests.reference import pixel_difference as slow
from torch import nn

from metadcseg.errors import InputError
from metadcseg.networks.pidinet import CHANNELS, PiDiNet, convert
from metadcseg.networks.pidinet_weights import load_pidinet, shipped_pidinet
from metadcseg.networks.pixel_difference import PixelDifferenceConv, plain_kernel


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("difference", ["central", "angular", "radial"])
def test_differences_are_those_of_the_loops(difference):
    image, weights = rand(7, 9), rand(3, 3, seed=1) - 0.5
    layer = PixelDifferenceConv(1, 1, difference)
    layer.weight.data = weights[None, None].clone()
    got = layer(image[None, None])[0, 0]
    loops = getattr(slow, difference)
    expected = [[loops(image, weights, row, column) for column in range(9)] for row in range(7)]
    torch.testing.assert_close(got.detach(), torch.tensor(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("difference", ["central", "angular", "radial"])
@pytest.mark.parametrize("groups", [1, 4])
def test_the_plain_layer_maps_the_same_and_shares_nothing(difference, groups):
    layer = PixelDifferenceConv(4, 8, difference, groups)
    plain = layer.plain()
    assert isinstance(plain, nn.Conv2d)
    images = rand(2, 4, 9, 8)
    torch.testing.assert_close(plain(images), layer(images), atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        plain.weight.zero_()
    assert layer.weight.abs().sum() > 0


def test_an_unknown_difference_is_named():
    with pytest.raises(InputError, match="did you mean 'radial'"):
        plain_kernel(torch.zeros(1, 1, 3, 3), "radail")


@pytest.mark.parametrize("size", list(CHANNELS))
@pytest.mark.parametrize("shape", [(33, 47), (8, 8), (64, 40)])
def test_conversion_changes_nothing_but_the_layers(size, shape):
    network = PiDiNet(size).eval()
    converted = convert(network)
    images = rand(2, 3, *shape)
    with torch.no_grad():
        maps, same = network(images), converted(images)
    assert maps.shape == (2, 5, *shape)
    torch.testing.assert_close(same, maps, atol=1e-5, rtol=1e-5)
    kinds = [module.difference for module in network.modules() if isinstance(module, PixelDifferenceConv)]
    assert kinds == ["central", "angular", "radial"] * 4  # carv4; every fourth is a plain one anyway
    assert not any(isinstance(module, PixelDifferenceConv) for module in converted.modules())


def test_the_fused_map_is_the_classifier_of_the_four():
    network = PiDiNet("tiny")
    maps = network(rand(1, 3, 24, 24))
    torch.testing.assert_close(network.classifier(maps[:, :4]), maps[:, 4:])


def test_every_weight_has_a_say_but_those_that_no_difference_uses():
    network = PiDiNet("tiny")
    network(rand(2, 3, 48, 48)).square().sum().backward()
    still = {name for name, parameter in network.named_parameters() if not parameter.grad.abs().sum() > 0}
    assert not still


def test_an_unknown_size_is_named():
    with pytest.raises(InputError, match="unknown size of PiDiNet 'tiney': did you mean 'tiny'"):
        PiDiNet("tiney")


def test_the_shipped_weights_are_small_and_see_an_edge():
    network, sha256 = shipped_pidinet()
    assert (network.size, len(sha256), network.training) == ("tiny", 64, False)
    images = torch.full((1, 3, 64, 64), -1.0)
    images[:, :, :, 32:] = 1.0
    with torch.no_grad():
        edges = network(images)[0, -1].sigmoid()
    assert edges[10:-10, 31:33].max(dim=1).values.min() > 0.5
    assert edges[10:-10, 8:24].max() < 0.2


@pytest.mark.parametrize("size", list(CHANNELS))
def test_published_and_own_files_are_read(tmp_path, size):
    network = PiDiNet(size).eval()
    state = network.state_dict()
    save_file(state, tmp_path / "own.safetensors")
    theirs = {"epoch": 19, "state_dict": {f"module.{name}": value for name, value in state.items()}}
    torch.save(theirs, tmp_path / "table5.pth")
    torch.save(state, tmp_path / "bare.pth")
    images = rand(1, 3, 16, 16)
    with torch.no_grad():
        for name in ("own.safetensors", "table5.pth", "bare.pth"):
            read, sha256 = load_pidinet(tmp_path / name)
            assert (read.size, len(sha256)) == (size, 64)
            assert torch.equal(read(images), network(images))


class Attack:
    def __reduce__(self):
        return print, ("unpickled",)


def _spoilt(path, kind):
    state = PiDiNet("tiny").state_dict()
    if kind == "text":
        path.write_text("no weights")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Attack()))
    elif kind == "other network":
        torch.save({"conv.weight": torch.zeros(3, 3)}, path)
    elif kind == "not a table":
        torch.save([torch.zeros(3)], path)
    elif kind == "wider":
        torch.save({**state, "init_block.weight": torch.zeros(21, 3, 3, 3)}, path)
    elif kind == "lacks":
        torch.save({name: value for name, value in state.items() if "attentions.2" not in name}, path)
    elif kind == "converted":
        torch.save(convert(PiDiNet("tiny")).state_dict(), path)
    elif kind == "more":
        torch.save({**state, "extra": torch.zeros(1)}, path)
    elif kind == "nan":
        torch.save({**state, "classifier.bias": torch.full((1,), float("nan"))}, path)
    elif kind == "cut":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-2000])


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("text", "holds no weights that can be read"),
        ("empty", "holds no weights that can be read"),
        ("pickle", "holds no weights that can be read"),
        ("cut", "holds no weights that can be read"),
        ("other network", "but it has no init_block"),
        ("not a table", "holds no table of weights"),
        ("wider", r"has 60 \(full\), 30 \(small\), 20 \(tiny\) channels, but it begins with 21 channels"),
        ("lacks", "but it lacks attentions.2.conv1.weight"),
        ("converted", r"block1_2.conv1.weight has the shape \(20, 1, 3, 3\), got \(20, 1, 5, 5\)"),
        ("more", "but it also holds extra"),
        ("nan", "not finite numbers"),
        ("missing", "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path, capsys, kind, says):
    path = tmp_path / "weights.pth"
    _spoilt(path, kind)
    with pytest.raises(InputError, match=says) as caught:
        load_pidinet(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert "unpickled" not in capsys.readouterr().out
