"""network.pretrained: what is taken from a file, what is said of the rest, and what is refused."""

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from metadcseg.errors import InputError, Note
from metadcseg.networks import NetworkOptions, create_network, create_networks
from metadcseg.networks.pretrained import load_pretrained
from metadcseg.networks.weights_file import read_bytes


class Encoder(nn.Sequential):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4)


class Whole(nn.Module):
    def __init__(self, channels: int, classes: int = 2) -> None:
        super().__init__()
        self.encoder, self.head = Encoder(channels), nn.Conv2d(4, classes, 1)


def loaded(tmp_path, weights: dict[str, Tensor], network: nn.Module, channels: int, ending: str = "pth"):
    file = tmp_path / f"weights.{ending}"
    save_file(weights, file) if ending == "safetensors" else torch.save(weights, file)
    with pytest.warns(Note) as said:
        taken = load_pretrained(network, file, channels)
    return taken, str(said[0].message)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_encoder_finds_its_place_and_its_first_kernels_fit(tmp_path, channels, ending):
    source, network = Encoder(3), Whole(channels)
    weights = {f"module.{name}": value for name, value in source.state_dict().items()}
    taken, said = loaded(tmp_path, weights | {"fc.bias": torch.ones(7)}, network, channels, ending)
    kernel = source.conv1.weight.detach()
    expected = {
        1: kernel.sum(1, keepdim=True),
        3: kernel,
        4: torch.cat([kernel, kernel.mean(1, keepdim=True)], 1),
    }
    assert torch.equal(network.encoder.conv1.weight, expected[channels])
    assert torch.equal(network.encoder.bn1.running_var, source.bn1.running_var)
    assert (taken["taken"], taken["tensors"], taken["unused"]) == (6, 8, 1)
    assert "6 of the network's 8 tensors" in said
    assert "start at random 2 (head.weight; head.bias); not used of the file 1 (fc.bias)" in said


@pytest.mark.parametrize("name", ["deeplabv3plus", "condseg"])
def test_a_file_with_the_names_of_torchvision_finds_the_encoder(tmp_path, name):
    source, network = (
        create_network(NetworkOptions(name=name), 3, 2).module.encoder,
        NetworkOptions(name=name),
    )
    weights = {key: value for key, value in source.state_dict().items() if "num_batches" not in key}
    assert {"conv1.weight", "bn1.running_mean", "layer2.0.downsample.0.weight"} <= weights.keys()
    torch.save(weights | {"fc.weight": torch.ones(1000, 512)}, tmp_path / "resnet.pth")
    with pytest.warns(Note, match=r"not used of the file 1 \(fc.weight\)"):
        made = create_network(replace(network, pretrained=str(tmp_path / "resnet.pth")), 1, 2)
    assert made.pretrained["taken"] == len(weights)
    assert torch.equal(made.module.encoder.layer1[0].conv1.weight, source.layer1[0].conv1.weight)
    torch.testing.assert_close(
        made.module.encoder.conv1.weight, source.conv1.weight.sum(1, keepdim=True), rtol=0, atol=0
    )


def test_a_head_of_other_classes_starts_at_random(tmp_path):
    network = Whole(1, classes=3)
    before = network.head.weight.clone()
    taken, said = loaded(tmp_path, {"state_dict": Whole(1).state_dict()}, network, 1)
    assert torch.equal(network.head.weight, before)
    assert taken["unused"] == 2
    assert "not used of the file 2 (head.bias; head.weight)" in said


def test_a_network_begins_with_the_file_and_the_same_file_gives_the_same_bits(tmp_path):
    first = create_network(NetworkOptions(width=2), 1, 2, torch.Generator().manual_seed(1))
    torch.save(first.module.state_dict(), tmp_path / "own.pth")
    with pytest.warns(Note, match="142 of the network's 142 tensors are from the file$"):
        second = create_network(NetworkOptions(width=2, pretrained=str(tmp_path / "own.pth")), 1, 2)
    assert second.pretrained["taken"] == 142
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_file_of_a_whole_network_fills_no_committee(tmp_path):
    options = NetworkOptions(name="deeplabv3plus", pretrained=str(tmp_path / "weights.pth"))
    source = create_network(replace(options, pretrained=None), 1, 2)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    with pytest.warns(Note), pytest.raises(InputError, match=r"the 3 networks of this method would be equal"):
        create_networks(options, 1, 2, 3, torch.Generator().manual_seed(1))
    torch.save(source.module.encoder.state_dict(), tmp_path / "weights.pth")
    with pytest.warns(Note):
        first, second = create_networks(options, 1, 2, 2, torch.Generator().manual_seed(1)).members
    pairs = zip(first.module.encoder.parameters(), second.module.encoder.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert not torch.equal(first.module.head.weight, second.module.head.weight)


@pytest.mark.parametrize("tapped", [True, False])
def test_a_network_begins_with_the_first_of_a_committee(tmp_path, tapped):
    sources, network = [Whole(1), Whole(1)], Whole(1)
    between = "module." if tapped else ""
    weights = {
        f"members.{number}.{between}{name}": value
        for number, source in reversed(list(enumerate(sources)))
        for name, value in source.state_dict().items()
    }
    taken, said = loaded(tmp_path, weights, network, 1)
    assert (taken["taken"], taken["unused"]) == (8, 0)
    assert torch.equal(network.head.weight, sources[0].head.weight)
    assert said.endswith("8 of the network's 8 tensors are from the file, the first of its 2 networks")


def test_numbers_of_eight_bits_are_taken(tmp_path):
    network = Whole(1)
    loaded(tmp_path, {"head.bias": torch.tensor([1.0, 2.0]).to(torch.float8_e4m3fn)}, network, 1)
    assert network.head.bias.tolist() == [1.0, 2.0]


def test_the_stage_that_another_training_was_in_is_not_taken(tmp_path):
    options = NetworkOptions(name="condseg")
    source = create_network(options, 1, 2)
    source.module.train_encoder(True)
    torch.save(source.module.state_dict(), tmp_path / "first.pth")
    with pytest.warns(Note):
        made = create_network(replace(options, pretrained=str(tmp_path / "first.pth")), 1, 2)
    assert not made.train().module.encoder_only


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read"),
        (b"not a file of weights", "holds no weights that can be read"),
        ({"head": print}, "holds no weights that can be read"),
        ([torch.ones(1)], "holds no table of weights"),
        ({"head.weight": torch.ones(2, 4, 1, 1).to_sparse()}, "holds no table of weights"),
        ({"weights": torch.ones(3)}, "none of its 1 tensors has the name and shape"),
        ({"head.bias": torch.tensor([1, 2])}, "none of its 1 tensors has the name and shape"),
        ({"head.bias": torch.tensor([1.0, float("nan")])}, "no finite numbers"),
        ({"head.bias": torch.tensor([1.0, 1e300], dtype=torch.float64)}, "no finite numbers"),
        ({"head.bias": torch.ones(2, device="meta")}, "holds no table of weights"),
    ],
)
def test_what_is_refused(tmp_path, content, sentence):
    file = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(InputError, match=sentence):
        load_pretrained(Whole(1), file, 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "weights.pth")
    for path in (tmp_path / "weights.pth", Path("/dev/zero")):
        with pytest.raises(InputError, match="must be a regular file"):
            read_bytes(path, "network.pretrained")


def test_a_file_that_claims_more_than_it_holds_is_refused_before_room_is_made(tmp_path):
    file = tmp_path / "weights.pth"
    expanded = torch.zeros(1, dtype=torch.float64).expand(2**20, 2**20)  # 8 TiB
    torch.save({"encoder.conv1.weight": expanded}, file)
    with pytest.raises(InputError, match="none of its 1 tensors"):
        load_pretrained(Whole(1), file, 1)
    torch.save({"encoder.conv1.weight": torch.zeros(2**16)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    with pytest.raises(InputError, match="is compressed, which torch"):
        load_pretrained(Whole(1), file, 1)
