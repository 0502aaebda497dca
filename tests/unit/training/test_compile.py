"""``training.compile``: the same training to rounding, of the same files, and a sentence where it cannot be had."""

import shutil
from pathlib import Path

import pytest
import torch
from tests.unit.training.helpers import PlainNetwork, options
from torch._dynamo.utils import counters

from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.forward_mode.call import trainable
from metadcseg.forward_mode.jvp import jvp
from metadcseg.methods import create_method
from metadcseg.networks import NetworkOptions, TappedNetwork
from metadcseg.training import train
from metadcseg.training.run.checkpoints import load_checkpoint

NETWORK = NetworkOptions(class_path="tests.unit.training.helpers.PlainNetwork")

pytestmark = [
    pytest.mark.skipif(
        not any(shutil.which(name) for name in ("g++", "clang++", "c++")),
        reason="torch.compile needs a C++ compiler",
    ),
    # torch's own, where its compiler is imported first
    pytest.mark.filterwarnings(r"ignore:`torch\.jit\.script_method` is deprecated:DeprecationWarning"),
]


def network() -> TappedNetwork:
    torch.manual_seed(0)
    return TappedNetwork(PlainNetwork(), "layers.3")


def end_of(disks: PreparedSet, out: Path, method: str, **changed: bool) -> dict[str, torch.Tensor]:
    chosen = create_method(method, **({"warmup": 0} if method == "metadcseg" else {}))
    train(disks, chosen, NETWORK, options(epochs=2, ema_decay=0.9, **changed), out)
    saved: dict[str, torch.Tensor] = load_checkpoint(out / "checkpoints")["network"]
    return saved


@pytest.mark.parametrize("method", ["supervised", "binned", "metadcseg"])
def test_a_compiled_training_is_the_plain_one_to_rounding(
    method: str, disks: PreparedSet, tmp_path: Path
) -> None:
    plain = end_of(disks, tmp_path / "plain", method)
    counters.clear()
    torch.compiler.reset()  # after a few networks of one class torch gives up translating others
    compiled = end_of(disks, tmp_path / "compiled", method, compile=True)
    assert counters["stats"]["unique_graphs"] > 0
    assert not counters["graph_break"]
    assert list(compiled) == list(plain)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-6)
    begun = network().state_dict()
    assert not torch.equal(plain["module.layers.0.weight"], begun["module.layers.0.weight"])


def test_every_compiled_pass_reads_its_own_features_and_keeps_none() -> None:
    plain, compiled = network().double(), network().double()  # single precision differs by 1e-4 in a gradient
    compiled.compile_passes()
    for seed in range(2):
        images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(seed)).double()
        wanted, got = plain(images), compiled(images)
        torch.testing.assert_close(got, wanted)
        (wanted.logits.sum() + wanted.features.sum()).backward()
        (got.logits.sum() + got.features.sum()).backward()
        assert compiled._tapped == []
    for one, other in zip(compiled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_batches_of_many_sizes_are_not_translated_one_by_one() -> None:
    """Parts of the gold images have other numbers of images in every step."""
    plain, compiled = network().double(), network().double()
    compiled.compile_passes()
    torch._dynamo.reset()
    counters.clear()
    for size in (8, *range(2, 12)):
        images = torch.randn(size, 1, 8, 8, generator=torch.Generator().manual_seed(size)).double()
        torch.testing.assert_close(compiled(images), plain(images))
    assert counters["stats"]["unique_graphs"] <= 3


def test_a_pass_with_tangents_runs_as_written() -> None:
    plain, compiled = network(), network()
    compiled.compile_passes()
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    direction = {name: torch.ones_like(value) for name, value in trainable(plain).items()}
    (wanted, change), (got, other) = (
        jvp(one, images, direction, training_pass=True) for one in (plain, compiled)
    )
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    torch.testing.assert_close(other.change, change.change, rtol=0, atol=0)


def test_a_machine_without_compiler_gets_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(config, "force_disable_caches", True)
    torch._dynamo.reset()
    compiled = network()
    compiled.compile_passes()
    with pytest.raises(InputError, match="PlainNetwork cannot be compiled on this machine"):
        compiled(torch.zeros(1, 1, 8, 8))
