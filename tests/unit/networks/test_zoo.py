"""What every network of the package promises, tried on each in its smallest form; parameters of the published ones."""

import copy
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from metadcseg.errors import InputError
from metadcseg.forward_mode.call import trainable
from metadcseg.forward_mode.jvp import jvp
from metadcseg.networks import NETWORKS, NetworkOptions, TappedNetwork, create_network
from metadcseg.networks.registry import KINDS

SMALL = {name: {"width": 2} if "width" in KINDS[name].options else {"size": "small"} for name in NETWORKS}
every_network = pytest.mark.parametrize("name", NETWORKS)

COUNTS = {  # three channels, two classes; the published numbers of design/rivals.md
    "unetplusplus": ({"width": 64}, 36_451_394),
    "unet": ({"width": 64}, 31_113_282),
    "nnunet-plain": ({"width": 32}, 7_766_344 + 2 * 9 * 32),  # published for one channel
    "maxformer": ({"size": "published"}, 88_930_690 - 2_411_536),  # less what is never used
    "madgnet": ({"size": "published"}, 33_367_824),
    "condseg": (
        {"size": "published"},
        45_552_786 + 119_552 + 65 + 256,
    ),  # both stages' heads, and of two classes
    "deeplabv3plus": ({"size": "published"}, 40_347_298),
}
SMALL_COUNTS = {
    "nnunet-plain": ({"width": 8}, 487_384 + 2 * 9 * 8),
    "maxformer": ({}, 2_987_378),
    "madgnet": ({}, 1_055_488),
    "deeplabv3plus": ({}, 1_582_834),
}
OTHER_STAGE = "module.encoder_head."  # of condseg: trained in its first stage, all else in the second


def made(name: str, channels: int = 1, classes: int = 2, seed: int = 0, **options) -> TappedNetwork:
    chosen = NetworkOptions(name=name, **(SMALL[name] | options))
    return create_network(chosen, channels, classes, torch.Generator().manual_seed(seed))


def images(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("counts", [COUNTS, SMALL_COUNTS], ids=["published", "small"])
def test_parameters_are_counted_to_the_last(counts) -> None:
    for name, (options, expected) in counts.items():
        with torch.device("meta"):
            network = create_network(NetworkOptions(name=name, **options), 3, 2)
        assert sum(parameter.numel() for parameter in network.parameters()) == expected, name
    assert COUNTS.keys() == set(NETWORKS)


def test_maxformer_has_the_published_parts() -> None:
    with torch.device("meta"):
        parts = dict(
            create_network(NetworkOptions(name="maxformer", size="published"), 3, 9).module.named_children()
        )
    counts = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in parts.items()}
    spare = {
        "refine_2": 270_208,
        "refine_1": 1_658_560,
        "decoder_1": 409_928 + 5120,
        "decoder_0": 65_672 + 2048,
    }
    published = {
        "backbone": 56_491_944,
        "refine_2": 6_207_688,
        "refine_1": 11_607_368,
        "decoder_2": 524_800,
        "decoder_1": 11_916_424,
        "decoder_0": 2_183_369,
    }
    assert counts == {name: count - spare.get(name, 0) for name, count in published.items()}
    stages = [sum(p.numel() for p in stage.parameters()) for stage in parts["backbone"].stages]
    assert stages == [1_429_296, 8_734_008, 44_463_744]


@every_network
def test_a_batch_of_any_size_goes_forward_and_back(name: str) -> None:
    for channels, classes, size in ((3, 5, (64, 64)), (4, 3, (70, 61))):
        network = made(name, channels, classes)
        if not network.fit and size == (70, 61):
            continue
        output = network(images(2, channels, *size))
        assert output.logits.shape == (2, classes, *size)
        assert (len(output.features), output.features.shape[2:]) == (2, size)
        assert output.features.shape[1] == network.module.get_submodule(network.head).weight.shape[1]
        maps = (output.logits, output.features, *output.auxiliary.values())
        assert all(bool(values.isfinite().all()) for values in maps)
        sum(values.square().mean() for values in maps).backward()
        learning = {key: p for key, p in network.named_parameters() if not key.startswith(OTHER_STAGE)}
        assert [key for key, parameter in learning.items() if parameter.grad is None] == []
        assert all(bool(parameter.grad.isfinite().all()) for parameter in learning.values())


@pytest.mark.parametrize("name", [name for name in NETWORKS if KINDS[name].volumes])
def test_volumes(name: str) -> None:
    output = made(name, spatial_dims=3)(images(1, 1, 32, 32, 32))
    assert output.logits.shape == (1, 2, 32, 32, 32)
    output.logits.square().mean().backward()


@every_network
def test_the_seed_alone_decides(name: str) -> None:
    first, again, other = made(name), made(name), made(name, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    shown = images(1, 1, 64, 64)
    with torch.no_grad():
        one, two = first.eval()(shown), again.eval()(shown)
    assert torch.equal(one.logits, two.logits)


@every_network
def test_one_image_in_training_mode_and_in_half_precision(name: str) -> None:
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        output = made(name)(images(1, 1, 64, 64))
    assert bool(output.logits.isfinite().all())


@every_network
def test_a_padded_image_is_the_padded_image(name: str) -> None:
    network = made(name).eval()
    if not network.fit:
        pytest.skip("takes only sizes that fit")
    shown = images(1, 1, 70, 61)
    side = -(-70 // network.multiple) * network.multiple
    whole = F.pad(shown, (0, 64 - 61, 0, side - 70), mode="replicate")
    with torch.no_grad():
        cropped, full = network(shown), network(whole)
    torch.testing.assert_close(cropped.logits, full.logits[..., :70, :61])
    torch.testing.assert_close(cropped.features, full.features[..., :70, :61])


@every_network
def test_the_engine_carries_the_derivative_that_torch_finds(name: str) -> None:
    network = made(name).double().train()
    generator = torch.Generator().manual_seed(2)
    direction = {
        key: torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for key, value in trainable(network).items()
    }
    side = network.smallest
    shown = images(2, 1, side, side, dtype=torch.float64)

    def seeded(run):
        torch.manual_seed(3)
        return run(copy.deepcopy(network))

    plain = seeded(lambda network: network(shown).logits)  # with dropout, whose masks are the same
    assert torch.equal(seeded(lambda network: jvp(network, shown, direction, mode="engine"))[1].logits, plain)
    for part in network.modules():
        if isinstance(part, nn.Dropout):  # torch draws in another order than its layers do
            part.p = 0.0
    ours, theirs = (
        seeded(lambda network, mode=mode: jvp(network, shown, direction, mode=mode))[1]
        for mode in ("engine", "torch")
    )
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.change, theirs.change, rtol=1e-8, atol=1e-8)


@pytest.mark.skipif(find_spec("onnx") is None, reason="the package onnx is not installed")
@pytest.mark.skipif(find_spec("onnxscript") is None, reason="the package onnxscript is not installed")
@pytest.mark.filterwarnings("ignore")  # of the exporter's own
def test_a_network_can_be_exported(tmp_path) -> None:  # all of them: studies/export_networks.py, a minute
    network = made("unetplusplus").eval()
    torch.onnx.export(
        network.module, (images(1, 1, 64, 64),), tmp_path / "network.onnx", opset_version=18, dynamo=True
    )
    assert (tmp_path / "network.onnx").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"name": "maxformer", "width": 8},
            "network.width 8: maxformer has no width, only size, norm; leave it out",
        ),
        ({"name": "unet", "size": "small"}, "network.size small: unet has no size"),
        ({"name": "nnunet-plain", "upsampling": "bilinear"}, "nnunet-plain has no upsampling"),
        ({"name": "deeplabv3plus", "spatial_dims": 3}, "for volumes take unetplusplus, unet, nnunet-plain"),
        ({"name": "maxformer", "size": "tiny"}, "unknown network.size 'tiny'"),
    ],
)
def test_options_of_other_networks_are_refused(options, sentence) -> None:
    with pytest.raises(InputError, match=sentence):
        NetworkOptions(**options)


def test_what_is_left_out_is_the_networks_own() -> None:
    assert NetworkOptions() == NetworkOptions(
        width=16, norm="group", upsampling="learned", activation="leaky_relu"
    )
    found = NetworkOptions(name="maxformer")
    assert (found.size, found.norm, found.width, found.upsampling) == ("small", "batch", None, None)
