"""What the tests of methods share: a method's state, a few steps, and labels of which a third is wrong."""

from typing import Any

import torch
from tests.contract.tools import SIZE, PlainUpdater, batch, storage, tiny_network
from torch import Tensor, nn

from metadcseg.methods import MethodState, StepReport
from metadcseg.networks import TappedNetwork
from metadcseg.tensors import Batch
from metadcseg.warp import Warp


def start(method: Any, network: nn.Module | None = None) -> MethodState:
    network = tiny_network() if network is None else network
    state: MethodState = method.start(
        network, PlainUpdater(network), torch.Generator().manual_seed(0), storage()
    )
    return state


def run(method: Any, steps: int = 3) -> tuple[MethodState, list[StepReport]]:
    state = start(method)
    gold = method.info.needs_gold
    return state, [
        method.step(state, batch(number), batch(100 + number) if gold else None) for number in range(steps)
    ]


def same(left: nn.Module, right: nn.Module) -> bool:
    return all(
        torch.equal(one, other) for one, other in zip(left.parameters(), right.parameters(), strict=True)
    )


def flipped_third() -> tuple[Batch, Batch, Tensor, Tensor]:
    """Return noisy and gold images whose pixels tell their class, the truth, and which third of the labels is wrong."""
    generator = torch.Generator().manual_seed(1)
    truth = torch.zeros(4, SIZE, SIZE, dtype=torch.int64)
    truth[:, :, SIZE // 2 :] = 1
    images = (2.0 * truth - 1).unsqueeze(1) + 0.1 * torch.randn(4, 1, SIZE, SIZE, generator=generator)
    wrong = torch.rand(4, SIZE, SIZE, generator=generator) < 0.33
    noisy = Batch(images, torch.where(wrong, 1 - truth, truth), torch.arange(4), Warp.identity(4))
    gold = Batch(images.flip(2), truth, torch.arange(4), Warp.identity(4))
    return noisy, gold, truth, wrong


def assert_distrusts_wrong_labels(method: Any) -> None:
    """Train thirty steps on :func:`flipped_third`: wrong labels lose trust, and the network learns the truth."""
    noisy, gold, truth, wrong = flipped_third()
    torch.manual_seed(0)
    network = TappedNetwork(nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)), "2")
    state = start(method, network)
    for _ in range(30):
        report = method.step(state, noisy, gold)
    alpha, beta = report.maps.alpha, report.maps.beta
    assert alpha[wrong].mean() < 0.5 * alpha[~wrong].mean()
    assert beta[wrong].mean() > 0.1
    found = method.predict(state, noisy.images).argmax(dim=1)
    assert (found == truth).float().mean() > 0.99
